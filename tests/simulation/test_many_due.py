"""Many exporters are due in the same slot, in the world of `make measure-queue`."""

from benchmarks import queue

SLOW_MINUTES = 10


def test_tenant_with_long_runs_does_not_delay_the_others() -> None:
    figures = queue.measure(200, SLOW_MINUTES, tenants=10)
    assert figures.sent == figures.distributions == 200
    assert figures.missed == 0
    # A tenant may send one query every 1.1 seconds: 20 exporters take 22 seconds, and the last run takes 20 more.
    assert max(figures.ends[False]) < 60
    assert min(figures.ends[True]) > SLOW_MINUTES * 60


def test_tenant_with_long_runs_delays_the_others_in_the_earlier_version() -> None:
    figures = queue.measure(100, SLOW_MINUTES, old=True, tenants=5)
    assert max(figures.ends[False]) > SLOW_MINUTES * 60
    assert figures.runs == queue.POOL
