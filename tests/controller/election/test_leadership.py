"""The time in which no operator led, the trust in a clock that was set, and the succession of run holders."""

from datetime import timedelta

import pytest

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.election.leadership import CLOCK_UNSURE_SECONDS, MAX_GAPS, LeaderRecord, Leadership
from qualtrics_exporter.controller.run_holders import ProcessIdentity
from tests.controller.exporters import at
from tests.support.clock import SteeredClock

NOON = at("2026-11-23 12:00")
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def test_slot_that_was_due_before_the_first_leader_is_late_by_that_time() -> None:
    leadership = Leadership.started(NOON)
    assert leadership.lateness(NOON - HOUR, NOON + 5 * HOUR) == HOUR
    assert leadership.lateness(NOON + MINUTE, NOON + 5 * HOUR) == timedelta(0)


def test_change_of_leaders_within_seconds_makes_no_slot_late() -> None:
    first = Leadership.started(NOON)
    second = Leadership.continued(first.annotation(), NOON + 3 * HOUR, NOON + 3 * HOUR + timedelta(seconds=16))
    assert second.lateness(NOON + HOUR, NOON + 4 * HOUR) == timedelta(0)
    assert second.since(NOON + 4 * HOUR) == NOON


def test_slot_is_late_only_by_the_gap_between_two_leaders() -> None:
    first = Leadership.started(NOON)
    second = Leadership.continued(first.annotation(), NOON + HOUR, NOON + HOUR + 20 * MINUTE)
    assert second.lateness(NOON + 30 * MINUTE, NOON + 6 * HOUR) == 20 * MINUTE
    assert second.lateness(NOON + HOUR + 5 * MINUTE, NOON + 6 * HOUR) == 15 * MINUTE


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        "nonsense",
        "/",
        "2026-11-23T12:00:00/2026-11-23T13:00:00",
        "a/b/c",
        "/0001-01-01T00:00:00+14:00",
        "/9999-12-31T23:59:59-14:00",
    ],
    ids=[
        "no annotation",
        "no time",
        "two empty times",
        "times without a zone",
        "three parts",
        "a time before the first year",
        "a time after the last year",
    ],
)
def test_lease_with_an_unusable_annotation_means_that_no_operator_led(annotation: str | None) -> None:
    leadership = Leadership.continued(annotation, NOON - MINUTE, NOON)
    assert leadership.lateness(NOON - HOUR, NOON) == HOUR


def test_renewal_some_seconds_in_the_future_counts_as_leading() -> None:
    leadership = Leadership.continued(
        Leadership.started(NOON).annotation(), NOON + 3 * HOUR, NOON + 3 * HOUR - 2 * SECOND
    )
    assert leadership.lateness(NOON + HOUR, NOON + 4 * HOUR) == timedelta(0)


def test_renewal_an_hour_in_the_future_means_that_no_operator_led() -> None:
    leadership = Leadership.continued(Leadership.started(NOON - HOUR).annotation(), NOON + HOUR, NOON)
    assert leadership.lateness(NOON - HOUR, NOON) == HOUR


def test_annotation_of_the_lease_stays_short_after_many_gaps() -> None:
    leadership = Leadership.started(NOON)
    for hours in range(1, 100):
        leadership = Leadership.continued(
            leadership.annotation(), NOON + hours * HOUR - 10 * MINUTE, NOON + hours * HOUR
        )
    assert len(leadership.gaps) == MAX_GAPS
    assert len(leadership.annotation()) < 400


def test_time_that_a_clock_skipped_counts_as_time_without_a_leader() -> None:
    leadership = Leadership.started(NOON).stepped(24 * HOUR, NOON + 25 * HOUR)
    assert leadership.lateness(NOON + 24 * HOUR, NOON + 25 * HOUR) == HOUR
    assert leadership.lateness(NOON + 25 * HOUR, NOON + 26 * HOUR) == timedelta(0)


def test_leader_still_leads_after_its_clock_was_set_back() -> None:
    leadership = Leadership.started(NOON).stepped(-HOUR, NOON + MINUTE - HOUR)
    assert leadership.since(NOON - HOUR + MINUTE) == NOON - HOUR


