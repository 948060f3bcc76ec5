"""Nexthink's token endpoint and NQL API (Nexthink §1 and §2).

Unknown, and decided here: a query that this credential may not run is 403 on execute and looks missing on export
(S: they look alike there); a token that is bad, old or absent is 401 without a body; codes other than 100 are 0; the
daily limit stops nothing but the status of exports, which is the only one for which a 429 is documented.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Account, Query
from qualtrics_exporter.sandbox.limits import LEEWAY, Windows, retry_after
from qualtrics_exporter.sandbox.middleware import Handler, Middleware, Refused, Reply
from qualtrics_exporter.sandbox.object_store import COMPRESSIONS, ObjectStore, csv_chunks
from qualtrics_exporter.sandbox.tokens import Tokens

QUERY_ID = re.compile(r"#[a-z0-9_]{2,255}")
PARAMETER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass
class ExportJob:
    """One export under way."""

    id: str
    query: Query
    compression: str
    polls: int = 0


class NexthinkApi:
    """One instance."""

    def __init__(self, account: Account, clock: Clock, middleware: Middleware, store: ObjectStore) -> None:
        self._account = account
        self._clock = clock
        self._middleware = middleware
        self._store = store
        self._exports: dict[str, ExportJob] = {}
        self._windows = Windows(clock)
        self.tokens = Tokens(clock, lambda: account.nexthink_credentials, lambda: account.nexthink_token_seconds)

    def mount(self, app: web.Application) -> None:
        """Serve the whole API."""

        def route(method: str, path: str, operation: str, handler: Handler) -> None:
            self._middleware.route(app, "nexthink", method, path, operation, handler, plain=plain)

        route("POST", "/oauth2/default/v1/token", "token", self.tokens.give)
        route("POST", "/api/v1/nql/execute", "execute", self.execute_v1)
        route("POST", "/api/v2/nql/execute", "execute", self.execute_v2)
        route("POST", "/api/v1/nql/export", "export", self.export)
        route("GET", "/api/v1/nql/export", "export", self.export)
        route("GET", "/api/v1/nql/status/{export_id}", "status", self.status)
        route("*", "/{path:(?!_sandbox).*}", "unknown", self.unknown)

    async def unknown(self, request: web.Request) -> Reply:
        return Reply(404)

    # Execute.

    async def execute_v1(self, request: web.Request) -> Reply:
        return await self._execute(request, 1)

    async def execute_v2(self, request: web.Request) -> Reply:
        return await self._execute(request, 2)

    async def _execute(self, request: web.Request, version: int) -> Reply:
        self._authorize(request)
        wanted = _wanted(request.headers.get("Accept", "*/*"))
        asked = _document(await request.read(), request.content_type, {"queryId", "parameters"})
        self._count()
        query = self._find(asked)
        if not query.permitted:
            raise _error(403, "The credential is not allowed to run this query.")
        executed = self._filled(query, asked.get("parameters", {}))
        if query.heavy:
            return Reply(self._account.heavy_status)
        rows = list(islice(query.stream(), self._account.limits.nexthink_execute_rows))
        if wanted == "text/csv":
            chunks = csv_chunks(query.columns, rows, line_end=self._account.csv_line_end)
            body = b"".join([chunk async for chunk in chunks])
            return Reply(200, body, {"Content-Type": "text/csv; charset=utf-8"})
        answer: dict[str, object] = {"queryId": query.id, "executedQuery": executed, "rows": len(rows)}
        utc = request.headers.get("x-utc-times", "").lower() == "true"
        now = self._clock.now().astimezone(UTC if utc else ZoneInfo(self._account.instance_zone))
        if version == 1:
            answer["executionDateTime"] = _parts(now)
            answer["headers"] = query.columns
            answer["data"] = [list(row) for row in rows]
        else:
            answer["executionDateTime"] = f"{now:%Y-%m-%dT%H:%M:%S}" + ("Z" if utc else "")
            answer["data"] = [dict(zip(query.columns, row, strict=True)) for row in rows]
        return Reply.json(answer)

    # Export.

    async def export(self, request: web.Request) -> Reply:
        self._authorize(request)
        if request.method == "GET":
            asked = _from_address(request.query)
        else:
            known = {"queryId", "parameters", "compression"}
            asked = _document(await request.read(), request.content_type, known)
        self._count()
        query = self._find(asked)
        if not query.permitted:
            raise _missing()
        self._filled(query, asked.get("parameters", {}))
        compression = asked.get("compression", "NONE")
        if compression not in COMPRESSIONS:
            raise _error(400, "compression is one of " + ", ".join(COMPRESSIONS))
        export = ExportJob(secrets.token_hex(16), query, str(compression))
        self._exports[export.id] = export
        return Reply.json({"exportId": export.id})

    async def status(self, request: web.Request) -> Reply:
        self._authorize(request)
        export = self._exports.get(request.match_info["export_id"])
        if export is None:
            return Reply(404)
        if (wait := self._windows.exceeded("day", self._account.limits.nexthink_calls_per_day, 86400.0)) is not None:
            raise self._limited(wait)
        export.polls += 1
        if export.polls <= self._account.export_polls:
            return Reply.json({"status": "SUBMITTED" if export.polls == 1 else "IN_PROGRESS"})
        if export.query.export_error is not None:
            return Reply.json({"status": "ERROR", "errorDescription": export.query.export_error})
        url = self._store.sign(export.id, export.query, export.compression)
        answer = {"status": self._account.export_completed_word, "resultsFileUrl": url}
        return Reply.json(answer, 206 if export.query.truncated else 200)

    # What they share.

    def _authorize(self, request: web.Request) -> None:
        grant = self.tokens.holder(request)
        if grant is None or grant.credential.elsewhere != "no":
            raise Refused(Reply(401))

    def _count(self) -> None:
        wait = self._windows.enter(("second", self._account.limits.nexthink_queries_per_second, 1 - LEEWAY))
        if wait is not None:
            raise self._limited(wait)
        self._windows.count("day")

    def _limited(self, wait: float) -> Refused:
        form = self._account.limits.nexthink_retry_after
        if form == "date" and wait < 60:
            form = "seconds"
        return Refused(Reply(429, b"", retry_after(form, wait, self._clock)))

    def _find(self, asked: Mapping[str, object]) -> Query:
        query_id = asked.get("queryId")
        if not isinstance(query_id, str) or not QUERY_ID.fullmatch(query_id):
            raise _error(400, "queryId is malformed.")
        query = self._account.queries.get(query_id)
        if query is None:
            raise _missing()
        return query

    def _filled(self, query: Query, parameters: object) -> str:
        """The NQL that runs: every $name must be given, and nothing else."""
        if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
            raise _error(400, "parameters is an object of strings.")
        names = set(PARAMETER.findall(query.executed))
        if names != set(parameters):
            raise _error(400, "parameters do not fit the query: it takes " + (", ".join(sorted(names)) or "none"))
        quote = '"' if self._account.parameters_quoted else ""
        return PARAMETER.sub(lambda found: f"{quote}{parameters[found[1]]}{quote}", query.executed)


def plain(status: int) -> Reply:
    """An error without a story: 403 and 500 have a body, the others often none (D)."""
    if status in {400, 403, 500}:
        return Reply.json({"message": "Ordered by the sandbox.", "code": 0, "source": "sandbox"}, status)
    return Reply(status)


def _error(status: int, message: str, code: int = 0) -> Refused:
    return Refused(Reply.json({"message": message, "code": code, "source": "nql"}, status))


def _missing() -> Refused:
    return _error(404, "The query does not exist.", 100)


def _wanted(accept: str) -> str:
    """The format asked for: JSON by default, CSV, or 406 (D)."""
    for part in accept.split(","):
        kind = part.partition(";")[0].strip().lower()
        if kind in {"application/json", "application/*", "*/*", ""}:
            return "application/json"
        if kind in {"text/csv", "text/*"}:
            return "text/csv"
    raise Refused(Reply(406))


def _document(body: bytes, content_type: str, known: set[str]) -> dict[str, object]:
    if content_type != "application/json":
        raise Refused(Reply(415))
    try:
        document = json.loads(body)
    except ValueError:
        raise _error(400, "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise _error(400, "The body is not an object.")
    if unknown := sorted(set(document) - known):
        raise _error(400, f"Unknown property: {unknown[0]}")
    return document


def _from_address(query: Mapping[str, str]) -> dict[str, object]:
    """The GET form of an export: what is neither the query nor the compression is a parameter (I)."""
    asked: dict[str, object] = {key: query[key] for key in ("queryId", "compression") if key in query}
    asked["parameters"] = {key: value for key, value in query.items() if key not in asked}
    return asked


def _parts(now: datetime) -> dict[str, int]:
    names = ("year", "month", "day", "hour", "minute", "second")
    return {name: getattr(now, name) for name in names}
