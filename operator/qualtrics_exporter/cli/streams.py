"""Standard output and standard error that cannot change what a command does.

Standard error is a side channel for progress, remarks and logs. Text that cannot be written to it is dropped: the pipe
is closed, the terminal is gone or held, or the disk is full. Standard output carries the answer: if it cannot be
written, the command gets `OutputLost` and decides. A character that the encoding of a stream lacks becomes `?`.
"""

import errno
import io
import os
import select
import signal
import sys
from typing import NoReturn, TextIO

import click

MAX_WAIT = 1.0
"""How long a command waits for standard error, in seconds."""

_LENIENT = frozenset({"backslashreplace", "ignore", "namereplace", "replace", "xmlcharrefreplace"})


class OutputLost(Exception):
    """The answer cannot be written to standard output. Not an `OSError`, because click would exit with 1."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or type(error).__name__)
        self.reader_left = error.errno == errno.EPIPE

    def end(self) -> NoReturn:
        """End the process as other tools do: by SIGPIPE if the reader left, otherwise with a message and code 1."""
        if self.reader_left:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
            sys.exit(128 + signal.SIGPIPE)  # if the signal is blocked
        click.echo(f"Error: standard output cannot be written: {self}.", err=True)
        sys.exit(1)


def install() -> None:
    """Replace `sys.stdout` and `sys.stderr` of this process. Call this before anything else."""
    for number in range(3):
        _reserve(number)
    # With `stty tostop`, a terminal stops the background jobs that write to it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    sys.stdout = _text(sys.stdout, _Answer) if sys.stdout else None
    if sys.stderr:
        sys.stderr = _text(sys.stderr, _SideChannel)
    else:
        closed = _SideChannel(2, "wb", closefd=False)  # `_reserve` opened this number as /dev/null
        closed.lost = True
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(closed), encoding="utf-8")


def say(text: str) -> bool:
    """Write a line to standard error. Raises nothing. Tells whether the whole line was written."""
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    channel = raw if isinstance(raw, _SideChannel) else None
    if channel:
        channel.dropped = False
    click.echo(text, err=True)
    return not channel or not (channel.dropped or channel.lost)


class _Answer(io.FileIO):
    """A raw stream that raises `OutputLost` when a write fails, and discards all later output."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            while (written := super().write(data)) is None:  # a pipe that is full and does not block
                select.select([], [self], [])
        except OSError as error:
            _discard(self.fileno())
            raise OutputLost(error) from None
        return written


class _SideChannel(io.FileIO):
    """A raw stream whose writes never fail: it drops output that cannot be written.

    A terminal may be held by Ctrl-S, and a pipe may be full because nobody reads it: the stream then waits once.
    """

    _held = False
    dropped = False
    """Whether output was dropped."""
    lost = False
    """Whether all later output is dropped."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        size = memoryview(data).nbytes
        try:
            _, ready, _ = select.select([], [self], [], 0 if self._held else MAX_WAIT)
            self._held = not ready
            # A pipe that is ready accepts this much without blocking.
            if ready and (written := super().write(memoryview(data)[: select.PIPE_BUF])):
                return written
        except OSError:
            _discard(self.fileno())
            self.lost = True
        self.dropped = True
        return size


def _text(stream: TextIO, raw: type[io.FileIO]) -> io.TextIOWrapper:
    """A text stream over the same file."""
    binary = io.BufferedWriter(raw(stream.fileno(), "wb", closefd=False))
    errors = stream.errors if stream.errors in _LENIENT else "replace"
    lines = bool(getattr(stream, "line_buffering", False))
    return io.TextIOWrapper(binary, encoding=stream.encoding, errors=errors, line_buffering=lines)


def _reserve(number: int) -> None:
    """Open a closed standard stream, so that no other file gets its number and its output."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def _discard(number: int) -> None:
    """Discard later output. Otherwise the interpreter tries to write it when it exits, and exits with code 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
