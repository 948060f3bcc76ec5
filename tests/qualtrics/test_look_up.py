"""Looking up a distribution that may have been sent, and reading its delivery figures."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.distributions import NotShown
from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account
from tests.qualtrics.conftest import SandboxClient
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, answer, result

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)

Echo = Literal["mailingListId", "byId", "never"]


@pytest.mark.parametrize("echo", ["mailingListId", "byId"])
async def test_send_with_a_lost_reply_is_found(sandbox_client: SandboxClient, account: Account, echo: Echo) -> None:
    account.batch_echo = echo
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    sandbox_client.sandbox.faults.add("qualtrics.create_distribution", drop="after")
    with pytest.raises(OutcomeUnknown):
        await sandbox_client.send(batch_id)
    assert await sandbox_client.find(batch_id) == sandbox_client.sandbox.recorder.distributions[0].id


async def test_send_that_did_not_happen_is_not_found(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    sandbox_client.sandbox.faults.add("qualtrics.create_distribution", drop="before")
    with pytest.raises(OutcomeUnknown):
        await sandbox_client.send(batch_id)
    assert await sandbox_client.find(batch_id) is None


@pytest.mark.parametrize("echo", ["mailingListId", "byId"])
@pytest.mark.parametrize("page", [1, 2, 100])
async def test_each_batch_is_found_among_distributions_of_the_same_survey(
    sandbox_client: SandboxClient, account: Account, echo: Echo, page: int
) -> None:
    account.batch_echo, account.distributions_page_size = echo, page
    batches = [await sandbox_client.create_batch_of(f"user{n}@example.com") for n in range(5)]
    sent = {batch_id: await sandbox_client.send(batch_id) for batch_id in batches}
    for batch_id in batches:
        assert await sandbox_client.find(batch_id) == sent[batch_id]
    assert await sandbox_client.find("BT_another0001") is None


async def test_look_up_is_inconclusive_if_no_distribution_shows_its_batch(
    sandbox_client: SandboxClient, account: Account
) -> None:
    """The only distribution of the survey at that time may be of this run or of somebody else."""
    account.batch_echo = "never"
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    await sandbox_client.send(batch_id)
    with pytest.raises(NotShown):
        await sandbox_client.find(batch_id)


async def test_distribution_is_found_after_the_lag_of_the_list(
    sandbox_client: SandboxClient, account: Account, clock: RecordingClock
) -> None:
    account.list_lag_seconds = 60
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    distribution_id = await sandbox_client.send(batch_id)
    assert await sandbox_client.find(batch_id) is None
    clock.advance(60)
    assert await sandbox_client.find(batch_id) == distribution_id


async def test_look_up_is_limited_to_the_survey_and_the_time_range(
    sandbox_client: SandboxClient, clock: RecordingClock
) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    distribution_id = await sandbox_client.send(batch_id)
    now = clock.now()
    find = sandbox_client.qualtrics.find_distribution
    assert await find(sandbox_client.account.survey_id, batch_id, now - HOUR, now + HOUR) == distribution_id
    assert await find(sandbox_client.account.survey_id, batch_id, now + HOUR, now + 2 * HOUR) is None
    assert await find(sandbox_client.account.inactive_survey_id, batch_id, now - HOUR, now + HOUR) is None


async def test_distributions_of_other_batches_are_not_read_one_by_one(
    sandbox_client: SandboxClient, account: Account
) -> None:
    account.batch_echo = "mailingListId"
    for number in range(3):
        await sandbox_client.send(await sandbox_client.create_batch_of(f"user{number}@example.com"))
    assert await sandbox_client.find("BT_another0001") is None
    assert sandbox_client.sandbox.recorder.count("qualtrics.read_distribution") == 0


async def test_look_up_fails_if_a_distribution_cannot_be_read(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    await sandbox_client.send(batch_id)
    sandbox_client.sandbox.faults.add("qualtrics.read_distribution", status=500, times=None)
    with pytest.raises(Transient):
        await sandbox_client.find(batch_id)


async def test_look_up_is_inconclusive_if_a_listed_distribution_does_not_exist(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    await sandbox_client.send(batch_id)
    sandbox_client.sandbox.faults.add("qualtrics.read_distribution", status=404, times=None)
    with pytest.raises(NotShown):
        await sandbox_client.find(batch_id)


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_look_up_continues_after_a_distribution_that_cannot_be_read(
    sandbox_client: SandboxClient, status: int
) -> None:
    wanted = await sandbox_client.create_batch_of("ana@example.com")
    distribution_id = await sandbox_client.send(wanted)
    # This distribution is listed first, so it is read before the other one.
    await sandbox_client.send(await sandbox_client.create_batch_of("ben@example.com"))
    times = 5 if status == 500 else 1
    sandbox_client.sandbox.faults.add("qualtrics.read_distribution", status=status, times=times)
    assert await sandbox_client.find(wanted) == distribution_id


async def test_look_up_prefers_an_error_to_an_inconclusive_result(sandbox_client: SandboxClient) -> None:
    """A repetition may help against an error, but not against a distribution that does not exist."""
    batches = [await sandbox_client.create_batch_of(f"user{number}@example.com") for number in range(3)]
    for batch_id in batches:
        await sandbox_client.send(batch_id)
    sandbox_client.sandbox.faults.add("qualtrics.read_distribution", status=404)
    sandbox_client.sandbox.faults.add("qualtrics.read_distribution", status=403)
    sandbox_client.sandbox.faults.add("qualtrics.read_distribution", status=404)
    with pytest.raises(Permanent) as error:
        await sandbox_client.find("BT_another0001")
    assert error.value.reason is Reason.NOT_PERMITTED


@pytest.mark.parametrize("after", [0, 1])
async def test_page_that_cannot_be_read_is_not_an_empty_page(
    sandbox_client: SandboxClient, account: Account, after: int
) -> None:
    account.distributions_page_size = 1
    for number in range(3):
        await sandbox_client.send(await sandbox_client.create_batch_of(f"user{number}@example.com"))
    sandbox_client.sandbox.faults.add("qualtrics.list_distributions", status=503, times=None, after=after)
    with pytest.raises(Transient):
        await sandbox_client.find("BT_another0001")


@pytest.mark.parametrize("end", [{}, {"nextPage": ""}])
async def test_page_without_an_end_marker_is_not_the_last_page(
    server: Server, scripted_client: QualtricsClient, end: dict[str, str]
) -> None:
    elements = [{"id": f"EMD_{number}", "recipients": {"mailingListId": f"BT_{number}"}} for number in range(3)]
    server.script(result(elements=elements, **end))
    with pytest.raises(Transient):
        await scripted_client.find_distribution("SV_1", "BT_another", NOW - HOUR, NOW + HOUR)
    server.script(result(elements=elements, **end))
    assert await scripted_client.find_distribution("SV_1", "BT_2", NOW - HOUR, NOW + HOUR) == "EMD_2"


@pytest.mark.parametrize("operation", ["list_distributions", "read_distribution"])
async def test_look_up_that_hangs_fails_after_three_minutes(
    sandbox_client: SandboxClient, clock: RecordingClock, operation: str
) -> None:
    await sandbox_client.send(await sandbox_client.create_batch_of("ana@example.com"))
    sandbox_client.sandbox.faults.add(f"qualtrics.{operation}", hold="before")
    search = asyncio.create_task(sandbox_client.find("BT_another0001"))
    await sandbox_client.sandbox.faults.reached(f"qualtrics.{operation}")
    clock.advance(179)
    await asyncio.sleep(0.01)
    assert not search.done()
    clock.advance(2)
    with pytest.raises(Transient, match="within 3 minutes"):
        await search
    sandbox_client.sandbox.faults.clear()


SHOWN: list[tuple[dict[str, object], bool | None]] = [
    ({"recipients": {"mailingListId": "BT_1"}}, True),
    ({"recipients": {"transactionBatchId": "BT_1"}}, True),
    ({"recipients": {"mailingListId": "CG_1", "transactionBatchId": "BT_1"}}, True),
    ({"transactionBatchId": "BT_1"}, True),
    ({"recipients": {"mailingListId": "BT_2"}}, False),
    ({"recipients": {"mailingListId": "BT_10"}}, False),
    ({"recipients": {"mailingListId": "CG_1", "contactId": "CGC_1"}}, None),
    ({"recipients": {"sampleId": "MLRP_1"}}, None),
    ({"recipients": {"mailingListId": "bt_1"}}, None),
    ({"recipients": {"mailingListId": "CG_1"}}, None),  # may be the mailing list of the people of the batch
    ({"recipients": {"mailingListId": None, "contactId": None, "sampleId": ""}}, None),
    ({"recipients": {}}, None),
    ({"recipients": None}, None),
    ({"recipients": ["BT_1"]}, None),
    ({}, None),
]


@pytest.mark.parametrize(("shown", "found"), SHOWN, ids=str)
@pytest.mark.parametrize("in_list", [True, False])
async def test_batch_is_recognized_in_every_field_that_can_show_it(
    server: Server, scripted_client: QualtricsClient, shown: dict[str, object], found: bool | None, in_list: bool
) -> None:
    listed = {"id": "EMD_1", **(shown if in_list else {})}
    server.script(result(elements=[listed], nextPage=None), result(id="EMD_1", **({} if in_list else shown)))
    search = scripted_client.find_distribution("SV_1", "BT_1", NOW - HOUR, NOW + HOUR)
    if found is None:
        with pytest.raises(NotShown):
            await search
    else:
        assert await search == ("EMD_1" if found else None)


async def test_look_up_request_is_as_documented(server: Server, scripted_client: QualtricsClient) -> None:
    server.script(result(elements=[], nextPage=None))
    assert await scripted_client.find_distribution("SV_1", "BT_1", NOW - HOUR, NOW + HOUR) is None
    path, _, query = server.received_requests[0].target.partition("?")
    assert path == "/API/v3/distributions"
    assert dict(pair.split("=") for pair in query.split("&")) == {
        "surveyId": "SV_1",
        "sendStartDate": "2026-01-05T09%3A00%3A00Z",
        "sendEndDate": "2026-01-05T11%3A00%3A00Z",
        "pageSize": "100",
        "useNewPaginationScheme": "true",
    }


@pytest.mark.parametrize("element", [{}, {"id": None}, {"id": ".."}, None])
async def test_malformed_list_is_not_an_empty_list(
    server: Server, scripted_client: QualtricsClient, element: object
) -> None:
    server.script(result(elements=[element], nextPage=None))
    with pytest.raises(Transient) as error:
        await scripted_client.find_distribution("SV_1", "BT_1", NOW - HOUR, NOW + HOUR)
    assert error.value.reason is Reason.REMOTE_REPLY_INVALID


async def test_delivery_figures_are_read(
    sandbox_client: SandboxClient, account: Account, clock: RecordingClock
) -> None:
    account.bouncing_addresses, account.opted_out_addresses = {"ben@example.com"}, {"eva@example.com"}
    batch_id = await sandbox_client.create_batch_of("ana@example.com", "ben@example.com", "eva@example.com")
    distribution_id = await sandbox_client.send(batch_id)
    fresh = await sandbox_client.qualtrics.delivery(account.survey_id, distribution_id)
    assert (fresh.request_status, fresh.sent) == ("Pending", 0)
    clock.advance(60)
    read = await sandbox_client.qualtrics.delivery(account.survey_id, distribution_id)
    assert (read.request_status, read.sent, read.bounced, read.skipped, read.failed) == ("Done", 2, 1, 1, 0)
    assert read.observed_time == clock.now().replace(microsecond=0)


async def test_delivery_figures_of_another_batch_are_refused(sandbox_client: SandboxClient, account: Account) -> None:
    batches = [await sandbox_client.create_batch_of(address) for address in ("ana@example.com", "ben@example.com")]
    distribution_id = await sandbox_client.send(batches[0])
    await sandbox_client.qualtrics.delivery(account.survey_id, distribution_id, batches[0])
    with pytest.raises(Permanent) as error:
        await sandbox_client.qualtrics.delivery(account.survey_id, distribution_id, batches[1])
    assert error.value.reason == "DistributionNotFound"


async def test_missing_delivery_figures_stay_missing(server: Server, scripted_client: QualtricsClient) -> None:
    server.script(result(id="EMD_1", stats={"sent": 5, "failed": None, "bounced": "many", "blocked": -1}))
    read = await scripted_client.delivery("SV_1", "EMD_1")
    assert read.model_dump(exclude_none=True, exclude={"observed_time"}) == {"sent": 5}


async def test_delivery_figures_of_a_missing_distribution_are_an_error(
    server: Server, scripted_client: QualtricsClient
) -> None:
    server.script(answer(404, {"meta": {"error": {}}}))
    with pytest.raises(Permanent) as error:
        await scripted_client.delivery("SV_1", "EMD_1")
    assert "EMD_1" in error.value.what
