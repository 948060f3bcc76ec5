"""Access tokens: one for each credential, renewed before it expires, and requested once by concurrent calls."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import CallRecord
from qualtrics_exporter.resource.reasons import Reason
from tests.remote.clock import RecordingClock
from tests.remote.servers import Answer, Server, answer, qualtrics_error, silence, token
from tests.support.waiting import HANG_SECONDS

READ = Operation(name="read", task="read", path="/thing", retry=RetryPolicy.READ)


def status_of(reply: Response) -> int:
    return reply.status


async def test_a_token_request_has_http_basic_authentication_and_the_scope(server: Server, session: Session) -> None:
    assert await session.token() == "a-token"
    (request,) = server.token_requests
    assert request.method == "POST"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"the-client:the-secret"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}


async def test_a_token_is_renewed_a_minute_before_it_expires(
    server: Server, session: Session, clock: RecordingClock
) -> None:
    server.tokens = [token("first"), token("second")]
    assert await session.token() == "first"
    clock.advance(3500)
    assert await session.token() == "first"
    clock.advance(41)
    assert await session.token() == "second"


async def test_a_short_lived_token_is_renewed_after_half_its_lifetime(
    server: Server, session: Session, clock: RecordingClock
) -> None:
    server.tokens = [token("first", 30), token("second", 30)]
    assert await session.token() == "first"
    clock.advance(10)
    assert await session.token() == "first"
    clock.advance(6)
    assert await session.token() == "second"


async def test_setting_the_wall_clock_back_does_not_extend_the_use_of_a_token(
    server: Server, session: Session, clock: RecordingClock
) -> None:
    server.tokens = [token("first"), token("second")]
    await session.token()
    clock.set_wall(clock.now() - timedelta(days=1))
    clock.advance(3599)
    assert await session.token() == "second"


async def test_a_token_is_renewed_if_its_remaining_lifetime_is_shorter_than_requested(
    server: Server, session: Session, clock: RecordingClock
) -> None:
    server.tokens = [token("first", 900), token("second", 900), token("third", 100)]
    await session.token()
    clock.advance(580)
    assert await session.token(good_for=timedelta(minutes=5)) == "first"
    clock.advance(30)
    assert await session.token(good_for=timedelta(minutes=5)) == "second"
    clock.advance(830)
    # A token whose lifetime is shorter than requested is used. The call does not fetch another one.
    assert await session.token(good_for=timedelta(minutes=5)) == "third"
    assert server.token_request_count == 3


async def test_a_hundred_concurrent_runs_fetch_one_token(server: Server, session: Session) -> None:
    tokens = await asyncio.gather(*(session.token() for _ in range(100)))
    assert set(tokens) == {"a-token"}
    assert server.token_request_count == 1


async def test_a_hundred_concurrent_runs_with_a_wrong_secret_send_one_token_request(
    server: Server, session: Session
) -> None:
    """A service may lock out a client that sends a wrong secret a hundred times."""
    server.tokens = [answer(401)]
    errors = await asyncio.gather(*(session.token() for _ in range(100)), return_exceptions=True)
    assert {type(error) for error in errors} == {Permanent}
    assert server.token_request_count == 1
    server.tokens = [token("now")]
    assert await session.token() == "now"


async def test_cancelling_one_waiter_does_not_cancel_the_token_request_of_the_others(
    server: Server, session: Session
) -> None:
    release = asyncio.Event()

    async def answer_slowly(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(token("slow"))

    server.tokens = [answer_slowly]
    first, second = (asyncio.create_task(session.token()) for _ in range(2))
    async with asyncio.timeout(HANG_SECONDS):
        while not server.token_request_count:  # noqa: ASYNC110
            await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == "slow"


@pytest.mark.parametrize("field", ["source", "url", "token_url", "client_id", "client_secret", "scope"])
async def test_a_change_of_any_key_of_a_secret_fetches_a_new_token(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials, field: str
) -> None:
    server.tokens = [token("old"), token("new")]
    assert await Session(api_context, credentials, QUALTRICS).token() == "old"
    changed = replace(credentials, **{field: getattr(credentials, field) + "?x"})
    assert await Session(api_context, changed, QUALTRICS).token() == "new"
    assert await Session(api_context, credentials, QUALTRICS).token() == "old"


async def test_tokens_of_credentials_that_are_no_longer_used_are_forgotten(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials, clock: RecordingClock
) -> None:
    for number in range(50):
        await Session(api_context, replace(credentials, client_secret=f"{number}"), QUALTRICS).token()
        clock.advance(1800)
    assert len(api_context.tokens._entries) <= 3


async def test_a_token_request_that_waits_for_a_permit_is_not_forgotten(
    server: Server, api_context: ApiContext, credentials: ServiceCredentials
) -> None:
    tokens, permitted = api_context.tokens, asyncio.Event()

    @asynccontextmanager
    async def permit() -> AsyncIterator[None]:
        await permitted.wait()
        yield

    waiting = asyncio.create_task(tokens.get(QUALTRICS, credentials, permit=permit))
    await asyncio.sleep(0)
    await Session(api_context, replace(credentials, client_secret="another"), QUALTRICS).token()
    permitted.set()
    assert await waiting
    assert tokens.held(credentials)


async def test_a_401_renews_the_token_once_and_repeats_the_call(server: Server, session: Session) -> None:
    server.tokens = [token("stale"), token("fresh")]
    server.script(answer(401), answer(200))
    assert await session.call(READ, status_of) == 200
    assert [request.headers["authorization"] for request in server.received_requests] == [
        "Bearer stale",
        "Bearer fresh",
    ]


async def test_a_second_401_fails_with_credentials_refused(
    server: Server, session: Session, clock: RecordingClock
) -> None:
    server.script(answer(401, qualtrics_error("")))
    with pytest.raises(Permanent) as error:
        await session.call(READ, status_of)
    assert error.value.reason is Reason.CREDENTIALS_REFUSED
    assert error.value.message.startswith(
        "Qualtrics refused the credentials of Secret dex/remote (HTTP 401, request r-1). "
    )
    assert (server.request_count, server.token_request_count) == (2, 2)


async def test_many_concurrent_calls_with_a_401_renew_the_token_once(server: Server, session: Session) -> None:
    server.tokens = [token("stale"), token("fresh")]
    await session.token()

    async def answer_by_token(writer: asyncio.StreamWriter) -> None:
        fresh = server.received_requests[-1].headers["authorization"] == "Bearer fresh"
        writer.write(answer(200 if fresh else 401))

    server.script(answer_by_token)
    assert set(await asyncio.gather(*(session.call(READ, status_of) for _ in range(20)))) == {200}
    assert server.token_request_count == 2


TOKEN_RESPONSES: dict[str, tuple[Answer, type[ExportError], Reason, int]] = {
    "a wrong secret": (answer(401, {"error": "invalid_client"}), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a wrong scope": (answer(400, {"error": "invalid_scope"}), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a 401 without a body": (answer(401), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a 401 with a page": (answer(401, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 406 with a page": (answer(406, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 401 of a gateway": (answer(401, {"message": "Unauthorized"}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 403 of a gateway": (answer(403, {"message": "Forbidden"}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 400 without a body": (answer(400), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a 403 with JSON": (answer(403, {"error": "access_denied"}), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "another datacenter": (answer(401, qualtrics_error("DCD_7")), Permanent, Reason.WRONG_DATACENTER, 1),
    "another datacenter as a 403": (answer(403, qualtrics_error("DCD_7")), Permanent, Reason.WRONG_DATACENTER, 1),
    "failed authentication": (answer(400, qualtrics_error("ATP_2")), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "missing permission": (answer(403, qualtrics_error("AuthZ_2.0")), Permanent, Reason.NOT_PERMITTED, 1),
    "no such path": (answer(404), Permanent, Reason.REQUEST_REFUSED, 1),
    "no such path, as JSON": (answer(404, qualtrics_error("")), Permanent, Reason.REQUEST_REFUSED, 1),
    "no such path, as a page": (answer(404, "<html>"), Permanent, Reason.REQUEST_REFUSED, 1),
    "a path that does not accept POST": (answer(405, "<html>"), Permanent, Reason.REQUEST_REFUSED, 1),
    "a page of a firewall": (answer(403, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a firewall without a page": (answer(403), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a page of a web server": (answer(400, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a proxy that requires a password": (answer(407), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a filter": (answer(451, "blocked"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a request that is too large": (answer(413, qualtrics_error("")), Permanent, Reason.REQUEST_REFUSED, 1),
    "a size that a proxy does not allow": (answer(413), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a rate limit": (answer(429), RateLimited, Reason.RATE_LIMITED, 7),
    "a server error": (answer(500), Transient, Reason.REMOTE_UNAVAILABLE, 5),
    "an unavailable service": (answer(503), Transient, Reason.REMOTE_UNAVAILABLE, 5),
    "a redirect": (answer(302, headers={"Location": "/login"}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a web page": (answer(200, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "no token": (answer(200, {"expires_in": 1}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a token that breaks a header": (token("a\r\nX: y"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a token with characters outside ASCII": (token("ключ"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "another kind of token": (
        answer(200, {"access_token": "x", "token_type": "mac"}),
        Transient,
        Reason.REMOTE_REPLY_INVALID,
        2,
    ),
    "a lifetime that is not a number": (token("x", float("nan")), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a lifetime in the past": (token("x", -5), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a closed connection": (silence, Transient, Reason.REMOTE_UNAVAILABLE, 5),
}


@pytest.mark.parametrize("case", TOKEN_RESPONSES)
async def test_each_failed_token_request_raises_the_error_for_its_cause(
    server: Server, session: Session, case: str
) -> None:
    reply, error_type, reason, requests = TOKEN_RESPONSES[case]
    server.tokens = [reply]
    with pytest.raises(ExportError) as error:
        await session.token()
    assert (type(error.value), error.value.reason) == (error_type, reason)
    assert server.token_request_count == requests
    assert "Secret dex/remote" in error.value.message
    assert "the-secret" not in error.value.message


async def test_a_call_without_a_token_is_not_sent_and_adds_no_further_retries(
    server: Server, session: Session, calls: list[CallRecord]
) -> None:
    server.tokens = [answer(500)]
    with pytest.raises(Transient):
        await session.call(READ, status_of)
    assert server.request_count == 0
    assert [call.operation for call in calls] == ["token"] * 5


@pytest.mark.parametrize("failure", [answer(500), answer(504), silence])
async def test_an_error_of_the_token_endpoint_does_not_count_as_a_response_to_the_operation(
    server: Server, session: Session, failure: Answer
) -> None:
    server.tokens = [failure]
    with pytest.raises(Transient) as error:
        await session.call(READ, status_of)
    assert (error.value.received, error.value.timed_out) == (False, False)


async def test_the_error_shows_the_error_code_of_the_token_endpoint_and_not_its_description(
    server: Server, session: Session
) -> None:
    server.tokens = [answer(400, {"error": "invalid_scope", "error_description": "ask ana@example.com"})]
    with pytest.raises(Permanent, match=r"\(HTTP 400, invalid_scope\)") as error:
        await session.token()
    assert "ana" not in error.value.message


async def test_a_wrong_token_url_is_reported_with_the_key_to_correct(server: Server, session: Session) -> None:
    server.tokens = [answer(404, "<html>")]
    with pytest.raises(Permanent, match="Correct tokenUrl in the Secret, or url") as error:
        await session.token()
    assert "no token endpoint at the token URL of Secret dex/remote (HTTP 404)" in error.value.message


async def test_the_error_shows_the_code_and_the_request_id_of_the_token_endpoint(
    server: Server, session: Session
) -> None:
    server.tokens = [answer(401, qualtrics_error("DCD_7"))]
    with pytest.raises(Permanent, match=r"\(HTTP 401, DCD_7, request r-1\)"):
        await session.token()


@pytest.mark.parametrize("lifetime", [None, "1800", 1800.5])
async def test_a_token_without_a_lifetime_or_with_one_as_text_is_accepted(
    server: Server, session: Session, lifetime: object
) -> None:
    server.tokens = [answer(200, {"access_token": "x", "expires_in": lifetime})]
    assert await session.token() == "x"
