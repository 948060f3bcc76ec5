"""Replies that are too large, too slow, cut, packed, or want to be followed somewhere; and what must not get out."""

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
from tests.environment.loop_clock import LoopClock
from tests.environment.waiting import HANG_SECONDS
from tests.remote.clock import HastyClock
from tests.remote.servers import JSON, Answer, Server, answer, silence, token

READ = Operation(
    name="read", task="show the thing", path="/thing", query={"key": "confidential"}, retry=RetryPolicy.READ
)


def body(reply: Response) -> bytes:
    return reply.body


def document(reply: Response) -> object:
    return reply.document()


async def failed(remote: Session, read: Callable[[Response], object] = document) -> ExportError:
    with pytest.raises(ExportError) as error:
        await remote.call(READ, read)
    return error.value


def endless(start: bytes, piece: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Goes on until the client has had enough; `sent` of the server's answer tells how much that was."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        write.sent = 0  # type: ignore[attr-defined]
        while True:
            writer.write(piece)
            await writer.drain()
            write.sent += len(piece)  # type: ignore[attr-defined]

    return write


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


async def test_a_body_without_end_is_not_read_to_its_end(server: Server, remote: Session) -> None:
    flood = endless(HEAD, b" " * 65536)
    server.script(flood)
    error = await failed(remote)
    assert (type(error), error.reason) == (Permanent, Reason.REMOTE_REPLY_TOO_LARGE)
    assert server.asked == 1
    assert flood.sent < 4 * LARGEST_BODY  # type: ignore[attr-defined]


async def test_an_error_does_not_keep_the_reply_that_was_too_large(server: Server, remote: Session) -> None:
    await remote.token()
    server.script(endless(HEAD, b" " * 65536))
    tracemalloc.start()
    error = await failed(remote)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert error.reason is Reason.REMOTE_REPLY_TOO_LARGE
    assert kept < LARGEST_BODY // 2


async def test_an_error_page_without_end_is_not_either(server: Server, remote: Session) -> None:
    flood = endless(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", b"x" * 65536)
    server.script(flood)
    error = await failed(remote)
    assert (type(error), error.reason, error.status) == (Transient, Reason.REMOTE_REPLY_INVALID, 404)
    assert flood.sent < LARGEST_BODY  # type: ignore[attr-defined]


LARGE = b'{"a": "' + b"x" * 2 * SMALL_BODY
"""The beginning of a reply whose memory has to be waited for."""


def all_memory(remotes: ApiContext) -> AbstractAsyncContextManager[object]:
    """Holds the memory of all large replies."""
    return remotes.transport._large_responses.hold(Tenant("team", "another"), MAX_LARGE_RESPONSES)


async def waiting(remotes: ApiContext) -> None:
    """Wait until a reply waits for its memory."""
    async with asyncio.timeout(HANG_SECONDS):
        while not len(remotes.transport._large_responses._queue):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("complete", [True, False])
async def test_the_wait_for_memory_is_not_the_time_of_the_remote_side(
    server: Server, clock: HastyClock, credentials: ServiceCredentials, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = asyncio.Event()

    async def large(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + LARGE + (b'"}' if complete else b""))
        await writer.drain()
        if not complete:
            await ends.wait()

    server.script(large, answer(404, {"meta": {"error": {}}}))
    timeouts = Timeouts(connect=10**6, silence=10**6, total=HANG_SECONDS)
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, timeouts=timeouts) as remotes:
        loop_clock = LoopClock(monkeypatch)
        async with all_memory(remotes):
            call = asyncio.create_task(Session(remotes, credentials, QUALTRICS).call(READ, document))
            await waiting(remotes)
            for _ in range(10):
                loop_clock.advance(HANG_SECONDS)
                await asyncio.sleep(0)
            assert not call.done()
        if complete:
            assert await call == {"a": "x" * 2 * SMALL_BODY}
            assert server.asked == 1
            return
        while server.asked == 1:  # the rest of its time counts on
            loop_clock.advance(1)
            await asyncio.sleep(0)
        with pytest.raises(Permanent):
            await call
        assert loop_clock.advanced < 12 * HANG_SECONDS
        ends.set()


@functools.cache  # it takes a second
def bomb(layers: int) -> bytes:
    """200 MB of spaces, packed so many times."""
    return gzip.compress(bomb(layers - 1) if layers > 1 else b" " * (200 * 1024 * 1024), 9, mtime=0)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("declared", ["gzip", "deflate", "br", "gzip, gzip, gzip", None])
async def test_a_small_body_that_unpacks_to_a_huge_one_is_not_unpacked(
    server: Server, remote: Session, layers: int, declared: str | None
) -> None:
    server.script(answer(200, bomb(layers), {"Content-Encoding": declared} if declared else {}))
    tracemalloc.start()
    error = await failed(remote)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.reason is (Reason.REMOTE_REPLY_TOO_LARGE if layers == 1 else Reason.REMOTE_REPLY_INVALID)
    assert peak < 4 * LARGEST_BODY


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
async def test_a_packed_reply_is_understood_whether_it_says_so_or_not(
    server: Server, remote: Session, headers: dict[str, str]
) -> None:
    server.script(answer(200, gzip.compress(b'{"a": 1}', mtime=0), headers))
    assert await remote.call(READ, document) == {"a": 1}


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
)
async def test_a_reply_that_is_cut_or_broken_is_read_again_and_then_given_up(
    server: Server, remote: Session, reply: Answer
) -> None:
    server.script(reply)
    error = await failed(remote)
    assert (type(error), error.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)
    assert server.asked == 5


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"<html>", b"{", b"\xff\xfe{\0}\0", b"1" * 5000, b"null x", b"\xef\xbb\xbf"],
)
async def test_what_is_no_json_is_told_after_a_second_look(server: Server, remote: Session, nonsense: bytes) -> None:
    server.script(answer(200, nonsense, JSON))
    error = await failed(remote)
    assert (type(error), error.reason) == (Transient, Reason.REMOTE_REPLY_INVALID)
    assert server.asked == 2


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_no_redirect_is_followed(server: Server, remote: Session, status: int) -> None:
    async with Server() as elsewhere:
        server.script(answer(status, headers={"Location": f"{elsewhere.url}/"}))
        error = await failed(remote)
        assert error.reason is Reason.REMOTE_REPLY_INVALID
        assert elsewhere.asked == elsewhere.tokens_asked == 0
    assert {heard.target for heard in server.heard} == {"/thing?key=confidential"}


