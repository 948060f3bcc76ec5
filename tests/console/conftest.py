"""One browser for all tests of a module, the console of an administrator, and a console of an exporter in memory."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.cli.conftest import Program
from tests.cli.qex import Qex
from tests.conftest import skip_outside_ci
from tests.console.dashboard import Dashboard, dashboard
from tests.console.in_memory import START, InMemory, Reader, console_of
from tests.support.browser import browser, unsupported_reason
from tests.support.clock import SteeredClock
from tests.support.stage import Stage


@pytest.fixture(scope="module")  # while a browser runs, no asynchronous test of the same worker can
def chromium() -> Iterator[Browser]:
    if reason := unsupported_reason():
        skip_outside_ci(f"this machine cannot run the browser: {reason}")
    with browser() as started:
        yield started


@pytest.fixture
def console(stage: Stage, tmp_path: Path) -> Iterator[Dashboard]:
    """The console of an administrator, for the namespace of the stage."""
    home = tmp_path / "home"
    home.mkdir()
    with dashboard(Qex(stage.cluster.kubeconfig, home, stage.namespace), "--namespace", stage.namespace) as started:
        yield started


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The installed program, in an empty home directory."""
    home = tmp_path / "home"
    home.mkdir()
    return Program(home, {})


@pytest.fixture
def source() -> InMemory:
    return InMemory()


@pytest.fixture
def clock() -> SteeredClock:
    return SteeredClock(start=START)


@pytest.fixture
async def reader(source: InMemory, clock: SteeredClock) -> AsyncIterator[Reader]:
    """A reader of the console of `source`."""
    async with console_of(source, clock) as entered:
        yield entered
