"""From what was found to conditions: the one place where results become words in `status.conditions`.

`Ready` speaks of the spec, the credentials and both remote sides; a run that failed does not touch it, it has
`LastRunSucceeded`. kstatus (Flux, `kubectl wait`, Helm) reads `Stalled` as failed and `Reconciling` as in progress;
both are absent unless True (docs/facts/kubernetes.md section 3).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from qualtrics_exporter.export.guards import Remark
from qualtrics_exporter.export.journal import Ended, QuerySync
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CONDITIONS, Condition, HistoryEntry, Status

State = Literal["True", "False", "Unknown"]
READY = "Ready"
NEXTHINK_READY = "NexthinkReady"
QUALTRICS_READY = "QualtricsReady"
QUERY_IN_SYNC = "QueryInSync"
LAST_RUN_SUCCEEDED = "LastRunSucceeded"
RECONCILING = "Reconciling"
STALLED = "Stalled"
_OWN = frozenset({READY, NEXTHINK_READY, QUALTRICS_READY, QUERY_IN_SYNC, LAST_RUN_SUCCEEDED, RECONCILING, STALLED})
LONGEST_MESSAGE = 8192
"""Characters; the API server takes four times as many. Nothing that is told is so long, and no mistake may make it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: the first error of each side (None: all well), and how the query compares."""

    spec: ExportError | None = None
    text: ExportError | None = None  # of the query
    nexthink: ExportError | None = None
    qualtrics: ExportError | None = None
    query: QuerySync | None = None
    remarks: tuple[Remark, ...] = ()
    """What stops nothing: `Ready` tells it whatever else it says."""

    @property
    def error(self) -> ExportError | None:
        """The error that a user should mend first."""
        return self.spec or self.text or self.nexthink or self.qualtrics

    @property
    def waits_for_its_user(self) -> bool:
        """Whether looking again cannot help before the spec is changed."""
        return bool(self.spec or (self.text and not self.nexthink and not self.qualtrics))

    @property
    def stalled(self) -> ExportError | None:
        """The first error that only a change by the user can mend."""
        errors = (self.spec, self.text, self.nexthink, self.qualtrics)
        return next((error for error in errors if error and error.reason.stalls), None)


def first_seen(status: Status, generation: int, now: datetime) -> Status:
    """Nothing is known yet, and that is said from the first moment on."""
    pending = Reason.NOT_YET_CHECKED
    status = _set(status, RECONCILING, "True", pending, pending.meaning, generation, now)
    return _complete(status, generation, now)


def _complete(status: Status, generation: int, now: datetime) -> Status:
    """Every condition is there from the first moment on, if only to say that nothing is known yet."""
    pending = Reason.NOT_YET_CHECKED
    for type_ in (READY, NEXTHINK_READY, QUALTRICS_READY):
        if status.condition(type_) is None:
            status = _set(status, type_, "Unknown", pending, pending.meaning, generation, now)
    for type_ in (QUERY_IN_SYNC, LAST_RUN_SUCCEEDED):
        if status.condition(type_) is None:
            status = _set(status, type_, "Unknown", Reason.NOT_YET_RUN, Reason.NOT_YET_RUN.meaning, generation, now)
    return status


def checked(status: Status, verdict: Verdict, generation: int, now: datetime, *, suspended: bool) -> Status:
    """The conditions after a check."""
    status = _complete(status, generation, now)
    status = _set_side(status, NEXTHINK_READY, verdict.spec or verdict.nexthink or verdict.text, generation, now)
    status = _set_side(status, QUALTRICS_READY, verdict.spec or verdict.qualtrics, generation, now)
    if error := verdict.error:
        message = _with_remarks(error.message, verdict)
        status = _set(status, READY, "False", error.reason, message, generation, now)
    else:
        reason = Reason.SUSPENDED if suspended else Reason.CHECKED
        message = _with_remarks(reason.meaning, verdict)
        status = _set(status, READY, "True", reason, message, generation, now)
    if stalled := verdict.stalled:
        status = _set(status, STALLED, "True", stalled.reason, stalled.message, generation, now)
        status = _without(status, {RECONCILING})
    elif error := verdict.error:
        status = _set(status, RECONCILING, "True", error.reason, error.message, generation, now)
        status = _without(status, {STALLED})
    else:
        status = _without(status, {RECONCILING, STALLED})
    if verdict.query:
        status = _set_query(status, verdict.query, generation, now)
    return status


def ran(status: Status, ended: Ended, generation: int, now: datetime) -> Status:
    """The conditions after a run. A slot that was skipped says nothing of the last run."""
    if ended.query:
        status = _set_query(status, ended.query, generation, now)
    return last_run(status, ended.entry, generation, now)


def last_run(status: Status, entry: HistoryEntry, generation: int, now: datetime) -> Status:
    """`LastRunSucceeded` as this entry, the newest, tells it."""
    if entry.result == "Skipped":
        return status
    good = entry.result in ("Succeeded", "DryRun") and entry.reason != Reason.DUPLICATE_SUPPRESSED
    state: State = "True" if good else "Unknown" if entry.result == "Unknown" else "False"
    return _set(status, LAST_RUN_SUCCEEDED, state, entry.reason, entry.message, generation, now)


def newest_run(status: Status) -> HistoryEntry | None:
    """The newest entry that `LastRunSucceeded` can be about: not a slot that was skipped, and not a test."""
    return next((e for e in status.history or [] if e.result != "Skipped" and e.trigger != "Test"), None)


def tells_of(status: Status, entry: HistoryEntry) -> bool:
    """Whether `LastRunSucceeded` speaks of this very entry."""
    condition = status.condition(LAST_RUN_SUCCEEDED)
    return bool(condition and (condition.reason, condition.message) == (entry.reason, entry.message))


def is_ready(status: Status, generation: int) -> bool:
    """Whether this very spec was checked and found well."""
    ready = status.condition(READY)
    return bool(ready and ready.status == "True" and status.observed_generation == generation)


def query_was_checked(status: Status, generation: int) -> bool:
    """Whether the query was executed for this spec and found well: it need not be executed again just to check."""
    condition = status.condition(NEXTHINK_READY)
    return bool(condition and condition.status == "True" and condition.observed_generation == generation)


def has_drifted(status: Status, generation: int | None) -> bool:
    """Whether the query of this spec was another one when it was compared last."""
    condition = status.condition(QUERY_IN_SYNC)
    return bool(condition and (condition.status, condition.observed_generation) == ("False", generation))


def _with_remarks(message: str, verdict: Verdict) -> str:
    told = map(str, verdict.remarks)
    return " ".join([message, *(remark if remark.endswith("?") else f"{remark}." for remark in told)])


def _set_side(status: Status, type_: str, error: ExportError | None, generation: int, now: datetime) -> Status:
    if error:
        return _set(status, type_, "False", error.reason, error.message, generation, now)
    return _set(status, type_, "True", Reason.CHECKED, "Credentials and ids were checked.", generation, now)


def _set_query(status: Status, query: QuerySync, generation: int, now: datetime) -> Status:
    if query.in_sync is None and has_drifted(status, generation):
        return status  # what was found stays until a comparison finds otherwise
    state, reason = _SYNC[query.in_sync]
    return _set(status, QUERY_IN_SYNC, state, reason, query.message, generation, now)


_SYNC: dict[bool | None, tuple[State, Reason]] = {
    True: ("True", Reason.QUERY_IN_SYNC),
    False: ("False", Reason.QUERY_DRIFT),
    None: ("Unknown", Reason.QUERY_NOT_COMPARED),
}


def _set(status: Status, type_: str, state: State, reason: str, message: str, generation: int, now: datetime) -> Status:
    before = status.condition(type_)
    condition = Condition(
        type=type_,
        status=state,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status == state else now,
        reason=str(reason),
        message=message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…",
    )
    conditions = list(status.conditions or [])
    if before:
        conditions[conditions.index(before)] = condition
    else:
        # A tool may have filled the list with conditions of its own: then the API server would refuse ours.
        foreign = [c for c in conditions if c.type not in _OWN][CONDITIONS - len(_OWN) :]
        conditions = [*(c for c in conditions if c not in foreign), condition]
    return status.model_copy(update={"conditions": conditions})


def internal_error(status: Status, kind: str, generation: int, now: datetime) -> Status:
    """The conditions of an exporter about which the operator met an error that nobody expected."""
    reason = Reason.INTERNAL_ERROR
    message = f"{reason.meaning} It is tried again ({kind}). {reason.next_step}"
    before = status.condition(READY)
    if before and before.status == "False" and (before.reason, before.message) == (reason, message):
        return status
    status = _set(_complete(status, generation, now), READY, "False", reason, message, generation, now)
    # A check makes it ready again as soon as the error is over.
    return status.model_copy(update={"next_retry_time": now})


def _without(status: Status, types: Iterable[str]) -> Status:
    return status.model_copy(update={"conditions": [c for c in status.conditions or [] if c.type not in types]})
