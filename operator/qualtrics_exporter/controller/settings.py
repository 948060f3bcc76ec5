"""What an administrator decides when the operator is started; the flags of `qualtrics-exporter controller`."""

from dataclasses import dataclass, field

from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS
from qualtrics_exporter.remote.proxies import Proxies
from qualtrics_exporter.telemetry.logs import Format, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process, checked by whoever made them. The defaults are those of the command line."""

    namespaces: tuple[str, ...] = ()
    """Where to look for exporters; nowhere in particular means everywhere."""
    selector: str | None = None
    """A label selector: of several installations, each takes its part."""
    time_zone: str = "UTC"
    """Of exporters whose schedule names none."""
    max_concurrent_runs: int = 100
    """How many runs talk to a remote side at the same time; one that waits does not count."""
    allowed_hosts: tuple[str, ...] = DEFAULT_ALLOWED_HOSTS
    allowed_download_hosts: tuple[str, ...] = DEFAULT_DOWNLOAD_HOSTS
    allow_http: bool = False
    proxies: Proxies = field(default_factory=Proxies)
    """Of requests to remote hosts; the API server is reached as the kubeconfig says."""
    leader_election: bool = True
    lease_namespace: str | None = None
    """The operator's own namespace, unless set."""
    lease_name: str = "qualtrics-exporter"
    http_address: str = "0.0.0.0:8080"
    log_format: Format = "json"
    log_level: Level = "info"
