"""`spec` as a whole."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import WHOLE_NUMBER, RuledModel
from qualtrics_exporter.resource.rules import Rule
from qualtrics_exporter.resource.spec.nexthink import NexthinkSpec
from qualtrics_exporter.resource.spec.qualtrics import QualtricsSpec
from qualtrics_exporter.resource.spec.sample import SampleSpec
from qualtrics_exporter.resource.spec.schedule import ScheduleSpec
from qualtrics_exporter.resource.spec.text import ONE_LINE


class Spec(RuledModel):
    """What is wanted: on this schedule, ask these people this survey."""

    rules = (
        Rule(
            "!has(self.minRecipients) || !has(self.maxRecipients) || self.minRecipients <= self.maxRecipients",
            "must not be more than maxRecipients",
            lambda spec: spec.max_recipients is None or (spec.min_recipients or 0) <= spec.max_recipients,
            field="minRecipients",
        ),
    )

    description: Annotated[str, Field(max_length=1024), ONE_LINE] | None = Field(
        None, description="What the survey is for, in one line. For people only: it is not sent."
    )
    suspend: bool | None = Field(
        None,
        description="While true there are no slots and run requests are refused; a run that has not reached the send "
        "is stopped. A test still works. What fell due meanwhile is not made up for.",
    )
    schedule: ScheduleSpec = Field(
        description="When to ask. The first slot is the next one that falls due: nothing runs because an exporter was "
        "created, changed or resumed."
    )
    nexthink: NexthinkSpec = Field(description="Whom to ask: the people that a Nexthink query returns.")
    qualtrics: QualtricsSpec = Field(
        description="What to send: a Qualtrics survey, by a library message. The ids stand in Qualtrics under Account "
        "Settings > Qualtrics IDs."
    )
    max_recipients: Annotated[int, Field(ge=1, le=1_000_000), WHOLE_NUMBER] | None = Field(
        None,
        description="A run with more recipients than this is held: nobody is mailed, and the history entry says "
        "RecipientLimitExceeded. Without it: no limit. With sample, everybody counts, also who is left out.",
    )
    min_recipients: Annotated[int, Field(ge=0, le=1_000_000), WHOLE_NUMBER] | None = Field(
        None,
        description="A run with fewer recipients than this is held: nobody is mailed, and the history entry says "
        "TooFewRecipients. Protects from a broken connector, which makes a query return few people or nobody. With "
        "sample, everybody counts, also who is left out. It does not apply to tests that deliver. Without it, a run "
        "with less than a tenth of the people of the run before is sent, with the reason AudienceShrank. 0 turns that "
        "off too.",
    )
    sample: SampleSpec | None = Field(
        None,
        description="Survey a part of the people in each run: one of several groups in turn (groups), or a random part "
        "(percent). Without it: everybody. Tests are not sampled.",
    )
    dry_run: bool | None = Field(
        None,
        description="While true, a run asks Nexthink for the people, counts them and checks them against the limits. "
        "Nothing is created in Qualtrics, nobody is imported, and nobody is e-mailed.",
    )

    def cycle(self) -> timedelta:
        """The time in which everybody is surveyed at most once: all groups of `sample`, or one slot without groups."""
        return self.schedule.interval() * ((self.sample and self.sample.groups) or 1)
