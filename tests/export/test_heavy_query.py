"""A query that Nexthink fails to execute, and that an export answers."""

from datetime import timedelta

import pytest

from qualtrics_exporter.export.checks import check
from qualtrics_exporter.export.dry_test import dry_test
from qualtrics_exporter.export.heavy_query import (
    DOUBTFUL_FOR,
    EXECUTE_AGAIN_AFTER,
    LASTS_AFTER,
    begins_with_export,
    remembered,
    to_be_tried_again,
)
from qualtrics_exporter.export.journal import Ended, ResultSource
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.remote.failures import ResponseLost
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.resource.status import HeavyQuery
from tests.export.conftest import START, Exporter, taken
from tests.export.test_run import nobody

EXECUTE, EXPORT, DOWNLOAD = "nexthink.execute", "nexthink.export", "nexthink.download"


@pytest.fixture(params=[{"status": 500}, {"status": 503}, {"status": 504}, {"drop": "before"}, {"truncate": 20}])
def heavy(request: pytest.FixtureRequest, exporter: Exporter) -> None:
    """Nexthink never executes the query."""
    exporter.faults.add(EXECUTE, times=None, **request.param)


def counted(exporter: Exporter, *operations: str) -> list[int]:
    """How often Nexthink was asked for these."""
    return [exporter.sandbox.ledger.count(operation) for operation in operations]


@pytest.mark.usefixtures("heavy")
async def test_it_is_sent_from_an_export_in_the_same_run(exporter: Exporter) -> None:
    began = exporter.clock.monotonic()
    ended = await exporter.ended()

    assert (ended.entry.result, ended.entry.reason) == ("Succeeded", "QueryNotCompared")
    assert "It is unknown whether Nexthink ran the query that is in the spec." in ended.entry.message
    assert len(exporter.mailed()) == 6
    assert counted(exporter, EXECUTE, EXPORT, DOWNLOAD) == [3, 1, 1]
    assert ended.query
    assert ended.query.in_sync is None
    assert "so the result comes from an export" in ended.query.message
    assert exporter.clock.monotonic() - began < 60


FAILURES: list[dict[str, object]] = [
    {"status": 500},
    {"status": 502},
    {"status": 503},
    {"drop": "before"},
    {"truncate": 20},
]


@pytest.mark.parametrize("fault", FAILURES)
async def test_a_failure_that_can_pass_is_remembered_for_a_day(exporter: Exporter, fault: dict[str, object]) -> None:
    exporter.faults.add(EXECUTE, times=3, **fault)
    ended = await exporter.ended()

    assert ended.entry.reason == "QueryNotCompared"
    assert ended.begin_with == "Export"


async def test_a_time_limit_is_remembered_for_days(exporter: Exporter) -> None:
    exporter.faults.add(EXECUTE, times=3, status=504)
    assert (await exporter.ended()).begin_with == "ExportForDays"


LATE = ResponseLost("no complete response arrived within 20 s", timed_out=True)


@pytest.mark.parametrize(
    ("tries", "begin_with"),
    [
        ((LATE, LATE, LATE), "ExportForDays"),
        ((LATE, 504, LATE), "ExportForDays"),
        ((LATE, 503, LATE), "Export"),
        ((503, 503, 504), "Export"),
        ((LATE, LATE, ResponseLost("the connection was lost")), "Export"),
    ],
)
async def test_a_time_limit_is_one_of_all_tries(
    exporter: Exporter, tries: tuple[ResponseLost | int, ...], begin_with: str
) -> None:
    """It does not matter whether it is that of Nexthink or of the operator."""
    left = list(tries)
    wire = exporter.clients.nexthink._session._context.transport
    exchange = wire.exchange

    async def failing(request: Request) -> Response:
        if request.operation != "execute":
            return await exchange(request)
        failed = left.pop(0)
        if isinstance(failed, ResponseLost):
            raise failed
        return Response(failed, {}, b"")

    wire.exchange = failing  # type: ignore[method-assign]
    assert (await exporter.ended()).begin_with == begin_with
    assert not left


