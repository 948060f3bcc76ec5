"""The minimum number of people, and the warning about an audience that shrank."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.export.guards import previous_audience, shrank
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry, RecipientCounts
from tests.export.conftest import START, Exporter


def entry(result: str, accepted: int | None, *, trigger: str = "Schedule", **counts: Any) -> HistoryEntry:
    recipients = None if accepted is None else RecipientCounts(accepted=accepted, **counts)
    return HistoryEntry(
        id="r", trigger=trigger, completion_time=START, result=result, reason="x", message="", recipients=recipients
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("minimum", "people", "result", "reason"),
    [
        (1, 0, "Held", "TooFewRecipients"),
        (5, 4, "Held", "TooFewRecipients"),
        (5, 5, "Succeeded", "Succeeded"),
        (0, 0, "Succeeded", "NoRecipients"),
    ],
)
async def test_run_with_fewer_people_than_the_minimum_is_held(
    exporter: Exporter, minimum: int, people: int, result: str, reason: str
) -> None:
    exporter.change_spec("spec", min_recipients=minimum)
    exporter.set_people(f"user{n}@example.com" for n in range(people))
    run = await exporter.run(previous=1000)
    assert (run.result, run.reason) == (result, reason)
    assert len(exporter.mailed()) == (people if reason == "Succeeded" else 0)
    if result == "Held":
        assert f"names {people} people, spec.minRecipients is {minimum}" in run.message


async def test_minimum_counts_people_and_not_rows(exporter: Exporter) -> None:
    exporter.change_spec("spec", min_recipients=2)
    exporter.set_people(["ana@example.com", "ANA@example.com", "", "none@none.com", "x"])
    run = await exporter.run()
    assert run.reason == "TooFewRecipients"
    assert run.recipients
    assert run.recipients.accepted == 1


async def test_minimum_does_not_hold_a_delivering_test(exporter: Exporter) -> None:
    exporter.change_spec("spec", min_recipients=100)
    exporter.set_people(["ana@example.com"])
    run = await exporter.run(trigger="Test", previous=1000)
    assert (run.result, run.reason) == ("Succeeded", "TestDelivered")


@pytest.mark.parametrize(
    ("previous", "people", "reason"),
    [
        (1000, 99, "AudienceShrank"),
        (1000, 100, "Succeeded"),
        (6, 0, "AudienceShrank"),
        (0, 0, "NoRecipients"),
        (0, 3, "Succeeded"),
        (None, 0, "NoRecipients"),
        (None, 1, "Succeeded"),
    ],
)
async def test_run_with_less_than_a_tenth_of_the_previous_audience_warns_and_is_sent(
    exporter: Exporter, previous: int | None, people: int, reason: str
) -> None:
    exporter.set_people(f"user{n}@example.com" for n in range(people))
    run = await exporter.run(previous=previous)
    assert (run.result, run.reason) == ("Succeeded", reason)
    assert len(exporter.mailed()) == people
    assert (Reason.AUDIENCE_SHRANK.meaning in run.message) == (reason == "AudienceShrank")


async def test_run_warns_only_once_of_an_audience_that_shrank(exporter: Exporter) -> None:
    reasons = []
    for number, people in enumerate((50, 3, 3, 0, 0, 3)):
        exporter.clock.advance(timedelta(days=1).total_seconds())
        exporter.set_people(f"user{n}@example.com" for n in range(people))
        with exporter.open_journal() as journal:
            previous = previous_audience(journal.history)
        reasons.append((await exporter.run(previous=previous)).reason)
        assert number < 6
    assert reasons == ["Succeeded", "AudienceShrank", "Succeeded", "AudienceShrank", "NoRecipients", "Succeeded"]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], None),
        ([entry("Succeeded", 7), entry("Succeeded", 8)], 7),
        ([entry("Failed", None), entry("Missed", None), entry("Unknown", 7)], 7),
        ([entry("Held", 50_000), entry("DryRun", 7)], 7),
        ([entry("Failed", 3), entry("Succeeded", 0)], 0),
        ([entry("Succeeded", 20, trigger="Test"), entry("Succeeded", 7, trigger="Request")], 7),
        ([entry("Succeeded", 7, sampled_out=21)], 28),
    ],
)
def test_previous_audience_is_that_of_the_newest_completed_run(
    history: list[HistoryEntry], expected: int | None
) -> None:
    assert previous_audience(history) == expected


@given(st.integers(0, 10**6), st.integers(0, 10**6) | st.none())
def test_minimum_replaces_the_comparison_with_the_previous_audience(people: int, previous: int | None) -> None:
    assert not shrank(Spec.model_construct(min_recipients=0, max_recipients=None), people, previous)
    compared = shrank(Spec.model_construct(min_recipients=None, max_recipients=None), people, previous)
    assert compared == (previous is not None and people < previous / 10)
