"""Only the browser that opened the address gets an answer: foreign hosts, origins, tokens and cookies are refused."""

import http.client
from urllib.parse import urlsplit

import pytest

from tests.console.dashboard import Dashboard


class Client:
    """Plain HTTP, with any headers."""

    def __init__(self, console: Dashboard) -> None:
        parts = urlsplit(console.address)
        self.host, self.base, self.entry = parts.netloc, parts.path, f"{parts.path}?{parts.query}"

    def __call__(self, path: str, method: str = "GET", /, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.host)
        sent = {"Host": self.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        response.text = response.read().decode()  # type: ignore[attr-defined]
        connection.close()
        return response

    def enter(self) -> str:
        """Use the token, and return the cookie."""
        response = self(self.entry)
        assert response.status == 200
        return response.headers["Set-Cookie"]


@pytest.fixture
def client(console: Dashboard) -> Client:
    return Client(console)


def test_token_works_once_and_the_cookie_is_strict(client: Client) -> None:
    cookie = client.enter()

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Path={client.base}" in cookie
    again = client(client.entry)
    assert again.status == 403
    assert "Set-Cookie" not in again.headers
    assert client(client.base, Cookie=cookie.partition(";")[0]).status == 200


def test_wrong_token_or_cookie_is_refused_and_shows_nothing(client: Client) -> None:
    for path in (
        f"{client.base}?token=wrong",
        client.base,
        f"{client.base}changes",
        "/",
        f"{client.base}assets/page.js",
    ):
        for cookie in (
            "",
            "qex-session=wrong",
            'qex-session="',
            "qex-session=\udcff".encode("utf-8", "replace").decode(),
        ):
            refused = client(path, Cookie=cookie)
            assert refused.status == 403
            assert "namespace" not in refused.text  # type: ignore[attr-defined]


FOREIGN = [
    {"Host": "evil.example.com"},
    {"Host": "127.0.0.1"},
    {"Host": "localhost:{port}"},
    {"Origin": "https://evil.example.com"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_foreign_host_or_origin_is_refused_even_with_the_cookie(client: Client, headers: dict[str, str]) -> None:
    cookie = client.enter().partition(";")[0]
    port = client.host.rpartition(":")[2]
    sent = {name: value.format(port=port) for name, value in headers.items()}
    assert client(client.base, Cookie=cookie, **sent).status == 403


def test_foreign_host_does_not_use_up_the_token(client: Client) -> None:
    assert client(client.entry, Host="evil.example.com").status == 403
    client.enter()


def test_form_without_an_origin_is_refused(client: Client) -> None:
    cookie = client.enter().partition(";")[0]
    assert client(f"{client.base}exporters/a/b/suspend", "POST", Cookie=cookie).status == 403


def test_every_reply_has_the_headers_that_keep_other_sites_out(client: Client) -> None:
    cookie = client.enter().partition(";")[0]
    paths = (client.base, f"{client.base}missing", f"{client.base}assets/style.css", f"{client.base}assets/missing")
    for reply in (*(client(path, Cookie=cookie) for path in paths), client("/")):
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Referrer-Policy"] == "same-origin"
