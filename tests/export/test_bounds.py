"""Every run ends in time and after a limited number of attempts, whatever keeps it, and no send is cut in two."""

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
from tests.environment.clock import SteeredClock
from tests.environment.waiting import HANG_SECONDS
from tests.export.conftest import START, Exporter
from tests.export.test_recovery import BEFORE_THE_SEND, SIX, StillClock, WatchedJournal
from tests.export.test_refused import posts

HOUR = timedelta(hours=1)
LAG = LIST_LAG.total_seconds()


@pytest.fixture
def clock() -> SteeredClock:
    return StillClock(start=START)


@contextlib.asynccontextmanager
async def started(exporter: Exporter, **how: object) -> AsyncIterator[asyncio.Task[HistoryEntry]]:
    """A run that has an hour, in a task of its own."""
    task = asyncio.create_task(exporter.run(**{"deadline": HOUR, **how}))  # type: ignore[arg-type]
    try:
        yield task
    finally:
        exporter.faults.clear()
        task.cancel()
        await asyncio.wait([task])
    assert not [one for one in asyncio.all_tasks() if one.get_name() == TASK_NAME], "nobody watches any more"


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what other tasks do."""
    async with asyncio.timeout(HANG_SECONDS):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def is_late(entry: HistoryEntry, exporter: Exporter) -> bool:
    """Whether it ended because it was late, and says that nobody was mailed, which is true."""
    assert (entry.result, entry.reason) == ("Failed", "RunDeadlineExceeded"), entry
    assert "Nobody was mailed" in entry.message
    return not exporter.mailed()


CHECKS = ["qualtrics.whoami", "qualtrics.read_survey"]


@pytest.mark.parametrize("operation", [*BEFORE_THE_SEND, *CHECKS])
@pytest.mark.parametrize("hold", ["before", "after"])
async def test_a_call_that_hangs_ends_with_the_deadline(exporter: Exporter, operation: str, hold: str) -> None:
    exporter.faults.add(operation, hold=hold)
    async with started(exporter, check_first=operation in CHECKS) as task:
        await exporter.faults.reached(operation)
        exporter.clock.advance(HOUR.total_seconds() - 10)
        await asyncio.sleep(0.02)
        assert not task.done()
        exporter.clock.advance(20)
        entry = await task
    assert is_late(entry, exporter)
    assert entry.message.startswith("The run did not reach its send within the 60 minutes")
    assert not posts(exporter)


@pytest.mark.parametrize("operation", ["nexthink.export", "nexthink.status", "nexthink.download"])
async def test_an_export_that_hangs_ends_with_the_deadline(exporter: Exporter, operation: str) -> None:
    exporter.many(1500)
    exporter.faults.add(operation, hold="after")
    async with started(exporter, deadline=timedelta(minutes=20)) as task:
        await exporter.faults.reached(operation)
        exporter.clock.advance(1300)
        assert is_late(await task, exporter)


@pytest.mark.parametrize("polled", ["an import", "an export"])
async def test_what_is_polled_for_ends_with_the_deadline(exporter: Exporter, polled: str) -> None:
    if polled == "an export":
        exporter.many(1500)
        exporter.account.export_polls = 10**9
    else:
        exporter.account.import_polls, exporter.account.import_seconds = 10**9, 10**9
    entry = await exporter.run(deadline=timedelta(minutes=10))
    assert is_late(entry, exporter)
    assert 600 <= (entry.completion_time - START).total_seconds() < 700


async def test_retries_end_with_the_deadline(exporter: Exporter) -> None:
    exporter.fault("create_batch", status=429, headers={"Retry-After": "100"}, times=None)
    entry = await exporter.run(deadline=timedelta(minutes=2))
    assert is_late(entry, exporter)


async def test_a_wait_for_other_imports_into_the_list_ends_with_the_deadline(exporter: Exporter) -> None:
    exporter.fault("import_contacts", hold="before")
    async with started(exporter, deadline=None) as other:
        await exporter.faults.reached("qualtrics.import_contacts")
        exporter.path = exporter.path.with_name("another.json")
        async with started(exporter) as task:
            await until(lambda: exporter.count("create_batch") == 2)
            await asyncio.sleep(0.02)
            exporter.clock.advance(3601)
            assert is_late(await task, exporter)
        assert not other.done()


async def test_a_wait_for_the_acquire_send_ends_with_the_deadline(exporter: Exporter, clock: StillClock) -> None:
    async def all_turns() -> None:
        while True:
            await exporter.clients.qualtrics.acquire_send()

    exporter.fault("import_status", hold="before")
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.import_status")
        clock.still = lambda: True
        crowd = asyncio.create_task(all_turns())
        await clock.asleep()
        exporter.faults.release()
        await clock.asleep(1)
        await until(lambda: exporter.count("import_status") > 0)
        clock.advance(3601)
        entry = await task
        crowd.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await crowd
    assert is_late(entry, exporter)
    assert not posts(exporter)


async def test_a_wait_for_the_token_of_the_send_ends_with_the_deadline(exporter: Exporter) -> None:
    exporter.account.qualtrics_token_seconds = 600
    exporter.fault("token", hold="before", after=1)
    exporter.fault("import_status", hold="before")
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.import_status")
        exporter.clock.advance(400)
        exporter.faults.release("qualtrics.import_status")
        await exporter.faults.reached("qualtrics.token")
        exporter.clock.advance(3601)
        assert is_late(await task, exporter)


async def test_a_journal_that_does_not_answer_ends_with_the_deadline(exporter: Exporter) -> None:
    reached = asyncio.Event()

    class Hanging(WatchedJournal):
        async def write(self, run: ActiveRun) -> None:
            if run.step == "Importing":
                reached.set()
                await asyncio.Event().wait()
            await super().write(run)

    async with started(exporter, journal=Hanging(exporter.path)) as task:
        await reached.wait()
        exporter.clock.advance(3601)
        assert is_late(await task, exporter)


async def test_a_deadline_that_passes_while_the_send_is_announced_stops_the_send(exporter: Exporter) -> None:
    class Slow(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            await super().write_sending(run)
            exporter.clock.advance(3601)

    entry = await exporter.run(Slow(exporter.path), deadline=HOUR)

    assert is_late(entry, exporter)
    assert entry.send_time is None
    assert not posts(exporter)


@pytest.mark.parametrize("happened", [True, False])
async def test_a_send_in_flight_is_not_cut_in_two(exporter: Exporter, happened: bool) -> None:
    exporter.fault("create_distribution", hold="after" if happened else "before")
    async with started(exporter, deadline=HOUR / 4) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        exporter.clock.advance(1800)
        await asyncio.sleep(0.05)
        assert not task.done()
        exporter.faults.release()
        entry = await task
    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX
    assert len(posts(exporter)) == 1


async def test_a_send_that_was_perhaps_asked_for_is_looked_up_however_late_it_is(exporter: Exporter) -> None:
    exporter.account.list_lag_seconds = 50
    exporter.fault("create_distribution", drop="after", hold="before")
    async with started(exporter, deadline=HOUR / 4) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        exporter.clock.advance(1800)
        exporter.faults.release()
        entry = await task
    assert entry.result == "Succeeded"
    assert len(posts(exporter)) == 1


@pytest.mark.parametrize(
    ("happened", "listed", "result", "reason"),
    [
        (True, True, "Succeeded", "Succeeded"),
        (False, True, "Failed", "RunDeadlineExceeded"),
        (True, False, "Unknown", "DeliveryUnknown"),
        (False, False, "Unknown", "DeliveryUnknown"),
    ],
)
async def test_a_refused_send_is_looked_up_and_not_asked_for_again_after_the_deadline(
    exporter: Exporter, happened: bool, listed: bool, result: str, reason: str
) -> None:
    exporter.fault("create_distribution", status=429, apply_effect=happened)
    if not listed:
        exporter.fault("list_distributions", status=503, times=None)
    entry = await exporter.run(deadline=timedelta(minutes=5))

    assert (entry.result, entry.reason) == (result, reason)
    assert len(posts(exporter)) == 1
    assert (entry.completion_time - START).total_seconds() < LAG + LOOK_UP_SECONDS


async def test_a_wait_that_qualtrics_asks_for_ends_with_the_deadline(exporter: Exporter, clock: StillClock) -> None:
    exporter.fault("create_distribution", status=429, headers={"Retry-After": "1700"})
    clock.still = lambda: exporter.count("list_distributions") > 0
    async with started(exporter, deadline=timedelta(minutes=20)) as task:
        await clock.asleep()
        clock.advance(1200 - LAG)
        entry = await task

    assert is_late(entry, exporter)
    assert (entry.completion_time - START).total_seconds() < 1230
    assert len(posts(exporter)) == 1


async def test_a_wait_for_a_connection_ends_with_the_deadline(exporter: Exporter, clock: StillClock) -> None:
    class Closed(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            await super().write_sending(run)
            await exporter.sandbox.stop()

    journal = Closed(exporter.path)
    clock.still = lambda: bool(journal.written and journal.written[-1].refused_until)
    async with started(exporter, journal=journal, deadline=timedelta(seconds=40)) as task:
        await clock.asleep()
        clock.advance(40)
        entry = await task
    await exporter.sandbox.start()

    assert is_late(entry, exporter)
    assert (entry.completion_time - START).total_seconds() < 55


@pytest.mark.parametrize("seconds", [0, -86400])
async def test_a_run_that_has_no_time_left_ends_at_once(exporter: Exporter, seconds: int) -> None:
    entry = await exporter.run(deadline=timedelta(seconds=seconds))

    assert is_late(entry, exporter)
    assert not exporter.sandbox.ledger.calls


async def test_a_cancellation_of_a_run_with_a_deadline_stays_one(exporter: Exporter) -> None:
    exporter.fault("create_batch", hold="before")
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_batch")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert exporter.left()


@pytest.mark.parametrize("order", [{"drop": "after"}, {"status": 429, "apply_effect": True}])
async def test_a_look_up_ends_whatever_its_calls_do(exporter: Exporter, order: dict[str, object]) -> None:
    exporter.fault("create_distribution", **order)
    exporter.fault("list_distributions", status=429, headers={"Retry-After": "170"}, times=None)
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert len(posts(exporter)) == 1
    assert (entry.completion_time - START).total_seconds() < LAG + LOOK_UP_SECONDS + 200


# Attempts


def left(step: Step, attempt: int, **more: object) -> ActiveRun:
    """A run as an earlier process left it."""
    fields = {"id": slot_run_id("uid", "slot"), "trigger": "Schedule", "start_time": START, "holder": new_holder()}
    sending = {"batch_id": "BT_1", "send_time": START, "recipients": 6}
    return ActiveRun.model_validate(
        {**fields, "step": step, "attempt": attempt, **(sending if "Sen" in step else {}), **more}
    )


async def taken_up(exporter: Exporter, run: ActiveRun) -> HistoryEntry:
    """What comes of a run that is taken up once more."""
    with exporter.open() as journal:
        await journal.claim(run)
    return await exporter.run()


@pytest.mark.parametrize("step", ["Claimed", "Importing"])
async def test_a_run_is_taken_up_only_so_often(exporter: Exporter, step: Step) -> None:
    entry = await taken_up(exporter, left(step, MAX_ATTEMPTS))

    assert (entry.result, entry.reason) == ("Failed", "AttemptsExhausted")
    assert f"started {MAX_ATTEMPTS + 1} times" in entry.message
    assert "Nobody was mailed" in entry.message
    assert not exporter.sandbox.ledger.calls


async def test_the_last_attempt_is_one(exporter: Exporter) -> None:
    assert (await taken_up(exporter, left("Importing", MAX_ATTEMPTS - 1))).result == "Succeeded"


@pytest.mark.parametrize(
    ("refused", "result", "reason"),
    [
        ({}, "Unknown", "DeliveryUnknown"),
        ({"refused_until": START, "refused_reason": "RateLimited"}, "Unknown", "DeliveryUnknown"),
        ({"refused_until": START, "refused_reason": "RemoteUnavailable"}, "Failed", "AttemptsExhausted"),
    ],
)
async def test_a_run_that_may_have_sent_ends_as_unknown_after_too_many_attempts(
    exporter: Exporter, refused: dict[str, object], result: str, reason: str
) -> None:
    entry = await taken_up(exporter, left("Sending", MAX_ATTEMPTS, **refused))

    assert (entry.result, entry.reason) == (result, reason)
    assert not exporter.sandbox.ledger.calls


async def test_a_run_that_was_sent_is_finished_whatever_its_attempts(exporter: Exporter) -> None:
    entry = await taken_up(exporter, left("Sent", 99, distribution_id="EMD_1"))

    assert (entry.result, entry.distribution_id) == ("Succeeded", "EMD_1")
