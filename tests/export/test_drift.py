"""Drift of a query with a large result.

The rows come from an export, which does not include the query text. So the query is compared before and after it.
"""

import json
from typing import Any

import pytest

from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.sandbox.account import Query
from tests.export.conftest import Exporter
from tests.export.test_run import nothing_created

EXECUTE, EXPORT = "nexthink.execute", "nexthink.export"
LARGE = 1500
OTHER_QUERY = "users | list ad.email_address"


@pytest.fixture(params=["Hold", "Warn"])
def policy(request: pytest.FixtureRequest, exporter: Exporter) -> str:
    """Set this drift policy, and return a large result."""
    exporter.set_people_count(LARGE)
    exporter.change_spec("nexthink", drift_policy=request.param)
    return str(request.param)


def saved_query(exporter: Exporter) -> Query:
    return exporter.account.queries[exporter.account.query_id]


async def run_with_edited_query(exporter: Exporter, **fields: Any) -> Ended:
    """Run, and edit the saved query between its execution and its export."""
    ended: list[Ended] = []

    async def execute(*arguments: Any, **options: Any) -> Any:
        ended.append(await Exporter.execute(exporter, *arguments, **options))
        return ended[0]

    exporter.execute = execute  # type: ignore[method-assign]
    saved = saved_query(exporter)
    await exporter.run_with_change_before(
        EXPORT, lambda: [setattr(saved, name, value) for name, value in fields.items()]
    )
    return ended[0]


def omit_query_text(exporter: Exporter, *, after: int, field: str = "user.ad.email_address") -> None:
    """Let one execution return 1,000 people without the query text, after this number of other executions."""
    body = {"rows": 1000, "data": [{field: f"user{n:06d}@example.com"} for n in range(1, 1001)]}
    exporter.faults.add(EXECUTE, body=json.dumps(body), after=after)


def assert_drift(exporter: Exporter, ended: Ended, policy: str) -> None:
    """The run noticed drift and followed the policy."""
    assert ended.query
    assert not ended.query.in_sync
    assert ended.entry.reason == "QueryDrift"
    assert ended.entry.result == ("Held" if policy == "Hold" else "Succeeded")
    assert nothing_created(exporter) is (policy == "Hold")


def assert_not_compared(exporter: Exporter, ended: Ended, policy: str) -> None:
    """The run could not compare the query and followed the policy."""
    assert ended.query
    assert ended.query.in_sync is None
    assert (ended.entry.result, ended.entry.reason) == (
        ("Held", "QueryNotCompared") if policy == "Hold" else ("Succeeded", "QueryNotCompared")
    )
    assert nothing_created(exporter) is (policy == "Hold")


async def test_query_edited_before_its_export_has_drifted(exporter: Exporter, policy: str) -> None:
    ended = await run_with_edited_query(exporter, executed=OTHER_QUERY)

    assert_drift(exporter, ended, policy)
    assert ended.query
    assert "It was changed while its result was exported." in ended.query.message


async def test_query_corrected_before_its_export_has_drifted(exporter: Exporter, policy: str) -> None:
    correct, saved_query(exporter).executed = saved_query(exporter).executed, OTHER_QUERY
    assert_drift(exporter, await run_with_edited_query(exporter, executed=correct), policy)


@pytest.mark.parametrize("after", [0, 1])
async def test_sync_is_unknown_if_one_execution_omits_the_query_text(
    exporter: Exporter, policy: str, after: int
) -> None:
    omit_query_text(exporter, after=after)
    assert_not_compared(exporter, await exporter.execute(), policy)


async def test_drift_in_one_execution_outweighs_an_execution_without_the_query_text(
    exporter: Exporter, policy: str
) -> None:
    omit_query_text(exporter, after=0)
    assert_drift(exporter, await run_with_edited_query(exporter, executed=OTHER_QUERY), policy)


async def test_different_field_after_the_export_is_drift_even_without_the_query_text(
    exporter: Exporter, policy: str
) -> None:
    omit_query_text(exporter, after=0)
    omit_query_text(exporter, after=0, field="user.name")
    assert_drift(exporter, await exporter.execute(), policy)


async def test_run_fails_if_the_query_returns_several_fields_after_the_export(exporter: Exporter, policy: str) -> None:
    body = {"rows": 1, "data": [{"user.name": "Eva", "user.ad.email_address": "eva@example.com"}]}
    exporter.faults.add(EXECUTE, body=json.dumps(body), after=1)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "QueryReturnsSeveralFields")
    assert nothing_created(exporter)


@pytest.mark.parametrize(("status", "reason"), [(403, "QueryNotPermitted"), (404, "QueryNotFound")])
async def test_run_fails_and_mails_nobody_if_the_second_execution_is_refused(
    exporter: Exporter, policy: str, status: int, reason: str
) -> None:
    exporter.faults.add(EXECUTE, status=status, after=1, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", reason)
    assert nothing_created(exporter)


async def test_sync_is_unknown_if_the_second_execution_times_out(exporter: Exporter, policy: str) -> None:
    exporter.faults.add(EXECUTE, status=504, after=1, times=None)
    assert_not_compared(exporter, await exporter.execute(), policy)


async def test_run_reports_a_truncation_that_only_the_second_execution_shows(exporter: Exporter, policy: str) -> None:
    body = json.dumps({"rows": 0, "data": [], "executedQuery": saved_query(exporter).executed})
    exporter.faults.add(EXECUTE, status=206, body=body, after=1)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "ResultTruncated")


async def test_unchanged_query_is_executed_twice_and_in_sync(exporter: Exporter, policy: str) -> None:
    ended = await exporter.execute()

    assert ended.query
    assert ended.query.in_sync
    assert (ended.entry.result, ended.entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.sandbox.recorder.count(EXECUTE) == 2


async def test_run_fails_if_the_export_contains_no_address(exporter: Exporter, policy: str) -> None:
    ended = await run_with_edited_query(exporter, rows=[["S-1-5-21"]] * LARGE)

    assert (ended.entry.result, ended.entry.reason) == ("Failed", "QueryReturnsNoEmail")
    assert nothing_created(exporter)
