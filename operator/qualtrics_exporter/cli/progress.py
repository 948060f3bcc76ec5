"""How far a run is: one line that counts on a terminal, a plain line a step in a pipe; both on standard error.

A line that cannot be written is dropped, and the run continues.
"""

import asyncio
import shutil
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

from qualtrics_exporter.export.journal import Ended, Journal
from qualtrics_exporter.resource.status import ActiveRun, timestamp
from qualtrics_exporter.telemetry.redact import redact

REDRAWN = 0.25
REPEATED = 30.0
"""Seconds after which a pipe hears again that something goes on."""


class Progress:
    """Says what is being done for as long as the block lasts."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = stream or sys.stderr  # None if standard error is closed
        self._terminal = _is_terminal(self._stream)
        self._what = ""
        self._since = time.monotonic()
        self._requests = 0
        self._ticking: asyncio.Task[None] | None = None

    def say(self, what: str) -> None:
        """From now on, this is being done."""
        if self._terminal:
            self._leave_line()
        self._what, self._since = redact(what), time.monotonic()
        self._show()

    def requested(self, _call: object) -> None:
        """One more request went out and was answered."""
        self._requests += 1

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticking:
            self._ticking.cancel()
            await asyncio.wait({self._ticking})
        if self._terminal:
            self._leave_line()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(REDRAWN if self._terminal else REPEATED)
            if self._what:
                self._show()

    def _show(self) -> None:
        seconds = int(time.monotonic() - self._since)
        text = f"{self._what} ({seconds} s, {self._requests} requests)" if seconds else self._what
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[K{text[:width]}")
        else:
            self._write(f"{text}\n")

    def _leave_line(self) -> None:
        if self._what:
            self._write("\n")
            self._what = ""

    def _write(self, text: str) -> None:
        # Also ValueError: a stream that was closed, or an encoding without one of the characters.
        with suppress(OSError, ValueError):
            if self._stream:
                self._stream.write(text)
                self._stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return bool(stream and stream.isatty())
    except ValueError:
        return False


class WatchedJournal:
    """A journal whose every entry is also said."""

    def __init__(self, journal: Journal, progress: Progress) -> None:
        self._journal = journal
        self._progress = progress

    async def write(self, run: ActiveRun) -> None:
        await self._journal.write(run)
        self._progress.say(describe(run))

    async def write_sending(self, run: ActiveRun) -> None:
        await self._journal.write_sending(run)
        self._progress.say(describe(run))

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        await self._journal.finish(run, ended)


def describe(run: ActiveRun) -> str:
    """What is being done when the journal stands there."""
    match run.step:
        case "Claimed":
            return "Checking both sides and asking Nexthink who"
        case "Importing":
            accepted = run.counts.accepted if run.counts else None
            return f"Bringing {people(accepted or 0)} into batch {run.batch_id}"
        case "Sending" if run.refused_until:
            again = timestamp(run.refused_until)
            return f"The send was refused for now: it is asked for again at {again}, unless it is found in Qualtrics"
        case "Sending":
            return f"Having the survey sent to {people(run.recipients or 0)}"
        case "Sent":
            return f"Sent as distribution {run.distribution_id}"


def describe_resumed(run: ActiveRun) -> str:
    """The same when another process had come there before: what may have been sent is never repeated."""
    match run.step:
        case "Claimed" | "Importing":
            return f"Starting again: an earlier process was interrupted before it sent anything (run {run.id})"
        case "Sending" if run.refused_until:
            return f"Looking in Qualtrics for a send that an earlier process was refused, to ask again (run {run.id})"
        case "Sending":
            return f"Looking up, for up to two minutes, whether an earlier process sent the survey (run {run.id})"
        case "Sent":
            return f"Finishing: an earlier process sent the survey (run {run.id})"


def people(count: int) -> str:
    """A number of people."""
    return "1 person" if count == 1 else f"{count} people"
