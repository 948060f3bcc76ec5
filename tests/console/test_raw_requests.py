"""Requests that no page of the console makes: malformed ones, and those with cookies of other programs."""

import asyncio
import logging

import pytest

from hack.limits import HANG_SECONDS
from tests.console.in_memory import PATH, InMemory, Reader

MALFORMED = {
    "header": "GET {base} HTTP/1.1\r\nHost: {host}\r\nBad\x01Header: {cookie}\r\n\r\n",
    "cookie": "GET {base} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}{long}\r\n\r\n",
    "two lengths": "POST {base} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two hosts": "GET {base} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example.com\r\n\r\n",
    "method": "NOTHING {base} HTTP/1.1\r\nHost: {host}\r\n\r\n",
}


@pytest.mark.parametrize("request_text", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_request_shows_nothing_in_the_terminal(
    reader: Reader, caplog: pytest.LogCaptureFixture, request_text: str
) -> None:
    """Python writes what is logged to standard error, with a traceback, and the request has the cookie."""
    host, port = reader.host.split(":")
    reading, writing = await asyncio.open_connection(host, int(port))
    values = {"base": reader.base, "host": reader.host, "cookie": reader.cookie, "long": "x" * 9000}
    with caplog.at_level(logging.WARNING):
        writing.write(request_text.format(**values).encode())
        answer = await reading.read()
        writing.close()
    assert answer.split()[1] == b"400"
    assert caplog.text == ""


COOKIES = [
    "a[]=1; {cookie}",
    '{cookie}; settings={{"a": 1}}',
    "{cookie}; qex-session=other",
    "qex-session=other; {cookie}",
]


@pytest.mark.parametrize("cookies", COOKIES)
async def test_cookies_of_other_programs_on_this_machine_do_not_matter(reader: Reader, cookies: str) -> None:
    """Browsers send the cookies of all ports, in any form."""
    reader.cookie = cookies.format(cookie=reader.cookie)
    assert (await reader.get(""))[0] == 200


BODIES = {
    "multipart/form-data": b"abc",
    "multipart/form-data; boundary=x": b"abc",
    "application/x-www-form-urlencoded; charset=unknown": b"a=b",
    "application/x-www-form-urlencoded": b"a=\xff",
}


@pytest.mark.parametrize("kind", BODIES)
async def test_form_that_cannot_be_read_is_refused(source: InMemory, reader: Reader, kind: str) -> None:
    for action in ("run", "suspend", f"resolve/{'a' * 20}"):
        status, page = await reader.post(f"{PATH}/{action}", BODIES[kind], **{"Content-Type": kind})
        assert status == 409
        assert "The form is incomplete. Open the page again." in page
    assert source.patches == []


@pytest.mark.parametrize("name", ["a%2F..%2Fb", "..%2Fb", "b%3Fwatch=1", "b%23", "b%0D%0AX:1", "%2E%2Eb", "b%ED%A0%80"])
async def test_name_that_is_none_in_kubernetes_reaches_no_path_of_the_api(
    source: InMemory, reader: Reader, name: str
) -> None:
    for path in (f"exporters/dex/{name}", f"exporters/{name}/teams-rollout", f"exporters/dex/{name}/run"):
        status, page = await reader.get(path)
        assert status == 404
        assert "There is no such page in the console." in page
    assert source.asked == []


async def test_page_asks_once_for_permissions(source: InMemory, reader: Reader) -> None:
    """If the API server hangs, the reader waits for one time limit, and not for one of each button."""
    await reader.get(PATH)
    assert source.questions == 1


async def test_page_asks_for_events_and_permissions_at_once(source: InMemory, reader: Reader) -> None:
    source.answers_events.clear()
    page = asyncio.create_task(reader.get(PATH))
    async with asyncio.timeout(HANG_SECONDS):
        await source.asked_permission.wait()
    source.answers_events.set()
    assert (await page)[0] == 200
