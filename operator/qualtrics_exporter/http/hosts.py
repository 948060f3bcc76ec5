"""Which URLs the operator follows. A Secret is user input, and so is everything that a remote side says.

URLs are read by one strict pattern instead of a tolerant parser: what two parsers could understand differently
(user-info, a backslash, other alphabets, white space) is refused, not interpreted. A host of another alphabet is
written in its `xn--` form.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from qualtrics_exporter.resource.reasons import Reason

from .errors import Permanent

DEFAULT_ALLOWED_HOSTS = (
    "*.qualtrics.com",
    "*.nexthink.cloud",
    "*.amazonaws.com",  # the object store in which Nexthink lays its exports down
)

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_REST = r"[!$-;=?-\[\]_a-z~]*"  # printable ASCII but space " # < > \ ^ ` { | }
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?(?P<rest>(?:[/?]{_REST})?)",
    re.ASCII | re.IGNORECASE,
)
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, repr=False)
class Url:
    """A URL that may be followed."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path and query."""

    @property
    def origin(self) -> str:
        """Scheme, host and port: where a token may go, or may not."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL. Never for a message: a pre-signed one is a key."""
        return self.origin + self.rest

    def __repr__(self) -> str:
        return f"<Url of {self.origin}>"


class HostRules:
    """The operator's allow-list. A pattern is a host name or `*.suffix`, whatever the port; ValueError for others."""

    def __init__(self, patterns: Sequence[str], *, allow_http: bool = False) -> None:
        self._patterns = ", ".join(patterns)
        self._names: set[str] = set()
        self._suffixes: list[str] = []
        self._schemes = {"https", "http"} if allow_http else {"https"}
        for pattern in patterns:
            wildcard, name = pattern.startswith("*."), _host(pattern.removeprefix("*.").lower())
            if name is None or (wildcard and ":" in name):
                raise ValueError(f"an allowed host is a host name or *.suffix, not {pattern!r}")
            if wildcard:
                self._suffixes.append(f".{name}")
            else:
                self._names.add(name)

    def check(self, text: str, whose: str) -> Url:
        """The URL, if it may be followed; Permanent(HostNotAllowed) otherwise. `whose` begins the message.

        The message does not show the host. It comes from a Secret or from a remote side, and users who can read the
        status of an exporter may not be allowed to read either.
        """
        found = _URL.fullmatch(text)
        host = _host(found["host"].lower()) if found else None
        port = int(found["port"]) if found and found["port"] else None
        if found is None or host is None or (port or 0) > 65535:
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{whose} is not a plain URL of the form https://host/path")
        scheme = found["scheme"].lower()
        if scheme not in self._schemes:
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{whose} is not an https URL")
        if not self._allowed(host):
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{whose} leads to a host that is not one of {self._patterns}")
        return Url(scheme, host, port or _PORTS[scheme], found["rest"])

    def _allowed(self, host: str) -> bool:
        if host in self._names:
            return True
        # A suffix is one of names: no number can end like one.
        return any(host.endswith(suffix) for suffix in self._suffixes)


def _host(text: str) -> str | None:
    """A host as it is compared: a name in lower case, or an address in its one canonical form; None for neither."""
    try:
        if text.startswith("[") or ":" in text:
            return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
        if _NUMBER.fullmatch(text.rpartition(".")[2]):
            # 127.1, 2130706433 and 0x7f.0.0.1 are 127.0.0.1 to a resolver: only that spelling is taken.
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None
    return text if _NAME.fullmatch(text) else None
