"""Tests of the NQL API: refused requests, results, and exports."""

import csv
import gzip
import io
from typing import Any

import httpx
import pytest

from qualtrics_exporter.sandbox import Query
from tests.sandbox.caller import NexthinkCaller
from tests.support.clock import SteeredClock

EXECUTE = "/api/v2/nql/execute"
EXPORT = "/api/v1/nql/export"
QUERY_ID = "#teams_rollout"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param(EXECUTE, {"queryId": QUERY_ID, "platform": "windows"}, 400, id="execute with a platform"),
        pytest.param(EXECUTE, {"queryId": QUERY_ID, "compression": "NONE"}, 400, id="execute with a compression"),
        pytest.param(EXPORT, {"queryId": QUERY_ID, "format": "csv"}, 400, id="export with a format"),
        pytest.param(EXPORT, {"queryId": QUERY_ID, "compression": "ZSTD"}, 400, id="unsupported compression"),
        pytest.param(EXPORT, {"queryId": QUERY_ID, "compression": "gzip"}, 400, id="compression in lower case"),
        pytest.param(EXECUTE, {"queryId": "teams_rollout"}, 400, id="query id without a number sign"),
        pytest.param(EXECUTE, {"queryId": "#Teams"}, 400, id="query id with a capital letter"),
        pytest.param(EXECUTE, {"queryId": "#a"}, 400, id="query id that is too short"),
        pytest.param(EXECUTE, {"queryId": "#" + "a" * 256}, 400, id="query id that is too long"),
        pytest.param(EXECUTE, {}, 400, id="no query id"),
        pytest.param(EXECUTE, [], 400, id="body that is a list"),
        pytest.param(EXECUTE, {"queryId": QUERY_ID, "parameters": {"name": 1}}, 400, id="parameter that is a number"),
        pytest.param(
            EXECUTE, {"queryId": QUERY_ID, "parameters": {"name": {"a": "b"}}}, 400, id="parameter that is an object"
        ),
        pytest.param(EXECUTE, {"queryId": QUERY_ID, "parameters": {"extra": "x"}}, 400, id="unknown parameter"),
        pytest.param(EXECUTE, {"queryId": "#no_such_query"}, 404, id="execute of a missing query"),
        pytest.param(EXPORT, {"queryId": "#no_such_query"}, 404, id="export of a missing query"),
        pytest.param("/api/v3/nql/execute", {"queryId": QUERY_ID}, 404, id="unknown version"),
    ],
)
async def test_undocumented_or_invalid_request_is_refused(
    nexthink: NexthinkCaller, path: str, body: Any, status: int
) -> None:
    assert (await nexthink.post(path, body)).status_code == status


async def test_missing_query_is_an_error_with_code_100(nexthink: NexthinkCaller) -> None:
    assert (await nexthink.execute("#no_such_query")).json()["code"] == 100


