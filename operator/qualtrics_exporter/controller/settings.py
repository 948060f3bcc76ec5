"""The settings of an operator process: the flags of `qualtrics-exporter controller`."""

from dataclasses import dataclass, field

from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS
from qualtrics_exporter.remote.proxies import Proxies
from qualtrics_exporter.telemetry.logs import Format, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process. The caller has checked them. The defaults are those of the command line."""

    namespaces: tuple[str, ...] = ()
    """The namespaces with exporters; all namespaces if empty."""
    selector: str | None = None
    """A label selector, which divides exporters between several installations."""
    time_zone: str = "UTC"
    """The time zone of exporters whose schedule names none."""
    max_concurrent_runs: int = 100
    """How many runs send requests to a service at the same time; a run that waits does not count."""
    allowed_hosts: tuple[str, ...] = DEFAULT_ALLOWED_HOSTS
    allowed_download_hosts: tuple[str, ...] = DEFAULT_DOWNLOAD_HOSTS
    allow_http: bool = False
    proxies: Proxies = field(default_factory=Proxies)
    """The proxies of requests to remote hosts. For the API server, the kubeconfig decides."""
    leader_election: bool = True
    lease_namespace: str | None = None
    """The namespace of the Lease; by default, the namespace of the operator."""
    lease_name: str = "qualtrics-exporter"
    http_address: str = "0.0.0.0:8080"
    exporter_metrics: bool = True
    """Whether /metrics has the series of each exporter."""
    log_format: Format = "json"
    log_level: Level = "info"
