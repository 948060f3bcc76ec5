"""What exists outside of the cluster: Nexthink instances with saved queries, and Qualtrics brands.

The logic is that of the sandbox, on virtual time. Only its HTTP layer is replaced: `Routes` takes the place of the
sandbox's `Middleware` and of the aiohttp router. The people of a query change over time. Every state of a query has a
version, so that the invariants know whether the query ever returned a person.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from qualtrics_exporter.sandbox.account import EMAIL, Account, Credential, Query
from qualtrics_exporter.sandbox.distributions import Distributions
from qualtrics_exporter.sandbox.imports import Imports
from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.middleware import CALL, Refused, Reply
from qualtrics_exporter.sandbox.nexthink_api import NexthinkApi
from qualtrics_exporter.sandbox.object_store import ObjectStore
from qualtrics_exporter.sandbox.qualtrics_api import QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_state import QualtricsState
from qualtrics_exporter.sandbox.recorder import RecordedCall, Recorder

from .clock import EPOCH

EXECUTE_ROWS = 12
"""The maximum number of rows of an execution, 1,000 in reality. It is small, so that exports are common and cheap."""

QUERY_TEXT = "users | list ad.email_address"
DRIFTED_TEXT = "users during past 7d | list ad.email_address"


@dataclass(frozen=True)
class People:
    """The people that a query returns at one time. `text` is the NQL that runs."""

    query_id: str
    version: int
    text: str
    addresses: frozenset[str]
    rows: tuple[tuple[str], ...]


class SavedQuery(Query):
    """A saved query whose people and text change over time."""

    def __init__(self, query_id: str, size: int) -> None:
        self.size = size
        self.first = 0
        self.drifted = False
        self.version = 0
        super().__init__(query_id, [EMAIL], lambda: self.state.rows, QUERY_TEXT)
        self.state = self._people()

    def change(self, *, moved: int = 0, drifted: bool | None = None, size: int | None = None) -> None:
        """Some people leave and others join, or a user edits the saved query."""
        self.first += moved
        self.size = self.size if size is None else size
        self.drifted = self.drifted if drifted is None else drifted
        self.version += 1
        self.state = self._people()
        self.executed = self.state.text

    def _people(self) -> People:
        # An edited query returns other people, so that a mail with the wrong query shows.
        kind = "other" if self.drifted else "person"
        stem = self.id.lstrip("#").replace("_", "-")
        addresses = [f"{kind}{n}.{stem}@example.com" for n in range(self.first, self.first + self.size)]
        rows = [(address,) for address in addresses]
        if rows:
            rows.insert(1, ("",))
            rows.append((addresses[0].upper(),))
        text = DRIFTED_TEXT if self.drifted else QUERY_TEXT
        return People(self.id, self.version, text, frozenset(addresses), tuple(rows))


class WorldClock:
    """The true time, which Nexthink and Qualtrics have."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._time())

    def monotonic(self) -> float:
        return self._time()

    def uptime(self) -> float:
        return self._time()

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("the sandbox replies at once, and the network adds the delays")


@dataclass(slots=True)
class Request:
    """The attributes of an aiohttp request that the handlers of the sandbox use."""

    method: str
    path: str
    headers: dict[str, str]
    query: dict[str, str]
    match_info: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0]

    async def read(self) -> bytes:
        return self.body


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    operation: str
    handler: Callable[[Any], Any]
    status_reply: Callable[[int], Reply]


