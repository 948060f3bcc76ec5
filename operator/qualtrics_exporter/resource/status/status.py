"""`status` as a whole."""

from pydantic import Field, PrivateAttr

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.spec import MOST_GROUPS
from qualtrics_exporter.resource.status.active_run import ActiveRun
from qualtrics_exporter.resource.status.conditions import Condition, StatusWarning
from qualtrics_exporter.resource.status.credentials_expiry import CredentialsExpiry
from qualtrics_exporter.resource.status.followed_delivery import FOLLOWED_DELIVERIES, FollowedDelivery
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
    """The observed state. Only the operator writes it."""

    observed_generation: Count = Field(
        -1,
        description="The generation of the spec to which the conditions apply. -1 until the operator has seen it.",
        json_schema_extra={"default": -1},  # without it, kstatus would report a new object as ready
    )
    conditions: list[Condition] | None = Field(
        None,
        max_length=CONDITIONS,
        description="Ready: the spec, the credentials and both remote services passed the check; a failed run does not "
        "change it. NexthinkReady and QualtricsReady: the same for one service. QueryInSync: Nexthink runs the query "
        "in spec.nexthink.query. LastRunSucceeded: the result of the last run. Reconciling (a check is due) and "
        "Stalled (nothing works until the user changes something) are present only while True.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    warnings: list[StatusWarning] | None = Field(
        None,
        max_length=WARNINGS,
        description="Warnings of the last check, for example about a doubtful query or a second exporter with the same "
        "survey and recipients. Ready can be True in spite of them. Its message shows them, too.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    credentials_expiry: CredentialsExpiry | None = Field(
        None,
        description="When the credentials expire, from the annotation qualtrics-exporter.dev/expires-at on each "
        "Secret, as the last check read it. Only for alerts: the operator uses the credentials until the service "
        "rejects them.",
    )
    schedule: str | None = Field(
        None, description="The schedule for people, for example: every Monday at 00:00, Europe/Zurich."
    )
    time_zone: str | None = Field(
        None,
        description="The time zone of a schedule without timeZone: the default of the operator that saw it first. It "
        "is kept, so that the slots do not move when the default changes, or differs between operators.",
    )
    schedule_since: Time | None = Field(
        None,
        description="Slots that were due before this time never run. It is the time when the exporter was first seen "
        "or resumed, or when its schedule changed.",
    )
    next_schedule_time: Time | None = Field(None, description="When the next slot is due. Absent while suspended.")
    next_retry_time: Time | None = Field(None, description="When the operator checks again, while not Ready.")
    last_check_time: Time | None = Field(
        None, description="When the operator last checked spec, credentials and remote ids."
    )
    last_schedule_time: Time | None = Field(
        None, description="When the newest slot with a run or a history entry was due."
    )
    claimed_slots: list[ClaimedSlot] | None = Field(
        None,
        max_length=CLAIMED_SLOTS,
        description="The newest slots that had a run, or were skipped because they may have had one. They never run "
        "again, even if the clock is set back or their history entries are lost.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    claimed_slots_since: Time | None = Field(
        None,
        description="claimedSlots contains every slot that had a run and was due after this time. Slots that were due "
        "earlier never run.",
    )
    sent_runs: list[str] | None = Field(
        None,
        max_length=SENT_RUNS,
        description="The ids of the last 100 runs that sent their survey, or may have sent it, newest first. A run "
        "with such an id never starts again.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    sampled_groups: list[SampledGroup] | None = Field(
        None,
        max_length=SAMPLED_GROUPS,
        description="The last 366 groups that were surveyed, or may have been, newest first. A run without "
        "spec.sample.groups counts as one group of everybody. With spec.sample.groups, the people of a group are not "
        "surveyed again until a cycle (one turn of all groups), less half an interval, has passed since the send. This "
        "also applies to requests, and after a change of the schedule or of the sample.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    last_successful_time: Time | None = Field(None, description="When the last successful run ended.")
    last_handled_run_request: str | None = Field(
        None,
        max_length=253,
        description="The last value of the annotation qualtrics-exporter.dev/run-requested-at that the operator ran or "
        f"rejected. {SHOWN_TOKENS}",
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
        "an invalid value, its digest.",
    )
    last_settlement: Settlement | None = Field(
        None,
        description="The result of the last value of the annotation qualtrics-exporter.dev/settle-run, with which a "
        "user reports the outcome of a run that ended Unknown.",
    )
    handled_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_REQUESTS,
        description="The ids of the last 20 requests of any kind, newest first. The ids of tokens that are in the "
        "annotations now come first. Versions before 0.2 have only this list.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_run_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"The receipts of run requests. {RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_test_requests: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"The receipts of test requests. {RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    handled_settlements: list[str] | None = Field(
        None,
        max_length=HANDLED_TOKENS,
        description=f"The receipts of values of settle-run. {RECEIPTS}",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    active_run: ActiveRun | None = Field(
        None,
        description="The journal of the run in progress. It decides what happens after a crash.",
    )
    heavy_query: HeavyQuery | None = Field(
        None,
        description="Present if Nexthink failed to execute the query, but an export worked. If it is lost, the next "
        "run takes about a minute longer.",
    )
    last_test: HistoryEntry | None = Field(
        None,
        description="The result of the last test, requested by the annotation "
        "qualtrics-exporter.dev/test-requested-at.",
    )
    history: list[HistoryEntry] | None = Field(
        None,
        max_length=HISTORY_LENGTH,
        description="The last 10 runs and slots, newest first. A test that ended Unknown moves here when another test "
        "ends. Best effort: metrics and Events keep more.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )

    followed_deliveries: list[FollowedDelivery] | None = Field(
        None,
        max_length=FOLLOWED_DELIVERIES,
        description="Distributions of the last week whose entries left the history, newest first. Their delivery "
        "figures are still read, once a day with a delay of up to six hours, and go to the log of the operator. "
        "Without this list, only figures are lost.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    _left_history: tuple[HistoryEntry, ...] = PrivateAttr(default=())

    @property
    def entries(self) -> list[HistoryEntry]:
        """The history, newest first, and then the last test."""
        return [*(self.history or []), *([self.last_test] if self.last_test else [])]

    @property
    def left_history(self) -> tuple[HistoryEntry, ...]:
        """The entries for which the history has no space any more since this status was read, newest first."""
        return self._left_history

    def with_entry(self, entry: HistoryEntry) -> "Status":
        history = [entry, *(self.history or [])]
        status = self.model_copy(update={"history": history[:HISTORY_LENGTH]})
        if left := history[HISTORY_LENGTH:]:
            status._left_history = (*left, *self._left_history)
        return status

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions or [] if c.type == type_), None)
