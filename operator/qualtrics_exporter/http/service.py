"""One remote service: its error codes and rate limits, and whether it sent a reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qualtrics_exporter.resource.reasons import Reason

from .limits import Rate
from .reply import NotUnderstood, Reply

_OF_PROXIES = 407
"""The status that only a proxy uses."""

_REFUSED_WITH_JSON = (403, 404, 405, 451)
"""With these statuses the services send JSON or no body. A proxy or a firewall sends an HTML page."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two services, with the properties that only it has."""

    key: str
    name: str
    codes: Callable[[object], tuple[str | None, str | None]]
    """The remote code and the request id that the document of an error holds."""
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

    def read_codes(self, reply: Reply) -> tuple[str | None, str | None]:
        """The remote code and the request id of an error. Both are None if the body is not JSON."""
        try:
            return self.codes(reply.document())
        except NotUnderstood:
            return None, None


def is_object(reply: Reply) -> bool:
    """Whether the body is a JSON object, as in every answer of the services that has a body."""
    try:
        return isinstance(reply.document(), dict)
    except NotUnderstood:
        return False


def answered_by_another(reply: Reply) -> bool:
    """Whether something between the operator and the service sent the reply, such as a proxy or a firewall."""
    if reply.status == _OF_PROXIES:
        return True
    return reply.status in _REFUSED_WITH_JSON and bool(reply.body.strip()) and not is_object(reply)
