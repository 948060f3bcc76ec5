"""Bodies as Qualtrics wants them: no key too many, none too few (Qualtrics §3, S), and its envelope (§4)."""

import json
import re
import uuid
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from qualtrics_exporter.sandbox.middleware import Refused, Reply

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def result(document: object, status: int = 200) -> Reply:
    """An answer in its envelope."""
    return Reply.json({"result": document, "meta": _meta(status)}, status)


def refusal(status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> Refused:
    """An error in its envelope; without a code, `errorCode` is missing, as on some replies of the real one."""
    error = {"errorMessage": message} if code is None else {"errorMessage": message, "errorCode": code}
    return Refused(Reply.json({"meta": {**_meta(status), "error": error}}, status, dict(headers or {})))


def plain(status: int) -> Reply:
    """An error without a story."""
    return refusal(status, "Ordered by the sandbox.").reply if status >= 400 else result({}, status)


def _meta(status: int) -> dict[str, Any]:
    return {"httpStatus": f"{status} - {HTTPStatus(status).phrase}", "requestId": str(uuid.uuid4())}


async def document(request: web.Request) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    if request.content_type != "application/json":
        raise refusal(415, "Content-Type must be application/json.")
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise refusal(400, "The body is not JSON.", "QVAL_1") from None
    if not isinstance(body, dict):
        raise refusal(400, "The body is not an object.", "QVAL_1")
    return body


def keys(where: object, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """The object with exactly these keys: RP_9 for one too many, RP_10 for one too few."""
    if not isinstance(where, dict):
        raise refusal(400, f"An object with {', '.join(sorted(required))} is expected.", "QVAL_1")
    if extra := sorted(set(where) - required - optional):
        raise refusal(400, f"Unexpected json key provided: {extra[0]}", "RP_9")
    if missing := sorted(required - set(where)):
        raise refusal(400, f"Expected param not found: {missing[0]}", "RP_10")
    return where


def text(where: Mapping[str, Any], key: str, prefix: str = "") -> str:
    """A string that is not empty and begins like this."""
    value = where[key]
    if not isinstance(value, str) or not value.strip() or not value.startswith(prefix):
        raise refusal(400, f"{key} is not valid.", "QVAL_1")
    return value


def date(value: object, key: str) -> datetime:
    """ISO 8601 with Z and without milliseconds (Qualtrics §3)."""
    if isinstance(value, str) and DATE.fullmatch(value):
        try:
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
    raise refusal(400, f"{key} is not a date like 2026-01-01T10:00:00Z.", "QVAL_1")


def written(moment: datetime) -> str:
    """A date in the API's form."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
