"""Turns the results of checks and runs into `status.conditions` and `status.warnings`.

`Ready` is about the spec, the credentials and both services. A failed run does not change it: `LastRunSucceeded` is
about runs. kstatus (Flux, `kubectl wait`, Helm) reads `Stalled` as failed and `Reconciling` as in progress; both are
absent unless True (docs/facts/kubernetes.md section 3).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from qualtrics_exporter.export.journal import Ended, QuerySync
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import (
    CONDITIONS,
    WARNINGS,
    Condition,
    CredentialsExpiry,
    HistoryEntry,
    Status,
    StatusWarning,
)

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
"""In characters. The API server accepts four times as many. No message should be so long; the limit contains bugs."""


def first_seen(status: Status, generation: int, now: datetime) -> Status:
    """The conditions before the first check."""
    pending = Reason.NOT_YET_CHECKED
    status = _set(status, RECONCILING, "True", pending, pending.meaning, generation, now)
    return _complete(status, generation, now)


def _complete(status: Status, generation: int, now: datetime) -> Status:
    """Add the conditions that are absent, as Unknown: every condition exists from the beginning."""
    pending = Reason.NOT_YET_CHECKED
    for type_ in (READY, NEXTHINK_READY, QUALTRICS_READY):
        if status.condition(type_) is None:
            status = _set(status, type_, "Unknown", pending, pending.meaning, generation, now)
    for type_ in (QUERY_IN_SYNC, LAST_RUN_SUCCEEDED):
        if status.condition(type_) is None:
            status = _set(status, type_, "Unknown", Reason.NOT_YET_RUN, Reason.NOT_YET_RUN.meaning, generation, now)
    return status


def checked(
    status: Status,
    verdict: Verdict,
    generation: int,
    now: datetime,
    *,
    suspended: bool,
    retry_time: datetime | None = None,
) -> Status:
    """The status after a check of this generation. `retry_time` is when the check is tried again."""
    status = _complete(status, generation, now)
    nexthink = verdict.spec or verdict.nexthink or verdict.query_text
    status = _set_service(status, NEXTHINK_READY, nexthink, generation, now)
    status = _set_service(status, QUALTRICS_READY, verdict.spec or verdict.qualtrics, generation, now)
    if error := verdict.error:
        message = _with_warnings(error.message, verdict)
        status = _set(status, READY, "False", error.reason, message, generation, now)
    else:
        reason = Reason.SUSPENDED if suspended else Reason.CHECKED
        message = _with_warnings(reason.meaning, verdict)
        status = _set(status, READY, "True", reason, message, generation, now)
    if stalled := next((error for error in verdict.errors if error.reason.stalls), None):
        status = _set(status, STALLED, "True", stalled.reason, stalled.message, generation, now)
        status = _without(status, {RECONCILING})
    elif error := verdict.error:
        status = _set(status, RECONCILING, "True", error.reason, error.message, generation, now)
        status = _without(status, {STALLED})
    else:
        status = _without(status, {RECONCILING, STALLED})
    if verdict.query_sync:
        status = _set_query(status, verdict.query_sync, generation, now)
    return status.model_copy(
        update={
            "observed_generation": generation,
            "last_check_time": now,
            "next_retry_time": retry_time,
            "warnings": _warnings(verdict),
            "credentials_expiry": _expiry(status, verdict),
        }
    )


def ran(status: Status, ended: Ended, generation: int, now: datetime) -> Status:
    """The conditions after a run. A slot that was skipped does not change `LastRunSucceeded`."""
    if ended.query:
        status = _set_query(status, ended.query, generation, now)
    return last_run(status, ended.entry, generation, now)


def last_run(status: Status, entry: HistoryEntry, generation: int, now: datetime) -> Status:
    """`LastRunSucceeded` after this entry, which is the newest one."""
    if entry.result == "Skipped":
        return status
    state: State = "True" if went_well(entry) else "Unknown" if entry.result == "Unknown" else "False"
    return _set(status, LAST_RUN_SUCCEEDED, state, entry.reason, entry.message, generation, now)


def went_well(entry: HistoryEntry) -> bool:
    """Whether the run did what it should do, as far as is known. Mails that nobody got did not go well."""
    return entry.result in ("Succeeded", "DryRun") and entry.reason != Reason.DUPLICATE_SUPPRESSED


def newest_run(status: Status) -> HistoryEntry | None:
    """The newest entry that is neither a skipped slot nor a test."""
    return next(_runs(status), None)


def is_about(status: Status, entry: HistoryEntry) -> bool:
    """Whether `LastRunSucceeded` is about this entry of the history.

    It is about the newest entry with its reason. Newer entries with other reasons did not set it, for example requests
    that were refused because of the spec. Those never have the reason of an entry whose outcome is in doubt.
    """
    condition = status.condition(LAST_RUN_SUCCEEDED)
    if condition is None or (entry.result != "Unknown" and condition.message != _shortened(entry.message)):
        return False
    return next((e for e in _runs(status) if e.reason == condition.reason), None) is entry


def _runs(status: Status) -> Iterator[HistoryEntry]:
    """The history without skipped slots and tests, newest first."""
    return (entry for entry in status.history or [] if entry.result != "Skipped" and entry.trigger != "Test")


def is_ready(status: Status, generation: int) -> bool:
    """Whether a check of this generation found no error."""
    ready = status.condition(READY)
    return bool(ready and ready.status == "True" and status.observed_generation == generation)


def query_was_checked(status: Status, generation: int) -> bool:
    """Whether a check of this generation ran the query and found no error. Then the next check need not run it."""
    condition = status.condition(NEXTHINK_READY)
    return bool(condition and condition.status == "True" and condition.observed_generation == generation)


def has_drifted(status: Status, generation: int | None) -> bool:
    """Whether Nexthink ran another query than that of this generation when the two were last compared."""
    condition = status.condition(QUERY_IN_SYNC)
    return bool(condition and (condition.status, condition.observed_generation) == ("False", generation))


def _with_warnings(message: str, verdict: Verdict) -> str:
    return " ".join([message, *map(str, verdict.warnings)])


def _warnings(verdict: Verdict) -> list[StatusWarning] | None:
    found = [StatusWarning(reason=str(one.reason), message=_shortened(one.message)) for one in verdict.warnings]
    return found[:WARNINGS] or None


def _expiry(status: Status, verdict: Verdict) -> CredentialsExpiry | None:
    times = verdict.credentials_expiry
    if times is None:
        return status.credentials_expiry
    return times if times.nexthink or times.qualtrics else None


def _set_service(status: Status, type_: str, error: ExportError | None, generation: int, now: datetime) -> Status:
    if error:
        return _set(status, type_, "False", error.reason, error.message, generation, now)
    return _set(status, type_, "True", Reason.CHECKED, "Credentials and ids were checked.", generation, now)


def _set_query(status: Status, query: QuerySync, generation: int, now: datetime) -> Status:
    if query.in_sync is None and has_drifted(status, generation):
        return status  # the drift is reported until the next comparison
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
        message=_shortened(message),
    )
    conditions = list(status.conditions or [])
    if before:
        conditions[conditions.index(before)] = condition
    else:
        # If another tool fills the list with its own conditions, the API server would reject ours.
        foreign = [c for c in conditions if c.type not in _OWN][CONDITIONS - len(_OWN) :]
        conditions = [*(c for c in conditions if c not in foreign), condition]
    return status.model_copy(update={"conditions": conditions})


def _shortened(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"


def internal_error(status: Status, kind: str, generation: int, now: datetime) -> Status:
    """The conditions after an unexpected error of the operator. The warnings of the last check stay."""
    reason = Reason.INTERNAL_ERROR
    message = f"{reason.meaning} It is tried again ({kind}). {reason.next_step}"
    before = status.condition(READY)
    if before and before.status == "False" and (before.reason, before.message) == (reason, message):
        return status
    status = _set(_complete(status, generation, now), READY, "False", reason, message, generation, now)
    # As soon as the error is over, a check makes the exporter ready again.
    return status.model_copy(update={"next_retry_time": now})


def _without(status: Status, types: Iterable[str]) -> Status:
    return status.model_copy(update={"conditions": [c for c in status.conditions or [] if c.type not in types]})
