"""What can go wrong with a call to a remote side, and how a run with that in it has to end.

The expectations follow from DESIGN section 5 and from docs/, not from the code: who changes one of them changes what
users were told.
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
class Trouble:
    """One thing that goes wrong. `order` is told to the sandbox, given the time and where the canary is."""

    name: str
    order: Callable[[datetime, str], Mapping[str, Any]] = lambda _now, _canary: {}
    late: Literal["unheard", "heard", "then heard"] | None = None
    """The reply comes when nobody waits for it any more."""
    closed: bool = False
    """Nobody listens at that port."""
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What goes wrong with other operations for as long, by their names."""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the sandbox: what Qualtrics lets see of a distribution."""


def _answer(**order: Any) -> Callable[[datetime, str], Mapping[str, Any]]:
    return lambda _now, _canary: order


def _limited(_now: datetime, _canary: str) -> Mapping[str, Any]:
    return {"status": 429, "body": REFUSAL}


def _limited_until(now: datetime, _canary: str) -> Mapping[str, Any]:
    date = format_datetime(now + timedelta(seconds=40), usegmt=True)
    return {"status": 429, "body": REFUSAL, "headers": {"Retry-After": date}}


def _elsewhere(_now: datetime, canary: str) -> Mapping[str, Any]:
    return {"status": 307, "headers": {"Location": f"{canary}/elsewhere"}}


TROUBLES = {
    trouble.name: trouble
    for trouble in (
        *(Trouble(str(status), _answer(status=status, body=REFUSAL)) for status in (400, 401, 403, 404, 409)),
        Trouble("403, a page", _answer(status=403, body=GARBAGE)),
        Trouble("401 page, done", _answer(status=401, body=GARBAGE, apply_effect=True)),
        Trouble("403 bare, done", _answer(status=403, body=b"", apply_effect=True)),
        Trouble("429, in seconds", _answer(status=429, body=REFUSAL, headers={"Retry-After": "40"})),
        Trouble("429, at a date", _limited_until),
        Trouble("429", _limited),
        Trouble("429 for a day", _answer(status=429, headers={"Retry-After": "86400"})),
        Trouble("500", _answer(status=500, body=REFUSAL)),
        Trouble("503", _answer(status=503, body=GARBAGE)),
        Trouble("500, done", _answer(status=500, apply_effect=True)),
        Trouble("429, done", _answer(status=429, apply_effect=True)),
        Trouble("429, no list", _answer(status=429, apply_effect=True), also={LIST: {"status": 503}}),
        Trouble("429, late list", _answer(status=429, apply_effect=True), shown={"list_lag_seconds": 300}),
        Trouble("429, hidden", _answer(status=429, apply_effect=True), shown={"batch_echo": "never"}),
        Trouble("429, none else", _limited, shown={"batch_echo": "never"}),
        Trouble("a proxy's page", _answer(status=200, body=GARBAGE)),
        Trouble("not JSON", _answer(body=GARBAGE)),
        Trouble("truncated", _answer(truncate=5)),
        Trouble("empty", _answer(body=b"")),
        Trouble("redirect", _elsewhere),
        Trouble("not reached", closed=True),
        Trouble("dropped before", _answer(drop="before")),
        Trouble("dropped after", _answer(drop="after")),
        Trouble("late, not done", _answer(hold="before"), late="unheard"),
        Trouble("late, done", _answer(hold="after"), late="heard"),
        Trouble("late, then done", _answer(hold="before"), late="then heard"),
    )
}

ONCE_ONLY = {name for name, trouble in TROUBLES.items() if trouble.late}
"""Each try of these costs real time."""


# How it ends, by the kind of call. A reason: the run fails with it, nobody was mailed. `+` before it: only if it goes
# wrong for ever; once, the run succeeds. `sent` and `unknown` are how a send ends whose outcome is looked up. `-`: not
# tried, because only a send is looked for after a 429, and an import is counted. `done`, `no list`, `late list` and
# `hidden`: Qualtrics sends or imports, and answers 429 all the same; its list shows that, cannot be read, shows it
# after five minutes, or does not show where distributions go. `none else`: it does not show that either, but did not
# send, and the list is empty.
ENDINGS = """
trouble          read                 import               send                 token                download

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

