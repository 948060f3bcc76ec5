"""Who is a recipient, who is the same person, and what a million of them cost."""

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
from tests.environment.work import work

LOCALS = st.from_regex(r"[a-z0-9+_'-]{1,12}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,3})?\.(example\.)?(com|org|net)", fullmatch=True)
PLAIN = st.builds("{}@{}".format, LOCALS, DOMAINS)
# Close to an address, so that the rules are met at their edges.
NEARLY = st.text(st.sampled_from("aZ09.@-_+' xné\u0130ß\u212a\uff41\u0301\n\t,;<>\"()[]:\\"), max_size=30)


def taken(*rows: str) -> Recipients:
    """What is made of these rows."""
    people = Recipients()
    people.extend(rows)
    return people


def test_rows_are_trimmed_and_counted_each_in_one_way() -> None:
    people = taken(" ana@example.com ", "", "  ", "no address", "ANA@example.com", "ben@example.com")

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
def test_what_is_no_single_address_is_refused(text: str) -> None:
    assert taken(text).counts == Counts(returned=1, empty=0, invalid=1, duplicate=0, accepted=0)


@given(st.lists(PLAIN | NEARLY | st.sampled_from(["", "ana@example.com", "Ana@Example.com"]), max_size=40))
def test_the_numbers_add_up_and_nobody_is_named_twice(rows: list[str]) -> None:
    people = taken(*rows)
    counts, named = people.counts, list(people)

    assert counts.returned == len(rows)
    assert counts.returned == sum(filter(None, [counts.empty, counts.invalid, counts.duplicate, counts.accepted]))
    assert len(named) == len(people) == counts.accepted
    assert len(set(map(identity, named))) == len(named)
    assert all(name in [row.strip() for row in rows] for name in named)


@given(st.lists(PLAIN, unique_by=str.lower, max_size=200), st.randoms(use_true_random=False))
def test_naming_people_again_in_other_case_changes_nothing(addresses: list[str], random) -> None:  # type: ignore[no-untyped-def]
    assume(all(map(identity, addresses)))
    again = ["".join(random.choice([sign.upper(), sign]) for sign in address) for address in addresses]
    random.shuffle(again)

    people = taken(*addresses, *again)

    assert list(people) == addresses
    assert people.counts.duplicate == len(addresses)


def test_two_people_with_the_same_hash_are_still_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipients, "hash", lambda key: 7, raising=False)
    addresses = [f"user{n}@example.com" for n in range(200)]

    people = taken(*addresses, *map(str.upper, addresses))

    assert list(people) == addresses
    assert people.counts.duplicate == 200


def test_a_limit_stops_at_so_many_people_not_rows() -> None:
    people = Recipients(limit=2)
    people.extend(["", "ana@example.com", "ANA@example.com", "ben@example.com", "eva@example.com"])

    assert list(people) == ["ana@example.com", "ben@example.com"]
    assert people.counts == Counts(returned=4, empty=1, invalid=0, duplicate=1, accepted=2)


def test_a_limit_is_enough_for_endless_rows() -> None:
    people = Recipients(limit=20)
    people.extend(f"user{n}@example.com" for n in count())

    assert len(people) == 20


def test_of_more_people_than_are_kept_all_are_counted_once() -> None:
    people = Recipients(keep=2)
    people.extend(
        ["ana@example.com", "ben@example.com", "eva@example.com", "EVA@example.com", "ANA@example.com", "", "x"]
    )

    assert list(people) == ["ana@example.com", "ben@example.com"]
    assert len(people) == 3
    assert people.counts == Counts(returned=7, empty=1, invalid=1, duplicate=2, accepted=3)


@given(
    st.lists(PLAIN | NEARLY | st.sampled_from(["ana@example.com", "Ana@Example.com"]), max_size=40), st.integers(0, 9)
)
def test_the_numbers_are_the_same_however_few_are_kept(rows: list[str], keep: int) -> None:
    whole, some = Recipients(), Recipients(keep=keep)
    whole.extend(rows)
    some.extend(rows)

    assert some.counts == whole.counts
    assert list(some) == list(whole)[:keep]


def test_a_million_people_who_are_not_kept_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.replace("Recipients()", "Recipients(keep=100)"), "700000"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    accepted, peak = done.stdout.split()

    assert int(accepted) == 700_000
    assert float(peak) < 30


def test_of_many_more_people_than_are_kept_the_first_are_counted_once() -> None:
    people = Recipients(keep=1, recognize=3)
    people.extend(["ana@example.com", "ben@example.com", "eva@example.com", "eva@example.com", "kim@example.com"])
    assert people.counts == Counts(returned=5, empty=0, invalid=0, duplicate=1, accepted=4)
    people.extend(["lea@example.com", "lea@example.com", "eva@example.com"])
    assert people.counts == Counts(returned=8, empty=0, invalid=0, duplicate=1, accepted=7)
    assert list(people) == ["ana@example.com"]


def test_people_who_are_only_counted_are_all_told_apart_and_take_what_is_reserved() -> None:
    counting = MEASURE.replace("Recipients()", "Recipients(keep=0, recognize=n + 2)")
    twice = counting.replace("peak = ", 'people.add("FIRSTNAME.name000001@example.com")\npeak = ')
    # Just after the table has grown.
    done = subprocess.run([sys.executable, "-c", twice, "700000"], capture_output=True, text=True, check=True)
    accepted, peak = done.stdout.split()

    assert int(accepted) == 700_000
    assert float(peak) < recipients.COUNTED_BYTES + 4  # what Python itself takes meanwhile


LONGEST = f"{{number:05d}}{'x' * 59}@{'d' * 60}.{'e' * 60}.{'f' * 55}.example.com"


@pytest.mark.parametrize(
    "form", ["firstname.name{number:06d}@example.com", LONGEST, "a{number:05d}@ｅｘａｍｐｌｅ.com"]
)
def test_people_take_what_is_counted_for_them(form: str) -> None:
    taken(form.format(number=1))  # fills the caches of libraries
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


def test_people_who_take_more_than_there_is_room_for_are_no_result() -> None:
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


def test_no_address_shows_when_it_is_printed() -> None:
    assert "@" not in f"{taken('ana@example.com')!r} {taken('ana@example.com')}"


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


# 700,000 is just after the table has grown, the worst moment: who has room then has room for a million.
@pytest.mark.parametrize("people", [700_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_million_recipients_take_less_than_100_bytes_each(people: int) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(people)], capture_output=True, text=True, check=True)
    accepted, peak = done.stdout.split()

    assert int(accepted) == people
    assert float(peak) < 100


def test_the_work_for_a_recipient_does_not_grow_with_their_number() -> None:
    def extend(number: int) -> None:
        Recipients().extend(f"firstname.name{i:06d}@example.com" for i in range(number))

    few, many = work(extend, 2_000)[1], work(extend, 20_000)[1]
    assert many < 11 * few
