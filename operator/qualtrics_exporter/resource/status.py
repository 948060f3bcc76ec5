"""What the operator writes back: `status`. It is also the journal of a run: it is read back after a crash."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import MOST_GROUPS, Model

Trigger = Literal["Schedule", "Request", "Test"]
Step = Literal["Claimed", "Importing", "Sending", "Sent"]
Result = Literal["Succeeded", "Failed", "Held", "Missed", "Skipped", "Unknown", "DryRun"]
HISTORY_LENGTH = 10
HANDLED_REQUESTS = 20
HANDLED_TOKENS = 5000
CLAIMED_SLOTS = 16
SENT_RUNS = 100
SAMPLED_GROUPS = MOST_GROUPS
CONDITIONS = 16
WARNINGS = 16
MAX_COUNT = 1 << 53
"""Larger numbers are not understood."""

CERTAIN_REFUSALS = frozenset({str(Reason.REMOTE_UNAVAILABLE), str(Reason.INTERNAL_ERROR)})
"""Values of `refusedReason` after which nothing was sent. Any other one leaves a doubt: a gateway can answer 429 for a
request that it has passed on."""


OLDEST_YEAR, NEWEST_YEAR = 2000, 8999
"""Times outside of these years are not understood: nothing can be calculated with the last days of the calendar."""


# A status is parsed and written again and again with the same few times in it: these functions remember them.
def _aware(time: datetime) -> datetime:
    if time.tzinfo is UTC and not time.microsecond:
        return time
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise ValueError("not a time of UTC") from error


@lru_cache(maxsize=4096)
def _plausible(time: datetime) -> datetime:
    aware = _aware(time)
    if not OLDEST_YEAR <= aware.year <= NEWEST_YEAR:
        raise ValueError("not a time that an operator wrote")
    return aware


@lru_cache(maxsize=4096)
def timestamp(time: datetime) -> str:
    """As Kubernetes and Qualtrics write a time: UTC, whole seconds, Z."""
    return f"{_aware(time).isoformat()[:19]}Z"


Time = Annotated[
    datetime,
    AfterValidator(_plausible),
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ReasonName = Annotated[str, Field(max_length=1024)]
Message = Annotated[str, Field(max_length=32768)]
RunId = Annotated[str, Field(max_length=64)]
_COUNTABLE = Field(gt=-MAX_COUNT, lt=MAX_COUNT)
# With a bound in the CRD, the API server would refuse every write to a status that has a number out of bounds.
Count = Annotated[int, _COUNTABLE, WithJsonSchema({"type": "integer", "format": "int64"})]
Number = Annotated[int, _COUNTABLE, WithJsonSchema({"type": "integer"})]


class Condition(Model):
    """One thing that is so or is not, in the shape that all of Kubernetes uses."""

    type: str = Field(
        max_length=316,
        description="What the condition is about: Ready, NexthinkReady, QualtricsReady, QueryInSync, LastRunSucceeded, "
        "Reconciling or Stalled.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so: True, False or Unknown.")
    observed_generation: Count | None = Field(
        None, description="The generation of the spec that it was set for: metadata.generation then."
    )
    last_transition_time: Time = Field(description="When status last changed; a new reason alone does not move it.")
    reason: ReasonName = Field(
        description="Why, as one word for programs, for example SecretNotFound; docs/reasons.md explains each."
    )
    message: Message = Field(description="Why, for people, with what to do next.")


class StatusWarning(Model):
    """Something that the user should know although it is not an error."""

    reason: ReasonName = Field(
        description="Why, as one word for programs, for example QueryLimited; docs/reasons.md explains each."
    )
    message: Message = Field(description="Why, for people.")


class ActiveRun(Model):
    """The journal of the run in progress: written before each outside effect, read after a crash."""

    id: RunId = Field(
        description="Id of the run: made of the uid of the exporter and the slot or the request token, so that a "
        "slot has one run only."
    )
    trigger: Trigger = Field(description="What started it: Schedule, Request or Test.")
    scheduled_time: Time | None = Field(None, description="When the slot fell due; absent for Request and Test.")
    start_time: Time = Field(description="When the run was claimed.")
    generation: Count | None = Field(None, description="The generation of the spec that the run uses.")
    attempt: Number = Field(
        1,
        description="How many times the run was started, resumed or sent again: more than 1 after a crash, a change of "
        "leader, an edit of the spec or a refused send. A run ends when it would need more than 10 attempts.",
    )
    holder: str = Field(
        "",
        description="Who works on the run: a unique token for each process and attempt. A process that finds another "
        "token here stops working on the run.",
    )
    heartbeat_time: Time | None = Field(
        None,
        description="When the holder last reported that it works on the run: at the claim, and then every minute. An "
        "operator with another Lease takes the run over after five minutes without a report.",
    )
    step: Step = Field(
        description="The recovery point that was written last, before its effect: Claimed, Importing, Sending or "
        "Sent. After a crash the run resumes from here. From Sending on it only looks up what was sent, unless the "
        "send was refused."
    )
    survey_id: str | None = Field(None, description="The survey that the run sends: SV_….")
    batch_id: str | None = Field(None, description="The Qualtrics transaction batch that holds the recipients: BT_….")
    send_time: Time | None = Field(None, description="The time just before the distribution was asked for.")
    send_attempts: Number | None = Field(
        None,
        description="How many times the run asked Qualtrics to send: more than once only after a refusal, and at most "
        "three times.",
    )
    refused_until: Time | None = Field(
        None,
        description="Set after a send was refused. The run does not send again before this time.",
    )
    refused_reason: ReasonName | None = Field(
        None,
        description="Why the send was refused. RemoteUnavailable (no connection opened) and InternalError mean that "
        "nothing was sent. After RateLimited (HTTP 429) this is not certain: ten minutes later the run reads "
        "Qualtrics' list of distributions, and sends again only if the complete list does not show the send. If the "
        "list cannot be read in full, the run ends as Unknown.",
    )
    recipients: Count | None = Field(None, description="How many people are in the batch.")
    distribution_id: str | None = Field(None, description="The Qualtrics distribution, once it is known.")
    counts: "Recipients | None" = Field(None, description="Who was counted how, so far.")
    sampled_group: "SampledGroup | None" = Field(
        None, description="The group that the run surveys, with spec.sample.groups."
    )
    warnings: list[ReasonName] | None = Field(
        None, max_length=8, description="Reasons that were met on the way and stop nothing, for the history entry.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )  # fmt: skip

    @property
    def before_send(self) -> bool:
        """Whether it is certain that nothing was sent."""
        if self.step == "Sending":
            return self.refused_until is not None and self.refused_reason in CERTAIN_REFUSALS
        return self.step in ("Claimed", "Importing")


class Recipients(Model):
    """How many rows of the query became how many recipients."""

    returned: Count | None = Field(None, description="Rows that Nexthink returned.")
    empty: Count | None = Field(None, description="Rows without an address.")
    invalid: Count | None = Field(None, description="Rows whose text is no e-mail address.")
    duplicate: Count | None = Field(None, description="Rows whose address had come before, in any letter case.")
    sampled_out: Count | None = Field(
        None, description="People whom spec.sample left out; absent without it. With accepted: the audience."
    )
    accepted: Count | None = Field(None, description="Addresses that passed: the recipients.")
    imported: Count | None = Field(
        None, description="How many of them Qualtrics took into the batch; fewer than accepted is ImportIncomplete."
    )

    @property
    def audience(self) -> int | None:
        """How many people the query named, surveyed or not."""
        return None if self.accepted is None else self.accepted + (self.sampled_out or 0)


class SampledGroup(Model):
    """The group of spec.sample.groups that a run surveyed: without groups, the only one. It holds no address."""

    run_id: RunId = Field(description="Id of the run.")
    groups: Annotated[Number, Field(ge=1)] = Field(description="How many groups there were.")
    group: Number = Field(description="Which of them it was, from 1 on.")
    slot_time: Time = Field(
        description="When the slot of the group fell due. For a requested run, the newest slot before it."
    )
    send_time: Time | None = Field(
        None, description="When the survey was sent, or may have been. Without it, slotTime counts."
    )


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
    recipients: Recipients | None = Field(None, description="How many rows of the query became how many recipients.")
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


class HeavyQuery(Model):
    """A query that Nexthink fails to execute, and that an export answers."""

    generation: Count = Field(description="The generation of the spec that has this query.")
    execute_time: Time = Field(
        description="When Nexthink failed to execute the query. Runs use an export at once until 8 days later if "
        "lasting is true, and until a day later otherwise. Then it is tried again whether Nexthink executes the query."
    )
    lasting: bool | None = Field(
        None,
        description="True if the query takes too long (each try reached the time limit of Nexthink or of the "
        "operator), or if it failed again hours later. Otherwise the failure can pass, and each check of the operator "
        "tries again.",
    )


class Settlement(Model):
    """What became of a person's word on a run whose outcome was unknown."""

    handled_time: Time = Field(description="When it was dealt with.")
    reason: ReasonName = Field(
        description="SettledAsSent, SettledAsNotSent or SettlementRefused; docs/reasons.md explains each."
    )
    message: Message = Field(description="Which run, or why nothing was done, with what to do next.")


