"""Running a saved query, and what its reply says."""

import json
from itertools import pairwise

import pytest

from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.execution import LONGEST_CELL
from qualtrics_exporter.remote.errors import ExportError, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.transport import CallRecord
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Query, Sandbox, World
from tests.remote.servers import Answer, Server, answer


async def test_execution_returns_the_people_and_the_executed_text(
    nexthink: NexthinkClient, world: World, sandbox: Sandbox
) -> None:
    executed = await nexthink.execute(world.query_id, {})
    assert executed.rows[0] == ("ana@example.com",)
    assert len(executed.rows) == 8
    assert executed.columns == 1
    assert executed.executed_query == world.queries[world.query_id].executed
    assert executed.complete
    assert not executed.truncated
    assert sandbox.ledger.operations() == ["nexthink.token", "nexthink.execute"]


async def test_executed_text_contains_the_parameters(nexthink: NexthinkClient, world: World) -> None:
    world.add_query(Query.people("#one", ["a@example.com"], executed="users | where name == $who"))
    executed = await nexthink.execute("#one", {"who": "ana"})
    assert executed.executed_query == 'users | where name == "ana"'


async def test_empty_result_is_complete_and_has_no_columns(nexthink: NexthinkClient, world: World) -> None:
    world.add_query(Query.people("#none", []))
    executed = await nexthink.execute("#none", {})
    assert (executed.columns, executed.rows, executed.complete) == (0, [], True)


@pytest.mark.parametrize(("count", "complete"), [(999, True), (1000, False), (1001, False)])
async def test_result_with_a_thousand_rows_counts_as_incomplete(
    nexthink: NexthinkClient, world: World, count: int, complete: bool
) -> None:
    world.add_query(Query.generated("#many", count))
    assert (await nexthink.execute("#many", {})).complete is complete


async def test_execution_with_status_206_is_truncated(server: Server, odd: NexthinkClient) -> None:
    """It is documented for exports only."""
    server.script(answer(206, {"rows": 1, "data": [{"a": "x"}]}))
    assert (await odd.execute("#odd", {})).truncated


ROWS: list[tuple[list[object], int, list[tuple[str, ...]]]] = [
    ([{"a": "x"}, {"a": None}], 1, [("x",), ("",)]),
    ([{"a": 1}, {"a": 1.5}, {"a": True}], 1, [("1",), ("1.5",), ("True",)]),
    ([{"a": "x", "b": "y"}], 2, []),
    ([{"a": "x"}, {"a": "y", "b": "z"}], 2, []),
    ([{"a": "x"}, {"b": "y"}], 2, []),
    ([{}, {"a": "x"}], 1, [("",), ("x",)]),
    ([{}], 1, [("",)]),
    ([{"a": ["x@example.com"]}, {"a": {"b": "y@example.com"}}], 1, [("?",), ("?",)]),
    ([{"a": f"x@example.com{' ' * 400}y"}, {"a": "x" * LONGEST_CELL}], 1, [("?",), ("x" * LONGEST_CELL,)]),
    ([{"a": f"{' ' * 400}x@example.com{' ' * 400}"}], 1, [("x@example.com",)]),
]


@pytest.mark.parametrize(("data", "columns", "rows"), ROWS)
async def test_cells_become_text_and_rows_of_several_columns_are_not_kept(
    server: Server, odd: NexthinkClient, data: list[object], columns: int, rows: list[tuple[str, ...]]
) -> None:
    """Rows of several columns are refused by their number, and not kept: they could be rows times columns."""
    server.script(answer(200, {"data": data}))
    executed = await odd.execute("#odd", {})
    assert (executed.columns, executed.rows, executed.executed_query) == (columns, rows, None)


async def test_long_cells_are_not_kept(server: Server, odd: NexthinkClient) -> None:
    """A run keeps all rows for a while: with 1,000 long texts, it would take megabytes that nothing is reserved for."""
    server.script(answer(200, {"data": [{"a": "é" * 600}] * 1000}))
    executed = await odd.execute("#odd", {})
    assert sum(len(cell) for (cell,) in executed.rows) <= 1000 * LONGEST_CELL