def test_clock_that_was_set_forward_is_not_trusted_for_some_minutes() -> None:
    clock = SteeredClock(start=NOON)
    watched = WatchedClock(clock)
    record = LeaderRecord(watched)
    assert not record.clock_unsure
    clock.set_wall(NOON + HOUR)
    watched.now()
    assert record.clock_unsure
    clock.advance(CLOCK_UNSURE_SECONDS + 1)
    assert not record.clock_unsure


def test_clock_that_is_set_back_again_is_trusted_at_once() -> None:
    clock = SteeredClock(start=NOON)
    watched = WatchedClock(clock)
    record = LeaderRecord(watched)
    clock.set_wall(clock.now() + HOUR)
    watched.now()
    clock.set_wall(clock.now() - HOUR)
    watched.now()
    assert not record.clock_unsure
    assert watched.steps == 2


def test_clock_that_is_often_set_forward_by_seconds_stays_trusted() -> None:
    clock = SteeredClock(start=NOON)
    watched = WatchedClock(clock)
    record = LeaderRecord(watched)
    for _ in range(50):
        clock.advance(240)
        clock.set_wall(clock.now() + timedelta(seconds=5))
        watched.now()
        assert not record.clock_unsure


def test_clock_that_is_often_set_forward_by_an_hour_is_trusted_after_some_minutes() -> None:
    clock = SteeredClock(start=NOON)
    watched = WatchedClock(clock)
    record = LeaderRecord(watched)
    clock.set_wall(clock.now() + HOUR)
    watched.now()
    for _ in range(4):
        clock.advance(CLOCK_UNSURE_SECONDS / 5)
        clock.set_wall(clock.now() + HOUR)
        watched.now()
        assert record.clock_unsure
    clock.advance(CLOCK_UNSURE_SECONDS / 5 + 1)
    assert not record.clock_unsure


def test_clock_is_not_trusted_after_a_large_step_and_a_small_correction() -> None:
    clock = SteeredClock(start=NOON)
    watched = WatchedClock(clock)
    record = LeaderRecord(watched)
    for by in (12 * HOUR, timedelta(seconds=-3)):
        clock.set_wall(clock.now() + by)
        watched.now()
        assert record.clock_unsure


def test_time_that_passes_is_not_a_step_of_the_clock() -> None:
    clock = SteeredClock(start=NOON)
    watched = WatchedClock(clock)
    for seconds in (0.1, 30, 3600, 1_000_000):
        clock.advance(seconds)
        watched.now()
    assert watched.steps == 0


LEASE = ("qualtrics-exporter", "qualtrics-exporter")


def test_leader_succeeds_the_previous_holder_of_its_lease() -> None:
    old, new = (ProcessIdentity.new(lease=LEASE, pod=pod, instance=pod) for pod in ("pod-a", "pod-b"))
    assert new.succeeds(old.new_holder())


def test_process_succeeds_the_previous_process_of_its_pod() -> None:
    old, new = (ProcessIdentity.new(lease=None, pod="pod-a", instance="pod-a") for _ in range(2))
    assert new.succeeds(old.new_holder())
    assert not new.is_own(old.new_holder())
    assert new.is_own(new.new_holder())


@pytest.mark.parametrize(
    ("holder", "leader"),
    [
        (
            ProcessIdentity.new(lease=LEASE, pod="a", instance="a"),
            ProcessIdentity.new(lease=("dex", "other"), pod="b", instance="b"),
        ),
        (
            ProcessIdentity.new(lease=None, pod="a", instance="a"),
            ProcessIdentity.new(lease=None, pod="b", instance="b"),
        ),
        (
            ProcessIdentity.new(lease=None, pod="", instance="host"),
            ProcessIdentity.new(lease=None, pod="", instance="host"),
        ),
        (
            ProcessIdentity.new(lease=LEASE, pod="a", instance="a"),
            ProcessIdentity.new(lease=None, pod="b", instance="b"),
        ),
    ],
    ids=["another shard", "two pods without election", "no pod names", "with and without election"],
)
def test_process_does_not_succeed_a_holder_that_may_be_alive(holder: ProcessIdentity, leader: ProcessIdentity) -> None:
    assert not leader.succeeds(holder.new_holder())


def test_process_does_not_succeed_a_holder_of_an_older_version() -> None:
    assert not ProcessIdentity.new(lease=LEASE, pod="a", instance="a").succeeds("pod-a-0123abcd/0123456789abcdef")
