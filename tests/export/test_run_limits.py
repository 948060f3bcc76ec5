"""Every run ends at its deadline or after a limited number of attempts. Neither interrupts a send."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from qualtrics_exporter.export.look_up import LIST_LAG, LOOK_UP_SECONDS
from qualtrics_exporter.export.run import MAX_ATTEMPTS
from qualtrics_exporter.export.run_ids import new_holder, slot_run_id
from qualtrics_exporter.remote.time_limit import TASK_NAME
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, Step
from tests.export.conftest import START, Exporter, PausableClock
from tests.export.interruptions import (
    BEFORE_THE_SEND,
    ONE_MAIL_EACH,
    QualtricsDownAtSend,
    RecordingJournal,
    exhaust_send_limit,
    send_requests,
)
from tests.support.waiting import HANG_SECONDS

HOUR = timedelta(hours=1)
LAG = LIST_LAG.total_seconds()


@contextlib.asynccontextmanager
async def started_with_deadline(exporter: Exporter, **options: object) -> AsyncIterator[asyncio.Task[HistoryEntry]]:
    """Start a run in a task, by default with a deadline of an hour. At the end, cancel it."""
    task = asyncio.create_task(exporter.run(**{"deadline": HOUR, **options}))  # type: ignore[arg-type]
    try:
        yield task
    finally:
        exporter.faults.clear()
        task.cancel()
        await asyncio.wait([task])
    assert not [one for one in asyncio.all_tasks() if one.get_name() == TASK_NAME], (
        "a task that watches the deadline is left"
    )


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def failed_at_deadline(entry: HistoryEntry, exporter: Exporter) -> bool:
    """Whether the run failed at its deadline and nobody was mailed, as its message says."""
    assert (entry.result, entry.reason) == ("Failed", "RunDeadlineExceeded"), entry
    assert "Nobody was mailed" in entry.message
    return not exporter.mailed()


FIRST_CHECKS = ["qualtrics.whoami", "qualtrics.read_survey"]


@pytest.mark.parametrize("operation", [*BEFORE_THE_SEND, *FIRST_CHECKS])
@pytest.mark.parametrize("hold", ["before", "after"])
async def test_run_with_a_hanging_call_fails_at_its_deadline(exporter: Exporter, operation: str, hold: str) -> None:
    exporter.faults.add(operation, hold=hold)
    async with started_with_deadline(exporter, check_first=operation in FIRST_CHECKS) as task:
        await exporter.faults.reached(operation)
        exporter.clock.advance(HOUR.total_seconds() - 10)
        await asyncio.sleep(0.02)
        assert not task.done()
        exporter.clock.advance(20)
        entry = await task
    assert failed_at_deadline(entry, exporter)
    assert entry.message.startswith("The run did not reach its send within the 60 minutes")
    assert not send_requests(exporter)


@pytest.mark.parametrize("operation", ["nexthink.export", "nexthink.status", "nexthink.download"])
async def test_run_with_a_hanging_nexthink_export_fails_at_its_deadline(exporter: Exporter, operation: str) -> None:
    exporter.set_people_count(1500)
    exporter.faults.add(operation, hold="after")
    async with started_with_deadline(exporter, deadline=timedelta(minutes=20)) as task:
        await exporter.faults.reached(operation)
        exporter.clock.advance(1300)
        assert failed_at_deadline(await task, exporter)


@pytest.mark.parametrize("polled", ["import", "export"])
async def test_run_that_polls_without_end_fails_at_its_deadline(exporter: Exporter, polled: str) -> None:
    if polled == "export":
        exporter.set_people_count(1500)
        exporter.account.export_polls = 10**9
    else:
        exporter.account.import_polls, exporter.account.import_seconds = 10**9, 10**9
    entry = await exporter.run(deadline=timedelta(minutes=10))
    assert failed_at_deadline(entry, exporter)
    assert 600 <= (entry.completion_time - START).total_seconds() < 700


async def test_retries_end_at_the_deadline(exporter: Exporter) -> None:
    exporter.add_fault("create_batch", status=429, headers={"Retry-After": "100"}, times=None)
    entry = await exporter.run(deadline=timedelta(minutes=2))
    assert failed_at_deadline(entry, exporter)


async def test_run_that_waits_for_another_import_into_the_list_fails_at_its_deadline(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qualtrics_exporter.qualtrics.imports.MAX_OF_LIST", 1)
    exporter.add_fault("import_contacts", hold="before")
    async with started_with_deadline(exporter, deadline=None) as other:
        await exporter.faults.reached("qualtrics.import_contacts")
        exporter.path = exporter.path.with_name("another.json")
        async with started_with_deadline(exporter) as task:
            await wait_until(lambda: exporter.count_calls("create_batch") == 2)
            await asyncio.sleep(0.02)
            exporter.clock.advance(3601)
            assert failed_at_deadline(await task, exporter)
        assert not other.done()


async def test_run_that_waits_for_the_rate_limit_of_sends_fails_at_its_deadline(
    exporter: Exporter, clock: PausableClock
) -> None:
    exporter.add_fault("import_status", hold="before")
    async with started_with_deadline(exporter) as task:
        await exporter.faults.reached("qualtrics.import_status")
        other = await exhaust_send_limit(exporter, clock)
        exporter.faults.release()
        await clock.asleep(1)
        await wait_until(lambda: exporter.count_calls("import_status") > 0)
        clock.advance(3601)
        entry = await task
        other.cancel()
        await asyncio.wait([other])
    assert failed_at_deadline(entry, exporter)
    assert not send_requests(exporter)


async def test_run_that_waits_for_the_token_of_its_send_fails_at_its_deadline(exporter: Exporter) -> None:
    exporter.account.qualtrics_token_seconds = 600
    exporter.add_fault("token", hold="before", after=1)
    exporter.add_fault("import_status", hold="before")
    async with started_with_deadline(exporter) as task:
        await exporter.faults.reached("qualtrics.import_status")
        exporter.clock.advance(400)
        exporter.faults.release("qualtrics.import_status")
        await exporter.faults.reached("qualtrics.token")
        exporter.clock.advance(3601)
        assert failed_at_deadline(await task, exporter)


async def test_run_with_a_hanging_journal_write_fails_at_its_deadline(exporter: Exporter) -> None:
    reached = asyncio.Event()

    class HangingJournal(RecordingJournal):
        async def write(self, run: ActiveRun) -> None:
            if run.step == "Importing":
                reached.set()
                await asyncio.Event().wait()
            await super().write(run)

    async with started_with_deadline(exporter, journal=HangingJournal(exporter.path)) as task:
        await reached.wait()
        exporter.clock.advance(3601)
        assert failed_at_deadline(await task, exporter)


async def test_deadline_that_passes_during_the_write_of_sending_prevents_the_send(exporter: Exporter) -> None:
    class SlowJournal(RecordingJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            await super().write_sending(run)
            exporter.clock.advance(3601)

    entry = await exporter.run(SlowJournal(exporter.path), deadline=HOUR)

    assert failed_at_deadline(entry, exporter)
    assert entry.send_time is None
    assert not send_requests(exporter)


@pytest.mark.parametrize("took_effect", [True, False])
async def test_deadline_does_not_interrupt_a_send_in_progress(exporter: Exporter, took_effect: bool) -> None:
    exporter.add_fault("create_distribution", hold="after" if took_effect else "before")
    async with started_with_deadline(exporter, deadline=HOUR / 4) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        exporter.clock.advance(1800)
        await asyncio.sleep(0.05)
        assert not task.done()
        exporter.faults.release()
        entry = await task
    assert entry.result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH
    assert len(send_requests(exporter)) == 1


async def test_send_with_a_lost_reply_is_looked_up_after_the_deadline(exporter: Exporter) -> None:
    exporter.account.list_lag_seconds = 50
    exporter.add_fault("create_distribution", drop="after", hold="before")
    async with started_with_deadline(exporter, deadline=HOUR / 4) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        exporter.clock.advance(1800)
        exporter.faults.release()
        entry = await task
    assert entry.result == "Succeeded"
    assert len(send_requests(exporter)) == 1


@pytest.mark.parametrize(
    ("took_effect", "listed", "result", "reason"),
    [
        (True, True, "Succeeded", "Succeeded"),
        (False, True, "Failed", "RunDeadlineExceeded"),
        (True, False, "Unknown", "DeliveryUnknown"),
        (False, False, "Unknown", "DeliveryUnknown"),
    ],
)
async def test_refused_send_is_looked_up_and_not_repeated_after_the_deadline(
    exporter: Exporter, took_effect: bool, listed: bool, result: str, reason: str
) -> None:
    exporter.add_fault("create_distribution", status=429, apply_effect=took_effect)
    if not listed:
        exporter.add_fault("list_distributions", status=503, times=None)
    entry = await exporter.run(deadline=timedelta(minutes=5))

    assert (entry.result, entry.reason) == (result, reason)
    assert len(send_requests(exporter)) == 1
    assert (entry.completion_time - START).total_seconds() < LAG + LOOK_UP_SECONDS


async def test_wait_after_a_refused_send_ends_at_the_deadline(exporter: Exporter, clock: PausableClock) -> None:
    exporter.add_fault("create_distribution", status=429, headers={"Retry-After": "1700"})
    clock.paused = lambda: exporter.count_calls("list_distributions") > 0
    async with started_with_deadline(exporter, deadline=timedelta(minutes=20)) as task:
        await clock.asleep()
        clock.advance(1200 - LAG)
        entry = await task

    assert failed_at_deadline(entry, exporter)
    assert (entry.completion_time - START).total_seconds() < 1230
    assert len(send_requests(exporter)) == 1


async def test_wait_for_a_connection_ends_at_the_deadline(exporter: Exporter, clock: PausableClock) -> None:
    journal = QualtricsDownAtSend(exporter)
    clock.paused = lambda: bool(journal.written and journal.written[-1].refused_until)
    async with started_with_deadline(exporter, journal=journal, deadline=timedelta(seconds=40)) as task:
        await clock.asleep()
        clock.advance(40)
        entry = await task
    await exporter.sandbox.start()

    assert failed_at_deadline(entry, exporter)
    assert (entry.completion_time - START).total_seconds() < 55


@pytest.mark.parametrize("seconds", [0, -86400])
async def test_run_without_time_left_fails_immediately_without_a_call(exporter: Exporter, seconds: int) -> None:
    entry = await exporter.run(deadline=timedelta(seconds=seconds))

    assert failed_at_deadline(entry, exporter)
    assert not exporter.sandbox.recorder.calls


async def test_cancelled_run_with_a_deadline_ends_as_cancelled_and_stays_active(exporter: Exporter) -> None:
    exporter.add_fault("create_batch", hold="before")
    async with started_with_deadline(exporter) as task:
        await exporter.faults.reached("qualtrics.create_batch")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert exporter.active_run()


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 429, "apply_effect": True}])
async def test_look_up_ends_in_time_if_its_calls_are_rate_limited(exporter: Exporter, fault: dict[str, object]) -> None:
    exporter.add_fault("create_distribution", **fault)
    exporter.add_fault("list_distributions", status=429, headers={"Retry-After": "170"}, times=None)
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert len(send_requests(exporter)) == 1
    assert (entry.completion_time - START).total_seconds() < LAG + LOOK_UP_SECONDS + 200


def interrupted_run(step: Step, attempt: int, **more: object) -> ActiveRun:
    """A run that an earlier process left in this step."""
    fields = {"id": slot_run_id("uid", "slot"), "trigger": "Schedule", "start_time": START, "holder": new_holder()}
    sending = {"batch_id": "BT_1", "send_time": START, "recipients": 6}
    return ActiveRun.model_validate(
        {**fields, "step": step, "attempt": attempt, **(sending if "Sen" in step else {}), **more}
    )


async def resume(exporter: Exporter, run: ActiveRun) -> HistoryEntry:
    """Resume the run in one more attempt."""
    with exporter.open_journal() as journal:
        await journal.claim(run)
    return await exporter.run()


@pytest.mark.parametrize("step", ["Claimed", "Importing"])
async def test_run_fails_after_the_maximum_number_of_attempts(exporter: Exporter, step: Step) -> None:
    entry = await resume(exporter, interrupted_run(step, MAX_ATTEMPTS))

    assert (entry.result, entry.reason) == ("Failed", "AttemptsExhausted")
    assert f"started {MAX_ATTEMPTS + 1} times" in entry.message
    assert "Nobody was mailed" in entry.message
    assert not exporter.sandbox.recorder.calls


async def test_last_allowed_attempt_can_still_send(exporter: Exporter) -> None:
    assert (await resume(exporter, interrupted_run("Importing", MAX_ATTEMPTS - 1))).result == "Succeeded"


@pytest.mark.parametrize(
    ("refused", "result", "reason"),
    [
        ({}, "Unknown", "DeliveryUnknown"),
        ({"refused_until": START, "refused_reason": "RateLimited"}, "Unknown", "DeliveryUnknown"),
        ({"refused_until": START, "refused_reason": "RemoteUnavailable"}, "Failed", "AttemptsExhausted"),
    ],
)
async def test_run_without_attempts_left_is_unknown_unless_its_send_certainly_failed(
    exporter: Exporter, refused: dict[str, object], result: str, reason: str
) -> None:
    entry = await resume(exporter, interrupted_run("Sending", MAX_ATTEMPTS, **refused))

    assert (entry.result, entry.reason) == (result, reason)
    assert not exporter.sandbox.recorder.calls


async def test_run_that_was_sent_succeeds_after_any_number_of_attempts(exporter: Exporter) -> None:
    entry = await resume(exporter, interrupted_run("Sent", 99, distribution_id="EMD_1"))

    assert (entry.result, entry.distribution_id) == ("Succeeded", "EMD_1")
