"""Nexthink and Qualtrics as a plain, fast server, for results of a million rows.

The sandbox checks every contact and keeps it, so it would be the bottleneck. This server speaks the same calls and only
counts contacts. It imports the lists of a brand one chunk after the other, as Qualtrics does for one list.

Run as a module, it prints its origins, and then what was imported for each line of the standard input.
"""

import asyncio
import csv
import gzip
import io
import json
import ssl
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.processes import Child
from qualtrics_exporter.sandbox import Account

ACCOUNT = Account.default()
EXECUTED_ROWS = 1000
"""Nexthink executes queries with at most this number of rows."""
DIRECTORY = "/API/v3/directories/{directory}"
IMPORTS = DIRECTORY + "/mailinglists/{list}/transactioncontacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastSettings:
    rows: int
    origins: int
    """The number of ports. Each has its own rate limits at the operator."""
    import_seconds: float = 0.0
    import_seconds_per_thousand: float = 0.0


class FastRemote(Child):
    """The server, as the process of a benchmark sees it."""

    def __init__(self, settings: FastSettings, certificate: Path, log: Path) -> None:
        super().__init__(__name__, json.dumps(asdict(settings)), str(certificate), log=log)
        self.origins: list[str] = self.receive()

    def secrets(self, origin: int) -> dict[str, dict[str, str]]:
        """The keys of both Secrets for one origin."""
        url = self.origins[origin]
        keys = {"url": url, "tokenUrl": f"{url}/token", "clientId": "client", "clientSecret": "secret"}
        return {"nexthink": {**keys, "scope": "service:integration"}, "qualtrics": {**keys, "scope": "manage:all"}}

    def contacts(self) -> dict[str, int]:
        """The number of contacts in each batch that was sent."""
        answer: dict[str, int] = self.ask(question="contacts")
        return answer


def cells(rows: int) -> Iterator[str]:
    """The cells of a result: of ten, seven are people, one is a duplicate, one is empty and one is garbage."""
    for n in range(rows):
        kind = n % 10
        if kind < 7:
            yield f"first.last{n:07d}@example.com"
        else:
            yield (f"First.Last{n - 7:07d}@Example.COM", "", f"no address {n:07d}")[kind - 7]


def people(rows: int) -> int:
    """The number of people among the cells."""
    return sum(n % 10 < 7 for n in range(rows % 10)) + rows // 10 * 7


