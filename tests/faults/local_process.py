"""`qualtrics-exporter run` with a simulated clock, and with a kill at a chosen effect on the disk.

`tests/support/forking.py` calls `main` in a separate process, in which each sleep moves the clock. The journal's
effects are `open`, `sync` (of the file), `rename` and `sync folder`. Each is written as a line into the file that
`QUALTRICS_EXPORTER_TEST_EFFECTS` names. `QUALTRICS_EXPORTER_TEST_KILL` is `before NUMBER` or `after NUMBER`: the effect
at which the process kills itself.
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
from tests.faults import mutants
from tests.support.clock import AutoAdvancingClock


class Effects:
    """Counts the effects on the disk."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._file = Path(os.environ["QUALTRICS_EXPORTER_TEST_EFFECTS"])
        self._when, _, number = os.environ.get("QUALTRICS_EXPORTER_TEST_KILL", "never 0").partition(" ")
        self._number = int(number)

    def around(self, effect: Callable[..., Any], name: Callable[..., str | None]) -> Callable[..., Any]:
        """Wrap a function whose effect counts. `name` returns None for calls that do not count."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            operation = name(*args)
            if operation is None:
                return effect(*args, **kwargs)
            number = next(self._count)
            with self._file.open("a") as file:
                file.write(f"{operation}\n")
            self._kill_at("before", number)
            result = effect(*args, **kwargs)
            self._kill_at("after", number)
            return result

        return counted

    def _kill_at(self, when: str, number: int) -> None:
        if (when, number) == (self._when, self._number):
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Count the effects of the journal, and run the command."""
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
    without_cluster.SystemClock = lambda: AutoAdvancingClock(clock)  # type: ignore[assignment, misc]
    with mutants.applied(os.environ.get("QUALTRICS_EXPORTER_TEST_MUTANT")):
        command()
    return 0
