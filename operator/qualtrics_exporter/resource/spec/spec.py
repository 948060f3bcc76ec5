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
    """The desired state: on this schedule, send this survey to these people."""

    rules = (
        Rule(
            "!has(self.minRecipients) || !has(self.maxRecipients) || self.minRecipients <= self.maxRecipients",
            "must not be more than maxRecipients",
            lambda spec: spec.max_recipients is None or (spec.min_recipients or 0) <= spec.max_recipients,
            field="minRecipients",
        ),
    )

    description: Annotated[str, Field(max_length=1024), ONE_LINE] | None = Field(
        None, description="The purpose of the survey, in one line. It is not sent."
    )
    suspend: bool | None = Field(
        None,
        description="While true, there are no slots, run requests are rejected, and a run that has not reached the "
        "send is stopped. Tests still work. Slots that were due in the meantime are not caught up.",
    )
    schedule: ScheduleSpec = Field(
        description="When to send the survey. The first slot is the next one that is due: creating, changing or "
        "resuming an exporter starts no run."
    )
    nexthink: NexthinkSpec = Field(description="Whom to survey: the people that a Nexthink query returns.")
    qualtrics: QualtricsSpec = Field(
        description="What to send: a Qualtrics survey, with a library message. You find the ids in Qualtrics under "
        "Account Settings > Qualtrics IDs."
    )
    max_recipients: Annotated[int, Field(ge=1, le=1_000_000), WHOLE_NUMBER] | None = Field(
        None,
        description="A run with more recipients than this is held: nobody gets an e-mail, and the history entry has "
        "the reason RecipientLimitExceeded. Without it, there is no limit. With sample, people who are left out count "
        "too.",
    )
    min_recipients: Annotated[int, Field(ge=0, le=1_000_000), WHOLE_NUMBER] | None = Field(
        None,
        description="A run with fewer recipients than this is held: nobody gets an e-mail, and the history entry has "
        "the reason TooFewRecipients. This protects against a broken connector, which makes a query return few people "
        "or nobody. With sample, people who are left out count too. It does not apply to tests that deliver. Without "
        "it, a run with less than a tenth of the people of the previous run is sent, with the reason AudienceShrank. 0 "
        "turns off that warning too.",
    )
    sample: SampleSpec | None = Field(
        None,
        description="Survey a part of the people in each run: one of several groups in turn (groups), or a random part "
        "(percent). Without it, everybody is surveyed. Tests are not sampled.",
    )
    dry_run: bool | None = Field(
        None,
        description="While true, a run asks Nexthink for the people, counts them and checks them against the limits. "
        "Nothing is created in Qualtrics, nobody is imported, and nobody is e-mailed.",
    )

    def cycle(self) -> timedelta:
        """The time in which everybody is surveyed at most once: all groups of `sample`, or one slot without groups."""
        return self.schedule.interval() * ((self.sample and self.sample.groups) or 1)