async def test_forbidden_query_is_a_403_of_execute_and_a_404_of_export(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    nexthink.account.queries[QUERY_ID].permitted = False
    reply = await nexthink.execute()
    assert (reply.status_code, set(reply.json())) == (403, {"message", "code", "source"})
    clock.advance(1)
    assert (await nexthink.export()).status_code == 404


async def test_execute_v2_returns_objects(nexthink: NexthinkCaller) -> None:
    answer = (await nexthink.execute()).json()
    assert set(answer) == {"queryId", "executedQuery", "rows", "executionDateTime", "data"}
    assert (answer["queryId"], answer["rows"], len(answer["data"])) == (QUERY_ID, 8, 8)
    assert answer["data"][0] == {"user.ad.email_address": "ana@example.com"}
    assert isinstance(answer["executionDateTime"], str)


async def test_execute_v1_returns_headers_and_rows(nexthink: NexthinkCaller) -> None:
    answer = (await nexthink.execute(version=1)).json()
    assert answer["headers"] == ["user.ad.email_address"]
    assert answer["data"][0] == ["ana@example.com"]
    assert set(answer["executionDateTime"]) == {"year", "month", "day", "hour", "minute", "second"}


@pytest.mark.parametrize(
    ("header", "shown"), [("true", "2026-01-05T10:"), (None, "2026-01-05T11:")], ids=["UTC", "zone of the instance"]
)
async def test_execute_returns_times_in_the_zone_of_the_instance_unless_the_client_requests_utc(
    nexthink: NexthinkCaller, header: str | None, shown: str
) -> None:
    headers = {"x-utc-times": header} if header else {}
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
async def test_accept_header_selects_the_format(
    nexthink: NexthinkCaller, accept: str, status: int, kind: str | None
) -> None:
    reply = await nexthink.execute(headers={"Accept": accept})
    assert reply.status_code == status
    if kind:
        assert reply.headers["content-type"] == kind


async def test_execute_replaces_parameters_and_refuses_missing_ones(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    nexthink.account.add_query(Query.people("#site", ["a@example.com"], executed="users | where ad.city == $city"))
    reply = await nexthink.execute("#site", parameters={"city": "Basel"})
    assert reply.json()["executedQuery"] == 'users | where ad.city == "Basel"'
    clock.advance(1)
    assert (await nexthink.execute("#site")).status_code == 400


async def test_execute_returns_at_most_1000_rows_without_a_sign_of_more(nexthink: NexthinkCaller) -> None:
    nexthink.account.add_query(Query.generated("#many", 1001))
    reply = await nexthink.execute("#many")
    assert (reply.status_code, reply.json()["rows"], len(reply.json()["data"])) == (200, 1000, 1000)


async def test_rows_cut_by_the_license_are_a_206_of_the_export_status_only(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    nexthink.account.queries[QUERY_ID].truncated = True
    nexthink.account.export_polls = 0
    reply = await nexthink.execute()
    assert (reply.status_code, reply.json()["rows"]) == (200, 8)
    clock.advance(1)
    export_id = (await nexthink.export()).json()["exportId"]
    assert (await nexthink.status(export_id)).status_code == 206


@pytest.mark.parametrize("version", [1, 2])
async def test_heavy_query_fails_to_execute_and_can_be_exported(
    nexthink: NexthinkCaller, clock: SteeredClock, version: int
) -> None:
    nexthink.account.queries[QUERY_ID].heavy = True
    reply = await nexthink.execute(version=version)
    assert (reply.status_code, reply.content) == (504, b"")
    clock.advance(1)
    assert "X-Amz-Signature" in await nexthink.download_url()


async def test_invalid_request_for_a_heavy_query_is_refused_before_it_times_out(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    nexthink.account.queries[QUERY_ID].heavy = True
    assert (await nexthink.execute(parameters={"extra": "x"})).status_code == 400
    clock.advance(1)
    nexthink.account.queries[QUERY_ID].permitted = False
    assert (await nexthink.execute()).status_code == 403


async def test_export_is_submitted_then_in_progress_then_completed(nexthink: NexthinkCaller) -> None:
    export = (await nexthink.export()).json()
    assert set(export) == {"exportId"}
    answers = [(await nexthink.status(export["exportId"])).json() for _ in range(3)]
    assert [answer["status"] for answer in answers] == ["SUBMITTED", "IN_PROGRESS", "COMPLETED"]
    assert [set(answer) for answer in answers] == [{"status"}, {"status"}, {"status", "resultsFileUrl"}]


async def test_export_with_get_needs_an_encoded_number_sign(nexthink: NexthinkCaller, clock: SteeredClock) -> None:
    assert (await nexthink.get("/api/v1/nql/export?queryId=%23teams_rollout")).status_code == 200
    clock.advance(1)
    assert (await nexthink.get("/api/v1/nql/export?queryId=#teams_rollout")).status_code == 400


async def test_status_of_an_unknown_export_is_a_404_without_a_body(nexthink: NexthinkCaller) -> None:
    reply = await nexthink.status("no-such-export")
    assert (reply.status_code, reply.content) == (404, b"")


async def test_export_that_fails_returns_its_error_description(nexthink: NexthinkCaller) -> None:
    nexthink.account.queries[QUERY_ID].export_error = "Out of memory"
    nexthink.account.export_polls = 0
    export_id = (await nexthink.export()).json()["exportId"]
    assert (await nexthink.status(export_id)).json() == {"status": "ERROR", "errorDescription": "Out of memory"}


async def test_exported_file_is_csv_with_a_header_on_another_origin(nexthink: NexthinkCaller) -> None:
    url = await nexthink.download_url()
    assert not url.startswith((nexthink.sandbox.nexthink_url, nexthink.sandbox.qualtrics_url))
    rows = list(csv.reader(io.StringIO((await nexthink.http.get(url)).text)))
    assert rows[0] == ["user.ad.email_address"]
    assert [row[0] if row else "" for row in rows[1:]].count("ana@example.com") == 1
    assert len(rows) == 9


async def test_object_store_refuses_a_bearer_token(nexthink: NexthinkCaller) -> None:
    url = await nexthink.download_url()
    reply = await nexthink.http.get(url, headers=nexthink.headers)
    assert reply.status_code == 400
    assert "Only one auth mechanism allowed" in reply.text


async def test_download_url_expires_and_the_status_returns_a_new_one(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
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
    new_url = (await nexthink.status(export_id)).json()["resultsFileUrl"]
    assert (await nexthink.http.get(new_url)).status_code == 200


async def test_large_export_is_written_while_the_client_reads_it(nexthink: NexthinkCaller) -> None:
    rows_read = 0

    def rows() -> Any:
        nonlocal rows_read
        for number in range(1_000_000):
            rows_read = number
            yield [f"user{number:06d}@example.com"]

    nexthink.account.add_query(Query("#huge", ["user.ad.email_address"], rows))
    url = await nexthink.download_url("#huge")
    async with nexthink.http.stream("GET", url) as reply:
        async for _ in reply.aiter_bytes():
            break
    assert rows_read < 500_000


async def test_export_with_gzip_compression_is_a_gzip_file(nexthink: NexthinkCaller) -> None:
    nexthink.account.add_query(Query.generated("#many", 50_000))
    reply = await nexthink.http.get(await nexthink.download_url("#many", compression="GZIP"))
    assert "content-encoding" not in reply.headers
    lines = gzip.decompress(reply.content).decode().splitlines()
    assert (len(lines), lines[1], lines[-1]) == (50_001, "user000001@example.com", "user050000@example.com")


async def test_export_stops_at_the_maximum_number_of_rows(nexthink: NexthinkCaller) -> None:
    nexthink.account.limits.nexthink_export_rows = 10
    nexthink.account.add_query(Query.generated("#many", 11))
    assert len((await nexthink.http.get(await nexthink.download_url("#many"))).text.splitlines()) == 11


async def test_request_with_an_invalid_token_is_a_401_without_a_body(nexthink: NexthinkCaller) -> None:
    nexthink.headers = {"Authorization": "Bearer nonsense"}
    for reply in (await nexthink.execute(), await nexthink.export(), await nexthink.status("x")):
        assert (reply.status_code, reply.content) == (401, b"")


async def test_request_body_that_is_not_json_is_refused(nexthink: NexthinkCaller) -> None:
    url = nexthink.sandbox.nexthink_url + EXECUTE
    headers = {**nexthink.headers, "Content-Type": "application/json"}
    reply: httpx.Response = await nexthink.http.post(url, content=b"{", headers=headers)
    assert reply.status_code == 400
