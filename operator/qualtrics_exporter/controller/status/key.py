"""How an exporter is identified within a process, and with whom it shares."""

from typing import NamedTuple

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.resource.exporter import Exporter


class Key(NamedTuple):
    """One exporter. The uid distinguishes it from a later exporter with the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def tenant_of(exporter: Exporter) -> Tenant:
    """The tenant of the exporter: all exporters of its namespace with the same Nexthink credentials."""
    spec = exporter.spec
    return Tenant(exporter.namespace, spec.nexthink.credentials_secret_ref.name if spec else "")
