"""Whom a run surveys with `spec.sample`."""

import asyncio
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.export.addresses import identity
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.result_memory import RECIPIENT_BYTES
from qualtrics_exporter.export.run_ids import request_run_id, slot_run_id
from qualtrics_exporter.export.sample import Part, Sample, draw, person_number, sample_of, surveyed_groups, with_group
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import SampleSpec, Spec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, SampledGroup
from qualtrics_exporter.schedule import Schedule, next_slot, slots_between
from tests.export.conftest import START, Exporter

NAME = "dex/teams"
ZURICH = ZoneInfo("Europe/Zurich")
WEEKLY = Schedule("Weekly", ZURICH, None, "Monday")
SCHEDULES = st.one_of(
    st.sampled_from([1, 2, 3, 4, 6, 12]).map(lambda hours: Schedule("Hourly", ZURICH, hours)),
    st.sampled_from(["Europe/Zurich", "Pacific/Apia", "America/New_York"]).map(
        lambda z: Schedule("Daily", ZoneInfo(z))
    ),
    st.sampled_from(["Monday", "Sunday"]).map(lambda day: Schedule("Weekly", ZURICH, None, day)),
)
TIMES = st.integers(0, 4 * 365 * 24 * 60).map(
    lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
PEOPLE = [f"user{n}@example.com" for n in range(100)]


def spec(**sample: int) -> Spec:
    return Spec.model_construct(sample=SampleSpec(**sample) if sample else None)


def slot_run(due: datetime) -> ActiveRun:
    return ActiveRun(
        id=slot_run_id("uid", due.isoformat()), trigger="Schedule", scheduled_time=due, start_time=due, step="Claimed"
    )


def request(time: datetime) -> ActiveRun:
    return ActiveRun(id=request_run_id("uid", time.isoformat()), trigger="Request", start_time=time, step="Claimed")


def surveyed(sample: Sample | None, people: Iterable[str] = PEOPLE) -> list[str]:
    return [who for who in people if sample is None or sample.includes(identity(who) or "")]


def group_of(sample: Sample | None) -> SampledGroup:
    assert sample
    assert sample.group
    return sample.group


def sent_at(sample: Sample | None, time: datetime) -> SampledGroup:
    """The record of a send to the group."""
    return group_of(sample).model_copy(update={"send_time": time})


@given(SCHEDULES, TIMES, st.integers(2, 12), st.sets(st.integers(0, 40)))
def test_nobody_is_surveyed_more_often_than_once_in_so_many_slots(
    schedule: Schedule, start: datetime, groups: int, missed: set[int]
) -> None:
    """Without any record: it follows from the number of the slot alone, missed slots and clock changes included."""
    slots = list(slots_between(schedule, start, start + schedule.interval() * 40))
    turns: dict[str, list[int]] = {who: [] for who in PEOPLE[:20]}
    for number, slot in enumerate(slots):
        if number not in missed:
            for who in surveyed(sample_of(spec(groups=groups), NAME, schedule, slot_run(slot.due)), turns):
                turns[who].append(number)
    for numbers in turns.values():
        assert all(later - earlier >= groups for earlier, later in pairwise(numbers))


@given(SCHEDULES, TIMES, st.integers(2, 12))
def test_everybody_has_one_turn_in_a_cycle(schedule: Schedule, start: datetime, groups: int) -> None:
    slots, due = [], start
    for _ in range(groups):
        due = next_slot(schedule, due).due
        slots.append(due)
    samples = [sample_of(spec(groups=groups), NAME, schedule, slot_run(due)) for due in slots]
    assert Counter(who for sample in samples for who in surveyed(sample)) == dict.fromkeys(PEOPLE, 1)
    assert sorted(group_of(sample).group for sample in samples) == list(range(1, groups + 1))


@given(st.integers(2, 40))
def test_groups_are_of_about_the_same_size(groups: int) -> None:
    people = [f"user{n}@example.com" for n in range(2000)]
    sizes = Counter(person_number(NAME, who) % groups for who in people)
    assert all(abs(sizes[group] - 2000 / groups) < 6 * (2000 / groups) ** 0.5 for group in range(groups))


def test_the_group_of_a_person_stays_and_differs_between_exporters() -> None:
    assert person_number(NAME, "ana@example.com") == 10308434563464611383
    assert person_number("dex/other", "ana@example.com") != person_number(NAME, "ana@example.com")
    assert person_number("dex/a", "b@example.com") != person_number("dex/ab", "@example.com")


def test_all_spellings_of_an_address_are_in_the_same_group() -> None:
    due = next_slot(WEEKLY, START).due
    for who in ("Ana@example.com", "wei\u00df@fa\u00df.de", "J\u00fcrg@b\u00fccher.example"):
        spellings = [who, who.upper().replace("SS", "\u1e9e"), who.replace("b\u00fccher", "xn--bcher-kva")]
        sample = sample_of(spec(groups=2), NAME, WEEKLY, slot_run(due))
        assert len(surveyed(sample, spellings)) in (0, 3)


def test_a_request_surveys_the_group_of_the_newest_slot() -> None:
    due = next_slot(WEEKLY, START).due
    of_slot = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due))
    for later in (timedelta(0), timedelta(days=3), timedelta(days=6, hours=23)):
        assert surveyed(sample_of(spec(groups=4), NAME, WEEKLY, request(due + later))) == surveyed(of_slot)
    next_group = sample_of(spec(groups=4), NAME, WEEKLY, request(due + timedelta(days=7)))
    assert not set(surveyed(next_group)) & set(surveyed(of_slot))


