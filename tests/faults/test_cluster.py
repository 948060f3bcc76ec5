"""The cluster as the enemy: an API server that hangs, forgets, refuses and lies, and clocks that jump, in mid-run."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import pytest

from qualtrics_exporter.sandbox.faults import Fault
from tests.environment import chart_rules, plain_yaml
from tests.environment.build import ROOT
from tests.environment.stage import KIND, Stage
from tests.environment.waiting import eventually
from tests.faults import broken
from tests.faults.oracle import Finding, Found
from tests.faults.story import Slot, Story, Trigger
from tests.faults.tally import Tally

MATRIX = "the cluster"
SLOT: Trigger = "a slot of the schedule"
Attack = Callable[[Story], Iterator[tuple[str, list[Found]]]]

# Where a run stands when it strikes: before anything, with people in a batch, asked to send, and sent.
EXECUTE, IMPORTED = ("nexthink.execute", "before"), ("qualtrics.import_status", "after")
ASKED, SENT = ("qualtrics.create_distribution", "before"), ("qualtrics.create_distribution", "after")
ANYWHERE = (EXECUTE, IMPORTED, ASKED, SENT)
WRITES = ("Claimed", "Importing", "Sending", "Sent", "ended")
PAUSED_SECONDS = 90
"""Longer than a journal's write is tried."""


def at(story: Story, operation: str, when: str, *, trigger: Trigger = SLOT) -> Slot:
    """A slot whose run stands held at that call."""
    story.stage.sandbox.fault(operation, hold=when)
    slot = story.due(trigger)
    assert story.stands_at(operation, slot)
    return slot


def goes_on(story: Story, slot: Slot, *struck: Fault) -> list[Found]:
    """Let go of what is held, and wait for the end; every fault that was ordered must have struck by then."""
    story.stage.sandbox.release()
    story.gate.release()
    story.over(slot)
    missed = [fault.operation for fault in struck if not fault.hits]
    assert not missed, f"an attack that does not strike proves nothing: {missed}"
    story.stage.sandbox.clear_faults()
    story.gate.clear_faults()
    return story.judged(slot)


