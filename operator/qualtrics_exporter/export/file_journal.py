"""The journal of a run without a cluster: one small JSON file, with the names of `status`.

It holds ids, times and numbers, never an address; it is readable by its owner only all the same. A write is a new file,
synced and put in the place of the old one: a crash leaves the one or the other. A second file beside it is locked while
the journal is open, so that two processes never run one exporter; the lock ends with the process, however it ends.

One journal has one name. Symbolic links are resolved first, because a new file in the place of a link would leave the
other links with the old journal. A journal with hard links is refused for the same reason.

A journal that cannot be read is never taken as empty: that could send a second time.
"""

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from qualtrics_exporter.export.heavy_query import remembered
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged
from qualtrics_exporter.export.sample import with_send
from qualtrics_exporter.resource.status import ActiveRun, HeavyQuery, HistoryEntry, SampledGroup, Status
from qualtrics_exporter.telemetry.redact import redact

_PAGES = {"active_run", "last_test", "history", "untold", "surveyed", "heavy_query", "drifted"}


class _Kept(Status):
    """What the file holds: a part of `status`, and what only a process of a moment needs."""

    untold: str | None = None
    """The run that asked for a send, ended, and whose end nobody may have heard of: its process may have been killed
    before it said so, and who then gives the same command again must not begin another run."""
    surveyed: dict[str, list[SampledGroup]] | None = None
    """What `sampled_groups` is in a cluster, for each exporter. Several can share a journal, and a person is in another
    group in each."""
    drifted: int | None = None
    """The spec, by its generation, whose query was another one when it was compared last."""


class JournalUnreadable(Exception):
    """The file is there, but no journal: somebody else's file, or damaged."""


class FileJournal:
    """A `Journal` in a file. Opening it locks it (`Abandoned` if another process has it open), `close` lets it go.

    `generation` tells the spec of whoever opens it from others; None: it is not looked at. `exporter` is its
    namespace/name.
    """

    def __init__(self, path: Path, *, generation: int | None = None, exporter: str = "") -> None:
        path = self._path = Path(os.path.realpath(path))
        self._exporter = exporter
        self._generation = generation
        self._lock = os.open(_beside(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._status = _read(path)
        except BlockingIOError:
            os.close(self._lock)
            raise Abandoned(f"another process has the journal {path.name} open") from None
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let the next process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def current(self) -> ActiveRun | None:
        """The run in progress, as it was last written."""
        return self._status.active_run

    @property
    def history(self) -> list[HistoryEntry]:
        """The last runs, newest first."""
        return list(self._status.history or [])

    @property
    def sampled_groups(self) -> list[SampledGroup]:
        """The groups of `spec.sample` that this exporter surveyed, newest first."""
        return list((self._status.surveyed or {}).get(self._exporter, []))

    @property
    def last_test(self) -> HistoryEntry | None:
        """How the last test ended."""
        return self._status.last_test

    @property
    def heavy_query(self) -> HeavyQuery | None:
        """What is remembered of a query that Nexthink fails to execute."""
        return self._status.heavy_query

    @property
    def untold(self) -> HistoryEntry | None:
        """A run that may have mailed people, and has ended without a word to anybody."""
        entries = [self._status.last_test, *(self._status.history or [])]
        return next((entry for entry in entries if entry and entry.id == self._status.untold), None)

    def told(self, entry: HistoryEntry) -> None:
        """Whoever asked for this run knows how it ended."""
        if self._status.untold == entry.id:
            self._store(self._status.model_copy(update={"untold": None}))

    async def claim(self, run: ActiveRun) -> None:
        """Begin a run, or take over the one that is in progress; `Abandoned` when another one is."""
        current = self._status.active_run
        if current and (current.id != run.id or current.step != run.step):
            raise Abandoned(f"run {current.id} is in progress, at {current.step}")
        self._store(self._status.model_copy(update={"active_run": run}))

    async def write(self, run: ActiveRun) -> None:
        """Replace the stored run by this one; on the disk when it returns."""
        self._ours(run)
        self._store(self._status.model_copy(update={"active_run": run}))

    async def write_sending(self, run: ActiveRun) -> None:
        """As `write`: without a cluster nobody suspends the exporter meanwhile, or edits it during one process.

        A run that an earlier process began may have had another spec: `SpecChanged`.
        """
        if self._generation is not None and run.generation != self._generation:
            self._ours(run)
            raise SpecChanged
        await self.write(run)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        """Remove the run and keep how it ended."""
        self._ours(run)
        entry = ended.entry
        pages: dict[str, object]
        pages = {"last_test": entry} if run.trigger == "Test" else {"history": self._status.with_entry(entry).history}
        if surveyed := with_send(self.sampled_groups, run, entry):
            pages["surveyed"] = {**(self._status.surveyed or {}), self._exporter: surveyed}
        untold = entry.id if entry.send_time else self._status.untold
        in_sync = ended.query.in_sync if ended.query else None
        drifted = self._status.drifted if in_sync is None else None if in_sync else run.generation
        pages["heavy_query"] = remembered(
            *(self._status.heavy_query, ended.begin_with, run.generation, entry.completion_time),
            drifted=drifted is not None and drifted == run.generation,
        )
        update = {"active_run": None, "untold": untold, "drifted": drifted, **pages}
        self._store(self._status.model_copy(update=update))

    def _ours(self, run: ActiveRun) -> None:
        current = self._status.active_run
        if current is None or (current.id, current.holder) != (run.id, run.holder):
            raise Abandoned("the run is not ours any more")

    def _store(self, status: _Kept) -> None:
        if self._lock < 0:
            raise Abandoned("the journal is closed")
        fresh = _beside(self._path, "new")
        status = _redacted(status)
        text = status.model_dump_json(by_alias=True, include=_PAGES, exclude_none=True, indent=2)
        # The lock makes this file ours; what is left there by a crash is written over.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, must survive
        finally:
            os.close(folder)
        self._status = status


def _redacted(status: _Kept) -> _Kept:
    """With every sentence redacted, whoever wrote it, as in a cluster."""
    last_test = _entry(status.last_test) if status.last_test else None
    history = [_entry(entry) for entry in status.history] if status.history else status.history
    return status.model_copy(update={"last_test": last_test, "history": history})


def _entry(entry: HistoryEntry) -> HistoryEntry:
    return entry.model_copy(update={"message": redact(entry.message)})


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def check_file(path: Path) -> None:
    """Check that a file can be a journal, if it exists. Raises `JournalUnreadable`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise JournalUnreadable(f"{path} is not a regular file, so it cannot be a journal.")
    if found.st_nlink > 1:
        raise JournalUnreadable(
            f"{path} has another name (a hard link), which would keep an old journal, so that a survey could be sent "
            "twice. Keep one of the names."
        )


def _read(path: Path) -> _Kept:
    check_file(path)
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Kept()
    except ValidationError:
        raise JournalUnreadable(
            f"{path} is no journal of this program, or damaged. It says what was sent already: look into it, "
            "and move it away only if no run was in progress."
        ) from None
