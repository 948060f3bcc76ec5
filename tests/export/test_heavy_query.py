"""A query that Nexthink cannot execute is exported instead."""

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
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.remote.failures import ResponseLost
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.resource.status import HeavyQuery
from tests.export.conftest import START, Exporter, claim_run
from tests.export.test_run import nothing_created

EXECUTE, EXPORT, DOWNLOAD = "nexthink.execute", "nexthink.export", "nexthink.download"


@pytest.fixture(params=[{"status": 500}, {"status": 503}, {"status": 504}, {"drop": "before"}, {"truncate": 20}])
def failing_execution(request: pytest.FixtureRequest, exporter: Exporter) -> None:
    """Let every execution of the query fail."""
    exporter.faults.add(EXECUTE, times=None, **request.param)


def call_counts(exporter: Exporter, *operations: str) -> list[int]:
    return [exporter.sandbox.recorder.count(operation) for operation in operations]


@pytest.mark.usefixtures("failing_execution")
async def test_query_that_cannot_be_executed_is_exported_in_the_same_run(exporter: Exporter) -> None:
    start = exporter.clock.monotonic()
    ended = await exporter.execute()

    assert (ended.entry.result, ended.entry.reason) == ("Succeeded", "QueryNotCompared")
    assert "It is unknown whether Nexthink ran the query that is in the spec." in ended.entry.message
    assert len(exporter.mailed()) == 6
    assert call_counts(exporter, EXECUTE, EXPORT, DOWNLOAD) == [3, 1, 1]
    assert ended.query
    assert ended.query.in_sync is None
    assert "so the result comes from an export" in ended.query.message
    assert exporter.clock.monotonic() - start < 60


FAILURES: list[dict[str, object]] = [
    {"status": 500},
    {"status": 502},
    {"status": 503},
    {"drop": "before"},
    {"truncate": 20},
]


@pytest.mark.parametrize("fault", FAILURES)
async def test_temporary_failure_of_the_execution_is_remembered_for_a_day(
    exporter: Exporter, fault: dict[str, object]
) -> None:
    exporter.faults.add(EXECUTE, times=3, **fault)
    ended = await exporter.execute()

    assert ended.entry.reason == "QueryNotCompared"
    assert ended.begin_with == "Export"


async def test_timeout_of_the_execution_is_remembered_for_days(exporter: Exporter) -> None:
    exporter.faults.add(EXECUTE, times=3, status=504)
    assert (await exporter.execute()).begin_with == "ExportForDays"


TIMED_OUT = ResponseLost("no complete response arrived within 20 s", timed_out=True)


@pytest.mark.parametrize(
    ("attempts", "begin_with"),
    [
        ((TIMED_OUT, TIMED_OUT, TIMED_OUT), "ExportForDays"),
        ((TIMED_OUT, 504, TIMED_OUT), "ExportForDays"),
        ((TIMED_OUT, 503, TIMED_OUT), "Export"),
        ((503, 503, 504), "Export"),
        ((TIMED_OUT, TIMED_OUT, ResponseLost("the connection was lost")), "Export"),
    ],
)
async def test_execution_counts_as_timed_out_only_if_every_attempt_timed_out(
    exporter: Exporter, attempts: tuple[ResponseLost | int, ...], begin_with: str
) -> None:
    """The timeout can be that of Nexthink (504) or of the operator."""
    remaining = list(attempts)
    transport = exporter.clients.nexthink._session._context.transport
    exchange = transport.exchange

    async def failing(request: Request) -> Response:
        if request.operation != "execute":
            return await exchange(request)
        failure = remaining.pop(0)
        if isinstance(failure, ResponseLost):
            raise failure
        return Response(failure, {}, b"")

    transport.exchange = failing  # type: ignore[method-assign]
    assert (await exporter.execute()).begin_with == begin_with
    assert not remaining


@pytest.mark.parametrize("fault", [*FAILURES, {"status": 504}])
async def test_nothing_is_remembered_if_the_export_fails_too(exporter: Exporter, fault: dict[str, object]) -> None:
    exporter.faults.add(EXECUTE, times=3, **fault)
    exporter.faults.add(EXPORT, status=503, times=None)
    ended = await exporter.execute()

    assert ended.entry.result == "Failed"
    assert remembered(None, ended.begin_with, 7, exporter.clock.now(), drifted=False) is None


