"""What must hold in every world. The checks use what really happened, and not what the controller says.

`Invariants` sees every change of every object, every write of a status and every effect at Nexthink and Qualtrics. It
knows the true time, the schedules as users wrote them, and the people that each query returned. Some checks run at each
effect, the others at the end, when everything had time to finish.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.resource.exporter import Exporter, read_spec
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, TEST_MODE, TEST_REQUESTED_AT
from qualtrics_exporter.sandbox.middleware import Reply

from .api_server import Body, matches
from .bounds import (
    CHECK_INTERVAL,
    MAX_ATTEMPTS,
    MAX_NOTICE_SECONDS,
    MAX_RUN_DEADLINE,
    MAX_START_DELAY,
    MAX_WRITES_PER_HOUR,
    RECOVERY,
    RUN_DEADLINE,
    RUN_SLACK,
    RUNAWAY,
)
from .clock import EPOCH
from .damages import Damages
from .ending import Ending
from .mails import MailChecks
from .outcomes import unforeseen
from .records import NOBODY, Excuses, Promise, Record, Seen, Violation, differences, parse_time, status_of, summary
from .requests import RequestChecks
from .world import HOUR, default_zone, parsed

if TYPE_CHECKING:
    from .simulation import Simulation


class Invariants:
    """Checks one world."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self.violations: list[Violation] = []
        self._records: dict[str, Record] = {}
        self.excuses = Excuses(lambda: simulation.now)
        self._counts: Counter[str] = Counter()
        self.damages = Damages(simulation, self._records)
        self.mails = MailChecks(simulation, self._records, self.excuses, self._counts, self.violate)
        self._requests = RequestChecks(self.excuses, self.violate)
        self._reported: set[tuple[str, str]] = set()
        self._missing: set[tuple[str, str]] = set()
        """Replicas, and objects that they did not know at the last check."""
        simulation.loop.outside(CHECK_INTERVAL, self._check_known)
        simulation.server.listeners.append(self._changed)
        simulation.server.before_status = self._before_status
        simulation.server.attempted = self._attempted

    # What the other parts of the simulation report.

    def violate(self, kind: str, exporter: str, what: str) -> None:
        """Note a violation, once for each exporter and kind."""
        time = self._simulation.now
        self._simulation.trace("!!", kind, exporter, what)
        if (kind, exporter) not in self._reported:
            self._reported.add((kind, exporter))
            self.violations.append(Violation(kind, exporter, what, time))
        if kind in RUNAWAY or kind in self._simulation.stop_at:
            self._simulation.loop.stopped = True

    @contextmanager
    def checking(self, exporter: str) -> Iterator[None]:
        """Report an exception of a check as a violation. The world continues as if the check had passed.

        A check runs inside of a call of the operator, which would treat the exception as an error of its cluster.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - any bug of a check
            self.violate("an invariant cannot be checked", exporter, f"{type(error).__name__}: {error}")

    def counts(self) -> dict[str, int]:
        """Numbers of events in the world, to see that it was busy."""
        return dict(self._counts)

    def disturb(self, seconds: float, scope: str) -> None:
        """Excuse slow progress in this scope for so many seconds from now."""
        self.excuses.disturb(seconds, scope)

    def clock_stepped(self, replica: str, shard: str, offset: float) -> None:
        """From now on, the wall clock of a replica of this shard is wrong by so many seconds."""
        self.excuses.clock_stepped(replica, shard, offset)
        self.disturb(RECOVERY, shard)

    def process_ended(self, replica: str, why: str) -> None:
        """A process ended by itself. It may do so a few times."""
        self._counts["ends"] += 1
        self.disturb(3000.0, replica[0])
        if self._counts["ends"] > 5:
            self.violate("the operator ends again and again", replica, why)

    def remote_effect(self, process: str, request: Request, reply: Reply, seconds: float) -> None:
        """A request to Nexthink or Qualtrics had its effect and this reply, after so many seconds."""
        with self.checking(request.url.host):
            self.mails.remote_effect(process, request, reply, seconds)

    # Objects.

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        with self.checking(body["metadata"]["name"]):
            self._note_change(kind, body, before)

    def _note_change(self, kind: str, body: Body, before: Body | None) -> None:
        metadata = body["metadata"]
        uid, now = metadata["uid"], self._simulation.now
        if kind == "ADDED":
            record = Record(uid, metadata["name"], metadata["namespace"], now)
            self._records[uid] = record
            self._counts["objects"] += 1
        else:
            record = self._records[uid]
        annotations = metadata["annotations"]
        old = before["metadata"]["annotations"] if before else {}
        valid = record.schedules and metadata["generation"] not in record.invalid
        new = {} if kind == "DELETED" else annotations
        self._requests.changed(record, old, new, now, self._deadline(record) if valid else None)
        if kind == "DELETED":
            record.deleted = now
            self._close(record)
            return
        generation = metadata["generation"]
        if generation not in record.specs and generation not in record.invalid:
            if read_spec(body["spec"])[0] is None:
                record.invalid.add(generation)
            else:
                record.specs[generation] = body["spec"]
                record.schedules.append(parsed(body["spec"]["schedule"]))
        if annotations.get(TEST_MODE) == "Deliver" and (token := annotations.get(TEST_REQUESTED_AT)):
            record.deliverable.add(token)
        replicas = self._simulation.plan.replicas
        shard = next((r.shard for r in replicas if matches(r.selector, metadata["labels"])), NOBODY)
        if not record.moves or record.shard != shard:
            record.moves.append((now, shard))
        self._promise(record, body)

    def _promise(self, record: Record, body: Body) -> None:
        """Begin or end the time span in which slots of this schedule are owed."""
        status, spec, metadata = status_of(body), body["spec"], body["metadata"]
        good = None
        if metadata["generation"] not in record.invalid and not spec.get("suspend"):
            schedule = parsed(spec["schedule"], default_zone(status))
            if (
                record.shard != NOBODY
                and "deletionTimestamp" not in metadata
                and status.get("schedule") == schedule.describe()
                and status.get("nextScheduleTime")
            ):
                good = schedule
        current = record.promises[-1] if record.promises and record.promises[-1].end == float("inf") else None
        # Another shard has another clock, so the promise of the first shard ends.
        if current and (current.schedule != good or current.shard != record.shard):
            current.end = self._simulation.now
            current = None
        if good and current is None and (since := parse_time(status.get("scheduleSince"))):
            record.promises.append(Promise(good, self._simulation.now, since, record.shard))

    def _close(self, record: Record) -> None:
        if record.promises and record.promises[-1].end == float("inf"):
            record.promises[-1].end = self._simulation.now

    def _check_known(self) -> None:
        """A leader must know every object that it selects."""
        now = self._simulation.now
        missing = set()
        for replica in self._simulation.replicas:
            if not replica.leading or (replica.process and replica.process.paused):
                continue
            if left_over := replica.left_over():
                self.violate("deleted exporters are remembered", replica.name, f"{len(left_over)}")
            known = replica.known()
            for record in self._records.values():
                mine = record.deleted is None and record.shard == replica.shard
                if (
                    not mine
                    or (record.namespace, record.name, record.uid) in known
                    or now - record.created < CHECK_INTERVAL
                ):
                    continue
                missing.add((replica.name, record.uid))
                if (replica.name, record.uid) in self._missing and self.excuses.undisturbed(
                    record, now - 2 * CHECK_INTERVAL, now
                ):
                    self.violate("an exporter is forgotten", record.name, f"by {replica.name}, which leads")
        self._missing = missing
        self._simulation.loop.outside(CHECK_INTERVAL, self._check_known)

    # Writes of status.

    def _before_status(self, writer: str, old: Body, new: Body) -> None:
        with self.checking(new["metadata"]["name"]):
            self._check_status(writer, old, new)

    def _check_status(self, writer: str, old: Body, new: Body) -> None:
        metadata, now = new["metadata"], self._simulation.now
        record = self._records[metadata["uid"]]
        before, after = status_of(old), new["status"]
        self._counts["writes"] += 1
        self._simulation.trace(writer, "writes status of", record.name, differences(before, after))
        lost = not isinstance(before.get("schedule"), str) or not isinstance(before.get("claimedSlots"), list)
        if parse_time(before.get("scheduleSince")) is None and (lost or not record.noticed):
            annotations = metadata["annotations"]
            record.exempt |= {token for key in (RUN_REQUESTED_AT, TEST_REQUESTED_AT) if (token := annotations.get(key))}
        if not record.noticed:
            record.noticed = True
            if now - record.created > MAX_NOTICE_SECONDS and self.excuses.undisturbed(record, record.created - 60, now):
                self.violate("a new exporter is noticed late", record.name, f"after {now - record.created:.0f} s")
        for entry in (*after.get("history", []), *filter(None, (after.get("lastTest"),))):
            self._entry(record, entry, now)
        if (decided := after.get("lastScheduleTime")) != before.get("lastScheduleTime"):
            # The entry of this slot can equal one from when the clock was ahead by whole hours. It counts from now.
            for entry in after.get("history", []):
                if entry.get("scheduledTime") == decided:
                    record.entries[entry["id"]].decided = now
        for promise in record.promises:
            if promise.noticed is None and promise.end <= now:
                promise.noticed = now
        run = before.get("activeRun")
        self._active(record, old, run if isinstance(run, dict) else None, after.get("activeRun"), now)
        if new["spec"] != old["spec"]:
            self.violate("a write outside status", record.name, "spec")
        if {**metadata, "resourceVersion": ""} != {**old["metadata"], "resourceVersion": ""}:
            self.violate("a write outside status", record.name, "metadata")
        if ignored := Exporter.from_object(new).ignored:
            self.violate("a write keeps invalid values", record.name, ", ".join(ignored))
        for outcome in unforeseen(before, after):
            self.violate("an outcome whose counter has no zero", record.name, outcome)

    def _attempted(self, writer: str, namespace: str, name: str) -> None:
        body = self._simulation.server.exporters.get((namespace, name))
        if body is None:
            return
        record, now = self._records[body["metadata"]["uid"]], self._simulation.now
        writes = record.writes.setdefault(writer, [])
        writes.append(now)
        if len(writes) > MAX_WRITES_PER_HOUR:
            if now - writes[0] < HOUR:
                how_often = f"{len(writes)} times within an hour by {writer}"
                self.violate("status is written again and again", record.name, how_often)
            del writes[0]

    def _entry(self, record: Record, entry: dict[str, Any], now: float) -> None:
        seen = record.entries.get(entry["id"])
        if seen is None:
            record.entries[entry["id"]] = Seen(entry, now, now)
            self._counts[f"{entry['trigger']} {entry['result']}"] += 1
            self._check_entry(record, entry, now)
            return
        if seen.entry["completionTime"] != entry["completionTime"]:
            if not self.damages.excuses_repeated_run(record, seen.time, entry):
                self.violate(
                    "two entries for one run", record.name,
                    f"run {entry['id']}: {summary(seen.entry)}, and {summary(entry)}",
                )  # fmt: skip
            record.entries[entry["id"]] = Seen(entry, now, now)
        elif seen.entry["result"] != entry["result"]:
            if seen.entry["result"] != "Unknown" and not seen.entry["reason"].startswith("SettledAs"):
                self.violate("two entries for one run", record.name, f"{summary(seen.entry)}, and {summary(entry)}")
            self._counts[f"{seen.entry['result']} became {entry['result']}"] += 1
            seen.entry = entry

    def _check_entry(self, record: Record, entry: dict[str, Any], now: float) -> None:
        if entry["trigger"] != "Schedule":
            return
        if "scheduledTime" not in entry:
            if not record.damages:
                self.violate("an entry without its slot", record.name, summary(entry))
            return
        due = datetime.fromisoformat(entry["scheduledTime"])
        seconds = (due - EPOCH).total_seconds()
        promised = any(p.begin < seconds - 600 and p.end > seconds for p in record.promises)
        up = seconds < now and promised and self.excuses.undisturbed(record, seconds - 600, now)
        if up and entry["reason"] == "DeadlineExceeded":
            self.violate("a slot is missed although the operator was up", record.name, summary(entry))

    def _active(
        self, record: Record, old: Body, before: dict[str, Any] | None, after: dict[str, Any] | None, now: float
    ) -> None:
        record.journal = after
        if after is None:
            if record.active is not None:
                record.active, record.rested = None, now
            return
        if record.active is None or record.active[0] != after["id"]:
            record.active = after["id"], now
            self._started(record, after, now)
        if (batch := after.get("batchId")) and batch not in record.batches.setdefault(after["id"], []):
            record.batches[after["id"]].append(batch)
        if after.get("attempt", 1) > MAX_ATTEMPTS:
            self.violate("too many attempts", record.name, f"run {after['id']}: attempt {after['attempt']}")
        self.bound_run(record, after, now)
        announced = after["step"] == "Sending" and "refusedUntil" not in after
        if announced and (before is None or before.get("sendAttempts") != after.get("sendAttempts")):
            if old["metadata"]["generation"] in record.invalid:
                self.violate("an exporter sends without a valid spec", record.name, f"run {after['id']}")
            elif after["trigger"] != "Test" and old["spec"].get("suspend"):
                self.violate("a suspended exporter sends", record.name, f"run {after['id']}")
            _, began = record.active
            if now - began > self._deadline(record) and self.excuses.clocks_right(record.shard, began, now):
                late = f"run {after['id']} after {(now - began) / HOUR:.1f} hours"
                self.violate("a run sends after its deadline", record.name, late)
            if "deletionTimestamp" in old["metadata"]:
                self.violate("an exporter sends while it is deleted", record.name, f"run {after['id']}")
            if after.get("generation") != old["metadata"]["generation"]:
                self.violate("a run sends by an old spec", record.name, f"run {after['id']}")

    def _started(self, record: Record, run: dict[str, Any], now: float) -> None:
        if run["trigger"] != "Schedule" or "scheduledTime" not in run:
            return
        due = (datetime.fromisoformat(run["scheduledTime"]) - EPOCH).total_seconds()
        late = now - max(due, record.rested)  # a slot waits for the end of a test
        promised = any(p.begin < due - 600 and p.end > due for p in record.promises)
        if late > MAX_START_DELAY and promised and self.excuses.undisturbed(record, due - 600, now):
            self.violate("a slot starts late", record.name, f"{late / 60:.0f} minutes after {run['scheduledTime']}")

    def bound_run(self, record: Record, run: dict[str, Any], now: float) -> None:
        """Check the duration of the run in progress."""
        assert record.active is not None
        _, began = record.active
        most = self._deadline(record)
        if now - began > most and now - began - self.excuses.disturbed(record, began, now) > most:
            self.violate("a run does not end", record.name, f"run {run['id']} for {(now - began) / HOUR:.1f} hours")

    def _deadline(self, record: Record) -> float:
        interval = record.schedules[-1].interval()
        return max(RUN_DEADLINE, min(interval, MAX_RUN_DEADLINE)).total_seconds() + RUN_SLACK

    # The end.

    def end(self, faults_over: float) -> None:
        """Check what must hold at the end of the world."""
        if not self._simulation.loop.stopped:
            Ending(self._simulation, self, self._records, self._counts).check(faults_over)
