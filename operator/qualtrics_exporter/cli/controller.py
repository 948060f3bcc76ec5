"""`qualtrics-exporter controller`."""

import re
import sys
from typing import get_args

import click

from qualtrics_exporter.cli.flags import (
    allow_http,
    allowed_download_host,
    allowed_host,
    flag,
    no_proxy,
    proxies,
    proxy,
    time_zone,
)
from qualtrics_exporter.cli.local_setup import LocalSetupError, check_tls
from qualtrics_exporter.controller.probes import parse_address
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.telemetry.logs import Format, Level

DEFAULTS = Settings()


class Address(click.ParamType[str]):
    """An address to listen on: HOST:PORT."""

    name = "host:port"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


class Name(click.ParamType[str]):
    """The name of a namespace or Lease."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
            self.fail(
                f"{value!r} is not a valid name: use lower case letters, digits and -, for example dex", param, ctx
            )
        return value


@click.command()
@flag(
    "--namespace",
    "namespaces",
    type=Name(),
    multiple=True,
    metavar="NS",
    help="Manage the exporters of this namespace. May be repeated. By default, all namespaces.",
)
@flag(
    "--selector",
    metavar="LABELS",
    help="Manage only exporters with these labels, for example team=dex. Give each such installation its own "
    "--lease-name.",
)
@time_zone(DEFAULTS.time_zone)
@flag(
    "--max-concurrent-runs",
    metavar="N",
    type=click.IntRange(min=1),
    default=DEFAULTS.max_concurrent_runs,
    show_default=True,
    help="Maximum number of runs that send requests to Nexthink or Qualtrics at the same time. A run that waits for a "
    "rate limit or an import does not count. Tenants (namespace and Nexthink Secret) share this number; one tenant "
    "gets at most half.",
)
@allowed_host
@allowed_download_host
@allow_http
@proxy
@no_proxy
@flag(
    "--leader-election/--no-leader-election",
    default=DEFAULTS.leader_election,
    show_default=True,
    help="Use a Lease so that one of several replicas works and the others stand by.",
)
@flag(
    "--lease-namespace",
    type=Name(),
    metavar="NS",
    show_default="the operator's own namespace",
    help="Namespace of the Lease.",
)
@flag(
    "--lease-name",
    type=Name(),
    metavar="NAME",
    default=DEFAULTS.lease_name,
    show_default=True,
    help="Name of the Lease.",
)
@flag(
    "--http-address",
    type=Address(),
    default=DEFAULTS.http_address,
    show_default=True,
    help="Address of /livez, /readyz and /metrics.",
)
@flag(
    "--log-format",
    type=click.Choice(get_args(Format)),
    default=DEFAULTS.log_format,
    show_default=True,
    help="json: one JSON object per line. console: plain text.",
)
@flag(
    "--log-level",
    type=click.Choice(get_args(Level)),
    default=DEFAULTS.log_level,
    show_default=True,
    help="Minimum log level.",
)
def controller(
    *,
    namespaces: tuple[str, ...],
    selector: str | None,
    time_zone: str,
    max_concurrent_runs: int,
    allowed_hosts: tuple[str, ...],
    allowed_download_hosts: tuple[str, ...],
    allow_http: bool,
    proxy: str | None,
    no_proxy: tuple[str, ...],
    leader_election: bool,
    lease_namespace: str | None,
    lease_name: str,
    http_address: str,
    log_format: Format,
    log_level: Level,
) -> None:
    """Run the operator: watch exporters in a cluster and run them on schedule.

    It uses the cluster that it runs in, or the cluster of KUBECONFIG. Apply the CRD first (see `crd`). For requests to
    remote hosts, SSL_CERT_FILE adds certificate authorities, and HTTPS_PROXY and NO_PROXY set a proxy. SIGTERM stops
    the operator. The next start resumes a run that had not sent its survey yet. No survey is sent twice, whenever the
    operator is stopped.

    \b
    Examples:
      qualtrics-exporter controller
      qualtrics-exporter controller --namespace dex --no-leader-election --log-format console
      QUALTRICS_EXPORTER_NAMESPACE=dex,hr qualtrics-exporter controller
    """
    settings = Settings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        selector=selector,
        time_zone=time_zone,
        max_concurrent_runs=max_concurrent_runs,
        allowed_hosts=allowed_hosts,
        allowed_download_hosts=allowed_download_hosts,
        allow_http=allow_http,
        proxies=proxies(proxy, no_proxy),
        leader_election=leader_election,
        lease_namespace=lease_namespace,
        lease_name=lease_name,
        http_address=http_address,
        log_format=log_format,
        log_level=log_level,
    )
    check_tls()
    # Imported here because it takes a second: `controller --help` and usage errors stay fast.
    from qualtrics_exporter.controller.app import run
    from qualtrics_exporter.controller.kube.errors import NoTemporaryFile

    try:
        sys.exit(run(settings))
    except NoTemporaryFile as error:
        raise LocalSetupError(str(error)) from None
