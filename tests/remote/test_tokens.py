"""Tokens: one a credential, renewed in time, asked for once however many want it."""

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
from tests.environment.waiting import HANG_SECONDS
from tests.remote.clock import HastyClock
from tests.remote.servers import Answer, Server, answer, silence, token

READ = Operation(name="read", task="read", path="/thing", retry=RetryPolicy.READ)


def status(reply: Response) -> int:
    return reply.status


async def test_the_client_shows_itself_by_http_basic_and_asks_for_its_scope(server: Server, remote: Session) -> None:
    assert await remote.token() == "a-token"
    (request,) = server.heard_for_tokens
    assert request.method == "POST"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"the-client:the-secret"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}


async def test_a_token_is_used_until_a_minute_before_its_end(
    server: Server, remote: Session, clock: HastyClock
) -> None:
    server.tokens = [token("first"), token("second")]
    assert await remote.token() == "first"
    clock.advance(3500)
    assert await remote.token() == "first"
    clock.advance(41)
    assert await remote.token() == "second"


async def test_a_token_that_lives_shortly_is_used_for_half_its_life(
    server: Server, remote: Session, clock: HastyClock
) -> None:
    server.tokens = [token("first", 30), token("second", 30)]
    assert await remote.token() == "first"
    clock.advance(10)
    assert await remote.token() == "first"
    clock.advance(6)
    assert await remote.token() == "second"


async def test_a_wall_clock_that_is_set_back_keeps_no_token_alive(
    server: Server, remote: Session, clock: HastyClock
) -> None:
    server.tokens = [token("first"), token("second")]
    await remote.token()
    clock.set_wall(clock.now() - timedelta(days=1))
    clock.advance(3599)
    assert await remote.token() == "second"


async def test_a_token_can_be_wanted_for_minutes_more(server: Server, remote: Session, clock: HastyClock) -> None:
    server.tokens = [token("first", 900), token("second", 900), token("third", 100)]
    await remote.token()
    clock.advance(580)
    assert await remote.token(good_for=timedelta(minutes=5)) == "first"
    clock.advance(30)
    assert await remote.token(good_for=timedelta(minutes=5)) == "second"
    clock.advance(830)
    # One that never lives so long is taken as it is, and not asked for again and again within one call.
    assert await remote.token(good_for=timedelta(minutes=5)) == "third"
    assert server.tokens_asked == 3


async def test_a_hundred_runs_fetch_one_token(server: Server, remote: Session) -> None:
    tokens = await asyncio.gather(*(remote.token() for _ in range(100)))
    assert set(tokens) == {"a-token"}
    assert server.tokens_asked == 1


async def test_a_hundred_runs_are_refused_once(server: Server, remote: Session) -> None:
    """A client that knocks a hundred times with a wrong secret may be locked out."""
    server.tokens = [answer(401)]
    errors = await asyncio.gather(*(remote.token() for _ in range(100)), return_exceptions=True)
    assert {type(error) for error in errors} == {Permanent}
    assert server.tokens_asked == 1
    server.tokens = [token("now")]
    assert await remote.token() == "now"


async def test_who_stops_waiting_leaves_the_token_to_the_others(server: Server, remote: Session) -> None:
    release = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(token("slow"))

    server.tokens = [slowly]
    first, second = (asyncio.create_task(remote.token()) for _ in range(2))
    async with asyncio.timeout(HANG_SECONDS):
        while not server.tokens_asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == "slow"


@pytest.mark.parametrize("field", ["source", "url", "token_url", "client_id", "client_secret", "scope"])
async def test_a_secret_that_changed_in_any_key_means_a_new_token(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials, field: str
) -> None:
    server.tokens = [token("old"), token("new")]
    assert await Session(remotes, credentials, QUALTRICS).token() == "old"
    changed = replace(credentials, **{field: getattr(credentials, field) + "?x"})
    assert await Session(remotes, changed, QUALTRICS).token() == "new"
    assert await Session(remotes, credentials, QUALTRICS).token() == "old"


