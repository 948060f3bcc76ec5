"""`status.activeRun`: the journal of the run in progress."""

from typing import Literal

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status.recipients import RecipientCounts, SampledGroup
from qualtrics_exporter.resource.status.values import Count, Number, ReasonName, RunId, Time, Trigger

Step = Literal["Claimed", "Importing", "Sending", "Sent"]

CERTAIN_REFUSALS = frozenset({str(Reason.REMOTE_UNAVAILABLE), str(Reason.INTERNAL_ERROR)})
"""Values of `refusedReason` after which it is certain that nothing was sent. After others it is not: a gateway can
respond with 429 to a request that it has forwarded."""


class ActiveRun(Model):
    """The journal of the run in progress: written before each external effect, read after a crash."""

    id: RunId = Field(
        description="The id of the run. It is derived from the uid of the exporter and the slot or the request token, "
        "so that a slot has only one run."
    )
    trigger: Trigger = Field(description="What started the run: Schedule, Request or Test.")
    scheduled_time: Time | None = Field(None, description="When the slot was due. Absent for Request and Test.")
    start_time: Time = Field(description="When the run was claimed.")
    generation: Count | None = Field(None, description="The generation of the spec that the run uses.")
    attempt: Number = Field(
        1,
        description="How many times the run was started, resumed or sent again: more than 1 after a crash, a change of "
        "the leader, an edit of the spec or a rejected send. A run ends when it would need more than 10 attempts.",
    )
    holder: str = Field(
        "",
        description="The holder of the run: a unique token for each process and attempt. A process that finds another "
        "token here stops working on the run.",
    )
    heartbeat_time: Time | None = Field(
        None,
        description="When the holder last reported that it works on the run: at the start, and then every minute. An "
        "operator with another Lease takes over the run after five minutes without a report.",
    )
    step: Step = Field(
        description="The latest recovery point, written before its effect: Claimed, Importing, Sending or Sent. After "
        "a crash, the run resumes from here. From Sending on, it only looks up whether the survey was sent, unless the "
        "send was rejected."
    )
    survey_id: str | None = Field(None, description="The survey that the run sends: SV_….")
    batch_id: str | None = Field(None, description="The Qualtrics transaction batch with the recipients: BT_….")
    send_time: Time | None = Field(None, description="The time just before the request that creates the distribution.")
    send_attempts: Number | None = Field(
        None,
        description="How many times the run requested the send: more than once only after a rejection, and at most "
        "three times.",
    )
    refused_until: Time | None = Field(
        None,
        description="Set after Qualtrics rejected the send. The run does not send again before this time.",
    )
    refused_reason: ReasonName | None = Field(
        None,
        description="Why the send was rejected. RemoteUnavailable (no connection was opened) and InternalError mean "
        "that nothing was sent. After RateLimited (HTTP 429), this is not certain: ten minutes later, the run reads "
        "Qualtrics' list of distributions, and sends again only if the complete list does not contain the send. If it "
        "cannot read the complete list, the run ends as Unknown.",
    )
    recipients: Count | None = Field(None, description="The number of people in the batch.")
    distribution_id: str | None = Field(None, description="The Qualtrics distribution, once it is known.")
    counts: RecipientCounts | None = Field(None, description="The counts of recipients so far.")
    sampled_group: SampledGroup | None = Field(
        None, description="The group that the run surveys, with spec.sample.groups."
    )
    warnings: list[ReasonName] | None = Field(
        None, max_length=8, description="Warnings of the run, for its history entry: reasons that did not stop it.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )  # fmt: skip

    @property
    def before_send(self) -> bool:
        """Whether it is certain that nothing was sent yet."""
        if self.step == "Sending":
            return self.refused_until is not None and self.refused_reason in CERTAIN_REFUSALS
        return self.step in ("Claimed", "Importing")