async def run_with_journal(exporter: Exporter) -> Ended:
    """Run the same exporter again with the same journal file."""
    with exporter.open_journal() as journal:
        first = begins_with_export(exporter.spec.nexthink, journal.heavy_query, 7, exporter.clock.now())
        run = (await claim_run(journal, exporter.clock)).model_copy(update={"generation": 7})
        await journal.write(run)
        return await execute(
            RunContext(run, exporter.spec, exporter.clients, journal, exporter.clock, export_first=first)
        )


async def test_drifted_query_is_executed_in_each_run_until_it_is_in_sync(exporter: Exporter) -> None:
    """This also applies to a query that times out, because only an execution shows that the drift has ended."""
    query = exporter.set_people(["ana@example.com"])
    correct, query.executed = query.executed, "users | list ad.email_address"
    assert (await run_with_journal(exporter)).entry.reason == "QueryDrift"
    for _ in range(2):
        exporter.clock.advance(86_400)
        exporter.faults.add(EXECUTE, times=3, status=504)
        assert (await run_with_journal(exporter)).entry.reason == "QueryNotCompared"
        exporter.clock.advance(86_400)
        assert (await run_with_journal(exporter)).entry.reason == "QueryDrift"
    query.executed = correct
    exporter.clock.advance(86_400)
    assert (await run_with_journal(exporter)).entry.reason == "Succeeded"
    exporter.faults.add(EXECUTE, times=3, status=504)
    exporter.clock.advance(86_400)
    assert (await run_with_journal(exporter)).begin_with == "ExportForDays"
    with exporter.open_journal() as journal:
        assert journal.heavy_query


async def test_runs_without_a_cluster_do_not_always_repeat_a_failing_execution(exporter: Exporter) -> None:
    """The second weekly run executes the query again, because an outage may have ended. It has not, so the third run
    begins with the export."""
    exporter.faults.add(EXECUTE, status=503, times=None)
    for executions in (3, 6, 6, 9, 9):
        assert (await run_with_journal(exporter)).entry.result == "Succeeded"
        assert call_counts(exporter, EXECUTE) == [executions]
        exporter.clock.advance(7 * 86_400)


async def test_next_weekly_run_compares_the_query_after_a_short_outage(exporter: Exporter) -> None:
    exporter.faults.add(EXECUTE, status=503, times=3)
    assert (await run_with_journal(exporter)).entry.reason == "QueryNotCompared"
    exporter.clock.advance(3600)
    assert (await run_with_journal(exporter)).entry.reason == "QueryNotCompared"
    assert call_counts(exporter, EXECUTE) == [3]
    exporter.clock.advance(7 * 86_400)
    assert (await run_with_journal(exporter)).entry.reason == "Succeeded"
    with exporter.open_journal() as journal:
        assert journal.heavy_query is None


async def test_run_that_begins_with_the_export_does_not_execute_the_query(exporter: Exporter) -> None:
    ended = await exporter.execute(export_first=True)

    assert ended.entry.result == "Succeeded"
    assert call_counts(exporter, EXECUTE, EXPORT) == [0, 1]
    assert ended.begin_with is None
    assert ended.query
    assert "status.heavyQuery" in ended.query.message


async def test_next_run_executes_the_query_again_if_the_export_failed(exporter: Exporter) -> None:
    exporter.faults.add(EXPORT, status=503, times=None)
    ended = await exporter.execute(export_first=True)

    assert (ended.entry.result, ended.entry.reason) == ("Failed", "RemoteUnavailable")
    assert ended.begin_with == "Execute"


@pytest.mark.usefixtures("failing_execution")
async def test_drift_policy_hold_holds_a_query_that_cannot_be_executed_and_says_what_to_do(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", drift_policy="Hold")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Held", "QueryNotCompared")
    assert "Set it to Warn, or make the query lighter" in entry.message
    assert nothing_created(exporter)


