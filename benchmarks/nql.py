"""How fast queries are checked, and how the time grows with their length.

    python -m benchmarks.nql

Takes the good queries of the test corpus. Prints figures only; the times are of one process, on one core.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import cycle, islice

from qualtrics_exporter.nql.check import check
from qualtrics_exporter.resource.spec import LONGEST_QUERY
from tests.nql.corpus_files import entries

QUERIES = 1000
LENGTHS = (1000, 2000, 4000, 8000, LONGEST_QUERY)
ROUNDS = 5
WEEK = timedelta(days=7)


def main() -> None:
    """Measure and print."""
    began = time.process_time()
    check("users | list ad.email_address")
    print(f"the first check, with the making of the parser   {1000 * (time.process_time() - began):8.1f} ms")

    good = [entry for entry in entries() if not entry.expected]
    typical = list(islice(cycle(good), QUERIES))
    took = best(lambda: [check(entry.query, entry.parameters, entry.interval) for entry in typical])
    length = sum(len(entry.query) for entry in typical) / QUERIES
    print(f"{QUERIES:,} typical queries of {length:.0f} characters            {1000 * took:8.1f} ms")
    print(f"one of them                                      {1000 * took / QUERIES:8.3f} ms")

    print("\na query of so many characters   takes   a character")
    for characters in LENGTHS:
        took = best(partial(check, long_query(characters), {}, WEEK))
        print(f"{characters:>29,} {1000 * took:7.1f} ms {1e6 * took / characters:8.2f} µs")

    print("\nhostile texts of 16,000 characters, and a megabyte")
    for name, text in HOSTILE.items():
        print(f"{name:>29} {1000 * best(partial(check, text, {}, WEEK)):7.1f} ms")


def best(work: Callable[[], object]) -> float:
    """Seconds, of the fastest of some rounds: what the others took longer was something else's."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def long_query(characters: int) -> str:
    """One good query of that length: conditions make it long, as in real life."""
    head = "users | with execution.events during past 7d\n| where "
    tail = "\n| list ad.email_address"
    one = 'binary.name == "teams.exe" or '
    room = characters - len(head) - len(tail) - len("name != null")
    return f"{head}{one * (room // len(one))}name != null{tail}"


HOSTILE = {
    "pipes": "|" * LONGEST_QUERY,
    "brackets": "(" * (LONGEST_QUERY // 2) + ")" * (LONGEST_QUERY // 2),
    "broken conditions": ("where x y|" * LONGEST_QUERY)[:LONGEST_QUERY],
    "sums": "users | where x == " + "1+" * (LONGEST_QUERY // 2 - 10) + "1",
    "a megabyte of pipes": "|" * 1_000_000,
}


if __name__ == "__main__":
    main()
