"""How a call to Nexthink or Qualtrics can fail, and how a run with that fault must end.

The expectations follow from the promises in docs/, not from the code. docs/reliability.md shows them to users.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any, Literal

GARBAGE = "<html><body>The proxy greets planted.proxy@example.com</body></html>"
LIST = "qualtrics.list_distributions"
REFUSAL = (
    '{"meta": {"error": {"errorCode": "planted.code@example.com", "errorMessage": "planted.error@example.com"}},'
    ' "message": "planted.error@example.com", "code": "planted.code@example.com"}'
)


@dataclass(frozen=True)
class FaultType:
    """A way in which a call fails. `order` makes the fault of the sandbox, from the time and the URL of the canary."""

    name: str
    order: Callable[[datetime, str], Mapping[str, Any]] = lambda _now, _canary: {}
    late: Literal["dropped", "served", "served later"] | None = None
    """The reply comes when the client has given up. The request is dropped, served, or served only then."""
    closed: bool = False
    """The port is closed."""
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Faults of other operations for the same time, by operation."""
    account: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the sandbox: what Qualtrics shows of a distribution."""


def _reply(**order: Any) -> Callable[[datetime, str], Mapping[str, Any]]:
    return lambda _now, _canary: order


def _limited(_now: datetime, _canary: str) -> Mapping[str, Any]:
    return {"status": 429, "body": REFUSAL}


def _limited_until(now: datetime, _canary: str) -> Mapping[str, Any]:
    date = format_datetime(now + timedelta(seconds=40), usegmt=True)
    return {"status": 429, "body": REFUSAL, "headers": {"Retry-After": date}}


def _redirect(_now: datetime, canary: str) -> Mapping[str, Any]:
    return {"status": 307, "headers": {"Location": f"{canary}/elsewhere"}}


FAULT_TYPES = {
    type_.name: type_
    for type_ in (
        *(FaultType(str(status), _reply(status=status, body=REFUSAL)) for status in (400, 401, 403, 404, 409)),
        FaultType("403, a page", _reply(status=403, body=GARBAGE)),
        FaultType("401 page, done", _reply(status=401, body=GARBAGE, apply_effect=True)),
        FaultType("403 bare, done", _reply(status=403, body=b"", apply_effect=True)),
        FaultType("429, in seconds", _reply(status=429, body=REFUSAL, headers={"Retry-After": "40"})),
        FaultType("429, at a date", _limited_until),
        FaultType("429", _limited),
        FaultType("429 for a day", _reply(status=429, headers={"Retry-After": "86400"})),
        FaultType("500", _reply(status=500, body=REFUSAL)),
        FaultType("503", _reply(status=503, body=GARBAGE)),
        FaultType("500, done", _reply(status=500, apply_effect=True)),
        FaultType("429, done", _reply(status=429, apply_effect=True)),
        FaultType("429, no list", _reply(status=429, apply_effect=True), also={LIST: {"status": 503}}),
        FaultType("429, late list", _reply(status=429, apply_effect=True), account={"list_lag_seconds": 300}),
        FaultType("429, hidden", _reply(status=429, apply_effect=True), account={"batch_echo": "never"}),
        FaultType("429, none else", _limited, account={"batch_echo": "never"}),
        FaultType("a proxy's page", _reply(status=200, body=GARBAGE)),
        FaultType("not JSON", _reply(body=GARBAGE)),
        FaultType("truncated", _reply(truncate=5)),
        FaultType("empty", _reply(body=b"")),
        FaultType("redirect", _redirect),
        FaultType("not reached", closed=True),
        FaultType("dropped before", _reply(drop="before")),
        FaultType("dropped after", _reply(drop="after")),
        FaultType("late, not done", _reply(hold="before"), late="dropped"),
        FaultType("late, done", _reply(hold="after"), late="served"),
        FaultType("late, then done", _reply(hold="before"), late="served later"),
    )
}

ONCE_ONLY = {name for name, type_ in FAULT_TYPES.items() if type_.late}
"""Each call with one of these takes real time."""


# How the run ends, by the kind of call. A reason: the run fails with it, and nobody was mailed. `+` before a reason:
# only if the fault never ends; with the fault once, the run succeeds. `sent` and `unknown`: how a send ends whose
# outcome is looked up. `-`: not tried, because the operator looks only for a send after a 429, and counts an import.
# `done`, `no list`, `late list` and `hidden`: Qualtrics sends or imports, and replies with 429 all the same. Its list
# shows that, cannot be read, shows it after five minutes, or does not show where distributions go. `none else`: it does
# not show that either, but did not send, and the list is empty.
EXPECTATIONS = """
fault            read                 import               send                 token                download