async def test_drift_policy_hold_does_not_hold_a_run_after_a_short_outage(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", drift_policy="Hold")
    exporter.faults.add(EXECUTE, status=503, times=4)
    assert (await exporter.run()).result == "Succeeded"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 400}, "QueryRefused"),
        ({"status": 403}, "QueryNotPermitted"),
        ({"status": 404}, "QueryNotFound"),
        ({"status": 422}, "QueryRefused"),
        ({"status": 429}, "RateLimited"),
        ({"body": "<html>"}, "RemoteReplyInvalid"),
    ],
)
async def test_execution_that_is_refused_fails_the_run_without_an_export(
    exporter: Exporter, fault: dict[str, object], reason: str
) -> None:
    exporter.faults.add(EXECUTE, times=None, **fault)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", reason)
    assert call_counts(exporter, EXPORT) == [0]


async def test_unreachable_host_fails_the_run_without_an_export(exporter: Exporter) -> None:
    await exporter.clients.nexthink.check_credentials()
    await exporter.sandbox.close_port("nexthink")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RemoteUnavailable")
    assert "request to export" not in entry.message
    assert "export query" not in entry.message


@pytest.mark.parametrize("people", [6, 1500])
async def test_result_source_export_never_executes_the_query(exporter: Exporter, people: int) -> None:
    exporter.set_people_count(people)
    exporter.change_spec("nexthink", result_source="Export")
    ended = await exporter.execute()

    assert ended.entry.result == "Succeeded"
    assert len(exporter.mailed()) == people
    assert call_counts(exporter, EXECUTE, EXPORT) == [0, 1]
    assert ended.query
    assert ended.query.message.startswith("spec.nexthink.resultSource is Export")


async def test_run_fails_if_an_export_without_rows_has_several_fields(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", result_source="Export")
    query = exporter.set_people([])
    query.columns = ["user.name", "user.ad.email_address"]
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "QueryReturnsSeveralFields")


@pytest.mark.usefixtures("failing_execution")
async def test_delivering_test_mails_20_people_of_the_export(exporter: Exporter) -> None:
    exporter.set_people_count(3000)
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Succeeded", "QueryNotCompared")
    assert len(exporter.mailed()) == 20


@pytest.mark.usefixtures("failing_execution")
async def test_check_starts_an_export_and_does_not_read_it(exporter: Exporter) -> None:
    checks = await check(exporter.spec, exporter.clients)

    assert checks.error is None
    assert call_counts(exporter, EXPORT, "nexthink.status", DOWNLOAD) == [1, 0, 0]
    assert checks.query_sync
    assert checks.query_sync.in_sync is None
    assert checks.answer
    assert not checks.answer.read


@pytest.mark.usefixtures("failing_execution")
async def test_dry_test_counts_the_people_of_the_export(exporter: Exporter) -> None:
    exporter.set_people_count(2500)
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.result, entry.reason) == ("Succeeded", "TestPassed")
    assert entry.recipients
    assert entry.recipients.accepted == 2500
    assert not exporter.sandbox.recorder.batches


async def test_execution_has_a_short_timeout_unless_the_drift_policy_is_hold(exporter: Exporter) -> None:
    """The test reads the timeout from the request, because timeouts of sockets use real time."""
    timeouts: list[float | None] = []
    transport = exporter.clients.nexthink._session._context.transport
    exchange = transport.exchange

    async def recorded(request: object) -> object:
        if getattr(request, "operation", "") == "execute":
            timeouts.append(getattr(request, "seconds", None))
        return await exchange(request)  # type: ignore[arg-type]

    transport.exchange = recorded  # type: ignore[method-assign, assignment]
    await exporter.run()
    exporter.change_spec("nexthink", drift_policy="Hold")
    await exporter.run()
    assert timeouts == [20.0, None]


async def test_journal_file_remembers_the_heavy_query(exporter: Exporter) -> None:
    exporter.faults.add(EXECUTE, status=504, times=None)
    with exporter.open_journal() as journal:
        run = (await claim_run(journal, exporter.clock)).model_copy(update={"generation": 7})
        await journal.write(run)
        await execute(RunContext(run, exporter.spec, exporter.clients, journal, exporter.clock))
    with exporter.open_journal() as journal:
        remembered_query = journal.heavy_query
    assert remembered_query
    assert remembered_query.generation == 7
    assert begins_with_export(exporter.spec.nexthink, remembered_query, 7, exporter.clock.now())


