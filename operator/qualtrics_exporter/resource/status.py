"""What the operator writes back: `status`. It is also the journal of a run: it is read back after a crash."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema

from .reasons import Reason
from .spec import Model

Trigger = Literal["Schedule", "Request", "Test"]
Step = Literal["Claimed", "Importing", "Sending", "Sent"]
Result = Literal["Succeeded", "Failed", "Held", "Missed", "Skipped", "Unknown", "DryRun"]
HISTORY_LENGTH = 10


def _aware(time: datetime) -> datetime:
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(microsecond=0)


def timestamp(time: datetime) -> str:
    """As Kubernetes and Qualtrics write a time: UTC, whole seconds, Z."""
    return _aware(time).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[
    datetime,
    AfterValidator(_aware),
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ReasonName = Annotated[str, Field(max_length=1024)]
Message = Annotated[str, Field(max_length=32768)]
Count = Annotated[int, Field(json_schema_extra={"format": "int64"})]


class Condition(Model):
    """metav1.Condition."""

    type: str = Field(max_length=316, description="What the condition is about, for example Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Count | None = Field(None, description="The generation of the spec that it was set for.")
    last_transition_time: Time = Field(description="When status last changed.")
    reason: ReasonName = Field(description="Why, as one CamelCase word; docs/reasons.md explains each.")
    message: Message = Field(description="Why, for people, with what to do next.")


class ActiveRun(Model):
    """The journal of the run in progress: written before each outside effect, read after a crash."""

    id: str = Field(description="Id of the run, a function of the object's uid and the slot or request token.")
    trigger: Trigger = Field(description="What started it: Schedule, Request or Test.")
    scheduled_time: Time | None = Field(None, description="When the slot fell due; absent for Request and Test.")
    start_time: Time = Field(description="When the run was claimed.")
    generation: Count | None = Field(None, description="The generation of the spec that the run uses.")
    attempt: int = Field(1, description="How many times the run has been taken up.")
    holder: str = Field("", description="Who works on it: one process, one attempt.")
    step: Step = Field(description="The last recovery point that was reached.")
    survey_id: str | None = Field(None, description="The survey that the run sends.")
    batch_id: str | None = Field(None, description="The Qualtrics transaction batch that holds the recipients.")
    send_time: Time | None = Field(None, description="The time just before the distribution was asked for.")
    recipients: Count | None = Field(None, description="How many people are in the batch.")
    distribution_id: str | None = Field(None, description="The Qualtrics distribution, once it is known.")
    counts: "Recipients | None" = Field(None, description="Who was counted how, so far.")
    warnings: list[ReasonName] | None = Field(
        None, max_length=8, description="What was noticed on the way, for the history entry.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )  # fmt: skip


class Recipients(Model):
    """How many rows became how many recipients."""

    returned: Count | None = Field(None, description="Rows that Nexthink returned.")
    empty: Count | None = Field(None, description="Rows without an address.")
    invalid: Count | None = Field(None, description="Rows whose text is no e-mail address.")
    duplicate: Count | None = Field(None, description="Rows whose address had come before, in any letter case.")
    accepted: Count | None = Field(None, description="Addresses that passed: the recipients.")
    imported: Count | None = Field(None, description="Transactions that Qualtrics created for them in the batch.")


class Delivery(Model):
    """What Qualtrics says of the distribution."""

    request_status: str | None = Field(
        None, max_length=64, description="Qualtrics' own word: Pending, Generated, Done."
    )
    sent: Count | None = Field(None, description="Mails sent.")
    failed: Count | None = Field(None, description="Mails that could not be sent.")
    bounced: Count | None = Field(None, description="Mails that came back.")
    blocked: Count | None = Field(None, description="Mails kept back as duplicates.")
    skipped: Count | None = Field(None, description="People skipped: opted out, or asked too often.")
    opened: Count | None = Field(None, description="Mails opened.")
    started: Count | None = Field(None, description="Surveys started.")
    finished: Count | None = Field(None, description="Surveys finished.")
    complaints: Count | None = Field(None, description="Mails reported as spam.")
    observed_time: Time | None = Field(None, description="When these figures were read.")


class HistoryEntry(Model):
    """One run, slot or test that ended."""

    id: str = Field(description="Id of the run.")
    trigger: Trigger = Field(description="What started it: Schedule, Request or Test.")
    scheduled_time: Time | None = Field(None, description="When the slot fell due.")
    start_time: Time | None = Field(None, description="When the run was claimed; absent if it never was.")
    completion_time: Time = Field(description="When it ended.")
    result: Result = Field(description="How it ended: Succeeded, Failed, Held, Missed, Skipped, Unknown or DryRun.")
    reason: ReasonName = Field(description="Why, as one CamelCase word; docs/reasons.md explains each.")
    message: Message = Field(description="Why, for people, with what to do next.")
    recipients: Recipients | None = Field(None, description="How many rows became how many recipients.")
    survey_id: str | None = Field(None, description="The survey that was sent.")
    batch_id: str | None = Field(None, description="The Qualtrics transaction batch.")
    distribution_id: str | None = Field(None, description="The Qualtrics distribution: EMD_….")
    send_time: Time | None = Field(None, description="When the distribution was asked for.")
    delivery: Delivery | None = Field(None, description="What Qualtrics says of the distribution.")


class Status(Model):
    """What is. Written by the operator only."""

    observed_generation: Count = Field(-1, description="The generation of the spec that these conditions speak of.")
    conditions: list[Condition] | None = Field(
        None,
        max_length=16,
        description="Ready, NexthinkReady, QualtricsReady, QueryInSync, LastRunSucceeded; Reconciling and Stalled only "
        "while True.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    schedule: str | None = Field(None, description="The schedule in words.")
    schedule_since: Time | None = Field(None, description="Slots that fell due before this time never run.")
    next_schedule_time: Time | None = Field(None, description="When the next slot falls due.")
    next_retry_time: Time | None = Field(None, description="When the checks are tried again, while not Ready.")
    last_check_time: Time | None = Field(None, description="When credentials and remote ids were last checked.")
    last_schedule_time: Time | None = Field(None, description="The due time of the last slot that was claimed.")
    last_successful_time: Time | None = Field(None, description="When the last run that succeeded ended.")
    last_handled_run_request: str | None = Field(None, max_length=253, description="The last run token acted on.")
    last_handled_test_request: str | None = Field(None, max_length=253, description="The last test token acted on.")
    active_run: ActiveRun | None = Field(None, description="The run in progress.")
    last_test: HistoryEntry | None = Field(None, description="How the last test ended.")
    history: list[HistoryEntry] | None = Field(
        None,
        max_length=HISTORY_LENGTH,
        description="The last runs and slots, newest first.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )

    def with_entry(self, entry: HistoryEntry) -> "Status":
        """This status with one more entry at the top of its history."""
        history = [entry, *(self.history or [])][:HISTORY_LENGTH]
        return self.model_copy(update={"history": history})

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if there is one."""
        return next((c for c in self.conditions or [] if c.type == type_), None)


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


ActiveRun.model_rebuild()
