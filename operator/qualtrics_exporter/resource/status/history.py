"""One entry of `status.history`, and `status.lastTest`: a run, slot or test that ended."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status.active_run import ActiveRun
from qualtrics_exporter.resource.status.recipients import RecipientCounts
from qualtrics_exporter.resource.status.values import Count, Message, ReasonName, RunId, Time, Trigger

Result = Literal["Succeeded", "Failed", "Held", "Missed", "Skipped", "Unknown", "DryRun"]


class Delivery(Model):
    """Delivery figures from Qualtrics."""

    request_status: str | None = Field(
        None,
        max_length=64,
        description="The status in Qualtrics: Pending, Generated or Done. Done does not mean delivered.",
    )
    sent: Count | None = Field(None, description="E-mails that were sent.")
    failed: Count | None = Field(None, description="E-mails that could not be sent, usually because of the address.")
    bounced: Count | None = Field(None, description="E-mails that bounced.")
    blocked: Count | None = Field(
        None, description="E-mails that Qualtrics blocked, because it sent the same e-mail to the address before."
    )
    skipped: Count | None = Field(
        None, description="People whom Qualtrics skipped: they opted out, or a contact frequency rule applies."
    )
    opened: Count | None = Field(None, description="E-mails that were opened.")
    started: Count | None = Field(None, description="Surveys that were started.")
    finished: Count | None = Field(None, description="Surveys that were finished.")
    complaints: Count | None = Field(None, description="E-mails that were reported as spam.")
    observed_time: Time | None = Field(
        None, description="When these figures were read: 2, 10 and 60 minutes after the send, then daily for a week."
    )
    stopped_reason: ReasonName | None = Field(
        None,
        description="Why the operator stopped reading figures: DistributionNotFound, or the reason of the last failure "
        "eight days after the send, for example RemoteUnavailable. docs/reasons.md explains each. The other fields "
        "keep the figures that were read before. Without observedTime, no figures were read.",
    )


class HistoryEntry(Model):
    """A run, slot or test that ended."""

    id: RunId = Field(
        description="The id of the run. In Qualtrics, it is in the transaction data of the recipients, as runId."
    )
    trigger: Trigger = Field(description="What started the run: Schedule, Request or Test.")
    scheduled_time: Time | None = Field(None, description="When the slot was due. Absent for Request and Test.")
    start_time: Time | None = Field(None, description="When the run was claimed. Absent if it was not claimed.")
    completion_time: Time = Field(description="When it ended.")
    result: Result = Field(
        description="How it ended: Succeeded, Failed, Held (a guard stopped it), Missed (the slot did not start in "
        "time), Skipped (the operator decided not to start it, for example because the exporter was suspended or had "
        "an active run), Unknown (it is unknown whether the survey was sent) or DryRun."
    )
    reason: ReasonName = Field(
        description="The machine-readable reason, for example SecretNotFound. docs/reasons.md explains each."
    )
    message: Message = Field(description="The explanation for people, with the next step.")
    recipients: RecipientCounts | None = Field(None, description="How the rows of the query became recipients.")
    survey_id: str | None = Field(None, description="The survey that was sent: SV_….")
    batch_id: str | None = Field(None, description="The Qualtrics transaction batch with the recipients: BT_….")
    distribution_id: str | None = Field(
        None, description="The Qualtrics distribution: EMD_…. Qualtrics shows it under Distributions of the survey."
    )
    send_time: Time | None = Field(
        None, description="When the distribution was requested. Absent if it was not requested: nobody got an e-mail."
    )
    looked_for_time: Time | None = Field(
        None,
        description="When the operator last looked for the distribution in Qualtrics: 10 minutes, 1 hour and 6 hours "
        "after the send, if the result is Unknown, or if only a user reported that the survey was not sent.",
    )
    delivery: Delivery | None = Field(None, description="Delivery figures from Qualtrics.")


def entry_of(run: ActiveRun, result: Result, reason: Reason, message: str, completed: datetime) -> HistoryEntry:
    """The history entry of a run that ended: what the journal has, and the result."""
    return HistoryEntry(
        id=run.id,
        trigger=run.trigger,
        scheduled_time=run.scheduled_time,
        start_time=run.start_time,
        completion_time=completed,
        result=result,
        reason=str(reason),
        message=message,
        recipients=run.counts,
        survey_id=run.survey_id,
        batch_id=run.batch_id,
        distribution_id=run.distribution_id,
        send_time=run.send_time,
    )
