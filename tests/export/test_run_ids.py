"""Ids of runs."""

import re

from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.export import run_ids


def test_a_slot_has_one_run_whoever_claims_it() -> None:
    assert run_ids.slot_run_id("uid-1", "2026-01-05") == run_ids.slot_run_id("uid-1", "2026-01-05")


def test_what_started_a_run_is_part_of_its_id() -> None:
    made = {f("uid-1", "x") for f in (run_ids.slot_run_id, run_ids.request_run_id, run_ids.test_run_id)}

    assert len(made) == 3


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_other_exporters_and_slots_have_other_ids(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (run_ids.slot_run_id(*one) == run_ids.slot_run_id(*other)) == (one == other)


@given(st.text(), st.text(st.characters()))
def test_an_id_fits_labels_and_json(uid: str, token: str) -> None:
    assert re.fullmatch(r"[a-z2-7]{20}", run_ids.request_run_id(uid, token))


def test_a_holder_is_never_the_same_again() -> None:
    assert len({run_ids.new_holder() for _ in range(1000)}) == 1000