TEMPORARY = HeavyQuery(generation=3, execute_time=START)
LASTING = HeavyQuery(generation=3, execute_time=START, lasting=True)


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
def test_heavy_query_is_remembered_for_one_generation_and_a_limited_time(
    exporter: Exporter, generation: int | None, later: timedelta, expected: bool, lasting: bool
) -> None:
    assert begins_with_export(exporter.spec.nexthink, TEMPORARY, generation, START + later) is expected
    assert begins_with_export(exporter.spec.nexthink, LASTING, generation, START + later) is lasting


@pytest.mark.parametrize(
    ("heavy", "generation", "later", "expected"),
    [
        (None, 3, timedelta(), False),
        (TEMPORARY, 3, timedelta(), True),
        (TEMPORARY, 4, timedelta(), False),
        (LASTING, 3, timedelta(), False),
        (LASTING, 3, EXECUTE_AGAIN_AFTER - timedelta(seconds=1), False),
        (LASTING, 3, EXECUTE_AGAIN_AFTER, True),
        (LASTING, 3, -timedelta(seconds=1), True),
    ],
)
def test_check_repeats_an_execution_whose_failure_may_have_passed(
    exporter: Exporter, heavy: HeavyQuery | None, generation: int, later: timedelta, expected: bool
) -> None:
    assert to_be_tried_again(exporter.spec.nexthink, heavy, generation, START + later) is expected
    exporter.change_spec("nexthink", drift_policy="Hold")
    assert not to_be_tried_again(exporter.spec.nexthink, heavy, generation, START + later), (
        "with Hold, every run executes the query"
    )


@pytest.mark.parametrize("heavy", [TEMPORARY, LASTING])
def test_drift_policy_hold_never_begins_with_an_export(exporter: Exporter, heavy: HeavyQuery) -> None:
    exporter.change_spec("nexthink", drift_policy="Hold")
    assert not begins_with_export(exporter.spec.nexthink, heavy, 3, START)


@pytest.mark.parametrize(("begin_with", "lasting"), [("Export", None), ("ExportForDays", True)])
def test_remembered_heavy_query_depends_on_the_latest_result_and_the_generation(
    begin_with: ResultSource, lasting: bool | None
) -> None:
    later = START + timedelta(hours=1)
    fresh = HeavyQuery(generation=3, execute_time=later, lasting=lasting)
    assert remembered(None, begin_with, 3, later, drifted=False) == fresh
    assert remembered(LASTING, begin_with, 4, later, drifted=False) == fresh.model_copy(update={"generation": 4})
    for heavy in (TEMPORARY, LASTING):
        assert remembered(heavy, "Execute", 3, later, drifted=False) is None
        assert remembered(heavy, None, 3, later, drifted=False) == heavy
        assert remembered(heavy, None, 4, later, drifted=False) is None


@pytest.mark.parametrize(
    ("before", "later", "expected"),
    [
        (TEMPORARY, timedelta(), TEMPORARY),
        (TEMPORARY, LASTS_AFTER - timedelta(seconds=1), TEMPORARY),
        (TEMPORARY, LASTS_AFTER, LASTING),
        (TEMPORARY, timedelta(days=30), LASTING),
        (TEMPORARY, -timedelta(days=1), TEMPORARY),
        (LASTING, timedelta(), LASTING),
        (LASTING, timedelta(days=9), LASTING),
    ],
)
def test_failure_that_repeats_hours_later_is_lasting(
    before: HeavyQuery, later: timedelta, expected: HeavyQuery
) -> None:
    now = START + later
    result = remembered(before, "Export", 3, now, drifted=False)
    unchanged = before.lasting is None and timedelta(0) <= later < LASTS_AFTER
    assert result == expected.model_copy(update={"execute_time": START if unchanged else now})


@pytest.mark.parametrize("begin_with", ["Export", "ExportForDays", "Execute", None])
def test_nothing_is_remembered_of_a_drifted_query(begin_with: ResultSource | None) -> None:
    assert remembered(TEMPORARY, begin_with, 3, START, drifted=True) is None