async def test_result_with_a_higher_row_count_is_incomplete(server: Server, odd: NexthinkClient) -> None:
    server.script(answer(200, {"data": [{"a": "x"}], "rows": 2000}))
    assert not (await odd.execute("#odd", {})).complete


@pytest.mark.parametrize("document", ["null", "[]", "{}", '{"data": {}}', '{"data": [[1]]}', '{"data": ["x"]}'])
async def test_malformed_reply_is_not_an_empty_result(
    server: Server, odd: NexthinkClient, document: str
) -> None:
    server.script(answer(200, document))
    with pytest.raises(Transient) as error:
        await odd.execute("#odd", {})
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID


async def test_request_to_execute_contains_only_documented_keys(server: Server, odd: NexthinkClient) -> None:
    server.script(answer(200, {"data": []}))
    await odd.execute("#odd", {})
    await odd.execute("#odd", {"a": "b"})
    plain, filled = (json.loads(heard.body) for heard in server.heard)
    assert plain == {"queryId": "#odd"}
    assert filled == {"queryId": "#odd", "parameters": {"a": "b"}}
    assert server.heard[0].headers["content-type"] == "application/json"
    assert server.heard[0].headers["accept"] == "application/json"


ERRORS: dict[str, tuple[Answer, type[ExportError], Reason]] = {
    "a query that is not there": (answer(404, {"code": 100}), Permanent, Reason.QUERY_NOT_FOUND),
    "the same without a body": (answer(404), Permanent, Reason.QUERY_NOT_FOUND),
    "one that may not be run": (answer(403, {"message": "no", "code": 7}), Permanent, Reason.QUERY_NOT_PERMITTED),
    "one that is refused": (answer(400, {"message": "no", "code": 7}), Permanent, Reason.QUERY_REFUSED),
    "a token that is refused": (answer(401), Permanent, Reason.CREDENTIALS_REFUSED),
    "a method that is not there": (answer(405), Permanent, Reason.REQUEST_REFUSED),
    "the daily limit": (answer(429, headers={"Retry-After": "7000"}), RateLimited, Reason.RATE_LIMITED),
    "an error of its own": (answer(500, {"message": "no", "code": 0}), Transient, Reason.REMOTE_UNAVAILABLE),
    "no service": (answer(503), Transient, Reason.REMOTE_UNAVAILABLE),
    "a login page": (answer(200, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_error_reply_of_an_execution_has_a_reason(server: Server, odd: NexthinkClient, case: str) -> None:
    reply, kind, reason = ERRORS[case]
    server.script(reply)
    with pytest.raises(ExportError) as error:
        await odd.execute("#odd", {})
    assert (type(error.value), error.value.reason) == (kind, reason)
    assert "#odd" in error.value.what or reason is Reason.CREDENTIALS_REFUSED


async def test_error_message_contains_the_remote_code(server: Server, odd: NexthinkClient) -> None:
    server.script(answer(404, {"message": "me@example.com", "code": 100}))
    with pytest.raises(
        Permanent, match=r"refused to run query #odd with the credentials of Secret dex/nexthink \(HTTP 404, 100\)"
    ):
        await odd.execute("#odd", {})


async def test_queries_are_sent_at_most_once_a_second(nexthink: NexthinkClient, world: World, sandbox: Sandbox) -> None:
    for _ in range(5):
        await nexthink.execute(world.query_id, {})
    times = [call.at for call in sandbox.ledger.of("nexthink.execute")]
    assert all((later - earlier).total_seconds() >= 1 for earlier, later in pairwise(times))
    assert [call.status for call in sandbox.ledger.of("nexthink.execute")] == [200] * 5


async def test_credentials_are_checked_by_fetching_a_token(
    nexthink: NexthinkClient, world: World, calls: list[CallRecord]
) -> None:
    await nexthink.check_credentials()
    assert [call.operation for call in calls] == ["token"]
    world.nexthink_credentials.clear()


async def test_refused_credentials_are_reported(nexthink: NexthinkClient, world: World) -> None:
    world.nexthink_credentials.clear()
    with pytest.raises(Permanent) as error:
        await nexthink.check_credentials()
    assert error.value.reason is Reason.CREDENTIALS_REFUSED
    assert error.value.message.startswith(
        "Nexthink refused the credentials of Secret dex/nexthink (HTTP 401, invalid_client). "
    )