@pytest.mark.parametrize("fault", [*FAILURES, {"status": 504}])
async def test_after_an_export_that_fails_too_nothing_is_remembered(
    exporter: Exporter, fault: dict[str, object]
) -> None:
    exporter.faults.add(EXECUTE, times=3, **fault)
    exporter.faults.add(EXPORT, status=503, times=None)
    ended = await exporter.ended()

    assert ended.entry.result == "Failed"
    assert remembered(None, ended.begin_with, 7, exporter.clock.now(), drifted=False) is None


async def run_with_journal(exporter: Exporter) -> Ended:
    """One run of the same exporter, with the journal file that it keeps."""
    with exporter.open() as journal:
        first = begins_with_export(exporter.spec.nexthink, journal.heavy_query, 7, exporter.clock.now())
        run = (await taken(journal, exporter.clock)).model_copy(update={"generation": 7})
        await journal.write(run)
        return await execute(run, exporter.spec, exporter.clients, journal, exporter.clock, export_first=first)


async def test_a_query_that_has_drifted_is_compared_each_time(exporter: Exporter) -> None:
    """Even a query that meets the time limit: only an execution shows when the drift is over."""
    query = exporter.people(["ana@example.com"])
    right, query.executed = query.executed, "users | list ad.email_address"
    assert (await run_with_journal(exporter)).entry.reason == "QueryDrift"
    for _ in range(2):
        exporter.clock.advance(86_400)
        exporter.faults.add(EXECUTE, times=3, status=504)
        assert (await run_with_journal(exporter)).entry.reason == "QueryNotCompared"
        exporter.clock.advance(86_400)
        assert (await run_with_journal(exporter)).entry.reason == "QueryDrift"
    query.executed = right
    exporter.clock.advance(86_400)
    assert (await run_with_journal(exporter)).entry.reason == "Succeeded"
    exporter.faults.add(EXECUTE, times=3, status=504)
    exporter.clock.advance(86_400)
    assert (await run_with_journal(exporter)).begin_with == "ExportForDays"
    with exporter.open() as journal:
        assert journal.heavy_query


async def test_runs_without_a_cluster_do_not_wait_each_time_for_a_failure_that_stays(exporter: Exporter) -> None:
    """Weekly runs: the second one tries again, because an outage may have passed. It has not, so the third one waits
    no more."""
    exporter.faults.add(EXECUTE, status=503, times=None)
    for executions in (3, 6, 6, 9, 9):
        assert (await run_with_journal(exporter)).entry.result == "Succeeded"
        assert counted(exporter, EXECUTE) == [executions]
        exporter.clock.advance(7 * 86_400)


async def test_after_a_short_outage_the_next_weekly_run_compares(exporter: Exporter) -> None:
    exporter.faults.add(EXECUTE, status=503, times=3)
    assert (await run_with_journal(exporter)).entry.reason == "QueryNotCompared"
    exporter.clock.advance(3600)
    assert (await run_with_journal(exporter)).entry.reason == "QueryNotCompared"
    assert counted(exporter, EXECUTE) == [3]
    exporter.clock.advance(7 * 86_400)
    assert (await run_with_journal(exporter)).entry.reason == "Succeeded"
    with exporter.open() as journal:
        assert journal.heavy_query is None


async def test_a_run_that_begins_with_the_export_never_executes(exporter: Exporter) -> None:
    ended = await exporter.ended(export_first=True)

    assert ended.entry.result == "Succeeded"
    assert counted(exporter, EXECUTE, EXPORT) == [0, 1]
    assert ended.begin_with is None
    assert ended.query
    assert "status.heavyQuery" in ended.query.message


async def test_an_export_that_fails_is_forgotten(exporter: Exporter) -> None:
    exporter.faults.add(EXPORT, status=503, times=None)
    ended = await exporter.ended(export_first=True)

    assert (ended.entry.result, ended.entry.reason) == ("Failed", "RemoteUnavailable")
    assert ended.begin_with == "Execute"


@pytest.mark.usefixtures("heavy")
async def test_hold_holds_it_and_says_what_to_do(exporter: Exporter) -> None:
    exporter.change("nexthink", drift_policy="Hold")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Held", "QueryNotCompared")
    assert "Set it to Warn, or make the query lighter" in entry.message
    assert nobody(exporter)


