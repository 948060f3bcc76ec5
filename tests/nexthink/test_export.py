"""Exports: the complete result as a stream, with failures at each step."""

import asyncio
import gzip
import json
import socket
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing

import pytest

from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.nexthink.export import ResultExport
from qualtrics_exporter.nexthink.table import Row
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.remote.transport import CallRecord, Timeouts
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account, Query, Sandbox
from tests.nexthink.conftest import secret
from tests.remote.clock import RecordingClock
from tests.remote.servers import Answer, Server, answer
from tests.support.loop_clock import LoopClock


async def exported(nexthink: NexthinkClient, query_id: str) -> list[str]:
    return [cell for (cell,) in await rows_of(await nexthink.export(query_id, {}))]


async def rows_of(export: ResultExport) -> list[Row]:
    found: list[Row] = []
    async with aclosing(export.rows(found.clear)) as pieces:
        async for rows in pieces:
            found.extend(rows)
    return found


def people(count: int) -> list[str]:
    return [f"user{n:06d}@example.com" for n in range(1, count + 1)]


@pytest.fixture
def large_query(account: Account) -> str:
    return account.add_query(Query.generated("#many", 5000)).id


async def test_export_returns_every_row_once_and_in_order(
    nexthink: NexthinkClient, sandbox: Sandbox, large_query: str, clock: RecordingClock
) -> None:
    export = await nexthink.export(large_query, {})
    assert await rows_of(export) == [(address,) for address in people(5000)]
    assert (export.columns, export.truncated) == (1, False)
    operations = [name.removeprefix("nexthink.") for name in sandbox.recorder.operations()]
    assert operations == ["token", "export", "status", "status", "status", "download"]
    assert clock.slept == sorted(clock.slept)


