"""Memory for a large result is reserved when the result can be read, and released when it was read."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from qualtrics_exporter.export import result_memory
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.result_memory import ADDRESS_BYTES, CHUNK_BYTES, RECIPIENT_BYTES, bytes_in_use
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.qualtrics.chunks import MAX_CONTACTS, body, chunks
from qualtrics_exporter.remote.transport import MAX_LARGE_RESPONSES
from tests.export.conftest import Exporter
from tests.support.waiting import HANG_SECONDS

PEOPLE = 3000


class RecordingMemory:
    """Grants every reservation, and records the sizes in bytes."""

    def __init__(self) -> None:
        self.reservations = self.released = self.held = 0
        self.sizes: list[int] = []

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[Callable[[int], None]]:
        assert not self.held
        self.reservations += 1
        self.held = size
        self.sizes.append(size)

        def shrink(smaller: int) -> None:
            self.held = min(self.held, smaller)

        yield shrink
        self.released += 1
        self.held = 0


async def test_unfinished_export_holds_no_memory(exporter: Exporter) -> None:
    """An export can take an hour, and two runs that reserve memory for a million people take nearly all of it."""
    exporter.set_people_count(PEOPLE)
    memory = RecordingMemory()
    exporter.faults.add("nexthink.status", hold="before")
    exporter.faults.add("qualtrics.import_contacts", hold="before")
    run = asyncio.create_task(exporter.run(memory=memory.hold))
    await exporter.faults.reached("nexthink.status")
    assert not memory.reservations
    exporter.faults.release("nexthink.status")
    await exporter.faults.reached("qualtrics.import_contacts")
    assert (memory.reservations, memory.held > 0) == (1, True)
    exporter.faults.release("qualtrics.import_contacts")
    assert (await run).result == "Succeeded"
    assert not memory.held


async def test_run_reserves_memory_for_max_recipients_and_keeps_what_its_people_take(exporter: Exporter) -> None:
    exporter.set_people_count(PEOPLE)
    exporter.change_spec("spec", max_recipients=500_000)
    memory = RecordingMemory()
    exporter.faults.add("nexthink.download", hold="before")
    exporter.faults.add("qualtrics.import_contacts", hold="before")
    run = asyncio.create_task(exporter.run(memory=memory.hold))
    await exporter.faults.reached("nexthink.download")
    assert memory.held == 500_000 * RECIPIENT_BYTES + MAX_CONTACTS * (CHUNK_BYTES + 2 * ADDRESS_BYTES)
    exporter.faults.release("nexthink.download")
    await exporter.faults.reached("qualtrics.import_contacts")
    assert PEOPLE * 40 < memory.held < PEOPLE * (3 * 30 + CHUNK_BYTES)
    exporter.faults.release("qualtrics.import_contacts")
    assert (await run).result == "Succeeded"


LONG = [f"{number:04d}.{'x' * 59}@{'d' * 60}.{'e' * 60}.example.com" for number in range(PEOPLE)]
"""Addresses of 198 characters."""


async def test_run_with_long_addresses_releases_its_memory_and_reserves_more(exporter: Exporter) -> None:
    """The run first releases what it reserved. Otherwise, two runs could wait for each other without end."""
    exporter.set_people(LONG)
    exporter.change_spec("spec", max_recipients=PEOPLE)
    memory = RecordingMemory()
    exporter.faults.add("qualtrics.import_contacts", hold="before")
    run = asyncio.create_task(exporter.run(memory=memory.hold))
    await exporter.faults.reached("qualtrics.import_contacts")
    assert memory.reservations == 2
    assert memory.released == 1
    needed = PEOPLE * (243 + CHUNK_BYTES + 2 * ADDRESS_BYTES)
    assert memory.sizes[0] < needed < memory.sizes[1], "each address takes 243 bytes"
    assert PEOPLE * 3 * 198 < memory.held < PEOPLE * 900
    exporter.faults.release("qualtrics.import_contacts")
    assert (await run).result == "Succeeded"
    assert exporter.mailed() == dict.fromkeys(LONG, 1)
    assert exporter.sandbox.recorder.count("nexthink.download") == 2


async def test_heavy_query_with_long_addresses_reserves_memory_twice(exporter: Exporter) -> None:
    exporter.set_people(LONG).heavy = True
    exporter.change_spec("spec", max_recipients=PEOPLE)
    memory = RecordingMemory()
    assert (await exporter.run(memory=memory.hold)).result == "Succeeded"
    assert (memory.reservations, memory.held) == (2, 0)
    assert exporter.mailed() == dict.fromkeys(LONG, 1)


async def test_delivering_test_reserves_no_memory(exporter: Exporter) -> None:
    exporter.set_people(LONG).heavy = True
    memory = RecordingMemory()
    assert (await exporter.run(trigger="Test", memory=memory.hold)).reason == "QueryNotCompared"
    assert not memory.reservations
    assert len(exporter.mailed()) == 20


@pytest.mark.parametrize("limit", [None, PEOPLE])
async def test_run_fails_if_its_people_exceed_the_memory_for_one_result(
    exporter: Exporter, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_memory, "LARGEST_RESULT_BYTES", PEOPLE * 150)
    exporter.set_people(LONG)
    exporter.change_spec("spec", max_recipients=limit)
    memory = RecordingMemory()
    entry = await exporter.run(memory=memory.hold)
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyTooLarge")
    assert not memory.held
    assert not exporter.mailed()


async def test_wait_for_memory_does_not_count_towards_the_deadline(exporter: Exporter) -> None:
    @asynccontextmanager
    async def long_wait(_: int) -> AsyncIterator[Callable[[int], None]]:
        for _ in range(120):
            exporter.clock.advance(60)
            await asyncio.sleep(0)
        yield lambda _: None

    exporter.set_people_count(PEOPLE)
    entry = await exporter.run(memory=long_wait, deadline=timedelta(hours=1))
    assert entry.result == "Succeeded", entry.message


async def test_deadline_applies_again_after_the_wait_for_memory(exporter: Exporter) -> None:
    @asynccontextmanager
    async def long_wait(_: int) -> AsyncIterator[Callable[[int], None]]:
        exporter.clock.advance(7200)
        yield lambda _: None

    exporter.set_people_count(PEOPLE)
    exporter.faults.add("nexthink.download", hold="before")
    run = asyncio.create_task(exporter.run(memory=long_wait, deadline=timedelta(hours=1)))
    await exporter.faults.reached("nexthink.download")
    exporter.clock.advance(3601)
    entry = await run
    assert (entry.result, entry.reason) == ("Failed", "RunDeadlineExceeded")
    exporter.faults.clear()


async def test_run_whose_reply_waits_for_memory_fails_at_its_deadline(exporter: Exporter) -> None:
    large_replies = exporter.clients.nexthink._session._context.transport._large_responses
    exporter.faults.add("nexthink.execute", body=json.dumps({"data": [], "executedQuery": "x" * 200_000}))
    async with large_replies.hold(Tenant("team", "another"), MAX_LARGE_RESPONSES):
        run = asyncio.create_task(exporter.run(deadline=timedelta(hours=1)))
        async with asyncio.timeout(HANG_SECONDS):
            while not len(large_replies._queue):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        exporter.clock.advance(3601)
        entry = await run
    assert (entry.result, entry.reason) == ("Failed", "RunDeadlineExceeded")
    assert not exporter.mailed()
    assert not large_replies._queue.used


def test_frozen_recipients_take_little_more_memory_than_their_addresses() -> None:
    people = Recipients()
    addresses = [f"person{number:06d}@example.com" for number in range(PEOPLE)]
    people.extend(addresses)
    people.freeze()
    length = sum(len(address) + 1 for address in addresses)
    assert length <= people.size <= length * 9 / 8
    assert list(people) == addresses


def test_reserved_memory_covers_the_chunk_that_is_imported() -> None:
    people = Recipients()
    people.extend(f"firstname.lastname{number:06d}@example.com" for number in range(MAX_CONTACTS + PEOPLE))
    people.freeze()
    tracemalloc.start()
    try:
        chunk = next(chunks(people, "run-5e9e4d5a5c0f6a1b2c3d"))
        request = body("BT_1", "run-5e9e4d5a5c0f6a1b2c3d", chunk)
        taken, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * (bytes_in_use(people) - people.size) < taken < bytes_in_use(people) - people.size
    assert peak < taken + 1.2 * len(request), "there is one copy of the request more while it is made"