class FastServer:
    """Both services. All ports serve the same application."""

    def __init__(self, settings: FastSettings) -> None:
        self._settings = settings
        self._query = ACCOUNT.queries[ACCOUNT.query_id]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._query.columns)
        writer.writerows([cell] for cell in cells(settings.rows))
        self._file = gzip.compress(text.getvalue().encode(), 1)
        column = self._query.columns[0]
        data = [{column: cell} for cell in islice(cells(settings.rows), EXECUTED_ROWS)]
        answer = {"queryId": self._query.id, "executedQuery": self._query.executed, "rows": len(data), "data": data}
        self._executed = json.dumps(answer).encode()
        self._numbers = count(1)
        self._busy_until: dict[str, float] = defaultdict(float)
        self._imports: dict[str, tuple[int, float]] = {}
        self._batches: dict[str, int] = defaultdict(int)
        self._sent: dict[str, int] = {}

    async def serve(self, tls: ssl.SSLContext) -> None:
        """Serve until the standard input ends."""
        app = web.Application(client_max_size=10_000_000)
        one_list = DIRECTORY + "/mailinglists/{list}"
        message = {"category": "invite", "messages": {"en": "${l://SurveyURL}"}}
        app.add_routes(
            [
                web.post("/token", self.token),
                web.post("/api/v2/nql/execute", self.execute),
                web.post("/api/v1/nql/export", self.export),
                web.get("/api/v1/nql/status/{export}", self.export_status),
                web.get("/file", self.file),
                web.post(DIRECTORY + "/transactionbatches", self.create_batch),
                web.post(IMPORTS, self.import_contacts),
                web.get(IMPORTS + "/{job}", self.import_status),
                web.post("/API/v3/distributions", self.send),
                web.get("/API/v3/whoami", _fixed({"userId": "UR_1"})),
                web.get("/API/v3/surveys/{survey}", _fixed({"isActive": True, "expiration": {}})),
                web.get("/API/v3/libraries/{library}/messages/{message}", _fixed(message)),
                web.get(
                    "/API/v3/directories",
                    _fixed({"elements": [{"directoryId": ACCOUNT.directory_id}], "nextPage": None}),
                ),
                web.get(one_list, _fixed({"mailingListId": ACCOUNT.mailing_list_id, "contactCount": 0})),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(runner.cleanup)
            for _ in range(self._settings.origins):
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            _print([f"https://localhost:{port}" for _, port in runner.addresses])
            while await asyncio.to_thread(sys.stdin.readline):
                _print(self._sent)

    async def token(self, request: web.Request) -> web.Response:
        return web.json_response({"access_token": "token", "token_type": "Bearer", "expires_in": 3600})

    async def execute(self, request: web.Request) -> web.Response:
        return web.Response(body=self._executed, content_type="application/json")

    async def export(self, request: web.Request) -> web.Response:
        return web.json_response({"exportId": f"export-{next(self._numbers)}"})

    async def export_status(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "COMPLETED", "resultsFileUrl": f"https://{request.host}/file"})

    async def file(self, request: web.Request) -> web.Response:
        return web.Response(body=self._file, content_type="binary/octet-stream")

    async def create_batch(self, request: web.Request) -> web.Response:
        return _result({"id": f"BT_{next(self._numbers):015d}"})

    async def import_contacts(self, request: web.Request) -> web.Response:
        body = await request.read()
        contacts = body.count(b'"email"')
        batch = body[body.index(b"BT_") :][:18].decode()
        settings, mailing_list = self._settings, request.match_info["list"]
        takes = settings.import_seconds + settings.import_seconds_per_thousand * contacts / 1000
        ends = max(time.monotonic(), self._busy_until[mailing_list]) + takes
        self._busy_until[mailing_list] = ends
        job = f"PGRS_{next(self._numbers):015d}"
        self._imports[job] = contacts, ends
        self._batches[batch] += contacts
        url = f"https://{request.host}{request.path}/{job}"
        answer = {"id": job, "contacts": {"unprocessed": []}, "tracking": {"url": url}, "status": "inProgress"}
        return _result(answer, 202)

    async def import_status(self, request: web.Request) -> web.Response:
        contacts, ends = self._imports[request.match_info["job"]]
        if time.monotonic() < ends:
            contacts = 0
        counts = {"count": {"added": contacts, "updated": 0, "failed": 0}}
        answer: dict[str, Any] = {
            "percentComplete": 100 if contacts else 50,
            "contacts": counts,
            "transactions": {"count": {"created": contacts}},
            "invalidEmails": [],
            "status": "complete" if contacts else "inProgress",
        }
        return _result(answer)

    async def send(self, request: web.Request) -> web.Response:
        batch = (await request.json())["recipients"]["transactionBatchId"]
        self._sent[batch] = self._batches.pop(batch)
        return _result({"id": f"EMD_{next(self._numbers):015d}"})


def _fixed(result: Any) -> Any:
    async def handler(request: web.Request) -> web.Response:
        return _result(result)

    return handler


def _result(result: Any, status: int = 200) -> web.Response:
    """A result in the envelope of Qualtrics."""
    document = {"result": result, "meta": {"httpStatus": f"{status} - OK", "requestId": "request"}}
    return web.json_response(document, status=status)


def _print(document: Any) -> None:
    print(json.dumps(document), flush=True)


def main() -> None:
    """Serve with the settings of the command line."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[2])
    asyncio.run(FastServer(FastSettings(**json.loads(sys.argv[1]))).serve(tls))


if __name__ == "__main__":
    main()