@pytest.mark.parametrize("completed_status", ["COMPLETED", "COMPLETE"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("byte_order_mark", [True, False])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_export_is_read_in_every_form_that_nexthink_may_use(
    nexthink: NexthinkClient,
    account: Account,
    large_query: str,
    completed_status: str,
    declared: bool,
    byte_order_mark: bool,
    line_end: str,
) -> None:
    account.export_completed_word = completed_status  # type: ignore[assignment]
    account.download_content_encoding = declared
    account.csv_byte_order_mark = byte_order_mark
    account.csv_line_end = line_end  # type: ignore[assignment]
    assert await exported(nexthink, large_query) == people(5000)


async def test_rows_without_an_address_are_returned_as_empty(nexthink: NexthinkClient, account: Account) -> None:
    account.add_query(Query.people("#some", ["a@example.com", "", None, "b@example.com"]))
    assert await exported(nexthink, "#some") == ["a@example.com", "", "", "b@example.com"]


async def test_export_truncated_by_the_licence_is_reported(
    nexthink: NexthinkClient, account: Account, large_query: str
) -> None:
    account.queries[large_query].truncated = True
    export = await nexthink.export(large_query, {})
    assert export.truncated


async def test_export_with_several_columns_is_read(nexthink: NexthinkClient, account: Account) -> None:
    account.add_query(Query("#two", ["a", "b"], [["x", "y"]]))
    export = await nexthink.export("#two", {})
    assert await rows_of(export) == [("x", "y")]
    assert export.columns == 2


async def test_file_is_downloaded_without_a_token(nexthink: NexthinkClient, sandbox: Sandbox, large_query: str) -> None:
    # The store answers 400 to a request with two kinds of authentication.
    await exported(nexthink, large_query)
    assert [call.status for call in sandbox.recorder.of("nexthink.download")] == [200]


async def test_expired_download_url_is_renewed(
    nexthink: NexthinkClient, sandbox: Sandbox, large_query: str, clock: RecordingClock
) -> None:
    export = await nexthink.export(large_query, {})
    clock.advance(901)
    assert [cell for (cell,) in await rows_of(export)] == people(5000)
    assert [call.status for call in sandbox.recorder.of("nexthink.download")] == [403, 200]


@pytest.mark.parametrize(
    "fault", [{"truncate": 20_000}, {"truncate": 10}, {"drop": "before"}, {"status": 400}, {"status": 503}]
)
async def test_interrupted_download_is_restarted(
    nexthink: NexthinkClient, sandbox: Sandbox, account: Account, fault: dict[str, object]
) -> None:
    account.add_query(Query.generated("#more", 50_000))
    sandbox.faults.add("nexthink.download", times=3, **fault)
    assert await exported(nexthink, "#more") == people(50_000)
    assert sandbox.recorder.count("nexthink.download") == 4


async def test_download_that_is_always_interrupted_fails(
    nexthink: NexthinkClient, sandbox: Sandbox, large_query: str
) -> None:
    sandbox.faults.add("nexthink.download", times=None, truncate=5000)
    with pytest.raises(Transient) as error:
        await exported(nexthink, large_query)
    assert error.value.reason is Reason.REMOTE_UNAVAILABLE
    assert sandbox.recorder.count("nexthink.download") == 5


@pytest.mark.parametrize("change", [lambda rows: ["x@example.com", *rows[1:]], lambda rows: rows[:50]])
async def test_file_that_changed_after_an_interrupted_download_is_rejected(
    nexthink: NexthinkClient, sandbox: Sandbox, account: Account, change: Callable[[list[str]], list[str]]
) -> None:
    versions = iter([people(50_000), change(people(50_000))])
    account.add_query(Query("#turns", ["h"], lambda: [[row] for row in next(versions)]))
    sandbox.faults.add("nexthink.download", truncate=50_000)
    with pytest.raises(Transient) as error:
        await exported(nexthink, "#turns")
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert "the download before" in error.value.what
    assert sandbox.recorder.count("nexthink.download") == 2


async def test_token_is_renewed_during_a_long_export(
    nexthink: NexthinkClient, account: Account, sandbox: Sandbox, large_query: str, clock: RecordingClock
) -> None:
    account.export_polls = 120
    assert await exported(nexthink, large_query) == people(5000)
    assert sum(clock.slept) > 900
    assert sandbox.recorder.count("nexthink.token") >= 2
    assert {call.status for call in sandbox.recorder.of("nexthink.status")} == {200}


async def test_export_that_never_completes_fails_after_an_hour(
    nexthink: NexthinkClient, account: Account, large_query: str, clock: RecordingClock
) -> None:
    account.export_polls = 10**6
    with pytest.raises(Transient) as error:
        await exported(nexthink, large_query)
    assert error.value.reason is Reason.REMOTE_UNAVAILABLE
    assert 3500 < sum(clock.slept) < 3700


async def test_export_that_ends_with_an_error_is_a_refused_query(
    nexthink: NexthinkClient, account: Account, large_query: str
) -> None:
    account.queries[large_query].export_error = "ask ana@example.com"
    with pytest.raises(Permanent) as error:
        await exported(nexthink, large_query)
    assert error.value.reason is Reason.QUERY_REFUSED
    assert "ana" not in error.value.message


@pytest.mark.parametrize(("query_id", "reason"), [("#missing", Reason.QUERY_NOT_FOUND), ("#No", Reason.QUERY_REFUSED)])
async def test_query_that_cannot_be_exported_is_reported(
    nexthink: NexthinkClient, query_id: str, reason: Reason
) -> None:
    with pytest.raises(Permanent) as error:
        await exported(nexthink, query_id)
    assert error.value.reason is reason


async def test_download_host_that_is_not_allowed_receives_no_request(
    sandbox: Sandbox, account: Account, large_query: str, clock: RecordingClock
) -> None:
    sandbox._object_store.url = sandbox.store_url.replace("127.0.0.1", "localhost")
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True) as context:
        nexthink = NexthinkClient(context, nexthink_from(sandbox.secrets()["nexthink"], "Secret dex/nexthink"))
        with pytest.raises(Permanent) as error:
            await exported(nexthink, large_query)
    assert error.value.reason is Reason.HOST_NOT_ALLOWED
    assert error.value.what == (
        "The file of Nexthink's export of query #many has a host that is not one of "
        "*.s3.amazonaws.com, s3.amazonaws.com, *.s3.*.amazonaws.com, s3.*.amazonaws.com, 127.0.0.1"
    )
    assert sandbox.recorder.count("nexthink.download") == 0


@pytest.fixture
def any_host_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve every host name to the local machine."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *args, **kwargs: resolve("127.0.0.1", *args, **kwargs))


@pytest.mark.usefixtures("any_host_is_local")
async def test_allowed_hosts_of_apis_and_of_downloads_are_separate(server: Server, clock: RecordingClock) -> None:
    """Download hosts receive no credentials, and API hosts deliver no file."""
    port = server.url.rpartition(":")[2]
    api, store = f"http://api.example:{port}", f"http://store.example:{port}"
    server.script(*replies(store, answer(200, "h\na@example.com\n")))

    async def export_from(url: str, token_url: str) -> list[str]:
        secret = {"url": url, "tokenUrl": token_url, "clientId": "the-client", "clientSecret": "the-secret"}
        lists = {"allowed_hosts": ["api.example"], "download_hosts": ["store.example"]}
        async with ApiContext(clock=clock, allow_http=True, **lists) as context:
            return await exported(NexthinkClient(context, nexthink_from(secret, "Secret dex/nexthink")), "#any")

    for url, token_url in ((store, f"{api}/oauth2/token"), (api, f"{store}/oauth2/token")):
        with pytest.raises(Permanent) as refused:
            await export_from(url, token_url)
        assert refused.value.reason is Reason.HOST_NOT_ALLOWED
    assert server.request_count == 0
    assert server.token_request_count == 0, "a token was requested"
    assert await export_from(api, f"{api}/oauth2/token") == ["a@example.com"]
    *calls, download = server.received_requests
    assert {call.headers["host"] for call in calls} == {f"api.example:{port}"}
    assert download.headers["host"] == f"store.example:{port}"
    assert not {"authorization", "cookie"} & set(download.headers)
    server.script(*replies(api, answer(200, "h\na@example.com\n")))
    with pytest.raises(Permanent) as refused:
        await export_from(api, f"{api}/oauth2/token")
    assert refused.value.reason is Reason.HOST_NOT_ALLOWED
    assert "X-Amz" not in refused.value.message


SIGNED = "/exports/a%20b%2Fc+d.csv.gz?X-Amz-Credential=AK%2F2026%2Feu&X-Amz-Signature=a%2Bb/c+d=&x=~!*'()@:,;"
"""Any change, even to an equivalent URL, could invalidate the signature."""


def replies(url: str, *files: Answer) -> list[Answer]:
    """The replies of an export that completes immediately."""
    done = answer(200, {"status": "COMPLETED", "resultsFileUrl": f"{url}{SIGNED}"})
    return [answer(200, {"exportId": "e1"}), *(part for file in files for part in (done, file))]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_of_a_download_is_not_followed(
    server: Server, scripted_client: NexthinkClient, status: int
) -> None:
    async with Server() as elsewhere:
        redirect = answer(status, headers={"Location": f"{elsewhere.url}/"})
        server.script(*replies(server.url, *[redirect] * 5))
        with pytest.raises(Transient):
            await exported(scripted_client, "#any")
        assert elsewhere.request_count == 0


async def test_export_requests_gzip_and_the_store_receives_no_credentials(
    server: Server, scripted_client: NexthinkClient
) -> None:
    server.script(*replies(server.url, answer(200, gzip.compress(b"h\na@example.com\n", mtime=0))))
    assert await exported(scripted_client, "#any") == ["a@example.com"]
    start, status, file = server.received_requests
    assert json.loads(start.body) == {"queryId": "#any", "compression": "GZIP"}
    assert status.target == "/api/v1/nql/status/e1"
    assert file.target == SIGNED
    assert file.headers["accept-encoding"] == "identity"
    assert "authorization" not in file.headers
    assert "cookie" not in file.headers


@pytest.mark.parametrize("export_id", ["..", "", "a/b", "a b", 5, None, "x" * 100])
async def test_invalid_export_id_is_not_used(
    server: Server, scripted_client: NexthinkClient, export_id: object
) -> None:
    server.script(answer(200, {"exportId": export_id}))
    with pytest.raises(Transient) as error:
        await exported(scripted_client, "#any")
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert {request.method for request in server.received_requests} == {"POST"}


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (answer(200, {"status": "COMPLETED"}), Transient, Reason.REMOTE_REPLY_INVALID),
        (answer(200, {"status": 7}), Transient, Reason.REMOTE_REPLY_INVALID),
        (answer(200, {"status": "COMPLETED", "resultsFileUrl": "file:///x"}), Permanent, Reason.HOST_NOT_ALLOWED),
        (answer(404), Permanent, Reason.REQUEST_REFUSED),
    ],
)
async def test_invalid_export_status_is_reported(
    server: Server, scripted_client: NexthinkClient, reply: Answer, kind: type[ExportError], reason: Reason
) -> None:
    server.script(answer(200, {"exportId": "e1"}), reply)
    with pytest.raises(ExportError) as error:
        await exported(scripted_client, "#any")
    assert (type(error.value), error.value.reason) == (kind, reason)


