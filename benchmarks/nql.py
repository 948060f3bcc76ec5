"""Measures how long the check of a query takes, and how the time grows with the length of the query.

    python -m benchmarks.nql

The queries are those of the test corpus that have no findings. Times are CPU times of one process.
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
    """Print the measurements."""
    began = time.process_time()
    check("users | list ad.email_address")
    print(f"first check, which builds the parser             {1000 * (time.process_time() - began):8.1f} ms")

    valid = [entry for entry in entries() if not entry.expected]
    typical = list(islice(cycle(valid), QUERIES))
    took = best(lambda: [check(entry.query, entry.parameters, entry.interval) for entry in typical])
    length = sum(len(entry.query) for entry in typical) / QUERIES
    print(f"{QUERIES:,} typical queries, {length:.0f} characters on average   {1000 * took:8.1f} ms")
    print(f"one of these queries                             {1000 * took / QUERIES:8.3f} ms")

    print("\n  characters of a long query       time  per character")
    for characters in LENGTHS:
        took = best(partial(check, long_query(characters), {}, WEEK))
        print(f"{characters:>29,} {1000 * took:7.1f} ms {1e6 * took / characters:8.2f} µs")

    print("\nhostile queries of 16,000 characters, and one of a megabyte")
    for name, text in HOSTILE.items():
        print(f"{name:>29} {1000 * best(partial(check, text, {}, WEEK)):7.1f} ms")


def best(work: Callable[[], object]) -> float:
    """The CPU seconds of the fastest round. In slower rounds, other programs on the machine interfered."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def long_query(characters: int) -> str:
    """A valid query of that length. It is long because of its conditions, as real queries are."""
    head = "users | with execution.events during past 7d\n| where "
    tail = "\n| list ad.email_address"
    condition = 'binary.name == "teams.exe" or '
    room = characters - len(head) - len(tail) - len("name != null")
    return f"{head}{condition * (room // len(condition))}name != null{tail}"


HOSTILE = {
    "pipes": "|" * LONGEST_QUERY,
    "brackets": "(" * (LONGEST_QUERY // 2) + ")" * (LONGEST_QUERY // 2),
    "broken conditions": ("where x y|" * LONGEST_QUERY)[:LONGEST_QUERY],
    "sums": "users | where x == " + "1+" * (LONGEST_QUERY // 2 - 10) + "1",
    "a megabyte of pipes": "|" * 1_000_000,
}


if __name__ == "__main__":
    main()