class Routes:
    """Takes the place of the sandbox's `Middleware`: calls the handlers of one host without a socket."""

    def __init__(self, clock: WorldClock) -> None:
        self.clock = clock
        self._routes: list[Route] = []
        self._found: dict[tuple[str, str], tuple[Route, dict[str, str]]] = {}

    def route(
        self,
        app: Any,
        side: str,
        method: str,
        path: str,
        operation: str,
        handler: Callable[[Any], Any],
        *,
        status_reply: Any,
    ) -> None:
        """As `Middleware.route`."""
        pattern = re.compile(re.sub(r"\{(\w+)(?::([^{}]*(?:\([^)]*\))?[^{}]*))?\}", _group, path))
        self._routes.append(Route(method, pattern, f"{side}.{operation}", handler, status_reply))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request."""
        if (found := self._found.get((method, path))) is None:
            for route in self._routes:
                if route.method in (method, "*") and (match := route.pattern.fullmatch(path)):
                    found = route, match.groupdict()
                    break
            else:
                raise LookupError(f"{method} {path}")
            if len(self._found) > 5000:
                self._found.clear()
            self._found[method, path] = found
        return found

    def serve(self, method: str, rest: str, headers: dict[str, str], body: bytes) -> Reply:
        """Handle a request, with its effect."""
        split = urlsplit(rest)
        route, match = self.find(method, split.path)
        CALL.set(
            RecordedCall("qualtrics", route.operation, method, split.path, self.clock.now(), self.clock.monotonic())
        )
        CALL.get().bytes = len(body)
        query = dict(parse_qsl(split.query, keep_blank_values=True)) if split.query else {}
        try:
            return _result_of(route.handler(Request(method, split.path, headers, query, match, body)))  # type: ignore[no-any-return]
        except Refused as refused:
            return refused.reply


def _group(found: re.Match[str]) -> str:
    return f"(?P<{found[1]}>{found[2] or '[^/]+'})"


def _result_of(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as done:
        return done.value


def body_of(reply: Reply) -> bytes:
    """The complete body of a reply of the sandbox."""
    if isinstance(reply.body, bytes):
        return reply.body

    async def collect(body: Any) -> bytes:
        return b"".join([chunk async for chunk in body])

    return bytes(_result_of(collect(reply.body)))


@dataclass
class Instance:
    """One Nexthink instance."""

    host: str
    account: Account
    routes: Routes
    queries: dict[str, SavedQuery] = field(default_factory=dict)

    def add(self, query_id: str, size: int) -> SavedQuery:
        query = self.queries[query_id] = SavedQuery(query_id, size)
        self.account.queries[query_id] = query
        return query

    def secret(self, client: int = 0) -> dict[str, str]:
        """The data of a Secret for this instance."""
        credential = self.account.nexthink_credentials[client]
        token_url = f"https://{self.host}/oauth2/default/v1/token"
        return _secret(f"https://{self.host}", token_url, credential)


@dataclass
class QualtricsBrand:
    """One Qualtrics brand."""

    host: str
    account: Account
    routes: Routes
    recorder: Recorder
    state: QualtricsState

    def secret(self, client: int = 0) -> dict[str, str]:
        """The data of a Secret for this brand."""
        credential = self.account.qualtrics_credentials[client]
        return _secret(f"https://{self.host}", f"https://{self.host}/oauth2/token", credential)

    def add_target(self, number: int) -> dict[str, str]:
        """Add a survey and a mailing list. Returns the ids for a spec."""
        survey, mailing_list = f"SV_{number:015d}", f"CG_{number:015d}"
        self.account.add_survey(survey)
        self.account.add_mailing_list(mailing_list, bystanders=["bystander@example.com"])
        return {
            "surveyId": survey,
            "mailingListId": mailing_list,
            "directoryId": self.account.directory_id,
            "messageId": self.account.message_id,
            "libraryId": self.account.library_id,
        }


def _secret(url: str, token_url: str, credential: Credential) -> dict[str, str]:
    return {
        "url": url,
        "tokenUrl": token_url,
        "clientId": credential.client_id,
        "clientSecret": credential.client_secret,
        "scope": " ".join(sorted(credential.scopes)),
    }


def _account_with(limits: Limits) -> Account:
    account = Account(limits=limits)
    for number in range(2):  # two of each, to rotate a Secret
        account.nexthink_credentials.append(
            Credential(f"nexthink-{number}", "s3cret", frozenset({"service:integration"}))
        )
        account.qualtrics_credentials.append(Credential(f"qualtrics-{number}", "s3cret", frozenset({"manage:all"})))
    account.add_message(account.message_id)
    account.add_directory(account.directory_id, "Employees")
    account.directories_page_size = 100
    return account


def instance(number: int, clock: WorldClock) -> tuple[Instance, dict[str, Routes]]:
    """A Nexthink instance, and the routes of its hosts."""
    host = f"t{number}.api.eu.nexthink.cloud"
    files = files_host(host)
    account = _account_with(Limits(nexthink_execute_rows=EXECUTE_ROWS))
    api, store_routes = Routes(clock), Routes(clock)
    store = ObjectStore(account, clock, store_routes)  # type: ignore[arg-type]
    store.url = f"https://{files}"
    store.mount(SimpleNamespace())  # type: ignore[arg-type]
    NexthinkApi(account, clock, api, store).mount(SimpleNamespace())  # type: ignore[arg-type]
    return Instance(host, account, api), {host: api, files: store_routes}


def files_host(host: str) -> str:
    """The host of the files of a Nexthink host. Another host is returned as it is."""
    return host.replace(".api.eu.nexthink.cloud", ".s3.eu-west-1.amazonaws.com")


def brand(number: int, clock: WorldClock) -> tuple[QualtricsBrand, dict[str, Routes]]:
    """A Qualtrics brand, and the routes of its host."""
    host = f"b{number}.eu.qualtrics.com"
    account, routes, recorder, app = _account_with(Limits()), Routes(clock), Recorder(), SimpleNamespace()
    state = QualtricsState(account, clock, recorder)
    door = QualtricsApi(account, clock, routes, state)  # type: ignore[arg-type]
    door.url = f"https://{host}"
    door.mount(app)  # type: ignore[arg-type]
    Imports(door).mount(app)  # type: ignore[arg-type]
    Distributions(door).mount(app)  # type: ignore[arg-type]
    door.close(app)  # type: ignore[arg-type]
    return QualtricsBrand(host, account, routes, recorder, state), {host: routes}


def document(body: bytes) -> Any:
    """A JSON body."""
    return json.loads(body)


__all__ = [
    "DRIFTED_TEXT",
    "EXECUTE_ROWS",
    "QUERY_TEXT",
    "Instance",
    "Iterable",
    "People",
    "QualtricsBrand",
    "Routes",
    "SavedQuery",
    "Sequence",
    "WorldClock",
    "body_of",
    "brand",
    "document",
    "files_host",
    "instance",
]
