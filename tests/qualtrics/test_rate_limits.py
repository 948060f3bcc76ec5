"""Every call stays within the rate limits of its endpoint and of the whole brand."""

from datetime import timedelta

import pytest

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.rate_limits import Permit, Rate
from tests.qualtrics.conftest import SandboxClient
from tests.remote.clock import RecordingClock

CALLS_PER_MINUTE = {
    "whoami": {3000},
    "read_survey": {3000},
    "read_message": {3000},
    "list_directories": {3000},
    "read_mailing_list": {3000},
    "create_batch": {500, 3000},
    "import_contacts": {100, 3000},
    "import_status": {500, 3000},
    "create_distribution": {3000},
    "list_distributions": {3000},
    "read_distribution": {3000},
}


async def test_every_call_waits_for_its_rate_limits(
    sandbox_client: SandboxClient, context: ApiContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[str, tuple[Rate, ...]]] = []

    acquire = context.limiter.acquire

    async def recording(origin: str, rates: tuple[Rate, ...], tenant: Tenant, *, urgent: bool) -> Permit:
        waited.append((origin, rates))
        return await acquire(origin, rates, tenant, urgent=urgent)

    monkeypatch.setattr(context.limiter, "acquire", recording)
    account, qualtrics = sandbox_client.account, sandbox_client.qualtrics
    await qualtrics.check_credentials()
    await qualtrics.check_survey(account.survey_id)
    await qualtrics.check_message(account.library_id, account.message_id)
    await qualtrics.check_directory(account.directory_id)
    await qualtrics.check_mailing_list(account.directory_id, account.mailing_list_id)
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    await qualtrics.acquire_send()
    distribution_id = await sandbox_client.send(batch_id)
    assert await sandbox_client.find(batch_id) == distribution_id
    operations = [name.removeprefix("qualtrics.") for name in sandbox_client.sandbox.recorder.operations()]
    called = [name for name in operations if name != "token"]
    assert {
        name: {rate.calls for rate in rates} for name, (_, rates) in zip(called, waited, strict=True)
    } == CALLS_PER_MINUTE
    assert all(60 < rate.seconds < 70 for _, rates in waited for rate in rates)
    assert {origin for origin, _ in waited} == {f"{sandbox_client.sandbox.qualtrics_url}"}


async def test_burst_of_calls_is_spread_so_that_none_is_refused(
    sandbox_client: SandboxClient, clock: RecordingClock
) -> None:
    start = clock.now()
    for _ in range(520):
        await sandbox_client.create_batch()
    assert {call.status for call in sandbox_client.sandbox.recorder.of("qualtrics.create_batch")} == {200}
    assert clock.now() - start > timedelta(seconds=60)
