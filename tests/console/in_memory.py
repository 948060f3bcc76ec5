"""Exporters in memory as a source of the console: no API server has to run, and a test decides when a call returns."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
from yarl import URL

from qualtrics_exporter.cli.console.rows import row_of
from qualtrics_exporter.cli.console.server import serve
from qualtrics_exporter.cli.console.session import Session
from qualtrics_exporter.cli.console.snapshot import Snapshot
from qualtrics_exporter.cli.console.source import Event, Object
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import timestamp
from qualtrics_exporter.sandbox.account import Account
from tests.support.clock import SteeredClock

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
PATH = "exporters/dex/teams-rollout"


_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of the forms of a page."""
    return dict(_HIDDEN.findall(page))


class InMemory:
    """A `Source` with the exporter dex/teams-rollout, which was checked and has not run yet."""

    where = "a test"
    outbox = ""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.object: dict[str, Any] = {
            "metadata": {"namespace": "dex", "name": "teams-rollout", "uid": "one", "generation": 1, "annotations": {}},
            "spec": dict(Account.default().exporter_spec()),
            "status": {"observedGeneration": 1, "schedule": "every Monday at 00:00, UTC"},
        }
        self.version = 0
        self.patches: list[Object] = []
        self.problem: Failed | None = None
        """Why no exporter can be read."""
        self.asked: list[tuple[str, str]] = []
        self.questions = 0
        self.asked_permission = asyncio.Event()
        self.answers_events = asyncio.Event()
        self.answers_events.set()
        self.change()

    def change(self, **status: Any) -> None:
        """Write the status, as the operator does."""
        self.object["status"].update(status)
        self.version += 1
        self.object["metadata"]["resourceVersion"] = str(self.version)
        self.snapshot.put([row_of(Exporter.from_object(self.object))])
        self.snapshot.mark_complete()

    def edit(self, **spec: Any) -> None:
        """Change the spec, as a user does."""
        self.object["spec"].update(spec)
        self.object["metadata"]["generation"] += 1
        self.change()

    def ended(self, run_id: str, trigger: str = "Request") -> None:
        """A run or test ends, with 6 people."""
        entry = {
            "id": run_id,
            "trigger": trigger,
            "completionTime": timestamp(START),
            "result": "Succeeded",
            "reason": "Succeeded",
            "message": "It ended.",
            "recipients": {"accepted": 6},
        }
        if trigger == "Test":
            self.change(lastTest=entry)
        else:
            self.change(history=[entry, *self.object["status"].get("history", [])])

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations without their prefix."""
        return {key.rpartition("/")[2]: value for key, value in self.object["metadata"]["annotations"].items()}

    async def get(self, namespace: str, name: str) -> Object:
        self.asked.append((namespace, name))
        if self.problem:
            raise self.problem
        if (namespace, name) != ("dex", "teams-rollout"):
            raise Failed("There is none.", "NotFound")
        return copy.deepcopy(self.object)

    async def events(self, exporter: Object) -> Sequence[Event]:
        await self.answers_events.wait()
        return ()

    async def patch(self, exporter: Object, change: Object) -> None:
        if exporter["metadata"]["resourceVersion"] != self.object["metadata"]["resourceVersion"]:
            raise Failed("It has changed.", "Conflict")
        self.patches.append(change)
        self.object["metadata"]["annotations"].update(change.get("metadata", {}).get("annotations", {}))
        if "spec" in change:
            self.edit(**change["spec"])
        else:
            self.change()

    async def refusal(self, namespace: str) -> str | None:
        self.questions += 1
        self.asked_permission.set()
        return None

    def unavailable(self, action: str) -> str | None:
        return None


class Reader:
    """A browser without a script: it has the cookie of the session, and sends forms as a page of the console does."""

    def __init__(self, session: Session, http: aiohttp.ClientSession) -> None:
        self.host, self.base = session.host, session.base
        self.cookie = ""
        self._http = http
        self._address = session.new_address()

    async def enter(self) -> None:
        async with self._http.get(self._address) as response:
            cookie = SimpleCookie(response.headers["Set-Cookie"])
        self.cookie = "; ".join(f"{name}={each.value}" for name, each in cookie.items())

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        return await self._call("GET", path)

    async def post(self, path: str, form: Mapping[str, str] | bytes, **headers: str) -> tuple[int, str]:
        """Status, and the text or the address of the redirection."""
        return await self._call("POST", path, form, **headers)

    async def _call(self, method: str, path: str, form: Any = None, **more: str) -> tuple[int, str]:
        origin = f"http://{self.host}"
        address = URL(f"{origin}{self.base}{path}", encoded=True)
        headers = {"Cookie": self.cookie, "Origin": origin, **more}
        async with self._http.request(method, address, headers=headers, data=form, allow_redirects=False) as response:
            return response.status, response.headers.get("Location") or await response.text()


@asynccontextmanager
async def console_of(source: InMemory, clock: SteeredClock) -> AsyncIterator[Reader]:
    """The console of this source, and a reader who has opened its address."""
    async with (
        serve(source, clock) as session,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        reader = Reader(session, http)
        await reader.enter()
        yield reader
