"""Flags that several commands share, and the environment variable of each flag.

A variable has the name of its flag in all commands, so that one ConfigMap can set all of them. Do not add a flag whose
variable Kubernetes sets for a Service named qualtrics-exporter: `--port`, `--service-host`.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import click

from qualtrics_exporter import schedule
from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS, HostRules
from qualtrics_exporter.remote.proxies import BadProxy, Proxies, Proxy

PREFIX = "QUALTRICS_EXPORTER_"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Flag(click.Option):
    """A flag that is also QUALTRICS_EXPORTER_<FLAG>; there, commas or spaces separate repeated values."""

    def __init__(self, declarations: list[str], **settings: Any) -> None:
        long = next(name for name in declarations if name.startswith("--"))
        variable = PREFIX + long.partition("/")[0].removeprefix("--").replace("-", "_").upper()
        super().__init__(declarations, envvar=variable, show_envvar=True, **settings)

    def value_from_envvar(self, ctx: click.Context) -> Any:
        if not self.multiple:
            return super().value_from_envvar(ctx)
        words = re.split(r"[\s,]+", self.resolve_envvar_value(ctx) or "")
        return [word for word in words if word] or None


def flag(*declarations: str, **settings: Any) -> Decorator:
    return click.option(*declarations, cls=Flag, **settings)


class Checked(click.ParamType[str]):
    """A text that passes a check, which otherwise raises ValueError with a sentence. The sentence is shown to users."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


_HOST = Checked("pattern", lambda value: HostRules([value]))

allowed_host = flag(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    type=_HOST,
    default=DEFAULT_ALLOWED_HOSTS,
    show_default=", ".join(DEFAULT_ALLOWED_HOSTS),
    help="Host of an API or a token endpoint: NAME or *.SUFFIX, for https on port 443, or NAME:PORT. It receives "
    "credentials. Replaces the default list. May be repeated.",
)

allowed_download_host = flag(
    "--allowed-download-host",
    "allowed_download_hosts",
    multiple=True,
    type=_HOST,
    default=DEFAULT_DOWNLOAD_HOSTS,
    show_default=", ".join(DEFAULT_DOWNLOAD_HOSTS),
    help="Host that serves the files of large query results: NAME, *.SUFFIX or NAME:PORT; * also matches one label. It "
    "receives no credentials. Replaces the default list. May be repeated.",
)

allow_http = flag(
    "--allow-http",
    is_flag=True,
    help="Also allow plain http to the allowed hosts. For the sandbox only: secrets and addresses are sent "
    "unencrypted.",
)


proxy = flag(
    "--proxy",
    type=Checked("url", lambda value: Proxy.parse(value, "--proxy")),
    metavar="URL",
    help="Proxy for requests to Nexthink, Qualtrics and the files of exports: http://HOST:PORT. Set its user name and "
    "password with the variables QUALTRICS_EXPORTER_PROXY_USERNAME and QUALTRICS_EXPORTER_PROXY_PASSWORD, because "
    "everybody on the machine can read flags. Default: HTTPS_PROXY (HTTP_PROXY for plain http).",
)

no_proxy = flag(
    "--no-proxy",
    multiple=True,
    metavar="HOST",
    help="Host to reach without the proxy: NAME, .SUFFIX, an address, or a range such as 10.0.0.0/8. Replaces "
    "NO_PROXY. May be repeated.",
)


def proxies(proxy: str | None, no_proxy: Sequence[str]) -> Proxies:
    """The proxies that these flags and the environment set. Raises UsageError, without any password."""
    try:
        found, remarks = Proxies.from_settings(proxy, no_proxy, os.environ)
    except BadProxy as error:
        raise click.UsageError(str(error)) from None
    for remark in remarks:
        click.echo(remark, err=True)
    return found


def time_zone(default: str) -> Decorator:
    """The flag for the time zone of schedules that do not set one."""
    return flag(
        "--time-zone",
        type=Checked("zone", schedule.zone),
        default=default,
        show_default=True,
        help="IANA time zone of schedules that do not set one.",
    )
