"""Responses that are too large, slow, truncated, compressed or redirected. Secrets stay out of logs and errors."""

import asyncio
import functools
import gzip
import logging
import os
import resource
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.bodies import LARGEST_BODY
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.response import SMALL_BODY, Response
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import MAX_LARGE_RESPONSES, CallRecord, Timeouts
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Sandbox
from tests.remote.clock import RecordingClock
from tests.remote.servers import JSON, Answer, Server, answer, silence, token
from tests.support.loop_clock import LoopClock
from tests.support.waiting import HANG_SECONDS

READ = Operation(
    name="read", task="show the thing", path="/thing", query={"key": "confidential"}, retry=RetryPolicy.READ
)


def body(reply: Response) -> bytes:
    return reply.body


def document(reply: Response) -> object:
    return reply.document()


async def error_of_read(session: Session, read: Callable[[Response], object] = document) -> ExportError:
    with pytest.raises(ExportError) as error:
        await session.call(READ, read)
    return error.value


def endless_response(start: bytes, piece: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """An answer that sends pieces until the client closes the connection. Its `sent` is the number of bytes."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        write.sent = 0  # type: ignore[attr-defined]
        while True:
            writer.write(piece)
            await writer.drain()
            write.sent += len(piece)  # type: ignore[attr-defined]

    return write


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


async def test_reading_an_endless_body_stops_and_fails_as_too_large(server: Server, session: Session) -> None:
    response = endless_response(HEAD, b" " * 65536)
    server.script(response)
    error = await error_of_read(session)
    assert (type(error), error.reason) == (Permanent, Reason.REMOTE_REPLY_TOO_LARGE)
    assert server.request_count == 1
    assert response.sent < 4 * LARGEST_BODY  # type: ignore[attr-defined]


async def test_an_error_does_not_keep_a_too_large_response_in_memory(server: Server, session: Session) -> None:
    await session.token()
    server.script(endless_response(HEAD, b" " * 65536))
    tracemalloc.start()
    error = await error_of_read(session)
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert error.reason is Reason.REMOTE_REPLY_TOO_LARGE
    assert memory < LARGEST_BODY // 2


async def test_reading_an_endless_error_page_stops(server: Server, session: Session) -> None:
    response = endless_response(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", b"x" * 65536)
    server.script(response)
    error = await error_of_read(session)
    assert (type(error), error.reason, error.status) == (Transient, Reason.REMOTE_REPLY_INVALID, 404)
    assert response.sent < LARGEST_BODY  # type: ignore[attr-defined]


LARGE_BODY_START = b'{"a": "' + b"x" * 2 * SMALL_BODY
"""The start of a response that needs a share of the memory for large responses."""


def hold_all_memory(api_context: ApiContext) -> AbstractAsyncContextManager[object]:
    """Hold the memory for all large responses."""
    return api_context.transport._large_responses.hold(Tenant("team", "another"), MAX_LARGE_RESPONSES)


async def wait_for_memory_queue(api_context: ApiContext) -> None:
    """Wait until a response waits for memory."""
    async with asyncio.timeout(HANG_SECONDS):
        while not len(api_context.transport._large_responses._queue):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("complete", [True, False], ids=["complete response", "incomplete response"])
async def test_waiting_for_memory_does_not_count_against_the_time_limit_of_a_response(
    server: Server,
    clock: RecordingClock,
    credentials: ServiceCredentials,
    complete: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished = asyncio.Event()

    async def large(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + LARGE_BODY_START + (b'"}' if complete else b""))
        await writer.drain()
        if not complete:
            await finished.wait()

    server.script(large, answer(404, {"meta": {"error": {}}}))
    timeouts = Timeouts(connect=10**6, silence=10**6, total=HANG_SECONDS)
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, timeouts=timeouts) as api_context:
        loop_clock = LoopClock(monkeypatch)
        async with hold_all_memory(api_context):
            call = asyncio.create_task(Session(api_context, credentials, QUALTRICS).call(READ, document))
            await wait_for_memory_queue(api_context)
            for _ in range(10):
                loop_clock.advance(HANG_SECONDS)
                await asyncio.sleep(0)
            assert not call.done()
        if complete:
            assert await call == {"a": "x" * 2 * SMALL_BODY}
            assert server.request_count == 1
            return
        while server.request_count == 1:  # from now on, the time counts again
            loop_clock.advance(1)
            await asyncio.sleep(0)
        with pytest.raises(Permanent):
            await call
        assert loop_clock.advanced < 12 * HANG_SECONDS
        finished.set()


@functools.cache  # compressing takes a second
def gzip_bomb(layers: int) -> bytes:
    """200 MB of spaces, compressed as many times as there are layers."""
    return gzip.compress(gzip_bomb(layers - 1) if layers > 1 else b" " * (200 * 1024 * 1024), 9, mtime=0)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("declared", ["gzip", "deflate", "br", "gzip, gzip, gzip", None])
async def test_a_gzip_bomb_is_rejected_within_limited_memory(
    server: Server, session: Session, layers: int, declared: str | None
) -> None:
    server.script(answer(200, gzip_bomb(layers), {"Content-Encoding": declared} if declared else {}))
    tracemalloc.start()
    error = await error_of_read(session)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.reason is (Reason.REMOTE_REPLY_TOO_LARGE if layers == 1 else Reason.REMOTE_REPLY_INVALID)
    assert peak < 4 * LARGEST_BODY


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["without the header", "with the header"])
async def test_a_gzip_response_is_read_with_and_without_a_content_encoding_header(
    server: Server, session: Session, headers: dict[str, str]
) -> None:
    server.script(answer(200, gzip.compress(b'{"a": 1}', mtime=0), headers))
    assert await session.call(READ, document) == {"a": 1}


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, gzip.compress(b'{"a": 1}', mtime=0)[:-3]),
        answer(200, gzip.compress(b'{"a": 1}', mtime=0)[:12] + b"\0\0\0\0" + gzip.compress(b'{"a": 1}')[16:]),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n{}",
        b"\0\1\2\3",
        b"220 mail.example.com ESMTP\r\n",
        silence,
    ],
    ids=[
        "truncated gzip",
        "corrupt gzip",
        "a truncated body",
        "a truncated chunk",
        "a truncated header",
        "two content lengths",
        "a header that is too large",
        "binary data",
        "another protocol",
        "a closed connection",
    ],
)
async def test_a_truncated_or_invalid_response_is_retried_and_then_fails_as_unavailable(
    server: Server, session: Session, reply: Answer
) -> None:
    server.script(reply)
    error = await error_of_read(session)
    assert (type(error), error.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)
    assert server.request_count == 5


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b"{", b"\xff\xfe{\0}\0", b"1" * 5000, b"null x", b"\xef\xbb\xbf"],
    ids=[
        "an empty body",
        "a page",
        "truncated JSON",
        "UTF-16",
        "a number of 5000 digits",
        "text after JSON",
        "only a byte order mark",
    ],
)
async def test_a_response_that_is_not_json_is_retried_once_and_then_fails_as_invalid(
    server: Server, session: Session, text: bytes
) -> None:
    server.script(answer(200, text, JSON))
    error = await error_of_read(session)
    assert (type(error), error.reason) == (Transient, Reason.REMOTE_REPLY_INVALID)
    assert server.request_count == 2


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_redirects_are_not_followed(server: Server, session: Session, status: int) -> None:
    async with Server() as elsewhere:
        server.script(answer(status, headers={"Location": f"{elsewhere.url}/"}))
        error = await error_of_read(session)
        assert error.reason is Reason.REMOTE_REPLY_INVALID
        assert elsewhere.request_count == elsewhere.token_request_count == 0
    assert {request.target for request in server.received_requests} == {"/thing?key=confidential"}


async def test_cookies_are_not_sent_back(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials
) -> None:
    """A session cookie of one credential must not be sent with requests of another."""
    server.tokens = [answer(200, {"access_token": "x", "expires_in": 99}, {"Set-Cookie": "session=1"})]
    server.script(answer(200, headers={"Set-Cookie": "session=2; Path=/"}), answer(200))
    session = Session(api_context, credentials, QUALTRICS)
    await session.call(READ, body)
    await session.call(READ, body)
    assert all("cookie" not in request.headers for request in [*server.received_requests, *server.token_requests])


async def test_the_transport_ignores_proxy_variables_and_netrc(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    async with Server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        server.script(answer(200))
        await session.call(READ, body)
        assert proxy.request_count == proxy.token_request_count == 0
    assert server.received_requests[0].headers["authorization"] == "Bearer a-token"


class TestSlowServices:
    """Time limits of sockets use the time of the machine. Only the limit that a test is about is short."""

    @pytest.fixture
    def timeouts(self, request: pytest.FixtureRequest) -> Timeouts:
        generous = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
        return replace(generous, **getattr(request, "param", {"total": 0.3}))

    @pytest.mark.parametrize("timeouts", [{"silence": 0.1}], indirect=True)
    async def test_a_service_that_stops_sending_times_out(self, server: Server, session: Session) -> None:
        async def never_answer(writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        server.script(never_answer)
        error = await error_of_read(session)
        assert (type(error), error.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)
        assert "stopped sending" in error.what
        assert isinstance(error, Transient)
        assert error.timed_out

    async def test_a_service_that_sends_too_slowly_times_out(self, server: Server, session: Session) -> None:
        async def trickle(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

        server.script(trickle)
        error = await error_of_read(session)
        assert (type(error), error.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)
        assert "0.3 s" in error.what
        assert isinstance(error, Transient)
        assert error.timed_out

    async def test_a_service_that_repeats_100_continue_fails_as_unavailable(
        self, server: Server, session: Session
    ) -> None:
        async def repeat_continue(writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        server.script(repeat_continue)
        assert (await error_of_read(session)).reason is Reason.REMOTE_UNAVAILABLE


class TestTls:
    """Certificates are verified against the authorities in SSL_CERT_FILE."""

    @pytest.fixture
    async def sandbox(self, tmp_path: Path) -> AsyncIterator[Sandbox]:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        async with Sandbox(tls=context, advertise="localhost") as running:
            yield running

    async def request_token(self, sandbox: Sandbox, *hosts: str) -> None:
        secret = sandbox.secrets()["qualtrics"]
        credentials = ServiceCredentials(
            source="Secret dex/qualtrics",
            url=secret["url"].replace("localhost", hosts[0]),
            token_url=secret["tokenUrl"].replace("localhost", hosts[0]),
            client_id=secret["clientId"],
            client_secret=secret["clientSecret"],
            scope=secret["scope"],
        )
        async with ApiContext(clock=RecordingClock(), allowed_hosts=hosts) as api_context:
            await Session(api_context, credentials, QUALTRICS).token()

    async def test_an_authority_in_ssl_cert_file_is_trusted(
        self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        await self.request_token(sandbox, "localhost")

    async def test_an_unknown_authority_fails_with_certificate_not_trusted(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        with pytest.raises(Transient, match="certificate is not trusted"):
            await self.request_token(sandbox, "localhost")
        assert sandbox.recorder.calls == []

    async def test_a_certificate_for_another_host_fails_with_certificate_not_trusted(
        self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with pytest.raises(Transient, match="certificate is not trusted"):
            await self.request_token(sandbox, "127.0.0.1")


async def test_a_refused_connection_is_reported_as_refused(
    server: Server, session: Session, calls: list[CallRecord]
) -> None:
    await server.__aexit__(None, None, None)
    with pytest.raises(Transient) as error:
        await session.token()
    assert (
        error.value.what
        == "Cannot send Qualtrics the request to issue a token for Secret dex/remote: it refuses connections"
    )
    assert {call.outcome for call in calls} == {"unreachable"}


@contextmanager
def no_free_file_descriptors() -> Iterator[None]:
    """Within the block, this process cannot open a file or socket."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        lowest_free = file.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_too_many_open_files_are_reported_as_a_problem_of_the_operator(server: Server, session: Session) -> None:
    first = await session.token()
    before = server.request_count
    with no_free_file_descriptors(), pytest.raises(Transient) as error:
        await session.token(not_this=first)
    assert error.value.what.endswith("the operator could not open a connection: Too many open files")
    assert error.value.next_step.startswith("Raise the limits of the operator's process")
    assert server.request_count == before


async def test_an_unknown_host_name_is_reported_as_not_resolvable(
    clock: RecordingClock, credentials: ServiceCredentials
) -> None:
    unresolvable = replace(credentials, token_url="https://does-not-exist.invalid/token")
    async with ApiContext(clock=clock, allowed_hosts=["*.invalid"]) as api_context:
        with pytest.raises(Transient, match="its host name cannot be resolved"):
            await Session(api_context, unresolvable, QUALTRICS).token()


OUTCOMES: dict[str, tuple[Answer, int | None, str]] = {
    "success": (answer(200), 200, "ok"),
    "partial content": (answer(206), 206, "ok"),
    "refusal": (answer(404, {"meta": {"error": {}}}), 404, "refused"),
    "rate limit": (answer(429), 429, "limited"),
    "server error": (answer(502), 502, "failed"),
    "redirect": (answer(302), 302, "odd"),
    "truncated": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, "lost"),
    "too large": (answer(200, b"x" * (LARGEST_BODY + 1)), 200, "odd"),
    "no response": (silence, None, "lost"),
}


