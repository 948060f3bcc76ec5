"""Which proxy a request uses, and the outcome of requests that fail at the proxy."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpcore
import pytest
import trustme

from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Transient
from qualtrics_exporter.remote.failures import RequestProgress
from qualtrics_exporter.remote.hosts import HostRules, Url
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.proxies import BadProxy, NoProxy, Proxies, Proxy
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import CallRecord, Timeouts
from tests.remote.clock import RecordingClock
from tests.remote.scripted_proxy import Script, ScriptedProxy
from tests.remote.servers import Server, answer, credentials_for
from tests.support.waiting import HANG_SECONDS

SEND = Operation(name="send", task="send the thing", method="POST", path="/thing", body=b"{}", retry=RetryPolicy.NEVER)


def url_of(text: str) -> Url:
    return HostRules([text.split("/")[2]], allow_http=True).check(text, "it")


# Settings.


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "auth"),
    [
        ("http://proxy.example.com:3128", "http", "proxy.example.com", 3128, None),
        ("http://proxy.example.com", "http", "proxy.example.com", 80, None),
        ("https://proxy.example.com/", "https", "proxy.example.com", 443, None),
        ("HTTP://Proxy.Example.com:3128/", "http", "proxy.example.com", 3128, None),
        ("proxy:3128", "http", "proxy", 3128, None),
        ("my_proxy:3128", "http", "my_proxy", 3128, None),
        ("http://[2001:DB8::1]:3128", "http", "2001:db8::1", 3128, None),
        ("http://u:p@proxy:3128", "http", "proxy", 3128, ("u", "p")),
        ("u:p@proxy:3128", "http", "proxy", 3128, ("u", "p")),
        ("http://u@proxy:3128", "http", "proxy", 3128, ("u", "")),
        ("http://DOMAIN%5Cu:p%40ss%2F%23%3A@proxy:3128", "http", "proxy", 3128, ("DOMAIN\\u", "p@ss/#:")),
        ("http://u:p@s/s#w?rd@proxy:3128", "http", "proxy", 3128, ("u", "p@s/s#w?rd")),
        ("http://u:passwört@proxy:3128", "http", "proxy", 3128, ("u", "passwört")),
    ],
)
def test_a_proxy_url_is_parsed_in_all_common_forms(
    text: str, scheme: str, host: str, port: int, auth: tuple[str, str] | None
) -> None:
    proxy = Proxy.parse(text, "HTTPS_PROXY")
    assert (proxy.scheme, proxy.host, proxy.port, proxy.auth) == (scheme, host, port, auth)
    assert auth is None or len(auth[1]) < 2 or auth[1] not in repr(proxy) + proxy.url


@pytest.mark.parametrize(
    "text",
    ["http://", "http://u:s3cret@", "http://u:s3cret@proxy:0", "http://u:s3cret@proxy:99999", "http://proxy:3128/s3cret",
     "http://proxy?s3cret", "socks5://u:s3cret@proxy:1080", "ftp://u:s3cret@proxy", "http://u:s3cret@pro xy",
     "http://u:s3cret@[::g]:1", "http://u:s3\ncret@proxy", "http://u:s3cret@proxy:port", "http://u:s3cret@.", ":3128"],
)  # fmt: skip
def test_an_invalid_proxy_url_is_rejected_with_the_variable_and_without_the_password(text: str) -> None:
    with pytest.raises(BadProxy, match=r"^HTTPS_PROXY ") as error_info:
        Proxy.parse(text, "HTTPS_PROXY")
    assert "s3" not in str(error_info.value)
    assert error_info.value.__context__ is None or "s3" not in str(error_info.value.__context__)


NO_PROXY = {
    # As Go and kubectl read it: https://pkg.go.dev/golang.org/x/net/http/httpproxy
    "example.com": (["example.com", "a.example.com", "a.b.example.com"], ["badexample.com", "example.com.evil.com"]),
    ".example.com": (["a.example.com"], ["example.com", "badexample.com"]),
    "*.example.com": (["a.example.com"], ["example.com"]),
    "EXAMPLE.com": (["example.com"], []),
    "example.com:8443": (["example.com:8443"], ["example.com", "example.com:8080"]),
    "10.0.0.0/8": (["10.0.0.1", "10.255.255.255:8443"], ["11.0.0.1", "10.example.com"]),
    "10.1.2.3/16": (["10.1.255.1"], ["10.2.0.1"]),
    "192.0.2.7": (["192.0.2.7", "192.0.2.7:8443"], ["192.0.2.70"]),
    "192.0.2.7:8443": (["192.0.2.7:8443"], ["192.0.2.7"]),
    "2001:db8::/32": (["[2001:db8::1]"], ["[2001:db9::1]", "32.1.13.184"]),
    "[2001:db8::1]:8443": (["[2001:db8::1]:8443"], ["[2001:db8::1]"]),
    "2001:db8::1": (["[2001:db8:0::1]"], ["[2001:db8::2]"]),
    "*": (["example.com", "10.0.0.1", "[2001:db8::1]:8443"], []),
    "0.0.0.0/0": (["10.0.0.1"], ["example.com", "[2001:db8::1]"]),
    "svc": (["svc", "a.svc"], ["svca"]),
}


@pytest.mark.parametrize("entry", NO_PROXY)
def test_no_proxy_exempts_the_same_hosts_as_for_kubectl(entry: str) -> None:
    direct, proxied = NO_PROXY[entry]
    proxies, warnings = Proxies.from_settings(None, (), {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": f"a.b, {entry},"})
    assert warnings == []
    assert [host for host in [*direct, *proxied] if proxies.of(url_of(f"https://{host}/")) is None] == direct


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.0/33", "<local>", "192.168.*", "a b;c", "[::1", "1.2.3.4.5", "http://x.y", "ex*mple.com", "a:99999"],
)
def test_an_invalid_entry_of_no_proxy_is_reported_and_the_other_entries_apply(entry: str) -> None:
    environment = {"https_proxy": "http://proxy:1", "no_proxy": f"{entry},example.com"}
    proxies, warnings = Proxies.from_settings(None, (), environment)
    assert proxies.of(url_of("https://example.com/")) is None
    assert proxies.of(url_of("https://other.com/"))
    assert warnings
    assert all(warning.startswith("Entry ") and " of NO_PROXY is not a host name" in warning for warning in warnings)
    with pytest.raises(BadProxy, match=r"^Entry 2 of --no-proxy is not "):
        NoProxy(["a.com", entry])


@pytest.mark.parametrize(
    "entry", ["http://svc:s3cret@proxy:3128", "svc:s3cret@proxy", "s3cret:x", "//s3cret", "s3cret@", "svc:s3cret"]
)
def test_the_warning_about_an_invalid_entry_of_no_proxy_shows_no_password(entry: str) -> None:
    environment = {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": f"localhost, {entry}"}
    (warning,) = Proxies.from_settings(None, (), environment)[1]
    with pytest.raises(BadProxy) as error_info:
        Proxies.from_settings(None, ("localhost", entry), environment)
    for text in warning, str(error_info.value):
        assert text.startswith("Entry 2 of ")
        assert "s3cret" not in text


def test_the_error_about_an_invalid_scheme_does_not_show_the_scheme() -> None:
    with pytest.raises(BadProxy) as error_info:
        Proxy.parse("sockss3cret://proxy:1", "HTTPS_PROXY")
    assert "s3cret" not in str(error_info.value)


def test_proxy_flags_override_variables_and_upper_case_variables_override_lower_case() -> None:
    environment = {
        "HTTPS_PROXY": "http://capital:1",
        "https_proxy": "http://small:1",
        "http_proxy": "http://plain:1",
        "ALL_PROXY": "socks5://all:1",
        "NO_PROXY": "a.com",
        "no_proxy": "b.com",
    }

    def hosts(proxies: Proxies) -> list[str | None]:
        urls = ["https://a.com/", "https://b.com/", "https://c.com/", "http://c.com/"]
        return [proxy.host if (proxy := proxies.of(url_of(text))) else None for text in urls]

    assert hosts(Proxies.from_settings(None, (), environment)[0]) == [None, "capital", "capital", "plain"]
    assert hosts(Proxies.from_settings("flag:1", (), environment)[0]) == [None, "flag", "flag", "flag"]
    assert hosts(Proxies.from_settings("flag:1", ["b.com"], environment)[0]) == ["flag", None, "flag", "flag"]
    assert hosts(Proxies.from_settings(None, (), {"HTTPS_PROXY": " ", "NO_PROXY": ""})[0]) == [None] * 4
    assert hosts(Proxies()) == [None] * 4


def test_loopback_hosts_use_only_a_proxy_on_the_same_machine() -> None:
    """On another machine, localhost is that machine itself."""
    loopback = ["https://localhost/", "https://127.0.0.1:8471/", "https://127.5.6.7/", "https://[::1]:8471/"]
    remote_proxy, _ = Proxies.from_settings("http://proxy:3128", (), {})
    assert [remote_proxy.of(url_of(text)) for text in loopback] == [None] * 4
    local_proxy, _ = Proxies.from_settings("http://127.0.0.1:3128", (), {})
    assert all(local_proxy.of(url_of(text)) for text in loopback)


def test_the_description_of_the_proxies_shows_no_password() -> None:
    proxies, _ = Proxies.from_settings("https://u:s3cret@proxy:3128", (), {})
    assert (
        proxies.describe()
        == "https through https://proxy:3128 with a user name, http through https://proxy:3128 with a user name"
    )
    assert "s3cret" not in repr(proxies)
    assert Proxies().describe() == ""


# Connections.


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with authority.cert_pem.tempfile(str(tmp_path)) as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        yield


def tls_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[Server]:
    async with Server(tls=tls_context(authority, "qualtrics.example.test")) as running:
        yield running


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[ScriptedProxy]:
    running = ScriptedProxy(int(server.url.rpartition(":")[2]))
    yield running
    await running.stop()


def context_with_proxy(text: str, calls: list[CallRecord], timeouts: Timeouts, *, scheme: str = "https") -> ApiContext:
    proxies, _ = Proxies.from_settings(text, (), {})
    return ApiContext(
        clock=RecordingClock(),
        allowed_hosts=["qualtrics.example.test"],
        allow_http=scheme == "http",
        observe=calls.append,
        timeouts=timeouts,
        proxies=proxies,
    )


def session_in(api_context: ApiContext, scheme: str = "https") -> Session:
    """A session with a host whose name only the proxy can resolve."""
    return Session(api_context, credentials_for(f"{scheme}://qualtrics.example.test"), QUALTRICS)


def body(reply: Response) -> bytes:
    return reply.body


@pytest.mark.usefixtures("trusted")
async def test_the_proxy_gets_only_the_host_name_and_its_own_credentials(
    server: Server, proxy: ScriptedProxy, calls: list[CallRecord], timeouts: Timeouts
) -> None:
    server.script(answer(200, b"good"))
    port = await proxy.start()
    async with context_with_proxy(f"http://u%40corp:p%20w@127.0.0.1:{port}", calls, timeouts) as api_context:
        assert await session_in(api_context).call(SEND, body) == b"good"
    for head in proxy.heads:
        first, *lines = head.strip().split("\r\n")
        assert first == "CONNECT qualtrics.example.test:443 HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert headers.pop("user-agent").startswith("qualtrics-exporter/")
        assert headers.pop("proxy-authorization") == f"Basic {base64.b64encode(b'u@corp:p w').decode()}"
        assert headers == {"host": "qualtrics.example.test:443", "accept": "*/*"}
    assert not {"proxy-authorization", "via"} & server.received_requests[0].headers.keys()
    assert [call.outcome for call in calls] == ["ok", "ok"]


PROXY_FAILURES: dict[str, tuple[Callable[[ScriptedProxy], Script], str]] = {
    "requires a password": (lambda p: p.reply(answer(407)), r"another user name or password \(HTTP 407\)"),
    "forbids the host": (lambda p: p.reply(answer(403, b"<html>s3cret")), r"does not allow this host \(HTTP 403\)"),
    "does not find the host": (lambda p: p.reply(answer(503)), r"the proxy opened no connection \(HTTP 503\)"),
    "times out": (lambda p: p.reply(answer(504)), r"the proxy opened no connection \(HTTP 504\)"),
    "redirects": (lambda p: p.reply(answer(302, headers={"Location": "https://portal"})), r"\(HTTP 302\)"),
    "closes the connection": (lambda p: p.reply(b""), "the proxy opened no connection"),
    "resets the connection": (lambda p: reset, "the proxy opened no connection"),
    "does not speak HTTP": (
        lambda p: p.reply(b"220 mail.example.com ESMTP s3cret\r\n"),
        "the proxy opened no connection",
    ),
    "sends endless headers": (
        lambda p: p.reply(b"HTTP/1.1 200 OK\r\nX: " + b"s3cret" * 90_000),
        "the proxy opened no connection",
    ),
    "closes the connection after a success": (
        lambda p: p.reply(b"HTTP/1.1 200 OK\r\n\r\n"),
        "TLS failed: unexpected eof while reading. Check the proxy",
    ),
    "sends a page after a success": (
        lambda p: p.reply(b"HTTP/1.1 200 OK\r\n\r\n<html>s3cret"),
        "TLS failed: unexpected eof while reading. Check the proxy",
    ),
    "hangs": (lambda p: hang, "the proxy opened no connection within 0.3 s"),
}


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("case", PROXY_FAILURES)
async def test_a_send_whose_proxy_opens_no_connection_fails_as_transient_and_not_as_unknown(
    server: Server, proxy: ScriptedProxy, calls: list[CallRecord], timeouts: Timeouts, case: str
) -> None:
    script, message = PROXY_FAILURES[case]
    port = await proxy.start()
    async with context_with_proxy(f"http://127.0.0.1:{port}", calls, timeouts) as api_context:
        session = session_in(api_context)
        await session.token()
        proxy.script = script(proxy)
        if case == "hangs":
            api_context.transport._timeouts = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=0.3)
        with pytest.raises(Transient, match=message) as error:
            await session.call(SEND, body)
        assert not isinstance(error.value, OutcomeUnknown)
        assert calls[-1].outcome == "unreachable"
        assert "s3cret" not in str(error.value)
    assert server.request_count == 0


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("broken", ["during the response", "before the response"])
async def test_a_send_whose_tunnel_breaks_after_the_request_fails_as_outcome_unknown(
    server: Server, proxy: ScriptedProxy, calls: list[CallRecord], timeouts: Timeouts, broken: str
) -> None:
    port = await proxy.start()
    server.script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" if broken == "during the response" else b"")
    async with context_with_proxy(f"http://127.0.0.1:{port}", calls, timeouts) as api_context:
        with pytest.raises(OutcomeUnknown):
            await session_in(api_context).call(SEND, body)
    assert server.request_count == 1
    assert calls[-1].outcome == "lost"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://127.0.0.1:9", "the proxy refuses connections"),
        ("http://does-not-exist.invalid:3128", "the proxy's host name cannot be resolved"),
    ],
)
async def test_an_unreachable_proxy_is_reported_as_the_cause(
    calls: list[CallRecord], timeouts: Timeouts, text: str, message: str
) -> None:
    async with context_with_proxy(text, calls, timeouts) as api_context:
        with pytest.raises(Transient, match=message) as error:
            await session_in(api_context).token()
    assert "Check the proxy of the operator" in error.value.message
    assert "status page" not in error.value.message


@pytest.mark.usefixtures("trusted")
async def test_a_proxy_with_tls_works_and_its_certificate_is_verified(
    server: Server, proxy: ScriptedProxy, authority: trustme.CA, calls: list[CallRecord], timeouts: Timeouts
) -> None:
    server.script(answer(200, b"good"))
    port = await proxy.start(tls_context(authority, "localhost"))
    async with context_with_proxy(f"https://u:p@localhost:{port}", calls, timeouts) as api_context:
        assert await session_in(api_context).call(SEND, body) == b"good"
    async with context_with_proxy(f"https://127.0.0.1:{port}", calls, timeouts) as api_context:
        with pytest.raises(Transient, match="the proxy's certificate is not trusted: it is for another host"):
            await session_in(api_context).token()


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(answer(407), id="407"),
        pytest.param(answer(401, b"<html>", {"Content-Type": "text/html"}), id="the 401 of tinyproxy"),
    ],
)
async def test_plain_http_uses_the_proxy_and_a_refusal_of_the_proxy_is_reported_as_such(
    proxy: ScriptedProxy, calls: list[CallRecord], timeouts: Timeouts, refusal: bytes
) -> None:
    port = await proxy.start()
    proxy.script = proxy.reply(refusal)
    async with context_with_proxy(f"http://127.0.0.1:{port}", calls, timeouts, scheme="http") as api_context:
        with pytest.raises(ExportError, match="the proxy asks for another user name or password"):
            await session_in(api_context, "http").token()
    assert proxy.heads[0].startswith("POST http://qualtrics.example.test/oauth2/token HTTP/1.1\r\n")
    assert {call.outcome for call in calls} == {"unreachable"}


async def test_a_send_by_plain_http_that_gets_a_401_page_fails_as_outcome_unknown(
    proxy: ScriptedProxy, calls: list[CallRecord], timeouts: Timeouts
) -> None:
    port = await proxy.start()
    proxy.script = proxy.reply(answer(200, b'{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}'))
    async with context_with_proxy(f"http://127.0.0.1:{port}", calls, timeouts, scheme="http") as api_context:
        session = session_in(api_context, "http")
        await session.token()
        proxy.script = proxy.reply(answer(401, b"<html>", {"Content-Type": "text/html"}))
        with pytest.raises(OutcomeUnknown):
            await session.call(SEND, body)


async def test_httpcore_reports_a_request_before_it_writes_the_first_byte() -> None:
    """An event of httpcore decides whether a failed request was not sent or may have been sent."""
    written: list[bool] = []
    progress = RequestProgress()

    class Stream(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            written.append(progress.sending)

    class Backend(httpcore.AsyncMockBackend):
        async def connect_tcp(self, *args: object, **kwargs: object) -> httpcore.AsyncNetworkStream:
            assert not progress.sending
            return Stream([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])

    async with httpcore.AsyncConnectionPool(network_backend=Backend([])) as pool:
        await pool.request("GET", "http://example.com/", extensions={"trace": progress.trace})
    assert written
    assert all(written)
