"""`qualtrics-exporter run` with a clock whose sleepers make the time pass, and a kill at a chosen effect on the disk.

`tests/environment/forking.py` calls `main` in a process of its own. The journal's effects are `open`, `sync` (of the
file), `rename` and `sync folder`. Each is written as a line of the file that `QUALTRICS_EXPORTER_TEST_EFFECTS` names;
`QUALTRICS_EXPORTER_TEST_KILL` is `before|after NUMBER` of the effect at which this process ends as by SIGKILL.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qualtrics_exporter.cli import main as command
from qualtrics_exporter.cli import without_cluster
from qualtrics_exporter.export import file_journal
from tests.environment.clock import HastyClock
from tests.faults import broken


class Effects:
    """The effects on the disk, counted."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._file = Path(os.environ["QUALTRICS_EXPORTER_TEST_EFFECTS"])
        self._when, _, number = os.environ.get("QUALTRICS_EXPORTER_TEST_KILL", "never 0").partition(" ")
        self._kill = int(number)

    def around(self, effect: Callable[..., Any], name: Callable[..., str | None]) -> Callable[..., Any]:
        """The same, counted, and fatal where that is wanted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            told = name(*args)
            if told is None:
                return effect(*args, **kwargs)
            number = next(self._numbers)
            with self._file.open("a") as file:
                file.write(f"{told}\n")
            self._end("before", number)
            result = effect(*args, **kwargs)
            self._end("after", number)
            return result

        return counted

    def _end(self, when: str, number: int) -> None:
        if (when, number) == (self._when, self._kill):
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Watch the journal's own calls, and run the command."""
    sys.argv = ["qualtrics-exporter", *arguments]
    effects = Effects()

    def opened(path: Any, flags: int, *_: Any) -> str | None:
        return "open" if str(path).endswith(".new") and flags & os.O_CREAT else None

    def synced(number: int) -> str:
        return "sync folder" if os.fstat(number).st_mode & 0o040000 else "sync"

    class Os:
        open = staticmethod(effects.around(os.open, opened))
        fsync = staticmethod(effects.around(os.fsync, synced))

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    file_journal.os = Os()  # type: ignore[attr-defined]
    Path.replace = effects.around(Path.replace, lambda *_: "rename")  # type: ignore[method-assign]
    clock = Path(os.environ["QUALTRICS_EXPORTER_TEST_CLOCK"])
    without_cluster.SystemClock = lambda: HastyClock(clock)  # type: ignore[assignment, misc]
    with broken.build(os.environ.get("QUALTRICS_EXPORTER_TEST_BROKEN")):
        command()
    return 0
