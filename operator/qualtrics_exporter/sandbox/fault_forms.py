"""Faults for people: kinds that the page of the sandbox offers, descriptions of faults, and the form of all fields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qualtrics_exporter.sandbox.faults import Fault, matches_any

SEND = "qualtrics.create_distribution"


@dataclass(frozen=True)
class FaultKind:
    """A fault that people choose by its name. `fields` are those of `Fault`."""

    id: str
    title: str
    explanation: str
    fields: Mapping[str, Any]

    @property
    def times(self) -> str:
        return format_times(self.fields.get("times", 1))


KINDS = {
    kind.id: kind
    for kind in (
        FaultKind(
            "lost-reply",
            "Qualtrics accepts the send, and the reply is lost",
            "The people get the survey, but the connection closes before the reply. A correct client does not send "
            "again: it looks the distribution up.",
            {"operation": SEND, "drop": "after"},
        ),
        FaultKind(
            "lost-send",
            "The send does not reach Qualtrics",
            "The connection closes before the send has an effect. For the client, this looks like a lost reply.",
            {"operation": SEND, "drop": "before"},
        ),
        FaultKind(
            "refused-send",
            "Qualtrics refuses the send",
            "The reply is 400, and nobody gets the survey.",
            {"operation": SEND, "status": 400},
        ),
        FaultKind(
            "rate-limit",
            "Qualtrics limits requests",
            "The reply to any request is 429, and Retry-After asks for 5 seconds.",
            {"operation": "qualtrics.*", "status": 429, "headers": {"Retry-After": "5"}, "times": 3},
        ),
        FaultKind(
            "qualtrics-down",
            "Qualtrics is not available",
            "The reply to any request is 503.",
            {"operation": "qualtrics.*", "status": 503, "times": None},
        ),
        FaultKind(
            "nexthink-500",
            "Nexthink answers 500",
            "The reply to any request is an internal error.",
            {"operation": "nexthink.*", "status": 500, "times": 3},
        ),
        FaultKind(
            "cut-result",
            "The result of a query breaks off",
            "The connection closes after 40 bytes of the result of an execution.",
            {"operation": "nexthink.execute", "truncate": 40},
        ),
        FaultKind(
            "hold-send",
            "A send is held before it has an effect",
            "It waits until you release it. Meanwhile, you can stop or kill the client.",
            {"operation": SEND, "hold": "before"},
        ),
        FaultKind(
            "hold-reply",
            "The reply to a send is held",
            "The people get the survey. The reply waits until you release it.",
            {"operation": SEND, "hold": "after"},
        ),
        FaultKind(
            "hold-all",
            "All requests are held until you release them",
            "New requests of Nexthink and Qualtrics are held too, until you remove the fault.",
            {"operation": "*", "hold": "before", "times": None},
        ),
    )
}

TIMES = {"": "as described", "1": "once", "3": "3 times", "10": "10 times", "always": "until you remove it"}
"""The choices for how often a fault hits."""


@dataclass(frozen=True)
class Field:
    """A field of the form with all fields of `Fault`. `choices` are the values that can be selected."""

    name: str
    label: str
    hint: str
    read: Callable[[str], Any]
    choices: Mapping[str, str] = field(default_factory=dict)
    kind: str = "text"
    """The type of the input, or `textarea` or `select`."""


def _times(text: str) -> int | None:
    return None if text == "always" else _whole(text)


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ValueError
    return seconds


def _status(text: str) -> int:
    status = int(text)
    if not 200 <= status <= 599:
        raise ValueError
    return status


def _chosen(choices: Mapping[str, str], values: Mapping[str, Any] | None = None) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in choices:
            raise ValueError
        return text if values is None else values[text]

    return read


def _headers(text: str) -> dict[str, str]:
    headers = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon or not name.isascii() or any(not (char.isalnum() or char in "-_") for char in name):
            raise ValueError
        headers[name] = value.strip()
    return headers


DROP = {"": "no", "before": "before the effect: the request is lost", "after": "after the effect: the reply is lost"}
HOLD = {"": "no", "before": "before the effect", "after": "after the effect, before the reply"}
EFFECT = {"": "only without a status", "yes": "yes", "no": "no"}
YES = {"": "no", "yes": "yes"}

FIELDS = (
    Field("operation", "Operation", "It can contain * for any text, such as qualtrics.*", str.strip, kind="operation"),
    Field("times", "How many requests", "A number, or always. Empty: 1.", _times),
    Field("after", "After how many requests", "These are not hit. Empty: 0.", _whole, kind="number"),
    Field("status", "Status", "From 200 to 599. Empty: that of the service.", _status, kind="number"),
    Field("body", "Body", "In place of the body of the service.", str, kind="textarea"),
    Field("headers", "Headers", "One a line, such as Retry-After: 5", _headers, kind="textarea"),
    Field("delay", "Delay before the effect", "Seconds.", _seconds),
    Field("delay_after", "Delay after the effect", "Seconds.", _seconds),
    Field("hold", "Hold the request", "Until you release it.", _chosen(HOLD), HOLD, "select"),
    Field("drop", "Close the connection", "Without a reply.", _chosen(DROP), DROP, "select"),
    Field("truncate", "Break off the body after", "Bytes.", _whole, kind="number"),
    Field("endless", "Endless body", "Spaces until the client closes the connection.", bool, YES, "select"),
    Field(
        "apply_effect",
        "The request has its effect",
        "Such as a send.",
        _chosen(EFFECT, {"yes": True, "no": False}),
        EFFECT,
        "select",
    ),
)


def from_kind(form: Mapping[str, str]) -> dict[str, Any]:
    """The fields of the fault that the form of the kinds asks for. Raises ValueError."""
    kind, times = form.get("kind", ""), form.get("times", "")
    if kind not in KINDS or times not in TIMES:
        raise ValueError("Choose a fault.")
    fields = {"times": 1, **KINDS[kind].fields}
    return fields if not times else {**fields, "times": _times(times)}


def from_fields(form: Mapping[str, str], operations: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of the fault that the form of all fields asks for, and what is wrong with it, by field."""
    fields: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for each in FIELDS:
        text = form.get(each.name, "")
        if not text.strip():
            continue
        try:
            fields[each.name] = each.read(text)
        except ValueError:
            wrong[each.name] = f"“{text}” is not possible here. {each.hint}"
    operation = fields.get("operation", "")
    if not matches_any(operation, operations):
        wrong["operation"] = f"No operation matches “{operation}”." if operation else "Choose an operation."
    if not set(fields) - {"operation", "times", "after", "apply_effect"} and not wrong:
        wrong["operation"] = "This fault does nothing: choose also a status, a delay, or another effect."
    return fields, wrong