def test_a_request_surveys_nobody_who_was_surveyed_in_this_cycle() -> None:
    due = next_slot(WEEKLY, START).due
    of_slot = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due))
    known = with_group(None, group_of(of_slot))
    assert surveyed(sample_of(spec(groups=4), NAME, WEEKLY, request(due + timedelta(days=1)), known)) == []
    # Its own turn comes as planned.
    again = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due + timedelta(days=28)), known)
    assert surveyed(again) == surveyed(of_slot)


def test_a_run_that_a_person_reported_as_not_sent_does_not_count() -> None:
    due = next_slot(WEEKLY, START).due
    of_slot = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due))
    known = with_group(None, group_of(of_slot))

    def entry(reason: str) -> HistoryEntry:
        run = slot_run(due)
        return HistoryEntry(
            id=run.id, trigger="Schedule", completion_time=due, result="Failed", reason=reason, message=""
        )

    assert surveyed_groups(known, [entry("DeliveryUnknown")]) == known
    assert surveyed_groups(known, [entry("SettledAsNotSent")]) == []


@given(
    st.lists(st.tuples(SCHEDULES, st.integers(2, 8), st.integers(1, 12), st.booleans()), min_size=2, max_size=4),
    TIMES,
)
def test_whatever_is_edited_nobody_is_surveyed_twice_in_a_cycle(
    edits: list[tuple[Schedule, int, int, bool]], start: datetime
) -> None:
    """Schedules and numbers of groups change, and runs are requested in between."""
    known: list[SampledGroup] = []
    seen: dict[str, list[datetime]] = {who: [] for who in PEOPLE[:30]}
    now = start
    for schedule, groups, slots, requested in edits:
        for _ in range(slots):
            now = next_slot(schedule, now).due
            for run in [slot_run(now), *([request(now + timedelta(seconds=1))] if requested else [])]:
                sample = sample_of(spec(groups=groups), NAME, schedule, run, known)
                wait = schedule.interval() * (groups - 0.5)
                for who in surveyed(sample, seen):
                    assert all(run.start_time - time >= wait for time in seen[who])
                    seen[who].append(run.start_time)
                known = with_group(known, sent_at(sample, run.start_time))


def test_a_cycle_counts_from_the_send_not_from_the_slot() -> None:
    """A request just before the next slot has the group of the newest slot, which has its turn a week later."""
    due = next_slot(WEEKLY, START).due
    late = due + timedelta(days=7, minutes=-1)
    first = sample_of(spec(groups=2), NAME, WEEKLY, request(late))
    known = with_group(None, sent_at(first, late))
    turn = sample_of(spec(groups=2), NAME, WEEKLY, slot_run(due + timedelta(days=14)), known)
    assert surveyed(first)
    assert surveyed(turn) == []
    assert turn
    assert turn.waiting
    assert f"sent at {late:%Y-%m-%dT%H:%M:%SZ}" in turn.waiting
    assert surveyed(sample_of(spec(groups=2), NAME, WEEKLY, slot_run(due + timedelta(days=28)), known)) == (
        surveyed(first)
    )


