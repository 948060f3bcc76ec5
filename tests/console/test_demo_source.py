"""The source of the demo and its operator, without a browser: one token is one run, and suspending stops a send."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from qualtrics_exporter.cli.console import actions
from qualtrics_exporter.cli.console.actions import Confirmed
from qualtrics_exporter.cli.console.demo import Demo
from qualtrics_exporter.cli.console.demo_operator import operating
from qualtrics_exporter.cli.demo import exporter_manifest
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.cli.qex.requests import Refused
from qualtrics_exporter.cli.sandbox import secrets
from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.resource.status import Status
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.cli.conftest import PEOPLE
from tests.support.waiting import HANG_SECONDS

KEY = ("dex", "teams-rollout")
IMPORT = "qualtrics.import_contacts"


@dataclass
class Running:
    """A demo whose operator works."""

    demo: Demo
    sandbox: Sandbox
    clock: SystemClock

    def confirmed(self) -> Confirmed:
        """What a page that is opened now sends with its form."""
        return Confirmed.of(self.demo.exporter, self.clock.now())

    async def status_with(self, run_id: str) -> Status:
        """The status as soon as it has the entry of a run, with delivery figures if it was sent."""
        seen = -1
        while True:
            seen = await self.demo.snapshot.changed(KEY, seen)
            status = self.demo.exporter.status
            entry = next((each for each in status.entries if each.id == run_id), None)
            if entry and (entry.delivery or entry.trigger == "Test" or entry.result == "Skipped"):
                return status

    async def ready(self) -> None:
        """Return after the first check."""
        seen = -1
        while self.demo.exporter.status.observed_generation < 0:
            seen = await self.demo.snapshot.changed(KEY, seen)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    account, clock = Account.default(), SystemClock()
    account.delivery_seconds = account.import_seconds = 0
    async with Sandbox(account) as sandbox:
        demo = Demo(exporter_manifest(account), clock, outbox=sandbox.outbox_url)
        async with operating(demo, secrets(sandbox), tmp_path / "journal.json", clock):
            found = Running(demo, sandbox, clock)
            await found.ready()
            yield found
            assert demo.snapshot.problem == ""


async def test_one_page_causes_one_run_and_its_figures_are_read(running: Running) -> None:
    confirmed = running.confirmed()
    run_id = await actions.run(running.demo, confirmed, running.clock.now())
    assert await actions.run(running.demo, confirmed, running.clock.now()) == run_id
    status = await running.status_with(run_id)
    assert await actions.run(running.demo, confirmed, running.clock.now()) == run_id

    test = await actions.test(running.demo, running.confirmed(), running.clock.now(), deliver=False)
    status = await running.status_with(test)
    assert [(entry.id, entry.result) for entry in status.history or []] == [(run_id, "Succeeded")]
    assert status.history
    assert status.history[0].delivery
    assert status.history[0].delivery.sent == len(PEOPLE)
    assert status.last_test
    assert status.last_test.recipients
    assert status.last_test.recipients.accepted == len(PEOPLE)
    assert dict(running.sandbox.recorder.mails()) == dict.fromkeys(PEOPLE, 1)
    assert "Succeeded" in [event.reason for event in await running.demo.events({})]


async def test_run_whose_outcome_is_unknown_is_looked_up_later(running: Running) -> None:
    run_id = await actions.run(running.demo, running.confirmed(), running.clock.now())
    status = await running.status_with(run_id)
    (sent,) = status.history or []
    earlier = running.clock.now() - timedelta(minutes=11)
    update = {"result": "Unknown", "reason": "DeliveryUnknown", "distribution_id": None, "send_time": earlier}
    unknown = sent.model_copy(update={**update, "delivery": None})
    running.demo.write(running.demo.exporter.status.model_copy(update={"history": [unknown]}))
    await actions.suspend(running.demo, running.confirmed())  # the operator of the demo looks at once after a change
    seen = -1
    while (running.demo.exporter.status.history or [])[0].reason != "FoundLater":
        seen = await running.demo.snapshot.changed(KEY, seen)
    assert (running.demo.exporter.status.history or [])[0].distribution_id == sent.distribution_id


async def test_suspending_before_the_send_stops_it(running: Running) -> None:
    running.sandbox.faults.add(IMPORT, hold=True)
    run_id = await actions.run(running.demo, running.confirmed(), running.clock.now())
    await running.sandbox.faults.reached(IMPORT, timeout=HANG_SECONDS)
    await actions.suspend(running.demo, running.confirmed())
    running.sandbox.faults.release()
    status = await running.status_with(run_id)
    assert status.history
    assert status.history[0].result == "Skipped"
    assert running.sandbox.recorder.distributions == []
    with pytest.raises(Refused, match="suspended"):
        await actions.run(running.demo, running.confirmed(), running.clock.now())


async def test_second_request_is_refused_during_a_run(running: Running) -> None:
    first = running.confirmed()
    await actions.run(running.demo, first, running.clock.now())
    with pytest.raises(Refused):
        await actions.test(running.demo, running.confirmed(), running.clock.now(), deliver=True)


async def test_write_to_an_older_version_conflicts(running: Running) -> None:
    found = await running.demo.get(*KEY)
    await running.demo.patch(found, {"spec": {"suspend": True}})
    with pytest.raises(Failed) as failed:
        await running.demo.patch(found, {"spec": {"suspend": False}})
    assert failed.value.cause == "Conflict"
    assert running.demo.exporter.suspended


async def test_other_names_do_not_exist(running: Running) -> None:
    with pytest.raises(Failed) as failed:
        await running.demo.get("dex", "other")
    assert failed.value.cause == "NotFound"


@pytest.mark.parametrize("steps", range(6))
async def test_operator_stops_at_any_moment_after_a_request(steps: int) -> None:
    """A signal can come while a request ends the wait of the operator. It must not be lost."""
    demo = Demo(exporter_manifest(Account.default()), SystemClock(), outbox="")

    async def operate() -> None:
        while True:
            await demo.requested(HANG_SECONDS)

    working = asyncio.create_task(operate())
    await asyncio.sleep(0)
    await actions.suspend(demo, Confirmed.of(demo.exporter, SystemClock().now()))
    for _ in range(steps):
        await asyncio.sleep(0)
    working.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert working.cancelled()
