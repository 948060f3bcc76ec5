"""Tests of faults: what happens to a request, to its effect and to its reply."""

import asyncio

import httpx
import pytest

from qualtrics_exporter.sandbox import Query
from tests.sandbox.caller import NexthinkCaller, QualtricsCaller, error_code
from tests.support.clock import SteeredClock
from tests.support.waiting import HANG_SECONDS

SEND = "qualtrics.create_distribution"
ANA = "ana@example.com"


async def test_status_fault_replaces_the_effect_of_one_request(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    fault = qualtrics.sandbox.faults.add(SEND, status=503)
    reply = await qualtrics.post("/distributions", qualtrics.distribution_body(batch_id))
    assert (reply.status_code, reply.json()["meta"]["httpStatus"]) == (503, "503 - Service Unavailable")
    assert qualtrics.sandbox.recorder.distributions == []
    assert (fault.hits, qualtrics.sandbox.faults.open()) == (1, [])
    await qualtrics.send(batch_id)


async def test_status_fault_with_apply_effect_follows_the_effect(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    qualtrics.sandbox.faults.add(SEND, status=500, apply_effect=True)
    assert (await qualtrics.post("/distributions", qualtrics.distribution_body(batch_id))).status_code == 500
    assert qualtrics.sandbox.recorder.mails() == {ANA: 1}


@pytest.mark.parametrize(("drop", "mails"), [("before", 0), ("after", 1)])
async def test_drop_fault_closes_the_connection_before_or_after_the_effect(
    qualtrics: QualtricsCaller, drop: str, mails: int
) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    qualtrics.sandbox.faults.add(SEND, drop=drop)
    with pytest.raises(httpx.RemoteProtocolError):
        await qualtrics.post("/distributions", qualtrics.distribution_body(batch_id))
    assert qualtrics.sandbox.recorder.mails()[ANA] == mails
    (call,) = qualtrics.sandbox.recorder.of(SEND)
    assert (call.status, call.dropped) == (0, True)


async def test_wildcard_fault_skips_the_first_request_and_hits_the_next_two(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.*", times=2, after=1, status=500)
    replies = [await qualtrics.get("/whoami") for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 500, 500, 200]


async def test_fault_of_an_operation_that_does_not_exist_is_refused(qualtrics: QualtricsCaller) -> None:
    with pytest.raises(ValueError, match=r"no operation matches 'qualtrics.send'.*qualtrics.create_distribution"):
        qualtrics.sandbox.faults.add("qualtrics.send", status=503)
    assert qualtrics.sandbox.faults.open() == []


async def test_fault_without_a_limit_hits_until_faults_are_cleared(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.whoami", times=None, status=429, headers={"Retry-After": "7"})
    for _ in range(3):
        assert (await qualtrics.get("/whoami")).headers["retry-after"] == "7"
    qualtrics.sandbox.faults.clear()
    assert (await qualtrics.get("/whoami")).status_code == 200


async def test_body_fault_replaces_the_reply_and_keeps_the_effect(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.create_batch", body="<html>busy</html>")
    reply = await qualtrics.post(qualtrics.batches_path, {"transactionIds": []})
    assert (reply.status_code, reply.text) == (200, "<html>busy</html>")
    assert len(qualtrics.sandbox.recorder.batches) == 1


async def test_fault_with_a_location_header_redirects_the_client(nexthink: NexthinkCaller) -> None:
    nexthink.sandbox.faults.add("nexthink.execute", status=302, headers={"Location": "https://elsewhere.example.com"})
    reply = await nexthink.execute()
    assert (reply.status_code, reply.headers["location"]) == (302, "https://elsewhere.example.com")


async def test_endless_reply_continues_until_the_client_disconnects(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.whoami", endless=True)
    size = 0
    async with qualtrics.http.stream("GET", qualtrics.url("/whoami"), headers=qualtrics.headers) as reply:
        async for chunk in reply.aiter_raw():
            size += len(chunk)
            if size > 1024 * 1024:
                break
    assert (await qualtrics.get("/whoami")).status_code == 200


async def test_truncated_reply_announces_its_full_length(qualtrics: QualtricsCaller) -> None:
    qualtrics.sandbox.faults.add("qualtrics.whoami", truncate=10)
    with pytest.raises(httpx.RemoteProtocolError, match="received 10 bytes"):
        await qualtrics.get("/whoami")


@pytest.mark.parametrize("compression", ["NONE", "GZIP"])
async def test_truncated_download_ends_after_the_given_number_of_bytes(
    nexthink: NexthinkCaller, compression: str
) -> None:
    nexthink.account.add_query(Query.generated("#many", 100_000))
    url = await nexthink.download_url("#many", compression=compression)
    nexthink.sandbox.faults.add("nexthink.download", truncate=50_000)
    async with nexthink.http.stream("GET", url) as reply:
        with pytest.raises(httpx.RemoteProtocolError):
            await reply.aread()
        assert reply.num_bytes_downloaded == 50_000


async def test_delayed_reply_follows_the_clock_of_the_sandbox(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    qualtrics.sandbox.faults.add(SEND, delay_after=3600)
    batch_id = await qualtrics.batch_with(ANA)
    request = asyncio.create_task(qualtrics.post("/distributions", qualtrics.distribution_body(batch_id)))
    await qualtrics.sandbox.recorder.changed.wait_for(
        lambda: qualtrics.sandbox.recorder.mails()[ANA] == 1, timeout=HANG_SECONDS
    )
    assert not request.done()
    await clock.asleep()
    clock.advance(3600)
    assert (await request).status_code == 200


@pytest.mark.parametrize(("when", "mails"), [("before", 0), ("after", 1)])
async def test_held_request_waits_until_it_is_released(qualtrics: QualtricsCaller, when: str, mails: int) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    faults = qualtrics.sandbox.faults
    faults.add(SEND, hold=when)
    request = asyncio.create_task(qualtrics.post("/distributions", qualtrics.distribution_body(batch_id)))
    await faults.reached(SEND)
    assert qualtrics.sandbox.recorder.mails()[ANA] == mails
    assert (faults.held(SEND), request.done()) == (1, False)
    assert faults.release(SEND) == 1
    assert (await request).status_code == 200
    assert qualtrics.sandbox.recorder.mails()[ANA] == 1


async def test_held_request_that_is_dropped_has_no_effect(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    qualtrics.sandbox.faults.add(SEND, hold=True)
    request = asyncio.create_task(qualtrics.post("/distributions", qualtrics.distribution_body(batch_id)))
    await qualtrics.sandbox.faults.reached(SEND)
    qualtrics.sandbox.faults.release(drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await request
    assert not qualtrics.sandbox.recorder.mails()


async def test_released_request_has_its_effect_although_its_client_disconnected(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    qualtrics.sandbox.faults.add(SEND, hold=True)
    async with httpx.AsyncClient(trust_env=False, headers=qualtrics.headers) as impatient:
        request = asyncio.create_task(
            impatient.post(qualtrics.url("/distributions"), json=qualtrics.distribution_body(batch_id))
        )
        await qualtrics.sandbox.faults.reached(SEND)
        request.cancel()
        await asyncio.wait([request])
    qualtrics.sandbox.faults.release()
    await qualtrics.sandbox.recorder.answered(SEND, timeout=HANG_SECONDS)
    assert qualtrics.sandbox.recorder.mails() == {ANA: 1}


async def test_fault_hits_a_request_before_its_token_is_checked(qualtrics: QualtricsCaller) -> None:
    qualtrics.headers = {}
    qualtrics.sandbox.faults.add("qualtrics.whoami", status=500)
    assert (await qualtrics.get("/whoami")).status_code == 500
    assert error_code(await qualtrics.get("/whoami")) == "ATP_2"


async def test_fault_hits_the_token_endpoint(nexthink: NexthinkCaller) -> None:
    nexthink.sandbox.faults.add("nexthink.token", status=401, body=b"")
    reply = await nexthink.token("nexthink")
    assert (reply.status_code, reply.content) == (401, b"")


async def test_wait_for_a_request_that_never_comes_times_out(qualtrics: QualtricsCaller) -> None:
    with pytest.raises(TimeoutError):
        await qualtrics.sandbox.faults.reached(SEND, timeout=0.01)
    with pytest.raises(TimeoutError):
        await qualtrics.sandbox.recorder.seen(SEND, timeout=0.01)


@pytest.mark.parametrize("fault", [{"drop": "now"}, {"hold": "maybe"}, {"status": 99}], ids=["drop", "hold", "status"])
async def test_fault_with_an_invalid_value_is_refused(qualtrics: QualtricsCaller, fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is"):
        qualtrics.sandbox.faults.add(SEND, **fault)