async def test_with_hold_a_short_outage_does_not_hold(exporter: Exporter) -> None:
    exporter.change("nexthink", drift_policy="Hold")
    exporter.faults.add(EXECUTE, status=503, times=4)
    assert (await exporter.run()).result == "Succeeded"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"status": 400}, "QueryRefused"),
        ({"status": 403}, "QueryNotPermitted"),
        ({"status": 404}, "QueryNotFound"),
        ({"status": 422}, "QueryRefused"),
        ({"status": 429}, "RateLimited"),
        ({"body": "<html>"}, "RemoteReplyInvalid"),
    ],
)
async def test_an_answer_is_not_a_reason_for_an_export(
    exporter: Exporter, order: dict[str, object], reason: str
) -> None:
    exporter.faults.add(EXECUTE, times=None, **order)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", reason)
    assert counted(exporter, EXPORT) == [0]


async def test_a_host_that_cannot_be_reached_is_not_a_reason_for_an_export(exporter: Exporter) -> None:
    await exporter.clients.nexthink.check_credentials()
    await exporter.sandbox.close_port("nexthink")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RemoteUnavailable")
    assert "request to export" not in entry.message
    assert "export query" not in entry.message


@pytest.mark.parametrize("people", [6, 1500])
async def test_who_chooses_the_export_gets_it(exporter: Exporter, people: int) -> None:
    exporter.many(people)
    exporter.change("nexthink", result_source="Export")
    ended = await exporter.ended()

    assert ended.entry.result == "Succeeded"
    assert len(exporter.mailed()) == people
    assert counted(exporter, EXECUTE, EXPORT) == [0, 1]
    assert ended.query
    assert ended.query.message.startswith("spec.nexthink.resultSource is Export")


async def test_an_export_of_several_fields_is_refused_even_without_rows(exporter: Exporter) -> None:
    exporter.change("nexthink", result_source="Export")
    query = exporter.people([])
    query.columns = ["user.name", "user.ad.email_address"]
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "QueryReturnsSeveralFields")


@pytest.mark.usefixtures("heavy")
async def test_a_delivering_test_takes_in_20_people_of_the_export(exporter: Exporter) -> None:
    exporter.many(3000)
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Succeeded", "QueryNotCompared")
    assert len(exporter.mailed()) == 20


@pytest.mark.usefixtures("heavy")
async def test_a_check_begins_an_export_and_does_not_read_it(exporter: Exporter) -> None:
    checks = await check(exporter.spec, exporter.clients)

    assert checks.error is None
    assert counted(exporter, EXPORT, "nexthink.status", DOWNLOAD) == [1, 0, 0]
    assert checks.query_sync
    assert checks.query_sync.in_sync is None
    assert checks.answer
    assert not checks.answer.read


@pytest.mark.usefixtures("heavy")
async def test_a_dry_test_counts_the_people_of_the_export(exporter: Exporter) -> None:
    exporter.many(2500)
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.result, entry.reason) == ("Succeeded", "TestPassed")
    assert entry.recipients
    assert entry.recipients.accepted == 2500
    assert not exporter.sandbox.ledger.batches


async def test_a_hanging_execution_is_given_up_after_short_tries(exporter: Exporter) -> None:
    """The limit of one try is a part of the request: how long a socket may take is real time."""
    seen: list[float | None] = []
    wire = exporter.clients.nexthink._session._context.transport
    exchange = wire.exchange

    async def noted(request: object) -> object:
        if getattr(request, "operation", "") == "execute":
            seen.append(getattr(request, "seconds", None))
        return await exchange(request)  # type: ignore[arg-type]

    wire.exchange = noted  # type: ignore[method-assign, assignment]
    await exporter.run()
    exporter.change("nexthink", drift_policy="Hold")
    await exporter.run()
    assert seen == [20.0, None]


async def test_the_journal_file_remembers_it(exporter: Exporter) -> None:
    exporter.faults.add(EXECUTE, status=504, times=None)
    with exporter.open() as journal:
        run = (await taken(journal, exporter.clock)).model_copy(update={"generation": 7})
        await journal.write(run)
        await execute(run, exporter.spec, exporter.clients, journal, exporter.clock)
    with exporter.open() as journal:
        kept = journal.heavy_query
    assert kept
    assert kept.generation == 7
    assert begins_with_export(exporter.spec.nexthink, kept, 7, exporter.clock.now())


SEEN = HeavyQuery(generation=3, execute_time=START)
LASTS = HeavyQuery(generation=3, execute_time=START, lasting=True)


