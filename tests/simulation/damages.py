"""The violations that damage to a status excuses.

An invalid value never excuses a second send, as long as another value in the status remembers the run. A slot or a
request whose run was lost with its id ends in an entry that cannot name it. Only values that were removed without a
trace are forgotten: see "What is not promised" in docs/reliability.md.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from qualtrics_exporter.export.run_ids import request_run_id, slot_run_id, test_run_id
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, TEST_REQUESTED_AT

from .api_server import Body
from .records import Record, parse_time, status_of

if TYPE_CHECKING:
    from .simulation import Simulation

LONGEST_RUN = timedelta(hours=30)
"""A slot that was due at most this long before its status was removed may have been in progress."""
DISTURBED = 3600.0
"""Seconds after which damage has no effect on a run in progress any more."""
_UNNAMED = ("DeliveryUnknown", "InternalError")
_AGAIN = ("AlreadySent", "StatusNotUnderstood", *_UNNAMED)
_RECEIPT = 10


class Damages:
    """Records which objects were damaged, and which runs their status still remembered afterwards."""

    def __init__(self, simulation: "Simulation", records: dict[str, Record]) -> None:
        self._simulation = simulation
        self._records = records

    def damaged(self, old: Body, new: Body, *, surely_lost: bool) -> None:
        """Note a damage. `surely_lost`: parts were removed, so that nothing shows that they were there."""
        record, now = self._records[old["metadata"]["uid"]], self._simulation.now
        before, after = status_of(old), status_of(new)
        surely_lost = surely_lost or (bool(before) and not after)
        record.damages.append(now)
        if surely_lost:
            record.losses.append(now)
        invariants = self._simulation.invariants
        invariants.disturb(DISTURBED, record.name)
        invariants.disturb(DISTURBED, record.uid)
        self._run(record, before.get("activeRun"), after.get("activeRun"), None if surely_lost else now)
        self._forget(record, after, new["metadata"]["annotations"], removed=surely_lost and bool(after))

    def _run(self, record: Record, before: Any, after: Any, now: float | None) -> None:
        if not isinstance(before, dict) or not isinstance(before.get("id"), str):
            return
        known = after if isinstance(after, dict) else {}
        if known.get("id") != before["id"]:
            record.lost_runs[before["id"]] = now

    def _forget(self, record: Record, status: dict[str, Any], annotations: dict[str, str], *, removed: bool) -> None:
        """Note the runs of which no trace is left."""
        traces = _traces(status)
        for tokens, id_of, annotation, last in (
            (record.run_tokens, request_run_id, RUN_REQUESTED_AT, "lastHandledRunRequest"),
            (record.test_tokens, test_run_id, TEST_REQUESTED_AT, "lastHandledTestRequest"),
        ):
            for token in tokens:
                run_id = id_of(record.uid, token)
                # Tokens in annotations count as handled, even if the whole status is lost.
                present = token in (annotations.get(annotation), status.get(last)) and not removed
                if not present and run_id[:_RECEIPT] not in traces:
                    record.forgotten.add(run_id)
        ran = {seen.entry["id"]: parse_time(seen.entry.get("scheduledTime")) for seen in record.entries.values()}
        again = self._simulation.plan.enabled & {"clock", "zone", "edit"}
        for run_id, due in {**ran, **record.sent_slots}.items():
            # Slots count from now on. With wrong clocks, that time is unknown. A slot whose identity is its local date
            # begins again in another time zone.
            if again and run_id[:_RECEIPT] not in traces and due not in traces:
                record.forgotten.add(run_id)

    def excuses_repeated_run(self, record: Record, since: float, entry: dict[str, Any]) -> bool:
        """Whether damage explains another entry of a run that had its entry at that time."""
        if not any(since <= time for time in record.damages):
            return False
        return entry["id"] in record.forgotten or entry["reason"] in _AGAIN

    def excuses_missing_run(self, record: Record, run_id: str) -> bool:
        """Whether damage explains that there is no entry with this id."""
        if run_id not in record.lost_runs:
            return False
        since = record.lost_runs[run_id]
        # The operator could not read its journal: such a run ends in an entry with another id.
        return since is None or any(
            seen.time >= since and seen.entry["reason"] in _UNNAMED for seen in record.entries.values()
        )

    def excuses_missing_slot(self, record: Record, identity: str, due: float) -> bool:
        """Whether an entry of this slot lacks the time, or damage explains that there is no entry."""
        run_id = slot_run_id(record.uid, identity)
        seen = record.entries.get(run_id)
        if (seen and "scheduledTime" not in seen.entry) or self.excuses_missing_run(record, run_id):
            return True
        return any(loss - LONGEST_RUN.total_seconds() < due <= loss for loss in record.losses)

    def excuses_second_entry(self, record: Record, since: float) -> bool:
        """Whether a slot may have a second entry, because the memory of the first one was damaged."""
        return any(since <= time for time in record.damages)


def _traces(status: dict[str, Any]) -> set[Any]:
    """The prefixes of the ids of runs, and the due times of slots, that a status remembers."""
    found: set[Any] = set()
    for name in ("sentRuns", "handledRequests", "handledRunRequests", "handledTestRequests"):
        values = status.get(name)
        found |= {value[:_RECEIPT] for value in (values if isinstance(values, list) else []) if isinstance(value, str)}
    slots = status.get("claimedSlots")
    for slot in slots if isinstance(slots, list) else []:
        if (
            isinstance(slot, dict)
            and isinstance(slot.get("identity"), str)
            and (due := parse_time(slot.get("dueTime")))
        ):
            found.add(due)
    return found