async def test_tokens_of_secrets_that_are_gone_do_not_pile_up(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials, clock: HastyClock
) -> None:
    for number in range(50):
        await Session(remotes, replace(credentials, client_secret=f"{number}"), QUALTRICS).token()
        clock.advance(1800)
    assert len(remotes.tokens._entries) <= 3


async def test_a_token_that_waits_for_its_turn_is_kept_when_others_are_forgotten(
    server: Server, remotes: ApiContext, credentials: ServiceCredentials
) -> None:
    tokens, allowed = remotes.tokens, asyncio.Event()

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        await allowed.wait()
        yield

    waiting = asyncio.create_task(tokens.get(QUALTRICS, credentials, permit=turn))
    await asyncio.sleep(0)
    await Session(remotes, replace(credentials, client_secret="another"), QUALTRICS).token()
    allowed.set()
    assert await waiting
    assert tokens.held(credentials)


async def test_a_401_renews_the_token_once_and_the_call_goes_on(server: Server, remote: Session) -> None:
    server.tokens = [token("stale"), token("fresh")]
    server.script(answer(401), answer(200))
    assert await remote.call(READ, status) == 200
    assert [heard.headers["authorization"] for heard in server.heard] == ["Bearer stale", "Bearer fresh"]


async def test_a_second_401_is_a_refusal_of_the_credentials(server: Server, remote: Session, clock: HastyClock) -> None:
    server.script(answer(401, envelope("")))
    with pytest.raises(Permanent) as refused:
        await remote.call(READ, status)
    assert refused.value.reason is Reason.CREDENTIALS_REFUSED
    assert refused.value.message.startswith(
        "Qualtrics refused the credentials of Secret dex/remote (HTTP 401, request r-1). "
    )
    assert (server.asked, server.tokens_asked) == (2, 2)


async def test_many_calls_that_meet_a_401_renew_the_token_once(server: Server, remote: Session) -> None:
    server.tokens = [token("stale"), token("fresh")]
    await remote.token()

    async def judge(writer: asyncio.StreamWriter) -> None:
        good = server.heard[-1].headers["authorization"] == "Bearer fresh"
        writer.write(answer(200 if good else 401))

    server.script(judge)
    assert set(await asyncio.gather(*(remote.call(READ, status) for _ in range(20)))) == {200}
    assert server.tokens_asked == 2


def envelope(code: str) -> dict[str, object]:
    """A refusal as Qualtrics words it."""
    return {"meta": {"httpStatus": "no", "error": {"errorMessage": "no", "errorCode": code}, "requestId": "r-1"}}


