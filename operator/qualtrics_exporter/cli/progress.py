"""The progress of a run, on standard error: one line that is redrawn on a terminal, otherwise a line for each step.

A line that cannot be written is dropped, and the run continues.
"""

import asyncio
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self, TextIO

from qualtrics_exporter.export.journal import Ended, Journal
from qualtrics_exporter.export.messages import format_people
from qualtrics_exporter.resource.status import ActiveRun, timestamp
from qualtrics_exporter.telemetry.redact import redact

REDRAW_SECONDS = 0.25
"""How often the line on a terminal is redrawn."""
REPEAT_SECONDS = 30.0
"""How often the current step is repeated if standard error is not a terminal."""


class Progress:
    """Shows the current step within the block."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = stream or sys.stderr  # None if standard error is closed
        self._terminal = _is_terminal(self._stream)
        self._what = ""
        self._since = time.monotonic()
        self._requests = 0
        self._ticking: asyncio.Task[None] | None = None

    def say(self, what: str) -> None:
        """Begin a step."""
        if self._terminal:
            self._leave_line()
        self._what, self._since = redact(what), time.monotonic()
        self._show()

    def requested(self, _call: object) -> None:
        """Count a request that was answered."""
        self._requests += 1

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking:
            self._ticking.cancel()
            await asyncio.wait({self._ticking})
        if self._terminal:
            self._leave_line()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(REDRAW_SECONDS if self._terminal else REPEAT_SECONDS)
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
        # ValueError: the stream is closed, or its encoding lacks a character.
        with suppress(OSError, ValueError):
            if self._stream:
                self._stream.write(text)
                self._stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return bool(stream and stream.isatty())
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class WatchedJournal:
    """A journal that also shows each entry as progress."""

    journal: Journal
    progress: Progress

    async def write(self, run: ActiveRun) -> None:
        await self.journal.write(run)
        self.progress.say(describe(run))

    async def write_sending(self, run: ActiveRun) -> None:
        await self.journal.write_sending(run)
        self.progress.say(describe(run))

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        await self.journal.finish(run, ended)


SLOW_SEND = timedelta(seconds=20)
"""A send that takes longer has probably no clear answer, and is looked up."""


def describe(run: ActiveRun, now: datetime | None = None) -> str:
    """The step that follows this entry of the journal. With the time, it says that a send takes long."""
    match run.step:
        case "Claimed":
            return "Checking Nexthink and Qualtrics, and running the query"
        case "Importing":
            accepted = run.counts.accepted if run.counts else None
            return f"Importing {format_people(accepted or 0)} into batch {run.batch_id}"
        case "Sending" if run.refused_until:
            again = timestamp(run.refused_until)
            return f"Qualtrics refused the send for now. Retrying at {again}, unless the send is found in Qualtrics"
        case "Sending":
            slow = now and run.send_time and now - run.send_time > SLOW_SEND
            doubt = ". Qualtrics has not confirmed it yet: the operator looks it up, and does not send it again"
            return f"Sending the survey to {format_people(run.recipients or 0)}{doubt if slow else ''}"
        case "Sent":
            return f"Sent as distribution {run.distribution_id}"


def describe_resumed(run: ActiveRun) -> str:
    """The same if an earlier process wrote the entry. If the survey may be sent already, it is looked up instead."""
    match run.step:
        case "Claimed" | "Importing":
            return f"Starting again: an earlier process was interrupted before it sent anything (run {run.id})"
        case "Sending" if run.refused_until:
            return f"Looking up a send that Qualtrics refused in an earlier process, before a retry (run {run.id})"
        case "Sending":
            return f"Looking up, for up to two minutes, whether an earlier process sent the survey (run {run.id})"
        case "Sent":
            return f"Finishing: an earlier process sent the survey (run {run.id})"
