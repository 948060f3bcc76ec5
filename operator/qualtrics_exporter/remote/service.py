"""One remote service: its error codes and rate limits, and whether it sent a reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.response import NotUnderstood, Response
from qualtrics_exporter.resource.reasons import Reason

_OF_PROXIES = 407
"""The status that only a proxy uses."""


@dataclass(frozen=True, slots=True)
class Service:
    """One of the two services, with the properties that only it has."""

    key: str
    name: str
    codes: Callable[[object], tuple[str | None, str | None]]
    """The remote code and the request id that the document of an error holds."""
    own: Callable[[Response], bool]
    """Whether the service itself wrote a reply that refuses a request, as far as its form shows."""
    rates: tuple[Rate, ...] = ()
    """Limits that every API call of this side shares."""
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    """Remote codes that say more than the status. A key that ends with `*` is the beginning of a code."""

    def reason(self, code: str | None) -> Reason | None:
        """The reason for a remote code; None if the code says no more than the status."""
        if not code:
            return None
        families = (reason for key, reason in self.reasons.items() if key[-1] == "*" and code.startswith(key[:-1]))
        return self.reasons.get(code) or next(families, None)

    def read_codes(self, reply: Response) -> tuple[str | None, str | None]:
        """The remote code and the request id of an error. Both are None if the body is not JSON."""
        try:
            return self.codes(reply.document())
        except NotUnderstood:
            return None, None

    def refused(self, reply: Response) -> bool:
        """Whether a reply with a 4xx status proves that the service refused the request.

        Otherwise a filter, a proxy or a gateway may have written it. Such a program can block the reply alone, after
        the service processed the request.
        """
        return reply.status != _OF_PROXIES and self.own(reply)


def json_object(reply: Response) -> Mapping[str, object] | None:
    """The body, if it is a JSON object."""
    try:
        document = reply.document()
    except NotUnderstood:
        return None
    return document if isinstance(document, dict) else None
