"""The oracle sees each broken promise, and nothing where none is; the table counts what it saw."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from qualtrics_exporter.sandbox.recorder import Batch, Recorder, SentDistribution
from tests.faults import tally
from tests.faults.oracle import Finding, Written, judged, leaks, unwritten

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PEOPLE = ["ana@example.com", "ben@example.com"]
SUCCEEDED = {"result": "Succeeded", "reason": "Succeeded", "distributionId": "EMD_1"}
FAILED = {"result": "Failed", "reason": "SendRefused"}


def sent(id_: str = "EMD_1", batch_id: str = "BT_1", recipients: list[str] = PEOPLE) -> SentDistribution:
    return SentDistribution(
        id=id_, survey_id="SV_1", message_id="MS_1", library_id="UR_1", subject="", asked=100, created=NOON,
        send_date=NOON, request={}, batch_id=batch_id, recipients=recipients,
    )  # fmt: skip


def found(entry: Mapping[str, Any] | None, *distributions: SentDistribution, **how: Any) -> set[Finding]:
    ledger = Recorder(distributions=list(distributions))
    for one in distributions:
        ledger.batches[one.batch_id or ""] = Batch(one.batch_id or "", "POOL_1", NOON, list(one.recipients))
    return {one.kind for one in judged(ledger, distributions, entry, PEOPLE, **how)}


def test_one_send_to_the_people_of_the_query_and_its_entry_is_fine() -> None:
    assert found(SUCCEEDED, sent()) == set()
    assert found(FAILED) == set()
    assert found({"result": "Unknown", "reason": "DeliveryUnknown"}, sent()) == set()


def test_two_sends_or_a_person_twice_in_one_are_a_double_send() -> None:
    assert found(SUCCEEDED, sent(), sent("EMD_2", "BT_2")) == {Finding.DOUBLE}
    assert found(SUCCEEDED, sent(recipients=[*PEOPLE, "Ana@example.com"])) == {Finding.DOUBLE}


def test_no_entry_is_silence_unless_there_can_be_none() -> None:
    assert found(None) == {Finding.SILENT}
    assert found(None, told=False) == set()


def test_a_stranger_or_a_send_that_was_stopped_is_a_wrong_mail() -> None:
    assert found(SUCCEEDED, sent(recipients=[*PEOPLE, "eva@example.com"])) == {Finding.WRONG_MAIL}
    assert found(SUCCEEDED, sent(), may_send=False) == {Finding.WRONG_MAIL}


def test_an_entry_that_contradicts_what_was_sent_is_untrue() -> None:
    assert found(SUCCEEDED) == {Finding.UNTRUE}
    assert found(SUCCEEDED, sent("EMD_2")) == {Finding.UNTRUE}
    assert found(FAILED, sent()) == {Finding.UNTRUE}


@pytest.mark.parametrize(
    ("run", "before", "fine"),
    [
        ({"step": "Sending", "batchId": "BT_1"}, 0, True),
        ({"step": "Sending", "batchId": "BT_1"}, -1, False),
        ({"step": "Sending", "batchId": "BT_2"}, 0, False),
        ({"step": "Importing", "batchId": "BT_1"}, 0, False),
        (None, 0, False),
    ],
)
def test_a_send_that_the_journal_did_not_name_when_it_was_asked_for_is_unwritten(
    run: dict[str, Any] | None, before: float, fine: bool
) -> None:
    kinds = [one.kind for one in unwritten([sent()], [Written(100 - before, run)])]
    assert kinds == ([] if fine else [Finding.UNWRITTEN])


def test_an_address_is_found_in_any_letter_case() -> None:
    (leak,) = leaks({"a log": "to ANA@example.com", "metrics": "nothing"}, {"an address": PEOPLE})
    assert (leak.kind, leak.what) == (Finding.LEAK, "an address in a log")


def test_the_table_counts_scenarios_and_findings_and_what_was_caught() -> None:
    def row(kinds: list[Finding], broken: str | None = None) -> tuple[str, str]:
        return tally.PROPERTY, json.dumps({"matrix": "m", "subject": "s", "kinds": kinds, "broken": broken})

    shown = tally.table([row([]), row([Finding.DOUBLE, Finding.LEAK]), row([Finding.DOUBLE], "b"), row([], "b")])

    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown]
    assert cells[0][-3:] == ["double sends", "silent slots", "leaks"]
    assert cells[2] == ["m", "s", "2", "0", "0", "0", "1", "0", "1"]
    assert cells[3][2:] == cells[2][2:]
    assert cells[-1] == ["m", "b", "2", "1"]
