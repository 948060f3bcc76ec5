"""Recipients are split into chunks, one for each request."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qualtrics_exporter.qualtrics import chunks as module
from qualtrics_exporter.qualtrics.chunks import body, chunks

LIMIT = 5_000_000


def test_no_recipients_make_no_chunk() -> None:
    assert list(chunks([], "run-1")) == []


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (10_000, [10_000]), (10_001, [10_000, 1]), (25_000, [10_000] * 2 + [5000])]
)
def test_chunk_has_at_most_ten_thousand_contacts(count: int, sizes: list[int]) -> None:
    addresses = [f"user{n:06d}@example.com" for n in range(count)]
    result = list(chunks(iter(addresses), "run-1"))
    assert [len(chunk) for chunk in result] == sizes
    assert [address for chunk in result for address in chunk] == addresses


@pytest.mark.parametrize("address", ["x" * 300 + "@example.com", "ü" * 60 + "@example.com", "😀" * 60 + "@example.com"])
@pytest.mark.parametrize("run_id", ["r", "r" * 400])
def test_chunk_has_at_most_five_megabytes_in_any_alphabet(address: str, run_id: str) -> None:
    result = list(chunks([address] * 30_000, run_id))
    sizes = [len(body("BT_" + "x" * 30, run_id, chunk)) for chunk in result]
    assert max(sizes) <= LIMIT
    assert all(size > 4_800_000 or len(chunk) == 10_000 for size, chunk in zip(sizes[:-1], result, strict=False))
    assert sum(map(len, result)) == 30_000


@given(
    addresses=st.lists(st.text(st.characters(codec="utf-8"), max_size=30)),
    run_id=st.text(st.characters(codec="utf-8"), max_size=20),
    contacts=st.integers(1, 6),
    size=st.integers(1, 400),
)
@example(addresses=['"a"@b', "plain@b"], run_id='"', contacts=5, size=400)
@example(addresses=["c\\d", "plain@b"], run_id="\\", contacts=5, size=400)
@example(addresses=["e\x7f", "\n"], run_id="r", contacts=5, size=400)
def test_chunks_contain_each_address_once_and_in_order(
    addresses: list[str], run_id: str, contacts: int, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_CONTACTS", contacts)
        patch.setattr(module, "MAX_BYTES", size)
        result = list(chunks(addresses, run_id))
    assert [address for chunk in result for address in chunk] == addresses
    overhead = len(body("BT_1", run_id, []))
    for chunk in result:
        assert 1 <= len(chunk) <= contacts
        request = body("BT_1", run_id, chunk)
        assert len(request) - overhead <= size or len(chunk) == 1
        assert [entry["email"] for entry in json.loads(request)["contacts"]] == chunk
        assert {entry["transactionData"]["runId"] for entry in json.loads(request)["contacts"]} == {run_id}
