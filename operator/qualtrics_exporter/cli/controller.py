"""`qualtrics-exporter controller`."""

import re
import sys
from typing import Any, get_args

import click

from qualtrics_exporter.cli.flags import (
    Checked,
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


def _check_name(value: str) -> None:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError(f"{value!r} is not a valid name: use lower case letters, digits and -, for example dex")


NAME = Checked("name", _check_name)


@click.command()
@flag(
    "--namespace",
    "namespaces",
    type=NAME,
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
    type=NAME,
    metavar="NS",
    show_default="the operator's own namespace",
    help="Namespace of the Lease.",
)
@flag(
    "--lease-name",
    type=NAME,
    metavar="NAME",
    default=DEFAULTS.lease_name,
    show_default=True,
    help="Name of the Lease.",
)
@flag(
    "--http-address",
    type=Checked("host:port", parse_address),
    default=DEFAULTS.http_address,
    show_default=True,
    help="Address of /livez, /readyz and /metrics.",
)
@flag(
    "--exporter-metrics/--no-exporter-metrics",
    default=DEFAULTS.exporter_metrics,
    show_default=True,
    help="Show the series of each exporter in /metrics, about 40 for each. Most alerts need them.",
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
def controller(*, namespaces: tuple[str, ...], proxy: str | None, no_proxy: tuple[str, ...], **settings: Any) -> None:
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
    # Each other flag has the name of its setting.
    chosen = Settings(namespaces=tuple(dict.fromkeys(namespaces)), proxies=proxies(proxy, no_proxy), **settings)
    check_tls()
    # Imported here because it takes a second: `controller --help` and usage errors stay fast.
    from qualtrics_exporter.controller.app import run
    from qualtrics_exporter.controller.kube.errors import NoTemporaryFile

    try:
        sys.exit(run(chosen))
    except NoTemporaryFile as error:
        raise LocalSetupError(str(error)) from None
