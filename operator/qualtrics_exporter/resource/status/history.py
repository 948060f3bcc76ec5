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
    """What became of the mails, read back from Qualtrics."""

    request_status: str | None = Field(
        None,
        max_length=64,
        description="Qualtrics' own word: Pending, Generated or Done. Done does not mean delivered.",
    )
    sent: Count | None = Field(None, description="Mails sent.")
    failed: Count | None = Field(None, description="Mails that could not be sent, most often because of the address.")
    bounced: Count | None = Field(None, description="Mails that came back undelivered.")
    blocked: Count | None = Field(
        None, description="Mails that Qualtrics kept back, because the same one went to the same address before."
    )
    skipped: Count | None = Field(
        None, description="People whom Qualtrics skipped: opted out, or asked too often by the brand's contact rules."
    )
    opened: Count | None = Field(None, description="Mails opened.")
    started: Count | None = Field(None, description="Surveys started.")
    finished: Count | None = Field(None, description="Surveys finished.")
    complaints: Count | None = Field(None, description="Mails reported as spam.")
    observed_time: Time | None = Field(
        None, description="When these figures were read: 2, 10 and 60 minutes after the send, then daily for a week."
    )
    stopped_reason: ReasonName | None = Field(
        None,
        description="Why the operator stopped reading figures: DistributionNotFound, or the reason of the last failure "
        "eight days after the send, for example RemoteUnavailable; docs/reasons.md explains each. The other fields "
        "keep what was read before. Without observedTime, no figures were ever read.",
    )


class HistoryEntry(Model):
    """One run, slot or test that ended."""

    id: RunId = Field(description="Id of the run: also the transaction data runId of its recipients in Qualtrics.")
    trigger: Trigger = Field(description="What started it: Schedule, Request or Test.")
    scheduled_time: Time | None = Field(None, description="When the slot fell due; absent for Request and Test.")
    start_time: Time | None = Field(None, description="When the run was claimed; absent if it never was.")
    completion_time: Time = Field(description="When it ended.")
    result: Result = Field(
        description="How it ended: Succeeded, Failed, Held (a guard stopped it), Missed (the slot did not start in "
        "time), Skipped (the operator decided not to start it, for example because the exporter was suspended or had "
        "an active run), Unknown (it is not known whether the survey was sent) or DryRun."
    )
    reason: ReasonName = Field(
        description="Why, as one word for programs, for example SecretNotFound; docs/reasons.md explains each."
    )
    message: Message = Field(description="Why, for people, with what to do next.")
    recipients: RecipientCounts | None = Field(
        None, description="How many rows of the query became how many recipients."
    )
    survey_id: str | None = Field(None, description="The survey that was sent: SV_….")
    batch_id: str | None = Field(None, description="The Qualtrics transaction batch that held the recipients: BT_….")
    distribution_id: str | None = Field(
        None, description="The Qualtrics distribution: EMD_…, shown by Qualtrics under Distributions of the survey."
    )
    send_time: Time | None = Field(
        None, description="When the distribution was asked for; absent if it never was: then nobody was mailed."
    )
    looked_for_time: Time | None = Field(
        None,
        description="When Qualtrics was last asked again whether it has the distribution, while the result is "
        "Unknown or only a person says that it was not sent: 10 minutes, 1 hour and 6 hours after the send.",
    )
    delivery: Delivery | None = Field(None, description="What became of the mails, read back from Qualtrics.")


def entry_of(run: ActiveRun, result: Result, reason: Reason, message: str, completed: datetime) -> HistoryEntry:
    """The history entry in which a run ends: everything that the journal knows of it, and how it ended."""
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
