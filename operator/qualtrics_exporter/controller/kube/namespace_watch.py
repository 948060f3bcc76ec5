"""Kopf's watch of one namespace, which starts again whenever it ends.

When a watch breaks, the sequence is:

1. Kopf repeats failed requests by itself, silently. The HTTP session of the watch reports how each request ends, so
   `problem` and `blind_seconds` always tell whether exporters are watched.
2. If Kopf gives up, meets an unknown event or status, or a permission is missing, Kopf's operator ends. If a watch is
   blind for `Timings.stuck`, or a sweep finds changes that it missed (`restart`), this module ends it.
3. After a pause that grows from 1 to 60 seconds, a new attempt checks the permissions and starts with a list. So no
   change is lost except for deletions, which `Watch` finds by comparing lists.

This module takes the objects of lists from Kopf, so that a start with 10,000 exporters takes half of the CPU time. Kopf
handles only what changes afterwards.

Each namespace has a Kopf operator of its own because Kopf's watcher must not fail: its end is the end of the whole
Kopf operator. `kopf.run_tasks` is not used because it ends by cancelling every task of the loop that was created after
its start, including other tasks of the process. The tasks of `kopf.spawn_tasks` can be cancelled separately.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
from kopf._core.reactor.inventory import ResourceMemories

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube import auth
from qualtrics_exporter.controller.kube.connection import UnusableConnection, tls_problem
from qualtrics_exporter.controller.kube.errors import ClusterError
from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """The times of a watch, in seconds."""

    first_pause: float = 1.0
    max_pause: float = 60.0
    look: float = 10.0
    """How often a watch looks for its own problems."""
    stuck: float = 120.0
    """A watch that is blind for this long is restarted, whatever it waits for. The API server may ask Kopf to wait for
    an hour, and Kopf obeys."""
    blind: float = 900.0
    """If no namespace can be watched for this long, the process ends. A new process reads its configuration, its
    credentials and the certificate authority again. While at least one namespace is watched, the process continues."""
    error_backoffs: tuple[float, ...] = (1, 2, 5)
    """Pauses of Kopf, enough for short problems. Kopf reconnects without a limit, and only these slow it down."""
    reconnect_backoff: float = 0.1


TIMINGS = Timings()

TURN_SECONDS = 0.01
"""How long the objects of a page are processed until other tasks run."""

OnEvent = Callable[..., Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class _Session(kopf.AiohttpSession):
    """Credentials for Kopf. Sessions with equal credentials are equal, so Kopf gives up if they are refused twice."""

    aiohttp_session: aiohttp.ClientSession = field(compare=False)
    token: str = field(repr=False)


class _NoMemories(ResourceMemories):
    """Lets Kopf remember nothing of an object after its event. Handlers of events need none of it: no timers, no
    patches, and no pauses after errors, because `on_event` raises none. It would take a kilobyte for each exporter."""

    async def recall(self, raw_body: Any, **options: Any) -> Any:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class _NoDiffs(kopf.DiffBaseStorage):
    """Disables Kopf's comparison of an object with a copy in an annotation, because users may write that annotation."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> None:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


def _taking_lists(
    on_page: Callable[[list[Any]], Coroutine[Any, Any, None]], pages: list[asyncio.Task[None]]
) -> type[aiohttp.ClientResponse]:
    """A class of responses that passes the items of each list of exporters to `on_page`, and hides them from Kopf.

    Kopf starts a task and keeps a kilobyte for each object of a list: with 10,000 exporters, half of the CPU time of a
    start. Kopf still requests the pages, and then watches from the version of the list. One page is processed while the
    API server prepares the next one. The watch begins after the last one. `pages` has the page that is being processed;
    all sessions of a watch share it, because Kopf may continue a list with a new session.
    """

    class Response(aiohttp.ClientResponse):
        async def json(self, **options: Any) -> Any:
            body = await super().json(**options)
            if isinstance(body, dict) and body.get("kind") == f"{KIND}List" and isinstance(body.get("items"), list):
                items, body["items"] = body["items"], []
                while pages:
                    await pages.pop()
                pages.append(asyncio.create_task(on_page(items), name="page"))
                if not (body.get("metadata") or {}).get("continue"):
                    await pages.pop()
            return body

    return Response