async def test_a_cookie_is_never_given_back(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials
) -> None:
    """A session of one credential must not go out with the requests of another."""
    server.tokens = [answer(200, {"access_token": "x", "expires_in": 99}, {"Set-Cookie": "session=1"})]
    server.script(answer(200, headers={"Set-Cookie": "session=2; Path=/"}), answer(200))
    remote = Session(remotes, credentials, QUALTRICS)
    await remote.call(READ, body)
    await remote.call(READ, body)
    assert all("cookie" not in heard.headers for heard in [*server.heard, *server.heard_for_tokens])


async def test_neither_proxies_nor_netrc_are_taken_from_the_environment(
    server: Server, remote: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    async with Server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        server.script(answer(200))
        await remote.call(READ, body)
        assert proxy.asked == proxy.tokens_asked == 0
    assert server.heard[0].headers["authorization"] == "Bearer a-token"


class TestSlowSides:
    """Time limits are the machine's own time: sockets know no other. Only the limit that a test is about is short."""

    @pytest.fixture
    def timeouts(self, request: pytest.FixtureRequest) -> Timeouts:
        generous = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
        return replace(generous, **getattr(request, "param", {"total": 0.3}))

    @pytest.mark.parametrize("timeouts", [{"silence": 0.1}], indirect=True)
    async def test_a_side_that_falls_silent_is_not_waited_for(self, server: Server, remote: Session) -> None:
        async def sleep(writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        server.script(sleep)
        error = await failed(remote)
        assert (type(error), error.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)
        assert "stopped sending" in error.what
        assert isinstance(error, Transient)
        assert error.timed_out

    async def test_a_side_that_trickles_is_not_waited_for_either(self, server: Server, remote: Session) -> None:
        async def trickle(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

        server.script(trickle)
        error = await failed(remote)
        assert (type(error), error.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)
        assert "0.3 s" in error.what
        assert isinstance(error, Transient)
        assert error.timed_out

    async def test_a_side_that_says_continue_for_ever_is_not(self, server: Server, remote: Session) -> None:
        async def on_and_on(writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        server.script(on_and_on)
        assert (await failed(remote)).reason is Reason.REMOTE_UNAVAILABLE


class TestTls:
    """Certificates are checked, against the authorities of SSL_CERT_FILE."""

    @pytest.fixture
    async def sandbox(self, tmp_path: Path) -> AsyncIterator[Sandbox]:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        async with Sandbox(tls=context, advertise="localhost") as running:
            yield running

    async def ask(self, sandbox: Sandbox, *hosts: str) -> None:
        secret = sandbox.secrets()["qualtrics"]
        credentials = ServiceCredentials(
            source="Secret dex/qualtrics",
            url=secret["url"].replace("localhost", hosts[0]),
            token_url=secret["tokenUrl"].replace("localhost", hosts[0]),
            client_id=secret["clientId"],
            client_secret=secret["clientSecret"],
            scope=secret["scope"],
        )
        async with ApiContext(clock=HastyClock(), allowed_hosts=hosts) as remotes:
            await Session(remotes, credentials, QUALTRICS).token()

    async def test_an_authority_of_ones_own_is_trusted_when_it_is_named(
        self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        await self.ask(sandbox, "localhost")

    async def test_one_that_is_not_named_is_told_as_that(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        with pytest.raises(Transient, match="certificate is not trusted"):
            await self.ask(sandbox, "localhost")
        assert sandbox.ledger.calls == []

    async def test_a_certificate_of_another_host_is_not_accepted(
        self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with pytest.raises(Transient, match="certificate is not trusted"):
            await self.ask(sandbox, "127.0.0.1")


async def test_a_side_that_is_not_there_is_told_as_that(
    server: Server, remote: Session, calls: list[CallRecord]
) -> None:
    await server.__aexit__(None, None, None)
    with pytest.raises(Transient) as error:
        await remote.token()
    assert (
        error.value.what
        == "Cannot send Qualtrics the request to issue a token for Secret dex/remote: it refuses connections"
    )
    assert {call.outcome for call in calls} == {"unreachable"}


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process cannot open any file or socket meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        lowest_free = file.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_too_many_open_files_are_not_blamed_on_the_remote_side(server: Server, remote: Session) -> None:
    first = await remote.token()
    asked = server.asked
    with no_more_files(), pytest.raises(Transient) as error:
        await remote.token(not_this=first)
    assert error.value.what.endswith("the operator could not open a connection: Too many open files")
    assert error.value.next_step.startswith("Raise the limits of the operator's process")
    assert server.asked == asked


async def test_a_name_that_does_not_exist_is_told_as_that(clock: HastyClock, credentials: ServiceCredentials) -> None:
    there = replace(credentials, token_url="https://does-not-exist.invalid/token")
    async with ApiContext(clock=clock, allowed_hosts=["*.invalid"]) as remotes:
        with pytest.raises(Transient, match="its host name cannot be resolved"):
            await Session(remotes, there, QUALTRICS).token()


OUTCOMES: dict[str, tuple[Answer, int | None, str]] = {
    "good": (answer(200), 200, "ok"),
    "cut by the licence": (answer(206), 206, "ok"),
    "refused": (answer(404, {"meta": {"error": {}}}), 404, "refused"),
    "too often": (answer(429), 429, "limited"),
    "failed": (answer(502), 502, "failed"),
    "redirected": (answer(302), 302, "odd"),
    "cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, "lost"),
    "too large": (answer(200, b"x" * (LARGEST_BODY + 1)), 200, "odd"),
    "dropped": (silence, None, "lost"),
}


@pytest.mark.parametrize("case", OUTCOMES)
async def test_every_try_is_observed(server: Server, remote: Session, calls: list[CallRecord], case: str) -> None:
    reply, status, outcome = OUTCOMES[case]
    await remote.token()
    server.script(reply, answer(200))
    try:
        await remote.call(READ, body)
    except Permanent:
        assert case in ("refused", "too large")
    (_, first, *rest) = calls
    assert (first.service, first.operation, first.method) == ("qualtrics", "read", "GET")
    assert (first.status, first.outcome) == (status, outcome)
    assert first.seconds >= 0
    final = outcome in ("ok", "refused") or case == "too large"
    assert [call.outcome for call in rest] == ([] if final else ["ok"])


async def test_a_call_that_is_cancelled_is_observed_too(
    server: Server, remote: Session, calls: list[CallRecord]
) -> None:
    reached = asyncio.Event()

    async def hang(writer: asyncio.StreamWriter) -> None:
        reached.set()
        await asyncio.Event().wait()

    await remote.token()
    server.script(hang)
    call = asyncio.create_task(remote.call(READ, body))
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert calls[-1].outcome == "cancelled"


async def test_nothing_that_is_secret_reaches_a_log_an_error_or_a_repr(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    server.tokens = [token("the-token")]
    page = '{"meta": {"error": {"errorCode": "ana@example.com", "errorMessage": "ana@example.com"}}}'
    server.script(answer(500, page), answer(200, page), answer(400, page))
    remote = Session(remotes, credentials, QUALTRICS)
    with caplog.at_level(1):
        for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
            logging.getLogger(name).setLevel(1)
        try:
            await remote.call(READ, body)
            with pytest.raises(Permanent) as refused:
                await remote.call(READ, body)
            error = refused.value
        finally:
            for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
                logging.getLogger(name).setLevel(0)
    shown = " ".join([caplog.text, str(error), repr(error), repr(credentials), repr(remotes.hosts), str(remote)])
    for secret in ("the-token", "the-secret", "the-client", "confidential", "ana"):
        assert secret not in shown
    assert "127.0.0.1" not in caplog.text
    assert repr(credentials) == "<ServiceCredentials of Secret dex/remote>"


def test_the_bombs_of_these_tests_are_bombs() -> None:
    assert len(zlib.compress(b" " * 1024 * 1024, 9)) < 2000
