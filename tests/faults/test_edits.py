"""Users and tools edit the spec while its run is in progress: the run ends, and sends at most once."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from qualtrics_exporter.export.run import MAX_ATTEMPTS
from tests.faults.controller_factory import ControllerFactory
from tests.faults.in_process_controller import PEOPLE, InProcessController

DOCUMENTED = 10
"""docs/how-a-run-works.md, \"Limits\": attempts of a run."""
MAX_EDITS = 3 * DOCUMENTED
"""The edits stop after this number, because a run without a limit would never end."""
IMPORT = "qualtrics.import_contacts"


@pytest_asyncio.fixture
async def controller(controllers: ControllerFactory) -> AsyncIterator[InProcessController]:
    """A controller with an exporter that is ready."""
    async with controllers.create() as created:
        await created.apply_ready()
        yield created


class Editor:
    """Changes the subject after each call of an operation, as a user or as two tools that undo each other's changes."""

    def __init__(self, controller: InProcessController, operation: str, *, edits: int, alternate: bool) -> None:
        self._controller, self._operation, self._alternate = controller, operation, alternate
        self._left = edits
        self._calls = controller.count_calls(operation)
        self.edits = 0
        controller.cluster.before_write = self._edit

    async def _edit(self) -> None:
        """Edit before the next write of the status, which is in the middle of the attempt."""
        calls = self._controller.count_calls(self._operation)
        in_progress = "activeRun" in self._controller.cluster.statuses[-1]
        if calls > self._calls and self._left and in_progress:
            self._left -= 1
            self.edits += 1
            await self._controller.user.patch(self._controller.name, spec={"qualtrics": {"subject": self.subject()}})
        self._calls = calls

    def subject(self) -> str:
        """The subject that was written last."""
        return f"Subject {self.edits % 2 if self._alternate else self.edits}"


def attempts(controller: InProcessController) -> list[dict[str, Any]]:
    """The journal of the run at the beginning of each attempt."""
    runs = [status["activeRun"] for status in controller.cluster.statuses if "activeRun" in status]
    return [run for number, run in enumerate(runs) if number == 0 or run["attempt"] != runs[number - 1]["attempt"]]


OPERATIONS = ["nexthink.execute", "qualtrics.create_batch", IMPORT]


@pytest.mark.parametrize("alternate", [True, False], ids=["two tools", "a user"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_run_whose_spec_is_edited_in_each_attempt_fails_after_ten_attempts(
    controller: InProcessController, operation: str, alternate: bool
) -> None:
    editor = Editor(controller, operation, edits=MAX_EDITS, alternate=alternate)
    entry = await controller.run()
    assert entry, "the run has no entry"
    assert (entry["result"], entry["reason"]) == ("Failed", "AttemptsExhausted")
    assert "Nobody was mailed" in entry["message"]
    assert controller.sent == []
    assert editor.edits == DOCUMENTED == MAX_ATTEMPTS
    assert controller.count_calls(IMPORT) <= DOCUMENTED
    assert controller.count_calls("nexthink.execute") <= 2 * DOCUMENTED  # each spec may also be checked
    begun = attempts(controller)
    assert [run["attempt"] for run in begun] == [*range(1, DOCUMENTED + 2)]
    assert {run["startTime"] for run in begun} == {entry["startTime"]}, "a new start time would move the deadline"
    assert len({run["holder"] for run in begun}) == len(begun)

    controller.cluster.before_write = None
    after = await controller.run()
    assert after
    assert after["result"] == "Succeeded"
    assert controller.sandbox.recorder.mails() == Counter(PEOPLE)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_run_whose_spec_is_edited_nine_times_sends_once_with_the_last_spec(
    controller: InProcessController, operation: str
) -> None:
    editor = Editor(controller, operation, edits=DOCUMENTED - 1, alternate=False)
    entry = await controller.run()
    assert entry
    assert entry["result"] == "Succeeded"
    assert editor.edits == DOCUMENTED - 1
    (sent,) = controller.sent
    assert sent.subject == editor.subject()
    assert controller.sandbox.recorder.mails() == Counter(PEOPLE)
    assert controller.count_calls(IMPORT) <= DOCUMENTED
