"""The assertions of the attacks see each broken promise and no other one, and every attack asserts on its tally."""

import ast
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qualtrics_exporter.sandbox.recorder import Batch, Recorder, SentDistribution
from tests.faults import tally
from tests.faults.assertions import JournalWrite, Violation, ViolationKind, leaks, slot_violations, unjournaled_sends

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PEOPLE = ["ana@example.com", "ben@example.com"]
SUCCEEDED = {"result": "Succeeded", "reason": "Succeeded", "distributionId": "EMD_1"}
FAILED = {"result": "Failed", "reason": "SendRefused"}


def sent(id_: str = "EMD_1", batch_id: str = "BT_1", recipients: list[str] = PEOPLE) -> SentDistribution:
    return SentDistribution(
        id=id_, survey_id="SV_1", message_id="MS_1", library_id="UR_1", subject="", asked=100, created=NOON,
        send_date=NOON, request={}, batch_id=batch_id, recipients=recipients,
    )  # fmt: skip


def violated(entry: Mapping[str, Any] | None, *distributions: SentDistribution, **how: Any) -> set[ViolationKind]:
    recorder = Recorder(distributions=list(distributions))
    for one in distributions:
        recorder.batches[one.batch_id or ""] = Batch(one.batch_id or "", "POOL_1", NOON, list(one.recipients))
    return {one.kind for one in slot_violations(recorder, distributions, entry, PEOPLE, **how)}


def test_one_send_to_the_people_of_the_query_with_its_entry_violates_nothing() -> None:
    assert violated(SUCCEEDED, sent()) == set()
    assert violated(FAILED) == set()
    assert violated({"result": "Unknown", "reason": "DeliveryUnknown"}, sent()) == set()


def test_two_sends_or_a_person_twice_in_one_send_are_a_double_send() -> None:
    assert violated(SUCCEEDED, sent(), sent("EMD_2", "BT_2")) == {ViolationKind.DOUBLE_SEND}
    assert violated(SUCCEEDED, sent(recipients=[*PEOPLE, "Ana@example.com"])) == {ViolationKind.DOUBLE_SEND}


def test_missing_entry_is_a_silent_slot_unless_no_entry_is_possible() -> None:
    assert violated(None) == {ViolationKind.SILENT_SLOT}
    assert violated(None, expects_entry=False) == set()


def test_send_to_a_stranger_or_after_a_suspension_is_a_wrong_mail() -> None:
    assert violated(SUCCEEDED, sent(recipients=[*PEOPLE, "eva@example.com"])) == {ViolationKind.WRONG_MAIL}
    assert violated(SUCCEEDED, sent(), may_send=False) == {ViolationKind.WRONG_MAIL}


def test_entry_that_contradicts_what_was_sent_is_untrue() -> None:
    assert violated(SUCCEEDED) == {ViolationKind.UNTRUE_ENTRY}
    assert violated(SUCCEEDED, sent("EMD_2")) == {ViolationKind.UNTRUE_ENTRY}
    assert violated(FAILED, sent()) == {ViolationKind.UNTRUE_ENTRY}


@pytest.mark.parametrize(
    ("run", "before", "allowed"),
    [
        pytest.param({"step": "Sending", "batchId": "BT_1"}, 0, True, id="in time"),
        pytest.param({"step": "Sending", "batchId": "BT_1"}, -1, False, id="after the send"),
        pytest.param({"step": "Sending", "batchId": "BT_2"}, 0, False, id="another batch"),
        pytest.param({"step": "Importing", "batchId": "BT_1"}, 0, False, id="another step"),
        pytest.param(None, 0, False, id="no run"),
    ],
)
def test_send_that_the_journal_does_not_name_at_that_moment_is_unjournaled(
    run: dict[str, Any] | None, before: float, allowed: bool
) -> None:
    kinds = [one.kind for one in unjournaled_sends([sent()], [JournalWrite(100 - before, run)])]
    assert kinds == ([] if allowed else [ViolationKind.UNJOURNALED_SEND])


def test_address_in_any_letter_case_is_a_leak() -> None:
    (leak,) = leaks({"a log": "to ANA@example.com", "metrics": "nothing"}, {"an address": PEOPLE})
    assert (leak.kind, leak.description) == (ViolationKind.LEAK, "an address in a log")


def test_table_counts_scenarios_and_violations_and_caught_mutants() -> None:
    def row(kinds: list[ViolationKind], mutant: str | None = None) -> tuple[str, str]:
        return tally.PROPERTY, json.dumps({"attack": "a", "target": "t", "kinds": kinds, "mutant": mutant})

    double, leak = ViolationKind.DOUBLE_SEND, ViolationKind.LEAK
    shown = tally.table([row([]), row([double, leak]), row([double], "m"), row([], "m")])

    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown]
    assert cells[0][-3:] == ["double sends", "silent slots", "leaks"]
    assert cells[2] == ["a", "t", "2", "0", "0", "0", "1", "0", "1"]
    assert cells[3][2:] == cells[2][2:]
    assert cells[-1] == ["a", "m", "2", "1"]


def test_tally_separates_violations_from_caught_mutants_and_says_how_to_repeat_them() -> None:
    node: Any = SimpleNamespace(nodeid="tests/faults/test_crash.py::test_kill[a slot]", user_properties=[])
    counted = tally.Tally(node)
    counted.add("kill", "a slot", "before its effect", [Violation(ViolationKind.DOUBLE_SEND, "2 distributions")])
    counted.add("kill", "a slot", "after its effect", [])
    counted.add("kill", "a slot", "with a bug", [Violation(ViolationKind.LEAK, "an address in a log")], mutant="bug")

    assert counted.violations == ["kill, a slot, before its effect: double sends: 2 distributions"]
    assert counted.caught == ["kill, a slot, with a bug: leaks: an address in a log"]
    assert counted.how_to_repeat.startswith("Violations: 1, in 3 scenarios. Repeat them with: ")
    assert f"{tally.SEED_VARIABLE}={tally.seed()} .venv/bin/pytest " in counted.how_to_repeat
    assert counted.how_to_repeat.endswith("'tests/faults/test_crash.py::test_kill[a slot]'")


def attacks() -> Iterator[Any]:
    """Every test function that counts scenarios."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                uses = [one for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == "tally"]
                notes = [one for one in ast.walk(node) if ast.unparse(one) == "tally.note"]
                if "tally" in [argument.arg for argument in node.args.args] and len(uses) > len(notes):
                    yield pytest.param(node, id=node.name)


VERDICTS = ("tally.violations == []", "tally.caught")


@pytest.mark.parametrize("function", list(attacks()))
def test_attack_asserts_on_its_tally(function: ast.FunctionDef) -> None:
    verdicts = [ast.unparse(node.test) for node in ast.walk(function) if isinstance(node, ast.Assert)]
    assert set(verdicts) & set(VERDICTS), f"{function.name} counts scenarios, and gives no verdict"
