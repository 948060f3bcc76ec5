"""Measures how long it takes until a replica leads if the API server is slow for one replica or for both.

    python -m benchmarks.slow_api

The leader election is real. It runs on virtual time, against an in-memory API server that delays each call for the
Lease. Two replicas start one after the other, the slow one first, with several delays between the two starts. The
table has the longest time of all delays. It counts from the start of the healthy replica if there is one, otherwise
from the first start. "-" means that no replica led within ten minutes. The table also has the share of the time after
the first minute in which a replica leads, on average.
"""

import statistics
import sys

from tests.controller.election.slow_election import QUICK, Election, Speed

LATENCIES = (0.1, 0.5, 1.0, 1.2, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)
STAGGERS = (0.5, 3.0, 7.0, 11.0, 14.0)
LIMIT = 600.0
"""The measurement stops after this time, in virtual seconds."""


def seconds_until_led(speeds: list[Speed], stagger: float, since: float) -> float:
    """The time from `since` until a replica leads, or `LIMIT` if none does."""
    with Election(speeds, stagger=stagger) as election:
        led = election.until_led(since + LIMIT)
        return LIMIT if led is None else max(0.0, led - since)


def share_led(speeds: list[Speed], stagger: float) -> float:
    """The share of ten minutes in which a replica leads. They begin a minute after the start."""
    with Election(speeds, stagger=stagger) as election:
        election.run(60 + LIMIT)
        return sum(candidate.led(60, 60 + LIMIT) for candidate in election.candidates) / LIMIT


def main() -> int:
    print("Seconds until a replica leads, and the share of time in which a replica leads\n")
    print("| seconds per call | one replica slow |      | both slow |      |")
    print("| ---------------: | ---------------: | ---: | --------: | ---: |")
    for latency in LATENCIES:
        cells = []
        for speeds, healthy in (([Speed.of(latency), Speed.of(QUICK)], True), ([Speed.of(latency)] * 2, False)):
            wait = max(seconds_until_led(speeds, stagger, stagger if healthy else 0.0) for stagger in STAGGERS)
            led = statistics.mean(share_led(speeds, stagger) for stagger in STAGGERS)
            cells.append(("-" if wait >= LIMIT else f"{wait:.1f}", f"{led:.0%}"))
        (one, one_led), (both, both_led) = cells
        print(f"| {latency:>16} | {one:>16} | {one_led:>4} | {both:>9} | {both_led:>4} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
