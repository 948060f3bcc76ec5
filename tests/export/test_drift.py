"""The rows of a large result come from an export, which does not tell what ran: the query is compared around it."""

import json
from typing import Any

import pytest

from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.sandbox.account import Query
from tests.export.conftest import Exporter
from tests.export.test_run import nobody

EXECUTE, EXPORT = "nexthink.execute", "nexthink.export"
MANY = 1500
OTHER = "users | list ad.email_address"


@pytest.fixture(params=["Hold", "Warn"])
def policy(request: pytest.FixtureRequest, exporter: Exporter) -> str:
    """A large result, with this drift policy."""
    exporter.many(MANY)
    exporter.change("nexthink", drift_policy=request.param)
    return str(request.param)


def query(exporter: Exporter) -> Query:
    """The saved query."""
    return exporter.account.queries[exporter.account.query_id]


async def edited(exporter: Exporter, **fields: Any) -> Ended:
    """A run during which the saved query is edited, between its execution and its export."""
    ended: list[Ended] = []

    async def kept(*given: Any, **how: Any) -> Any:
        ended.append(await Exporter.ended(exporter, *given, **how))
        return ended[0]

    exporter.ended = kept  # type: ignore[method-assign]
    saved = query(exporter)
    await exporter.run_changing(EXPORT, lambda: [setattr(saved, name, value) for name, value in fields.items()])
    return ended[0]


def answered(exporter: Exporter, *, after: int, field: str = "user.ad.email_address", **more: Any) -> None:
    """Let an execution be answered like this; `after` so many."""
    body = {"rows": 1000, "data": [{field: f"user{n:06d}@example.com"} for n in range(1, 1001)], **more}
    exporter.faults.add(EXECUTE, body=json.dumps(body), after=after)


def judged(exporter: Exporter, ended: Ended, policy: str) -> None:
    """See that drift was noticed, and acted on as the policy says."""
    assert ended.query
    assert not ended.query.in_sync
    assert ended.entry.reason == "QueryDrift"
    assert ended.entry.result == ("Held" if policy == "Hold" else "Succeeded")
    assert nobody(exporter) is (policy == "Hold")


def not_compared(exporter: Exporter, ended: Ended, policy: str) -> None:
    """See that it is unknown which query ran, and that this was acted on as the policy says."""
    assert ended.query
    assert ended.query.in_sync is None
    assert (ended.entry.result, ended.entry.reason) == (
        ("Held", "QueryNotCompared") if policy == "Hold" else ("Succeeded", "QueryNotCompared")
    )
    assert nobody(exporter) is (policy == "Hold")


async def test_a_query_that_is_edited_before_its_export_has_drifted(exporter: Exporter, policy: str) -> None:
    ended = await edited(exporter, executed=OTHER)

    judged(exporter, ended, policy)
    assert ended.query
    assert "It was changed while its result was exported." in ended.query.message


async def test_a_query_that_is_corrected_before_its_export_has_drifted(exporter: Exporter, policy: str) -> None:
    right, query(exporter).executed = query(exporter).executed, OTHER
    judged(exporter, await edited(exporter, executed=right), policy)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_query_that_one_answer_does_not_tell_is_unknown(exporter: Exporter, policy: str, after: int) -> None:
    answered(exporter, after=after)
    not_compared(exporter, await exporter.ended(), policy)


async def test_drift_that_one_answer_tells_outweighs_that_the_other_does_not(exporter: Exporter, policy: str) -> None:
    answered(exporter, after=0)
    judged(exporter, await edited(exporter, executed=OTHER), policy)


async def test_another_field_after_the_export_is_drift_even_if_no_query_is_told(
    exporter: Exporter, policy: str
) -> None:
    answered(exporter, after=0)
    answered(exporter, after=0, field="user.name")
    judged(exporter, await exporter.ended(), policy)


async def test_several_fields_after_the_export_are_refused(exporter: Exporter, policy: str) -> None:
    body = {"rows": 1, "data": [{"user.name": "Eva", "user.ad.email_address": "eva@example.com"}]}
    exporter.faults.add(EXECUTE, body=json.dumps(body), after=1)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "QueryReturnsSeveralFields")
    assert nobody(exporter)


@pytest.mark.parametrize(("status", "reason"), [(403, "QueryNotPermitted"), (404, "QueryNotFound")])
async def test_without_the_second_comparison_nobody_is_mailed(
    exporter: Exporter, policy: str, status: int, reason: str
) -> None:
    exporter.faults.add(EXECUTE, status=status, after=1, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", reason)
    assert nobody(exporter)


async def test_a_query_that_is_too_heavy_for_the_second_comparison_is_unknown(exporter: Exporter, policy: str) -> None:
    exporter.faults.add(EXECUTE, status=504, after=1, times=None)
    not_compared(exporter, await exporter.ended(), policy)


async def test_a_result_that_was_cut_at_any_time_is_told(exporter: Exporter, policy: str) -> None:
    body = json.dumps({"rows": 0, "data": [], "executedQuery": query(exporter).executed})
    exporter.faults.add(EXECUTE, status=206, body=body, after=1)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "ResultTruncated")


async def test_a_query_that_stays_as_it_is_is_executed_twice_and_in_sync(exporter: Exporter, policy: str) -> None:
    ended = await exporter.ended()

    assert ended.query
    assert ended.query.in_sync
    assert (ended.entry.result, ended.entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.sandbox.ledger.count(EXECUTE) == 2


async def test_an_export_without_any_address_is_refused(exporter: Exporter, policy: str) -> None:
    ended = await edited(exporter, rows=[["S-1-5-21"]] * MANY)

    assert (ended.entry.result, ended.entry.reason) == ("Failed", "QueryReturnsNoEmail")
    assert nobody(exporter)
