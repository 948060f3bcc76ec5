"""What damage to a status excuses, and what it does not.

Nothing is ever sent twice because of an invalid value, as long as anything in the status remembers the run. A slot or
a request whose run was lost with its id ends in an entry that cannot name it. Only what was removed without a trace is
forgotten: docs/reliability.md says so under "What is not promised".
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from qualtrics_exporter.export.run_ids import request_run_id, slot_run_id, test_run_id
from qualtrics_exporter.resource.exporter import RUN_REQUESTED_AT, TEST_REQUESTED_AT

from .api_server import Body
from .records import Record, moment, status_of

if TYPE_CHECKING:
    from .simulation import Simulation

LONGEST_RUN = timedelta(hours=30)
"""A slot that was due so long before its status was removed can still have been in progress."""
DISTURBED = 3600.0
"""Seconds after which the consequences of damage for a run in progress are over."""
_UNNAMED = ("DeliveryUnknown", "InternalError")
_AGAIN = ("AlreadySent", "StatusNotUnderstood", *_UNNAMED)
_RECEIPT = 10


class Damages:
    """Knows which objects were damaged, and what their status still remembered afterwards."""

    def __init__(self, simulation: "Simulation", records: dict[str, Record]) -> None:
        self._simulation = simulation
        self._records = records

    def damaged(self, old: Body, new: Body, *, surely_lost: bool) -> None:
        """The status changes from outside. `surely_lost`: parts are removed, so nothing shows that they were there."""
        record, now = self._records[old["metadata"]["uid"]], self._simulation.now
        before, after = status_of(old), status_of(new)
        surely_lost = surely_lost or (bool(before) and not after)
        record.damages.append(now)
        if surely_lost:
            record.losses.append(now)
        oracle = self._simulation.oracle
        oracle.disturb(DISTURBED, record.name)
        oracle.disturb(DISTURBED, record.uid)
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
                # Those that are in annotations count as handled, however much of a status is lost.
                present = token in (annotations.get(annotation), status.get(last)) and not removed
                if not present and run_id[:_RECEIPT] not in traces:
                    record.forgotten.add(run_id)
        ran = {seen.entry["id"]: moment(seen.entry.get("scheduledTime")) for seen in record.entries.values()}
        again = self._simulation.plan.enabled & {"clock", "zone", "edit"}
        for run_id, due in {**ran, **record.sent_slots}.items():
            # Slots count from now on. Where clocks are wrong, nobody knows when that is. And a slot that is named after
            # its local date begins again in another time zone.
            if again and run_id[:_RECEIPT] not in traces and due not in traces:
                record.forgotten.add(run_id)

    def repeats(self, record: Record, since: float, entry: dict[str, Any]) -> bool:
        """Whether damage explains another entry of a run that had its entry at that time."""
        if not any(since <= time for time in record.damages):
            return False
        return entry["id"] in record.forgotten or entry["reason"] in _AGAIN

    def accounts(self, record: Record, run_id: str) -> bool:
        """Whether damage explains that there is no entry with this id."""
        if run_id not in record.lost_runs:
            return False
        since = record.lost_runs[run_id]
        # Its journal was there and could not be understood: that ends in an entry with another id.
        return since is None or any(
            seen.time >= since and seen.entry["reason"] in _UNNAMED for seen in record.entries.values()
        )

    def accounts_for_slot(self, record: Record, identity: str, due: float) -> bool:
        """Whether there is an entry of this slot that does not tell its time, or damage explains that there is none."""
        run_id = slot_run_id(record.uid, identity)
        seen = record.entries.get(run_id)
        if (seen and "scheduledTime" not in seen.entry) or self.accounts(record, run_id):
            return True
        return any(loss - LONGEST_RUN.total_seconds() < due <= loss for loss in record.losses)

    def twice(self, record: Record, since: float) -> bool:
        """Whether a slot may have a second entry: what remembered the first one was damaged."""
        return any(since <= time for time in record.damages)


def _traces(status: dict[str, Any]) -> set[Any]:
    """What a status remembers: the beginnings of ids of runs, and the due times of slots."""
    found: set[Any] = set()
    for name in ("sentRuns", "handledRequests", "handledRunRequests", "handledTestRequests"):
        values = status.get(name)
        found |= {value[:_RECEIPT] for value in (values if isinstance(values, list) else []) if isinstance(value, str)}
    slots = status.get("claimedSlots")
    for slot in slots if isinstance(slots, list) else []:
        if isinstance(slot, dict) and isinstance(slot.get("identity"), str) and (due := moment(slot.get("dueTime"))):
            found.add(due)
    return found
