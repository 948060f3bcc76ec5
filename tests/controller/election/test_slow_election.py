"""Leader election with a slow API server.

A replica leads if a read and a write fit into a term. Two replicas never lead at the same time.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from tests.controller.election.slow_election import LEASE_SECONDS, QUICK, Election, Speed

LATENCIES = (0.1, 0.5, 1.0, 1.2, 2.0, 3.0, 4.0, 4.9)
TOO_SLOW = (5.5, 7.0, 9.0, 12.0, 16.0, 31.0)
SHARES_BEFORE = (0.0, 0.5, 1.0)
STAGGERS = (0.0, 4.0, 11.0)
SEEDS = 25
SHORT = {0.1, 1.2, 4.9, 5.5, 12.0}
"""The latencies that `make test` tries: both ends, the middle, and both sides of the limit."""


def grid(latencies: Sequence[float], others: Sequence[float]) -> list[Any]:
    """Every pair. `make test` tries the latencies of `SHORT` with the second other value, and the last with all."""
    short = [one for one in latencies if one in SHORT]
    return [
        pytest.param(
            one, other, marks=[] if one in short and (other == others[1] or one == short[-1]) else pytest.mark.long
        )
        for one in latencies
        for other in others
    ]


@pytest.mark.parametrize(("seconds", "before"), grid(LATENCIES, SHARES_BEFORE))
def test_single_slow_replica_leads_and_keeps_leading(seconds: float, before: float) -> None:
    with Election([Speed.of(seconds, before)]) as election:
        assert election.until_led(30) is not None
        election.run(120)
        (alone,) = election.candidates
        assert len(alone.terms) == 1, "it lost its term"


@pytest.mark.parametrize(("seconds", "before"), grid(LATENCIES, SHARES_BEFORE))
def test_one_of_two_slow_replicas_leads_and_keeps_leading(seconds: float, before: float) -> None:
    with Election([Speed.of(seconds, before)] * 2) as election:
        assert election.until_led(30) is not None
        election.run(120)
        assert sorted(len(candidate.terms) for candidate in election.candidates) == [0, 1]


@pytest.mark.parametrize(("seconds", "stagger"), grid([*LATENCIES, *TOO_SLOW], STAGGERS))
def test_slow_and_healthy_replica_have_one_leader_within_30_seconds(seconds: float, stagger: float) -> None:
    """One of them leads at the latest 30 seconds after the healthy replica has started, and from then on."""
    with Election([Speed.of(seconds), Speed.of(QUICK)], stagger=stagger) as election:
        election.run(stagger + 30)
        slow, healthy = election.candidates
        assert slow.led(stagger + 29, stagger + 30) or healthy.led(stagger + 29, stagger + 30)
        election.run(120)
        assert slow.led(stagger + 30, stagger + 150) + healthy.led(stagger + 30, stagger + 150) == pytest.approx(120)
        assert election.overlap() == 0


@pytest.mark.parametrize("seconds", TOO_SLOW)
def test_replica_that_is_too_slow_to_lead_leaves_the_lease_free_most_of_the_time(seconds: float) -> None:
    with Election([Speed.of(seconds)]) as election:
        seconds_held = 0
        for _ in range(600):
            election.run(1)
            holder = election.server.leases and election.server.lease("operator", "lease")["spec"]["holderIdentity"]
            seconds_held += bool(holder)
        assert election.candidates[0].led(0, 600) < 100
        assert seconds_held < 600 * 0.75


def test_healthy_replica_takes_over_from_a_leader_that_becomes_slow() -> None:
    with Election([Speed.of(QUICK), Speed.of(QUICK)]) as election:
        election.run(60)
        first, second = election.candidates
        assert first.terms
        first.cluster.speed = Speed.of(20)
        election.run(30)
        assert second.led(60, 90) > 0
        assert election.overlap() == 0


def test_leader_keeps_its_term_if_some_replies_are_lost() -> None:
    """The leader repeats a call without a reply on another connection."""
    lossy = Speed.of(QUICK)
    with Election([lossy, Speed.of(QUICK)], seed=1) as election:
        election.run(20)
        lossy.lost = 0.1
        election.run(600)
        assert len(election.candidates[0].terms) == 1


def test_slow_leader_that_stops_hands_over_at_once() -> None:
    with Election([Speed.of(1.2), Speed.of(QUICK)], stagger=5.0) as election:
        election.run(30)
        slow, healthy = election.candidates
        assert slow.led(29, 30)
        election.stop(slow)
        election.run(3)
        assert healthy.terms


def test_unconfirmed_writes_of_the_lease_do_not_count_as_time_with_a_leader() -> None:
    """Otherwise a replica that writes the Lease without leading would make late slots look on time."""
    with Election([Speed.of(QUICK), Speed(1.0, 11.0)], stagger=1.0) as election:
        election.run(30)
        leader, slow = election.candidates
        leader.cluster.speed = Speed.of(1000)
        election.run(1800)
        assert slow.cluster.writes[-1] > 60
        assert not slow.terms
        slow.cluster.speed = Speed.of(QUICK)
        election.run(60)
        assert slow.terms
        assert slow.election
        current = slow.election._lease._record.current  # type: ignore[union-attr]
        (gap, *_) = current.gaps
        assert gap.start is not None
        assert (gap.end - gap.start).total_seconds() > 1700


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[pytest.mark.long] * (n >= 8)) for n in range(SEEDS)])
def test_two_replicas_never_lead_at_the_same_time_at_random_speeds(seed: int) -> None:
    random = Random(seed)

    def speed() -> Speed:
        longest = random.choice((0.1, 1.0, 6.0, 20.0))
        return Speed(random.random() * longest, random.random() * longest, random.random(), random.choice((0, 0, 0.2)))

    with Election([speed() for _ in range(3)], stagger=random.random() * 10, seed=seed) as election:
        for _ in range(30):
            election.run(random.random() * 2 * LEASE_SECONDS)
            candidate = random.choice(election.candidates)
            candidate.cluster.speed = speed()
            if random.random() < 0.2 and candidate.task is not None and not candidate.task.done():
                election.stop(candidate)
                election.run(random.random() * 20)
                if candidate.task.done():
                    election.start(candidate)
        assert election.overlap() == 0
        assert not any(candidate.missed_deadline for candidate in election.candidates)


@pytest.mark.parametrize("seconds", [10.5, 11.0, 12.0])
def test_paused_leader_does_not_overlap_with_the_next_leader(seconds: float) -> None:
    with Election([Speed.of(QUICK), Speed.of(QUICK)], ending=1.5) as election:
        election.run(5)
        first, _ = election.candidates
        election.loop.pause(first.process)
        election.run(seconds)
        election.loop.resume(first.process)
        election.run(30)
        assert sum(len(candidate.terms) for candidate in election.candidates) >= 2, "a replica leads again"
        assert election.overlap() == 0
