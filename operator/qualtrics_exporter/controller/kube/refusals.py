"""Why the API server refused a request, without anything that a user must not see.

HTTP 403 has many causes. A missing permission is only one of them: admission policies, webhooks, quotas and a namespace
that is being deleted answer with the same code, and their message says what to do. Users see that message, shortened,
on one line and without e-mail addresses. Messages about the schema of an object contain its values, so users see only
the names of the fields.
"""

import re
from collections.abc import Mapping
from typing import Any

from qualtrics_exporter.telemetry.redact import redact

MAX_CHARACTERS = 400
"""Of a message that users see."""
_MAX_FIELDS = 5

_PERMISSION = re.compile(
    r"cannot \S+ (?:resource|path) \"[^\"]*\"(?: in API group \"[^\"]*\")?"
    r"(?: in the namespace \"[^\"]*\"| at the cluster scope)?(?:: (?P<why>.*))?",
    re.DOTALL,
)
_ADMISSION = re.compile(
    r"(?:admission webhook \"|ValidatingAdmissionPolicy '|MutatingAdmissionPolicy ')[^\"']*[\"'].*"
    r" denied (?:the )?request",
    re.DOTALL,
)
_FAILED_WEBHOOK = re.compile(r"failed calling webhook \"[\w.-]{1,253}\"")
_FIELD = re.compile(r"(?:spec|status)(?:\.[A-Za-z]{1,40}|\[\d{1,4}\]){0,6}")
_KEYS = re.compile(r"(\.parameters)[.\[].*", re.DOTALL)  # users choose the keys of that map
_OBJECT = re.compile(r"^\S+ \"[^\"]*\" is forbidden: ")


def lacks_permission(body: Mapping[str, Any]) -> bool:
    """Whether the body of a 403 reports a missing permission, and not another cause."""
    message = _message(body)
    if not message:
        return body.get("reason") == "Forbidden"  # without a message, this is the likely cause
    return bool(_PERMISSION.search(message)) and not _ADMISSION.search(message)


def authorizer_reason(body: Mapping[str, Any]) -> str:
    """What the authorizer adds about a missing permission; often empty."""
    match = _PERMISSION.search(_message(body))
    return _shown(match["why"]) if match and match["why"] else ""


def admission_reason(body: Mapping[str, Any]) -> str:
    """The message of the admission policy or webhook that refused the request; empty if none did."""
    match = _ADMISSION.search(message := _message(body))
    return _shown(message[match.start() :]) if match else ""


def stated_reason(body: Mapping[str, Any]) -> str:
    """The message of a 403 that is not a missing permission; may be empty."""
    return admission_reason(body) or _shown(_OBJECT.sub("", _message(body)))


def failed_webhook(body: Mapping[str, Any]) -> str:
    """The admission webhook that the API server failed to call; empty if that is not the cause."""
    match = _FAILED_WEBHOOK.search(_message(body))
    return match[0] if match else ""


def is_too_large(body: Mapping[str, Any]) -> bool:
    """Whether etcd refused an object because of its size. The API server reports an internal error then."""
    return "request is too large" in _message(body)


def named_fields(body: Mapping[str, Any]) -> str:
    """The names of the fields that the API server refused. Its message also has their values, which may be secrets."""
    details = body.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    names = [_KEYS.sub(r"\1", str(cause.get("field"))) for cause in causes or [] if isinstance(cause, dict)]
    fields = sorted({name for name in names if _FIELD.fullmatch(name)})
    return f"see {', '.join(fields[:_MAX_FIELDS])}" if fields else "the API server names no field"


def _message(body: Mapping[str, Any]) -> str:
    message = body.get("message")
    return message[: 16 * MAX_CHARACTERS] if isinstance(message, str) else ""


def _shown(text: str) -> str:
    one_line = redact(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return one_line if len(one_line) <= MAX_CHARACTERS else f"{one_line[: MAX_CHARACTERS - 1]}…"
