"""What becomes of a call: every status, by what may be done after it."""

import asyncio
import json
from dataclasses import replace

import pytest

from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.operation import Operation, compact, segment
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.resource.reasons import Reason
from tests.remote.clock import HastyClock
from tests.remote.servers import Answer, Server, answer, silence

NEVER, REFUSED, READ = RetryPolicy.NEVER, RetryPolicy.REFUSED, RetryPolicy.READ
UNKNOWN, GONE, WEIRD = Reason.DELIVERY_UNKNOWN, Reason.REMOTE_UNAVAILABLE, Reason.REMOTE_REPLY_INVALID


def ask(repeat: RetryPolicy) -> Operation:
    return Operation(
        name="post",
        task="do the thing",
        method="POST",
        path="/thing",
        body=compact({"a": 1}),
        retry=repeat,
        refusals={404: Reason.SURVEY_NOT_FOUND},
        unknown=UNKNOWN if repeat is NEVER else None,
    )


def document(reply: Response) -> object:
    return reply.document()


def envelope(code: str) -> dict[str, object]:
    return {"meta": {"httpStatus": "x", "error": {"errorMessage": "no", "errorCode": code}, "requestId": "r-1"}}


# For READ, REFUSED and NEVER: the error, and how often the server was asked.
TABLE: dict[str, tuple[Answer, list[tuple[type[ExportError], Reason, int]]]] = {
    "a 429": (answer(429), [(RateLimited, Reason.RATE_LIMITED, n) for n in (7, 7, 1)]),
    "a 401": (answer(401, envelope("")), [(Permanent, Reason.CREDENTIALS_REFUSED, n) for n in (2, 2, 1)]),
    "another datacenter": (
        answer(401, envelope("DCD_7")),
        [(Permanent, Reason.WRONG_DATACENTER, n) for n in (2, 2, 1)],
    ),
    "a 400": (answer(400, envelope("")), [(Permanent, Reason.REQUEST_REFUSED, 1)] * 3),
    "a 403": (answer(403, envelope("AuthZ_2.0")), [(Permanent, Reason.NOT_PERMITTED, 1)] * 3),
    "no authentication, as a 400": (
        answer(400, envelope("ATP_2")),
        [(Permanent, Reason.CREDENTIALS_REFUSED, 1)] * 3,
    ),
    "no permission, as a 404": (answer(404, envelope("AuthZ_2.0")), [(Permanent, Reason.NOT_PERMITTED, 1)] * 3),
    "a proxy's 407": (
        answer(407, envelope("")),
        [(Transient, WEIRD, 2), (OutcomeUnknown, WEIRD, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a success with another status on it": (
        answer(403, {"result": {"id": "EMD_1"}, "meta": {"httpStatus": "200 - OK"}}),
        [(Transient, WEIRD, 2), (OutcomeUnknown, WEIRD, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a 404 with a meaning": (answer(404, envelope("")), [(Permanent, Reason.SURVEY_NOT_FOUND, 1)] * 3),
    "a 409": (answer(409, envelope("")), [(Permanent, Reason.REQUEST_REFUSED, 1)] * 3),
    "a 413": (
        answer(413, {"meta": {"httpStatus": "413 - Request Entity Too Large"}}),
        [(Permanent, Reason.REQUEST_REFUSED, 1)] * 3,
    ),
    "a gateway's 408": (answer(408), [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a gateway's 499": (answer(499), [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a 500": (answer(500), [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a 503": (answer(503), [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a 504": (answer(504), [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a 999": (answer(999), [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a redirect": (answer(302), [(Transient, WEIRD, 2), (OutcomeUnknown, WEIRD, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a web page": (
        answer(200, "<html>"),
        [(Transient, WEIRD, 2), (OutcomeUnknown, WEIRD, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "no reply": (silence, [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "half a reply": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        [(Transient, GONE, 5), (OutcomeUnknown, GONE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
}


# What a filter, a proxy or a gateway can put in the place of Qualtrics' reply.
FILTERS: dict[str, bytes | str | dict[str, object]] = {
    "nothing": b"",
    "a page": "<html><body>Not Acceptable</body></html>",
    "a text": "Forbidden",
    "JSON of a gateway": {"message": "Forbidden"},
    "JSON with a meta of its own": {"meta": {"error": "no"}},
    "a list": "[]",
    "a large page": "<html>" + " " * 200_000,
}


@pytest.mark.parametrize("body", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 418, 421, 422, 426, 428, 431, 451]
)
async def test_a_refusal_that_qualtrics_did_not_write_proves_nothing(
    server: Server, remote: Session, status: int, body: bytes | str | dict[str, object]
) -> None:
    """It may have replaced nothing but the reply, after the request had its effect."""
    for repeat, kind, reason in ((REFUSED, OutcomeUnknown, WEIRD), (NEVER, OutcomeUnknown, UNKNOWN)):
        server.script(answer(status, body))
        with pytest.raises(ExportError) as error:
            await remote.call(ask(repeat), document)
        assert (type(error.value), error.value.reason, server.asked) == (kind, reason, 1)
    server.script(answer(status, body))
    with pytest.raises(Transient) as read:
        await remote.call(ask(READ), document)
    assert (type(read.value), read.value.reason) == (Transient, WEIRD)


@pytest.mark.parametrize("repeat", RetryPolicy)
@pytest.mark.parametrize("case", TABLE)
async def test_what_a_reply_means(server: Server, remote: Session, case: str, repeat: RetryPolicy) -> None:
    reply, by_kind = TABLE[case]
    kind, reason, tries = by_kind[list(RetryPolicy).index(repeat)]
    server.script(reply)
    with pytest.raises(ExportError) as error:
        await remote.call(ask(repeat), document)
    assert (type(error.value), error.value.reason, server.asked) == (kind, reason, tries)
    assert "do the thing" in error.value.what or reason is Reason.CREDENTIALS_REFUSED


@pytest.mark.parametrize("repeat", RetryPolicy)
async def test_a_side_that_is_not_there_was_certainly_not_asked(
    server: Server, remote: Session, repeat: RetryPolicy, clock: HastyClock
) -> None:
    await remote.token()
    await server.__aexit__(None, None, None)
    with pytest.raises(Transient) as error:
        await remote.call(ask(repeat), document)
    assert (type(error.value), error.value.reason) == (Transient, GONE)
    assert len(getattr(clock, "slept", [])) == (0 if repeat is NEVER else 4)


@pytest.mark.parametrize("repeat", [READ, REFUSED])
async def test_a_refusal_that_is_over_leaves_no_trace(server: Server, remote: Session, repeat: RetryPolicy) -> None:
    server.script(answer(429), answer(401, envelope("")), answer(429), answer(200, {"a": 1}))
    assert await remote.call(ask(repeat), document) == {"a": 1}
    assert {heard.body for heard in server.heard} == {b'{"a":1}'}
    assert server.asked == 4


async def test_a_read_outlasts_a_side_that_comes_back(server: Server, remote: Session) -> None:
    server.script(silence, answer(500), b"HTTP/1.1 2", answer(502), answer(200, {"a": 1}))
    assert await remote.call(ask(READ), document) == {"a": 1}


@pytest.mark.parametrize(("repeat", "connections"), [(READ, 1), (REFUSED, 3), (NEVER, 3)])
async def test_what_may_not_be_repeated_goes_out_on_a_connection_of_its_own(
    server: Server, remote: Session, repeat: RetryPolicy, connections: int
) -> None:
    """A pooled connection may just be closed by the other side: nobody could tell whether the request was heard."""
    ports = set()

    async def write(writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server.keeps = True
    server.script(write)
    for _ in range(3):
        await remote.call(ask(repeat), document)
    assert len(ports) == connections


async def test_the_code_and_the_request_id_are_in_the_message(server: Server, remote: Session) -> None:
    server.script(answer(404, envelope("QVAL_404")))
    with pytest.raises(Permanent) as error:
        await remote.call(ask(READ), document)
    assert error.value.message.startswith(
        "Qualtrics refused to do the thing with the credentials of Secret dex/remote (HTTP 404, QVAL_404, request r-1)"
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"meta": {"httpStatus": "400 - Bad Request"}}',
        '{"meta": {"httpStatus": "400 - Bad Request", "error": "no"}}',
        '{"meta": {"error": {}}}',
        json.dumps(envelope("me@example.com")),
        json.dumps(envelope("two words")),
        json.dumps(envelope("x" * 81)),
        '{"meta": {"error": {"errorCode": {"a": 1}}}}',
    ],
)
async def test_a_code_that_looks_like_none_is_left_out(server: Server, remote: Session, body: str) -> None:
    server.script(answer(400, body))
    with pytest.raises(Permanent) as error:
        await remote.call(ask(READ), document)
    assert error.value.remote_code == ""


@pytest.mark.parametrize("form", ["7", "Mon, 05 Jan 2026 10:00:08 GMT"])
async def test_a_send_that_is_put_off_tells_for_how_long(server: Server, remote: Session, form: str) -> None:
    server.script(answer(429, headers={"Retry-After": form}))
    with pytest.raises(RateLimited) as error:
        await remote.call(ask(NEVER), document)
    assert error.value.retry_after
    assert 5 <= error.value.retry_after.total_seconds() <= 8


async def test_a_failing_side_that_says_when_is_asked_then(server: Server, remote: Session, clock: HastyClock) -> None:
    server.script(answer(503, headers={"Retry-After": "90"}), answer(200, {}))
    await remote.call(ask(READ), document)
    assert 90 < clock.slept[0] <= 91


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://example.com"),
        ("url", "http://127.0.0.1@example.com"),
        ("url", "http://user@127.0.0.1"),
        ("url", "http://127.0.0.1/?x=1"),
        ("token_url", "https://example.com/token"),
        ("token_url", "http://127.0.0.1\\@example.com"),
    ],
)
async def test_a_url_of_a_secret_that_leads_elsewhere_is_not_followed(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials, field: str, value: str
) -> None:
    remote = Session(remotes, replace(credentials, **{field: value}), QUALTRICS)
    with pytest.raises(Permanent) as error:
        await remote.call(ask(READ), document)
    assert error.value.reason is Reason.HOST_NOT_ALLOWED
    key = {"url": "url", "token_url": "tokenUrl"}[field]
    assert error.value.what.startswith(f"The {key} of Secret dex/remote ")
    assert server.asked == 0


async def test_an_api_behind_a_path_is_found(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials
) -> None:
    behind = replace(credentials, url=f"{server.url}/gateway/")
    server.script(answer(200, {}))
    await Session(remotes, behind, QUALTRICS).call(ask(READ), document)
    assert server.heard[0].target == "/gateway/thing"


@pytest.mark.parametrize(("text", "part"), [("SV_1", "SV_1"), ("a/../b", "a%2F..%2Fb"), ("a?b#c", "a%3Fb%23c")])
def test_an_id_stays_in_its_place_in_a_path(text: str, part: str) -> None:
    assert segment(text) == part


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_dots_are_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="dots"):
        segment(text)
