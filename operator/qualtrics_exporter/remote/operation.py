"""The description of one API call: what it requests, whether it may be repeated, and what each refusal means."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from qualtrics_exporter.remote.hosts import Url
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.resource.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One API call."""

    name: str
    """The name in metrics."""
    task: str
    """The words after "to" in messages: "return survey SV_1"."""
    method: str = "GET"
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], bytes] | None = field(default=None, repr=False)
    """A function for a large body, so that it takes memory only while the request is in flight."""
    retry: RetryPolicy
    refusals: Mapping[int, Reason] = field(default_factory=dict)
    """The reasons of statuses that have a special meaning for this operation."""
    other_refusal: Reason = Reason.REQUEST_REFUSED
    """The reason of every other refusal."""
    rates: tuple[Rate, ...] = ()
    """Limits of this endpoint only."""
    waits: bool = True
    """Whether the call waits for the rate limits and for a token. If not, the caller acquires both before
    (`Session.acquire`, `Session.token`). If the token is gone by then, no request is sent.
    """
    received_tries: int | None = None
    """The maximum number of tries that reach the service and get no answer (`Transient.received`), for a caller that
    has an alternative."""
    seconds: float | None = None
    """The time limit of one try, if it is less than `Timeouts` allows."""
    unknown: Reason | None = None
    """The reason of an `OutcomeUnknown`. By default it is the reason of the failed try."""

    def url(self, base: Url) -> Url:
        query = f"?{urlencode(self.query)}" if self.query else ""
        return Url(base.scheme, base.host, base.port, base.rest.rstrip("/") + self.path + query)


def segment(text: str) -> str:
    """An id as one segment of a path. It is quoted, so it cannot change the rest of the path."""
    if not text.strip("."):
        raise ValueError("an id cannot consist of dots")
    return quote(text, safe="")


def compact(document: object) -> bytes:
    """JSON without optional white space."""
    return json.dumps(document, separators=(",", ":")).encode()
