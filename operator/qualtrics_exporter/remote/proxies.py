"""Which requests use a proxy.

The settings are HTTPS_PROXY, HTTP_PROXY and NO_PROXY, with the meaning that they have for Go and kubectl. `--proxy` and
`--no-proxy` have precedence. No message and no `repr` shows the user name or the password of a proxy.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import unquote

from qualtrics_exporter.remote.hosts import Url

USERNAME = "QUALTRICS_EXPORTER_PROXY_USERNAME"
PASSWORD = "QUALTRICS_EXPORTER_PROXY_PASSWORD"  # noqa: S105 - the name of a variable

_URL = re.compile(r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?/?", re.ASCII | re.IGNORECASE)
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://", re.ASCII | re.IGNORECASE)
_SOCKS = frozenset({"socks", "socks4", "socks4a", "socks5", "socks5h"})
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65535
_NAME = re.compile(r"(?:\*?\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.ASCII)
_SEPARATORS = re.compile(r"[\s,]+")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadProxy(ValueError):
    """A setting is invalid. The text is a sentence with the name of the setting and without its value."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy."""

    scheme: str
    host: str
    port: int
    auth: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password."""

    @property
    def url(self) -> str:
        """The URL without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether the proxy runs on this machine."""
        return _is_local(self.host)

    @classmethod
    def parse(cls, text: str, setting: str) -> Self:
        """`http://HOST:PORT` or `https://HOST:PORT`, possibly with `USER:PASSWORD@`; the scheme may be missing.

        `setting` is the flag or variable of the text. Raises `BadProxy`.
        """
        wrong = BadProxy(
            f"{setting} is not the URL of a proxy: write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT."
        )
        scheme, rest = "http", text.strip()
        if found := _SCHEME.match(rest):
            scheme, rest = found["scheme"].lower(), rest[found.end() :]
            if scheme not in _PORTS:
                kind = f" ({scheme})" if scheme in _SOCKS else ""
                raise BadProxy(
                    f"{setting} has a kind of proxy that is not supported{kind}: use an http or https proxy."
                )
        # Passwords may contain any character, even unescaped, so the host is the text after the last @.
        user_info, at, rest = rest.rpartition("@")
        found = _URL.fullmatch(rest)
        if not found:
            raise wrong
        host = found["host"].lower()
        port = int(found["port"] or _PORTS[scheme])
        if host.startswith("["):
            try:
                host = str(ipaddress.IPv6Address(host[1:-1]))
            except ValueError:
                raise wrong from None
        if port > _LAST_PORT or not host.strip("."):
            raise wrong
        user, _, password = user_info.partition(":")
        return cls(scheme, host, port, _auth(unquote(user), unquote(password), setting) if at else None)


class NoProxy:
    """The hosts that need no proxy.

    An entry is a host name (`example.com`: this host and all below it; `.example.com` or `*.example.com`: only those
    below it), an address, a range of addresses (`10.0.0.0/8`) or `*` for all. A name or an address may have a port.
    Ranges apply to hosts that are addresses: the proxy resolves names. Raises BadProxy for other entries.
    """

    def __init__(self, entries: Sequence[str], setting: str = "--no-proxy", first: int = 1) -> None:
        """`first` is the number of the first entry, for messages."""
        self.entries = tuple(entries)
        self._all = "*" in entries
        self._networks: list[tuple[_Network, int | None]] = []
        self._names: list[tuple[str, int | None]] = []
        for number, entry in enumerate(entries, first):
            if entry != "*":
                self._add(entry.lower(), number, setting)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoProxy) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return f"NoProxy({self.entries!r})"

    def _add(self, entry: str, number: int, setting: str) -> None:
        name, port = _without_port(entry)
        try:
            self._networks.append((ipaddress.ip_network(name, strict=False), port))
        except ValueError:
            is_like_address = "/" in name or ":" in name or re.fullmatch(r"[0-9.]+", name)
            if is_like_address or not _NAME.fullmatch(name):
                # The message does not show the entry: some users put the URL of a proxy here, with its password.
                raise BadProxy(
                    f"Entry {number} of {setting} is not a host name, an address or a range of addresses such as "
                    "10.0.0.0/8."
                ) from None
            self._names.append((name.removeprefix("*").rstrip("."), port))

    def __contains__(self, url: object) -> bool:
        if not isinstance(url, Url):
            return False
        if self._all:
            return True
        if address := _address(url.host):
            return any(
                address in network and port in (None, url.port)
                for network, port in self._networks
                if network.version == address.version
            )
        host = url.host.rstrip(".")
        return any(
            port in (None, url.port) and (host.endswith(name) if name.startswith(".") else _is_below(host, name))
            for name, port in self._names
        )


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of a process, by the scheme of the requested URL."""

    https: Proxy | None = None
    http: Proxy | None = None
    without: NoProxy = field(default_factory=lambda: NoProxy(()))

    def of(self, url: Url) -> Proxy | None:
        """The proxy for this URL; None for a direct connection.

        For a proxy on another machine, `localhost` is that other machine. So requests to this machine use a proxy only
        if the proxy runs on this machine too.
        """
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None or url in self.without or (_is_local(url.host) and not proxy.is_local):
            return None
        return proxy

    def describe(self) -> str:
        """A line for the log; empty without a proxy."""
        return ", ".join(
            f"{scheme} through {proxy.url}" + (" with a user name" if proxy.auth else "")
            for scheme, proxy in (("https", self.https), ("http", self.http))
            if proxy
        )

    @classmethod
    def from_settings(
        cls, proxy: str | None, no_proxy: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[Self, list[str]]:
        """The proxies of the flags and the environment, and remarks about ignored entries of NO_PROXY.

        `proxy` applies to all requests. Without it, HTTPS_PROXY and HTTP_PROXY apply. `no_proxy` replaces NO_PROXY.
        Raises `BadProxy`.
        """
        user, password = (environment.get(name, "").rstrip("\r\n") for name in (USERNAME, PASSWORD))
        if (user or password) and not proxy:
            raise BadProxy(f"{USERNAME if user else PASSWORD} requires --proxy or QUALTRICS_EXPORTER_PROXY.")
        https: Proxy | None
        http: Proxy | None
        if proxy:
            parsed = Proxy.parse(proxy, "--proxy")
            if user or password:
                if parsed.auth:
                    variable = USERNAME if user else PASSWORD
                    raise BadProxy(f"--proxy has a user name, and {variable} is set, too: remove one of them.")
                parsed = replace(parsed, auth=_auth(user, password, USERNAME))
            https = http = parsed
        else:
            https = cls._from_variable("HTTPS_PROXY", environment)
            http = cls._from_variable("HTTP_PROXY", environment)
        if no_proxy:
            return cls(https, http, NoProxy(no_proxy)), []
        without, remarks = _tolerant(_variable("NO_PROXY", environment)[1])
        return cls(https, http, without), remarks if https or http else []

    @staticmethod
    def _from_variable(name: str, environment: Mapping[str, str]) -> Proxy | None:
        name, text = _variable(name, environment)
        return Proxy.parse(text, name) if text else None


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """A variable in upper case, else in lower case: the spelling that is set, and the value."""
    for spelling in (name, name.lower()):
        if text := environment.get(spelling, "").strip():
            return spelling, text
    return name, ""


def _tolerant(text: str) -> tuple[NoProxy, list[str]]:
    """The valid entries of NO_PROXY. Invalid entries are ignored, because other programs may accept them."""
    good: list[str] = []
    remarks: list[str] = []
    for number, entry in enumerate(filter(None, _SEPARATORS.split(text)), 1):
        try:
            NoProxy([entry], "NO_PROXY", number)
        except BadProxy as error:
            remarks.append(f"{error} It is ignored.")
        else:
            good.append(entry)
    return NoProxy(good, "NO_PROXY"), remarks


def _auth(user: str, password: str, setting: str) -> tuple[str, str]:
    if ":" in user or not (user + password).isprintable():
        raise BadProxy(f"{setting} has a character that is not allowed in the user name or the password of a proxy.")
    return user, password


def _without_port(entry: str) -> tuple[str, int | None]:
    """The entry, and its port if it has one. An IPv6 address with a port is in brackets."""
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::([0-9]{1,5}))?", entry)
    if bracketed:
        return bracketed[1], int(bracketed[2]) if bracketed[2] else None
    name, colon, port = entry.rpartition(":")
    if colon and ":" not in name and port.isascii() and port.isdigit() and int(port[:6]) <= _LAST_PORT:
        return name, int(port)
    return entry, None


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _is_below(host: str, name: str) -> bool:
    return host == name or host.endswith(f".{name}")


def _is_local(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host.rstrip(".") == "localhost"
