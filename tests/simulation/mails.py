"""Checks who is mailed, how often and with which query, at each effect at Nexthink and Qualtrics."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from qualtrics_exporter.export.run_ids import request_run_id, slot_run_id, test_run_id
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.sandbox.middleware import Reply
from qualtrics_exporter.schedule import slots_between

from .clock import true_time
from .misleading import MisleadingReply
from .records import Excuses, Record
from .tenants import QUERY_TEXT, People, body_of, document
from .world import HOUR, parsed

if TYPE_CHECKING:
    from .simulation import Simulation

QUERY_MEMORY = 26 * HOUR
"""Seconds between a query and the import of its people, at most."""


PROMPT = 10.0
"""Seconds. A request that took longer does not show who works now."""


class MailChecks:
    """Records what every query returned, what was imported into each batch, and what was sent."""

    def __init__(
        self,
        simulation: "Simulation",
        records: dict[str, Record],
        excuses: Excuses,
        counts: Counter[str],
        violate: Callable[[str, str, str], None],
    ) -> None:
        self._simulation = simulation
        self._records = records
        self._excuses = excuses
        self._counts = counts
        self._violate = violate
        self._returned: defaultdict[tuple[str, str], list[tuple[float, People]]] = defaultdict(list)
        """What each process got from each kind of call, newest last."""
        self._imports: defaultdict[str, list[list[People]]] = defaultdict(list)
        """For each batch and each import into it, the states of queries that its people may come from."""
        self._checked: Counter[str] = Counter()
        self._misled: set[str] = set()
        """Batches for which Qualtrics returned the id of another import."""
        self._hidden: set[str] = set()
        """Runs whose distribution Qualtrics left out of its list. The operator cannot know that it was sent."""
        self._versions = 0
        self._exports: dict[str, str] = {}
        """The queries of exports with a misleading reply: their files may be those of any query."""
        self._sent_runs: Counter[str] = Counter()
        self._sent_slots: set[tuple[str, datetime]] = set()
        self._surveyed: dict[tuple[str, str], float] = {}
        """When each person was surveyed last, by uid of the exporter and address."""

    def remote_effect(self, process: str, request: Request, reply: Reply, seconds: float) -> None:
        """A request had its effect and this reply, after so many seconds."""
        if reply.status >= 300:
            return
        operation = request.operation
        misled = reply if isinstance(reply, MisleadingReply) else None
        if misled and misled.hidden:
            self._hide(request.url.host, misled.hidden)
        if operation in ("execute", "download") and misled and misled.people is not None:
            self._got_misleading_people(process, operation, request, misled)
        elif operation == "export" and misled:
            self._exports[document(body_of(misled))["exportId"]] = document(request.body or b"")["queryId"]
        elif operation in ("execute", "download"):
            self._query_ran(process, operation, request)
        elif operation == "import_contacts":
            meta = document(request.body or b"")["transactionMeta"]
            self._imports[meta["batchId"]].append(self._lately(process))
            if misled:
                self._misled.add(meta["batchId"])
        elif operation == "import_status" and seconds < PROMPT:
            self._still_working(request)
        elif operation == "create_distribution":
            self._distribution(request.url.host)

    def _got_misleading_people(self, process: str, operation: str, request: Request, reply: MisleadingReply) -> None:
        """Count the people of a misleading reply as those of the query. A file may be that of any query."""
        assert reply.people is not None
        if operation == "execute":
            queries, text = [document(request.body or b"")["queryId"]], reply.text or ""
        else:
            host = request.url.host.partition(".")[0]
            instance = next(i for i in self._simulation.instances if i.host.partition(".")[0] == host)
            queries, text = list(instance.queries), QUERY_TEXT
        returned = self._returned[process, operation]
        returned.extend((self._simulation.now, self._misleading_people(query, text, reply.people)) for query in queries)

    def _misleading_people(self, query: str, text: str, addresses: frozenset[str]) -> People:
        self._versions -= 1  # those of correct replies count upwards
        return People(query, self._versions, text, addresses, ())

    def _hide(self, host: str, distributions: list[str]) -> None:
        brand = next(brand for brand in self._simulation.brands if brand.host == host)
        for sent in brand.recorder.distributions:
            if sent.id in distributions and (batch := brand.recorder.batches.get(sent.batch_id or "")):
                self._hidden.update(batch.run_ids)

    def _query_ran(self, process: str, operation: str, request: Request) -> None:
        now, host = self._simulation.now, request.url.host
        returned = self._returned[process, operation]
        instance = next(i for i in self._simulation.instances if i.host.partition(".")[0] == host.partition(".")[0])
        if operation == "download":  # the file may be that of any query
            states = [query.state for query in instance.queries.values()]
            returned.extend((now, people) for people in states)
            name = request.url.rest.partition("?")[0].rpartition("/")[2].partition(".")[0]
            if query := self._exports.get(name):
                returned.extend(
                    (now, self._misleading_people(query, QUERY_TEXT, people.addresses)) for people in states
                )
        else:
            returned.append((now, instance.queries[document(request.body or b"")["queryId"]].state))
        while returned and returned[0][0] < now - QUERY_MEMORY:
            del returned[0]

    def _still_working(self, request: Request) -> None:
        """A process works on a batch. It must be the newest one of its run, otherwise there are two workers."""
        brand = next(brand for brand in self._simulation.brands if brand.host == request.url.host)
        batch = brand.state.jobs[request.url.rest.partition("?")[0].rpartition("/")[2]].batch_id
        now = self._simulation.now
        for record in self._records.values():
            if record.active and batch in (batches := record.batches.get(record.active[0], [])):
                if batch != batches[-1] and self._excuses.undisturbed(record, now - 1800, now, relabelled=True):
                    self._violate("two workers on one run", record.name, f"batches {', '.join(batches)}")
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
        sent = brand.recorder.distributions
        while self._checked[host] < len(sent):
            distribution = sent[self._checked[host]]
            self._checked[host] += 1  # first: a check that fails with an exception is not repeated
            if batch := brand.recorder.batches.get(distribution.batch_id or ""):
                self._check_distribution(batch, distribution)
            else:  # Qualtrics returned the id of a batch that does not exist: nobody is mailed
                self._counts["distributions to no batch"] += 1

    def _check_distribution(self, batch: Any, sent: Any) -> None:
        self._counts["distributions"] += 1
        if len(batch.run_ids) != 1 and not (batch.id in self._misled and not batch.run_ids):
            self._violate("a batch of several runs is sent", "", f"{batch.id}: {batch.run_ids}")
        for run_id in batch.run_ids:
            record, what = self._owner_of(run_id)
            if record is None:
                self._violate("a distribution that nobody requested", "", f"run {run_id}")
                continue
            self._simulation.trace("** distribution", sent.id, "of", record.name, what)
            self._sent_runs[run_id] += 1
            if isinstance(what, datetime):
                record.sent_slots[run_id] = what
            if self._sent_runs[run_id] > 1:
                if run_id in record.forgotten or run_id in self._hidden:
                    self._counts["sent again, and the operator could not know"] += 1
                    continue
                self._violate(
                    "sent twice", record.name, f"{what}, run {run_id}: {self._sent_runs[run_id]} distributions"
                )
            elif isinstance(what, datetime):
                if (record.uid, what) in self._sent_slots:
                    self._violate("sent twice", record.name, f"two slots due at {what}")
                self._sent_slots.add((record.uid, what))
            self._check_people(record, run_id, what, batch)
        if repeated := batch.repeated():
            self._violate("mailed twice in a batch", "", f"{len(repeated)} people of batch {batch.id}")

    def _owner_of(self, run_id: str) -> tuple[Record | None, Any]:
        """The object of a run id, and the token or due time from which the id was made."""
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

    def _check_people(self, record: Record, run_id: str, what: Any, batch: Any) -> None:
        run = record.journal if record.journal and record.journal["id"] == run_id else {}
        spec = record.specs.get(run.get("generation", 0))
        addresses = {address.lower() for address in batch.addresses}
        states = [people for states in self._imports[batch.id] for people in states]
        fitting = [people for people in states if addresses <= people.addresses]
        if not fitting:
            self._violate("a person is mailed whom the query did not return", record.name, f"{what}, batch {batch.id}")
            return
        if spec is None:
            return
        if spec["nexthink"]["queryId"] not in {people.query_id for people in fitting}:
            self._violate("people of another query are mailed", record.name, f"{what}, batch {batch.id}")
        if spec["nexthink"].get("driftPolicy") == "Hold" and all(p.text != QUERY_TEXT for p in fitting):
            self._violate("mailed with a query that drifted, despite Hold", record.name, f"{what}")
        if spec.get("dryRun"):
            self._violate("a dry run is sent", record.name, str(what))
        if run["trigger"] == "Test" and (
            len(addresses) > 20 or str(what).removeprefix("test ") not in record.deliverable
        ):
            self._violate("a test mails too many, or without a request", record.name, str(what))
        most = spec.get("maxRecipients")
        if most and len(addresses) > most:
            self._violate("more people than maxRecipients", record.name, f"{len(addresses)} > {most}")
        if run["trigger"] != "Test":
            self._check_cycle(record, spec, addresses)

    def _check_cycle(self, record: Record, spec: dict[str, Any], addresses: set[str]) -> None:
        """With `sample.groups`, nobody is surveyed again before their group is next."""
        now = self._simulation.now
        groups = (spec.get("sample") or {}).get("groups", 0)
        cycle = (groups - 0.5) * parsed(spec["schedule"]).interval().total_seconds()
        for address in addresses:
            last = self._surveyed.get((record.uid, address))
            self._surveyed[record.uid, address] = now
            if last is None or now - last >= cycle - 60:
                continue
            known = not any(time >= last for time in record.damages) and not record.forgotten
            if known and self._excuses.clocks_right(record.shard, last, now):
                ago = (now - last) / HOUR
                self._violate("surveyed twice in a cycle", record.name, f"{ago:.1f} h ago, one of {groups} groups")
