"""Rows that are added many at a time: the same as if each was added alone, with less work and little memory."""

import gc
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qualtrics_exporter.export import addresses, recipients
from qualtrics_exporter.export.addresses import identity, plain_identities, trimmed
from qualtrics_exporter.export.cell_table import PARTS, CellTable
from qualtrics_exporter.export.recipients import COUNTED_BYTES, NoRoom, Recipients
from qualtrics_exporter.export.result_memory import ADDRESS_BYTES, RECIPIENT_BYTES
from tests.export.address_strategies import NEAR_ADDRESSES, PLAIN_ADDRESSES
from tests.support.work import work

DOMAINS = (
    *("example.com", "EXAMPLE.com", "a.b", "a.b.museum", "ab--c.com", "-a.com", "a-.com", "a-b.co.uk", "example.com."),
    *("corp.local", "some.test", "x.lan", "home.arpa", "localhost", "10.0.0.1", "[10.0.0.1]", "none.com", "test.x.com"),
    *("tenant.onmicrosoft.com", "xn--bcher-kva.example", "b\u00fccher.example", "\uff45xample.com", "e\u3002com", "c1"),
    *("d" * 63 + ".com", "d" * 64 + ".com", "d" * 59 + ".com", "d" * 60 + ".com", ("e" * 60 + ".") * 3 + "com", ""),
    *("b." + "t" * 24, "b." + "t" * 25, "b.c", "b@c.com", "b,c.com"),
)
LOCAL_PARTS = (
    *(
        "ana",
        "Ana",
        "a.b",
        "a..b",
        ".a",
        "a.",
        "o'neil",
        "_",
        "-",
        "a+b",
        "j+APY-rg",
        "J+APY-RG",
        "=F6",
        "none",
        "None",
    ),
    *(
        "a_ext_",
        "a_EXT_",
        "a#EXT#",
        "a%23ext%23x",
        "a%40b",
        "live.com#a",
        "mail#x",
        "j\u00f6rg",
        "Ju\u0308rg",
        "\u212aim",
    ),
    *(
        "a" * 64,
        "a" * 65,
        "\u212a" * 64,
        '"a"',
        '"a b"',
        "a b",
        "a\tb",
        "a@b",
        "<a",
        "a,b",
        "a\\b",
        "a?b",
        "a*b",
        "test",
    ),
    *("a\x00b", "a\x7fb", "a\nb", "", "x <a", '"x" <a', "a&b", "a=b"),
)
EDGES = [f"{local}@{domain}" for local in LOCAL_PARTS for domain in DOMAINS]
"""Texts at the edges of the rules."""
SIGNS = st.text(st.sampled_from("aZ9._-+'!#$%&*/=?^`{|}~@\"\\()<>[]:;, \t\x1f\u00e9\u0130"), max_size=8)
BUILT = st.sampled_from(EDGES) | st.builds("{}@{}".format, SIGNS, st.sampled_from(DOMAINS))
SPACED = st.builds("{}{}{}".format, st.sampled_from(" \u00a0\u2003"), BUILT, st.sampled_from(["", "\r", " "]))
TEXTS = PLAIN_ADDRESSES | NEAR_ADDRESSES | BUILT | SPACED | st.sampled_from(["", " ", "n/a", "Ana@example.com"])


def test_identity_of_one_among_many_is_its_identity_or_left_open() -> None:
    for text in EDGES:
        for texts in ([text], [text, "ana@example.com"], ["ana@example.com", text, ""]):
            assert plain_identities(texts)[texts.index(text)] in (None, identity(text)), text


def test_text_that_is_rejected_fast_is_rejected_by_the_full_check() -> None:
    rejected = [text for text in EDGES if text.isascii() and addresses._NO_ADDRESS.match(text.lower())]
    assert len(EDGES) / 3 < len(rejected) < len(EDGES)
    assert [text for text in rejected if addresses._examined(text)] == []


def test_texts_that_are_often_in_a_result_are_rejected_fast() -> None:
    notes = [
        "n/a",
        "unknown",
        "#N/A",
        "Ana Smith",
        "ana",
        "@example.com",
        "a@b",
        "ana@host.local",
        "Ana <ana@example.com>",
    ]
    more = [
        "ana@example.com;ben@example.com",
        "j?rg@example.com",
        "a_c.com#EXT#@tenant.onmicrosoft.com",
        "none@none.com",
    ]
    for text in (*notes, *more):
        assert addresses._NO_ADDRESS.match(text.lower())


@given(st.lists(TEXTS, max_size=20))
@example(["ana@example.com", "", "A\u212ana@example.com", "a\nb@example.com"])
@example(["\u212a@example.com", "\u0130@example.com", "ana@example.com"])
def test_identities_of_plain_addresses_are_the_same_for_many_and_for_one(texts: list[str]) -> None:
    found = plain_identities(texts)
    assert len(found) == len(texts)
    for text, known in zip(texts, found, strict=True):
        if known:
            assert known == identity(text)
            assert text == trimmed(text)
        elif known is not None:
            assert text == ""


@given(st.lists(PLAIN_ADDRESSES.filter(lambda text: "+" not in text and "--" not in text), min_size=1, max_size=20))
def test_common_addresses_need_no_other_work(texts: list[str]) -> None:
    assume(all(map(identity, texts)))
    assert plain_identities(texts) == [text.lower() for text in texts]


