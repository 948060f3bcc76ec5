"""What users, tools and faults do to a world, one method for each kind of event."""

from typing import TYPE_CHECKING, Any

from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT

from . import invalid_input_actors, strike_actors
from .invalid_input_actors import InvalidInputActors
from .records import status_of
from .replica import TAKEOVER
from .strike_actors import StrikeActors
from .tenants import QUERY_TEXT
from .world import Event, PlannedExporter

if TYPE_CHECKING:
    from .simulation import Simulation

Manifest = tuple[dict[str, Any], dict[str, str], dict[str, str]]
"""Spec, labels and annotations."""


class Actors:
    """Plays the events of a plan."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._exporters = {exporter.name: exporter for exporter in simulation.plan.exporters}
        self._replicas = {replica.name: replica for replica in simulation.replicas}
        self._manifests: dict[str, list[Manifest]] = {name: [] for name in self._exporters}
        """What Git had for each exporter, oldest first. A restore applies one of them again."""
        self._draining = False
        self.strikes = StrikeActors(simulation, self._replicas, self.act)
        self._invalid_input = InvalidInputActors(
            simulation, lambda name: f"team-{self._exporters[name].tenant}", self._later
        )
        self._others: dict[str, InvalidInputActors | StrikeActors] = {
            **dict.fromkeys(invalid_input_actors.KINDS, self._invalid_input),
            **dict.fromkeys(strike_actors.KINDS, self.strikes),
        }

    # Before the world begins.

    def prepare(self) -> None:
        """Set up tenants, Secrets and saved queries."""
        simulation, plan = self._simulation, self._simulation.plan
        for brand, lag, echo, seconds, busy_list in zip(
            simulation.brands, plan.list_lag, plan.batch_echo, plan.import_seconds, plan.busy_lists, strict=True
        ):
            brand.account.list_lag_seconds = lag
            brand.account.import_polls, brand.account.import_seconds = 1000, seconds
            brand.account.busy_list = busy_list  # type: ignore[assignment]
            brand.account.batch_echo = echo  # type: ignore[assignment]
        for tenant in range(plan.instances):
            self._secret(tenant, "nexthink", 0)
            for brand_number in range(plan.brands):
                self._secret(tenant, f"qualtrics-{brand_number}", 0)
        for exporter in plan.exporters:
            for query in "ab":
                simulation.instances[exporter.tenant].add(_query(exporter, query), exporter.size)
            simulation.brands[exporter.brand].add_target(exporter.target)

    def _secret(self, tenant: int, name: str, client: int) -> None:
        simulation = self._simulation
        kind, _, number = name.partition("-")
        source = simulation.instances[tenant] if kind == "nexthink" else simulation.brands[int(number)]
        simulation.server.put_secret(f"team-{tenant}", name, source.secret(client))

    # Events.

    def act(self, event: Event) -> None:
        """Do what the event says."""
        if self._draining:
            return
        self._simulation.trace(
            ">>",
            event.kind,
            event.target,
            event.arguments or "",
            f"(event {event.number})" if event.number >= 0 else "",
        )
        other = self._others.get(event.kind)
        act = getattr(other, event.kind) if other else getattr(self, f"_{event.kind}")
        act(event.target, **event.arguments)

    def _later(self, seconds: float, event: Event) -> None:
        self._simulation.loop.outside(seconds, self.act, event)

    def _create(self, name: str) -> None:
        exporter = self._exporters[name]
        if self._manifests[name]:
            spec, labels, annotations = self._manifests[name][-1]
        else:
            spec, labels, annotations = self._first(exporter), {"shard": exporter.shard}, {}
        self._apply(exporter, spec, labels, annotations)

    def _first(self, exporter: PlannedExporter) -> dict[str, Any]:
        options = dict(exporter.options)
        schedule = dict(exporter.schedule)
        if deadline := options.pop("startingDeadlineSeconds", None):
            schedule["startingDeadlineSeconds"] = deadline
        nexthink = {
            "credentialsSecretRef": {"name": "nexthink"},
            "query": QUERY_TEXT,
            "queryId": _query(exporter, "a"),
        }
        if drift := options.pop("driftPolicy", None):
            nexthink["driftPolicy"] = drift
        target = self._simulation.brands[exporter.brand].add_target(exporter.target)
        qualtrics = {
            "credentialsSecretRef": {"name": f"qualtrics-{exporter.brand}"},
            **target,
            "fromEmail": "noreply@qemailserver.com",
            "fromName": "Digital Workplace",
            "subject": f"Subject of {exporter.name}",
        }
        return {"schedule": schedule, "nexthink": nexthink, "qualtrics": qualtrics, **options}

    def _apply(
        self, exporter: PlannedExporter, spec: dict[str, Any], labels: dict[str, str], annotations: dict[str, str]
    ) -> None:
        server, namespace = self._simulation.server, f"team-{exporter.tenant}"
        good = self._invalid_input.good
        if (namespace, exporter.name) in server.exporters:
            if spec is not server.exporters[namespace, exporter.name]["spec"]:
                good.pop(exporter.name, None)
            server.change(namespace, exporter.name, spec=spec, labels=labels, annotations=annotations)
        else:
            good.pop(exporter.name, None)
            server.create(namespace, exporter.name, spec, labels=labels, annotations=annotations)
        self._manifests[exporter.name].append((good.get(exporter.name, spec), labels, annotations))
        del self._manifests[exporter.name][:-8]

    def _current(self, name: str) -> Manifest | None:
        body = self._simulation.server.exporters.get((f"team-{self._exporters[name].tenant}", name))
        if body is None:
            return None
        return body["spec"], body["metadata"]["labels"], body["metadata"]["annotations"]

    def _edit(self, name: str, **change: Any) -> None:
        if (current := self._current(name)) is None:
            return
        spec, labels, annotations = current
        spec = self._invalid_input.good.get(name, spec)
        spec = {
            **spec,
            "schedule": dict(spec["schedule"]),
            "nexthink": dict(spec["nexthink"]),
            "qualtrics": dict(spec["qualtrics"]),
        }
        options = dict(change.get("options") or {})
        if "schedule" in change:
            spec["schedule"] = dict(change["schedule"])
        if "zone" in change:
            spec["schedule"]["timeZone"] = change["zone"]
        if "subject" in change:
            spec["qualtrics"]["subject"] = change["subject"]
        if "query" in change:
            spec["nexthink"]["queryId"] = _query(self._exporters[name], change["query"])
        if "driftPolicy" in options:
            spec["nexthink"]["driftPolicy"] = options.pop("driftPolicy")
        if "invalid" in change:  # an older CRD accepts it
            spec["qualtrics"]["fromEmail"] = "nobody" if change["invalid"] else "noreply@qemailserver.com"
        if "suspend" in change:
            spec["suspend"] = change["suspend"]
        spec |= options
        self._apply(self._exporters[name], spec, labels, annotations)

    def _flip(self, name: str, minutes: float, every: float) -> None:
        number = round(minutes * 60 / every)
        for turn in range(number):
            self._later(turn * every, Event(0.0, "edit", name, {"subject": ("Yours", "Mine")[turn % 2]}))

    def _suspend(self, name: str, seconds: float) -> None:
        self._edit(name, suspend=True)
        self._later(seconds, Event(0.0, "resume", name, {}))

    def _resume(self, name: str) -> None:
        self._edit(name, suspend=False)

    def _delete(self, name: str) -> None:
        self._simulation.server.delete(f"team-{self._exporters[name].tenant}", name)

    def _recreate(self, name: str, after: float) -> None:
        current = self._good(name)
        self._delete(name)
        if current and not after:
            self._apply(self._exporters[name], *current)
        elif current:
            self._later(after, Event(0.0, "create", name, {}))

    def _good(self, name: str) -> Manifest | None:
        if (current := self._current(name)) is None:
            return None
        return self._invalid_input.good.get(name, current[0]), *current[1:]

    def _restore(self, name: str, back: int) -> None:
        """A user applies an old manifest, with the annotations of that time."""
        if manifests := self._manifests[name]:
            self._apply(self._exporters[name], *manifests[max(0, len(manifests) - 1 - back)])

    def _annotate(self, name: str, **values: str | None) -> None:
        if (current := self._current(name)) is None:
            return
        spec, labels, annotations = current
        annotations = {**annotations, **values}  # type: ignore[dict-item]
        kept = {key: value for key, value in annotations.items() if value is not None}
        self._apply(self._exporters[name], spec, labels, kept)

    def _token(self, name: str, token: str) -> None:
        self._annotate(name, **{RUN_REQUESTED_AT: token})

    def _test(self, name: str, token: str, mode: str | None) -> None:
        self._annotate(name, **{TEST_REQUESTED_AT: token, TEST_MODE: mode})

    def _settle(self, name: str, outcome: str) -> None:
        body = self._simulation.server.exporters.get((f"team-{self._exporters[name].tenant}", name))
        if body is None:
            return
        status = status_of(body)
        history = status.get("history")
        parts = [*(history if isinstance(history, list) else []), status.get("lastTest")]
        entries = [part for part in parts if isinstance(part, dict) and isinstance(part.get("id"), str)]
        unknown = [entry["id"] for entry in entries if entry.get("result") == "Unknown"]
        run = (unknown or [entry["id"] for entry in entries] or ["a" * 20])[0]
        sent = {
            run_id
            for brand in self._simulation.brands
            for batch in brand.recorder.distributions
            for run_id in batch.run_ids
        }
        if outcome in ("Sent", "NotSent") and unknown:
            outcome = "Sent" if run in sent else "NotSent"  # users who looked report the truth
        self._annotate(name, **{SETTLE_RUN: f"{run}={outcome}"})

    def _relabel(self, name: str, shard: str) -> None:
        if (current := self._current(name)) is None:
            return
        spec, labels, annotations = current
        self._apply(self._exporters[name], spec, {**labels, "shard": shard}, annotations)
        self._simulation.invariants.disturb(600.0, name)

    # Tenants.

    def _people(self, name: str, query: str, moved: int, size: int) -> None:
        self._saved(name, query).change(moved=moved, size=size)

    def _drift(self, name: str, query: str, seconds: float) -> None:
        self._saved(name, query).change(drifted=True)
        self._later(seconds, Event(0.0, "drift_over", name, {"query": query}))

    def _drift_over(self, name: str, query: str) -> None:
        self._saved(name, query).change(drifted=False)

    def _saved(self, name: str, query: str) -> Any:
        exporter = self._exporters[name]
        return self._simulation.instances[exporter.tenant].queries[_query(exporter, query)]

    def _hang(self, host: str, seconds: float, manner: str = "hang") -> None:
        simulation = self._simulation
        simulation.faults.manner[host] = manner
        simulation.faults.hanging[host] = simulation.now + seconds
        simulation.invariants.disturb(seconds + 1800.0, host)

    # The cluster.

    def _outage(self, zone: str, seconds: float) -> None:
        self._simulation.faults.outages[zone] = self._simulation.now + seconds
        self._simulation.invariants.disturb(seconds + TAKEOVER + 600, "*")

    def _forbid(self, namespace: str, seconds: float) -> None:
        self._simulation.faults.forbidden[namespace] = self._simulation.now + seconds
        self._simulation.invariants.disturb(seconds + 600, namespace)

    def _conflict(self, namespace: str, seconds: float) -> None:
        """A tool changes the objects of a namespace faster than anyone else can write."""
        self._simulation.faults.conflicts[namespace] = self._simulation.now + seconds
        self._simulation.invariants.disturb(seconds + 600, namespace)

    def _gap(self, name: str, seconds: float) -> None:
        if stream := self._replicas[name].stream:
            stream.break_until(self._simulation.now + seconds)
            self._simulation.invariants.disturb(min(seconds, 600.0) + 120, self._replicas[name].shard)

    def _trouble_with_secret(self, namespace: str, name: str, what: str, seconds: float) -> None:
        simulation, tenant = self._simulation, int(namespace.partition("-")[2])
        if what == "rotate":
            self._secret(tenant, name, 1)
        elif what == "delete":
            simulation.server.delete_secret(namespace, name)
        else:
            simulation.faults.unreadable[namespace, name] = simulation.now + seconds
        if what != "rotate":
            simulation.invariants.disturb(seconds + 1800, namespace)
        if what == "delete":
            self._later(seconds, Event(0.0, "secret_back", namespace, {"name": name}))

    def _secret_back(self, namespace: str, name: str) -> None:
        self._secret(int(namespace.partition("-")[2]), name, 0)

    # Replicas.

    def _restart(self, name: str) -> None:
        replica, loop = self._replicas[name], self._simulation.loop
        self._simulation.invariants.disturb(TAKEOVER + 600, replica.shard)
        replica.stop()
        loop.outside(29.0, replica.kill)
        loop.outside(31.0, replica.start)

    def _clock(self, name: str, offset: float) -> None:
        replica = self._replicas[name]
        self._simulation.invariants.clock_stepped(replica.name, replica.shard, offset)
        replica.set_clock(offset)

    # The end.

    def drain(self) -> None:
        """End all faults, and repair what they broke. From now on, everything must come to its end."""
        simulation = self._simulation
        self._draining = True
        simulation.trace(">> drain")
        self.strikes.end()
        simulation.faults.end()
        for replica in simulation.replicas:
            if replica.offset:
                simulation.invariants.clock_stepped(replica.name, replica.shard, 0.0)
                replica.set_clock(0.0)
            replica.resume()
            replica.start()
        plan = simulation.plan
        for tenant in range(plan.instances):
            self._secret(tenant, "nexthink", 0)
            for brand_number in range(plan.brands):
                self._secret(tenant, f"qualtrics-{brand_number}", 0)
        for brand in simulation.brands:
            brand.account.list_lag_seconds = 0.0
        shards = {replica.shard for replica in simulation.replicas}
        for name, exporter in self._exporters.items():
            if (current := self._current(name)) is None:
                continue
            if self._invalid_input.deleting(name):
                self._recreate(name, 0.0)
            self._invalid_input.correct_spec(name)
            spec, labels, _ = self._good(name) or current
            if spec["qualtrics"]["fromEmail"] == "nobody":
                self._edit(name, invalid=False)
            if labels.get("shard") not in shards:
                self._relabel(name, exporter.shard)


def _query(exporter: PlannedExporter, which: str) -> str:
    return f"#{exporter.name}{which}"
