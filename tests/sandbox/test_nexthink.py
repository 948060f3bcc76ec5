"""The NQL API: what is refused, what comes back, and how an export goes."""

import csv
import gzip
import io
from typing import Any

import httpx
import pytest

from qualtrics_exporter.sandbox import Query
from tests.environment.clock import SteeredClock
from tests.sandbox.caller import NexthinkCaller

EXECUTE = "/api/v2/nql/execute"
EXPORT = "/api/v1/nql/export"
GOOD = "#teams_rollout"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (EXECUTE, {"queryId": GOOD, "platform": "windows"}, 400),
        (EXECUTE, {"queryId": GOOD, "compression": "NONE"}, 400),
        (EXPORT, {"queryId": GOOD, "format": "csv"}, 400),
        (EXPORT, {"queryId": GOOD, "compression": "ZSTD"}, 400),
        (EXPORT, {"queryId": GOOD, "compression": "gzip"}, 400),
        (EXECUTE, {"queryId": "teams_rollout"}, 400),
        (EXECUTE, {"queryId": "#Teams"}, 400),
        (EXECUTE, {"queryId": "#a"}, 400),
        (EXECUTE, {"queryId": "#" + "a" * 256}, 400),
        (EXECUTE, {}, 400),
        (EXECUTE, [], 400),
        (EXECUTE, {"queryId": GOOD, "parameters": {"name": 1}}, 400),
        (EXECUTE, {"queryId": GOOD, "parameters": {"name": {"a": "b"}}}, 400),
        (EXECUTE, {"queryId": GOOD, "parameters": {"unasked": "x"}}, 400),
        (EXECUTE, {"queryId": "#no_such_query"}, 404),
        (EXPORT, {"queryId": "#no_such_query"}, 404),
        ("/api/v3/nql/execute", {"queryId": GOOD}, 404),
    ],
)
async def test_a_request_that_the_facts_do_not_know_is_refused(
    nexthink: NexthinkCaller, path: str, body: Any, status: int
) -> None:
    assert (await nexthink.post(path, body)).status_code == status


async def test_a_missing_query_has_code_100(nexthink: NexthinkCaller) -> None:
    assert (await nexthink.execute("#no_such_query")).json()["code"] == 100


async def test_a_query_that_is_not_permitted_is_403_and_on_export_looks_missing(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    nexthink.account.queries[GOOD].permitted = False
    reply = await nexthink.execute()
    assert (reply.status_code, set(reply.json())) == (403, {"message", "code", "source"})
    clock.advance(1)
    assert (await nexthink.export()).status_code == 404


async def test_version_2_answers_objects(nexthink: NexthinkCaller) -> None:
    answer = (await nexthink.execute()).json()
    assert set(answer) == {"queryId", "executedQuery", "rows", "executionDateTime", "data"}
    assert (answer["queryId"], answer["rows"], len(answer["data"])) == (GOOD, 8, 8)
    assert answer["data"][0] == {"user.ad.email_address": "ana@example.com"}
    assert isinstance(answer["executionDateTime"], str)


async def test_version_1_answers_headers_and_rows(nexthink: NexthinkCaller) -> None:
    answer = (await nexthink.execute(version=1)).json()
    assert answer["headers"] == ["user.ad.email_address"]
    assert answer["data"][0] == ["ana@example.com"]
    assert set(answer["executionDateTime"]) == {"year", "month", "day", "hour", "minute", "second"}


@pytest.mark.parametrize(("asked", "shown"), [("true", "2026-01-05T10:"), (None, "2026-01-05T11:")])
async def test_times_are_the_instances_unless_utc_is_asked_for(
    nexthink: NexthinkCaller, asked: str | None, shown: str
) -> None:
    headers = {"x-utc-times": asked} if asked else {}
    assert (await nexthink.execute(headers=headers)).json()["executionDateTime"].startswith(shown)


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("application/json", 200, "application/json"),
        ("*/*", 200, "application/json"),
        ("text/csv", 200, "text/csv; charset=utf-8"),
        ("application/xml", 406, None),
        ("text/html", 406, None),
    ],
)
async def test_accept_chooses_the_format(nexthink: NexthinkCaller, accept: str, status: int, kind: str | None) -> None:
    reply = await nexthink.execute(headers={"Accept": accept})
    assert reply.status_code == status
    if kind:
        assert reply.headers["content-type"] == kind


async def test_parameters_are_filled_in(nexthink: NexthinkCaller, clock: SteeredClock) -> None:
    nexthink.account.add_query(Query.people("#site", ["a@example.com"], executed="users | where ad.city == $city"))
    reply = await nexthink.execute("#site", parameters={"city": "Basel"})
    assert reply.json()["executedQuery"] == 'users | where ad.city == "Basel"'
    clock.advance(1)
    assert (await nexthink.execute("#site")).status_code == 400


async def test_execute_cuts_at_a_thousand_rows_and_marks_nothing(nexthink: NexthinkCaller) -> None:
    nexthink.account.add_query(Query.generated("#many", 1001))
    reply = await nexthink.execute("#many")
    assert (reply.status_code, reply.json()["rows"], len(reply.json()["data"])) == (200, 1000, 1000)


