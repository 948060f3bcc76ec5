"""Executing a saved query, and reading its reply."""

import json
from itertools import pairwise

import pytest

from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.execution import LONGEST_CELL
from qualtrics_exporter.remote.errors import ExportError, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.transport import CallRecord
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account, Query, Sandbox
from tests.remote.servers import Answer, Server, answer


async def test_execution_returns_the_people_and_the_executed_text(
    nexthink: NexthinkClient, account: Account, sandbox: Sandbox
) -> None:
    executed = await nexthink.execute(account.query_id, {})
    assert executed.rows[0] == ("ana@example.com",)
    assert len(executed.rows) == 8
    assert executed.columns == 1
    assert executed.executed_query == account.queries[account.query_id].executed
    assert executed.complete
    assert not executed.truncated
    assert sandbox.recorder.operations() == ["nexthink.token", "nexthink.execute"]


async def test_executed_text_contains_the_parameters(nexthink: NexthinkClient, account: Account) -> None:
    account.add_query(Query.people("#one", ["a@example.com"], executed="users | where name == $name"))
    executed = await nexthink.execute("#one", {"name": "ana"})
    assert executed.executed_query == 'users | where name == "ana"'


async def test_empty_result_is_complete_and_has_no_columns(nexthink: NexthinkClient, account: Account) -> None:
    account.add_query(Query.people("#none", []))
    executed = await nexthink.execute("#none", {})
    assert (executed.columns, executed.rows, executed.complete) == (0, [], True)


@pytest.mark.parametrize(("count", "complete"), [(999, True), (1000, False), (1001, False)])
async def test_result_with_a_thousand_rows_counts_as_incomplete(
    nexthink: NexthinkClient, account: Account, count: int, complete: bool
) -> None:
    account.add_query(Query.generated("#many", count))
    assert (await nexthink.execute("#many", {})).complete is complete


async def test_execution_with_status_206_is_truncated(server: Server, scripted_client: NexthinkClient) -> None:
    """The status 206 is documented only for exports."""
    server.script(answer(206, {"rows": 1, "data": [{"a": "x"}]}))
    assert (await scripted_client.execute("#any", {})).truncated


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
    server: Server, scripted_client: NexthinkClient, data: list[object], columns: int, rows: list[tuple[str, ...]]
) -> None:
    """Rows of several columns are only counted, because they could take much memory."""
    server.script(answer(200, {"data": data}))
    executed = await scripted_client.execute("#any", {})
    assert (executed.columns, executed.rows, executed.executed_query) == (columns, rows, None)


async def test_long_cells_are_not_kept(server: Server, scripted_client: NexthinkClient) -> None:
    """A run keeps all rows for a while. 1,000 long texts would take megabytes of memory that is not reserved."""
    server.script(answer(200, {"data": [{"a": "é" * 600}] * 1000}))
    executed = await scripted_client.execute("#any", {})
    assert sum(len(cell) for (cell,) in executed.rows) <= 1000 * LONGEST_CELL


async def test_result_with_a_higher_row_count_is_incomplete(server: Server, scripted_client: NexthinkClient) -> None:
    server.script(answer(200, {"data": [{"a": "x"}], "rows": 2000}))
    assert not (await scripted_client.execute("#any", {})).complete


@pytest.mark.parametrize("document", ["null", "[]", "{}", '{"data": {}}', '{"data": [[1]]}', '{"data": ["x"]}'])
async def test_malformed_reply_is_not_an_empty_result(
    server: Server, scripted_client: NexthinkClient, document: str
) -> None:
    server.script(answer(200, document))
    with pytest.raises(Transient) as error:
        await scripted_client.execute("#any", {})
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID


async def test_request_to_execute_contains_only_documented_keys(
    server: Server, scripted_client: NexthinkClient
) -> None:
    server.script(answer(200, {"data": []}))
    await scripted_client.execute("#any", {})
    await scripted_client.execute("#any", {"a": "b"})
    plain, filled = (json.loads(request.body) for request in server.received_requests)
    assert plain == {"queryId": "#any"}
    assert filled == {"queryId": "#any", "parameters": {"a": "b"}}
    assert server.received_requests[0].headers["content-type"] == "application/json"
    assert server.received_requests[0].headers["accept"] == "application/json"


ERRORS: dict[str, tuple[Answer, type[ExportError], Reason]] = {
    "missing query": (answer(404, {"code": 100}), Permanent, Reason.QUERY_NOT_FOUND),
    "missing query without a body": (answer(404), Permanent, Reason.QUERY_NOT_FOUND),
    "query without permission": (answer(403, {"message": "no", "code": 7}), Permanent, Reason.QUERY_NOT_PERMITTED),
    "refused query": (answer(400, {"message": "no", "code": 7}), Permanent, Reason.QUERY_REFUSED),
    "refused token": (answer(401), Permanent, Reason.CREDENTIALS_REFUSED),
    "unknown method": (answer(405), Permanent, Reason.REQUEST_REFUSED),
    "daily limit": (answer(429, headers={"Retry-After": "7000"}), RateLimited, Reason.RATE_LIMITED),
    "internal server error": (answer(500, {"message": "no", "code": 0}), Transient, Reason.REMOTE_UNAVAILABLE),
    "service unavailable": (answer(503), Transient, Reason.REMOTE_UNAVAILABLE),
    "login page": (answer(200, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_error_reply_of_an_execution_has_a_reason(
    server: Server, scripted_client: NexthinkClient, case: str
) -> None:
    reply, kind, reason = ERRORS[case]
    server.script(reply)
    with pytest.raises(ExportError) as error:
        await scripted_client.execute("#any", {})
    assert (type(error.value), error.value.reason) == (kind, reason)
    assert "#any" in error.value.what or reason is Reason.CREDENTIALS_REFUSED


async def test_error_message_contains_the_remote_code(server: Server, scripted_client: NexthinkClient) -> None:
    server.script(answer(404, {"message": "me@example.com", "code": 100}))
    with pytest.raises(
        Permanent, match=r"refused to run query #any with the credentials of Secret dex/nexthink \(HTTP 404, 100\)"
    ):
        await scripted_client.execute("#any", {})


async def test_queries_are_sent_at_most_once_a_second(
    nexthink: NexthinkClient, account: Account, sandbox: Sandbox
) -> None:
    for _ in range(5):
        await nexthink.execute(account.query_id, {})
    times = [call.at for call in sandbox.recorder.of("nexthink.execute")]
    assert all((later - earlier).total_seconds() >= 1 for earlier, later in pairwise(times))
    assert [call.status for call in sandbox.recorder.of("nexthink.execute")] == [200] * 5


async def test_credentials_are_checked_by_fetching_a_token(
    nexthink: NexthinkClient, account: Account, calls: list[CallRecord]
) -> None:
    await nexthink.check_credentials()
    assert [call.operation for call in calls] == ["token"]
    account.nexthink_credentials.clear()


async def test_refused_credentials_are_reported(nexthink: NexthinkClient, account: Account) -> None:
    account.nexthink_credentials.clear()
    with pytest.raises(Permanent) as error:
        await nexthink.check_credentials()
    assert error.value.reason is Reason.CREDENTIALS_REFUSED
    assert error.value.message.startswith(
        "Nexthink refused the credentials of Secret dex/nexthink (HTTP 401, invalid_client). "
    )
