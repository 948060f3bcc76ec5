"""The errors and retries of a call, for each kind of response and each retry policy."""

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
from tests.remote.clock import RecordingClock
from tests.remote.servers import Answer, Server, answer, qualtrics_error, silence

NEVER, REFUSED, READ = RetryPolicy.NEVER, RetryPolicy.REFUSED, RetryPolicy.READ
UNKNOWN, UNAVAILABLE, INVALID = Reason.DELIVERY_UNKNOWN, Reason.REMOTE_UNAVAILABLE, Reason.REMOTE_REPLY_INVALID


def operation(policy: RetryPolicy) -> Operation:
    return Operation(
        name="post",
        task="do the thing",
        method="POST",
        path="/thing",
        body=compact({"a": 1}),
        retry=policy,
        refusals={404: Reason.SURVEY_NOT_FOUND},
        unknown=UNKNOWN if policy is NEVER else None,
    )


def document(reply: Response) -> object:
    return reply.document()


# For READ, REFUSED and NEVER: the error, and the number of requests.
RESPONSES: dict[str, tuple[Answer, list[tuple[type[ExportError], Reason, int]]]] = {
    "a 429": (answer(429), [(RateLimited, Reason.RATE_LIMITED, n) for n in (7, 7, 1)]),
    "a 401": (answer(401, qualtrics_error("")), [(Permanent, Reason.CREDENTIALS_REFUSED, n) for n in (2, 2, 1)]),
    "another datacenter": (
        answer(401, qualtrics_error("DCD_7")),
        [(Permanent, Reason.WRONG_DATACENTER, n) for n in (2, 2, 1)],
    ),
    "a 400": (answer(400, qualtrics_error("")), [(Permanent, Reason.REQUEST_REFUSED, 1)] * 3),
    "a 403": (answer(403, qualtrics_error("AuthZ_2.0")), [(Permanent, Reason.NOT_PERMITTED, 1)] * 3),
    "failed authentication as a 400": (
        answer(400, qualtrics_error("ATP_2")),
        [(Permanent, Reason.CREDENTIALS_REFUSED, 1)] * 3,
    ),
    "missing permission as a 404": (
        answer(404, qualtrics_error("AuthZ_2.0")),
        [(Permanent, Reason.NOT_PERMITTED, 1)] * 3,
    ),
    "a proxy's 407": (
        answer(407, qualtrics_error("")),
        [(Transient, INVALID, 2), (OutcomeUnknown, INVALID, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a success with the status of an error": (
        answer(403, {"result": {"id": "EMD_1"}, "meta": {"httpStatus": "200 - OK"}}),
        [(Transient, INVALID, 2), (OutcomeUnknown, INVALID, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a 404 that the operation maps to a reason": (
        answer(404, qualtrics_error("")),
        [(Permanent, Reason.SURVEY_NOT_FOUND, 1)] * 3,
    ),
    "a 409": (answer(409, qualtrics_error("")), [(Permanent, Reason.REQUEST_REFUSED, 1)] * 3),
    "a 413": (
        answer(413, {"meta": {"httpStatus": "413 - Request Entity Too Large"}}),
        [(Permanent, Reason.REQUEST_REFUSED, 1)] * 3,
    ),
    "a gateway's 408": (
        answer(408),
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a gateway's 499": (
        answer(499),
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a 500": (
        answer(500),
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a 503": (
        answer(503),
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a 504": (
        answer(504),
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a 999": (
        answer(999),
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "a redirect": (answer(302), [(Transient, INVALID, 2), (OutcomeUnknown, INVALID, 1), (OutcomeUnknown, UNKNOWN, 1)]),
    "a web page": (
        answer(200, "<html>"),
        [(Transient, INVALID, 2), (OutcomeUnknown, INVALID, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "no reply": (
        silence,
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
    "half a reply": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        [(Transient, UNAVAILABLE, 5), (OutcomeUnknown, UNAVAILABLE, 1), (OutcomeUnknown, UNKNOWN, 1)],
    ),
}


# Bodies that a filter, a proxy or a gateway can return instead of the response of Qualtrics.
FOREIGN_BODIES: dict[str, bytes | str | dict[str, object]] = {
    "nothing": b"",
    "a page": "<html><body>Not Acceptable</body></html>",
    "a text": "Forbidden",
    "JSON of a gateway": {"message": "Forbidden"},
    "JSON with another meta": {"meta": {"error": "no"}},
    "a list": "[]",
    "a large page": "<html>" + " " * 200_000,
}


@pytest.mark.parametrize("body", FOREIGN_BODIES.values(), ids=FOREIGN_BODIES)
@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 418, 421, 422, 426, 428, 431, 451]
)
async def test_a_refusal_that_qualtrics_did_not_write_leaves_the_outcome_of_a_write_unknown(
    server: Server, session: Session, status: int, body: bytes | str | dict[str, object]
) -> None:
    """Something else may have replaced the response after the request took effect."""
    for policy, error_type, reason in ((REFUSED, OutcomeUnknown, INVALID), (NEVER, OutcomeUnknown, UNKNOWN)):
        server.script(answer(status, body))
        with pytest.raises(ExportError) as error:
            await session.call(operation(policy), document)
        assert (type(error.value), error.value.reason, server.request_count) == (error_type, reason, 1)
    server.script(answer(status, body))
    with pytest.raises(Transient) as error_info:
        await session.call(operation(READ), document)
    assert (type(error_info.value), error_info.value.reason) == (Transient, INVALID)


@pytest.mark.parametrize("policy", RetryPolicy)
@pytest.mark.parametrize("case", RESPONSES)
async def test_each_response_raises_its_error_after_the_retries_that_the_policy_allows(
    server: Server, session: Session, case: str, policy: RetryPolicy
) -> None:
    reply, by_policy = RESPONSES[case]
    error_type, reason, requests = by_policy[list(RetryPolicy).index(policy)]
    server.script(reply)
    with pytest.raises(ExportError) as error:
        await session.call(operation(policy), document)
    assert (type(error.value), error.value.reason, server.request_count) == (error_type, reason, requests)
    assert "do the thing" in error.value.what or reason is Reason.CREDENTIALS_REFUSED


@pytest.mark.parametrize("policy", RetryPolicy)
async def test_a_call_that_cannot_connect_fails_as_transient_and_not_as_unknown(
    server: Server, session: Session, policy: RetryPolicy, clock: RecordingClock
) -> None:
    await session.token()
    await server.__aexit__(None, None, None)
    with pytest.raises(Transient) as error:
        await session.call(operation(policy), document)
    assert (type(error.value), error.value.reason) == (Transient, UNAVAILABLE)
    assert len(getattr(clock, "slept", [])) == (0 if policy is NEVER else 4)


@pytest.mark.parametrize("policy", [READ, REFUSED])
async def test_a_call_succeeds_after_rate_limits_and_an_expired_token(
    server: Server, session: Session, policy: RetryPolicy
) -> None:
    server.script(answer(429), answer(401, qualtrics_error("")), answer(429), answer(200, {"a": 1}))
    assert await session.call(operation(policy), document) == {"a": 1}
    assert {request.body for request in server.received_requests} == {b'{"a":1}'}
    assert server.request_count == 4


async def test_a_read_succeeds_after_four_failed_attempts(server: Server, session: Session) -> None:
    server.script(silence, answer(500), b"HTTP/1.1 2", answer(502), answer(200, {"a": 1}))
    assert await session.call(operation(READ), document) == {"a": 1}


@pytest.mark.parametrize(("policy", "connection_count"), [(READ, 1), (REFUSED, 3), (NEVER, 3)])
async def test_a_call_that_may_not_be_repeated_uses_a_fresh_connection(
    server: Server, session: Session, policy: RetryPolicy, connection_count: int
) -> None:
    """The server may close a pooled connection at any time. Then it is unknown whether the request arrived."""
    ports = set()

    async def write(writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server.keeps = True
    server.script(write)
    for _ in range(3):
        await session.call(operation(policy), document)
    assert len(ports) == connection_count


async def test_the_error_message_has_the_error_code_and_the_request_id(server: Server, session: Session) -> None:
    server.script(answer(404, qualtrics_error("QVAL_404")))
    with pytest.raises(Permanent) as error:
        await session.call(operation(READ), document)
    assert error.value.message.startswith(
        "Qualtrics refused to do the thing with the credentials of Secret dex/remote (HTTP 404, QVAL_404, request r-1)"
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"meta": {"httpStatus": "400 - Bad Request"}}',
        '{"meta": {"httpStatus": "400 - Bad Request", "error": "no"}}',
        '{"meta": {"error": {}}}',
        json.dumps(qualtrics_error("me@example.com")),
        json.dumps(qualtrics_error("two words")),
        json.dumps(qualtrics_error("x" * 81)),
        '{"meta": {"error": {"errorCode": {"a": 1}}}}',
    ],
    ids=[
        "no error",
        "an error that is text",
        "an error without a code",
        "an address",
        "two words",
        "a long text",
        "an object",
    ],
)
async def test_an_error_code_in_an_unexpected_form_is_not_shown(server: Server, session: Session, body: str) -> None:
    server.script(answer(400, body))
    with pytest.raises(Permanent) as error:
        await session.call(operation(READ), document)
    assert error.value.remote_code == ""


@pytest.mark.parametrize("retry_after", ["7", "Mon, 05 Jan 2026 10:00:08 GMT"])
async def test_a_rate_limited_send_raises_an_error_with_its_retry_after(
    server: Server, session: Session, retry_after: str
) -> None:
    server.script(answer(429, headers={"Retry-After": retry_after}))
    with pytest.raises(RateLimited) as error:
        await session.call(operation(NEVER), document)
    assert error.value.retry_after
    assert 5 <= error.value.retry_after.total_seconds() <= 8


async def test_a_read_waits_for_the_retry_after_of_an_unavailable_service(
    server: Server, session: Session, clock: RecordingClock
) -> None:
    server.script(answer(503, headers={"Retry-After": "90"}), answer(200, {}))
    await session.call(operation(READ), document)
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
async def test_a_secret_with_a_url_of_a_forbidden_host_causes_no_request(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials, field: str, value: str
) -> None:
    session = Session(api_context, replace(credentials, **{field: value}), QUALTRICS)
    with pytest.raises(Permanent) as error:
        await session.call(operation(READ), document)
    assert error.value.reason is Reason.HOST_NOT_ALLOWED
    key = {"url": "url", "token_url": "tokenUrl"}[field]
    assert error.value.what.startswith(f"The {key} of Secret dex/remote ")
    assert server.request_count == 0


async def test_the_path_of_the_url_in_the_secret_is_prepended_to_each_request(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials
) -> None:
    with_path = replace(credentials, url=f"{server.url}/gateway/")
    server.script(answer(200, {}))
    await Session(api_context, with_path, QUALTRICS).call(operation(READ), document)
    assert server.received_requests[0].target == "/gateway/thing"


@pytest.mark.parametrize(("text", "encoded"), [("SV_1", "SV_1"), ("a/../b", "a%2F..%2Fb"), ("a?b#c", "a%3Fb%23c")])
def test_special_characters_in_an_id_are_encoded_in_a_path(text: str, encoded: str) -> None:
    assert segment(text) == encoded


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_an_empty_id_or_an_id_of_dots_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="dots"):
        segment(text)