async def test_what_the_licence_cuts_is_206_of_the_status_and_not_of_an_execution(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    nexthink.account.queries[GOOD].truncated = True
    nexthink.account.export_polls = 0
    reply = await nexthink.execute()
    assert (reply.status_code, reply.json()["rows"]) == (200, 8)
    clock.advance(1)
    export_id = (await nexthink.export()).json()["exportId"]
    assert (await nexthink.status(export_id)).status_code == 206


@pytest.mark.parametrize("version", [1, 2])
async def test_a_heavy_query_is_not_executed_and_can_be_exported(
    nexthink: NexthinkCaller, clock: SteeredClock, version: int
) -> None:
    nexthink.account.queries[GOOD].heavy = True
    reply = await nexthink.execute(version=version)
    assert (reply.status_code, reply.content) == (504, b"")
    clock.advance(1)
    assert "X-Amz-Signature" in await nexthink.exported()


async def test_the_refusals_of_a_heavy_query_come_first(nexthink: NexthinkCaller, clock: SteeredClock) -> None:
    nexthink.account.queries[GOOD].heavy = True
    assert (await nexthink.execute(parameters={"unasked": "x"})).status_code == 400
    clock.advance(1)
    nexthink.account.queries[GOOD].permitted = False
    assert (await nexthink.execute()).status_code == 403


async def test_an_export_goes_through_its_states(nexthink: NexthinkCaller) -> None:
    export = (await nexthink.export()).json()
    assert set(export) == {"exportId"}
    answers = [(await nexthink.status(export["exportId"])).json() for _ in range(3)]
    assert [answer["status"] for answer in answers] == ["SUBMITTED", "IN_PROGRESS", "COMPLETED"]
    assert [set(answer) for answer in answers] == [{"status"}, {"status"}, {"status", "resultsFileUrl"}]


async def test_an_export_can_be_asked_for_by_get_with_the_number_sign_encoded(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    assert (await nexthink.get("/api/v1/nql/export?queryId=%23teams_rollout")).status_code == 200
    clock.advance(1)
    assert (await nexthink.get("/api/v1/nql/export?queryId=#teams_rollout")).status_code == 400


async def test_an_unknown_export_is_a_404_without_a_body(nexthink: NexthinkCaller) -> None:
    reply = await nexthink.status("nobody")
    assert (reply.status_code, reply.content) == (404, b"")


async def test_an_export_can_end_in_error(nexthink: NexthinkCaller) -> None:
    nexthink.account.queries[GOOD].export_error = "Out of memory"
    nexthink.account.export_polls = 0
    export_id = (await nexthink.export()).json()["exportId"]
    assert (await nexthink.status(export_id)).json() == {"status": "ERROR", "errorDescription": "Out of memory"}


async def test_the_file_is_csv_with_a_header_on_another_origin(nexthink: NexthinkCaller) -> None:
    url = await nexthink.exported()
    assert not url.startswith((nexthink.sandbox.nexthink_url, nexthink.sandbox.qualtrics_url))
    rows = list(csv.reader(io.StringIO((await nexthink.http.get(url)).text)))
    assert rows[0] == ["user.ad.email_address"]
    assert [row[0] if row else "" for row in rows[1:]].count("ana@example.com") == 1
    assert len(rows) == 9


async def test_the_store_refuses_a_bearer_token(nexthink: NexthinkCaller) -> None:
    url = await nexthink.exported()
    reply = await nexthink.http.get(url, headers=nexthink.headers)
    assert reply.status_code == 400
    assert "Only one auth mechanism allowed" in reply.text


async def test_an_address_expires_and_status_gives_a_fresh_one(nexthink: NexthinkCaller, clock: SteeredClock) -> None:
    nexthink.account.nexthink_token_seconds = 7200
    await nexthink.log_in("nexthink")
    export_id = (await nexthink.export()).json()["exportId"]
    for _ in range(3):
        url = (await nexthink.status(export_id)).json().get("resultsFileUrl", "")
    clock.advance(899)
    assert (await nexthink.http.get(url)).status_code == 200
    clock.advance(2)
    assert (await nexthink.http.get(url)).status_code == 403
    assert (await nexthink.http.get(url + "0")).status_code == 403
    fresh = (await nexthink.status(export_id)).json()["resultsFileUrl"]
    assert (await nexthink.http.get(fresh)).status_code == 200


async def test_a_large_export_is_made_while_it_is_read(nexthink: NexthinkCaller) -> None:
    taken = 0

    def rows() -> Any:
        nonlocal taken
        for number in range(1_000_000):
            taken = number
            yield [f"user{number:06d}@example.com"]

    nexthink.account.add_query(Query("#huge", ["user.ad.email_address"], rows))
    url = await nexthink.exported("#huge")
    async with nexthink.http.stream("GET", url) as reply:
        async for _ in reply.aiter_bytes():
            break
    assert taken < 500_000


async def test_gzip_is_a_gzip_file(nexthink: NexthinkCaller) -> None:
    nexthink.account.add_query(Query.generated("#many", 50_000))
    reply = await nexthink.http.get(await nexthink.exported("#many", compression="GZIP"))
    assert "content-encoding" not in reply.headers
    lines = gzip.decompress(reply.content).decode().splitlines()
    assert (len(lines), lines[1], lines[-1]) == (50_001, "user000001@example.com", "user050000@example.com")


async def test_an_export_stops_at_a_million_rows(nexthink: NexthinkCaller) -> None:
    nexthink.account.limits.nexthink_export_rows = 10
    nexthink.account.add_query(Query.generated("#many", 11))
    assert len((await nexthink.http.get(await nexthink.exported("#many"))).text.splitlines()) == 11


async def test_a_false_token_is_a_401_without_a_body(nexthink: NexthinkCaller) -> None:
    nexthink.headers = {"Authorization": "Bearer nonsense"}
    for reply in (await nexthink.execute(), await nexthink.export(), await nexthink.status("x")):
        assert (reply.status_code, reply.content) == (401, b"")


async def test_a_body_that_is_not_json_is_refused(nexthink: NexthinkCaller) -> None:
    url = nexthink.sandbox.nexthink_url + EXECUTE
    headers = {**nexthink.headers, "Content-Type": "application/json"}
    reply: httpx.Response = await nexthink.http.post(url, content=b"{", headers=headers)
    assert reply.status_code == 400