@pytest.mark.parametrize(
    ("generation", "later", "expected", "lasting"),
    [
        (3, timedelta(), True, True),
        (3, DOUBTFUL_FOR - timedelta(seconds=1), True, True),
        (3, DOUBTFUL_FOR, False, True),
        (3, timedelta(days=7, hours=1), False, True),
        (3, EXECUTE_AGAIN_AFTER - timedelta(seconds=1), False, True),
        (3, EXECUTE_AGAIN_AFTER, False, False),
        (4, timedelta(), False, False),
        (None, timedelta(), False, False),
        (3, -timedelta(seconds=1), False, False),
    ],
)
def test_it_is_remembered_for_this_spec_and_for_a_time(
    exporter: Exporter, generation: int | None, later: timedelta, expected: bool, lasting: bool
) -> None:
    assert begins_with_export(exporter.spec.nexthink, SEEN, generation, START + later) is expected
    assert begins_with_export(exporter.spec.nexthink, LASTS, generation, START + later) is lasting


@pytest.mark.parametrize(
    ("heavy", "generation", "later", "expected"),
    [
        (None, 3, timedelta(), False),
        (SEEN, 3, timedelta(), True),
        (SEEN, 4, timedelta(), False),
        (LASTS, 3, timedelta(), False),
        (LASTS, 3, EXECUTE_AGAIN_AFTER - timedelta(seconds=1), False),
        (LASTS, 3, EXECUTE_AGAIN_AFTER, True),
        (LASTS, 3, -timedelta(seconds=1), True),
    ],
)
def test_a_check_tries_again_what_may_have_passed(
    exporter: Exporter, heavy: HeavyQuery | None, generation: int, later: timedelta, expected: bool
) -> None:
    assert to_be_tried_again(exporter.spec.nexthink, heavy, generation, START + later) is expected
    exporter.change("nexthink", drift_policy="Hold")
    assert not to_be_tried_again(exporter.spec.nexthink, heavy, generation, START + later), "each run does"


@pytest.mark.parametrize("heavy", [SEEN, LASTS])
def test_hold_never_begins_with_an_export(exporter: Exporter, heavy: HeavyQuery) -> None:
    exporter.change("nexthink", drift_policy="Hold")
    assert not begins_with_export(exporter.spec.nexthink, heavy, 3, START)


@pytest.mark.parametrize(("learnt", "lasting"), [("Export", None), ("ExportForDays", True)])
def test_what_is_remembered_goes_with_its_reason(learnt: ResultSource, lasting: bool | None) -> None:
    later = START + timedelta(hours=1)
    fresh = HeavyQuery(generation=3, execute_time=later, lasting=lasting)
    assert remembered(None, learnt, 3, later, drifted=False) == fresh
    assert remembered(LASTS, learnt, 4, later, drifted=False) == fresh.model_copy(update={"generation": 4})
    for heavy in (SEEN, LASTS):
        assert remembered(heavy, "Execute", 3, later, drifted=False) is None
        assert remembered(heavy, None, 3, later, drifted=False) == heavy
        assert remembered(heavy, None, 4, later, drifted=False) is None


@pytest.mark.parametrize(
    ("before", "later", "expected"),
    [
        (SEEN, timedelta(), SEEN),
        (SEEN, LASTS_AFTER - timedelta(seconds=1), SEEN),
        (SEEN, LASTS_AFTER, LASTS),
        (SEEN, timedelta(days=30), LASTS),
        (SEEN, -timedelta(days=1), SEEN),
        (LASTS, timedelta(), LASTS),
        (LASTS, timedelta(days=9), LASTS),
    ],
)
def test_a_failure_that_is_there_hours_later_lasts(before: HeavyQuery, later: timedelta, expected: HeavyQuery) -> None:
    now = START + later
    got = remembered(before, "Export", 3, now, drifted=False)
    kept = before.lasting is None and timedelta(0) <= later < LASTS_AFTER
    assert got == expected.model_copy(update={"execute_time": START if kept else now})


@pytest.mark.parametrize("learnt", ["Export", "ExportForDays", "Execute", None])
def test_nothing_is_remembered_of_a_query_that_has_drifted(learnt: ResultSource | None) -> None:
    assert remembered(SEEN, learnt, 3, START, drifted=True) is None
