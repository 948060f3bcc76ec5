"""Lost replies, crashes and cancellations: whatever happens, nobody gets two mails and every run has an end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from qualtrics_exporter.export import steps
from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.journal import Abandoned, Ended, NotWritten, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_ids import new_holder
from qualtrics_exporter.export.shield import shield_until_done
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.resource.status import ActiveRun
from tests.environment.clock import HastyClock, SteeredClock
from tests.environment.waiting import HANG_SECONDS
from tests.export.conftest import START, Exporter, taken

SIX = {f"{name}@example.com": 1 for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}


class PowerCut(BaseException):
    """Nothing in the program can answer this."""


class WatchedJournal(FileJournal):
    """Keeps what was written, and calls `before` and `after` with the number of each write."""

    def __init__(
        self, path: Path, before: Callable[[int], Any] = lambda _: None, after: Callable[[int], Any] = lambda _: None
    ) -> None:
        super().__init__(path)
        self.before, self.after = before, after
        self.written: list[ActiveRun] = []
        self.number = 0

    async def write(self, run: ActiveRun) -> None:
        self.number += 1
        if awaitable := self.before(self.number):
            await awaitable
        await super().write(run)
        self.written.append(run)
        self.after(self.number)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        self.number += 1
        self.before(self.number)
        await asyncio.sleep(0)  # as a journal behind a network has to wait
        await super().finish(run, ended)
        self.after(self.number)


IMPORTING, SENDING, SENT, FINISH = 1, 2, 3, 4


def cut_at(number: int) -> Callable[[int], None]:
    """What ends everything at that write."""

    def cut(now: int) -> None:
        if now == number:
            raise PowerCut

    return cut


@contextlib.asynccontextmanager
async def started(exporter: Exporter, journal: FileJournal | None = None) -> AsyncIterator[asyncio.Task[Ended]]:
    """A run in a task of its own."""

    async def whole(run: ActiveRun, open_journal: FileJournal) -> Ended:
        ended = await execute(run, exporter.spec, exporter.clients, open_journal, exporter.clock)
        task = asyncio.current_task()
        assert task
        assert not task.cancelling(), "a cancellation must not be forgotten"
        return ended

    with journal or WatchedJournal(exporter.path) as open_journal:
        run = await taken(open_journal, exporter.clock)
        task = asyncio.create_task(whole(run, open_journal))
        try:
            yield task
        finally:
            exporter.faults.clear()
            task.cancel()
            await asyncio.wait([task])


async def cancelled(task: asyncio.Task[Ended]) -> bool:
    """Whether the task ended by its cancellation."""
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.wait([task])
    return task.cancelled()


def step_left(exporter: Exporter) -> str | None:
    left = exporter.left()
    return left.step if left else None


# Replies that got lost


@pytest.mark.parametrize(
    "order",
    [
        {"drop": "after"},
        {"status": 500, "apply_effect": True},
        {"status": 504, "apply_effect": True},
        {"status": 302, "apply_effect": True},
        {"body": "<html>all is well</html>"},
        {"body": "{}"},
        {"truncate": 10},
    ],
)
async def test_a_send_without_a_clear_answer_is_looked_up_and_found(exporter: Exporter, order: dict[str, Any]) -> None:
    exporter.fault("create_distribution", **order)
    entry = await exporter.run()

    assert exporter.mailed() == SIX
    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert entry.distribution_id == exporter.sandbox.ledger.distributions[0].id
    assert exporter.count("create_distribution") == 1


@pytest.mark.parametrize("order", [{"drop": "before"}, {"status": 500}, {"status": 503}, {"body": "{}", "status": 502}])
async def test_a_send_that_is_never_found_ends_as_unknown_and_is_not_repeated(
    exporter: Exporter, order: dict[str, Any]
) -> None:
    exporter.fault("create_distribution", **order)
    entry = await exporter.run()

    assert not exporter.mailed()
    assert exporter.count("create_distribution") == 1
    assert (entry.result, entry.reason) == ("Unknown", "DeliveryUnknown")
    for fact in (exporter.account.survey_id, entry.batch_id, "2026-01-05T10:0", "(UTC)", "request a run", "next slot"):
        assert fact
        assert fact in entry.message


async def test_it_is_looked_up_five_times_in_two_minutes(exporter: Exporter) -> None:
    exporter.fault("create_distribution", drop="before")
    await exporter.run()

    calls = exporter.sandbox.ledger.of("qualtrics.list_distributions")
    first = calls[0].at
    assert [round((call.at - first).total_seconds(), -1) for call in calls] == [0, 10, 30, 60, 120]


async def test_a_distribution_that_shows_late_is_found_late(exporter: Exporter) -> None:
    exporter.account.list_lag_seconds = 50
    exporter.fault("create_distribution", drop="after")
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.count("list_distributions") == 4
    assert exporter.mailed() == SIX


async def test_a_batch_that_cannot_be_seen_is_not_sent_again(exporter: Exporter) -> None:
    exporter.account.batch_echo = "never"
    exporter.fault("create_distribution", drop="after")
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert exporter.mailed() == SIX


async def test_a_look_up_that_fails_is_tried_again_later(exporter: Exporter, caplog: pytest.LogCaptureFixture) -> None:
    exporter.fault("create_distribution", drop="after")
    exporter.fault("list_distributions", status=503, times=9)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert "unexpected" not in caplog.text
    assert exporter.mailed() == SIX


@pytest.mark.parametrize("minutes", [-50, 50])
async def test_clocks_may_differ_by_many_minutes(exporter: Exporter, minutes: int) -> None:
    exporter.fault("create_distribution", drop="after")

    def by_their_clock() -> None:
        [sent] = exporter.sandbox.ledger.distributions
        sent.send_date += timedelta(minutes=minutes)

    entry = await exporter.run_changing("qualtrics.list_distributions", by_their_clock)

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX


async def test_another_distribution_of_the_survey_is_not_taken_for_ours(exporter: Exporter) -> None:
    await exporter.run()
    exporter.clock.advance(600)
    exporter.fault("create_distribution", drop="before")
    entry = await exporter.run()

    assert entry.result == "Unknown"


# Imports that got lost


@pytest.mark.parametrize("order", [{"drop": "after"}, {"status": 500, "apply_effect": True}, {"body": "nonsense"}])
async def test_an_import_without_a_clear_answer_goes_on_with_a_new_batch(
    exporter: Exporter, order: dict[str, Any]
) -> None:
    exporter.fault("import_contacts", **order)
    entry = await exporter.run()

    assert exporter.mailed() == SIX
    assert len(exporter.sandbox.ledger.batches) == 2
    assert entry.batch_id == list(exporter.sandbox.ledger.batches)[1]
    assert entry.recipients
    assert entry.recipients.imported == 6


@pytest.mark.parametrize(
    ("effect", "unreadable", "batches"),
    [
        pytest.param(False, {}, 1, id="it was refused"),
        pytest.param(True, {}, 2, id="it had its effect"),
        pytest.param(False, {"status": 403}, 2, id="nobody can be counted"),
        pytest.param(False, {"status": 500, "times": None}, 2, id="nobody can be counted now"),
    ],
)
async def test_an_import_that_is_repeated_after_429_is_counted(
    exporter: Exporter, effect: bool, unreadable: dict[str, Any], batches: int
) -> None:
    """Qualtrics can answer with 429 and import the people all the same: they would get two mails."""
    exporter.fault("import_contacts", status=429, apply_effect=effect)
    if unreadable:
        exporter.fault("list_transactions", **unreadable)
    entry = await exporter.run()

    assert exporter.mailed() == SIX
    assert len(exporter.sandbox.ledger.batches) == batches
    assert entry.batch_id == list(exporter.sandbox.ledger.batches)[-1]


async def test_imports_that_are_not_limited_are_not_counted(exporter: Exporter) -> None:
    await exporter.run()
    assert exporter.count("list_transactions") == 0


async def test_all_portions_go_into_the_new_batch(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qualtrics_exporter.qualtrics.chunks.MOST_CONTACTS", 1_000)
    exporter.many(1_200)
    exporter.fault("import_contacts", drop="after", after=1)
    entry = await exporter.run()

    assert len(exporter.sandbox.ledger.batches) == 2
    assert len(exporter.mailed()) == 1_200
    assert set(exporter.mailed().values()) == {1}
    assert entry.recipients
    assert entry.recipients.imported == 1_200


@pytest.mark.parametrize(
    ("operation", "order", "reason"),
    [
        ("import_contacts", {"drop": "after"}, "RemoteUnavailable"),
        ("import_contacts", {"body": "<html>"}, "RemoteReplyInvalid"),
        ("import_contacts", {"status": 401, "body": b"", "apply_effect": True}, "RemoteReplyInvalid"),
        ("import_status", {"status": 429}, "RateLimited"),
        ("import_status", {"status": 404}, "RemoteReplyInvalid"),
    ],
)
async def test_after_three_batches_the_run_has_failed_and_nobody_was_mailed(
    exporter: Exporter, operation: str, order: dict[str, Any], reason: str
) -> None:
    exporter.fault(operation, times=None, **order)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", reason)
    assert len(exporter.sandbox.ledger.batches) == 3
    assert not exporter.mailed()


async def test_a_batch_is_written_down_before_anybody_goes_in(exporter: Exporter) -> None:
    exporter.fault("import_contacts", drop="after")
    with exporter.open() as plain:
        run = await taken(plain, exporter.clock)
    with WatchedJournal(exporter.path) as journal:
        await execute(run, exporter.spec, exporter.clients, journal, exporter.clock)
        batches = [written.batch_id for written in journal.written if written.step == "Importing"]

    assert batches == list(exporter.sandbox.ledger.batches)


async def test_more_people_in_the_batch_than_were_given_are_never_mailed(exporter: Exporter) -> None:
    body = (
        '{"result": {"percentComplete": 100, "status": "complete", "contacts": {"count": {"added": 12, "updated": 0, '
        '"failed": 0}}, "transactions": {"count": {"created": 12}}}, "meta": {"httpStatus": "200 - OK"}}'
    )
    exporter.fault("import_status", body=body, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert exporter.count("create_distribution") == 0


# Refused for certain


async def test_a_send_that_was_rate_limited_is_asked_for_again(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, times=2, headers={"Retry-After": "40"})
    with WatchedJournal(exporter.path) as journal:
        entry = (await exporter.ended(journal)).entry
        sends = [run for run in journal.written if run.step == "Sending" and not run.refused_until]

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == SIX
    calls = exporter.sandbox.ledger.of("qualtrics.create_distribution")
    assert [round((call.at - calls[0].at).total_seconds(), -1) for call in calls] == [0, 600, 1200]
    assert len({write.model_dump_json() for write in sends}) == 3
    assert [write.attempt for write in sends] == [1, 2, 3]
    assert len({write.send_time for write in sends}) == 3
    assert entry.send_time == sends[-1].send_time


async def test_a_send_that_is_refused_three_times_has_failed(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RateLimited")
    assert exporter.count("create_distribution") == 3
    assert not exporter.mailed()


@pytest.mark.parametrize(("asked", "waited"), [(900, 900), (90000, 1800)])
async def test_a_wait_that_qualtrics_asks_for_is_kept_up_to_half_an_hour(
    exporter: Exporter, asked: int, waited: int
) -> None:
    exporter.fault("create_distribution", status=429, headers={"Retry-After": str(asked)})
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    first, second = exporter.sandbox.ledger.of("qualtrics.create_distribution")
    assert waited <= (second.at - first.at).total_seconds() < waited + 60


async def test_a_refusal_that_was_none_is_found_before_asking_again(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.count("create_distribution") == 1
    assert exporter.mailed() == SIX


async def test_a_send_that_never_left_is_asked_for_again(exporter: Exporter) -> None:
    sandbox, sends = exporter.sandbox, iter(["stop", "start"])

    def before(number: int) -> Any:
        if number < SENDING or number == FINISH + 1:
            return None
        action = next(sends, None)
        return getattr(sandbox, action)() if action else None

    entry = (await exporter.ended(WatchedJournal(exporter.path, before=before))).entry

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 1


# Crashes


@pytest.mark.parametrize(
    ("write", "moment", "left", "result", "mails"),
    [
        (IMPORTING, "before", "Claimed", "Succeeded", SIX),
        (IMPORTING, "after", "Importing", "Succeeded", SIX),
        (SENDING, "before", "Importing", "Succeeded", SIX),
        (SENDING, "after", "Sending", "Unknown", {}),  # the one price: nobody can tell that it never left
        (SENT, "before", "Sending", "Succeeded", SIX),
        (SENT, "after", "Sent", "Succeeded", SIX),
        (FINISH, "before", "Sent", "Succeeded", SIX),
        (FINISH, "after", None, None, SIX),
    ],
)
async def test_a_crash_at_a_write_is_survived(
    exporter: Exporter,
    write: int,
    moment: Literal["before", "after"],
    left: str | None,
    result: str | None,
    mails: dict[str, int],
) -> None:
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, **{moment: cut_at(write)}))
    assert step_left(exporter) == left

    if left:
        entry = await exporter.run()
        assert entry.result == result
    assert exporter.mailed() == mails
    with exporter.open() as journal:
        assert len(journal.history) == 1


async def test_who_was_already_imported_is_in_another_batch_after_a_crash(exporter: Exporter) -> None:
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, before=cut_at(SENDING)))
    exporter.people(["ana@example.com", "new@example.com"])
    await exporter.run()

    assert [len(batch.addresses) for batch in exporter.sandbox.ledger.batches.values()] == [6, 2]
    assert exporter.mailed() == {"ana@example.com": 1, "new@example.com": 1}


async def test_a_run_that_finds_nobody_after_a_crash_names_no_batch(exporter: Exporter) -> None:
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, before=cut_at(SENDING)))
    exporter.people([])
    entry = await exporter.run()

    assert (entry.reason, entry.batch_id) == ("NoRecipients", None)


async def test_a_crash_while_looking_up_begins_to_look_up_anew(exporter: Exporter) -> None:
    exporter.account.list_lag_seconds = 200
    exporter.fault("create_distribution", drop="after")
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, before=cut_at(FINISH - 1)))
    exporter.clock.advance(3600)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 1


async def test_a_recovered_run_ends_with_the_same_words(exporter: Exporter) -> None:
    exporter.account.vanishing_addresses = {"eva@example.com"}
    exporter.change("nexthink", result_source="Export")  # only an export tells that its result is cut
    exporter.account.queries[exporter.account.query_id].truncated = True
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, before=cut_at(SENT)))
    recovered = await exporter.run()
    exporter.clock.advance(24 * 3600)
    straight = await exporter.run()

    assert recovered.message == straight.message
    assert recovered.reason == straight.reason == "ResultTruncated"
    assert recovered.recipients == straight.recipients


@pytest.mark.parametrize("write", [IMPORTING, SENDING])
async def test_a_test_is_dropped_after_a_crash_before_its_send(exporter: Exporter, write: int) -> None:
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, before=cut_at(write)), trigger="Test")
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Failed", "Interrupted")
    assert not exporter.mailed()


async def test_a_test_that_may_have_been_sent_is_looked_up(exporter: Exporter) -> None:
    with pytest.raises(PowerCut):
        await exporter.ended(WatchedJournal(exporter.path, before=cut_at(SENT)), trigger="Test")
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Succeeded", "TestDelivered")
    assert exporter.mailed() == SIX


# Cancellations


BEFORE_THE_SEND = ["nexthink.token", "nexthink.execute", "qualtrics.token", "qualtrics.create_batch"]
BEFORE_THE_SEND += ["qualtrics.import_contacts", "qualtrics.import_status"]


@pytest.mark.parametrize("operation", BEFORE_THE_SEND)
@pytest.mark.parametrize("hold", ["before", "after"])
async def test_a_cancellation_before_the_send_leaves_everything_to_the_next_start(
    exporter: Exporter, operation: str, hold: str
) -> None:
    exporter.faults.add(operation, hold=hold)
    async with started(exporter) as task:
        await exporter.faults.reached(operation)
        task.cancel()
        assert await cancelled(task)
    assert step_left(exporter) == ("Importing" if "import" in operation else "Claimed")

    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == SIX


@pytest.mark.parametrize("hold", ["before", "after"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancellation_during_the_send_waits_for_the_answer(exporter: Exporter, hold: str, times: int) -> None:
    exporter.fault("create_distribution", hold=hold)
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        exporter.faults.release()
        assert await cancelled(task)

    assert exporter.mailed() == SIX
    with exporter.open() as journal:
        assert [entry.result for entry in journal.history] == ["Succeeded"]
        assert journal.current() is None


async def test_a_refusal_during_a_cancellation_is_written_down(exporter: Exporter) -> None:
    exporter.fault("create_distribution", hold="before", status=400)
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        task.cancel()
        exporter.faults.release()
        assert await cancelled(task)

    with exporter.open() as journal:
        assert [(entry.result, entry.reason) for entry in journal.history] == [("Failed", "SendRefused")]


@pytest.mark.parametrize(("hold", "result"), [("before", "Unknown"), ("after", "Succeeded")])
async def test_a_reply_that_is_lost_during_a_cancellation_is_looked_up_by_the_next_start(
    exporter: Exporter, hold: str, result: str
) -> None:
    exporter.fault("create_distribution", hold=hold)
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        task.cancel()
        await asyncio.sleep(0)
        exporter.faults.release(drop=True)
        assert await cancelled(task)
    assert step_left(exporter) == "Sending"

    assert (await exporter.run()).result == result
    assert set(exporter.mailed().values()) <= {1}
    assert exporter.count("create_distribution") == 1


class StillClock(HastyClock):
    """Stands still when told."""

    still: Callable[[], bool] = staticmethod(lambda: False)

    async def sleep(self, seconds: float) -> None:
        if seconds > 1 and self.still():
            await SteeredClock.sleep(self, seconds)
        else:
            await super().sleep(seconds)


class TestWithTimeStandingStill:
    @pytest.fixture
    def clock(self) -> StillClock:
        return StillClock(start=START)

    @pytest.mark.parametrize(
        ("order", "result"),
        [({"drop": "before"}, "Unknown"), ({"status": 429, "headers": {"Retry-After": "60"}}, "Succeeded")],
    )
    async def test_a_wait_after_the_send_can_be_cancelled(
        self, exporter: Exporter, clock: StillClock, order: dict[str, Any], result: str
    ) -> None:
        clock.still = lambda: exporter.count("create_distribution") > 0
        exporter.fault("create_distribution", **order)
        async with started(exporter) as task:
            await clock.asleep()
            task.cancel()
            assert await cancelled(task)
        assert step_left(exporter) == "Sending"

        clock.still = lambda: False
        assert (await exporter.run()).result == result
        assert exporter.count("create_distribution") == (1 if result == "Unknown" else 2)


async def test_a_held_back_cancellation_belongs_to_who_asked_for_it() -> None:
    done = asyncio.Event()

    async def work() -> str:
        await asyncio.sleep(0.02)
        done.set()
        return "done"

    async def patient() -> None:
        async with asyncio.timeout(0.001):
            assert await shield_until_done(work()) == "done"
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await patient()
    assert done.is_set()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


# What the journal says at the send


class EditedJournal(WatchedJournal):
    """Somebody touched the exporter just before its send."""

    error: Exception = Abandoned()

    async def write_sending(self, run: ActiveRun) -> None:
        raise self.error


async def test_a_run_of_a_suspended_exporter_is_skipped(exporter: Exporter) -> None:
    journal = EditedJournal(exporter.path)
    journal.error = SuspendedMeanwhile()
    entry = (await exporter.ended(journal)).entry

    assert (entry.result, entry.reason) == ("Skipped", "Suspended")
    assert not exporter.mailed()


@pytest.mark.parametrize("error", [SpecChanged(), Abandoned()])
async def test_a_run_that_was_lost_or_changed_ends_without_a_word(exporter: Exporter, error: Exception) -> None:
    journal = EditedJournal(exporter.path)
    journal.error = error
    with pytest.raises(type(error)):
        await exporter.ended(journal)

    assert step_left(exporter) == "Importing"
    assert exporter.count("create_distribution") == 0


async def test_a_run_that_somebody_else_takes_over_sends_nothing(exporter: Exporter) -> None:
    exporter.fault("import_contacts", hold="after")
    journal = exporter.open()
    async with started(exporter, journal) as task:
        await exporter.faults.reached("qualtrics.import_contacts")
        run = journal.current()
        assert run
        await journal.claim(run.model_copy(update={"holder": new_holder(), "attempt": 2}))
        exporter.faults.release()
        with pytest.raises(Abandoned):
            await task

    assert exporter.count("create_distribution") == 0


async def test_a_run_that_somebody_else_takes_over_during_its_send_leaves_the_rest_to_them(exporter: Exporter) -> None:
    exporter.fault("create_distribution", hold="after")
    journal = WatchedJournal(exporter.path)
    async with started(exporter, journal) as task:
        await exporter.faults.reached("qualtrics.create_distribution")
        run = journal.current()
        assert run
        await journal.claim(run.model_copy(update={"holder": new_holder(), "attempt": 2}))
        exporter.faults.release()
        with pytest.raises(Abandoned):
            await task

    assert step_left(exporter) == "Sending"
    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == SIX


# Errors without a name


async def test_an_unexpected_error_while_looking_up_is_no_failure(
    exporter: Exporter, clock: HastyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(seconds: float) -> None:
        if exporter.count("list_distributions"):
            raise RuntimeError
        await HastyClock.sleep(clock, seconds)

    monkeypatch.setattr(clock, "sleep", broken)
    exporter.account.list_lag_seconds = 30
    exporter.fault("create_distribution", drop="after")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Unknown", "DeliveryUnknown")


async def test_an_unexpected_error_before_the_send_is_told_without_its_text(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError("eva@example.com is too much")

    monkeypatch.setattr(steps, "run_query", broken)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "InternalError")
    assert "ValueError" in entry.message
    assert "ValueError at run.py" in caplog.text
    assert "example.com" not in entry.message + caplog.text + str(caplog.records)


async def test_an_unexpected_error_after_the_send_is_looked_up(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = QualtricsClient.send

    async def broken(self: QualtricsClient, distribution: Distribution) -> str:
        await send(self, distribution)
        raise RuntimeError

    monkeypatch.setattr(QualtricsClient, "send", broken)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX


@pytest.mark.parametrize(("error", "level"), [(OSError, "ERROR"), (NotWritten, "WARNING")])
async def test_a_journal_that_stumbles_once_after_the_send_changes_nothing(
    exporter: Exporter, caplog: pytest.LogCaptureFixture, error: type[Exception], level: str
) -> None:
    def before(number: int) -> None:
        if number == SENT:
            raise error

    entry = (await exporter.ended(WatchedJournal(exporter.path, before=before))).entry

    assert entry.result == "Succeeded"
    assert entry.distribution_id
    assert exporter.mailed() == SIX
    assert [record.levelname for record in caplog.records if "that the survey was sent" in record.message] == [level]
