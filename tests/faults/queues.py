"""Many exporters of several tenants are due at once, and the Nexthink of one tenant hangs.

The others must be sent as if the tenant did not exist. If a slot waits in the queue until the next one is due, its
entry says so, with numbers. Waiting in the queue never makes a slot late.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tests.faults import assertions
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.scenario import Scenario
from tests.support import chart_rules
from tests.support.sandbox import SandboxThread
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS, eventually

MAX_IN_PROGRESS = 10
"""How many exporters the operator reconciles at once, and how many requests it has open."""
IN_TIME = timedelta(minutes=15)
"""Longer than the healthy tenants need for all of their exporters at their rate limits."""
MUTANT_SECONDS = 60.0
"""How long to wait for an entry of a mutant. It may never come."""
HANGING = "nexthink-hanging"
_NUMBERS = re.compile(r"It had been due for (\d+) s\. Of all exporters, (\d+) wait for their turn and (\d+) are in")


@dataclass
class Tenant:
    """The exporters of a namespace that use the same Secret."""

    namespace: str
    secret: str
    exporters: int

    @property
    def hangs(self) -> bool:
        return self.secret == HANGING

    def names(self) -> list[str]:
        return [f"{self.secret}-{number}" for number in range(self.exporters)]


@dataclass
class QueueScenario:
    """An operator with these tenants. Every exporter has a slot each hour, and may start a minute late."""

    stage: Stage
    tenants: list[Tenant]
    slow: SandboxThread
    """Nexthink and Qualtrics of the tenant that hangs."""
    scenario: Scenario
    found: list[Violation] = field(default_factory=list)

    def play(self) -> list[Violation]:
        """Let one tenant hang during two slots. Returns the violations."""
        self._begin()
        self.slow.fault("nexthink.execute", times=None, hold="before")
        first = self._make_slot_due()
        self._expect_healthy_sent(first)
        self._expect_lag(first)
        second = self._make_slot_due()
        self._expect_healthy_sent(second)
        self.slow.clear_faults()
        self._wait_for_entries(second)
        return [*self.found, *self._violations([first, second])]

    @property
    def overtaken(self) -> int:
        """How many slots ended because the next one was due."""
        return sum(entry["reason"] == "SlotOvertaken" for uid in self._uids for entry in self.scenario.entries(uid))

    # The scenario

    def _begin(self) -> None:
        secrets = self.stage.sandbox.secrets()
        items = []
        for tenant in self.tenants:
            keys = self.slow.secrets()["nexthink"] if tenant.hangs else secrets["nexthink"]
            for name, data in {tenant.secret: keys, "qualtrics": secrets["qualtrics"]}.items():
                metadata = {"name": name, "namespace": tenant.namespace}
                items.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
            for name in tenant.names():
                schedule = {"frequency": "Hourly", "everyHours": 1, "timeZone": "UTC", "startingDeadlineSeconds": 60}
                changes = {"schedule": schedule, "nexthink.credentialsSecretRef.name": tenant.secret}
                manifest = self.stage.manifest(name, **changes)
                manifest["metadata"]["namespace"] = tenant.namespace
                items.append(manifest)
        manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.stage.cluster.kubectl("apply", "-f", "-", input=manifests)
        self._until(lambda: all(map(_is_ready, self._objects().values())), "every exporter is ready")
        self._uids = {body["metadata"]["uid"]: tenant for (tenant, _), body in self._named()}

    def _make_slot_due(self) -> datetime:
        now = self.stage.clock.now()
        slot = now.replace(minute=20, second=0, microsecond=0)
        slot = slot if slot > now else slot + timedelta(hours=1)
        self.stage.clock.advance_to(slot + timedelta(seconds=1))
        return slot

    def _expect_healthy_sent(self, slot: datetime) -> None:
        healthy = [uid for uid, tenant in self._uids.items() if not tenant.hangs]
        try:
            self._until(lambda: all(self._entries(uid, slot) for uid in healthy), f"healthy tenants are sent at {slot}")
        except AssertionError:
            description = f"healthy tenants wait for the one that hangs, at {slot}"
            self.found.append(Violation(ViolationKind.SILENT_SLOT, description))

    def _wait_for_entries(self, slot: datetime) -> None:
        try:
            self._until(lambda: all(self._entries(uid, slot) for uid in self._uids), f"every slot of {slot} has ended")
        except AssertionError:
            return  # `_violations` reports each of them

    def _expect_lag(self, slot: datetime) -> None:
        self.stage.clock.advance(300)
        metrics = dict(
            line.rsplit(" ", 1) for line in self.scenario.operator.metrics().splitlines() if not line.startswith("#")
        )
        lag = float(metrics["qualtrics_exporter_schedule_lag_seconds"])
        if lag < 300:
            waited = self.stage.clock.now() - slot
            description = f"slots wait for {waited}, and the lag is {lag:g} s"
            self.found.append(Violation(ViolationKind.SILENT_SLOT, description))

    def _until(self, poll: Any, what: str) -> None:
        # Healthy tenants wait for rate limits and polls. Their slot must not be overtaken meanwhile.
        patience = MUTANT_SECONDS if self.scenario.mutant else HANG_SECONDS
        wait = partial(eventually, poll, what, patience=patience)
        self.stage.while_time_passes(wait, seconds=1.5)

    def _objects(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every exporter, by namespace and name."""
        objects = {}
        for namespace in {tenant.namespace for tenant in self.tenants}:
            path = f"/apis/qualtrics-exporter.dev/v1alpha1/namespaces/{namespace}/qualtricsexporters"
            for body in self.stage.cluster.read(path)["items"]:
                objects[namespace, body["metadata"]["name"]] = body
        return objects

    def _named(self) -> Iterable[tuple[tuple[Tenant, str], dict[str, Any]]]:
        objects = self._objects()
        for tenant in self.tenants:
            for name in tenant.names():
                yield (tenant, name), objects[tenant.namespace, name]

    def _entries(self, uid: str, slot: datetime) -> list[Mapping[str, Any]]:
        """The entries of a slot."""
        return [e for e in self.scenario.entries(uid) if e.get("scheduledTime") == f"{slot:%Y-%m-%dT%H:%M:%SZ}"]

    # The violations

    def _violations(self, slots: list[datetime]) -> Iterable[Violation]:
        recorder = self.stage.sandbox.recorder
        sent = recorder.distributions
        for run, number in Counter(run for one in sent for run in one.run_ids).items():
            if number > 1:
                yield Violation(ViolationKind.DOUBLE_SEND, f"run {run} was sent {number} times")
        for uid, tenant in self._uids.items():
            for slot in slots:
                entries = self._entries(uid, slot)
                what = f"the slot of {slot} of an exporter with Secret {tenant.secret}"
                if len(entries) != 1:
                    kind = ViolationKind.UNTRUE_ENTRY if entries else ViolationKind.SILENT_SLOT
                    yield Violation(kind, f"{what} has {len(entries)} entries")
                for entry in entries:
                    ours = [one for one in sent if entry["id"] in one.run_ids]
                    yield from assertions.slot_violations(recorder, ours, entry, self.scenario.people)
                    yield from _entry_violations(entry, what, slot, hangs=tenant.hangs)


