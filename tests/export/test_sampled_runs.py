"""Runs with `spec.sample` in the sandbox: who is mailed, and what the entries report."""

import asyncio
import json
from collections import Counter
from datetime import timedelta

import pytest

from qualtrics_exporter.export.sample import person_number, sample_of, surveyed_groups
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import SampleSpec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry
from qualtrics_exporter.schedule import Schedule, next_slot
from tests.export.conftest import START, Exporter
from tests.export.test_sample import NAME, PEOPLE, WEEKLY, ZURICH, requested_run, slot_run, surveyed_people


async def run_slot(exporter: Exporter, number: int, schedule: Schedule = WEEKLY) -> tuple[HistoryEntry, list[str]]:
    """Run one slot in the sandbox. Return its entry and the people who were mailed."""
    due = next_slot(schedule, START + timedelta(weeks=number)).due
    exporter.clock.advance(max(0.0, (due - exporter.clock.now()).total_seconds()))
    return await run_sampled(exporter, slot_run(due), schedule)


async def run_sampled(
    exporter: Exporter, run: ActiveRun, schedule: Schedule = WEEKLY
) -> tuple[HistoryEntry, list[str]]:
    """Run in the sandbox. Return the entry and the people who were mailed."""
    before = Counter(exporter.mailed())
    run = run.model_copy(update={"holder": "me"})
    with exporter.open_journal() as journal:
        recorded = surveyed_groups(journal.sampled_groups, journal.history)
        await journal.claim(run)
    entry = await exporter.run(sample=sample_of(exporter.spec, NAME, schedule, run, recorded))
    return entry, sorted((Counter(exporter.mailed()) - before).elements())


