"""The controller at a desk: all of its real parts, without the process around them.

An exporter in the real API server is tended by the real reconciler, over the real HTTP clients, against the sandbox on
real sockets. What is left out is what calls `tend`: Kopf's watch, the scheduler, the elector. Time passes for whoever
sleeps, so a scenario takes a few hundred milliseconds, and hundreds of them can be tried.

A desk is for one scenario. It keeps what the API server took, and looks afterwards for everything that must not be in
anything that somebody can read.
"""

import asyncio
import base64
import io
import itertools
import json
import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

from kubernetes.aio import client
from prometheus_client import generate_latest

from qualtrics_exporter.controller.app import build
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.work_item import Turn
from qualtrics_exporter.export.query_texts import QueryTexts, at_once
from qualtrics_exporter.remote.bodies import Download
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.transport import Request, Timeouts, Transport
from qualtrics_exporter.resource.exporter import GROUP, KIND, PLURAL, RUN_REQUESTED_AT, VERSION, Exporter
from qualtrics_exporter.sandbox import Sandbox
from qualtrics_exporter.sandbox.account import EMAIL, Query
from qualtrics_exporter.sandbox.recorder import SentDistribution
from qualtrics_exporter.sandbox.server import ServerName
from qualtrics_exporter.telemetry import logs
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.environment import log_settings
from tests.environment.clock import HastyClock, in_background
from tests.environment.sandbox import Certificates
from tests.environment.waiting import HANG_SECONDS
from tests.faults.oracle import Found, Written, leaks
from tests.remote.servers import Server

# A Monday, and its slot is over: no slot falls due during a scenario, unless it wants one.
START = datetime(2026, 1, 5, 10, tzinfo=UTC)
PATIENT = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
"""On a busy machine a reply of the sandbox takes its time; where one is to be too late, `Exit` gives it up."""
TENDS = 12
"""A run that has not ended after so many looks at its exporter has no end."""
RUNS_AT_A_DESK = 9
"""Its history holds one more."""
STEM = "planted."
"""What every address begins with that is looked for afterwards."""
PEOPLE = [f"{STEM}{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")]

T = TypeVar("T")
_NUMBERS = itertools.count(1)
_OF_THIS_RUN = secrets.token_hex(3)
"""Another test process may be at work in the same namespace."""


