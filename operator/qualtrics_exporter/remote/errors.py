"""The errors of a call to a service, as a tree.

    ExportError                     an export cannot continue; has a Reason and a message for the user
    ├── Transient                   may pass without a change; reads may be repeated
    │   └── RateLimited             a 429, with the time to wait if the service states one
    ├── Permanent                   stays until somebody changes something
    │   └── Reported                was found by an earlier check; only its reason and its message are known
    └── OutcomeUnknown              the request may have had an effect: look it up, never repeat it

The caller decides by type, never by the text. The text is for people: what failed, on which object and key, the HTTP
status, the remote code and request id, and what to do next. It never has an address, a token or a query string: of the
text of a service, only values in the form of a code are included.
"""

import re
from datetime import timedelta
from typing import Self

from qualtrics_exporter.resource.reasons import Kind, Reason

CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
"""The form of codes and ids. Any other text of a service may be about people."""


class ExportError(Exception):
    """An export cannot continue.

    `what` is a clause without a full stop ("Qualtrics refused the credentials of Secret dex/qualtrics"). `remote_code`
    and `request_id` are for support cases. Text that does not have the form of a code is left out, so that a service
    cannot write text of its own into a status.
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
        """The complete message, for status and Events."""
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [self.remote_code] if self.remote_code else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        where = f" ({', '.join(facts)})" if facts else ""
        end = "" if f"{self.what}{where}".endswith("?") else "."
        return f"{self.what}{where}{end} {self.next_step}".rstrip()


class Transient(ExportError):
    """May pass without a change: the service is down, slow, or sends invalid responses.

    `retry_after` is how long the service asks the operator to wait. `received` is True if the request most likely
    reached the service, and the service failed to answer: a 5xx, a timeout, a lost connection. `timed_out` is True if
    each try of the call exceeded a time limit: that of the service (HTTP 504) or that of the operator.
    """

    kinds = frozenset({Kind.TRANSIENT})
    retry_after: timedelta | None = None
    received: bool = False
    timed_out: bool = False


class RateLimited(Transient):
    """A 429. The service most likely refused the request; where this matters, the caller checks."""


class Permanent(ExportError):
    """Stays until somebody changes the spec, a Secret or something in the service."""

    kinds = frozenset({Kind.PERMANENT, Kind.WARNING})


class Reported(Permanent):
    """An error that an earlier check found. `what` is its complete message."""

    @property
    def message(self) -> str:
        return self.what


class OutcomeUnknown(ExportError):
    """The request may have had an effect: a lost response, a 5xx, garbage. Look it up, never repeat it."""

    kinds = frozenset({Kind.UNKNOWN, Kind.TRANSIENT})

    @classmethod
    def of(cls, error: ExportError, reason: Reason | None = None) -> Self:
        """The same failure for a request that must not be repeated, with another reason if one is given."""
        return cls(
            reason or error.reason,
            error.what,
            status=error.status,
            remote_code=error.remote_code,
            request_id=error.request_id,
        )


def _code(text: str | None) -> str:
    # Left out as a whole: an address without the @ would still name a person.
    return text if text and CODE.fullmatch(text) else ""