@pytest.mark.parametrize("with_send_time", [True, False])
def test_a_send_in_the_future_counts_as_recent(with_send_time: bool) -> None:
    """A clock that is ahead by many cycles writes it. When the clock is right again, nobody knows when the send was."""
    due = next_slot(WEEKLY, START).due
    ahead = due + timedelta(weeks=60, hours=1)
    first = sample_of(spec(groups=4), NAME, WEEKLY, request(ahead))
    known = with_group(None, sent_at(first, ahead) if with_send_time else group_of(first))
    for number in range(8):
        sample = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due + timedelta(weeks=number)), known)
        assert not set(surveyed(sample)) & set(surveyed(first))
        assert bool(sample and sample.waiting and "in the future" in sample.waiting) == (number % 4 == 0)


def test_a_change_of_zone_by_less_than_half_an_interval_delays_nobody() -> None:
    york = Schedule("Weekly", ZoneInfo("America/New_York"), None, "Monday")
    known, now, sizes = [], START, []
    for schedule in (york, WEEKLY):
        for _ in range(4):
            now = next_slot(schedule, now).due
            sample = sample_of(spec(groups=4), NAME, schedule, slot_run(now), known)
            known = with_group(known, sent_at(sample, now))
            sizes.append(surveyed(sample))
    assert sizes[:4] == sizes[4:]


def test_a_run_that_was_sent_and_is_not_recorded_counts_as_everybody() -> None:
    due = next_slot(WEEKLY, START).due

    def entry(**changes: Any) -> HistoryEntry:
        sent = {"trigger": "Schedule", "result": "Succeeded", "reason": "Succeeded", "send_time": due, **changes}
        return HistoryEntry(id="run", completion_time=due, message="", **sent)

    (everybody,) = surveyed_groups(None, [entry()])
    assert (everybody.groups, everybody.send_time) == (1, due)
    assert surveyed_groups([everybody], [entry()]) == [everybody]
    without_time = everybody.model_copy(update={"send_time": None})
    assert surveyed_groups([without_time], [entry()]) == [everybody]
    assert not surveyed_groups(None, [entry(send_time=None), entry(result="Failed"), entry(trigger="Test")])


@given(st.integers(1, 99))
def test_about_so_many_per_cent_are_chosen_and_others_in_each_run(percent: int) -> None:
    people = [f"user{n}@example.com" for n in range(2000)]
    one, other = (
        set(surveyed(sample_of(spec(percent=percent), NAME, WEEKLY, slot_run(START + timedelta(weeks=n))), people))
        for n in (0, 1)
    )
    spread = 6 * (2000 * percent * (100 - percent)) ** 0.5 / 100
    assert abs(len(one) - 20 * percent) < spread
    assert one != other
    assert abs(len(one & other) - 2000 * (percent / 100) ** 2) < spread + 20


def test_a_run_that_starts_again_surveys_the_same_people() -> None:
    for sample in ({"groups": 4}, {"percent": 30}):
        run = slot_run(START)
        again = run.model_copy(update={"attempt": 2, "holder": "another"})
        chosen = surveyed(sample_of(spec(**sample), NAME, WEEKLY, run))
        assert chosen
        assert surveyed(sample_of(spec(**sample), NAME, WEEKLY, again)) == chosen


def test_tests_are_not_sampled() -> None:
    test = slot_run(START).model_copy(update={"trigger": "Test"})
    assert sample_of(spec(groups=4), NAME, WEEKLY, test) is None
    assert sample_of(spec(), NAME, WEEKLY, slot_run(START)) is None


async def slot(exporter: Exporter, number: int, schedule: Schedule = WEEKLY) -> tuple[HistoryEntry, list[str]]:
    """One slot of a weekly schedule in the sandbox, and who was mailed."""
    due = next_slot(schedule, START + timedelta(weeks=number)).due
    exporter.clock.advance(max(0.0, (due - exporter.clock.now()).total_seconds()))
    return await mailed_by(exporter, slot_run(due), schedule)


async def mailed_by(exporter: Exporter, run: ActiveRun, schedule: Schedule = WEEKLY) -> tuple[HistoryEntry, list[str]]:
    """How a run ends in the sandbox, and who was mailed."""
    before = Counter(exporter.mailed())
    run = run.model_copy(update={"holder": "me"})
    with exporter.open() as journal:
        known = surveyed_groups(journal.sampled_groups, journal.history)
        await journal.claim(run)
    entry = await exporter.run(sample=sample_of(exporter.spec, NAME, schedule, run, known))
    return entry, sorted((Counter(exporter.mailed()) - before).elements())


