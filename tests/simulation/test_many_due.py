"""Many exporters are due in the same slot, in the simulation of `make measure-queue`."""

from benchmarks import queue

SLOW_MINUTES = 10


def test_tenant_with_long_runs_does_not_delay_the_others() -> None:
    measured = queue.measure(200, SLOW_MINUTES, tenants=10)
    assert measured.sent == measured.distributions == 200
    assert measured.missed == 0
    # A tenant may send one query every 1.1 seconds: 20 exporters take 22 seconds, and the last run takes 20 more.
    assert max(measured.ends[False]) < 60
    assert min(measured.ends[True]) > SLOW_MINUTES * 60


def test_tenant_with_long_runs_delays_the_others_without_fair_shares() -> None:
    measured = queue.measure(100, SLOW_MINUTES, old=True, tenants=5)
    assert max(measured.ends[False]) > SLOW_MINUTES * 60
    assert measured.runs == queue.POOL
