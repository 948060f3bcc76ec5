"""Cancellation of a run before, during and after its send."""

import asyncio
from typing import Any

import pytest

from qualtrics_exporter.export.shield import shield_until_done
from tests.export.conftest import Exporter, PausableClock
from tests.export.interruptions import (
    BEFORE_THE_SEND,
    ONE_MAIL_EACH,
    active_step,
    started,
    was_cancelled,
)


@pytest.mark.parametrize("operation", BEFORE_THE_SEND)
@pytest.mark.parametrize("hold", ["before", "after"])
async def test_run_cancelled_before_its_send_is_resumed_by_the_next_process(
    exporter: Exporter, operation: str, hold: str
) -> None:
    exporter.faults.add(operation, hold=hold)
    async with started(exporter) as task:
        await exporter.faults.reached(operation)
        task.cancel()
        assert await was_cancelled(task)
    assert active_step(exporter) == ("Importing" if "import" in operation else "Claimed")

    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH


@pytest.mark.parametrize("hold", ["before", "after"])
@pytest.mark.parametrize("times", [1, 3])
async def test_cancellation_during_the_send_waits_for_the_reply(exporter: Exporter, hold: str, times: int) -> None:
    exporter.add_fault("create_distribution", hold=hold)
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        exporter.faults.release()
        assert await was_cancelled(task)

    assert exporter.mailed() == ONE_MAIL_EACH
    with exporter.open_journal() as journal:
        assert [entry.result for entry in journal.history] == ["Succeeded"]
        assert journal.current() is None


async def test_refusal_during_a_cancellation_is_recorded(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", hold="before", status=400)
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        task.cancel()
        exporter.faults.release()
        assert await was_cancelled(task)

    with exporter.open_journal() as journal:
        assert [(entry.result, entry.reason) for entry in journal.history] == [("Failed", "SendRefused")]


@pytest.mark.parametrize(("hold", "result"), [("before", "Unknown"), ("after", "Succeeded")])
async def test_send_with_a_reply_lost_during_a_cancellation_is_looked_up_by_the_next_process(
    exporter: Exporter, hold: str, result: str
) -> None:
    exporter.add_fault("create_distribution", hold=hold)
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        task.cancel()
        await asyncio.sleep(0)
        exporter.faults.release(drop=True)
        assert await was_cancelled(task)
    assert active_step(exporter) == "Sending"

    assert (await exporter.run()).result == result
    assert set(exporter.mailed().values()) <= {1}
    assert exporter.count_calls("create_distribution") == 1


@pytest.mark.parametrize(
    ("fault", "result"),
    [({"drop": "before"}, "Unknown"), ({"status": 429, "headers": {"Retry-After": "60"}}, "Succeeded")],
)
async def test_wait_after_the_send_can_be_cancelled(
    exporter: Exporter, clock: PausableClock, fault: dict[str, Any], result: str
) -> None:
    clock.paused = lambda: exporter.count_calls("create_distribution") > 0
    exporter.add_fault("create_distribution", **fault)
    async with started(exporter) as task:
        await clock.asleep()
        task.cancel()
        assert await was_cancelled(task)
    assert active_step(exporter) == "Sending"

    clock.paused = lambda: False
    assert (await exporter.run()).result == result
    assert exporter.count_calls("create_distribution") == (1 if result == "Unknown" else 2)


async def test_shielded_cancellation_reaches_the_timeout_that_caused_it() -> None:
    done = asyncio.Event()

    async def work() -> str:
        await asyncio.sleep(0.02)
        done.set()
        return "done"

    async def time_out_during_work() -> None:
        async with asyncio.timeout(0.001):
            assert await shield_until_done(work()) == "done"
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await time_out_during_work()
    assert done.is_set()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0
