"""`status` as a whole."""

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.spec import MOST_GROUPS
from qualtrics_exporter.resource.status.active_run import ActiveRun
from qualtrics_exporter.resource.status.conditions import Condition, StatusWarning
from qualtrics_exporter.resource.status.heavy_query import HeavyQuery
from qualtrics_exporter.resource.status.history import HistoryEntry
from qualtrics_exporter.resource.status.receipts import (
    CLAIMED_SLOTS,
    HANDLED_REQUESTS,
    HANDLED_TOKENS,
    RECEIPTS,
    SENT_RUNS,
    SHOWN_TOKENS,
    ClaimedSlot,
    Settlement,
)
from qualtrics_exporter.resource.status.recipients import SampledGroup
from qualtrics_exporter.resource.status.values import Count, Time

HISTORY_LENGTH = 10
SAMPLED_GROUPS = MOST_GROUPS
CONDITIONS = 16
WARNINGS = 16


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
        f"refused. {SHOWN_TOKENS}",
    )
    last_handled_test_request: str | None = Field(
        None,
        max_length=253,
        description="The last value of the annotation qualtrics-exporter.dev/test-requested-at that the operator "
        f"handled. {SHOWN_TOKENS}",
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
        description=f"Receipts of run requests. {RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_test_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"Receipts of test requests. {RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_settlements: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"Receipts of values of settle-run. {RECEIPTS}",
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
