"""Standard output and standard error, so that neither of them can change what a command does.

Standard error is a side channel: progress, remarks, logs. Text that cannot be written there (a closed pipe, a terminal
that is gone or held, a full disk) is dropped. Standard output carries the answer: if it cannot be written, the command
gets `OutputLost` and decides. A character that the encoding of a stream does not have becomes `?`.
"""

import errno
import io
import os
import select
import signal
import sys
from typing import NoReturn, TextIO

import click

PATIENCE = 1.0
"""Seconds for which standard error may keep a command waiting."""

_LENIENT = frozenset({"backslashreplace", "ignore", "namereplace", "replace", "xmlcharrefreplace"})


class OutputLost(Exception):
    """The answer cannot be written to standard output. It is no `OSError`, which click takes for a verdict of 1."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or type(error).__name__)
        self.reader_left = error.errno == errno.EPIPE

    def end(self) -> NoReturn:
        """End the process as other tools do: killed by SIGPIPE if the reader left, otherwise with a sentence and 1."""
        if self.reader_left:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
            sys.exit(128 + signal.SIGPIPE)  # if the signal is blocked
        click.echo(f"Error: standard output cannot be written: {self}.", err=True)
        sys.exit(1)


def install() -> None:
    """Replace `sys.stdout` and `sys.stderr` of this process. To be called first of all."""
    for number in range(3):
        _occupy(number)
    sys.stdout = _text(sys.stdout, _Answer) if sys.stdout else None
    sys.stderr = _text(sys.stderr, _SideChannel) if sys.stderr else open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def say(text: str) -> None:
    """Write a line to standard error. Raises nothing if that is impossible."""
    click.echo(text, err=True)


class _Answer(io.FileIO):
    """A raw stream whose failure cannot be overlooked, and comes once."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            while (written := super().write(data)) is None:  # a pipe that is full and does not block
                select.select([], [self], [])
        except OSError as error:
            _lead_nowhere(self.fileno())
            raise OutputLost(error) from None
        return written


class _SideChannel(io.FileIO):
    """A raw stream that takes everything: what cannot be written is dropped.

    A terminal may be held by Ctrl-S, and a pipe may be full because nobody reads it. That is waited for once, shortly.
    """

    _held = False

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        size = memoryview(data).nbytes
        try:
            _, ready, _ = select.select([], [self], [], 0 if self._held else PATIENCE)
            self._held = not ready
            # A pipe that is ready takes so much without waiting.
            return super().write(memoryview(data)[: select.PIPE_BUF]) or size if ready else size
        except OSError:
            _lead_nowhere(self.fileno())
            return size


def _text(stream: TextIO, raw: type[io.FileIO]) -> io.TextIOWrapper:
    """A text stream over the same file."""
    binary = io.BufferedWriter(raw(stream.fileno(), "wb", closefd=False))
    errors = stream.errors if stream.errors in _LENIENT else "replace"
    lines = bool(getattr(stream, "line_buffering", False))
    return io.TextIOWrapper(binary, encoding=stream.encoding, errors=errors, line_buffering=lines)


def _occupy(number: int) -> None:
    """Keep a file that is opened later from getting the number of a standard stream, and what is written to it."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def _lead_nowhere(number: int) -> None:
    """Let the rest vanish. Otherwise the interpreter writes it once more at its end, and fails with exit code 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
