"""Kopf's watch of one namespace, which starts again whenever it ends.

Kopf's watcher is not allowed to fail: an event that it does not understand, a status that it does not expect or a right
that is missing ends the whole operator. So each namespace has a Kopf operator of its own, and its end is no more than
the end of one attempt. The next one begins with a list, so nothing is lost but deletions, which the sweep finds.

`kopf.run_tasks` is not used, because at its end it cancels every task of the loop that was made after its start, also
those that are not its own. The tasks of `kopf.spawn_tasks` can be cancelled by themselves.

Whether a watch sees anything cannot be asked from Kopf: it repeats failed connections without a word. The requests of
its HTTP session tell it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube import api
from qualtrics_exporter.controller.kube.api import ClusterError
from qualtrics_exporter.controller.kube.connection import BadConnection, tls_problem
from qualtrics_exporter.resource.exporter import GROUP, PLURAL, VERSION

log = logging.getLogger(__name__)

PAUSE_FIRST = 1.0
PAUSE_MOST = 60.0
STUCK_SECONDS = 120.0
"""A watch that has been blind for so long is started again, whatever it waits for. The API server may have told Kopf
to wait for an hour, and Kopf obeys.
"""
LOOK_SECONDS = 10.0

Event = Callable[..., Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class _Session(kopf.AiohttpSession):
    """Credentials for Kopf. Equal credentials are equal, so that Kopf gives up if they are refused twice."""

    aiohttp_session: aiohttp.ClientSession = field(compare=False)
    token: str = field(repr=False)


class _NoDiffs(kopf.DiffBaseStorage):
    """Kopf compares objects with a copy that it keeps in an annotation; whatever a user wrote there must not matter."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> None:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


class Watcher:
    """Watches exporters in one namespace, or in all of them (None).

    `check` raises `ClusterError` if exporters cannot be listed or watched.
    """

    def __init__(
        self,
        namespace: str | None,
        on_event: Event,
        clock: Clock,
        *,
        selector: str | None,
        check: Callable[[], Awaitable[None]],
    ) -> None:
        self.namespace = namespace
        self._on_event = on_event
        self._clock = clock
        self._selector = selector
        self._check = check
        self.own_signals: Callable[[], None] = lambda: None
        """Called after each start, because Kopf takes over the signals of the process."""
        self._again = asyncio.Event()
        self._failures = 0
        self._attempt_began = clock.monotonic()
        self._session: _Session | None = None
        self._blind_since: float | None = clock.monotonic()
        self.problem: str | None = "the watch has not begun"
        """Why the watch sees nothing; None while it does."""
        self.settled = False
        """Whether the first list has come, or an attempt to get it has failed."""
        self.starts = 0

    @property
    def blind_seconds(self) -> float:
        """For how long the watch has seen nothing; 0 while it does."""
        return 0.0 if self._blind_since is None else self._clock.monotonic() - self._blind_since

    def restart(self) -> None:
        """Begin anew, with a list."""
        self._again.set()

    async def run(self) -> None:
        """Watch until cancelled. Failures are logged and tried again, at longer and longer intervals."""
        while True:
            self._again.clear()
            try:
                await self._check()
                await self._watch()
            except ClusterError as error:
                self._blind(str(error))
            except Exception as error:  # noqa: BLE001  whatever Kopf did not expect
                self._blind(f"the watch failed: {type(error).__name__}")
            pause = min(PAUSE_MOST, PAUSE_FIRST * 2 ** min(self._failures, 10))
            self._failures += 1
            log.warning("%s is not watched, trying again in %g s: %s", self, pause, self.problem)
            await self._clock.sleep(pause)

    def __str__(self) -> str:
        return f"namespace {self.namespace}" if self.namespace else "the cluster"

    async def _watch(self) -> None:
        """One attempt, until it fails."""
        self._attempt_began = self._clock.monotonic()
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._on_event)
        self.starts += 1
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=self._settings(),
            standalone=True,
            clusterwide=self.namespace is None,
            namespaces=[self.namespace] if self.namespace else [],
        )
        self.own_signals()
        try:
            while not (done := [task for task in tasks if task.done()]):
                await self._until_one_ends(set(tasks))
            for task in done:
                task.result()
            raise ClusterError("the watch ended without being asked to")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._session:
                await self._session.aiohttp_session.close()
            self._session = None

    async def _until_one_ends(self, tasks: set[Any]) -> None:
        """Return when a task has ended, or after a while. Raises `ClusterError` if the watch should begin anew."""
        again = asyncio.ensure_future(self._again.wait())
        look = asyncio.ensure_future(self._clock.sleep(LOOK_SECONDS))
        began = self._clock.monotonic()
        try:
            await asyncio.wait({*tasks, again, look}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            again.cancel()
            look.cancel()
        if self._again.is_set():
            raise ClusterError("it is to begin anew")
        if self.problem is None and self._clock.monotonic() - began >= LOOK_SECONDS:
            self._failures = 0
        if min(self.blind_seconds, self._clock.monotonic() - self._attempt_began) > STUCK_SECONDS:
            raise ClusterError(self.problem or "")

    def _blind(self, problem: str) -> None:
        if self._blind_since is None:
            self._blind_since = self._clock.monotonic()
        self.problem = problem
        self.settled = True

    def _seeing(self) -> None:
        if self.problem is not None:
            log.info("%s is watched", self)
        self._blind_since = None
        self.problem = None
        self.settled = True

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        """Kopf's login handler: the credentials as they are now, in a session whose requests tell how they end."""
        made = await api.login()
        token = await made.token()
        used = self._session
        if used and not used.aiohttp_session.closed and (used.server, used.token) == (made.server, token):
            return used
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._replied)
        trace.on_request_exception.append(self._failed)
        try:
            session = made.session([trace])
        except BadConnection as error:
            raise ClusterError(f"the cluster cannot be reached: {error}") from None
        self._session = _Session(server=made.server, aiohttp_session=session, token=token)
        return self._session

    async def _replied(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.response.status >= 400:
            self._blind(f"the API server answered with HTTP {params.response.status}")
        elif params.url.query.get("watch"):
            self._seeing()

    async def _failed(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        error = params.exception
        why = "in time" if isinstance(error, asyncio.CancelledError) else tls_problem(error) or type(error).__name__
        self._blind(f"the API server did not answer ({why})")

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        # Kopf would end the process ten minutes after the end of a watch.
        settings.process.ultimate_exiting_timeout = None
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 10
        # Enough for a short trouble. Kopf repeats a broken connection without end, and only these pauses slow it down.
        settings.networking.error_backoffs = (1, 2, 5)
        settings.watching.connect_timeout = 10
        settings.watching.server_timeout = 300
        # With the defaults 10,000 exporters take 524 MB, with these 94 (docs/facts/kubernetes.md section 1). Kopf reads
        # a page as a whole, and an object can have 1.5 MB.
        settings.watching.chunk_size = 25
        settings.queueing.idle_timeout = 0.1
        settings.persistence.diffbase_storage = _NoDiffs()
        # No object can have it, so Kopf never finds one to remove: that would be a write.
        settings.persistence.finalizer = "not a finalizer"
        if self._selector:
            settings.watching.label_selectors[GROUP, VERSION, PLURAL] = self._selector
        return settings
