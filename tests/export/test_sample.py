"""Which people a run surveys with `spec.sample`."""

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
from qualtrics_exporter.resource.spec import SampleSpec, Spec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, SampledGroup
from qualtrics_exporter.schedule import Schedule, next_slot, slots_between
from tests.export.conftest import START

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


def requested_run(time: datetime) -> ActiveRun:
    return ActiveRun(id=request_run_id("uid", time.isoformat()), trigger="Request", start_time=time, step="Claimed")


def surveyed_people(sample: Sample | None, people: Iterable[str] = PEOPLE) -> list[str]:
    return [who for who in people if sample is None or sample.includes(identity(who) or "")]


def group_of(sample: Sample | None) -> SampledGroup:
    assert sample
    assert sample.group
    return sample.group


def sent_at(sample: Sample | None, time: datetime) -> SampledGroup:
    """The recorded group of a sample that was sent at this time."""
    return group_of(sample).model_copy(update={"send_time": time})


@given(SCHEDULES, TIMES, st.integers(2, 12), st.sets(st.integers(0, 40)))
def test_nobody_is_surveyed_twice_within_as_many_slots_as_groups(
    schedule: Schedule, start: datetime, groups: int, missed: set[int]
) -> None:
    """The number of the slot alone ensures this, also with missed slots and clock changes. Nothing is recorded."""
    slots = list(slots_between(schedule, start, start + schedule.interval() * 40))
    slots_of: dict[str, list[int]] = {who: [] for who in PEOPLE[:20]}
    for number, slot in enumerate(slots):
        if number not in missed:
            for who in surveyed_people(sample_of(spec(groups=groups), NAME, schedule, slot_run(slot.due)), slots_of):
                slots_of[who].append(number)
    for numbers in slots_of.values():
        assert all(later - earlier >= groups for earlier, later in pairwise(numbers))


@given(SCHEDULES, TIMES, st.integers(2, 12))
def test_everyone_is_surveyed_once_in_a_cycle(schedule: Schedule, start: datetime, groups: int) -> None:
    slots, due = [], start
    for _ in range(groups):
        due = next_slot(schedule, due).due
        slots.append(due)
    samples = [sample_of(spec(groups=groups), NAME, schedule, slot_run(due)) for due in slots]
    assert Counter(who for sample in samples for who in surveyed_people(sample)) == dict.fromkeys(PEOPLE, 1)
    assert sorted(group_of(sample).group for sample in samples) == list(range(1, groups + 1))


@given(st.integers(2, 40))
def test_groups_have_about_the_same_size(groups: int) -> None:
    people = [f"user{n}@example.com" for n in range(2000)]
    sizes = Counter(person_number(NAME, who) % groups for who in people)
    assert all(abs(sizes[group] - 2000 / groups) < 6 * (2000 / groups) ** 0.5 for group in range(groups))


def test_group_of_a_person_is_stable_and_differs_between_exporters() -> None:
    assert person_number(NAME, "ana@example.com") == 10308434563464611383
    assert person_number("dex/other", "ana@example.com") != person_number(NAME, "ana@example.com")
    assert person_number("dex/a", "b@example.com") != person_number("dex/ab", "@example.com")


def test_all_spellings_of_an_address_are_in_the_same_group() -> None:
    due = next_slot(WEEKLY, START).due
    for who in ("Ana@example.com", "wei\u00df@fa\u00df.de", "J\u00fcrg@b\u00fccher.example"):
        spellings = [who, who.upper().replace("SS", "\u1e9e"), who.replace("b\u00fccher", "xn--bcher-kva")]
        sample = sample_of(spec(groups=2), NAME, WEEKLY, slot_run(due))
        assert len(surveyed_people(sample, spellings)) in (0, 3)


def test_requested_run_surveys_the_group_of_the_newest_slot() -> None:
    due = next_slot(WEEKLY, START).due
    of_slot = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due))
    for later in (timedelta(0), timedelta(days=3), timedelta(days=6, hours=23)):
        assert surveyed_people(sample_of(spec(groups=4), NAME, WEEKLY, requested_run(due + later))) == surveyed_people(
            of_slot
        )
    next_group = sample_of(spec(groups=4), NAME, WEEKLY, requested_run(due + timedelta(days=7)))
    assert not set(surveyed_people(next_group)) & set(surveyed_people(of_slot))


def test_requested_run_surveys_nobody_twice_in_a_cycle() -> None:
    due = next_slot(WEEKLY, START).due
    of_slot = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due))
    recorded = with_group(None, group_of(of_slot))
    assert (
        surveyed_people(sample_of(spec(groups=4), NAME, WEEKLY, requested_run(due + timedelta(days=1)), recorded)) == []
    )
    # The next slot of the group is not affected.
    next_cycle = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due + timedelta(days=28)), recorded)
    assert surveyed_people(next_cycle) == surveyed_people(of_slot)


def test_run_that_a_user_resolved_as_not_sent_does_not_count() -> None:
    due = next_slot(WEEKLY, START).due
    of_slot = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due))
    recorded = with_group(None, group_of(of_slot))

    def entry(reason: str) -> HistoryEntry:
        run = slot_run(due)
        return HistoryEntry(
            id=run.id, trigger="Schedule", completion_time=due, result="Failed", reason=reason, message=""
        )

    assert surveyed_groups(recorded, [entry("DeliveryUnknown")]) == recorded
    assert surveyed_groups(recorded, [entry("SettledAsNotSent")]) == []