def frozen(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """The API server hangs for longer than the journal's patience, connections stay open."""
    for operation, when in ANYWHERE:
        slot = at(story, operation, when)
        story.stage.cluster.freeze()
        try:
            story.stage.sandbox.release()
            story.says("timed out")
            story.stage.clock.advance(PAUSED_SECONDS)
        finally:
            story.stage.cluster.thaw()
        yield f"frozen {when} {operation}", goes_on(story, slot)
        story.watches()


def restarted(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """The API server and its store are restarted."""
    for operation, when in ANYWHERE:
        slot = at(story, operation, when)
        story.stage.cluster.restart()
        yield f"restarted {when} {operation}", goes_on(story, slot)
        story.watches()


def unreachable_after_the_send(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """What is known of the send cannot be written down for longer than it is tried."""
    for step in ("Sent", "ended"):
        story.gate.fault("api.status.*", after=WRITES.index(step), times=None, status=503)
        slot = story.due(SLOT)
        story.says("could not be reconciled", pace=30)
        story.gate.clear_faults()
        yield f"no write of {step}", goes_on(story, slot)


def conflicts(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """Somebody labels the object before each write of the journal; and each gets a bare 409 once."""
    for step in WRITES:
        story.gate.fault(f"api.status.{step}", hold="before")
    slot = story.due(SLOT)
    for step in WRITES:
        assert story.stands_at(f"api.status.{step}", slot)
        story.exporter.kubectl("label", "--overwrite", KIND, story.exporter.name, f"written-before={step}")
        story.gate.release()
    yield "an object that changes before every write", goes_on(story, slot)
    for name, order in {
        "a conflict on every write": {"status": 409},
        "a conflict after every write": {"status": 409, "apply_effect": True},
        "a lost reply to every write": {"drop": "after"},
    }.items():
        faults = [story.gate.fault(f"api.status.{step}", **order) for step in WRITES]
        yield name, goes_on(story, story.due(SLOT), *faults)


def old_news(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """Reads show the object as it was before the slot, as a member that lags behind does."""
    for step in WRITES:
        before = json.dumps(story.exporter.get())
        story.gate.fault(f"api.status.{step}", hold="before")
        slot = story.due(SLOT)
        assert story.stands_at(f"api.status.{step}", slot)
        old = story.gate.fault("api.get", times=2, status=200, body=before)
        story.exporter.kubectl("label", "--overwrite", KIND, story.exporter.name, f"written-before={step}")
        yield f"an old object after a conflict on {step}", goes_on(story, slot, old)
        before = json.dumps(story.exporter.get())
        old = story.gate.fault("api.get", times=3, status=200, body=before)
        yield "an old object when the slot falls due", goes_on(story, story.due(SLOT), old)


def expired_watch(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """The watch has expired, as it does from time to time: what happens meanwhile is noticed all the same."""
    expired = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}) + "\n"
    fault = story.gate.fault("api.watch", status=200, body=expired)
    story.gate.drop_watches()
    yield "watch expired", goes_on(story, story.due("a run request"), fault)


def broken_watches(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """The watch ends, and does not come back at once."""
    for name, order in {
        "gone": {"status": 410},
        "refused for a while": {"status": 503, "times": 3},
        "dropped for a while": {"drop": "before", "times": 3},
        "told to come back at a date": {"status": 429, "headers": {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}},
        "not let in": {"status": 401},
        "an ERROR event": {"status": 200, "body": _event("ERROR", {"kind": "Status", "code": 500})},
        "an event without metadata": {"status": 200, "body": _event("MODIFIED", {"kind": KIND})},
        "a BOOKMARK without an object": {"status": 200, "body": '{"type": "BOOKMARK"}\n'},
        "a truncated line": {"status": 200, "body": _event("MODIFIED", {"metadata": {}})[:20]},
        "a proxy's page": {"status": 200, "body": "<html>login</html>\n"},
    }.items():
        fault = story.gate.fault("api.watch", **order)
        story.gate.drop_watches()
        yield f"watch {name}", goes_on(story, story.due("a run request"), fault)


def _event(kind: str, body: dict[str, object]) -> str:
    return json.dumps({"type": kind, "object": body}) + "\n"


def slow(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """Each call to the API server takes its time, in every step of a run."""
    for seconds in (1.2, 4.0):
        fault = story.gate.fault("api.*", times=None, delay=seconds)
        yield f"each call takes {seconds:g} s", goes_on(story, story.due(SLOT), fault)


def remade(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """While the watch is down, the object is deleted and made again under its name, in mid-run."""
    for operation, when in ANYWHERE:
        slot = at(story, operation, when)
        slot.may_send = (operation, when) in (ASKED, SENT)
        slot.told = False  # its entry went with the object
        blind(story)
        story.exporter.delete()
        story.stage.apply(story.exporter.manifest)
        found = goes_on(story, slot)
        seeing(story)
        yield f"remade {when} {operation}", found
        yield "the next slot of the new one", goes_on(story, story.due(SLOT))


def wiped(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """While the watch is down, the status is lost, in mid-run. That may cost the slot, never a second send."""
    for operation, when in ANYWHERE:
        slot = at(story, operation, when)
        slot.may_send = (operation, when) in (ASKED, SENT)
        slot.told = False
        blind(story)
        story.exporter.forget_status()
        found = goes_on(story, slot)
        seeing(story)
        yield f"wiped {when} {operation}", found
        yield "the next slot", goes_on(story, story.due(SLOT))


def blind(story: Story) -> None:
    """The watch breaks, and does not come back."""
    story.gate.fault("api.watch", times=None, drop="before")
    story.gate.drop_watches()


def seeing(story: Story) -> None:
    """The watch is back, or the sweep has come round; the object, as it is now, was seen and checked."""
    story.gate.clear_faults()
    story.stage.while_time_passes(story.exporter.checked)


def rights(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """The right to write status is withdrawn in mid-run, and given back."""
    reading = [
        rule for rule in chart_rules.namespaced() if "update" not in rule["verbs"] or "leases" in rule["resources"]
    ]
    for operation, when in ANYWHERE:
        slot = at(story, operation, when)
        story.stage.cluster.service_account(story.stage.namespace, "operator", rules=reading)
        story.stage.sandbox.release()
        story.says("may not update")
        story.stage.cluster.service_account(story.stage.namespace, "operator", rules=chart_rules.namespaced())
        yield f"withdrawn {when} {operation}", goes_on(story, slot)


def secrets(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """A Secret is deleted in mid-run; once the process goes on, once another one has to."""
    for killed in (False, True):
        for name in ("nexthink", "qualtrics"):
            for operation, when in ANYWHERE:
                slot = at(story, operation, when)
                story.exporter.kubectl("delete", "secret", name)
                if killed:
                    story.operator.kill()
                    story.stage.sandbox.release(drop=True)
                    story.operator.start()
                found = goes_on(story, slot)
                for again, keys in story.stage.sandbox.secrets().items():
                    story.stage.secret(again, keys)
                who = "another process goes on" if killed else "the process goes on"
                yield f"Secret {name} deleted {when} {operation}, {who}", found


def clocks(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """The wall clock is set forward and back in mid-run, and back over a slot that was done."""
    clock = story.stage.clock
    for hours in (30, -30, 0.5, -0.5):
        for operation, when in ANYWHERE:
            slot = at(story, operation, when)
            clock.set_wall(clock.now() + timedelta(hours=hours))
            yield f"set by {hours} hours {when} {operation}", goes_on(story, slot)
            clock.set_wall(clock.now() + timedelta(hours=max(0.0, -hours)))
    slot = story.due(SLOT)
    yield "a plain slot", goes_on(story, slot)
    clock.set_wall(clock.now() - timedelta(hours=1))
    clock.advance(2 * 3600)
    story.exporter.annotate(run_requested_at="after-the-slot")
    story.exporter.until(
        lambda status: status.get("lastHandledRunRequest") == "after-the-slot", "it was looked at again"
    )
    entries = [entry for entry in story.exporter.history() if entry.get("scheduledTime") == slot.name]
    runs = Counter(run for batch in story.stage.sandbox.ledger.batches.values() for run in batch.run_ids)
    batches = runs[entries[0]["id"]]
    twice = [Found(Finding.DOUBLE, f"{len(entries)} entries and {batches} batches")]
    yield "the clock passes a slot twice", [] if (len(entries), batches) == (1, 1) else twice
    story.counts_from_now()  # the request that showed that the slot was passed is no slot


def other_crd(story: Story) -> Iterator[tuple[str, list[Found]]]:
    """A spec that another CRD let in, seen while that one is in force or when the right one is back.

    It has no slot that could be told in an entry: that nothing will run is told by conditions; where even those cannot
    be written, by an Event. A mended spec has its next slot.
    """
    loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    changes = {"schedule.timeZone": "Mars/Olympus", "qualtrics.surveyId": None, "schedule": "weekly"}
    for when in ("at once", "too late"):
        for path, value in changes.items():
            before, changed = story.exporter.manifest, story.stage.clock.now()
            if when == "too late":
                story.operator.kill()
            crd(story.stage, loose)
            story.exporter.change(**{path: value})
            if when == "at once":
                story.exporter.checked()
            crd(story.stage, None)
            if when == "too late":
                story.operator.start()
            slot = story.due(SLOT)
            slot.may_send = slot.told = False
            found = [*story.judged(slot), *untold(story, changed)]
            crd(story.stage, loose)
            story.exporter.manifest = before
            story.exporter.change()
            crd(story.stage, None)
            story.exporter.checked()
            yield f"{path}: {value}, seen {when}", [*found, *story.made_up_for()]
            yield f"mended after {path}: {value}", goes_on(story, story.due(SLOT))


def untold(story: Story, since: datetime) -> list[Found]:
    """The silence about a spec that cannot be used, if it is not broken in time."""
    with suppress(AssertionError):
        tells = partial(story.tells_of_its_spec, since)
        if story.stage.while_time_passes(lambda: eventually(tells, "its user is told")):
            return []
    return [Found(Finding.SILENT, "a spec that cannot be used")]


def crd(stage: Stage, spec: dict[str, object] | None) -> None:
    """Install our CRD, with another schema of `spec` if wanted."""
    (file,) = (ROOT / "crds").glob("*.yaml")
    document = plain_yaml.read(file.read_text())
    if spec:
        schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"] = spec
    stage.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(document))
    probe = "true" if spec else "1"
    odd = {**stage.manifest("probe"), "spec": {"probe": probe}}

    def strict() -> bool:
        tried = stage.cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(odd), check=False)
        return (tried.returncode == 0) is (spec is not None)

    eventually(strict, "the API server has taken the CRD")


QUICK: dict[str, Attack] = {"conflicts": conflicts, "watch expired": expired_watch}
LONG: dict[str, Attack] = {
    "watch broken": broken_watches,
    "API server slow": slow,
    "status wiped": wiped,
    "API server frozen": frozen,
    "API server restarted": restarted,
    "no write after the send": unreachable_after_the_send,
    "reads lag behind": old_news,
    "object remade": remade,
    "right withdrawn": rights,
    "Secret deleted": secrets,
    "clock set": clocks,
    "another CRD": other_crd,
}


def under(attack: Attack, name: str, stage: Stage, tally: Tally) -> None:
    """All scenarios of an attack, one after the other, with the same operator."""
    story = Story(stage, slots=attack not in (expired_watch, broken_watches))
    story.start()
    story.exporter.checked()
    for point, found in attack(story):
        tally.add(MATRIX, name, point, found)
    assert not story.end()


@pytest.mark.parametrize("name", QUICK)
def test_whatever_the_cluster_does_a_slot_sends_at_most_once_and_is_told(stage: Stage, tally: Tally, name: str) -> None:
    under(QUICK[name], name, stage, tally)


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_whatever_else_it_does(stage: Stage, tally: Tally, name: str) -> None:
    under(LONG[name], name, stage, tally)


@pytest.mark.long
@pytest.mark.parametrize("build", broken.BUILDS)
def test_a_broken_build_is_caught(stage: Stage, tally: Tally, build: broken.Build) -> None:
    caught = []
    for name, attack in {"right withdrawn": rights, "object remade": remade}.items():
        story = Story(stage, broken=build)
        story.start()
        story.exporter.checked()
        for point, found in attack(story):
            tally.add(MATRIX, name, point, found, broken=build)
            caught += found
        story.end()
    assert caught