REFUSALS: dict[str, tuple[Answer, type[ExportError], Reason, int]] = {
    "a wrong secret": (answer(401, {"error": "invalid_client"}), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a wrong scope": (answer(400, {"error": "invalid_scope"}), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "no body at all": (answer(401), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a 401 with a page": (answer(401, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 406 with a page": (answer(406, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 401 of a gateway": (answer(401, {"message": "Unauthorized"}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 403 of a gateway": (answer(403, {"message": "Forbidden"}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a 400 without a body": (answer(400), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "a 403 with JSON": (answer(403, {"error": "access_denied"}), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "another datacenter": (answer(401, envelope("DCD_7")), Permanent, Reason.WRONG_DATACENTER, 1),
    "another datacenter, as a 403": (answer(403, envelope("DCD_7")), Permanent, Reason.WRONG_DATACENTER, 1),
    "no authentication": (answer(400, envelope("ATP_2")), Permanent, Reason.CREDENTIALS_REFUSED, 1),
    "no permission": (answer(403, envelope("AuthZ_2.0")), Permanent, Reason.NOT_PERMITTED, 1),
    "no such path": (answer(404), Permanent, Reason.REQUEST_REFUSED, 1),
    "no such path, in an envelope": (answer(404, envelope("")), Permanent, Reason.REQUEST_REFUSED, 1),
    "no such path, with a page": (answer(404, "<html>"), Permanent, Reason.REQUEST_REFUSED, 1),
    "a path that takes no POST": (answer(405, "<html>"), Permanent, Reason.REQUEST_REFUSED, 1),
    "a page of a firewall": (answer(403, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a firewall without a page": (answer(403), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a page of a web server": (answer(400, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a proxy that wants a password": (answer(407), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a filter": (answer(451, "blocked"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "too large": (answer(413, envelope("")), Permanent, Reason.REQUEST_REFUSED, 1),
    "a size that a proxy does not allow": (answer(413), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "too often": (answer(429), RateLimited, Reason.RATE_LIMITED, 7),
    "an error of its own": (answer(500), Transient, Reason.REMOTE_UNAVAILABLE, 5),
    "down": (answer(503), Transient, Reason.REMOTE_UNAVAILABLE, 5),
    "a redirect": (answer(302, headers={"Location": "/login"}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a web page": (answer(200, "<html>"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "no token": (answer(200, {"expires_in": 1}), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a token that breaks a header": (token("a\r\nX: y"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a token in another alphabet": (token("ключ"), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "another kind of token": (
        answer(200, {"access_token": "x", "token_type": "mac"}),
        Transient,
        Reason.REMOTE_REPLY_INVALID,
        2,
    ),
    "a lifetime that is none": (token("x", float("nan")), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a lifetime in the past": (token("x", -5), Transient, Reason.REMOTE_REPLY_INVALID, 2),
    "a connection that ends": (silence, Transient, Reason.REMOTE_UNAVAILABLE, 5),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_why_there_is_no_token_is_told(server: Server, remote: Session, case: str) -> None:
    reply, kind, reason, tries = REFUSALS[case]
    server.tokens = [reply]
    with pytest.raises(ExportError) as refused:
        await remote.token()
    assert (type(refused.value), refused.value.reason) == (kind, reason)
    assert server.tokens_asked == tries
    assert "Secret dex/remote" in refused.value.message
    assert "the-secret" not in refused.value.message


async def test_a_call_without_a_token_is_not_made_and_not_more_patient(
    server: Server, remote: Session, calls: list[CallRecord]
) -> None:
    server.tokens = [answer(500)]
    with pytest.raises(Transient):
        await remote.call(READ, status)
    assert server.asked == 0
    assert [call.operation for call in calls] == ["token"] * 5


@pytest.mark.parametrize("failure", [answer(500), answer(504), silence])
async def test_a_failing_token_endpoint_says_nothing_about_the_operation(
    server: Server, remote: Session, failure: Answer
) -> None:
    server.tokens = [failure]
    with pytest.raises(Transient) as error:
        await remote.call(READ, status)
    assert (error.value.received, error.value.timed_out) == (False, False)


async def test_the_word_of_the_token_endpoint_is_shown(server: Server, remote: Session) -> None:
    server.tokens = [answer(400, {"error": "invalid_scope", "error_description": "ask ana@example.com"})]
    with pytest.raises(Permanent, match=r"\(HTTP 400, invalid_scope\)") as refused:
        await remote.token()
    assert "ana" not in refused.value.message


async def test_a_wrong_token_url_is_named(server: Server, remote: Session) -> None:
    server.tokens = [answer(404, "<html>")]
    with pytest.raises(Permanent, match="Correct tokenUrl in the Secret, or url") as refused:
        await remote.token()
    assert "no token endpoint at the token URL of Secret dex/remote (HTTP 404)" in refused.value.message


async def test_the_code_and_the_request_of_an_envelope_are_shown(server: Server, remote: Session) -> None:
    server.tokens = [answer(401, envelope("DCD_7"))]
    with pytest.raises(Permanent, match=r"\(HTTP 401, DCD_7, request r-1\)"):
        await remote.token()


@pytest.mark.parametrize("lifetime", [None, "1800", 1800.5])
async def test_a_lifetime_may_be_missing_or_a_text(server: Server, remote: Session, lifetime: object) -> None:
    server.tokens = [answer(200, {"access_token": "x", "expires_in": lifetime})]
    assert await remote.token() == "x"