async def test_file_with_a_row_that_is_too_long_fails_without_a_second_download(
    server: Server, scripted_client: NexthinkClient
) -> None:
    server.script(*replies(server.url, answer(200, b"h\n" + b"x" * 70_000)))
    with pytest.raises(Permanent, match="more than 65,536 characters") as error:
        await exported(scripted_client, "#any")
    assert error.value.reason is Reason.REMOTE_REPLY_TOO_LARGE
    assert server.request_count == 3


@pytest.mark.parametrize("file", [b"", gzip.compress(b"", mtime=0), b"<html>\n<p>Please log in\n"])
@pytest.mark.parametrize("only_first", [True, False])
async def test_file_that_is_not_a_table_is_rejected_after_a_second_download(
    server: Server, scripted_client: NexthinkClient, file: bytes, only_first: bool
) -> None:
    first = replies(server.url, answer(200, file))
    second = replies(server.url, answer(200, b"h\na@example.com\n" if only_first else file))
    server.script(*first, *second[1:])
    if only_first:
        assert await exported(scripted_client, "#any") == ["a@example.com"]
    else:
        with pytest.raises(Transient, match="Cannot read the export of query #any: the file is") as error:
            await exported(scripted_client, "#any")
        assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert server.request_count == 5


TRUNCATED = b"user.ad.email_address\nalice@example.com\nbob@example.co"


