"""What can be ordered to go wrong, and what has happened then."""

import asyncio

import httpx
import pytest

from qualtrics_exporter.sandbox import Query
from tests.environment.clock import SteeredClock
from tests.environment.waiting import HANG_SECONDS
from tests.sandbox.caller import NexthinkCaller, QualtricsCaller, error_code

SEND = "qualtrics.create_distribution"
ANA = "ana@example.com"


async def test_a_status_comes_without_the_effect_and_once(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    fault = qualtrics.sandbox.faults.add(SEND, status=503)
    reply = await qualtrics.post("/distributions", qualtrics.letter(batch_id))
    assert (reply.status_code, reply.json()["meta"]["httpStatus"]) == (503, "503 - Service Unavailable")
    assert qualtrics.sandbox.ledger.distributions == []
    assert (fault.hits, qualtrics.sandbox.faults.open()) == (1, [])
    await qualtrics.send(batch_id)


async def test_a_status_can_come_after_the_effect(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    qualtrics.sandbox.faults.add(SEND, status=500, apply_effect=True)
    assert (await qualtrics.post("/distributions", qualtrics.letter(batch_id))).status_code == 500
    assert qualtrics.sandbox.ledger.mails() == {ANA: 1}


@pytest.mark.parametrize(("drop", "mails"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection_does_not_tell_whether_it_happened(
    qualtrics: QualtricsCaller, drop: str, mails: int
) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    qualtrics.sandbox.faults.add(SEND, drop=drop)
    with pytest.raises(httpx.RemoteProtocolError):
        await qualtrics.post("/distributions", qualtrics.letter(batch_id))
    assert qualtrics.sandbox.ledger.mails()[ANA] == mails
    (call,) = qualtrics.sandbox.ledger.of(SEND)
    assert (call.status, call.dropped) == (0, True)


async def test_times_after_and_wildcards(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.*", times=2, after=1, status=500)
    replies = [await qualtrics.get("/whoami") for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 500, 500, 200]


async def test_a_fault_for_ever_ends_when_it_is_cleared(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.whoami", times=None, status=429, headers={"Retry-After": "7"})
    for _ in range(3):
        assert (await qualtrics.get("/whoami")).headers["retry-after"] == "7"
    qualtrics.sandbox.faults.clear()
    assert (await qualtrics.get("/whoami")).status_code == 200


async def test_garbage_instead_of_the_answer(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.create_batch", body="<html>busy</html>")
    reply = await qualtrics.post(qualtrics.batches, {"transactionIds": []})
    assert (reply.status_code, reply.text) == (200, "<html>busy</html>")
    assert len(qualtrics.sandbox.ledger.batches) == 1


async def test_a_redirect_can_be_ordered(nexthink: NexthinkCaller) -> None:
    nexthink.sandbox.faults.add("nexthink.execute", status=302, headers={"Location": "https://elsewhere.example.com"})
    reply = await nexthink.execute()
    assert (reply.status_code, reply.headers["location"]) == (302, "https://elsewhere.example.com")


async def test_a_reply_can_have_no_end(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.whoami", endless=True)
    read = 0
    async with qualtrics.http.stream("GET", qualtrics.url("/whoami"), headers=qualtrics.headers) as reply:
        async for piece in reply.aiter_raw():
            read += len(piece)
            if read > 1024 * 1024:
                break
    assert (await qualtrics.get("/whoami")).status_code == 200


async def test_a_truncated_answer_announces_its_whole_length(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.whoami", truncate=10)
    with pytest.raises(httpx.RemoteProtocolError, match="received 10 bytes"):
        await qualtrics.get("/whoami")


@pytest.mark.parametrize("compression", ["NONE", "GZIP"])
async def test_a_truncated_download_ends_without_its_end(nexthink: NexthinkCaller, compression: str) -> None:
    nexthink.account.add_query(Query.generated("#many", 100_000))
    url = await nexthink.exported("#many", compression=compression)
    nexthink.sandbox.faults.add("nexthink.download", truncate=50_000)
    async with nexthink.http.stream("GET", url) as reply:
        with pytest.raises(httpx.RemoteProtocolError):
            await reply.aread()
        assert reply.num_bytes_downloaded == 50_000


async def test_a_delay_passes_by_the_clock(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    qualtrics.sandbox.faults.add(SEND, delay_after=3600)
    batch_id = await qualtrics.batch_of(ANA)
    asking = asyncio.create_task(qualtrics.post("/distributions", qualtrics.letter(batch_id)))
    await qualtrics.sandbox.ledger.changed.wait_for(
        lambda: qualtrics.sandbox.ledger.mails()[ANA] == 1, timeout=HANG_SECONDS
    )
    assert not asking.done()
    await clock.asleep()
    clock.advance(3600)
    assert (await asking).status_code == 200


@pytest.mark.parametrize(("when", "mails"), [("before", 0), ("after", 1)])
async def test_a_held_request_waits_until_it_is_released(qualtrics: QualtricsCaller, when: str, mails: int) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    faults = qualtrics.sandbox.faults
    faults.add(SEND, hold=when)
    asking = asyncio.create_task(qualtrics.post("/distributions", qualtrics.letter(batch_id)))
    await faults.reached(SEND)
    assert qualtrics.sandbox.ledger.mails()[ANA] == mails
    assert (faults.held(SEND), asking.done()) == (1, False)
    assert faults.release(SEND) == 1
    assert (await asking).status_code == 200
    assert qualtrics.sandbox.ledger.mails()[ANA] == 1


async def test_a_held_request_can_be_dropped_with_nothing_having_happened(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    qualtrics.sandbox.faults.add(SEND, hold=True)
    asking = asyncio.create_task(qualtrics.post("/distributions", qualtrics.letter(batch_id)))
    await qualtrics.sandbox.faults.reached(SEND)
    qualtrics.sandbox.faults.release(drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await asking
    assert not qualtrics.sandbox.ledger.mails()


async def test_a_client_that_gave_up_does_not_undo_what_it_asked_for(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    qualtrics.sandbox.faults.add(SEND, hold=True)
    async with httpx.AsyncClient(trust_env=False, headers=qualtrics.headers) as hasty:
        asking = asyncio.create_task(hasty.post(qualtrics.url("/distributions"), json=qualtrics.letter(batch_id)))
        await qualtrics.sandbox.faults.reached(SEND)
        asking.cancel()
        await asyncio.wait([asking])
    qualtrics.sandbox.faults.release()
    await qualtrics.sandbox.ledger.answered(SEND, timeout=HANG_SECONDS)
    assert qualtrics.sandbox.ledger.mails() == {ANA: 1}


async def test_faults_strike_before_the_token_is_looked_at(qualtrics: QualtricsCaller) -> None:
    qualtrics.headers = {}
    qualtrics.sandbox.faults.add("qualtrics.whoami", status=500)
    assert (await qualtrics.get("/whoami")).status_code == 500
    assert error_code(await qualtrics.get("/whoami")) == "ATP_2"


async def test_the_token_endpoint_can_fail_too(nexthink: NexthinkCaller) -> None:
    nexthink.sandbox.faults.add("nexthink.token", status=401, body=b"")
    reply = await nexthink.token("nexthink")
    assert (reply.status_code, reply.content) == (401, b"")


async def test_waiting_for_what_never_comes_ends(qualtrics: QualtricsCaller) -> None:
    with pytest.raises(TimeoutError):
        await qualtrics.sandbox.faults.reached(SEND, timeout=0.01)
    with pytest.raises(TimeoutError):
        await qualtrics.sandbox.ledger.seen(SEND, timeout=0.01)


@pytest.mark.parametrize("order", [{"drop": "now"}, {"hold": "maybe"}, {"status": 99}])
async def test_an_order_that_makes_no_sense_is_refused(qualtrics: QualtricsCaller, order: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is"):
        qualtrics.sandbox.faults.add(SEND, **order)
