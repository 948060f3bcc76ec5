"""An hour in which exporters are created and deleted all the time, on virtual time, with the real operator.

Nothing of a deleted exporter may be left: no series on the metrics page, and nothing in the memory of the process.
"""

import gc
import re
import types
from collections.abc import Iterator
from typing import Any

import pytest

from qualtrics_exporter.controller.kube.errors import Unreachable
from qualtrics_exporter.controller.queue.wake_heap import WakeHeap
from qualtrics_exporter.telemetry.metric_definitions import EXPORTER_METRICS
from tests.controller.virtual_operator import CHANGED, HEALTHY, NAMESPACE, VirtualOperator
from tests.simulation.api_server import ApiServer
from tests.simulation.loop import VirtualLoop
from tests.simulation.remote import Network

PERIOD_SECONDS = 30
"""An exporter is created that often, and lives for `ALIVE` of these periods."""
ALIVE = 4
TARGETS = 3
"""The exporters take turns with so many lists and surveys."""
OTHERS = (ApiServer, VirtualLoop, Network, WakeHeap, types.ModuleType, types.FunctionType, types.CodeType, type)
"""What the operator refers to, but is not its memory."""


@pytest.fixture
def operator() -> Iterator[VirtualOperator]:
    operator = VirtualOperator()
    yield operator
    operator.close()


class Churn:
    """Creates and deletes exporters for an hour. Every third one has the name of one that was deleted just before."""

    def __init__(self, operator: VirtualOperator) -> None:
        self.operator = operator
        self.created = 0
        self.alive: list[str] = []
        self.deleted_uids: set[str] = set()
        self.wrong: list[tuple[int, set[str]]] = []
        """After which exporter the page had other names than those of the exporters that exist, and which."""
        self.pages: list[str] = []
        """The page at the end of each quarter."""
        periods = 3600 // PERIOD_SECONDS
        for number in range(periods):
            # The watch delivers within seconds, and a check may take some.
            operator.loop.outside(number * PERIOD_SECONDS + 2, self.step)
            operator.loop.outside((number + 1) * PERIOD_SECONDS - 1, self.look)
        for quarter in range(1, 5):
            operator.loop.outside(quarter * 900 - 0.5, lambda: self.pages.append(page_of(operator)))

    def step(self) -> None:
        """Delete the oldest exporter, and create another one."""
        if len(self.alive) == ALIVE:
            self.delete()
        name = "reused" if self.created % 3 == 0 and "reused" not in self.alive else f"short-lived-{self.created}"
        spec = self.operator.spec(HEALTHY, self.created % TARGETS)
        self.operator.server.create(NAMESPACE, name, spec, labels={}, annotations={})
        self.alive.append(name)
        self.created += 1

    def delete(self) -> None:
        name = self.alive.pop(0)
        self.deleted_uids.add(self.operator.body(name)["metadata"]["uid"])
        self.operator.server.delete(NAMESPACE, name)

    def look(self) -> None:
        """Compare the page with the exporters that exist."""
        names = names_on(page_of(self.operator))
        if names != {HEALTHY, CHANGED, *self.alive}:
            self.wrong.append((self.created, names))


def page_of(operator: VirtualOperator) -> str:
    assert operator.replica.operator
    return b"".join(operator.replica.operator.metrics.text()).decode()


def names_on(page: str) -> set[str]:
    return set(re.findall(r'\bname="([^"]+)"', page))


def series_on(page: str) -> list[str]:
    """All series, also those of the operator, without their values."""
    return sorted(line.rpartition(" ")[0] for line in page.splitlines() if line[0] != "#")


def remembered(operator: VirtualOperator, uids: set[str]) -> set[str]:
    """Which of these uids are anywhere in the memory of the operator, as a text or as a part of one, and where.

    The heap of wake-ups may still have entries of deleted exporters, but never many.
    """
    assert operator.replica.operator
    queue = operator.replica.operator.queue
    assert len(queue._wakes._heap) <= 2 * len(queue._items) + 100
    seen: set[int] = set()
    found: set[str] = set()
    todo: list[tuple[Any, str]] = [(operator.replica.operator, "")]
    while todo:
        one, where = todo.pop()
        if id(one) in seen or isinstance(one, OTHERS):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            found |= {f"{uid} in{where}" for uid in re.findall(r"uid-[0-9]+", one) if uid in uids}
        elif not isinstance(one, types.FrameType):
            where = f"{where[-60:]} {type(one).__name__}"
            todo += [(each, where) for each in gc.get_referents(one)]
    return found


def test_an_hour_of_short_lived_exporters_leaves_no_series_and_nothing_in_memory(operator: VirtualOperator) -> None:
    churn = Churn(operator)
    operator.run(1)
    assert (churn.created, len(churn.deleted_uids)) == (120, 120 - ALIVE)
    assert churn.wrong == []
    assert operator.sent(HEALTHY) > 0, "the operator worked meanwhile, and the short-lived exporters had slots too"
    assert operator.internal_errors() == []

    assert operator.replica.operator
    assert remembered(operator, churn.deleted_uids) == set()
    assert operator.replica.left_over() == set()
    of_exporters = tuple(definition.name for definition in EXPORTER_METRICS)
    quarters = [series_on(page) for page in churn.pages]
    numbers = [sum(series.startswith(of_exporters) for series in quarter) for quarter in quarters]
    assert max(numbers) < 45 * (ALIVE + 2)
    assert len(quarters[3]) - numbers[3] == len(quarters[2]) - numbers[2], "the series of the operator do not grow"

    while churn.alive:
        churn.delete()
    operator.run(PERIOD_SECONDS / 3600)
    assert names_on(page_of(operator)) == {HEALTHY, CHANGED}
    assert remembered(operator, churn.deleted_uids) == set()


def test_uid_that_the_operator_still_knows_is_found(operator: VirtualOperator) -> None:
    operator.run(PERIOD_SECONDS / 3600)
    uids = {operator.body(name)["metadata"]["uid"] for name in (HEALTHY, CHANGED)}
    assert {one.partition(" ")[0] for one in remembered(operator, uids)} == uids


def test_exporter_that_is_deleted_after_a_write_without_a_reply_is_forgotten(operator: VirtualOperator) -> None:
    """The log of runs keeps the line of a write whose outcome is unknown until it can find it out."""
    operator.run(PERIOD_SECONDS / 3600)
    assert operator.replica.operator
    log = operator.replica.operator.reconciler.store.entry_log
    uid = operator.body(CHANGED)["metadata"]["uid"]
    (key,) = [key for key, _ in operator.replica.operator.queue.known() if key.uid == uid]

    def give_up() -> None:
        with log.change(key) as change:
            change.unconfirmed.append([])
            raise Unreachable("no reply")

    with pytest.raises(Unreachable):
        give_up()
    operator.server.delete(NAMESPACE, CHANGED)
    operator.run(PERIOD_SECONDS / 3600)
    assert remembered(operator, {uid}) == set()