400              RequestRefused       RequestRefused       SendRefused          CredentialsRefused   +RemoteUnavailable
401              +CredentialsRefused  +CredentialsRefused  CredentialsRefused   CredentialsRefused   +RemoteUnavailable
403              NotPermitted         NotPermitted         NotPermitted         CredentialsRefused   +RemoteUnavailable
404              RequestRefused       RequestRefused       SendRefused          RequestRefused       +RemoteUnavailable
409              RequestRefused       RequestRefused       SendRefused          RequestRefused       +RemoteUnavailable
403, a page      +RemoteReplyInvalid  +RemoteReplyInvalid  unknown              +RemoteReplyInvalid  +RemoteUnavailable
401 page, done   +RemoteReplyInvalid  +RemoteReplyInvalid  sent                 +RemoteReplyInvalid  +RemoteUnavailable
403 bare, done   +RemoteReplyInvalid  +RemoteReplyInvalid  sent                 +RemoteReplyInvalid  +RemoteUnavailable
429, in seconds  +RateLimited         +RateLimited         +RateLimited         +RateLimited         +RemoteUnavailable
429, at a date   +RateLimited         +RateLimited         +RateLimited         +RateLimited         +RemoteUnavailable
429              +RateLimited         +RateLimited         +RateLimited         +RateLimited         +RemoteUnavailable
429 for a day    RateLimited          RateLimited          +RateLimited         RateLimited          +RemoteUnavailable
429, done        -                    +RateLimited         sent                 -                    -
429, no list     -                    -                    unknown              -                    -
429, late list   -                    -                    sent                 -                    -
429, hidden      -                    -                    unknown              -                    -
429, none else   -                    -                    +RateLimited         -                    -
500              +RemoteUnavailable   +RemoteUnavailable   unknown              +RemoteUnavailable   +RemoteUnavailable
503              +RemoteUnavailable   +RemoteUnavailable   unknown              +RemoteUnavailable   +RemoteUnavailable
500, done        +RemoteUnavailable   +RemoteUnavailable   sent                 +RemoteUnavailable   +RemoteUnavailable
a proxy's page   +RemoteReplyInvalid  +RemoteReplyInvalid  unknown              +RemoteReplyInvalid  +RemoteReplyInvalid
not JSON         +RemoteReplyInvalid  +RemoteReplyInvalid  sent                 +RemoteReplyInvalid  +RemoteReplyInvalid
truncated        +RemoteUnavailable   +RemoteUnavailable   sent                 +RemoteUnavailable   +RemoteUnavailable
empty            +RemoteReplyInvalid  +RemoteReplyInvalid  sent                 +RemoteReplyInvalid  +RemoteReplyInvalid
redirect         +RemoteReplyInvalid  +RemoteReplyInvalid  unknown              +RemoteReplyInvalid  +RemoteUnavailable
not reached      +RemoteUnavailable   +RemoteUnavailable   +RemoteUnavailable   +RemoteUnavailable   +RemoteUnavailable
dropped before   +RemoteUnavailable   +RemoteUnavailable   unknown              +RemoteUnavailable   +RemoteUnavailable
dropped after    +RemoteUnavailable   +RemoteUnavailable   sent                 +RemoteUnavailable   +RemoteUnavailable
late, not done   +RemoteUnavailable   +RemoteUnavailable   unknown              +RemoteUnavailable   +RemoteUnavailable
late, done       +RemoteUnavailable   +RemoteUnavailable   sent                 +RemoteUnavailable   +RemoteUnavailable
late, then done  +RemoteUnavailable   +RemoteUnavailable   sent                 +RemoteUnavailable   +RemoteUnavailable
"""

# Operations with other expectations than their kind.
EXCEPTIONS = {
    # If Nexthink fails to execute the query, an export takes the place of the execution.
    **{
        ("nexthink.execute", name): "exported"
        for name in ("500", "503", "500, done", "truncated", "dropped before", "dropped after")
    },
    ("nexthink.execute", "400"): "QueryRefused",
    ("nexthink.execute", "403"): "QueryNotPermitted",
    ("nexthink.execute", "404"): "QueryNotFound",
    ("nexthink.export", "400"): "QueryRefused",
    ("nexthink.export", "403"): "QueryNotPermitted",
    ("nexthink.export", "404"): "QueryNotFound",
    ("qualtrics.create_batch", "404"): "DirectoryNotFound",
    ("qualtrics.import_contacts", "404"): "MailingListNotFound",
    ("qualtrics.import_status", "404"): "+RemoteReplyInvalid",  # Qualtrics may not know a new import yet
    ("qualtrics.import_status", "429 for a day"): "+RateLimited",  # another batch may succeed
    **{
        ("qualtrics.whoami", name): "no effect"  # only this call needs its scope
        for name in ("403", "403, a page", "403 bare, done")
    },
    ("qualtrics.read_survey", "400"): "SurveyNotFound",
    ("qualtrics.read_survey", "404"): "SurveyNotFound",
    ("qualtrics.read_message", "400"): "MessageNotFound",
    ("qualtrics.read_message", "404"): "MessageNotFound",
    ("qualtrics.read_mailing_list", "400"): "MailingListNotFound",
    ("qualtrics.read_mailing_list", "404"): "MailingListNotFound",
}

RUN_OPERATIONS = {
    "nexthink.token": "token",
    "nexthink.execute": "read",
    "nexthink.export": "read",
    "nexthink.status": "read",
    "nexthink.download": "download",
    "qualtrics.token": "token",
    "qualtrics.create_batch": "read",
    "qualtrics.import_contacts": "import",
    "qualtrics.import_status": "read",
    "qualtrics.create_distribution": "send",
}
LOOK_UP_OPERATIONS = ("qualtrics.list_distributions", "qualtrics.read_distribution")
CHECK_OPERATIONS = {
    "nexthink.token": "token",
    "nexthink.execute": "read",
    "qualtrics.token": "token",
    "qualtrics.whoami": "read",
    "qualtrics.read_survey": "read",
    "qualtrics.read_message": "read",
    "qualtrics.list_directories": "read",
    "qualtrics.read_mailing_list": "read",
}
DELIVERY_OPERATIONS = ("qualtrics.read_distribution",)

EXPORT_OPERATIONS = ("nexthink.export", "nexthink.status", "nexthink.download")
"""Used only if the query returns 1,000 rows or more."""


@dataclass(frozen=True)
class Outcome:
    """How a run ends, and how often Qualtrics is asked to send."""

    result: str
    reason: str
    sends: int = 0


SUCCEEDED = Outcome("Succeeded", "Succeeded", 1)
UNKNOWN = Outcome("Unknown", "DeliveryUnknown", 1)
MAX_SENDS = 3


@dataclass(frozen=True)
class RemoteFault:
    """A fault of an operation, once or without end."""

    operation: str
    type: FaultType
    once: bool
    after: int = 0
    """How many calls succeed before."""

    def __str__(self) -> str:
        after = f" after {self.after} calls" if self.after else ""
        return f"{self.operation}: {self.type.name} {'once' if self.once else 'without end'}{after}"


def faults_of(operation: str, kind: str) -> list[RemoteFault]:
    """All faults of an operation of this kind."""
    return [
        RemoteFault(operation, type_, once)
        for type_ in FAULT_TYPES.values()
        for once in (True, False)
        if TABLE[type_.name][kind] != "-" and (once or type_.name not in ONCE_ONLY)
    ]


def expected_outcome(fault: RemoteFault, kind: str) -> Outcome:
    """How a run or a check with this fault must end."""
    name = fault.type.name
    cell = EXCEPTIONS.get((fault.operation, name)) or TABLE[name][kind]
    if cell == "exported" and not fault.once:
        return Outcome("Succeeded", "QueryNotCompared", 1)
    if cell in ("sent", "unknown", "exported", "no effect"):
        return UNKNOWN if cell == "unknown" else SUCCEEDED
    refused_sends = 0 if kind != "send" or fault.type.closed else 1
    if cell.startswith("+"):
        if fault.once:
            return Outcome("Succeeded", "Succeeded", 1 + refused_sends)
        return Outcome("Failed", cell[1:], refused_sends * MAX_SENDS)
    return Outcome("Failed", cell, refused_sends)


def _table(text: str) -> dict[str, dict[str, str]]:
    head, *lines = [line for line in text.splitlines() if line]
    columns = [slice(*ends) for ends in pairwise([*(head.index(word) for word in head.split()), None])]
    kinds, *rows = [[line[column].strip() for column in columns] for line in (head, *lines)]
    return {name: dict(zip(kinds[1:], cells, strict=True)) for name, *cells in rows}


TABLE = _table(EXPECTATIONS)


def page() -> str:
    """The expectations as a table of docs/reliability.md."""
    kinds = list(next(iter(TABLE.values())))
    rows = [["", *kinds], ["---"] * (len(kinds) + 1)]
    rows += [[name, *(_shown(cell) for cell in cells.values())] for name, cells in TABLE.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _shown(cell: str) -> str:
    if cell in ("sent", "unknown"):
        return {"sent": "found, `Succeeded`", "unknown": "`Unknown`"}[cell]
    if cell == "-":
        return ""
    return f"repeated, else `{cell[1:]}`" if cell.startswith("+") else f"`{cell}`"
