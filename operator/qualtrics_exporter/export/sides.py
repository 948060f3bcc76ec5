"""The two remote sides of one exporter, and what checks the text of its query."""

from dataclasses import dataclass, field

from qualtrics_exporter.nexthink.client import Nexthink
from qualtrics_exporter.qualtrics.client import Qualtrics

from .query_texts import TenantTexts


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the people come from and where the survey goes out."""

    nexthink: Nexthink
    qualtrics: Qualtrics
    texts: TenantTexts = field(default_factory=TenantTexts)
