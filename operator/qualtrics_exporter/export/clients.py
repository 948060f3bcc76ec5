"""The two remote sides of one exporter, and what checks the text of its query."""

from dataclasses import dataclass, field

from qualtrics_exporter.export.query_texts import TenantTexts
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.qualtrics.client import QualtricsClient


@dataclass(frozen=True, slots=True)
class Clients:
    """Where the people come from and where the survey goes out."""

    nexthink: NexthinkClient
    qualtrics: QualtricsClient
    texts: TenantTexts = field(default_factory=TenantTexts)
