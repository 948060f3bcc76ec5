"""What a small run costs: the vendors count calls, and so do we."""

from datetime import timedelta

from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.chunks import chunks
from qualtrics_exporter.remote.context import ApiContext
from tests.qualtrics.conftest import Brand


async def test_small_run_makes_seven_calls(brand: Brand, remotes: ApiContext) -> None:
    nexthink = NexthinkClient(remotes, nexthink_from(brand.sandbox.secrets()["nexthink"], "Secret dex/nexthink"))
    executed = await nexthink.execute(brand.world.query_id, {})
    people = [address for (address,) in executed.rows if address]
    batch_id = await brand.batch()
    for portion in chunks(people, "run-1"):
        await brand.bring_in(batch_id, *portion)
    await brand.qualtrics.ensure_token(timedelta(minutes=5))
    await brand.send(batch_id)
    assert brand.sandbox.ledger.operations() == [
        "nexthink.token",
        "nexthink.execute",
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.create_distribution",
    ]