@pytest.mark.parametrize("case", OUTCOMES)
async def test_every_attempt_is_recorded_with_its_status_and_outcome(
    server: Server, session: Session, calls: list[CallRecord], case: str
) -> None:
    reply, status, outcome = OUTCOMES[case]
    await session.token()
    server.script(reply, answer(200))
    try:
        await session.call(READ, body)
    except Permanent:
        assert case in ("refusal", "too large")
    (_, first, *rest) = calls
    assert (first.service, first.operation, first.method) == ("qualtrics", "read", "GET")
    assert (first.status, first.outcome) == (status, outcome)
    assert first.seconds >= 0
    final = outcome in ("ok", "refused") or case == "too large"
    assert [call.outcome for call in rest] == ([] if final else ["ok"])


async def test_a_cancelled_call_is_recorded_as_cancelled(
    server: Server, session: Session, calls: list[CallRecord]
) -> None:
    reached = asyncio.Event()

    async def hang(writer: asyncio.StreamWriter) -> None:
        reached.set()
        await asyncio.Event().wait()

    await session.token()
    server.script(hang)
    call = asyncio.create_task(session.call(READ, body))
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert calls[-1].outcome == "cancelled"


async def test_no_secret_reaches_a_log_an_error_or_a_repr(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    server.tokens = [token("the-token")]
    page = '{"meta": {"error": {"errorCode": "ana@example.com", "errorMessage": "ana@example.com"}}}'
    server.script(answer(500, page), answer(200, page), answer(400, page))
    session = Session(api_context, credentials, QUALTRICS)
    with caplog.at_level(1):
        for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
            logging.getLogger(name).setLevel(1)
        try:
            await session.call(READ, body)
            with pytest.raises(Permanent) as refused:
                await session.call(READ, body)
            error = refused.value
        finally:
            for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
                logging.getLogger(name).setLevel(0)
    output = " ".join([caplog.text, str(error), repr(error), repr(credentials), repr(api_context.hosts), str(session)])
    for secret in ("the-token", "the-secret", "the-client", "confidential", "ana"):
        assert secret not in output
    assert "127.0.0.1" not in caplog.text
    assert repr(credentials) == "<ServiceCredentials of Secret dex/remote>"


def test_a_megabyte_of_the_gzip_bomb_compresses_to_less_than_2000_bytes() -> None:
    assert len(zlib.compress(b" " * 1024 * 1024, 9)) < 2000
