"""`spec.sample`: the part of the people that each slot surveys."""

from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import WHOLE_NUMBER, RuledModel
from qualtrics_exporter.resource.rules import Rule

MAX_GROUPS = 366
"""With a daily schedule, each group is surveyed once a year."""


class SampleSpec(RuledModel):
    """The part of the people that each slot surveys. The operator stores no addresses for this."""

    rules = (
        Rule(
            "has(self.groups) || has(self.percent)",
            "must be set unless percent is set: for example groups: 4",
            lambda sample: sample.groups is not None or sample.percent is not None,
            field="groups",
            missing=True,
            json_schema={"anyOf": [{"required": ["groups"]}, {"required": ["percent"]}]},
        ),
        Rule(
            "!has(self.groups) || !has(self.percent)",
            "must not be set together with groups: remove one of the two",
            lambda sample: sample.groups is None or sample.percent is None,
            field="percent",
            unwanted=True,
            json_schema={"not": {"required": ["groups", "percent"]}},
        ),
    )

    groups: Annotated[int, Field(ge=2, le=MAX_GROUPS), WHOLE_NUMBER] | None = Field(
        None,
        description="Divide everybody into this many groups of about the same size, and survey one group in each slot, "
        "in turn. Nobody is surveyed more than once in this many slots; missed slots count. The group of a person "
        "depends on the address and on the namespace and name of the exporter. A requested run surveys the group of "
        "the newest slot that is due, except people who were surveyed since the previous turn of that group.",
    )
    percent: Annotated[int, Field(ge=1, le=99), WHOLE_NUMBER] | None = Field(
        None,
        description="Survey about this percentage of the people, chosen at random in each run. The same person can be "
        "chosen in several runs. To prevent that, use groups.",
    )