async def test_a_run_that_is_resumed_a_cycle_later_counts_from_its_send(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    due = next_slot(WEEKLY, START).due
    exporter.clock.advance((due + timedelta(weeks=4, hours=1) - exporter.clock.now()).total_seconds())
    _, mailed = await mailed_by(exporter, request(due + timedelta(hours=1)))
    assert mailed
    exporter.clock.advance(60)
    entry, again = await mailed_by(exporter, request(exporter.clock.now()))
    assert (entry.reason, again) == ("NoRecipients", [])
    assert "can all be surveyed again from" in entry.message


async def test_a_run_is_as_late_as_it_is_not_as_it_was_claimed(exporter: Exporter) -> None:
    """Its people were left out when it began; when it is resumed, their cycle is over."""
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    _, first = await slot(exporter, 0)
    left = request(exporter.clock.now())
    exporter.clock.advance(timedelta(weeks=4).total_seconds())
    assert (await mailed_by(exporter, left))[1] == first


@pytest.mark.parametrize("before", [None, SampleSpec(percent=50)])
async def test_a_run_without_groups_counts_for_all_groups(exporter: Exporter, before: SampleSpec | None) -> None:
    exporter.people(PEOPLE)
    exporter.change("spec", sample=before)
    _, mailed = await slot(exporter, 0)
    assert mailed
    exporter.change("spec", sample=SampleSpec(groups=4))
    entry, again = await slot(exporter, 1)
    assert (entry.reason, again) == ("NoRecipients", [])
    with exporter.open() as journal:
        assert [(known.groups, known.group) for known in journal.sampled_groups] == [(1, 1)]
    assert (await slot(exporter, 4))[1]


async def test_a_sample_without_people_is_reported_as_that_although_the_query_drifted(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    exporter.change("nexthink", query="users | list ad.email_address")
    first, mailed = await slot(exporter, 0)
    assert (first.reason, bool(mailed)) == ("QueryDrift", True)
    entry, again = await mailed_by(exporter, request(exporter.clock.now()))
    assert (entry.reason, again) == ("NoRecipients", [])
    assert Reason.QUERY_DRIFT.meaning in entry.message


async def test_a_change_of_the_weekday_says_whom_it_delays_and_until_when(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    for number in range(4):
        await slot(exporter, number)
    sunday = Schedule("Weekly", ZURICH, None, "Sunday")
    entry, mailed = await slot(exporter, 4, sunday)  # its number is that of the Monday before
    assert (entry.reason, mailed) == ("NoRecipients", [])
    assert "was sent at 2026-02-01T23:00:0" in entry.message
    assert "again from 2026-02-26T11:00:0" in entry.message
    assert all([(await slot(exporter, number, sunday))[1] for number in range(5, 9)])


@pytest.mark.parametrize("status", [400, 429])
async def test_a_send_that_was_refused_takes_nobodys_turn(exporter: Exporter, status: int) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    exporter.fault("create_distribution", status=status, times=None)
    entry, mailed = await slot(exporter, 0)
    assert (entry.result, mailed) == ("Failed", [])
    assert entry.send_time
    exporter.faults.clear()
    exporter.clock.advance(60)
    entry, mailed = await mailed_by(exporter, request(exporter.clock.now()))
    assert entry.result == "Succeeded"
    assert mailed


async def test_in_eight_slots_everybody_is_surveyed_twice_four_slots_apart(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    slots = []
    for number in range(8):
        entry, mailed = await slot(exporter, number)
        assert entry.result == "Succeeded"
        counts = entry.recipients
        assert counts
        assert (counts.sampled_out, counts.accepted, counts.imported) == (100 - len(mailed), len(mailed), len(mailed))
        assert f"spec.sample left out {100 - len(mailed)} people" in entry.message
        slots.append(mailed)
    assert exporter.mailed() == dict.fromkeys(PEOPLE, 2)
    assert slots[:4] == slots[4:]
    kept = exporter.path.read_text()
    assert "@" not in kept
    assert not any(str(person_number(NAME, who)) in kept for who in PEOPLE)
    assert [group["group"] for group in json.loads(kept)["surveyed"][""]]


async def test_with_a_changing_audience_nobody_is_surveyed_more_often(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    turns: dict[str, list[int]] = {}
    for number in range(8):
        exporter.people(who for n, who in enumerate(PEOPLE) if (n + number) % 3)
        _, mailed = await slot(exporter, number)
        for who in mailed:
            turns.setdefault(who, []).append(number)
    assert all(len(numbers) <= 2 for numbers in turns.values())
    assert all(numbers[-1] - numbers[0] in (0, 4) for numbers in turns.values())
    assert len(turns) > 80


async def test_a_slot_without_anybody_of_its_group_says_so(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE[:1])
    entries = [(await slot(exporter, number))[0] for number in range(4)]
    assert sorted(entry.reason for entry in entries) == [*["NoRecipients"] * 3, "Succeeded"]
    nobody = next(entry for entry in entries if entry.reason == "NoRecipients")
    assert nobody.recipients
    assert (nobody.recipients.sampled_out, nobody.recipients.accepted) == (1, 0)
    assert "spec.sample left out 1 person" in nobody.message
    assert exporter.mailed() == {PEOPLE[0]: 1}


async def test_a_dry_run_says_how_many_would_be_surveyed_and_takes_nobodys_turn(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4), dry_run=True)
    exporter.people(PEOPLE)
    dry, _ = await slot(exporter, 0)
    assert (dry.result, dry.reason) == ("DryRun", "DryRun")
    assert dry.recipients
    left_out = dry.recipients.sampled_out
    assert (dry.recipients.accepted or 0) + (left_out or 0) == 100
    assert f"The query returned 100 rows: 100 people. spec.sample left out {left_out} people: the run is for group" in (
        dry.message
    )
    exporter.change("spec", dry_run=None)
    entry, mailed = await slot(exporter, 0)
    assert (entry.result, len(mailed)) == ("Succeeded", dry.recipients.accepted)


async def test_the_people_of_a_large_sample_take_no_more_than_was_reserved_for_the_audience() -> None:
    async def pause() -> None:
        """Nobody else works."""

    number = 50_000
    tracemalloc.start()
    try:
        audience = Recipients()
        for n in range(number):
            audience.choose(f"firstname.lastname{n:08d}@department.example.com")
        tracemalloc.reset_peak()
        people = await draw(Part(NAME, 99, "run"), audience, pause)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number * 0.98 < len(people) < number
    assert people.counts.audience == number
    assert peak < number * RECIPIENT_BYTES


async def test_limits_count_everybody_before_the_sample_is_drawn(exporter: Exporter) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4), max_recipients=99)
    exporter.people(PEOPLE)
    assert (await slot(exporter, 0))[0].reason == "RecipientLimitExceeded"
    exporter.change("spec", max_recipients=100, min_recipients=100)
    assert (await slot(exporter, 1))[0].reason == "Succeeded"
    exporter.people(PEOPLE[1:])
    entry, mailed = await slot(exporter, 2)
    assert (entry.result, entry.reason, mailed) == ("Held", "TooFewRecipients", [])


@pytest.mark.parametrize("operation", ["create_batch", "import_contacts", "import_status"])
async def test_after_a_crash_the_same_people_are_surveyed(exporter: Exporter, operation: str) -> None:
    exporter.change("spec", sample=SampleSpec(groups=4))
    exporter.people(PEOPLE)
    run = slot_run(next_slot(WEEKLY, START).due).model_copy(update={"holder": "me"})
    expected = surveyed(sample_of(exporter.spec, NAME, WEEKLY, run))
    with exporter.open() as journal:
        await journal.claim(run)
    exporter.fault(operation, hold="after")
    killed = asyncio.create_task(exporter.run(sample=sample_of(exporter.spec, NAME, WEEKLY, run)))
    await exporter.faults.reached(f"qualtrics.{operation}")
    killed.cancel()
    await asyncio.wait({killed})
    exporter.faults.clear()
    left = exporter.left()
    assert left
    entry = await exporter.run(sample=sample_of(exporter.spec, NAME, WEEKLY, left))
    assert entry.result == "Succeeded"
    assert exporter.mailed() == dict.fromkeys(expected, 1)
    with exporter.open() as journal:
        assert [group.run_id for group in journal.sampled_groups] == [run.id]
