"""The two remote sides of one exporter."""

from dataclasses import dataclass

from qualtrics_exporter.nexthink.client import Nexthink
from qualtrics_exporter.qualtrics.client import Qualtrics


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the people come from and where the survey goes out."""

    nexthink: Nexthink
    qualtrics: Qualtrics
