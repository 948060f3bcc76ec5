"""The invariants at the end of a world, when all faults are over and enough time has passed."""

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.schedule import next_slot, slots_between

from .api_server import Body
from .bounds import MAX_STATUS_BYTES, RECOVERY
from .clock import EPOCH, true_time
from .records import Promise, Record, Seen, parse_time, status_of, summary
from .requests import requests
from .world import default_zone, parsed

if TYPE_CHECKING:
    from .invariants import Invariants
    from .simulation import Simulation

_RANGE = re.compile(r"(?P<number>\d+) slots between (?P<oldest>\S+Z) and (?P<newest>\S+Z)")


class Ending:
    """Checks one world at its end."""

    def __init__(
        self, simulation: "Simulation", invariants: "Invariants", records: dict[str, Record], counts: Counter[str]
    ) -> None:
        self._simulation = simulation
        self._invariants = invariants
        self._records = records
        self._counts = counts

    def check(self, faults_over: float) -> None:
        """Check all objects. Slots that fell due after the end of the faults may still be in progress."""
        for record in self._records.values():
            if record.deleted is not None:
                continue
            with self._invariants.checking(record.name):
                body = self._simulation.server.exporters[record.namespace, record.name]
                self._end_of_slots(record, faults_over)
                self._end_of_requests(record, body, faults_over)
                self._end_of_object(record, body)
        self._end_of_replicas()
        for error in self._simulation.loop.errors:
            self._invariants.violate("an exception that nobody caught", "", error)
        for brand in self._simulation.brands:
            if any(sent.links_read for sent in brand.recorder.distributions):
                self._invariants.violate("links of a sent distribution are read", "", brand.host)

    def _end_of_replicas(self) -> None:
        living = {body["metadata"]["uid"] for body in self._simulation.server.exporters.values()}
        for replica in self._simulation.replicas:
            if replica.leading and (gone := {uid for _, _, uid in replica.known()} - living):
                self._invariants.violate(
                    "deleted exporters are remembered", replica.name, f"{len(gone)} in the work queue"
                )

    def _end_of_slots(self, record: Record, until: float) -> None:
        covered: list[tuple[datetime, datetime, float]] = []
        by_due: dict[datetime, Seen] = {}
        for seen in record.entries.values():
            entry = seen.entry
            if "scheduledTime" not in entry:
                continue
            newest = datetime.fromisoformat(entry["scheduledTime"])
            started = "startTime" in entry
            # Skipped by a clock that was ahead: that does not count when the clock is right again.
            early = not started and seen.time < (newest - EPOCH).total_seconds() - 60
            # After an entry about a clock step, the slot may have another one.
            if not early and entry["reason"] != "ClockStepped":
                other = by_due.setdefault(newest, seen)
                excused = self._came_twice(record, other, seen) or self._invariants.damages.excuses_second_entry(
                    record, other.time
                )
                if other is not seen and not excused:
                    self._invariants.violate(
                        "two entries for one slot", record.name, f"{summary(other.entry)}, and {summary(entry)}"
                    )
                by_due[newest] = seen
            found = _RANGE.search(entry["message"])
            oldest = datetime.fromisoformat(found["oldest"]) if found else newest
            if "Its schedule is unknown" in entry["message"]:
                newest = datetime.fromisoformat(entry["completionTime"])
            had_its_run = started or entry["reason"] == "SlotAlreadyRan"
            covered.append((oldest, newest, -1.0 if had_its_run else seen.decided))
        for promise in record.promises:
            end = min(promise.end, until)
            for slot in slots_between(promise.schedule, true_time(promise.begin + 2), true_time(end)):
                due = (slot.due - EPOCH).total_seconds()
                if due >= end or not self._owed(promise, slot.due, due):
                    continue
                self._counts["slots"] += 1
                times = [time for oldest, newest, time in covered if oldest <= slot.due <= newest]
                if not times and not self._invariants.damages.excuses_missing_slot(record, slot.identity, due):
                    self._invariants.violate(
                        "a slot without an entry",
                        record.name,
                        f"due {slot.due:%a %d %H:%M}, {promise.schedule.describe()}",
                    )
                elif (
                    times
                    and min(times) > 0
                    and max(times) < due - 60
                    and self._invariants.excuses.clocks_right(promise.shard, due - RECOVERY, due + RECOVERY)
                    # Otherwise it was missed a second time, and one entry is enough.
                    and self._invariants.excuses.undisturbed(record, due - 600, due + RECOVERY)
                ):
                    self._invariants.violate(
                        "a slot is skipped before it falls due", record.name,
                        f"due {slot.due:%a %d %H:%M}, skipped at {true_time(max(times)):%a %d %H:%M}",
                    )  # fmt: skip

    def _owed(self, promise: Promise, due: datetime, seconds: float) -> bool:
        excuses, noticed = self._invariants.excuses, promise.noticed
        if promise.end < seconds + excuses.behind(promise.shard, seconds):
            return False  # by its own clock, the operator saw the change before the slot was due
        if noticed is not None and noticed < seconds + excuses.behind(promise.shard, noticed):
            return False  # or it saw the change before that, after its clock was set back
        if promise.since < due and (
            promise.end == float("inf") or excuses.clocks_right(promise.shard, seconds, promise.end)
        ):
            return True
        # The clock of the operator was ahead when it wrote this, or behind when the schedule was replaced. So the slot
        # is owed only if the clock was right when it fell due.
        return excuses.clocks_right(promise.shard, seconds - 1, seconds + RECOVERY)

    def _came_twice(self, record: Record, one: Seen, other: Seen) -> bool:
        """Whether a wrong clock let a missed slot fall due again, so that it ran or was missed a second time."""
        first, second = sorted((one, other), key=lambda seen: seen.time)
        return "startTime" not in first.entry and not self._invariants.excuses.clocks_right(
            record.shard, first.time, second.time
        )

    def _end_of_requests(self, record: Record, body: Body, until: float) -> None:
        annotations, status = body["metadata"]["annotations"], status_of(body)
        for name, tokens, id_of in requests(record):
            token = annotations.get(name)
            if token is None or token in record.exempt or tokens[token][-1] > until:
                continue
            run_id = id_of(record.uid, token)
            if run_id not in record.entries and not self._invariants.damages.excuses_missing_run(record, run_id):
                self._invariants.violate("a request without an entry", record.name, f"{name} {token}")
        settle = annotations.get("qualtrics-exporter.dev/settle-run")
        if settle and not status.get("lastHandledSettlement") and not record.damages:
            self._invariants.violate("a settlement without a receipt", record.name, settle)

    def _end_of_object(self, record: Record, body: Body) -> None:
        status, now = status_of(body), true_time(self._simulation.now)
        if not status.get("scheduleSince"):
            self._invariants.violate("an exporter that no replica manages", record.name, "it has no status")
            return
        exporter = Exporter.from_object(body)
        if exporter.ignored and exporter.spec and not exporter.suspended:  # otherwise there may be nothing to write
            self._invariants.violate("invalid values are never repaired", record.name, ", ".join(exporter.ignored))
            return
        size = len(repr(status))
        if size > MAX_STATUS_BYTES:
            self._invariants.violate("status grows without bound", record.name, f"{size} bytes")
        if run := status.get("activeRun"):
            assert record.active is not None
            self._invariants.bound_run(record, run, self._simulation.now)
        if exporter.spec is None or exporter.suspended or status.get("activeRun"):
            return
        schedule = parsed(body["spec"]["schedule"], default_zone(status))
        if not self._invariants.excuses.clocks_right(
            record.shard, self._simulation.now - RECOVERY, self._simulation.now
        ):
            return
        upcoming = next_slot(schedule, now).due
        ran = {parse_time(slot["dueTime"]) for slot in status.get("claimedSlots") or []}
        while upcoming in ran:  # these ran while the clock was ahead
            upcoming = next_slot(schedule, upcoming).due
        announced = parse_time(status.get("nextScheduleTime"))
        if announced is None or not now - timedelta(minutes=15) < announced <= upcoming:
            self._invariants.violate(
                "the next slot is not the one that is announced", record.name, f"{announced}, not {upcoming}"
            )