def _entry_violations(entry: Mapping[str, Any], what: str, slot: datetime, *, hangs: bool) -> Iterable[Violation]:
    if not hangs:
        took = datetime.fromisoformat(entry["completionTime"]) - slot
        if entry["result"] != "Succeeded" or took > IN_TIME:
            description = f"{what} ended as {entry['result']} ({entry['reason']}) after {took}"
            yield Violation(ViolationKind.SILENT_SLOT, description)
    elif entry["reason"] == "SlotOvertaken":
        numbers = _NUMBERS.search(entry["message"])
        if not numbers or int(numbers[1]) < 3600:
            description = f"{what} was overtaken, and the entry lacks the numbers: {entry['message']}"
            yield Violation(ViolationKind.UNTRUE_ENTRY, description)
    elif entry["result"] != "Succeeded" and entry["reason"] != "RunActive":
        yield Violation(ViolationKind.UNTRUE_ENTRY, f"{what} ended as {entry['result']}: {entry['reason']}")


def _is_ready(body: Mapping[str, Any]) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def another_namespace(stage: Stage) -> str:
    """One more namespace, in which the operators of the stage have the permissions of the chart."""
    namespace = stage.cluster.namespace(f"{stage.namespace[:50]}-more")
    kind, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    metadata = {"name": "operator", "namespace": namespace}
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": stage.namespace}
    role = {"apiVersion": kind, "kind": "Role", "metadata": metadata, "rules": list(chart_rules.namespaced())}
    binding = {
        "apiVersion": kind,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "operator"},
        "subjects": [subject],
    }
    stage.cluster.kubectl(
        "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [role, binding]})
    )
    return namespace
