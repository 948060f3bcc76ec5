"""Which rows become recipients, how duplicates are found, and how much memory recipients take."""

import subprocess
import sys
import tracemalloc
from itertools import count

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qualtrics_exporter.export import recipients
from qualtrics_exporter.export.addresses import identity
from qualtrics_exporter.export.recipients import NoRoom, Recipients
from qualtrics_exporter.export.result_memory import LONGEST_RECIPIENT_BYTES
from qualtrics_exporter.resource.status import RecipientCounts as Counts
from tests.export.address_strategies import NEAR_ADDRESSES, PLAIN_ADDRESSES
from tests.support.work import work


def recipients_of(*rows: str) -> Recipients:
    people = Recipients()
    people.extend(rows)
    return people


def test_rows_are_trimmed_and_each_counts_in_one_category() -> None:
    people = recipients_of(" ana@example.com ", "", "  ", "no address", "ANA@example.com", "ben@example.com")

    assert list(people) == ["ana@example.com", "ben@example.com"]
    assert people.counts == Counts(returned=6, empty=2, invalid=1, duplicate=1, accepted=2)


@pytest.mark.parametrize(
    "text",
    [
        "ana",
        "@example.com",
        "ana@",
        "ana@example",
        "ana@example.com, ben@example.com",
        "ana@example.com;ben@example.com",
        "Ana <ana@example.com>",
        "mailto:ana@example.com",
        "ana@example.com\r\nBcc: ben@example.com",
        "ana@exa mple.com",
        "ana..smith@example.com",
        ".ana@example.com",
        "ana@-example.com",
        "ana@example-.com",
        "ana@host.local",
        "ana@some.test",
        "ana@10.0.0.1",
        "ana@[10.0.0.1]",
        '"ana smith"@example.com',
        "ana\x00@example.com",
        "ana\u200b@example.com",
        "ana\ud800@example.com",
        "a" * 250 + "@example.com",
        "ana@" + "a" * 64 + ".com",
        "#N/A",
        "null",
    ],
)
def test_text_that_is_not_a_single_address_is_invalid(text: str) -> None:
    assert recipients_of(text).counts == Counts(returned=1, empty=0, invalid=1, duplicate=0, accepted=0)


@given(
    st.lists(
        PLAIN_ADDRESSES | NEAR_ADDRESSES | st.sampled_from(["", "ana@example.com", "Ana@Example.com"]), max_size=40
    )
)
def test_counts_add_up_and_nobody_is_listed_twice(rows: list[str]) -> None:
    people = recipients_of(*rows)
    counts, listed = people.counts, list(people)

    assert counts.returned == len(rows)
    assert counts.returned == sum(filter(None, [counts.empty, counts.invalid, counts.duplicate, counts.accepted]))
    assert len(listed) == len(people) == counts.accepted
    assert len(set(map(identity, listed))) == len(listed)
    assert all(name in [row.strip() for row in rows] for name in listed)


@given(st.lists(PLAIN_ADDRESSES, unique_by=str.lower, max_size=200), st.randoms(use_true_random=False))
def test_repeated_addresses_in_other_letter_case_are_duplicates(addresses: list[str], random) -> None:  # type: ignore[no-untyped-def]
    assume(all(map(identity, addresses)))
    repeated = ["".join(random.choice([letter.upper(), letter]) for letter in address) for address in addresses]
    random.shuffle(repeated)

    people = recipients_of(*addresses, *repeated)

    assert list(people) == addresses
    assert people.counts.duplicate == len(addresses)


def test_people_with_the_same_hash_are_all_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipients, "hash", lambda key: 7, raising=False)
    addresses = [f"user{n}@example.com" for n in range(200)]

    people = recipients_of(*addresses, *map(str.upper, addresses))

    assert list(people) == addresses
    assert people.counts.duplicate == 200


def test_limit_counts_people_and_not_rows() -> None:
    people = Recipients(limit=2)
    people.extend(["", "ana@example.com", "ANA@example.com", "ben@example.com", "eva@example.com"])

    assert list(people) == ["ana@example.com", "ben@example.com"]
    assert people.counts == Counts(returned=4, empty=1, invalid=0, duplicate=1, accepted=2)


def test_limit_ends_the_reading_of_endless_rows() -> None:
    people = Recipients(limit=20)
    people.extend(f"user{n}@example.com" for n in count())

    assert len(people) == 20


def test_people_who_are_not_kept_are_counted_once() -> None:
    people = Recipients(keep=2)
    people.extend(
        ["ana@example.com", "ben@example.com", "eva@example.com", "EVA@example.com", "ANA@example.com", "", "x"]
    )

    assert list(people) == ["ana@example.com", "ben@example.com"]
    assert len(people) == 3
    assert people.counts == Counts(returned=7, empty=1, invalid=1, duplicate=2, accepted=3)


