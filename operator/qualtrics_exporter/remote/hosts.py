"""Which URLs the operator follows. Secrets and the responses of services are untrusted input.

One strict pattern reads URLs. It rejects everything that two parsers could read differently: user-info, backslashes,
other alphabets, white space. A host in another alphabet is written in its `xn--` form.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason

DEFAULT_ALLOWED_HOSTS = ("*.qualtrics.com", "*.nexthink.cloud")
"""Hosts of APIs and token endpoints, which receive credentials."""

DEFAULT_DOWNLOAD_HOSTS = ("*.s3.amazonaws.com", "s3.amazonaws.com", "*.s3.*.amazonaws.com", "s3.*.amazonaws.com")
"""Hosts of exported files: Amazon S3, and no other service of Amazon (docs/facts/nexthink.md section 1)."""

LONGEST_URL = 8192
"""Characters. A pre-signed URL of S3 has about 2,000."""

_FORM = "a host name or *.suffix, maybe with a port, such as *.qualtrics.com or proxy.example.com:8443"

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_REST = r"[!$-;=?-\[\]_a-z~]*"  # printable ASCII but space " # < > \ ^ ` { | }
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?(?P<rest>(?:[/?]{_REST})?)",
    re.ASCII | re.IGNORECASE,
)
_PATTERN = re.compile(
    r"(?P<host>(?:\*|[a-z0-9-]+)(?:\.(?:\*|[a-z0-9-]+))*|\[[0-9a-f:.]+\](?=:|\Z)|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*)"
    r"(?:(?<=[a-z0-9\]]):(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)
_PORTS = {"https": 443, "http": 80}
_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, repr=False)
class Url:
    """A URL that is allowed."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path and query."""

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def text(self) -> str:
        """The complete URL. Never show it in a message: a pre-signed URL is a key."""
        return self.origin + self.rest

    def __repr__(self) -> str:
        return f"<Url of {self.origin}>"


class HostRules:
    """A list of allowed hosts and ports.

    An entry is a host name or an address. `*.` at its start matches one or more labels, `*` as another label matches
    exactly one. An entry without a port allows port 443 for https, and any port for plain http, which is for sandboxes
    only. An entry for this machine (localhost, 127.0.0.1, ::1) allows any port. Raises ValueError for other entries.
    """

    def __init__(self, patterns: Sequence[str], *, allow_http: bool = False) -> None:
        self._patterns = ", ".join(patterns)
        self._entries = [_entry(pattern) for pattern in patterns]
        self._schemes = {"https", "http"} if allow_http else {"https"}

    def check(self, text: str, subject: str) -> Url:
        """The URL, if it is allowed; Permanent(HostNotAllowed) otherwise. `subject` begins the message.

        The message does not show the host. It comes from a Secret or from a service, and users who can read the status
        of an exporter may not be allowed to see it.
        """
        if len(text) > LONGEST_URL:
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{subject} has more than {LONGEST_URL} characters")
        found = _URL.fullmatch(text)
        host = _host(found["host"].lower()) if found else None
        port = int(found["port"]) if found and found["port"] else None
        if found is None or host is None or (port or 0) > 65535:
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{subject} is not a plain URL of the form https://host/path")
        scheme = found["scheme"].lower()
        if scheme not in self._schemes:
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{subject} is not an https URL")
        url = Url(scheme, host, port or _PORTS[scheme], found["rest"])
        entries = [entry for entry in self._entries if entry.host.fullmatch(host)]
        if not entries:
            raise Permanent(Reason.HOST_NOT_ALLOWED, f"{subject} has a host that is not one of {self._patterns}")
        if not any(entry.allows(url) for entry in entries):
            what = f"{subject} has a port that is not allowed; allowed hosts are {self._patterns}"
            raise Permanent(Reason.HOST_NOT_ALLOWED, what)
        return url


@dataclass(frozen=True, slots=True)
class _Entry:
    host: re.Pattern[str]
    port: int | None
    local: bool
    """Whether the entry is for this machine."""

    def allows(self, url: Url) -> bool:
        if self.port is not None:
            return url.port == self.port
        return self.local or url.scheme == "http" or url.port == _PORTS["https"]


def local_entries(patterns: Sequence[str]) -> tuple[str, ...]:
    """The entries for this machine: a sandbox, which serves both APIs and the exported files."""
    return tuple(pattern for pattern in patterns if _entry(pattern).local)


def _entry(pattern: str) -> _Entry:
    found = _PATTERN.fullmatch(pattern.lower())
    name = _host(found["host"].replace("*", "x")) if found else None
    if found is None or name is None or int(found["port"] or 1) > 65535:
        raise ValueError(f"an allowed host is {_FORM}, not {pattern!r}")
    port = int(found["port"]) if found["port"] else None
    if "*" not in found["host"]:
        return _Entry(re.compile(re.escape(name)), port, name in _LOCAL)
    first, *labels = found["host"].split(".")
    if ":" in name or "*" in labels[-2:] or (first == "*" and not labels):
        raise ValueError(f"an allowed host is {_FORM}, not {pattern!r}")
    parts = [r"[a-z0-9-]+" if label == "*" else re.escape(label) for label in labels]
    start = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*" if first == "*" else re.escape(first)
    return _Entry(re.compile(r"\.".join([start, *parts])), port, local=False)


def _host(text: str) -> str | None:
    """A host in the form that is compared: a name in lower case, or an address in its canonical form; else None."""
    try:
        if text.startswith("[") or ":" in text:
            return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
        if _NUMBER.fullmatch(text.rpartition(".")[2]):
            # 127.1, 2130706433 and 0x7f.0.0.1 are 127.0.0.1 for a resolver: only the last spelling is accepted.
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None
    return text if _NAME.fullmatch(text) else None
