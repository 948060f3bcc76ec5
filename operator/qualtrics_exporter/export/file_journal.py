"""The journal of a run without a cluster: one small JSON file, with the names of `status`.

It has ids, times and numbers, never an address. Only its owner can read it. A write creates a new file, syncs it and
replaces the old one, so a crash leaves one of the two. A second file beside it is locked while the journal is open, so
that two processes never run one exporter. The lock ends with the process.

One journal has one name. Symbolic links are resolved first, because replacing a link by a new file would leave the old
journal behind other links. A journal with hard links is rejected for the same reason.

A journal that cannot be read is never treated as empty, because a survey could be sent twice.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from qualtrics_exporter.export.heavy_query import remembered
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged
from qualtrics_exporter.export.sample import with_send
from qualtrics_exporter.resource.status import ActiveRun, HeavyQuery, HistoryEntry, SampledGroup, Status
from qualtrics_exporter.telemetry.redact import redact

_STORED_FIELDS = {"active_run", "last_test", "history", "untold", "surveyed", "heavy_query", "drifted"}


class _FileStatus(Status):
    """The content of the file: a part of `status`, and what only the command line needs."""

    untold: str | None = None
    """The id of a run that sent, or may have sent, and whose result was not reported yet. Its process may have been
    killed before it reported the result. The same command then reports it, and does not begin another run."""
    surveyed: dict[str, list[SampledGroup]] | None = None
    """As `sampled_groups` in a cluster, for each exporter. Several exporters can share a journal, and a person is in a
    different group in each."""
    drifted: int | None = None
    """The generation of the spec whose query had drifted when it was last compared."""


class JournalUnreadable(Exception):
    """The file exists, but it is not a journal: a file of another program, or damaged."""


class FileJournal:
    """A `Journal` in a file. Opening it locks it (`Abandoned` if another process has it open), and `close` unlocks it.

    `generation` identifies the spec of the caller; None: it is not compared. `exporter` is its namespace/name.
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
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def current(self) -> ActiveRun | None:
        """The run in progress, as last written."""
        return self._status.active_run

    @property
    def history(self) -> list[HistoryEntry]:
        """The last runs, newest first."""
        return list(self._status.history or [])

    @property
    def sampled_groups(self) -> list[SampledGroup]:
        return list((self._status.surveyed or {}).get(self._exporter, []))

    @property
    def heavy_query(self) -> HeavyQuery | None:
        return self._status.heavy_query

    @property
    def unreported(self) -> HistoryEntry | None:
        """A run that sent, or may have sent, and whose result was not reported."""
        return next((entry for entry in self._status.entries if entry.id == self._status.untold), None)

    def mark_reported(self, entry: HistoryEntry) -> None:
        """Note that the result of this run was reported."""
        if self._status.untold == entry.id:
            self._store(self._status.model_copy(update={"untold": None}))

    async def claim(self, run: ActiveRun) -> None:
        """Begin a run, or take over the run in progress. Raises `Abandoned` if another run is in progress."""
        current = self._status.active_run
        if current and (current.id != run.id or current.step != run.step):
            raise Abandoned(f"run {current.id} is in progress, at {current.step}")
        self._store(self._status.model_copy(update={"active_run": run}))

    async def write(self, run: ActiveRun) -> None:
        """Replace the stored run. It is on the disk when this returns."""
        self._check_owner(run)
        self._store(self._status.model_copy(update={"active_run": run}))

    async def write_sending(self, run: ActiveRun) -> None:
        """As `write`: without a cluster, nobody suspends or edits the exporter during one process.

        Raises `SpecChanged` if an earlier process began the run with another spec.
        """
        if self._generation is not None and run.generation != self._generation:
            self._check_owner(run)
            raise SpecChanged
        await self.write(run)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        """Remove the run and store its entry."""
        self._check_owner(run)
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

    def _check_owner(self, run: ActiveRun) -> None:
        current = self._status.active_run
        if current is None or (current.id, current.holder) != (run.id, run.holder):
            raise Abandoned("another process has taken over the run")

    def _store(self, status: _FileStatus) -> None:
        if self._lock < 0:
            raise Abandoned("the journal is closed")
        fresh = _beside(self._path, "new")
        status = _redacted(status)
        text = status.model_dump_json(by_alias=True, include=_STORED_FIELDS, exclude_none=True, indent=2)
        # The lock covers this file too. A file that a crash left is overwritten.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # makes the new name durable
        finally:
            os.close(folder)
        self._status = status


def _redacted(status: _FileStatus) -> _FileStatus:
    """With every message redacted, as in a cluster."""
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
            f"{path} has another name (a hard link). That name would keep an old journal, and a survey could be sent "
            "twice. Delete one of the names."
        )


def _read(path: Path) -> _FileStatus:
    check_file(path)
    try:
        return _FileStatus.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _FileStatus()
    except ValidationError:
        raise JournalUnreadable(
            f"{path} is not a journal of this program, or it is damaged. A journal records what was sent: read the "
            "file, and move it away only if no run was in progress."
        ) from None