def describe(fault: Fault) -> str:
    """What the fault does to a request, for people."""
    effects = [
        f"waits {fault.delay:g} seconds" if fault.delay else "",
        "is held before its effect" if fault.hold == "before" else "",
        "is lost before its effect: the connection closes" if fault.drop == "before" else "",
        f"waits {fault.delay_after:g} seconds after its effect" if fault.delay_after else "",
        "has its effect, then is held before the reply" if fault.hold == "after" else "",
        "has its effect, and its reply is lost: the connection closes" if fault.drop == "after" else "",
        f"gets the status {fault.status}" if fault.status is not None else "",
        "has its effect in spite of the status" if fault.status is not None and fault.effective else "",
        "has no effect" if fault.status is None and fault.apply_effect is False and fault.drop != "before" else "",
        "gets another body" if fault.body is not None else "",
        f"gets the header {', '.join(f'{name}: {value}' for name, value in fault.headers.items())}"
        if fault.headers
        else "",
        "gets a reply without an end" if fault.endless else "",
        f"gets only {fault.truncate} bytes of the body" if fault.truncate is not None else "",
    ]
    return "; ".join(filter(None, effects)) or "is not changed"


def title(fault: Fault) -> str:
    """The name of the fault: that of its kind, or else its operation."""
    return next((kind.title for kind in KINDS.values() if _is_of(fault, kind)), f"Requests of {fault.operation}")


def _is_of(fault: Fault, kind: FaultKind) -> bool:
    ignored = ("times", "hits", "passed")
    pattern = vars(Fault(**kind.fields))
    return all(value == pattern[name] for name, value in vars(fault).items() if name not in ignored)


def format_times(times: int | None) -> str:
    """How often a fault hits."""
    return "until you remove it" if times is None else "once" if times == 1 else f"{times} times"
