"""A stream of changes for the pages of the sandbox, as server-sent events.

Each event is a revision. A page loads itself again when the revision differs from the one before.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from aiohttp import web

from qualtrics_exporter.pages import serving
from qualtrics_exporter.sandbox.services import Services

KEEP_ALIVE_SECONDS = 15.0
"""How often a stream looks for changes that only time makes, and for a client that has gone."""
MIN_SECONDS = 0.2
"""Between two events. During a run, pages do not load again for each request."""


class Changes:
    """The streams of all pages that are open."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End all streams."""
        self._closed.set()
        self._services.changed.notify_all()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send the revision, then each new one, until the client or the server closes the connection."""
        return await serving.changes(request, self._revisions())

    async def _revisions(self) -> AsyncGenerator[str | None, None]:
        sent = None
        while not self._closed.is_set():
            seen, revision = self._services.changed.notifications, self.revision()
            yield revision if revision != sent else None
            sent = revision
            await self._next(seen)

    def revision(self) -> str:
        """Differs after each change, also after one that time makes: a send date, a request that leaves a window."""
        services = self._services
        mailed = sum(sent.mailed for sent in services.recorder.distributions)
        used = sum(use.used for use in services.uses())
        return f"{services.changed.notifications}.{mailed}.{used}"

    async def _next(self, seen: int) -> None:
        """Wait for the next notification, within limits. Return at once when streams are closed."""
        changed = self._services.changed
        with suppress(TimeoutError):
            async with asyncio.timeout(MIN_SECONDS):
                await self._closed.wait()
        with suppress(TimeoutError):
            await changed.wait_for(lambda: changed.notifications != seen, timeout=KEEP_ALIVE_SECONDS)