@given(BUILT | NEAR_ADDRESSES)
def test_generated_text_that_is_rejected_fast_is_rejected_by_the_full_check(text: str) -> None:
    assume(text.isascii() and len(text) <= addresses.LONGEST_ADDRESS and addresses._NO_ADDRESS.match(text.lower()))
    assert addresses._examined(text) is None


def add_each(people: Recipients, rows: Sequence[str]) -> Recipients:
    for row in rows:
        if not people.full:
            people.add(row)
    return people


def add_all(people: Recipients, rows: Sequence[str], size: int) -> Recipients:
    for start in range(0, len(rows), size):
        for _ in people.add_all(rows[start : start + size]):
            pass
    return people


@given(
    st.lists(TEXTS, max_size=40),
    st.integers(1, 40),
    st.none() | st.integers(1, 5),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 3),
    st.booleans(),
)
def test_rows_that_are_added_together_have_the_same_result_as_one_by_one(
    rows: list[str], size: int, limit: int | None, keep: int | None, recognize: int | None, collide: bool
) -> None:
    def empty() -> Recipients:
        return Recipients(limit=limit, keep=keep, recognize=recognize)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipients, "_STEP", 7)
        if collide:
            patch.setattr(recipients, "hash", lambda key: len(key or ""), raising=False)
        one, many = add_each(empty(), rows), add_all(empty(), rows, size)
    assert many.counts == one.counts
    assert list(many) == list(one)
    assert (many.full, many.taken) == (one.full, one.taken)


def test_people_who_are_added_together_are_rejected_when_they_exceed_the_memory_limit() -> None:
    with pytest.raises(NoRoom):
        add_all(Recipients(room=1000), [f"person{number}@example.com" for number in range(100)], 100)


MIXED = [
    *(f"Firstname.Lastname{number}@example.com" for number in range(7000)),
    *(f"firstname.lastname{number}@example.com" for number in range(1000)),
    *[""] * 1000,
    *(f"no address {number}" for number in range(1000)),
]


def test_only_unusual_rows_are_checked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, examined = [], []
    monkeypatch.setattr(recipients, "trimmed", lambda text: checked.append(text) or trimmed(text))
    monkeypatch.setattr(addresses, "_examined", examined.append)
    people = add_all(Recipients(), MIXED, 500)
    assert (people.counts.accepted, people.counts.duplicate) == (7000, 1000)
    assert (people.counts.empty, people.counts.invalid) == (1000, 1000)
    assert len(checked) == 1000
    assert not examined


def test_plain_rows_take_few_function_calls() -> None:
    """Each new person takes about seven calls; a single row takes about thirty."""
    people = MIXED[:7000]
    _, many = work(add_all, Recipients(), people, 500)
    _, each = work(add_each, Recipients(), people)
    assert many < 9 * len(people)
    assert each > 25 * len(people)


def test_other_tasks_can_run_after_each_address_with_a_full_check() -> None:
    rows = [f"j\u00f6rg{number}@b\u00fccher.example" for number in range(50)]
    assert sum(1 for _ in Recipients().add_all(rows)) >= 50
    assert sum(1 for _ in Recipients().add_all(["ana@example.com"] * 50)) == 1


def test_duplicates_of_an_unusual_address_are_found_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is checked in full again. Thousands in one step would hold the event loop."""
    checked, most = 0, 0

    def counted(text: str) -> str | None:
        nonlocal checked
        checked += 1
        return identity(text)

    monkeypatch.setattr(recipients, "identity", counted)
    steps = Recipients()._add(["\u00e9@\u00e9.co"] * 2000)
    before = 0
    for _ in steps:
        most, before = max(most, checked - before), checked
    assert checked > 3000
    assert most <= 100


@pytest.mark.parametrize("people", [1_000, 5_000, 20_000, 30_000])
def test_recipients_take_less_memory_than_is_reserved(people: int) -> None:
    rows = [
        f"{number:06d}.".ljust(ADDRESS_BYTES - len("@example.com"), "x") + "@example.com" for number in range(people)
    ]
    assert {len(row) for row in rows} == {ADDRESS_BYTES}
    add_all(Recipients(), rows[:10], 10)
    gc.collect()
    tracemalloc.start()
    try:
        found = add_all(Recipients(), rows, 500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == people
    assert found.taken < people * RECIPIENT_BYTES
    assert peak < people * RECIPIENT_BYTES + 150_000, "apart from the rows that are added together"


def test_hash_table_takes_less_than_twenty_bytes_for_an_entry_at_any_size() -> None:
    table, entries = CellTable(), 0
    most = 0.0
    for number in range(400_000):
        part, cell = number % PARTS, ((number * 2_654_435_761) & 0xFFFFFFFF) << 32 | 1
        cells = table.parts[part]
        place = (cell >> 32) * len(cells) >> 32
        while cells[place]:
            place = (place + 1) % len(cells)
        cells[place] = cell
        table.used[part] += 1
        if table.used[part] * 3 > len(cells) * 2:
            table.grow(part)
        entries += 1
        if entries > 20_000 and entries % 500 == 0:
            most = max(most, sum(map(len, table.parts)) * 8 / entries)
    assert 15 < most < COUNTED_BYTES
    assert sum(1 for cells in table.parts for cell in cells if cell) == entries
