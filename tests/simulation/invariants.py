"""What must hold in every world, judged from what really happened and not from what the controller says.

The oracle sees every change of every object, every write of a status and every effect at a remote side. It knows the
true time, the schedules as users wrote them, and who was returned by which query. Some checks run at each effect, the
others at the end, when everything had time to finish.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from qualtrics_exporter.export.identity import request_run_id, slot_run_id, test_run_id
from qualtrics_exporter.http.wire import Request
from qualtrics_exporter.resource.exporter import RUN_REQUESTED_AT, TEST_MODE, TEST_REQUESTED_AT, Exporter
from qualtrics_exporter.sandbox.gate import Reply
from qualtrics_exporter.schedule import Schedule, next_slot, slots_between

from .api_server import Body, matches
from .clock import EPOCH, true_time
from .plan import HOUR, parsed
from .tenants import QUERY_TEXT, People, document

if TYPE_CHECKING:
    from .simulation import Simulation

# Bounds. They are promises of the controller, with some slack: adapt them when the promises change.
RUN_DEADLINE = timedelta(hours=2)
RUN_DEADLINE_MOST = timedelta(hours=24)
RUN_SLACK = 45 * 60.0
MOST_ATTEMPTS = 12
MOST_WRITES_PER_HOUR = 480
"""Attempts to write one status, successful or not."""
NOTICED = 180.0
"""Seconds after which a new exporter must have its first status."""
MOST_STATUS_BYTES = 48 * 1024
LATEST_START = 20 * 60.0
"""Seconds after which a slot of a healthy tenant must have started."""
RECOVERY = 15 * 60.0
"""Seconds after which the consequences of a clock step must be gone."""
LOOK = 150.0
"""Seconds between two looks at what leaders know."""
QUERY_MEMORY = 2 * HOUR
"""How long before an import the query may have run that returned its people."""

RUNAWAY = ("status is written again and again", "too many attempts", "livelock")
"""After one of these a world ends at once: the rest would cost hours and show nothing else."""

_RANGE = re.compile(r"(?P<number>\d+) slots between (?P<oldest>\S+Z) and (?P<newest>\S+Z)")


@dataclass(frozen=True)
class Violation:
    """Something that must never happen. `kind` names the invariant."""

    kind: str
    exporter: str
    what: str
    time: float

    def __str__(self) -> str:
        return f"{true_time(self.time):%a %d %H:%M:%S}  {self.kind}: {self.exporter} {self.what}"


@dataclass
class Promise:
    """A time span in which the operator had acknowledged this schedule of an exporter that was not suspended."""

    schedule: Schedule
    begin: float
    since: datetime
    """`scheduleSince` as the operator wrote it, by its own clock."""
    shard: str
    end: float = float("inf")


@dataclass
class Seen:
    """An entry of a history, as it was first written."""

    entry: dict[str, Any]
    time: float


@dataclass
class Record:
    """All that is known of one object, by its uid."""

    uid: str
    name: str
    namespace: str
    shard: str
    created: float
    specs: dict[int, dict[str, Any]] = field(default_factory=dict)
    schedules: list[Schedule] = field(default_factory=list)
    deleted: float | None = None
    promises: list[Promise] = field(default_factory=list)
    entries: dict[str, Seen] = field(default_factory=dict)
    run_tokens: dict[str, list[float]] = field(default_factory=dict)
    """Tokens of run requests, and the times at which each was put in place."""
    test_tokens: dict[str, list[float]] = field(default_factory=dict)
    exempt: set[str] = field(default_factory=set)
    """Tokens that were there when the operator first saw the object: they count as handled."""
    deliverable: set[str] = field(default_factory=set)
    """Test tokens that stood beside `Deliver` at some time."""
    active: tuple[str, float] | None = None
    """The run in progress, and since when."""
    writes: list[float] = field(default_factory=list)
    batches: dict[str, list[str]] = field(default_factory=dict)
    """The batches that the journal named for each run, in order."""


@dataclass
class Disturbance:
    """A time span in which slow progress is excused. `scope` is an exporter, a namespace, a host, a shard, or `*`."""

    begin: float
    end: float
    scope: str


class Oracle:
    """Watches one world."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self.violations: list[Violation] = []
        self._records: dict[str, Record] = {}
        self._disturbances: list[Disturbance] = []
        self._steps: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        """Clock steps of each shard: when, and the new offset of one of its replicas."""
        self._counts: Counter[str] = Counter()
        self._returned: defaultdict[tuple[str, str], list[tuple[float, People]]] = defaultdict(list)
        """What each replica was told by each host, newest last."""
        self._imports: defaultdict[str, list[list[People]]] = defaultdict(list)
        """For each batch and import into it, the states of queries that its people may come from."""
        self._judged: Counter[str] = Counter()
        self._sent_runs: Counter[str] = Counter()
        self._sent_slots: set[tuple[str, datetime]] = set()
        self._said: set[tuple[str, str, str]] = set()
        self._missing: set[tuple[str, str]] = set()
        """Replicas and objects that they did not know at the last look."""
        simulation.loop.outside(LOOK, self._look)
        simulation.server.listeners.append(self._changed)
        simulation.server.before_status = self._status
        simulation.server.attempted = self._attempted

    # What others tell.

    def violate(self, kind: str, exporter: str, what: str) -> None:
        """Note a violation, once for each exporter and kind."""
        time = self._simulation.now
        self._simulation.trace("!!", kind, exporter, what)
        if (kind, exporter, "") not in self._said:
            self._said.add((kind, exporter, ""))
            self.violations.append(Violation(kind, exporter, what, time))
        if kind in RUNAWAY or kind == self._simulation.stop_at:
            self._simulation.loop.stopped = True

    def counts(self) -> dict[str, int]:
        """Figures about the world, to see that it was busy."""
        return dict(self._counts)

    def disturb(self, seconds: float, scope: str) -> None:
        """For so many seconds from now, slow progress is excused in that scope."""
        now = self._simulation.now
        self._disturbances.append(Disturbance(now, now + seconds, scope))

    def clock_stepped(self, shard: str, offset: float) -> None:
        """A replica of that shard has its wall clock off by so many seconds from now on."""
        self._steps[shard].append((self._simulation.now, offset))
        self.disturb(RECOVERY, shard)

    def process_ended(self, replica: str, why: str) -> None:
        """A process ended by itself. Once or twice may be right; again and again is not."""
        self._counts["ends"] += 1
        self.disturb(3000.0, replica[0])
        if self._counts["ends"] > 5:
            self.violate("the operator ends again and again", replica, why)

    # Objects.

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        metadata = body["metadata"]
        uid, now = metadata["uid"], self._simulation.now
        if kind == "ADDED":
            record = Record(uid, metadata["name"], metadata["namespace"], "", now)
            self._records[uid] = record
            self._counts["objects"] += 1
        else:
            record = self._records[uid]
        if kind == "DELETED":
            record.deleted = now
            self._close(record)
            return
        generation = metadata["generation"]
        if generation not in record.specs:
            record.specs[generation] = body["spec"]
            record.schedules.append(parsed(body["spec"]["schedule"]))
        annotations = metadata["annotations"]
        old = before["metadata"]["annotations"] if before else {}
        for name, tokens in ((RUN_REQUESTED_AT, record.run_tokens), (TEST_REQUESTED_AT, record.test_tokens)):
            if (token := annotations.get(name)) and token != old.get(name):
                tokens.setdefault(token, []).append(now)
        if annotations.get(TEST_MODE) == "Deliver" and (token := annotations.get(TEST_REQUESTED_AT)):
            record.deliverable.add(token)
        replicas = self._simulation.plan.replicas
        record.shard = next((r.shard for r in replicas if matches(r.selector, metadata["labels"])), "nobody")
        self._promise(record, body)

    def _promise(self, record: Record, body: Body) -> None:
        """Open or close the time span in which slots of this schedule are owed."""
        status, spec = body.get("status") or {}, body["spec"]
        written = spec["schedule"]
        schedule = parsed(written, status.get("timeZone") or "UTC")
        usable = not spec.get("suspend") and spec["qualtrics"]["fromEmail"] != "nobody"
        good = (
            usable
            and record.shard != "nobody"
            and status.get("schedule") == schedule.words()
            and status.get("nextScheduleTime")
        )
        current = record.promises[-1] if record.promises and record.promises[-1].end == float("inf") else None
        if current and (not good or current.schedule != schedule):
            current.end = self._simulation.now
            current = None
        if good and current is None:
            since = datetime.fromisoformat(status["scheduleSince"])
            record.promises.append(Promise(schedule, self._simulation.now, since, record.shard))

    def _close(self, record: Record) -> None:
        if record.promises and record.promises[-1].end == float("inf"):
            record.promises[-1].end = self._simulation.now

    def _look(self) -> None:
        """A leader must know every object that is its own."""
        now = self._simulation.now
        missing = set()
        for replica in self._simulation.replicas:
            if not replica.leading or (replica.process and replica.process.paused):
                continue
            known = replica.known()
            for record in self._records.values():
                mine = record.deleted is None and record.shard == replica.shard
                if not mine or (record.namespace, record.name, record.uid) in known or now - record.created < LOOK:
                    continue
                missing.add((replica.name, record.uid))
                if (replica.name, record.uid) in self._missing and self._undisturbed(record, now - 2 * LOOK, now):
                    self.violate("an exporter is forgotten", record.name, f"by {replica.name}, which leads")
        self._missing = missing
        self._simulation.loop.outside(LOOK, self._look)

    # Writes of status.

    def _status(self, writer: str, old: Body, new: Body) -> None:
        metadata = new["metadata"]
        record = self._records[metadata["uid"]]
        now = self._simulation.now
        before, after = old.get("status") or {}, new["status"]
        self._counts["writes"] += 1
        self._simulation.trace(writer, "writes status of", record.name, _differences(before, after))
        if not before.get("scheduleSince"):
            annotations = metadata["annotations"]
            record.exempt |= {token for key in (RUN_REQUESTED_AT, TEST_REQUESTED_AT) if (token := annotations.get(key))}
            if now - record.created > NOTICED and self._undisturbed(record, record.created - 60, now):
                self.violate("a new exporter is noticed late", record.name, f"after {now - record.created:.0f} s")
        for entry in after.get("history", []):
            self._entry(record, entry, now)
        if test := after.get("lastTest"):
            self._entry(record, test, now)
        self._active(record, old, before.get("activeRun"), after.get("activeRun"), now)
        for name in {"metadata", "spec"}:
            if {**new[name], "resourceVersion": ""} != {**old[name], "resourceVersion": ""}:
                self.violate("a write outside status", record.name, name)

    def _attempted(self, namespace: str, name: str) -> None:
        body = self._simulation.server.exporters.get((namespace, name))
        if body is None:
            return
        record, now = self._records[body["metadata"]["uid"]], self._simulation.now
        writes = record.writes
        writes.append(now)
        if len(writes) > MOST_WRITES_PER_HOUR:
            if now - writes[0] < HOUR:
                self.violate("status is written again and again", record.name, f"{len(writes)} times within an hour")
            del writes[0]

    def _entry(self, record: Record, entry: dict[str, Any], now: float) -> None:
        seen = record.entries.get(entry["id"])
        if seen is None:
            record.entries[entry["id"]] = Seen(entry, now)
            self._counts[f"{entry['trigger']} {entry['result']}"] += 1
            self._judge_entry(record, entry, now)
            return
        if seen.entry["completionTime"] != entry["completionTime"]:
            self.violate(
                "two entries for one run", record.name,
                f"run {entry['id']}: {_told(seen.entry)}, and {_told(entry)}",
            )  # fmt: skip
            record.entries[entry["id"]] = Seen(entry, now)
        elif seen.entry["result"] != entry["result"]:
            if seen.entry["result"] != "Unknown" and seen.entry["reason"] != "SettledAsNotSent":
                self.violate("two entries for one run", record.name, f"{_told(seen.entry)}, and {_told(entry)}")
            self._counts[f"{seen.entry['result']} became {entry['result']}"] += 1
            seen.entry = entry

    def _judge_entry(self, record: Record, entry: dict[str, Any], now: float) -> None:
        if entry["trigger"] != "Schedule":
            return
        due = datetime.fromisoformat(entry["scheduledTime"])
        seconds = (due - EPOCH).total_seconds()
        if seconds < now and entry["reason"] == "DeadlineExceeded" and self._undisturbed(record, seconds - 600, now):
            if any(p.begin < seconds - 600 and p.end > seconds for p in record.promises):
                self.violate("a slot is missed although the operator was up", record.name, _told(entry))

    def _active(
        self, record: Record, old: Body, before: dict[str, Any] | None, after: dict[str, Any] | None, now: float
    ) -> None:
        if after is None:
            record.active = None
            return
        if record.active is None or record.active[0] != after["id"]:
            record.active = after["id"], now
            self._started(record, after, now)
        if (batch := after.get("batchId")) and batch not in record.batches.setdefault(after["id"], []):
            record.batches[after["id"]].append(batch)
        if after.get("attempt", 1) > MOST_ATTEMPTS:
            self.violate("too many attempts", record.name, f"run {after['id']}: attempt {after['attempt']}")
        self._bound_run(record, after, now)
        announced = after["step"] == "Sending" and "refusedUntil" not in after
        if announced and (before is None or before.get("sendAttempts") != after.get("sendAttempts")):
            if after["trigger"] != "Test" and old["spec"].get("suspend"):
                self.violate("a suspended exporter sends", record.name, f"run {after['id']}")
            if after.get("generation") != old["metadata"]["generation"]:
                self.violate("a run sends by an old spec", record.name, f"run {after['id']}")

    def _started(self, record: Record, run: dict[str, Any], now: float) -> None:
        if run["trigger"] != "Schedule":
            return
        due = (datetime.fromisoformat(run["scheduledTime"]) - EPOCH).total_seconds()
        late = now - due
        if late > LATEST_START and self._undisturbed(record, due - 600, now):
            if any(p.begin < due - 600 and p.end > due for p in record.promises):
                self.violate("a slot starts late", record.name, f"{late / 60:.0f} minutes after {run['scheduledTime']}")

    def _bound_run(self, record: Record, run: dict[str, Any], now: float) -> None:
        assert record.active is not None
        _, began = record.active
        interval = record.schedules[-1].interval()
        most = max(RUN_DEADLINE, min(interval, RUN_DEADLINE_MOST)).total_seconds() + RUN_SLACK
        if now - began > most and now - began - self._disturbed(record, began, now) > most:
            self.violate("a run does not end", record.name, f"run {run['id']} for {(now - began) / HOUR:.1f} hours")

    # Excuses.

    def _scopes(self, record: Record) -> set[str]:
        tenant = record.namespace.partition("-")[2]
        spec = record.specs[max(record.specs)]
        brand = spec["qualtrics"]["credentialsSecretRef"]["name"].partition("-")[2]
        hosts = {f"t{tenant}.api.eu.nexthink.cloud", f"b{brand}.eu.qualtrics.com"}
        return {"*", record.name, record.namespace, record.shard, *hosts}

    def _disturbed(self, record: Record, begin: float, end: float, *, relabelled: bool = False) -> float:
        """How many seconds of that span slow progress is excused. `relabelled`: a change of labels is no excuse."""
        scopes = self._scopes(record) - ({record.name} if relabelled else set())
        spans = sorted((max(d.begin, begin), min(d.end, end)) for d in self._disturbances if d.scope in scopes)
        total, last = 0.0, begin
        for start, stop in spans:
            if stop > max(start, last):
                total += stop - max(start, last)
                last = stop
        for time, offset in self._steps.get(record.shard, ()):
            if begin <= time <= end:
                total += abs(offset)  # a deadline by the wall clock moves with it
        return total

    def _undisturbed(self, record: Record, begin: float, end: float, *, relabelled: bool = False) -> bool:
        return self._disturbed(record, begin, end, relabelled=relabelled) <= 0.0 and self._clocks_right(
            record.shard, begin, end
        )

    def _clocks_right(self, shard: str, begin: float, end: float) -> bool:
        offset_at_begin = 0.0
        for time, offset in self._steps.get(shard, ()):
            if time <= begin:
                offset_at_begin = offset
            elif time < end and offset:
                return False
        return offset_at_begin == 0.0

    # Effects at the remote sides.

    def remote_effect(self, process: str, request: Request, reply: Reply) -> None:
        """A request had its effect, with this reply."""
        if reply.status >= 300:
            return
        operation = request.operation
        if operation in ("execute", "download"):
            self._query_ran(process, operation, request)
        elif operation == "import_contacts":
            meta = document(request.body or b"")["transactionMeta"]
            self._imports[meta["batchId"]].append(self._lately(process))
        elif operation == "import_status":
            self._still_working(request)
        elif operation == "create_distribution":
            self._distribution(request.url.host)

    def _query_ran(self, process: str, operation: str, request: Request) -> None:
        now, host = self._simulation.now, request.url.host
        told = self._returned[process, operation]
        instance = next(i for i in self._simulation.instances if i.host.partition(".")[0] == host.partition(".")[0])
        if operation == "download":  # whatever was exported is read now
            told.extend((now, query.people) for query in instance.queries.values())
        else:
            told.append((now, instance.queries[document(request.body or b"")["queryId"]].people))
        while told and told[0][0] < now - QUERY_MEMORY:
            del told[0]

    def _still_working(self, request: Request) -> None:
        """Somebody works on a batch: it must be the newest one of its run, or there is another worker."""
        brand = next(brand for brand in self._simulation.brands if brand.host == request.url.host)
        batch = brand.brand.jobs[request.url.rest.partition("?")[0].rpartition("/")[2]].batch_id
        now = self._simulation.now
        for record in self._records.values():
            if record.active and batch in (batches := record.batches.get(record.active[0], [])):
                if batch != batches[-1] and self._undisturbed(record, now - 1800, now, relabelled=True):
                    self.violate("two workers on one run", record.name, f"batches {', '.join(batches)}")
                return

    def _lately(self, process: str) -> list[People]:
        since = self._simulation.now - QUERY_MEMORY
        found = {}
        for operation in ("execute", "download"):
            for time, people in self._returned[process, operation]:
                if time >= since:
                    found[people.query_id, people.version] = people
        return list(found.values())

    def _distribution(self, host: str) -> None:
        brand = next(brand for brand in self._simulation.brands if brand.host == host)
        sent = brand.ledger.distributions
        for distribution in sent[self._judged[host] :]:
            self._judge_distribution(brand.ledger.batches[distribution.batch_id or ""], distribution)
        self._judged[host] = len(sent)

    def _judge_distribution(self, batch: Any, sent: Any) -> None:
        self._counts["distributions"] += 1
        if len(batch.run_ids) != 1:
            self.violate("a batch of several runs is sent", "", f"{batch.id}: {batch.run_ids}")
        for run_id in batch.run_ids:
            record, what = self._whose(run_id)
            if record is None:
                self.violate("a distribution that nobody asked for", "", f"run {run_id}")
                continue
            self._simulation.trace("** distribution", sent.id, "of", record.name, what)
            self._sent_runs[run_id] += 1
            if self._sent_runs[run_id] > 1:
                self.violate(
                    "sent twice", record.name, f"{what}, run {run_id}: {self._sent_runs[run_id]} distributions"
                )
            elif isinstance(what, datetime):
                if (record.uid, what) in self._sent_slots:
                    self.violate("sent twice", record.name, f"two slots due at {what}")
                self._sent_slots.add((record.uid, what))
            self._judge_people(record, run_id, what, batch)
        if repeated := batch.repeated():
            self.violate("mailed twice in a batch", "", f"{len(repeated)} people of batch {batch.id}")

    def _whose(self, run_id: str) -> tuple[Record | None, Any]:
        """The object of a run id, and the token or due time that it was made of."""
        now = true_time(self._simulation.now)
        for record in self._records.values():
            for token in record.run_tokens:
                if request_run_id(record.uid, token) == run_id:
                    return record, f"request {token}"
            for token in record.test_tokens:
                if test_run_id(record.uid, token) == run_id:
                    return record, f"test {token}"
        for span in (timedelta(hours=2), timedelta(days=9)):
            for record in self._records.values():
                for schedule in dict.fromkeys(record.schedules):
                    for slot in slots_between(
                        schedule, now - span, now + (span if span > timedelta(days=1) else timedelta(0))
                    ):
                        if slot_run_id(record.uid, slot.identity) == run_id:
                            return record, slot.due
        return None, ""

    def _judge_people(self, record: Record, run_id: str, what: Any, batch: Any) -> None:
        body = self._simulation.server.exporters.get((record.namespace, record.name))
        status = (body or {}).get("status") or {}
        run = status.get("activeRun") or {}
        spec = record.specs.get(run.get("generation", 0)) if run.get("id") == run_id else None
        addresses = {address.lower() for address in batch.addresses}
        states = [people for states in self._imports[batch.id] for people in states]
        fitting = [people for people in states if addresses <= people.addresses]
        if not fitting:
            self.violate("somebody is mailed whom the query did not return", record.name, f"{what}, batch {batch.id}")
            return
        if spec is None:
            return
        if spec["nexthink"]["queryId"] not in {people.query_id for people in fitting}:
            self.violate("people of another query are mailed", record.name, f"{what}, batch {batch.id}")
        if spec["nexthink"].get("driftPolicy") == "Hold" and all(p.text != QUERY_TEXT for p in fitting):
            self.violate("mailed by a query that drifted, in spite of Hold", record.name, f"{what}")
        if spec.get("dryRun"):
            self.violate("a dry run is sent", record.name, str(what))
        if run["trigger"] == "Test" and (
            len(addresses) > 20 or str(what).removeprefix("test ") not in record.deliverable
        ):
            self.violate("a test mails too many, or unasked", record.name, str(what))
        most = spec.get("maxRecipients")
        if most and len(addresses) > most:
            self.violate("more people than maxRecipients", record.name, f"{len(addresses)} > {most}")

    # The end.

    def end(self, faults_over: float) -> None:
        """Judge what must have come to its end by now."""
        if self._simulation.loop.stopped:
            return
        for record in self._records.values():
            if record.deleted is not None:
                continue
            body = self._simulation.server.exporters[record.namespace, record.name]
            self._end_of_slots(record, faults_over)
            self._end_of_requests(record, body, faults_over)
            self._end_of_object(record, body)
        for error in self._simulation.loop.errors:
            self.violate("an exception that nobody caught", "", error)
        for brand in self._simulation.brands:
            if any(sent.links_read for sent in brand.ledger.distributions):
                self.violate("links of a sent distribution are read", "", brand.host)

    def _end_of_slots(self, record: Record, until: float) -> None:
        covered: list[tuple[datetime, datetime, float]] = []
        by_due: dict[datetime, dict[str, Any]] = {}
        for seen in record.entries.values():
            entry = seen.entry
            if entry["trigger"] != "Schedule":
                continue
            newest = datetime.fromisoformat(entry["scheduledTime"])
            if newest in by_due and by_due[newest]["id"] != entry["id"]:
                self.violate("two entries for one slot", record.name, f"{_told(by_due[newest])}, and {_told(entry)}")
            by_due[newest] = entry
            found = _RANGE.search(entry["message"])
            oldest = datetime.fromisoformat(found["oldest"]) if found else newest
            started = "startTime" in entry
            covered.append((oldest, newest, -1.0 if started else seen.time))
        for promise in record.promises:
            end = min(promise.end, until)
            for slot in slots_between(promise.schedule, true_time(promise.begin + 2), true_time(end)):
                due = (slot.due - EPOCH).total_seconds()
                if due >= end or not self._owed(promise, slot.due, due):
                    continue
                self._counts["slots"] += 1
                times = [time for oldest, newest, time in covered if oldest <= slot.due <= newest]
                if not times:
                    self.violate(
                        "a slot without an entry",
                        record.name,
                        f"due {slot.due:%a %d %H:%M}, {promise.schedule.words()}",
                    )
                elif min(times) > 0 and max(times) < due - 60:
                    self.violate(
                        "a slot is written off before it falls due", record.name,
                        f"due {slot.due:%a %d %H:%M}, written off at {true_time(max(times)):%a %d %H:%M}",
                    )  # fmt: skip

    def _owed(self, promise: Promise, due: datetime, seconds: float) -> bool:
        if promise.since < due:
            return True
        # The operator's clock was ahead when it wrote this: only if it was right again when the slot fell due.
        return self._clocks_right(promise.shard, seconds - 1, seconds + RECOVERY)

    def _end_of_requests(self, record: Record, body: Body, until: float) -> None:
        annotations, status = body["metadata"]["annotations"], body.get("status") or {}
        for name, tokens, id_of in (
            (RUN_REQUESTED_AT, record.run_tokens, request_run_id),
            (TEST_REQUESTED_AT, record.test_tokens, test_run_id),
        ):
            token = annotations.get(name)
            if token is None or token in record.exempt or tokens[token][-1] > until:
                continue
            if id_of(record.uid, token) not in record.entries:
                self.violate("a request without an entry", record.name, f"{name} {token}")
        settle = annotations.get("qualtrics-exporter.dev/settle-run")
        if settle and not status.get("lastHandledSettlement"):
            self.violate("a settlement without a receipt", record.name, settle)

    def _end_of_object(self, record: Record, body: Body) -> None:
        status, now = body.get("status") or {}, true_time(self._simulation.now)
        if not status.get("scheduleSince"):
            self.violate("an exporter that nobody manages", record.name, "it has no status")
            return
        size = len(repr(status))
        if size > MOST_STATUS_BYTES:
            self.violate("status grows without bound", record.name, f"{size} bytes")
        if run := status.get("activeRun"):
            assert record.active is not None
            self._bound_run(record, run, self._simulation.now)
        exporter = Exporter.from_object(body)
        if exporter.spec is None or exporter.suspended or status.get("activeRun"):
            return
        schedule = parsed(body["spec"]["schedule"], status.get("timeZone") or "UTC")
        upcoming = next_slot(schedule, now).due
        announced = status.get("nextScheduleTime")
        if announced is None or not now - timedelta(minutes=15) < datetime.fromisoformat(announced) <= upcoming:
            self.violate("the next slot is not the one that is announced", record.name, f"{announced}, not {upcoming}")


def _told(entry: dict[str, Any]) -> str:
    when = entry.get("scheduledTime", "a request")
    return f"{entry['result']} {entry['reason']} for {when} ended {entry['completionTime']}"


def _differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What a write changes, in few words."""
    words = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name == "conditions":
            words.append("conditions")
        elif name == "activeRun":
            words.append(
                f"activeRun={new['id'][:6]} {new['step']} attempt {new.get('attempt', 1)}" if new else "activeRun=-"
            )
        elif name == "history":
            words.append(f"history[0]={_told(new[0])}" if new and (not old or new[0] != old[0]) else "history")
        elif name == "lastTest":
            words.append(f"lastTest={_told(new)}" if new else "lastTest=-")
        else:
            words.append(f"{name}={new}")
    return ", ".join(words)
