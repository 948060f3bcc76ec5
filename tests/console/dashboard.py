"""Starts `kubectl qex dashboard` and the page of the demo as users do, and opens them in a browser."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from tests.cli.qex import Qex
from tests.support.browser import DESKTOP, Visit, visit
from tests.support.waiting import HANG_SECONDS


@dataclass(frozen=True)
class Dashboard:
    """A running console. Its address works once."""

    address: str
    process: subprocess.Popen[str]

    @contextmanager
    def opened(self, browser: Browser, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> Iterator[Visit]:
        """The list of exporters in a new browser window."""
        with visit(browser, self.address, size, dark=dark) as seen:
            seen.page.wait_for_url(lambda url: "token" not in url)
            yield seen


@contextmanager
def dashboard(qex: Qex, *arguments: str) -> Iterator[Dashboard]:
    """Run the console of a user until the end of the block."""
    command = ["kubectl", "qex", "dashboard", "--no-browser", *arguments]
    with started(command, qex.environment({}), qex.home) as console:
        yield console


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Dashboard]:
    """Run a command that serves the console until the end of the block."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield Dashboard(address, process)
    finally:
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=HANG_SECONDS)[1]
    assert "Traceback" not in errors, errors
    assert process.returncode == 0, errors