async def test_cycle_of_a_run_that_was_resumed_later_starts_at_its_send(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    due = next_slot(WEEKLY, START).due
    exporter.clock.advance((due + timedelta(weeks=4, hours=1) - exporter.clock.now()).total_seconds())
    _, mailed = await run_sampled(exporter, requested_run(due + timedelta(hours=1)))
    assert mailed
    exporter.clock.advance(60)
    entry, again = await run_sampled(exporter, requested_run(exporter.clock.now()))
    assert (entry.reason, again) == ("NoRecipients", [])
    assert "can all be surveyed again from" in entry.message


async def test_resumed_run_surveys_people_whose_cycle_ended_since_the_run_was_claimed(exporter: Exporter) -> None:
    """When the run was claimed, its people were left out. When it is resumed, their cycle has ended."""
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    _, first = await run_slot(exporter, 0)
    claimed = requested_run(exporter.clock.now())
    exporter.clock.advance(timedelta(weeks=4).total_seconds())
    assert (await run_sampled(exporter, claimed))[1] == first


@pytest.mark.parametrize("before", [None, SampleSpec(percent=50)])
async def test_run_without_groups_counts_for_all_groups(exporter: Exporter, before: SampleSpec | None) -> None:
    exporter.set_people(PEOPLE)
    exporter.change_spec("spec", sample=before)
    _, mailed = await run_slot(exporter, 0)
    assert mailed
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    entry, again = await run_slot(exporter, 1)
    assert (entry.reason, again) == ("NoRecipients", [])
    with exporter.open_journal() as journal:
        assert [(recorded.groups, recorded.group) for recorded in journal.sampled_groups] == [(1, 1)]
    assert (await run_slot(exporter, 4))[1]


async def test_empty_sample_of_a_drifted_query_is_reported_as_no_recipients(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    exporter.change_spec("nexthink", query="users | list ad.email_address")
    first, mailed = await run_slot(exporter, 0)
    assert (first.reason, bool(mailed)) == ("QueryDrift", True)
    entry, again = await run_sampled(exporter, requested_run(exporter.clock.now()))
    assert (entry.reason, again) == ("NoRecipients", [])
    assert Reason.QUERY_DRIFT.meaning in entry.message


async def test_run_after_a_weekday_change_reports_when_its_group_can_be_surveyed_again(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    for number in range(4):
        await run_slot(exporter, number)
    sunday = Schedule("Weekly", ZURICH, None, "Sunday")
    entry, mailed = await run_slot(exporter, 4, sunday)  # the slot has the same number as the Monday before
    assert (entry.reason, mailed) == ("NoRecipients", [])
    assert "was sent at 2026-02-01T23:00:0" in entry.message
    assert "again from 2026-02-26T11:00:0" in entry.message
    assert all([(await run_slot(exporter, number, sunday))[1] for number in range(5, 9)])


@pytest.mark.parametrize("status", [400, 429])
async def test_refused_send_does_not_count_for_its_group(exporter: Exporter, status: int) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    exporter.add_fault("create_distribution", status=status, times=None)
    entry, mailed = await run_slot(exporter, 0)
    assert (entry.result, mailed) == ("Failed", [])
    assert entry.send_time
    exporter.faults.clear()
    exporter.clock.advance(60)
    entry, mailed = await run_sampled(exporter, requested_run(exporter.clock.now()))
    assert entry.result == "Succeeded"
    assert mailed


async def test_everyone_is_surveyed_twice_in_eight_slots_of_four_groups(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    slots = []
    for number in range(8):
        entry, mailed = await run_slot(exporter, number)
        assert entry.result == "Succeeded"
        counts = entry.recipients
        assert counts
        assert (counts.sampled_out, counts.accepted, counts.imported) == (100 - len(mailed), len(mailed), len(mailed))
        assert f"spec.sample left out {100 - len(mailed)} people" in entry.message
        slots.append(mailed)
    assert exporter.mailed() == dict.fromkeys(PEOPLE, 2)
    assert slots[:4] == slots[4:]
    journal = exporter.path.read_text()
    assert "@" not in journal
    assert not any(str(person_number(NAME, who)) in journal for who in PEOPLE)
    assert [group["group"] for group in json.loads(journal)["surveyed"][""]]


async def test_nobody_is_surveyed_twice_in_a_cycle_if_the_audience_changes(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    slots_of: dict[str, list[int]] = {}
    for number in range(8):
        exporter.set_people(who for n, who in enumerate(PEOPLE) if (n + number) % 3)
        _, mailed = await run_slot(exporter, number)
        for who in mailed:
            slots_of.setdefault(who, []).append(number)
    assert all(len(numbers) <= 2 for numbers in slots_of.values())
    assert all(numbers[-1] - numbers[0] in (0, 4) for numbers in slots_of.values())
    assert len(slots_of) > 80


async def test_slot_without_people_of_its_group_is_reported_as_no_recipients(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE[:1])
    entries = [(await run_slot(exporter, number))[0] for number in range(4)]
    assert sorted(entry.reason for entry in entries) == [*["NoRecipients"] * 3, "Succeeded"]
    nobody = next(entry for entry in entries if entry.reason == "NoRecipients")
    assert nobody.recipients
    assert (nobody.recipients.sampled_out, nobody.recipients.accepted) == (1, 0)
    assert "spec.sample left out 1 person" in nobody.message
    assert exporter.mailed() == {PEOPLE[0]: 1}


async def test_dry_run_reports_the_size_of_the_sample_and_does_not_count(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4), dry_run=True)
    exporter.set_people(PEOPLE)
    dry, _ = await run_slot(exporter, 0)
    assert (dry.result, dry.reason) == ("DryRun", "DryRun")
    assert dry.recipients
    left_out = dry.recipients.sampled_out
    assert (dry.recipients.accepted or 0) + (left_out or 0) == 100
    assert f"The query returned 100 rows: 100 people. spec.sample left out {left_out} people: the run is for group" in (
        dry.message
    )
    exporter.change_spec("spec", dry_run=None)
    entry, mailed = await run_slot(exporter, 0)
    assert (entry.result, len(mailed)) == ("Succeeded", dry.recipients.accepted)


async def test_limits_apply_to_the_audience_before_sampling(exporter: Exporter) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4), max_recipients=99)
    exporter.set_people(PEOPLE)
    assert (await run_slot(exporter, 0))[0].reason == "RecipientLimitExceeded"
    exporter.change_spec("spec", max_recipients=100, min_recipients=100)
    assert (await run_slot(exporter, 1))[0].reason == "Succeeded"
    exporter.set_people(PEOPLE[1:])
    entry, mailed = await run_slot(exporter, 2)
    assert (entry.result, entry.reason, mailed) == ("Held", "TooFewRecipients", [])


@pytest.mark.parametrize("operation", ["create_batch", "import_contacts", "import_status"])
async def test_interrupted_run_surveys_the_same_people_after_it_is_resumed(exporter: Exporter, operation: str) -> None:
    exporter.change_spec("spec", sample=SampleSpec(groups=4))
    exporter.set_people(PEOPLE)
    run = slot_run(next_slot(WEEKLY, START).due).model_copy(update={"holder": "me"})
    expected = surveyed_people(sample_of(exporter.spec, NAME, WEEKLY, run))
    with exporter.open_journal() as journal:
        await journal.claim(run)
    exporter.add_fault(operation, hold="after")
    interrupted = asyncio.create_task(exporter.run(sample=sample_of(exporter.spec, NAME, WEEKLY, run)))
    await exporter.faults.reached(f"qualtrics.{operation}")
    interrupted.cancel()
    await asyncio.wait({interrupted})
    exporter.faults.clear()
    active = exporter.active_run()
    assert active
    entry = await exporter.run(sample=sample_of(exporter.spec, NAME, WEEKLY, active))
    assert entry.result == "Succeeded"
    assert exporter.mailed() == dict.fromkeys(expected, 1)
    with exporter.open_journal() as journal:
        assert [group.run_id for group in journal.sampled_groups] == [run.id]
