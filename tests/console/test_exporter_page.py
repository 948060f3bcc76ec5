"""What the page of one exporter says: each thing once, and nothing good about mails that nobody got."""

import html
import re
from typing import Any

import pytest

from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.export.run_ids import settlement_id
from qualtrics_exporter.resource.status import timestamp
from tests.console.in_memory import PATH, START, InMemory, Reader, hidden_fields
from tests.support.clock import SteeredClock

RUN = "a" * 20
NOW = timestamp(START)
BLOCKED = "Qualtrics blocked all or nearly all e-mails. Send less often."
UNKNOWN = "It is unknown. Set the annotation qualtrics-exporter.dev/settle-run."


def ended(source: InMemory, result: str, reason: str, message: str, condition: str) -> None:
    """A run has ended, and its condition has this status."""
    entry = {
        "id": RUN, "trigger": "Request", "completionTime": NOW, "sendTime": NOW, "result": result, "reason": reason,
        "message": message, "surveyId": "SV_1", "batchId": "BT_1", "recipients": {"accepted": 6},
    }  # fmt: skip
    conditions = [
        {"type": type_, "status": status, "reason": why, "message": text, "lastTransitionTime": NOW}
        for type_, status, why, text in (
            ("Ready", "True", "Checked", ""), ("LastRunSucceeded", condition, reason, message)
        )
    ]  # fmt: skip
    source.change(history=[entry], conditions=conditions)


async def page(reader: Reader, done: str = "") -> str:
    status, text = await reader.get(f"{PATH}?done={done}")
    assert status == 200, text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


async def test_blocked_run_is_reported_once_as_an_error(source: InMemory, reader: Reader) -> None:
    ended(source, "Succeeded", "DuplicateSuppressed", BLOCKED, "False")
    _, text = await reader.get(f"{PATH}?done={RUN}")
    assert re.search(r'<p class="notice error" role="status">Sent, but not delivered. Qualtrics blocked', text)
    assert "last run not delivered: DuplicateSuppressed" in text
    shown = await page(reader, RUN)
    assert shown.count(BLOCKED) == 2, "once at the top, and once in the table of the runs"
    assert (await page(reader)).count(BLOCKED) == 2, "also if the reader did not request this run"


async def test_unknown_run_asks_for_its_outcome_and_not_for_an_annotation(source: InMemory, reader: Reader) -> None:
    ended(source, "Unknown", "DeliveryUnknown", UNKNOWN, "Unknown")
    shown = await page(reader, RUN)
    assert "settle-run" not in shown
    assert shown.count(f"It is unknown whether run {RUN} was sent. Look in Qualtrics for a distribution") == 1
    assert "(batch BT_1)" in shown


async def test_report_of_a_user_can_be_corrected(source: InMemory, reader: Reader) -> None:
    ended(source, "Succeeded", "SettledAsSent", "A user reported that the survey was sent.", "True")
    assert "Correct this report" in await page(reader)
    status, form = await reader.get(f"{PATH}/resolve/{RUN}")
    assert status == 200
    fields = hidden_fields(form)
    assert (await reader.post(f"{PATH}/resolve/{RUN}", {**fields, "outcome": "NotSent"}))[0] == 303
    assert source.annotations["settle-run"] == f"{RUN}=NotSent"


async def test_report_from_an_old_page_does_not_replace_a_newer_report(source: InMemory, reader: Reader) -> None:
    ended(source, "Unknown", "DeliveryUnknown", UNKNOWN, "Unknown")
    form = (await reader.get(f"{PATH}/resolve/{RUN}"))[1]
    fields = hidden_fields(form)
    ended(source, "Succeeded", "SettledAsSent", "A user reported that the survey was sent.", "True")
    status, text = await reader.post(f"{PATH}/resolve/{RUN}", {**fields, "outcome": "NotSent"})
    assert status == 409
    assert "Something became known of this run in the meantime" in text
    assert source.patches == []
    assert "A user has reported: A user reported that" in (await reader.get(f"{PATH}/resolve/{RUN}"))[1]


async def test_outcome_that_no_user_reported_cannot_be_corrected(source: InMemory, reader: Reader) -> None:
    ended(source, "Succeeded", "Succeeded", "It was sent.", "True")
    assert "Correct this report" not in await page(reader)
    assert "The outcome of this run is not in doubt" in (await reader.get(f"{PATH}/resolve/{RUN}"))[1]