class NamespaceWatch:
    """Watches exporters in one namespace, or in all of them (None).

    `check` raises `ClusterError` if exporters cannot be listed or watched.
    """

    def __init__(
        self,
        namespace: str | None,
        on_event: OnEvent,
        clock: Clock,
        *,
        selector: str | None,
        check: Callable[[], Awaitable[None]],
        timings: Timings = TIMINGS,
    ) -> None:
        self.namespace = namespace
        self._on_event = on_event
        self._clock = clock
        self._selector = selector
        self._check = check
        self._timings = timings
        self.own_signals: Callable[[], None] = lambda: None
        """Called after each start, because Kopf takes over the signal handlers of the process."""
        self._restart_requested = asyncio.Event()
        self._failures = 0
        self._attempt_began = clock.monotonic()
        self._session: _Session | None = None
        self._pages: list[asyncio.Task[None]] = []
        self._blind_since: float | None = clock.monotonic()
        self.problem: str | None = "the watch has not started"
        """Why exporters are not watched; None while they are."""
        self.listed = False
        """Whether the first list has arrived, or an attempt to get it has failed."""
        self.starts = 0

    @property
    def blind_seconds(self) -> float:
        """For how long exporters have not been watched; 0 while they are."""
        return 0.0 if self._blind_since is None else self._clock.monotonic() - self._blind_since

    def restart(self) -> None:
        """End the current attempt because it missed changes. The next one starts with a list."""
        self._restart_requested.set()

    async def run(self) -> None:
        """Watch until cancelled. A failed attempt is logged and repeated, after longer and longer pauses."""
        while True:
            self._restart_requested.clear()
            try:
                await self._check()
                await self._attempt()
            except ClusterError as error:
                self._set_problem(str(error))
            except Exception as error:  # noqa: BLE001  any event or response that Kopf does not expect
                self._set_problem(f"the watch failed: {type(error).__name__}")
            pause = min(self._timings.max_pause, self._timings.first_pause * 2 ** min(self._failures, 10))
            self._failures += 1
            log.warning("%s is not watched, retrying in %g s: %s", self, pause, self.problem)
            await self._clock.sleep(pause)

    def __str__(self) -> str:
        return f"namespace {self.namespace}" if self.namespace else "the cluster"

    async def _attempt(self) -> None:
        """Watch until Kopf ends, or until the attempt must be replaced. Raises the reason."""
        self._attempt_began = self._clock.monotonic()
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._on_event)
        self.starts += 1
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=self._settings(),
            memories=_NoMemories(),
            standalone=True,
            clusterwide=self.namespace is None,
            namespaces=[self.namespace] if self.namespace else [],
        )
        self.own_signals()
        try:
            while not (done := [task for task in tasks if task.done()]):
                await self._wait_for_end(set(tasks))
            for task in done:
                task.result()
            raise ClusterError("the watch ended unexpectedly")
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
                while self._pages:  # an old page must not follow a newer list
                    self._pages[-1].cancel()
                    await asyncio.wait([self._pages.pop()])
            finally:  # also if this watch is cancelled while it waits for Kopf
                if self._session:
                    await self._session.aiohttp_session.close()
                self._session = None

    async def _wait_for_end(self, tasks: set[Any]) -> None:
        """Return when a task has ended, or after `Timings.look`. Raises `ClusterError` to restart the watch."""
        restart = asyncio.ensure_future(self._restart_requested.wait())
        look = asyncio.ensure_future(self._clock.sleep(self._timings.look))
        began = self._clock.monotonic()
        try:
            await asyncio.wait({*tasks, restart, look}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            restart.cancel()
            look.cancel()
        if self._restart_requested.is_set():
            raise ClusterError("the watch missed changes")
        if self.problem is None and self._clock.monotonic() - began >= self._timings.look:
            self._failures = 0
        if min(self.blind_seconds, self._clock.monotonic() - self._attempt_began) > self._timings.stuck:
            raise ClusterError(self.problem or "")

    def _set_problem(self, problem: str) -> None:
        if self._blind_since is None:
            self._blind_since = self._clock.monotonic()
        self.problem = problem
        self.listed = True

    def _clear_problem(self) -> None:
        if self.problem is not None:
            log.info("%s is watched", self)
        self._blind_since = None
        self.problem = None
        self.listed = True

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        """Kopf's login handler: current credentials, in a session that reports how its requests end."""
        connection = await auth.login()
        token = await connection.token()
        current = self._session
        same = current and (current.server, current.token) == (connection.server, token)
        if current and same and not current.aiohttp_session.closed:
            return current
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._on_response)
        trace.on_request_exception.append(self._on_failure)
        try:
            session = connection.session([trace], _taking_lists(self._on_page, self._pages))
        except UnusableConnection as error:
            raise ClusterError(f"the cluster cannot be reached: {error}") from None
        self._session = _Session(server=connection.server, aiohttp_session=session, token=token)
        return self._session

    async def _on_page(self, items: list[Any]) -> None:
        """Report the items of a page as Kopf would report them. Other tasks run every few milliseconds."""
        loop = asyncio.get_running_loop()
        pause = loop.time() + TURN_SECONDS
        while items:
            await self._on_event(event={"type": None, "object": items.pop(0)})
            if loop.time() > pause:
                await asyncio.sleep(0)
                pause = loop.time() + TURN_SECONDS

    async def _on_response(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.response.status >= 400:
            self._set_problem(f"the API server answered with HTTP {params.response.status}")
        elif params.url.query.get("watch"):
            self._clear_problem()

    async def _on_failure(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        error = params.exception
        if isinstance(error, asyncio.CancelledError):
            self._set_problem("the API server did not answer in time")
        else:
            self._set_problem(f"the API server did not answer ({tls_problem(error) or type(error).__name__})")

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        # By default, Kopf ends the process ten minutes after the end of a watch.
        settings.process.ultimate_exiting_timeout = None
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 10
        settings.networking.error_backoffs = self._timings.error_backoffs
        settings.watching.initial_streaming = False  # a list first, whose objects this module takes
        settings.watching.connect_timeout = 10
        settings.watching.reconnect_backoff = self._timings.reconnect_backoff
        settings.watching.server_timeout = 300
        # Kopf reads a page as a whole, and an object can have 1.5 MB. With the default of `idle_timeout`, the objects
        # that change in five seconds are in memory at the same time (docs/facts/kubernetes.md section 1).
        settings.watching.chunk_size = 25
        settings.queueing.idle_timeout = 0.1
        settings.persistence.diffbase_storage = _NoDiffs()
        # No object can have this finalizer. Kopf removes its finalizer from objects, which is a write.
        settings.persistence.finalizer = "not a finalizer"
        if self._selector:
            settings.watching.label_selectors[GROUP, VERSION, PLURAL] = self._selector
        return settings
