"""What can go wrong between us and a remote side, drawn as a tree.

    ExportError                     something kept an export from going on; has a Reason and a sentence for the user
    ├── Transient                   may go away by itself; reads may be repeated
    │   └── RateLimited             a 429, with the time to wait if the remote side names one
    ├── Permanent                   stays until somebody changes something
    └── OutcomeUnknown              the request may have taken effect: look it up, never repeat it

The caller decides by type, never by reading the text. The text is for people: what failed, on which object and key,
the HTTP status, the remote code and request id, and what to do next. It never holds an address, a token or a query
string: only values that the remote side is known to use as codes are let in.
"""

import re
from datetime import timedelta

from qualtrics_exporter.resource.reasons import Kind, Reason

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


class ExportError(Exception):
    """Something kept an export from going on.

    `what` is a clause without a full stop ("Qualtrics refused the credentials of Secret dex/qualtrics"). `remote_code`
    and `request_id` are shown in support cases; anything that does not look like a code is left out, so that no remote
    side can place text of its own in a status.
    """

    kinds: frozenset[Kind] = frozenset(Kind)

    def __init__(
        self,
        reason: Reason,
        what: str,
        *,
        status: int | None = None,
        remote_code: str | None = None,
        request_id: str | None = None,
        next_step: str | None = None,
    ) -> None:
        if reason.kind not in self.kinds:
            raise TypeError(f"{type(self).__name__} cannot carry {reason}, which is {reason.kind.value}")
        self.reason = reason
        self.what = what
        self.status = status
        self.remote_code = _code(remote_code)
        self.request_id = _code(request_id)
        self.next_step = reason.next_step if next_step is None else next_step
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole sentence, for status and Events."""
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [self.remote_code] if self.remote_code else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        where = f" ({', '.join(facts)})" if facts else ""
        end = "" if f"{self.what}{where}".endswith("?") else "."
        return f"{self.what}{where}{end} {self.next_step}".rstrip()


class Transient(ExportError):
    """May go away by itself: the remote side is down, slow, or answers nonsense.

    `retry_after` is how long the remote side asks us to wait, when it says so. `heard` tells that the request reached
    the remote side, as far as anyone can know, and that it failed to answer: a 5xx, a timeout, a connection that broke.
    `late` tells that each try of the call reached a time limit: that of the remote side (HTTP 504), or ours.
    """

    kinds = frozenset({Kind.TRANSIENT})
    retry_after: timedelta | None = None
    heard: bool = False
    late: bool = False


class RateLimited(Transient):
    """A 429. Most likely the request was refused; the caller finds out if it matters."""


class Permanent(ExportError):
    """Stays until somebody changes the spec, a Secret or the remote side."""

    kinds = frozenset({Kind.PERMANENT, Kind.WARNING})


class OutcomeUnknown(ExportError):
    """The request may have taken effect: a lost reply, a 5xx, garbage. Look it up, never repeat it."""

    kinds = frozenset({Kind.UNKNOWN, Kind.TRANSIENT})


def _code(text: str | None) -> str:
    # Not cut to what a code can have: of an address, all but the @ would be left.
    return text if text and _CODE.fullmatch(text) else ""