@given(
    st.lists(PLAIN_ADDRESSES | NEAR_ADDRESSES | st.sampled_from(["ana@example.com", "Ana@Example.com"]), max_size=40),
    st.integers(0, 9),
)
def test_counts_do_not_depend_on_how_many_people_are_kept(rows: list[str], keep: int) -> None:
    whole, some = Recipients(), Recipients(keep=keep)
    whole.extend(rows)
    some.extend(rows)

    assert some.counts == whole.counts
    assert list(some) == list(whole)[:keep]


def test_people_who_are_not_kept_take_less_than_30_bytes_each() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.replace("Recipients()", "Recipients(keep=100)"), "700000"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    accepted, peak = done.stdout.split()

    assert int(accepted) == 700_000
    assert float(peak) < 30


def test_duplicates_are_not_recognized_beyond_the_limit_of_people_who_are_not_kept() -> None:
    people = Recipients(keep=1, recognize=3)
    people.extend(["ana@example.com", "ben@example.com", "eva@example.com", "eva@example.com", "kim@example.com"])
    assert people.counts == Counts(returned=5, empty=0, invalid=0, duplicate=1, accepted=4)
    people.extend(["lea@example.com", "lea@example.com", "eva@example.com"])
    assert people.counts == Counts(returned=8, empty=0, invalid=0, duplicate=1, accepted=7)
    assert list(people) == ["ana@example.com"]


def test_people_who_are_only_counted_are_all_recognized_within_the_reserved_memory() -> None:
    counting = MEASURE.replace("Recipients()", "Recipients(keep=0, recognize=n + 2)")
    with_duplicate = counting.replace("peak = ", 'people.add("FIRSTNAME.name000001@example.com")\npeak = ')
    # The hash table has just grown.
    done = subprocess.run([sys.executable, "-c", with_duplicate, "700000"], capture_output=True, text=True, check=True)
    accepted, peak = done.stdout.split()

    assert int(accepted) == 700_000
    assert float(peak) < recipients.COUNTED_BYTES + 4  # for other memory of Python


LONGEST = f"{{number:05d}}{'x' * 59}@{'d' * 60}.{'e' * 60}.{'f' * 55}.example.com"


@pytest.mark.parametrize(
    "form", ["firstname.name{number:06d}@example.com", LONGEST, "a{number:05d}@ｅｘａｍｐｌｅ.com"]
)
def test_estimated_memory_of_recipients_matches_the_real_memory(form: str) -> None:
    recipients_of(form.format(number=1))  # fills the caches of libraries
    people = Recipients()
    tracemalloc.start()
    try:
        people.extend(form.format(number=number) for number in range(5000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(people) == 5000
    assert 0.8 * people.taken < peak < 1.1 * people.taken
    assert people.taken < 5000 * LONGEST_RECIPIENT_BYTES


def test_recipients_that_exceed_the_memory_limit_are_rejected() -> None:
    people = Recipients(room=1000)
    with pytest.raises(NoRoom):
        people.extend(f"person{number}@example.com" for number in range(100))


def test_people_who_are_not_kept_take_less_than_a_megabyte() -> None:
    people = Recipients(keep=1)
    tracemalloc.start()
    try:
        people.extend(f"person{number}@example.com" for number in range(150_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(people) == 150_000
    assert peak < 1_000_000


def test_printed_recipients_show_no_address() -> None:
    assert "@" not in f"{recipients_of('ana@example.com')!r} {recipients_of('ana@example.com')}"


MEASURE = """
import resource, sys
from qualtrics_exporter.export.recipients import Recipients
n = int(sys.argv[1])
people = Recipients()
people.add("warm.up@example.com")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
people.extend(f"firstname.name{i:06d}@example.com" for i in range(n))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(people) - 1, (peak - before) * 1024 / n)
"""


# The memory for each recipient is highest at 700,000, when the hash table has just grown.
@pytest.mark.parametrize("people", [700_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_recipients_take_less_than_100_bytes_each(people: int) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(people)], capture_output=True, text=True, check=True)
    accepted, peak = done.stdout.split()

    assert int(accepted) == people
    assert float(peak) < 100


def test_work_for_each_recipient_does_not_grow_with_their_number() -> None:
    def extend(number: int) -> None:
        Recipients().extend(f"firstname.name{i:06d}@example.com" for i in range(number))

    few, many = work(extend, 2_000)[1], work(extend, 20_000)[1]
    assert many < 11 * few
