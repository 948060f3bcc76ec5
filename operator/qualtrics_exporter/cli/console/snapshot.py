"""The list of exporters as it is now, and a signal when it changes."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime

from qualtrics_exporter.cli.console.rows import Row

Key = tuple[str, str]
"""Namespace and name."""


class Snapshot:
    """The rows of all exporters, how complete they are, and why they may be out of date."""

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.complete = False
        """Whether the first list has been read to its end."""
        self.expected: int | None = None
        """About how many exporters there are, while the first list is being read."""
        self.problem = ""
        """Why there are no changes at the moment; empty if there are."""
        self.problem_since: datetime | None = None
        self.revision = 0
        self._revisions: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def put(self, rows: Iterable[Row]) -> None:
        """Add or replace rows."""
        for row in rows:
            key = (row.namespace, row.name)
            if (known := self.rows.get(key)) is None or known.version != row.version:
                self.rows[key] = row
                self._touch(key)

    def remove(self, key: Key) -> None:
        """An exporter was deleted."""
        if self.rows.pop(key, None):
            self._touch(key)

    def keep_only(self, keys: Collection[Key]) -> None:
        """After a complete list: remove the exporters that are not in it."""
        for key in [key for key in self.rows if key not in keys]:
            self.remove(key)

    def report(self, problem: str, now: datetime) -> None:
        """Set or, with an empty text, clear the problem."""
        if problem != self.problem:
            self.problem_since = now if problem and not self.problem else self.problem_since
            self.problem = problem
            self._touch(None)

    def mark_complete(self) -> None:
        """The first list has been read to its end."""
        if not self.complete:
            self.complete = True
            self._touch(None)

    def revision_of(self, key: Key | None) -> int:
        """A number that changes when this exporter does, or for None when anything does."""
        return self.revision if key is None else max(self._revisions.get(key, 0), self._revisions.get(("", ""), 0))

    async def changed(self, key: Key | None, seen: int) -> int:
        """Wait until the revision differs from `seen`, and return it."""
        while (revision := self.revision_of(key)) == seen:
            await self._changed.wait()
        return revision

    def _touch(self, key: Key | None) -> None:
        """A new revision of one exporter, or with None of all pages."""
        self.revision += 1
        self._revisions[key or ("", "")] = self.revision
        self._changed.set()
        self._changed = asyncio.Event()
