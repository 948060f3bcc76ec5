"""Why the API server refused a request, as far as a user may see it.

HTTP 403 has many causes. A missing permission is only one of them: admission policies, webhooks, quotas and a namespace
that is being deleted answer with the same code, and say in their message what to do. That message reaches the user.
It is shortened, kept on one line and without addresses. Messages about the schema of an object are different: they
show its values, so only the names of fields are let through.
"""

import re
from collections.abc import Mapping
from typing import Any

from qualtrics_exporter.telemetry.redact import redact

LONGEST = 400
"""Characters of a message that are shown."""
_FIELDS = 5

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
_KEYS = re.compile(r"(\.parameters)[.\[].*", re.DOTALL)  # the keys of that map are anybody's words
_OBJECT = re.compile(r"^\S+ \"[^\"]*\" is forbidden: ")


def lacks_permission(reply: Mapping[str, Any]) -> bool:
    """Whether the body of a 403 says that the operator lacks a permission, and not something else."""
    message = _message(reply)
    if not message:
        return reply.get("reason") == "Forbidden"  # nothing says anything else
    return bool(_PERMISSION.search(message)) and not _ADMISSION.search(message)


def authorizer_reason(reply: Mapping[str, Any]) -> str:
    """What an authorizer says about a missing permission besides that it is missing; often nothing."""
    match = _PERMISSION.search(_message(reply))
    return _shown(match["why"]) if match and match["why"] else ""


def admission_reason(reply: Mapping[str, Any]) -> str:
    """What an admission policy or webhook says; empty if none of them refused the request."""
    match = _ADMISSION.search(message := _message(reply))
    return _shown(message[match.start() :]) if match else ""


def stated_reason(reply: Mapping[str, Any]) -> str:
    """What the API server says about a 403 that is not a missing permission; empty if it says nothing."""
    return admission_reason(reply) or _shown(_OBJECT.sub("", _message(reply)))


def failed_webhook(reply: Mapping[str, Any]) -> str:
    """Which admission webhook could not be called; empty if that is not the cause of an error."""
    match = _FAILED_WEBHOOK.search(_message(reply))
    return match[0] if match else ""


def is_too_large(reply: Mapping[str, Any]) -> bool:
    """Whether the store refused an object because of its size. The API server calls that an internal error."""
    return "request is too large" in _message(reply)


def named_fields(reply: Mapping[str, Any]) -> str:
    """Which fields a refusal is about, by their names only: its text shows their values, and those may be secrets."""
    details = reply.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    names = [_KEYS.sub(r"\1", str(cause.get("field"))) for cause in causes or [] if isinstance(cause, dict)]
    fields = sorted({name for name in names if _FIELD.fullmatch(name)})
    return f"see {', '.join(fields[:_FIELDS])}" if fields else "it names no field"


def _message(reply: Mapping[str, Any]) -> str:
    message = reply.get("message")
    return message[: 16 * LONGEST] if isinstance(message, str) else ""


def _shown(text: str) -> str:
    one_line = redact(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return one_line if len(one_line) <= LONGEST else f"{one_line[: LONGEST - 1]}…"
