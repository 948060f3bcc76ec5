"""The NQL API of Nexthink, and its token endpoint (Nexthink §1 and §2).

Unknown, and decided here: a query that the credential may not run is a 403 of execute, and a 404 of export like a
missing query (S). A missing, invalid or expired token is a 401 without a body. The codes of errors are 0, except for
100. The daily limit applies only to the status of exports, since a 429 is documented only there.
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
from qualtrics_exporter.sandbox.limits import JITTER, SlidingWindows, Use, retry_after
from qualtrics_exporter.sandbox.middleware import Handler, Middleware, Refused, Reply
from qualtrics_exporter.sandbox.object_store import COMPRESSIONS, ObjectStore, csv_chunks
from qualtrics_exporter.sandbox.tokens import TokenEndpoint

QUERY_ID = re.compile(r"#[a-z0-9_]{2,255}")
PARAMETER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")

SECOND = 1 - JITTER
DAY = 86400.0
"""The windows of the rate limits, in seconds."""


@dataclass
class ExportJob:
    """An export, from its start on."""

    id: str
    query: Query
    compression: str
    polls: int = 0


class NexthinkApi:
    """The API of one instance."""

    def __init__(self, account: Account, clock: Clock, middleware: Middleware, store: ObjectStore) -> None:
        self._account = account
        self._clock = clock
        self._middleware = middleware
        self._store = store
        self._exports: dict[str, ExportJob] = {}
        self._windows = SlidingWindows(clock)
        self.tokens = TokenEndpoint(clock, lambda: account.nexthink_credentials, lambda: account.nexthink_token_seconds)

    def mount(self, app: web.Application) -> None:
        """Serve the API."""

        def route(method: str, path: str, operation: str, handler: Handler) -> None:
            self._middleware.route(app, "nexthink", method, path, operation, handler, status_reply=status_reply)

        route("POST", "/oauth2/default/v1/token", "token", self.tokens.issue)
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
        content_type = _accepted_format(request.headers.get("Accept", "*/*"))
        body = _read_object(await request.read(), request.content_type, {"queryId", "parameters"})
        self._count()
        query = self._query(body)
        if not query.permitted:
            raise _error(403, "The credential is not allowed to run this query.")
        executed = self._with_parameters(query, body.get("parameters", {}))
        if query.heavy:
            return Reply(self._account.heavy_status)
        rows = list(islice(query.stream(), self._account.limits.nexthink_execute_rows))
        if content_type == "text/csv":
            chunks = csv_chunks(query.columns, rows, line_end=self._account.csv_line_end)
            content = b"".join([chunk async for chunk in chunks])
            return Reply(200, content, {"Content-Type": "text/csv; charset=utf-8"})
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
            body = _from_url(request.query)
        else:
            known = {"queryId", "parameters", "compression"}
            body = _read_object(await request.read(), request.content_type, known)
        self._count()
        query = self._query(body)
        if not query.permitted:
            raise _missing()
        self._with_parameters(query, body.get("parameters", {}))
        compression = body.get("compression", "NONE")
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
        if (wait := self._windows.exceeded("day", self._account.limits.nexthink_calls_per_day, DAY)) is not None:
            raise self._limited(wait)
        export.polls += 1
        if export.polls <= self._account.export_polls:
            return Reply.json({"status": "SUBMITTED" if export.polls == 1 else "IN_PROGRESS"})
        if export.query.export_error is not None:
            return Reply.json({"status": "ERROR", "errorDescription": export.query.export_error})
        url = self._store.sign(export.id, export.query, export.compression)
        answer = {"status": self._account.export_completed_word, "resultsFileUrl": url}
        return Reply.json(answer, 206 if export.query.truncated else 200)

    # Shared by both.

    def _authorize(self, request: web.Request) -> None:
        token = self.tokens.find(request)
        if token is None or token.credential.elsewhere != "no":
            raise Refused(Reply(401))

    def _count(self) -> None:
        wait = self._windows.enter(("second", self._account.limits.nexthink_queries_per_second, SECOND))
        if wait is not None:
            raise self._limited(wait)
        self._windows.count("day")

    def uses(self) -> list[Use]:
        """How much of the rate limits is used now."""
        limits = self._account.limits
        return [
            Use(
                "nexthink_queries_per_second", limits.nexthink_queries_per_second, self._windows.used("second", SECOND)
            ),
            Use("nexthink_calls_per_day", limits.nexthink_calls_per_day, self._windows.used("day", DAY)),
        ]

    def _limited(self, wait: float) -> Refused:
        form = self._account.limits.nexthink_retry_after
        if form == "date" and wait < 60:
            form = "seconds"
        return Refused(Reply(429, b"", retry_after(form, wait, self._clock)))

    def _query(self, body: Mapping[str, object]) -> Query:
        query_id = body.get("queryId")
        if not isinstance(query_id, str) or not QUERY_ID.fullmatch(query_id):
            raise _error(400, "queryId is malformed.")
        query = self._account.queries.get(query_id)
        if query is None:
            raise _missing()
        return query

    def _with_parameters(self, query: Query, parameters: object) -> str:
        """The NQL that runs. The request must have each `$name` of the query as a parameter, and no others."""
        if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
            raise _error(400, "parameters is an object of strings.")
        names = set(PARAMETER.findall(query.executed))
        if names != set(parameters):
            raise _error(400, "The query takes these parameters: " + (", ".join(sorted(names)) or "none"))
        quote = '"' if self._account.parameters_quoted else ""
        return PARAMETER.sub(lambda found: f"{quote}{parameters[found[1]]}{quote}", query.executed)


def status_reply(status: int) -> Reply:
    """A reply with this status, for a fault or a bug in the sandbox: 403 and 500 have a body, others often none (D)."""
    if status in {400, 403, 500}:
        return Reply.json({"message": "Injected by the sandbox.", "code": 0, "source": "sandbox"}, status)
    return Reply(status)


def _error(status: int, message: str, code: int = 0) -> Refused:
    return Refused(Reply.json({"message": message, "code": code, "source": "nql"}, status))


def _missing() -> Refused:
    return _error(404, "The query does not exist.", 100)


def _accepted_format(accept: str) -> str:
    """The format that the request accepts: JSON by default, or CSV. Any other format is a 406 (D)."""
    for part in accept.split(","):
        kind = part.partition(";")[0].strip().lower()
        if kind in {"application/json", "application/*", "*/*", ""}:
            return "application/json"
        if kind in {"text/csv", "text/*"}:
            return "text/csv"
    raise Refused(Reply(406))


def _read_object(content: bytes, content_type: str, known: set[str]) -> dict[str, object]:
    if content_type != "application/json":
        raise Refused(Reply(415))
    try:
        document = json.loads(content)
    except ValueError:
        raise _error(400, "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise _error(400, "The body is not an object.")
    if unknown := sorted(set(document) - known):
        raise _error(400, f"Unknown property: {unknown[0]}")
    return document


def _from_url(query: Mapping[str, str]) -> dict[str, object]:
    """The body of an export that is requested with GET. Other keys than queryId and compression are parameters (I)."""
    body: dict[str, object] = {key: query[key] for key in ("queryId", "compression") if key in query}
    body["parameters"] = {key: value for key, value in query.items() if key not in body}
    return body


def _parts(now: datetime) -> dict[str, int]:
    names = ("year", "month", "day", "hour", "minute", "second")
    return {name: getattr(now, name) for name in names}