class ClaimedSlot(Model):
    """A slot that had a run."""

    due_time: Time = Field(description="When the slot fell due.")
    identity: str = Field(
        max_length=64,
        description="The identity of the slot: its start in UTC for Hourly schedules, its local date for Daily and "
        "Weekly.",
    )


_RECEIPTS = (
    "Newest first. Each entry is the first ten characters of the id of a request. A token with a receipt does not act "
    "again. If such a token is in the annotation, and its receipt is not among the newest 100, it moves to the front."
)


_SHOWN_TOKENS = (
    "A value that is a time, or an identifier of at most 63 letters, digits and -_.:+, is shown as it is. For any "
    "other value, its digest is shown: sha256: and the SHA-256 hash of the value in hexadecimal."
)


class Status(Model):
    """What is. Written by the operator only."""

    observed_generation: Count = Field(
        -1,
        description="The generation of the spec that these conditions speak of; -1 until the operator has seen it.",
        json_schema_extra={"default": -1},  # without it kstatus would take a new object for one that is ready
    )
    conditions: list[Condition] | None = Field(
        None,
        max_length=CONDITIONS,
        description="Ready: spec, credentials and both remote sides were found well; a failed run does not touch it. "
        "NexthinkReady and QualtricsReady: the same for one side. QueryInSync: Nexthink runs what spec.nexthink.query "
        "says. LastRunSucceeded: how the last run went. Reconciling (a check is to come) and Stalled (nothing will "
        "work "
        "until the user changes something) are there only while True.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    warnings: list[StatusWarning] | None = Field(
        None,
        max_length=WARNINGS,
        description="Warnings of the last check, for example about a doubtful query or a second exporter with the same "
        "survey and recipients. Ready can be True in spite of them. Its message shows them, too.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    schedule: str | None = Field(
        None, description="The schedule in words, for example: every Monday at 00:00, Europe/Zurich."
    )
    time_zone: str | None = Field(
        None,
        description="The time zone of a schedule that names none: the default of the operator that saw it first. It is "
        "kept, so that the slots stay where they are when that default changes, or differs between operators.",
    )
    schedule_since: Time | None = Field(
        None,
        description="Slots that fell due before this time never run: when the exporter was first seen or resumed, or "
        "its schedule changed.",
    )
    next_schedule_time: Time | None = Field(None, description="When the next slot falls due; absent while suspended.")
    next_retry_time: Time | None = Field(None, description="When the checks are tried again, while not Ready.")
    last_check_time: Time | None = Field(None, description="When spec, credentials and remote ids were last checked.")
    last_schedule_time: Time | None = Field(
        None, description="The due time of the newest slot that is finished or in progress: with a run or an entry."
    )
    claimed_slots: list[ClaimedSlot] | None = Field(
        None,
        max_length=CLAIMED_SLOTS,
        description="The newest slots that had a run, or were skipped because they might have had one. They never run "
        "again, even if the clock is set back or their history entries are gone.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    claimed_slots_since: Time | None = Field(
        None,
        description="claimedSlots has every slot that had a run and was due after this time. Slots that were due "
        "earlier never run.",
    )
    sent_runs: list[str] | None = Field(
        None,
        max_length=SENT_RUNS,
        description="Ids of the last 100 runs that sent their survey, or may have sent it, newest first. A run with "
        "such an id never starts again.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    sampled_groups: list[SampledGroup] | None = Field(
        None,
        max_length=SAMPLED_GROUPS,
        description="The last 366 groups that were surveyed, or may have been, newest first. A run without "
        "spec.sample.groups counts as one group of everybody. With spec.sample.groups, the people of a group are not "
        "surveyed again until a cycle, less half an interval, has passed since the send. That holds for requests, too, "
        "and after a change of the schedule or of the sample.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    last_successful_time: Time | None = Field(None, description="When the last run that succeeded ended.")
    last_handled_run_request: str | None = Field(
        None,
        max_length=253,
        description="The last value of the annotation qualtrics-exporter.dev/run-requested-at that the operator ran or "
        f"refused. {_SHOWN_TOKENS}",
    )
    last_handled_test_request: str | None = Field(
        None,
        max_length=253,
        description="The last value of the annotation qualtrics-exporter.dev/test-requested-at that the operator "
        f"handled. {_SHOWN_TOKENS}",
    )
    last_handled_settlement: str | None = Field(
        None,
        max_length=253,
        description="The last value of the annotation qualtrics-exporter.dev/settle-run that the operator handled. For "
        "a value that is not understood, its digest.",
    )
    last_settlement: Settlement | None = Field(
        None,
        description="What became of that value, by which a person tells the outcome of a run that ended Unknown.",
    )
    handled_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_REQUESTS,
        description="Ids of the last 20 requests of every kind, newest first. The ids of tokens that are in the "
        "annotations now come before the others. Versions before 0.2 have only this list.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_run_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"Receipts of run requests. {_RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_test_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"Receipts of test requests. {_RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_settlements: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"Receipts of values of settle-run. {_RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    active_run: ActiveRun | None = Field(
        None,
        description="The run in progress, as its journal has it: what is written here decides what happens after a "
        "crash.",
    )
    heavy_query: HeavyQuery | None = Field(
        None,
        description="Present if Nexthink failed to execute the query and an export worked. If it is lost, the next run "
        "takes about a minute longer.",
    )
    last_test: HistoryEntry | None = Field(
        None,
        description="How the last test ended: requested by the annotation qualtrics-exporter.dev/test-requested-at.",
    )
    history: list[HistoryEntry] | None = Field(
        None,
        max_length=HISTORY_LENGTH,
        description="The last 10 runs and slots, newest first. A test that ended Unknown is here after another test. "
        "Best effort: metrics and Events keep more.",
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
