"""The spec is edited while its run is in progress, again and again: the run ends, and nobody is mailed twice."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from qualtrics_exporter.export.run import MAX_ATTEMPTS
from tests.faults.desk import PEOPLE, Desk, Office

DOCUMENTED = 10
"""docs/how-a-run-works.md, \"Limits\": attempts of a run."""
MOST_EDITS = 3 * DOCUMENTED
"""So often at most: a run without a bound would never end."""
IMPORT = "qualtrics.import_contacts"


@pytest_asyncio.fixture
async def desk(office: Office) -> AsyncIterator[Desk]:
    """A controller with an exporter that is ready."""
    async with office.desk() as made:
        await made.ready()
        yield made


class Editors:
    """Two tools that undo each other's changes, or a user: the spec changes after each call of an operation."""

    def __init__(self, desk: Desk, operation: str, *, edits: int, flip: bool) -> None:
        self._desk, self._operation, self._flip = desk, operation, flip
        self._left = edits
        self._asked = desk.asked(operation)
        self.edits = 0
        desk.cluster.before_write = self._edit

    async def _edit(self) -> None:
        """Before the next write of the status, so in the middle of the attempt."""
        asked = self._desk.asked(self._operation)
        in_progress = "activeRun" in self._desk.cluster.statuses[-1]
        if asked > self._asked and self._left and in_progress:
            self._left -= 1
            self.edits += 1
            await self._desk.user.patch(self._desk.name, spec={"qualtrics": {"subject": self.subject()}})
        self._asked = asked

    def subject(self) -> str:
        """What they wrote last."""
        return f"Subject {self.edits % 2 if self._flip else self.edits}"


def attempts(desk: Desk) -> list[dict[str, Any]]:
    """The journal of the run at the beginning of each attempt."""
    runs = [status["activeRun"] for status in desk.cluster.statuses if "activeRun" in status]
    return [run for number, run in enumerate(runs) if number == 0 or run["attempt"] != runs[number - 1]["attempt"]]


OPERATIONS = ["nexthink.execute", "qualtrics.create_batch", IMPORT]


@pytest.mark.parametrize("flip", [True, False], ids=["two tools", "a user"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_run_whose_spec_is_edited_again_and_again_ends_after_ten_attempts(
    desk: Desk, operation: str, flip: bool
) -> None:
    editors = Editors(desk, operation, edits=MOST_EDITS, flip=flip)
    entry = await desk.run()
    assert entry, "it has no end"
    assert (entry["result"], entry["reason"]) == ("Failed", "AttemptsExhausted")
    assert "Nobody was mailed" in entry["message"]
    assert desk.sent == []
    assert editors.edits == DOCUMENTED == MAX_ATTEMPTS
    assert desk.asked(IMPORT) <= DOCUMENTED
    assert desk.asked("nexthink.execute") <= 2 * DOCUMENTED  # each spec may also be checked
    begun = attempts(desk)
    assert [run["attempt"] for run in begun] == [*range(1, DOCUMENTED + 2)]
    assert {run["startTime"] for run in begun} == {entry["startTime"]}, "its deadline would never come"
    assert len({run["holder"] for run in begun}) == len(begun)

    desk.cluster.before_write = None
    after = await desk.run()
    assert after
    assert after["result"] == "Succeeded"
    assert desk.sandbox.ledger.mails() == Counter(PEOPLE)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_run_whose_spec_is_edited_nine_times_is_sent_once_as_the_last_spec_says(
    desk: Desk, operation: str
) -> None:
    editors = Editors(desk, operation, edits=DOCUMENTED - 1, flip=False)
    entry = await desk.run()
    assert entry
    assert entry["result"] == "Succeeded"
    assert editors.edits == DOCUMENTED - 1
    (sent,) = desk.sent
    assert sent.subject == editors.subject()
    assert desk.sandbox.ledger.mails() == Counter(PEOPLE)
    assert desk.asked(IMPORT) <= DOCUMENTED