def until_closed(body: bytes) -> bytes:
    """A reply without a length: it ends when the connection is closed, as in HTTP/1.0."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nConnection: close\r\n\r\n" + body


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("rest", [b"", b"m\n"])
async def test_file_without_length_or_chunks_is_rejected_after_a_second_download(
    server: Server, scripted_client: NexthinkClient, rest: bytes, compressed: bool
) -> None:
    file = gzip.compress(TRUNCATED + rest) if compressed else TRUNCATED + rest
    first = replies(server.url, until_closed(file))
    server.script(*first, *first[1:])
    with pytest.raises(Transient, match="neither a length nor chunks") as error:
        await exported(scripted_client, "#any")
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert "proxy" in (error.value.next_step or "")


async def test_truncated_chunked_download_is_restarted(server: Server, scripted_client: NexthinkClient) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(TRUNCATED), TRUNCATED)
    truncated, complete = head + chunk, head + chunk + b"2\r\nm\n\r\n0\r\n\r\n"
    first, second = replies(server.url, truncated), replies(server.url, complete)
    server.script(*first, *second[1:])
    assert await exported(scripted_client, "#any") == ["alice@example.com", "bob@example.com"]


async def test_unclosed_quote_is_reported_after_a_second_download(
    server: Server, scripted_client: NexthinkClient
) -> None:
    first = replies(server.url, answer(200, b'h\n"oneil@example.com\nb@example.com\n'))
    server.script(*first, *first[1:])
    with pytest.raises(Transient, match="a quoted cell of the file has no end") as error:
        await exported(scripted_client, "#any")
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert "UTF-8 with a header line" in (error.value.next_step or "")


async def test_wait_for_a_new_download_url_has_only_the_time_limit_of_a_download(
    server: Server, scripted_client: NexthinkClient, clock: RecordingClock
) -> None:
    """The run holds memory during this wait. The first time, Nexthink may take an hour."""
    server.script(*replies(server.url, answer(503)), answer(200, {"status": "IN_PROGRESS"}))
    start_time = clock.monotonic()
    with pytest.raises(Transient) as error:
        await exported(scripted_client, "#any")
    assert error.value.reason is Reason.REMOTE_UNAVAILABLE
    assert 9 * 60 < clock.monotonic() - start_time < 12 * 60


async def test_store_that_sends_headers_byte_by_byte_hits_the_request_timeout(
    server: Server, clock: RecordingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_clock = LoopClock(monkeypatch)

    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            loop_clock.advance(10)
            await asyncio.sleep(0)

    server.script(*replies(server.url, *[trickle] * 5))
    timeouts = Timeouts(connect=10**6, silence=10**6, total=120)
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, timeouts=timeouts) as context:
        with pytest.raises(Transient) as error:
            await exported(NexthinkClient(context, nexthink_from(secret(server), "Secret dex/nexthink")), "#any")
    assert error.value.reason is Reason.REMOTE_UNAVAILABLE
    assert loop_clock.advanced < 5 * 200


async def test_download_that_trickles_for_hours_fails(
    server: Server, scripted_client: NexthinkClient, clock: RecordingClock
) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nh\n")
        while True:
            writer.write(b"a@example.com\n")
            await writer.drain()
            clock.advance(60)
            await asyncio.sleep(0.001)

    server.script(*replies(server.url, trickle))
    start_time = clock.monotonic()
    with pytest.raises(Transient):
        await exported(scripted_client, "#any")
    assert clock.monotonic() - start_time < 15 * 60, "other runs may wait for the memory"


async def test_reader_that_stops_early_leaves_no_connection_open(
    nexthink: NexthinkClient, large_query: str, calls: list[CallRecord]
) -> None:
    export = await nexthink.export(large_query, {})
    async with aclosing(export.rows(lambda: None)) as rows:
        async for _ in rows:
            break
    assert calls[-1].operation == "download"


async def test_exception_of_the_reader_leaves_no_connection_open(
    nexthink: NexthinkClient, large_query: str, calls: list[CallRecord]
) -> None:
    async def read() -> None:
        export = await nexthink.export(large_query, {})
        async with aclosing(export.rows(lambda: None)) as rows:
            async for _ in rows:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read()
    assert calls[-1].operation == "download"


async def test_large_result_takes_no_more_memory_than_a_small_one(nexthink: NexthinkClient, account: Account) -> None:
    account.add_query(Query.generated("#small", 10_000))
    account.add_query(Query.generated("#large", 100_000))
    peaks = []
    for query_id in ("#small", "#small", "#large"):
        tracemalloc.start()
        export = await nexthink.export(query_id, {})
        async for _ in export.rows(lambda: None):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 1024 * 1024


@pytest.mark.parametrize(
    ("file", "found", "downloads"),
    [
        ("h\njörg@example.com\n".encode("latin-1"), "not text in UTF-8", 1),
        (b"ana@example.com\nben@example.com\n", "no header line", 1),
        (b"\n", "header line of the file is empty", 1),
        (b"a;b\n1;2\n", "semicolons", 1),
        (b'{"error": "ask ana@example.com"}', "JSON", 2),
        (b"", "empty", 2),
    ],
)
async def test_file_in_an_unexpected_format_is_rejected_with_a_next_step(
    nexthink: NexthinkClient, sandbox: Sandbox, large_query: str, file: bytes, found: str, downloads: int
) -> None:
    sandbox.faults.add("nexthink.download", times=None, body=file)
    with pytest.raises(Transient) as error:
        await exported(nexthink, large_query)
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID
    assert found in error.value.what
    assert "@" not in error.value.message
    assert ("Nexthink's support" in error.value.next_step) == (downloads == 1)
    assert sandbox.recorder.count("nexthink.download") == downloads
