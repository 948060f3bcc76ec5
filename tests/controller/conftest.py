"""Fixtures for the tests of the controller, and retries for tests that depend on real time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from _pytest.runner import runtestprotocol

from tests.controller.recipients import MailedAddresses
from tests.controller.scripted_api_server import ScriptedApiServer
from tests.support.controlplane import ControlPlane
from tests.support.stage import NOON, Stage


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test that depends on real time at each pace of its module, until it passes: see test_leader_election.py."""
    module = getattr(item, "module", None)
    if not hasattr(module, "PACES"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for pace in module.PACES:
        module.set_pace(pace)
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = [report for report in reports if report.failed]
        if not failed or any("TwoLeaders" in report.longreprtext for report in failed):
            break
    module.set_pace(module.PACES[0])
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(scope="module")
def shared_stage(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[Stage]:
    """A stage with a running operator, for the tests of a module that do not move the clock."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    folder = tmp_path_factory.mktemp(name)
    with ExitStack() as stack:
        stage = Stage(
            cluster, cluster.namespace(f"{name}-{folder.name[-1]}-{id(stack) % 9973}"), folder, stack, start=NOON
        )
        stage.operator()
        yield stage


@pytest_asyncio.fixture
async def api_server(tmp_path: Path) -> AsyncIterator[ScriptedApiServer]:
    """An API server whose responses a test chooses."""
    async with ScriptedApiServer(tmp_path).serving() as serving:
        yield serving


@pytest.fixture
def mailed_addresses() -> MailedAddresses:
    """Returns the addresses that got mail on a stage, in lower case. Fails if an address got two mails."""

    def read(stage: Stage) -> set[str]:
        mails = stage.sandbox.recorder.mails()
        assert not {address: number for address, number in mails.items() if number > 1}, "an address got two mails"
        return set(mails)

    return read
