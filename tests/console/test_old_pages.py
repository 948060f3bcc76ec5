"""A page that was open while something else happened: it never sends twice, to other people, or without a word."""

from datetime import timedelta

import pytest

from qualtrics_exporter.controller.plan.requests import wants_delivery
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import TEST_MODE
from tests.console.in_memory import PATH, START, InMemory, Reader, hidden_fields
from tests.support.clock import SteeredClock

RUN_ID = "a" * 20


async def opened(reader: Reader, path: str = PATH) -> dict[str, str]:
    """The hidden fields of the forms of a page."""
    status, page = await reader.get(path)
    assert status == 200, page
    return hidden_fields(page)


ENDED = {"a requested run": "Request", "the run of a slot": "Schedule", "a test": "Test"}


@pytest.mark.parametrize("trigger", ENDED.values(), ids=ENDED)
@pytest.mark.parametrize("action", ["run", "test-with-delivery"])
async def test_page_from_before_a_run_or_a_count_sends_nothing(
    source: InMemory, reader: Reader, action: str, trigger: str
) -> None:
    """A second tab or user has confirmed first, or a slot was due: the same people would get another mail."""
    form = await opened(reader, f"{PATH}/{action}")
    source.ended(RUN_ID, trigger)
    status, page = await reader.post(f"{PATH}/{action}", form)
    assert status == 409
    assert "has ended in the meantime. Nothing was requested. Look again." in page
    assert source.patches == []
    assert (await reader.post(f"{PATH}/{action}", await opened(reader, f"{PATH}/{action}")))[0] == 303
    assert len(source.patches) == 1


async def test_page_that_is_sent_again_after_its_run_shows_that_run(source: InMemory, reader: Reader) -> None:
    form = await opened(reader, f"{PATH}/run")
    _, first = await reader.post(f"{PATH}/run", form)
    source.ended(first.rpartition("=")[2])
    assert await reader.post(f"{PATH}/run", form) == (303, first)
    assert len(source.patches) == 1


async def test_old_page_does_not_resume(source: InMemory, reader: Reader, clock: SteeredClock) -> None:
    """Somebody has suspended it again since, for a reason."""
    source.edit(suspend=True)
    form = await opened(reader)
    source.edit(suspend=False)
    source.edit(suspend=True)
    status, page = await reader.post(f"{PATH}/resume", form)
    assert status == 409
    assert "Somebody has changed the exporter in the meantime" in page
    form = await opened(reader)
    clock.advance(2 * 3600)
    status, page = await reader.post(f"{PATH}/resume", form)
    assert status == 409
    assert "older than an hour" in page
    assert source.object["spec"]["suspend"] is True
    form = await opened(reader)
    for _ in range(2):
        assert (await reader.post(f"{PATH}/resume", form))[0] == 303
    assert source.object["spec"]["suspend"] is False


async def test_old_page_suspends(source: InMemory, reader: Reader, clock: SteeredClock) -> None:
    form = await opened(reader)
    source.edit(description="Changed meanwhile")
    clock.advance(7 * 86400)
    assert (await reader.post(f"{PATH}/suspend", form))[0] == 303
    assert source.object["spec"]["suspend"] is True


async def test_dry_test_stays_dry_if_a_tool_restores_the_mode(source: InMemory, reader: Reader) -> None:
    """Git may have `Deliver` from an earlier test, and restore it before the operator sees the request."""
    assert (await reader.post(f"{PATH}/test", await opened(reader)))[0] == 303
    source.object["metadata"]["annotations"][TEST_MODE] = "Deliver"
    assert not wants_delivery(Exporter.from_object(source.object))


async def test_pages_of_the_same_second_make_their_own_requests(source: InMemory, reader: Reader) -> None:
    """The dry test has ended: it is not taken for the test with delivery, which was not made."""
    dry, deliver = await opened(reader), await opened(reader, f"{PATH}/test-with-delivery")
    deliver["time"] = dry["time"]
    _, first = await reader.post(f"{PATH}/test", dry)
    source.ended(first.rpartition("=")[2], "Test")
    status, page = await reader.post(f"{PATH}/test-with-delivery", deliver)
    assert status == 409
    assert "has ended in the meantime" in page


async def test_clock_that_was_set_back_is_named(source: InMemory, reader: Reader, clock: SteeredClock) -> None:
    form = await opened(reader, f"{PATH}/run")
    clock.set_wall(START - timedelta(hours=1))
    status, page = await reader.post(f"{PATH}/run", form)
    assert status == 409
    assert "The clock of this machine was set back" in page
    assert source.patches == []


@pytest.mark.parametrize("time", ["2026-11-30T12:00:00", "0001-01-01T00:00:00+14:00", "now", ""])
@pytest.mark.parametrize("action", ["run", "test", "resume"])
async def test_incomplete_form_is_refused_with_a_sentence(
    source: InMemory, reader: Reader, action: str, time: str
) -> None:
    source.edit(suspend=action == "resume")
    form = {**await opened(reader), "time": time}
    status, page = await reader.post(f"{PATH}/{action}", form)
    assert status == 409
    assert "The form is incomplete. Open the page again." in page
    assert source.patches == []


async def test_request_that_disappears_is_reported(source: InMemory, reader: Reader) -> None:
    """A GitOps tool may remove the annotation before the operator sees it."""
    _, address = await reader.post(f"{PATH}/run", await opened(reader, f"{PATH}/run"))
    source.object["metadata"]["annotations"].clear()
    _, page = await reader.get(f"{PATH}?{address.partition('?')[2]}")
    assert "The request is not in the exporter any more" in page


async def test_request_that_the_operator_has_handled_already_is_refused(source: InMemory, reader: Reader) -> None:
    """Its token has a receipt, but no entry and no annotation: the operator would ignore it without a word."""
    form = await opened(reader, f"{PATH}/run")
    source.change(lastHandledRunRequest=form["time"])
    status, page = await reader.post(f"{PATH}/run", form)
    assert status == 409
    assert "The operator has handled the same request already" in page
