"""Tests of the rate limits of both services, and of their replies beyond a limit."""

from email.utils import parsedate_to_datetime

import pytest

from qualtrics_exporter.sandbox import Limits
from tests.sandbox.caller import NexthinkCaller, QualtricsCaller
from tests.support.clock import SteeredClock


async def test_second_query_within_a_second_is_refused(nexthink: NexthinkCaller, clock: SteeredClock) -> None:
    assert (await nexthink.execute()).status_code == 200
    reply = await nexthink.export()
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    clock.advance(1)
    assert (await nexthink.export()).status_code == 200


async def test_export_status_beyond_the_daily_limit_returns_a_retry_date(
    nexthink: NexthinkCaller, clock: SteeredClock
) -> None:
    """A 429 is documented only for the status of an export (Nexthink §1)."""
    nexthink.account.limits.nexthink_calls_per_day = 2
    for _ in range(2):
        assert (await nexthink.execute()).status_code == 200
        clock.advance(1)
    export_id = (await nexthink.export()).json()["exportId"]
    reply = await nexthink.status(export_id)
    assert reply.status_code == 429
    wait = (parsedate_to_datetime(reply.headers["retry-after"]) - clock.now()).total_seconds()
    assert 86390 < wait < 86401
    clock.advance(wait)
    await nexthink.log_in("nexthink")
    assert (await nexthink.status(export_id)).status_code == 200


@pytest.mark.parametrize(("form", "header"), [("never", None), ("seconds", "60")])
async def test_limit_of_one_endpoint_does_not_affect_another(
    qualtrics: QualtricsCaller, clock: SteeredClock, form: str, header: str | None
) -> None:
    limits = qualtrics.account.limits
    limits.qualtrics_endpoints_per_minute["create_batch"] = 2
    limits.qualtrics_retry_after = form  # type: ignore[assignment]
    for _ in range(2):
        await qualtrics.create_batch()
    reply = await qualtrics.post(qualtrics.batches_path, {"transactionIds": []})
    assert (reply.status_code, reply.headers.get("retry-after")) == (429, header)
    assert reply.json()["meta"]["requestId"]
    assert (await qualtrics.get("/whoami")).status_code == 200
    clock.advance(60)
    await qualtrics.create_batch()


async def test_limit_of_the_brand_counts_requests_to_all_endpoints(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    qualtrics.account.limits.qualtrics_brand_per_minute = 3
    replies = [await qualtrics.get("/whoami") for _ in range(2)] + [await qualtrics.get("/directories")]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert (await qualtrics.get("/whoami")).status_code == 429
    clock.advance(60)
    assert (await qualtrics.get("/whoami")).status_code == 200


async def test_rate_limit_uses_a_sliding_window(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    qualtrics.account.limits.qualtrics_brand_per_minute = 2
    await qualtrics.get("/whoami")
    clock.advance(50)
    await qualtrics.get("/whoami")
    clock.advance(11)
    assert (await qualtrics.get("/whoami")).status_code == 200
    assert (await qualtrics.get("/whoami")).status_code == 429


async def test_send_beyond_the_rate_limit_sends_nothing(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with("ana@example.com")
    qualtrics.account.limits.qualtrics_endpoints_per_minute["create_distribution"] = 0
    assert (await qualtrics.post("/distributions", qualtrics.distribution_body(batch_id))).status_code == 429
    assert qualtrics.sandbox.recorder.distributions == []


async def test_limits_off_allows_any_number_of_queries(nexthink: NexthinkCaller) -> None:
    nexthink.account.limits = Limits.off()
    assert [(await nexthink.execute()).status_code for _ in range(5)] == [200] * 5


async def test_import_beyond_the_limit_of_running_imports_is_refused(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.limits.qualtrics_jobs = 1
    body = qualtrics.import_body(await qualtrics.create_batch(), ["ana@example.com"])
    await qualtrics.post(qualtrics.imports_path, body)
    qualtrics.account.mailing_list_id = "CG_another000001"
    assert (await qualtrics.post(qualtrics.imports_path, body)).status_code == 429