class DeskClock(HastyClock):
    """Whoever sleeps makes the time pass, and things may happen while they do."""

    def __init__(self) -> None:
        super().__init__(start=START)
        self._meanwhile: list[tuple[float, Callable[[], Awaitable[None]]]] = []

    def meanwhile(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """During the next sleep of at least so many seconds, this happens, once."""
        self._meanwhile.append((seconds, act))

    async def sleep(self, seconds: float) -> None:
        for item in [item for item in self._meanwhile if item[0] <= seconds and not in_background()]:
            self._meanwhile.remove(item)
            await item[1]()
        await super().sleep(seconds)


class WatchedCluster(ClusterApi):
    """The cluster as the operator uses it. Keeps what was taken, and lets others write first."""

    def __init__(self, api: client.ApiClient, clock: DeskClock) -> None:
        super().__init__(api)
        self._clock = clock
        self.written: list[Written] = []
        self.statuses: list[Mapping[str, Any]] = []
        """Every status that was taken, oldest first."""
        self.before_write: Callable[[], Awaitable[None]] | None = None

    async def replace_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self.before_write:
            await self.before_write()
        taken = await super().replace_status(namespace, name, uid, resource_version, status)
        self.written.append(Written(self._clock.monotonic(), status.get("activeRun")))
        self.statuses.append(status)
        return taken


class User:
    """Whoever writes the objects: the same API server, by calls that the operator never makes."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api = api
        self._exporters = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"

    async def create_exporter(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}, "spec": dict(spec)}
        return await self._call("POST", self._exporters, body)

    async def put_secret(self, name: str, data: Mapping[str, str]) -> None:
        """Create a Secret, or replace it; the values are base64 already."""
        metadata = {"name": name}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": dict(data)}
        try:
            await self._call("POST", self._secrets, body)
        except ApiRefused as refused:
            if refused.status != 409:
                raise
            await self._call("PUT", f"{self._secrets}/{name}", body)

    async def exporter(self, name: str) -> dict[str, Any]:
        return await self._call("GET", f"{self._exporters}/{name}")

    async def patch(self, name: str, *, subresource: str = "", **parts: Any) -> None:
        """As `kubectl patch --type merge`: `metadata=…`, `spec=…`."""
        path = f"{self._exporters}/{name}/{subresource}".rstrip("/")
        await self._call("PATCH", path, parts, content="application/merge-patch+json")

    async def events(self, name: str) -> list[dict[str, Any]]:
        listed = await self._call("GET", self._events, query=[("fieldSelector", f"regarding.name={name}")])
        return list(listed["items"])

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: str = "application/json",
        query: list[tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        request = await self._api.param_serialize(
            method,
            path,
            query_params=query or [],
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(*request)
        reply: dict[str, Any] = json.loads(await response.read())
        if not 200 <= response.status < 300:
            raise ApiRefused(response.status, str(reply.get("message")))
        return reply


class ApiRefused(Exception):
    """The API server does not take what a user wants."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


class Exit:
    """Where requests leave. A port can be closed just before one, and one that was too slow be let go just after."""

    def __init__(self, wire: Transport, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._exchange, self._download = wire.exchange, wire.download
        wire.exchange, wire.download = self.exchange, self.download  # type: ignore[method-assign]
        self._closed: dict[str, bool] = {}
        self._late: dict[str, bool] = {}
        self.requests: list[Request] = []
        """All that left, or wanted to."""
        self.refused: list[str] = []
        """The operations that met a closed port."""

    def close(self, operation: str, *, once: bool) -> None:
        """Its port is closed when it is next asked for; `once` opens it again for the next try."""
        self._closed[operation] = once

    def too_late(self, operation: str, *, drop: bool) -> None:
        """A request that stands held is not waited for any more; then it goes on, or else ends there."""
        self._late[operation] = drop

    async def clear(self) -> None:
        """Forget what was ordered, and open what was closed."""
        self._closed.clear()
        self._late.clear()
        self.refused.clear()
        for door in get_args(ServerName):
            await self._sandbox.open_port(door)

    async def exchange(self, request: Request) -> Any:
        self.requests.append(request)
        operation = f"{request.service}.{request.operation}"
        async with self._leaving(operation):
            return await self._unless_late(operation, self._exchange(request))

    @asynccontextmanager
    async def download(self, request: Request) -> AsyncIterator[Download]:
        self.requests.append(request)
        operation = f"{request.service}.{request.operation}"
        async with self._leaving(operation), AsyncExitStack() as stack:
            yield await self._unless_late(operation, stack.enter_async_context(self._download(request)))

    async def _unless_late(self, operation: str, asking: Coroutine[Any, Any, T]) -> T:
        """The reply; `Lost` when the request stands held and is to be too late. No real time decides that."""
        if operation not in self._late:
            return await asking
        reply = asyncio.create_task(asking)
        held = asyncio.create_task(self._sandbox.faults.reached(operation, timeout=HANG_SECONDS))
        try:
            await asyncio.wait({reply, held}, return_when=asyncio.FIRST_COMPLETED)
            if reply.done():
                return reply.result()
            held.result()
            raise ResponseLost("it fell silent")
        finally:
            for task in (reply, held):
                task.cancel()
            await asyncio.wait({reply, held})

    @asynccontextmanager
    async def _leaving(self, operation: str) -> AsyncIterator[None]:
        once = self._closed.get(operation)
        door = "store" if operation.endswith(".download") else operation.partition(".")[0]
        if once is not None:
            with suppress(KeyError):  # it is closed already
                await self._sandbox.close_port(door)
        try:
            yield
        except ConnectFailed:
            self.refused.append(operation)
            raise
        finally:
            if once:
                del self._closed[operation]
                await self._sandbox.open_port(door)
            if (drop := self._late.get(operation)) is not None:
                self._sandbox.faults.release(operation, drop=drop)
                await _breathe()


async def _breathe() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


class Desk:
    """One exporter, and everything that works on it."""

    def __init__(
        self,
        office: "Office",
        sandbox: Sandbox,
        clock: DeskClock,
        remotes: ApiContext,
        metrics: Metrics,
        canary: Server,
        log: io.StringIO,
    ) -> None:
        self.sandbox, self.account, self.faults = sandbox, sandbox.account, sandbox.faults
        self.clock = clock
        self.canary = canary
        self.exit = Exit(remotes.transport, sandbox)
        self.cluster = WatchedCluster(office.api, clock)
        self.user = User(office.api, office.namespace)
        self.name = f"desk-{_OF_THIS_RUN}-{next(_NUMBERS)}"
        self.spec: dict[str, Any] = sandbox.account.exporter_spec()
        self.metrics = metrics
        self.raised: list[str] = []
        self._shown_before: dict[str, Any] = {}
        self._office = office
        self._log = log
        self._uid = ""
        self._sent_before = 0
        self.runs = 0
        for side in ("nexthink", "qualtrics"):
            self.spec[side]["credentialsSecretRef"] = {"name": self.secret(side)}
        self.people(PEOPLE)
        self._clients = ClientFactory(self.cluster, remotes, QueryTexts(at_once))
        self.restart()

    def restart(self) -> None:
        """What a new process of the same pod begins with: nothing but what the API server keeps."""
        self._first = True
        operator = build(
            Settings(leader_election=False),
            self.cluster,
            self.clock,
            clients=self._clients,
            metrics=self.metrics,
            instance="desk",
            pod="desk",
        )
        self.reconciler, self.targets = operator.reconciler, operator.targets

    @property
    def uid(self) -> str:
        """The uid of its exporter."""
        return self._uid

    @property
    def exists(self) -> bool:
        """Whether its exporter was applied."""
        return bool(self._uid)

    async def begin(self) -> None:
        """All is well again, and what comes is another scenario, of the same exporter."""
        await self.mended()
        self._sent_before = len(self.sandbox.ledger.distributions)
        self.sandbox.ledger.clear()
        self.canary.heard.clear()
        self.canary.heard_for_tokens.clear()
        self._log.seek(0)
        self._log.truncate()

    def shows(self, **settings: Any) -> None:
        """Qualtrics lets less be seen, until all is well again."""
        for name, value in settings.items():
            self._shown_before.setdefault(name, getattr(self.account, name))
            setattr(self.account, name, value)

    async def mended(self) -> None:
        """All is well again."""
        for name, value in self._shown_before.items():
            setattr(self.account, name, value)
        self._shown_before.clear()
        self.faults.clear()
        await self.exit.clear()

    # What its user does

    def secret(self, side: str) -> str:
        """The name of that side's Secret."""
        return f"{self.name}-{side}"

    def people(self, people: Collection[str] | int) -> None:
        """The query returns these, or so many."""
        self.returned = [f"{STEM}{n:05d}@example.com" for n in range(people)] if isinstance(people, int) else people
        executed = self.spec["nexthink"]["query"]
        rows = [[person] for person in self.returned]
        self.account.add_query(Query(self.account.query_id, [EMAIL], rows, executed))

    async def put_secret(self, side: str, data: Mapping[str, str | bytes]) -> None:
        """Write a side's Secret."""
        await self.user.put_secret(self.secret(side), {key: _base64(value) for key, value in data.items()})

    async def apply(self, secrets_: Mapping[str, Mapping[str, str | bytes]] | None = None) -> dict[str, Any]:
        """Write the Secrets and the exporter, and have it looked at; returns its condition `Ready`."""
        for side, data in (secrets_ or self.sandbox.secrets()).items():
            await self.put_secret(side, data)
        created = await self.user.create_exporter(self.name, self.spec)
        self._uid = created["metadata"]["uid"]
        status = await self.until(lambda status: status.get("observedGeneration") == 1)
        return condition(status, "Ready")

    async def ready(self) -> None:
        """Apply the exporter, which must then be ready."""
        found = await self.apply()
        assert found.get("status") == "True", found

    async def run(self) -> dict[str, Any] | None:
        """Ask for a run; its entry, or None if it has no end."""
        self.runs += 1
        await self.user.patch(self.name, metadata={"annotations": {RUN_REQUESTED_AT: str(self.runs)}})
        status = await self.until(
            lambda status: "activeRun" not in status and status.get("lastHandledRunRequest") == str(self.runs)
        )
        requested = [entry for entry in status.get("history", []) if entry["trigger"] == "Request"]
        return requested[0] if len(requested) == self.runs else None  # a desk is not for more than a history holds

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Tend as the scheduler would until the status is as wanted, and not for ever; the last status."""
        for _ in range(TENDS):
            wake = await self.tend()
            if wanted(status := await self._observed()):
                break
            self.clock.advance_to(wake)
        return status

    async def tend(self) -> datetime:
        """One look at the exporter; when the next one is due."""
        key = Key(self._office.namespace, self.name, self._uid)
        try:
            wake = await self.reconciler.reconcile(key, Turn(self._first, timedelta(0), 0, 1))
            self._first = False
        except Exception:  # the scheduler lives on, writes it to its log, and comes again
            logging.getLogger(__name__).exception("%s could not be reconciled", key)
            self.raised.append(traceback.format_exc())
            return self.clock.now() + timedelta(minutes=1)
        # A spec that waits for its user is never looked at again: nothing here waits so long.
        return min(wake.at, self.clock.now() + timedelta(days=1))

    async def _observed(self) -> dict[str, Any]:
        """The status as the watch brings it."""
        body = await self.user.exporter(self.name)
        exporter = Exporter.from_object(body)
        self.targets.observe(exporter)
        self.metrics.exporter(exporter, conditions.is_ready(exporter.status, exporter.generation))
        found: dict[str, Any] = body.get("status", {})
        return found

    # What can be seen afterwards

    async def status(self) -> dict[str, Any]:
        """The exporter's status."""
        found: dict[str, Any] = (await self.user.exporter(self.name)).get("status", {})
        return found

    async def condition(self, type_: str) -> dict[str, Any]:
        """One of its conditions."""
        return condition(await self.status(), type_)

    @property
    def sent(self) -> list[SentDistribution]:
        """The distributions that Qualtrics took in this scenario."""
        return self.sandbox.ledger.distributions[self._sent_before :]

    def asked(self, operation: str) -> int:
        """How often a remote side was asked for that."""
        return self.sandbox.ledger.count(operation)

    @property
    def log(self) -> str:
        """What the product wrote to its log, at the level `debug`."""
        return self._log.getvalue()

    async def leaks(self, **more: Collection[str]) -> list[Found]:
        """Where an address, a token or a secret can be read."""
        events = await self.user.events(self.name)
        places = {
            "the object": json.dumps(await self.user.exporter(self.name), ensure_ascii=False),
            "its Events": json.dumps(events, ensure_ascii=False),
            "the log": self.log,
            "a traceback": "\n".join(self.raised),
            "the metrics": generate_latest(self.metrics.registry).decode(),
            **{f"the file {path.name}": path.read_text("utf-8", "replace") for path in _files(self._office.folder)},
        }
        account = self.account
        credentials = [*account.nexthink_credentials, *account.qualtrics_credentials]
        needles = {
            "an address": [STEM],
            "a secret": [one.client_secret for one in credentials],
            "a token": self.sandbox.issued_tokens(),
            "a header": ["Bearer ", *(_base64(f"{one.client_id}:{one.client_secret}") for one in credentials)],
            "a signature": ["X-Amz"],
            **more,
        }
        return leaks(places, needles)


@dataclass
class Office:
    """What desks of one module share: a namespace, a client, a folder for temporary files."""

    api: client.ApiClient
    namespace: str
    folder: Path
    certificates: Certificates
    """Trusted by the clients of the product."""

    @asynccontextmanager
    async def desk(
        self,
        *,
        people: int | None = None,
        allowed_hosts: Collection[str] = ("127.0.0.1",),
        allow_http: bool = True,
        canary: Server | None = None,
        **sandbox: Any,
    ) -> AsyncIterator[Desk]:
        """A desk for one scenario."""
        clock, log, metrics = DeskClock(), io.StringIO(), Metrics()
        metrics.leading(True)
        remotes = ApiContext(
            clock=clock,
            allowed_hosts=list(allowed_hosts),
            allow_http=allow_http,
            observe=metrics.observe,
            timeouts=PATIENT,
        )
        async with AsyncExitStack() as stack:
            # The two forms of the log take turns.
            stack.enter_context(logged(log, "json" if next(_NUMBERS) % 2 else "console"))
            running = await stack.enter_async_context(Sandbox(clock=clock, **sandbox))
            listening = await stack.enter_async_context(canary or Server())
            await stack.enter_async_context(remotes)
            stack.callback(running.faults.clear)
            desk = Desk(self, running, clock, remotes, metrics, listening, log)
            if people is not None:
                desk.people(people)
            yield desk
            assert running.ledger.errors == []


class Desks:
    """A desk for one scenario after the other: the same one, as long as its exporter is as ready as it was."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._stack = AsyncExitStack()
        self._desk: Desk | None = None
        self._kind: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ready(self, *, people: int | None = None, fresh: bool = False) -> Desk:
        """A desk whose exporter is ready, and where nothing goes wrong yet; if `fresh`, where nothing was sent yet."""
        if not fresh and self._desk and self._kind == people and self._desk.runs < RUNS_AT_A_DESK:
            await self._desk.begin()
            if (await self._desk.condition("Ready"))["status"] == "True":
                return self._desk
        await self._stack.aclose()
        desk = await self._stack.enter_async_context(self._office.desk(people=people))
        self._desk, self._kind = desk, people
        await desk.ready()
        return desk


@contextmanager
def logged(stream: io.StringIO, form: logs.Format) -> Iterator[None]:
    """Log as the product does, at its most talkative, and to nowhere else; afterwards as before."""
    with log_settings.restored():
        logging.getLogger().handlers[:] = []
        logs.configure(form, "debug", stream=stream)
        yield


def condition(status: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """One condition of a status; empty when it is absent."""
    return next((dict(one) for one in status.get("conditions", []) if one["type"] == type_), {})


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
