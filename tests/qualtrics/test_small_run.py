"""The number of calls of a small run, because both services limit calls."""

from datetime import timedelta

from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.chunks import chunks
from qualtrics_exporter.remote.context import ApiContext
from tests.qualtrics.conftest import SandboxClient


async def test_small_run_makes_seven_calls(sandbox_client: SandboxClient, context: ApiContext) -> None:
    nexthink = NexthinkClient(
        context, nexthink_from(sandbox_client.sandbox.secrets()["nexthink"], "Secret dex/nexthink")
    )
    sandbox_client.account.import_polls = 0
    executed = await nexthink.execute(sandbox_client.account.query_id, {})
    people = [address for (address,) in executed.rows if address]
    batch_id = await sandbox_client.create_batch()
    for chunk in chunks(people, "run-1"):
        await sandbox_client.import_people(batch_id, *chunk)
    await sandbox_client.qualtrics.ensure_token(timedelta(minutes=5))
    await sandbox_client.send(batch_id)
    assert sandbox_client.sandbox.recorder.operations() == [
        "nexthink.token",
        "nexthink.execute",
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.create_distribution",
    ]
