"""The properties of one service: its error codes, its rate limits, and the form of its refusals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.response import NotUnderstood, Response
from qualtrics_exporter.resource.reasons import Reason

_PROXY_STATUS = 407
"""Only proxies use this status."""


@dataclass(frozen=True, slots=True)
class Service:
    """Nexthink or Qualtrics."""

    key: str
    """The name in metrics."""
    name: str
    """The name in messages."""
    codes: Callable[[object], tuple[str | None, str | None]]
    """The remote code and the request id in the document of an error."""
    is_own_refusal: Callable[[Response], bool]
    """Whether a refusal has the form in which the service itself writes them."""
    rates: tuple[Rate, ...] = ()
    """Limits that all API calls to this service share."""
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    """Remote codes that say more than the status. A key that ends with `*` matches the beginning of a code."""

    def reason(self, code: str | None) -> Reason | None:
        """The reason for a remote code; None if the code says no more than the status."""
        if not code:
            return None
        families = (reason for key, reason in self.reasons.items() if key[-1] == "*" and code.startswith(key[:-1]))
        return self.reasons.get(code) or next(families, None)

    def read_codes(self, response: Response) -> tuple[str | None, str | None]:
        """The remote code and the request id of an error. Both are None if the body is not JSON."""
        try:
            return self.codes(response.document())
        except NotUnderstood:
            return None, None

    def refused(self, response: Response) -> bool:
        """Whether a response with a 4xx status proves that the service refused the request.

        Otherwise a filter, a proxy or a gateway may have written it. Such a program can block only the response, after
        the service processed the request.
        """
        return response.status != _PROXY_STATUS and self.is_own_refusal(response)


def json_object(response: Response) -> Mapping[str, object] | None:
    try:
        document = response.document()
    except NotUnderstood:
        return None
    return document if isinstance(document, dict) else None