@pytest.mark.parametrize(("seconds", "doubt"), [(5, False), (60, True)])
async def test_send_without_an_answer_is_shown_as_such(
    source: InMemory, clock: SteeredClock, reader: Reader, seconds: int, doubt: bool
) -> None:
    run: dict[str, Any] = {"id": RUN, "trigger": "Request", "startTime": NOW, "step": "Sending", "sendTime": NOW}
    source.change(activeRun={**run, "recipients": 6})
    clock.advance(seconds)
    shown = await page(reader, RUN)
    assert "Sending the survey to 6 people" in shown
    assert ("Qualtrics has not confirmed it yet" in shown) is doubt


async def report(reader: Reader, outcome: str) -> tuple[int, str]:
    form = (await reader.get(f"{PATH}/resolve/{RUN}"))[1]
    fields = hidden_fields(form)
    return await reader.post(f"{PATH}/resolve/{RUN}", {**fields, "outcome": outcome})


async def test_report_can_be_corrected_again_and_again(source: InMemory, clock: SteeredClock, reader: Reader) -> None:
    """Each value acts once, so the same report later needs a new value."""
    for reason, outcome, handled in (
        ("SettledAsSent", "NotSent", []),
        ("SettledAsNotSent", "Sent", ["Sent"]),
        ("SettledAsSent", "NotSent", ["Sent", "NotSent"]),
    ):
        ended(source, "Succeeded" if reason == "SettledAsSent" else "Failed", reason, "A user reported it.", "True")
        source.change(handledSettlements=[settlement_id("one", f"{RUN}={value}")[:10] for value in handled])
        clock.advance(60)
        assert (await report(reader, outcome))[0] == 303
    assert source.annotations["settle-run"] == f"{RUN}=NotSent@{timestamp(clock.now())}"


@pytest.mark.parametrize(("outcome", "why"), [("distribution", "It begins with EMD_"), ("", "Choose one")])
async def test_incomplete_report_is_asked_for_again(source: InMemory, reader: Reader, outcome: str, why: str) -> None:
    ended(source, "Unknown", "DeliveryUnknown", UNKNOWN, "Unknown")
    status, text = await report(reader, outcome)
    assert status == 422
    assert why in text
    assert 'name="outcome"' in text, "the form is still there"
    assert source.patches == []


@pytest.mark.parametrize(("annotation", "what"), [("run-requested-at", "A run"), ("test-requested-at", "A test")])
async def test_request_of_somebody_else_is_shown(source: InMemory, reader: Reader, annotation: str, what: str) -> None:
    source.object["metadata"]["annotations"][f"qualtrics-exporter.dev/{annotation}"] = "theirs"
    source.change()
    assert f"{what} is requested. The operator has not begun it." in await page(reader)


async def test_warnings_are_listed_once(source: InMemory, reader: Reader) -> None:
    warnings = ["The query can return the same people. Use `past 7d`.", "The sender is unusual."]
    conditions = [
        {
            "type": "Ready", "status": "True", "reason": "Checked", "lastTransitionTime": NOW,
            "message": " ".join(["All was checked.", *warnings]),
        }
    ]  # fmt: skip
    source.change(conditions=conditions, warnings=[{"reason": "Unusual", "message": text} for text in warnings])
    _, text = await reader.get(PATH)
    assert "Use <code>past 7d</code>." in text
    shown = await page(reader)
    assert "All was checked." in shown
    assert shown.count("The sender is unusual.") == 1
    assert "ready, with warnings" in shown


async def test_failure_before_a_request_says_that_nothing_was_requested(source: InMemory, reader: Reader) -> None:
    form = (await reader.get(f"{PATH}/run"))[1]
    fields = hidden_fields(form)
    source.problem = Failed("The API server does not answer.")
    status, text = await reader.post(f"{PATH}/run", fields)
    assert status == 502
    assert "The API server does not answer. Nothing was requested." in text
    assert "data-changes" not in text


async def test_page_that_could_not_be_read_follows_its_exporter(source: InMemory, reader: Reader) -> None:
    source.problem = Failed("The API server does not answer.")
    status, text = await reader.get(PATH)
    assert status == 502
    assert f'data-page="{reader.base}{PATH}"' in text
    assert "changes?exporter=dex/teams-rollout" in html.unescape(text).replace("%2F", "/")


@pytest.mark.parametrize("action", ["test", "suspend", "resume"])
async def test_address_of_a_button_leads_to_its_page(source: InMemory, reader: Reader, action: str) -> None:
    assert await reader.get(f"{PATH}/{action}") == (303, f"{reader.base}{PATH}")
    assert source.patches == []
