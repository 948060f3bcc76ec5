"""Faults of the cluster during a run: an API server that hangs, forgets, refuses or lies, and clocks that are set."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.sandbox.faults import Fault
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.scenario import Scenario, Slot, Trigger
from tests.support import chart_rules
from tests.support.stage import KIND, Stage
from tests.support.waiting import eventually

Scenarios = Iterator[tuple[str, list[Violation]]]
"""The name of each scenario, and its violations."""
Attack = Callable[[Scenario], Scenarios]
SLOT: Trigger = "a slot of the schedule"

# Where a run is when the fault begins: before its query, with people in a batch, before the send, and after it.
EXECUTE, IMPORTED = ("nexthink.execute", "before"), ("qualtrics.import_status", "after")
ASKED, SENT = ("qualtrics.create_distribution", "before"), ("qualtrics.create_distribution", "after")
ANYWHERE = (EXECUTE, IMPORTED, ASKED, SENT)
WRITES = ("Claimed", "Importing", "Sending", "Sent", "ended")
PAUSED_SECONDS = 90
"""Longer than a write of the journal is tried."""


def hold_at(scenario: Scenario, operation: str, when: str, *, trigger: Trigger = SLOT) -> Slot:
    """Make a slot due, and hold its run at this call."""
    scenario.stage.sandbox.fault(operation, hold=when)
    slot = scenario.make_due(trigger)
    assert scenario.wait_until_held(operation, slot)
    return slot


def resume(scenario: Scenario, slot: Slot, *faults: Fault) -> list[Violation]:
    """Release the run, and return the violations after its end. Every fault must have occurred by then."""
    scenario.stage.sandbox.release()
    scenario.fault_proxy.release()
    scenario.wait_for_end(slot)
    missed = [fault.operation for fault in faults if not fault.hits]
    assert not missed, f"these faults did not occur: {missed}"
    scenario.stage.sandbox.clear_faults()
    scenario.fault_proxy.clear_faults()
    return scenario.violations(slot)


def frozen(scenario: Scenario) -> Scenarios:
    """The API server hangs for longer than a write of the journal is tried. Connections stay open."""
    for operation, when in ANYWHERE:
        slot = hold_at(scenario, operation, when)
        scenario.stage.cluster.freeze()
        try:
            scenario.stage.sandbox.release()
            scenario.wait_for_log("timed out")
            scenario.stage.clock.advance(PAUSED_SECONDS)
        finally:
            scenario.stage.cluster.thaw()
        yield f"frozen {when} {operation}", resume(scenario, slot)
        scenario.wait_until_watching()


def restarted(scenario: Scenario) -> Scenarios:
    """The API server and its store are restarted."""
    for operation, when in ANYWHERE:
        slot = hold_at(scenario, operation, when)
        scenario.stage.cluster.restart()
        yield f"restarted {when} {operation}", resume(scenario, slot)
        scenario.wait_until_watching()


def unreachable_after_the_send(scenario: Scenario) -> Scenarios:
    """After the send, the journal cannot be written for longer than a write is tried."""
    for step in ("Sent", "ended"):
        scenario.fault_proxy.fault("api.status.*", after=WRITES.index(step), times=None, status=503)
        slot = scenario.make_due(SLOT)
        scenario.wait_for_log("failed, retrying", pace=30)
        scenario.fault_proxy.clear_faults()
        yield f"no write of {step}", resume(scenario, slot)


def conflicts(scenario: Scenario) -> Scenarios:
    """A user labels the object before each write of the journal. In other slots, each write gets a bare 409 once."""
    for step in WRITES:
        scenario.fault_proxy.fault(f"api.status.{step}", hold="before")
    slot = scenario.make_due(SLOT)
    for step in WRITES:
        assert scenario.wait_until_held(f"api.status.{step}", slot)
        scenario.exporter.kubectl("label", "--overwrite", KIND, scenario.exporter.name, f"written-before={step}")
        scenario.fault_proxy.release()
    yield "a change of the object before every write", resume(scenario, slot)
    tries: dict[str, dict[str, Any]] = {
        "a conflict on every write": {"status": 409},
        "a conflict after every write": {"status": 409, "apply_effect": True},
        "a lost reply to every write": {"drop": "after"},
    }
    for name, options in tries.items():
        faults = [scenario.fault_proxy.fault(f"api.status.{step}", **options) for step in WRITES]
        yield name, resume(scenario, scenario.make_due(SLOT), *faults)


def stale_reads(scenario: Scenario) -> Scenarios:
    """Reads return the object as it was before the slot, like a member of etcd that lags."""
    for step in WRITES:
        before = json.dumps(scenario.exporter.get())
        scenario.fault_proxy.fault(f"api.status.{step}", hold="before")
        slot = scenario.make_due(SLOT)
        assert scenario.wait_until_held(f"api.status.{step}", slot)
        old = scenario.fault_proxy.fault("api.get", times=2, status=200, body=before)
        scenario.exporter.kubectl("label", "--overwrite", KIND, scenario.exporter.name, f"written-before={step}")
        yield f"an old object after a conflict on {step}", resume(scenario, slot, old)
        before = json.dumps(scenario.exporter.get())
        old = scenario.fault_proxy.fault("api.get", times=3, status=200, body=before)
        yield "an old object when the slot falls due", resume(scenario, scenario.make_due(SLOT), old)


def expired_watch(scenario: Scenario) -> Scenarios:
    """The watch has expired, as it does from time to time. The operator must still see a request."""
    expired = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}) + "\n"
    fault = scenario.fault_proxy.fault("api.watch", status=200, body=expired)
    scenario.fault_proxy.drop_watches()
    yield "watch expired", resume(scenario, scenario.make_due("a run request"), fault)


def broken_watches(scenario: Scenario) -> Scenarios:
    """The watch ends, and cannot start again at once."""
    endings: dict[str, dict[str, Any]] = {
        "gone": {"status": 410},
        "refused for a while": {"status": 503, "times": 3},
        "dropped for a while": {"drop": "before", "times": 3},
        "limited until a date": {"status": 429, "headers": {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}},
        "not authenticated": {"status": 401},
        "an ERROR event": {"status": 200, "body": _event("ERROR", {"kind": "Status", "code": 500})},
        "an event without metadata": {"status": 200, "body": _event("MODIFIED", {"kind": KIND})},
        "a BOOKMARK without an object": {"status": 200, "body": '{"type": "BOOKMARK"}\n'},
        "a truncated line": {"status": 200, "body": _event("MODIFIED", {"metadata": {}})[:20]},
        "a proxy's page": {"status": 200, "body": "<html>login</html>\n"},
    }
    for name, options in endings.items():
        fault = scenario.fault_proxy.fault("api.watch", **options)
        scenario.fault_proxy.drop_watches()
        yield f"watch {name}", resume(scenario, scenario.make_due("a run request"), fault)


def _event(kind: str, body: dict[str, object]) -> str:
    return json.dumps({"type": kind, "object": body}) + "\n"


def slow(scenario: Scenario) -> Scenarios:
    """Each call to the API server is slow, in every step of a run."""
    for seconds in (1.2, 4.0):
        fault = scenario.fault_proxy.fault("api.*", times=None, delay=seconds)
        yield f"each call takes {seconds:g} s", resume(scenario, scenario.make_due(SLOT), fault)


def recreated(scenario: Scenario) -> Scenarios:
    """While the watch is down, the object is deleted and created again under its name, during a run."""
    for operation, when in ANYWHERE:
        slot = hold_at(scenario, operation, when)
        slot.may_send = (operation, when) in (ASKED, SENT)
        slot.expects_entry = False  # its entry is deleted with the object
        stop_watch(scenario)
        scenario.exporter.delete()
        scenario.stage.apply(scenario.exporter.manifest)
        violations = resume(scenario, slot)
        restart_watch(scenario)
        yield f"recreated {when} {operation}", violations
        yield "the next slot of the new object", resume(scenario, scenario.make_due(SLOT))


def wiped_status(scenario: Scenario) -> Scenarios:
    """While the watch is down, the status is lost, during a run. That may cost the slot, but never send twice."""
    for operation, when in ANYWHERE:
        slot = hold_at(scenario, operation, when)
        slot.may_send = (operation, when) in (ASKED, SENT)
        slot.expects_entry = False
        stop_watch(scenario)
        scenario.exporter.forget_status()
        violations = resume(scenario, slot)
        restart_watch(scenario)
        yield f"wiped {when} {operation}", violations
        yield "the next slot", resume(scenario, scenario.make_due(SLOT))


def stop_watch(scenario: Scenario) -> None:
    """Break the watch, and let it not start again."""
    scenario.fault_proxy.fault("api.watch", times=None, drop="before")
    scenario.fault_proxy.drop_watches()


def restart_watch(scenario: Scenario) -> None:
    """Let the watch start again, and wait until the operator has seen and checked the object as it is now."""
    scenario.fault_proxy.clear_faults()
    scenario.stage.while_time_passes(scenario.exporter.checked)


def withdrawn_permission(scenario: Scenario) -> Scenarios:
    """The permission to write the status is withdrawn during a run, and granted again."""
    read_only = [
        rule for rule in chart_rules.namespaced() if "update" not in rule["verbs"] or "leases" in rule["resources"]
    ]
    for operation, when in ANYWHERE:
        slot = hold_at(scenario, operation, when)
        scenario.stage.cluster.service_account(scenario.stage.namespace, "operator", rules=read_only)
        scenario.stage.sandbox.release()
        scenario.wait_for_log("may not update")
        scenario.stage.cluster.service_account(scenario.stage.namespace, "operator", rules=chart_rules.namespaced())
        yield f"withdrawn {when} {operation}", resume(scenario, slot)


def deleted_secrets(scenario: Scenario) -> Scenarios:
    """A Secret is deleted during a run. The same process continues, or another one."""
    for killed in (False, True):
        for name in ("nexthink", "qualtrics"):
            for operation, when in ANYWHERE:
                slot = hold_at(scenario, operation, when)
                scenario.exporter.kubectl("delete", "secret", name)
                if killed:
                    scenario.operator.kill()
                    scenario.stage.sandbox.release(drop=True)
                    scenario.operator.start()
                violations = resume(scenario, slot)
                for deleted, keys in scenario.stage.sandbox.secrets().items():
                    scenario.stage.secret(deleted, keys)
                process = "another process continues" if killed else "the process continues"
                yield f"Secret {name} deleted {when} {operation}, {process}", violations


def clock_steps(scenario: Scenario) -> Scenarios:
    """The wall clock is set forward and back during a run, and back to before a slot that had its run."""
    clock = scenario.stage.clock
    for hours in (30, -30, 0.5, -0.5):
        for operation, when in ANYWHERE:
            slot = hold_at(scenario, operation, when)
            clock.set_wall(clock.now() + timedelta(hours=hours))
            yield f"set by {hours} hours {when} {operation}", resume(scenario, slot)
            clock.set_wall(clock.now() + timedelta(hours=max(0.0, -hours)))
    slot = scenario.make_due(SLOT)
    yield "a slot without a step", resume(scenario, slot)
    clock.set_wall(clock.now() - timedelta(hours=1))
    clock.advance(2 * 3600)
    scenario.exporter.annotate(run_requested_at="after-the-slot")
    scenario.exporter.until(
        lambda status: status.get("lastHandledRunRequest") == "after-the-slot", "the request was handled"
    )
    entries = [entry for entry in scenario.exporter.history() if entry.get("scheduledTime") == slot.name]
    runs = Counter(run for batch in scenario.stage.sandbox.recorder.batches.values() for run in batch.run_ids)
    batches = runs[entries[0]["id"]]
    violations = [Violation(ViolationKind.DOUBLE_SEND, f"{len(entries)} entries and {batches} batches")]
    yield "the clock passes a slot twice", [] if (len(entries), batches) == (1, 1) else violations
    scenario.ignore_sends_so_far()  # the request is not a slot of the scenario


def other_crd(scenario: Scenario) -> Scenarios:
    """Another CRD accepts an invalid spec. The operator sees the spec with that CRD, or when the right one is back.

    Such a spec has no slots, so no entry can report the problem. A condition does, or an Event if the status cannot be
    written. After a correction, the next slot runs.
    """
    loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    changes = {"schedule.timeZone": "Mars/Olympus", "qualtrics.surveyId": None, "schedule": "weekly"}
    for when in ("at once", "later"):
        for path, value in changes.items():
            before, changed = scenario.exporter.manifest, scenario.stage.clock.now()
            if when == "later":
                scenario.operator.kill()
            install_crd(scenario.stage, loose)
            scenario.exporter.change(**{path: value})
            if when == "at once":
                scenario.exporter.checked()
            install_crd(scenario.stage, None)
            if when == "later":
                scenario.operator.start()
            slot = scenario.make_due(SLOT)
            slot.may_send = slot.expects_entry = False
            violations = [*scenario.violations(slot), *unreported_spec(scenario, changed)]
            install_crd(scenario.stage, loose)
            scenario.exporter.manifest = before
            scenario.exporter.change()
            install_crd(scenario.stage, None)
            scenario.exporter.checked()
            yield f"{path}: {value}, seen {when}", [*violations, *scenario.catch_up_violations()]
            yield f"corrected after {path}: {value}", resume(scenario, scenario.make_due(SLOT))


def unreported_spec(scenario: Scenario, since: datetime) -> list[Violation]:
    """A violation if no condition or Event reports the invalid spec."""
    with suppress(AssertionError):
        reports = partial(scenario.reports_invalid_spec, since)
        if scenario.stage.while_time_passes(lambda: eventually(reports, "the invalid spec is reported")):
            return []
    return [Violation(ViolationKind.SILENT_SLOT, "the invalid spec is not reported")]


def install_crd(stage: Stage, spec: dict[str, object] | None) -> None:
    """Install our CRD, with another schema of `spec` if one is given."""
    (file,) = (ROOT / "crds").glob("*.yaml")
    document = plain_yaml.read(file.read_text())
    if spec:
        version = document["spec"]["versions"][0]
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec
        version.pop("selectableFields")  # they must be in the schema
    stage.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(document))
    probe = "true" if spec else "1"
    manifest = {**stage.manifest("probe"), "spec": {"probe": probe}}

    def in_force() -> bool:
        created = stage.cluster.kubectl(
            "create", "--dry-run=server", "-f", "-", input=json.dumps(manifest), check=False
        )
        return (created.returncode == 0) is (spec is not None)

    eventually(in_force, "the CRD is in force")


QUICK: dict[str, Attack] = {"conflicts": conflicts, "watch expired": expired_watch}
LONG: dict[str, Attack] = {
    "watch broken": broken_watches,
    "API server slow": slow,
    "status wiped": wiped_status,
    "API server frozen": frozen,
    "API server restarted": restarted,
    "no write after the send": unreachable_after_the_send,
    "reads lag": stale_reads,
    "object recreated": recreated,
    "permission withdrawn": withdrawn_permission,
    "Secret deleted": deleted_secrets,
    "clock set": clock_steps,
    "another CRD": other_crd,
}
ONLY_REQUESTS = (expired_watch, broken_watches)
"""These attacks request runs, and must not meet a slot."""