@given(
    st.lists(st.tuples(SCHEDULES, st.integers(2, 8), st.integers(1, 12), st.booleans()), min_size=2, max_size=4),
    TIMES,
)
def test_nobody_is_surveyed_twice_in_a_cycle_after_edits_and_requested_runs(
    edits: list[tuple[Schedule, int, int, bool]], start: datetime
) -> None:
    """Schedules and numbers of groups change, and users request runs in between."""
    recorded: list[SampledGroup] = []
    times_of: dict[str, list[datetime]] = {who: [] for who in PEOPLE[:30]}
    now = start
    for schedule, groups, slots, with_request in edits:
        for _ in range(slots):
            now = next_slot(schedule, now).due
            for run in [slot_run(now), *([requested_run(now + timedelta(seconds=1))] if with_request else [])]:
                sample = sample_of(spec(groups=groups), NAME, schedule, run, recorded)
                wait = schedule.interval() * (groups - 0.5)
                for who in surveyed_people(sample, times_of):
                    assert all(run.start_time - time >= wait for time in times_of[who])
                    times_of[who].append(run.start_time)
                recorded = with_group(recorded, sent_at(sample, run.start_time))


def test_cycle_starts_at_the_send_and_not_at_the_slot() -> None:
    """A run requested just before the next slot surveys the group of the newest slot. Its next slot is a week later."""
    due = next_slot(WEEKLY, START).due
    late = due + timedelta(days=7, minutes=-1)
    first = sample_of(spec(groups=2), NAME, WEEKLY, requested_run(late))
    recorded = with_group(None, sent_at(first, late))
    next_sample = sample_of(spec(groups=2), NAME, WEEKLY, slot_run(due + timedelta(days=14)), recorded)
    assert surveyed_people(first)
    assert surveyed_people(next_sample) == []
    assert next_sample
    assert next_sample.waiting
    assert f"sent at {late:%Y-%m-%dT%H:%M:%SZ}" in next_sample.waiting
    assert surveyed_people(sample_of(spec(groups=2), NAME, WEEKLY, slot_run(due + timedelta(days=28)), recorded)) == (
        surveyed_people(first)
    )


@pytest.mark.parametrize("with_send_time", [True, False])
def test_send_time_in_the_future_counts_as_recent(with_send_time: bool) -> None:
    """A clock that is ahead writes such a time. After its correction, the real time of the send is unknown."""
    due = next_slot(WEEKLY, START).due
    ahead = due + timedelta(weeks=60, hours=1)
    first = sample_of(spec(groups=4), NAME, WEEKLY, requested_run(ahead))
    recorded = with_group(None, sent_at(first, ahead) if with_send_time else group_of(first))
    for number in range(8):
        sample = sample_of(spec(groups=4), NAME, WEEKLY, slot_run(due + timedelta(weeks=number)), recorded)
        assert not set(surveyed_people(sample)) & set(surveyed_people(first))
        assert bool(sample and sample.waiting and "in the future" in sample.waiting) == (number % 4 == 0)


def test_time_zone_change_by_less_than_half_an_interval_delays_nobody() -> None:
    york = Schedule("Weekly", ZoneInfo("America/New_York"), None, "Monday")
    recorded, now, samples = [], START, []
    for schedule in (york, WEEKLY):
        for _ in range(4):
            now = next_slot(schedule, now).due
            sample = sample_of(spec(groups=4), NAME, schedule, slot_run(now), recorded)
            recorded = with_group(recorded, sent_at(sample, now))
            samples.append(surveyed_people(sample))
    assert samples[:4] == samples[4:]


def test_sent_run_without_a_recorded_group_counts_for_everyone() -> None:
    due = next_slot(WEEKLY, START).due

    def entry(**changes: Any) -> HistoryEntry:
        sent = {"trigger": "Schedule", "result": "Succeeded", "reason": "Succeeded", "send_time": due, **changes}
        return HistoryEntry(id="run", completion_time=due, message="", **sent)

    (everyone,) = surveyed_groups(None, [entry()])
    assert (everyone.groups, everyone.send_time) == (1, due)
    assert surveyed_groups([everyone], [entry()]) == [everyone]
    without_time = everyone.model_copy(update={"send_time": None})
    assert surveyed_groups([without_time], [entry()]) == [everyone]
    assert not surveyed_groups(None, [entry(send_time=None), entry(result="Failed"), entry(trigger="Test")])


@given(st.integers(1, 99))
def test_percentage_selects_about_that_many_people_and_others_in_each_run(percent: int) -> None:
    people = [f"user{n}@example.com" for n in range(2000)]
    one, other = (
        set(
            surveyed_people(
                sample_of(spec(percent=percent), NAME, WEEKLY, slot_run(START + timedelta(weeks=n))), people
            )
        )
        for n in (0, 1)
    )
    spread = 6 * (2000 * percent * (100 - percent)) ** 0.5 / 100
    assert abs(len(one) - 20 * percent) < spread
    assert one != other
    assert abs(len(one & other) - 2000 * (percent / 100) ** 2) < spread + 20


def test_second_attempt_of_a_run_surveys_the_same_people() -> None:
    for sample in ({"groups": 4}, {"percent": 30}):
        run = slot_run(START)
        second_attempt = run.model_copy(update={"attempt": 2, "holder": "another"})
        chosen = surveyed_people(sample_of(spec(**sample), NAME, WEEKLY, run))
        assert chosen
        assert surveyed_people(sample_of(spec(**sample), NAME, WEEKLY, second_attempt)) == chosen


def test_tests_are_not_sampled() -> None:
    test = slot_run(START).model_copy(update={"trigger": "Test"})
    assert sample_of(spec(groups=4), NAME, WEEKLY, test) is None
    assert sample_of(spec(), NAME, WEEKLY, slot_run(START)) is None


async def test_large_sample_takes_no_more_memory_than_reserved_for_the_audience() -> None:
    async def pause() -> None:
        """No other task has to run."""

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
