"""The ids of runs and of the processes that hold them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.export import run_ids


def test_slot_always_has_the_same_run_id() -> None:
    assert run_ids.slot_run_id("uid-1", "2026-01-05") == run_ids.slot_run_id("uid-1", "2026-01-05")


def test_run_id_depends_on_the_trigger() -> None:
    ids = {f("uid-1", "x") for f in (run_ids.slot_run_id, run_ids.request_run_id, run_ids.test_run_id)}

    assert len(ids) == 3


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_run_ids_are_equal_only_for_the_same_exporter_and_slot(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (run_ids.slot_run_id(*one) == run_ids.slot_run_id(*other)) == (one == other)


@given(st.text(), st.text(st.characters()))
def test_run_id_is_valid_in_labels_and_json(uid: str, token: str) -> None:
    assert re.fullmatch(r"[a-z2-7]{20}", run_ids.request_run_id(uid, token))


def test_each_holder_is_unique() -> None:
    assert len({run_ids.new_holder() for _ in range(1000)}) == 1000