# Where the call itself says more than its kind.
EXCEPTIONS = {
    # An export takes the place of an execution that Nexthink fails to do.
    **{
        ("nexthink.execute", trouble): "exported"
        for trouble in ("500", "503", "500, done", "truncated", "dropped before", "dropped after")
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
    ("qualtrics.import_status", "429 for a day"): "+RateLimited",  # in another batch all may be well
    **{
        ("qualtrics.whoami", trouble): "no effect"  # only this call needs its scope
        for trouble in ("403", "403, a page", "403 bare, done")
    },
    ("qualtrics.read_survey", "400"): "SurveyNotFound",
    ("qualtrics.read_survey", "404"): "SurveyNotFound",
    ("qualtrics.read_message", "400"): "MessageNotFound",
    ("qualtrics.read_message", "404"): "MessageNotFound",
    ("qualtrics.read_mailing_list", "400"): "MailingListNotFound",
    ("qualtrics.read_mailing_list", "404"): "MailingListNotFound",
}

OF_A_RUN = {
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
OF_A_LOOK_UP = ("qualtrics.list_distributions", "qualtrics.read_distribution")
OF_A_CHECK = {
    "nexthink.token": "token",
    "nexthink.execute": "read",
    "qualtrics.token": "token",
    "qualtrics.whoami": "read",
    "qualtrics.read_survey": "read",
    "qualtrics.read_message": "read",
    "qualtrics.list_directories": "read",
    "qualtrics.read_mailing_list": "read",
}
OF_THE_FIGURES = ("qualtrics.read_distribution",)

WITH_AN_EXPORT = ("nexthink.export", "nexthink.status", "nexthink.download")
"""Only asked for where the query returns 1,000 rows or more."""


@dataclass(frozen=True)
class Ending:
    """How it ends, and how often Qualtrics was asked to send."""

    result: str
    reason: str
    posts: int = 0


SUCCEEDED = Ending("Succeeded", "Succeeded", 1)
UNKNOWN = Ending("Unknown", "DeliveryUnknown", 1)
MOST_POSTS = 3


@dataclass(frozen=True)
class Strike:
    """A trouble at an operation, once or for ever."""

    operation: str
    trouble: Trouble
    once: bool
    after: int = 0
    """So many calls are let pass before."""

    def __str__(self) -> str:
        after = f" after {self.after} calls" if self.after else ""
        return f"{self.operation}: {self.trouble.name} {'once' if self.once else 'for ever'}{after}"


def strikes(operation: str, kind: str) -> list[Strike]:
    """Everything that can go wrong with an operation of that kind."""
    return [
        Strike(operation, trouble, once)
        for trouble in TROUBLES.values()
        for once in (True, False)
        if TABLE[trouble.name][kind] != "-" and (once or trouble.name not in ONCE_ONLY)
    ]


def expected(strike: Strike, kind: str) -> Ending:
    """How a run, or a check, with that strike has to end."""
    name = strike.trouble.name
    cell = EXCEPTIONS.get((strike.operation, name)) or TABLE[name][kind]
    if cell == "exported" and not strike.once:
        return Ending("Succeeded", "QueryNotCompared", 1)
    if cell in ("sent", "unknown", "exported", "no effect"):
        return UNKNOWN if cell == "unknown" else SUCCEEDED
    refused_posts = 0 if kind != "send" or strike.trouble.closed else 1
    if cell.startswith("+"):
        if strike.once:
            return Ending("Succeeded", "Succeeded", 1 + refused_posts)
        return Ending("Failed", cell[1:], refused_posts * MOST_POSTS)
    return Ending("Failed", cell, refused_posts)


def _table(text: str) -> dict[str, dict[str, str]]:
    head, *lines = [line for line in text.splitlines() if line]
    places = [slice(*ends) for ends in pairwise([*(head.index(word) for word in head.split()), None])]
    kinds, *rows = [[line[place].strip() for place in places] for line in (head, *lines)]
    return {name: dict(zip(kinds[1:], cells, strict=True)) for name, *cells in rows}


TABLE = _table(ENDINGS)


def page() -> str:
    """The expectations as docs/reliability.md shows them to users."""
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
