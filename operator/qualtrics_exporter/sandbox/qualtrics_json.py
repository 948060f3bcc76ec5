"""The JSON of Qualtrics: strict request bodies (Qualtrics §3, S), and the envelope of every reply (§4)."""

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
    """A result in the envelope."""
    return Reply.json({"result": document, "meta": _meta(status)}, status)


def refusal(status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> Refused:
    """An error in the envelope. Without a code, `errorCode` is missing, like in some errors of Qualtrics."""
    error = {"errorMessage": message} if code is None else {"errorMessage": message, "errorCode": code}
    return Refused(Reply.json({"meta": {**_meta(status), "error": error}}, status, dict(headers or {})))


def status_reply(status: int) -> Reply:
    """A reply with this status, for a fault or a bug in the sandbox."""
    return refusal(status, "Injected by the sandbox.").reply if status >= 400 else result({}, status)


def _meta(status: int) -> dict[str, Any]:
    return {"httpStatus": f"{status} - {HTTPStatus(status).phrase}", "requestId": str(uuid.uuid4())}


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body of the request, which must be a JSON object."""
    if request.content_type != "application/json":
        raise refusal(415, "Content-Type must be application/json.")
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise refusal(400, "The body is not JSON.", "QVAL_1") from None
    if not isinstance(body, dict):
        raise refusal(400, "The body is not an object.", "QVAL_1")
    return body


def check_keys(value: object, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """Return the value. Refuse it with RP_9 if it has an unknown key, and with RP_10 if a key is missing."""
    if not isinstance(value, dict):
        raise refusal(400, f"An object with {', '.join(sorted(required))} is expected.", "QVAL_1")
    if extra := sorted(set(value) - required - optional):
        raise refusal(400, f"Unexpected json key provided: {extra[0]}", "RP_9")
    if missing := sorted(required - set(value)):
        raise refusal(400, f"Expected param not found: {missing[0]}", "RP_10")
    return value


def check_text(document: Mapping[str, Any], key: str, prefix: str = "") -> str:
    """The value of the key, which must be a string with this prefix that is not empty."""
    value = document[key]
    if not isinstance(value, str) or not value.strip() or not value.startswith(prefix):
        raise refusal(400, f"{key} is not valid.", "QVAL_1")
    return value


def parse_time(value: object, key: str) -> datetime:
    """A time in ISO 8601, with Z and without milliseconds (Qualtrics §3)."""
    if isinstance(value, str) and DATE.fullmatch(value):
        try:
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
    raise refusal(400, f"{key} is not a date like 2026-01-01T10:00:00Z.", "QVAL_1")


def format_time(moment: datetime) -> str:
    """The time as Qualtrics writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
