"""`spec.sample`: the part of the people that each slot surveys."""

from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import WHOLE_NUMBER, RuledModel
from qualtrics_exporter.resource.rules import Rule

MOST_GROUPS = 366
"""With a daily schedule: once a year."""


class SampleSpec(RuledModel):
    """Which part of the audience each slot surveys. No person is stored for it."""

    rules = (
        Rule(
            "has(self.groups) || has(self.percent)",
            "must be given, or percent: for example groups: 4",
            lambda sample: sample.groups is not None or sample.percent is not None,
            field="groups",
            missing=True,
            json_schema={"anyOf": [{"required": ["groups"]}, {"required": ["percent"]}]},
        ),
        Rule(
            "!has(self.groups) || !has(self.percent)",
            "must not be given together with groups: remove one of the two",
            lambda sample: sample.groups is None or sample.percent is None,
            field="percent",
            unwanted=True,
            json_schema={"not": {"required": ["groups", "percent"]}},
        ),
    )

    groups: Annotated[int, Field(ge=2, le=MOST_GROUPS), WHOLE_NUMBER] | None = Field(
        None,
        description="Divide everybody into this many groups of about the same size, and survey one group in each slot, "
        "in turn. Nobody is surveyed more often than once in this many slots, and missed slots count. The group of a "
        "person follows from the address and from the namespace and name of the exporter. A requested run surveys the "
        "group of the newest slot that is due, except people who were surveyed since that group's turn before.",
    )
    percent: Annotated[int, Field(ge=1, le=99), WHOLE_NUMBER] | None = Field(
        None,
        description="Survey about this part of the people, chosen at random in each run. The same person can be "
        "chosen in several runs. To prevent that, use groups.",
    )
