"""Mutants about invalid objects and misleading replies. Each function patches the code as long as its block lasts."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pydantic import ValidationError

from qualtrics_exporter.controller.plan import repair
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.execution import Executed
from qualtrics_exporter.nexthink.export import ResultExport
from qualtrics_exporter.resource import exporter
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status


@contextmanager
def damaged_memory_is_forgotten() -> Iterator[None]:
    """An invalid receipt or claimed slot is ignored without any consequence."""
    with mock.patch.object(Exporter, "lost_memory", False):
        yield


@contextmanager
def damaged_statuses_are_lost() -> Iterator[None]:
    """A status with one invalid value counts as empty."""

    def read_status(raw: Any) -> tuple[Status, tuple[str, ...]]:
        try:
            return Status.model_validate(raw or {}), ()
        except ValidationError:
            return Status(), ()

    with mock.patch.object(exporter, "read_status", read_status):
        yield


@contextmanager
def unreadable_runs_vanish() -> Iterator[None]:
    """A run with an unreadable journal is removed without an entry."""
    with mock.patch.object(repair, "end_unreadable", lambda exporter, status, now: status):
        yield


@contextmanager
def results_are_mixed() -> Iterator[None]:
    """The rows of an execution are used in addition to those of the export after it."""
    execute, all_rows = NexthinkClient.execute, ResultExport.rows
    seen: dict[int, list[tuple[str, ...]]] = {}

    async def executing(
        self: NexthinkClient, query_id: str, parameters: Mapping[str, str], *, patient: bool = True
    ) -> Executed:
        executed = await execute(self, query_id, parameters, patient=patient)
        seen[id(self._session)] = executed.rows
        return executed

    async def both(self: ResultExport, restart: Callable[[], None]) -> AsyncGenerator[tuple[str, ...], None]:
        async for row in all_rows(self, restart):
            yield row
        for row in seen.get(id(self._session), []):
            yield row

    with mock.patch.object(NexthinkClient, "execute", executing), mock.patch.object(ResultExport, "rows", both):
        yield
