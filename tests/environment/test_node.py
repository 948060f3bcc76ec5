"""The node for tests: it leaves nothing, however it ends, and two of them do not mind each other."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import cannot
from tests.environment.build import ROOT
from tests.environment.node import Node, NodeError, cgroups, obstacle
from tests.environment.waiting import HANG_SECONDS, eventually

RUN_ONE = """\
import sys, time
from tests.environment.node import Node
with Node() as node:
    print(node.kubeconfig, node.pid, flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def possible() -> None:
    if reason := obstacle():
        cannot(f"no node can be run: {reason}")


@pytest.fixture
def other() -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A node that another process runs, and its folder."""
    process = subprocess.Popen([sys.executable, "-c", RUN_ONE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    kubeconfig, _ = process.stdout.readline().split()
    yield process, Path(kubeconfig).parent
    process.kill()
    process.communicate()


def left_of(folder: Path) -> list[str]:
    """What is left on the machine of a node: its folder, its cgroups, processes and mounts that name it."""
    groups = [str(hierarchy / folder.name) for hierarchy in cgroups.hierarchies()]
    left = [path for path in (str(folder), *groups) if os.path.exists(path)]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = [(process / part).read_bytes().decode(errors="replace") for part in ("cmdline", "mountinfo")]
        except OSError:  # it has ended meanwhile
            continue
        if any(folder.name in text for text in told) and process.name != str(os.getpid()):
            left.append(f"{process.name}: {told[0]}")
    return left


def test_a_node_and_another_one_beside_it_leave_nothing(other: tuple["subprocess.Popen[str]", Path]) -> None:
    process, folder = other
    assert left_of(folder)
    with Node() as node:
        own = node.kubeconfig.parent
        assert node.read("/api/v1/nodes")["items"][0]["metadata"]["name"] == "node1"
        assert node.inside("ip", "route").stdout.startswith("default dev node0")
        # A Service's address is reached from the node's network, and from no other.
        script = f"import socket; socket.create_connection(('10.96.0.1', 443), timeout={HANG_SECONDS})"
        reach = (sys.executable, "-c", script)
        assert node.run(*reach).returncode == 0
    assert left_of(own) == []
    assert left_of(folder)
    process.send_signal(signal.SIGINT)
    process.wait(HANG_SECONDS)
    assert left_of(folder) == []


def test_a_run_that_is_killed_leaves_nothing(other: tuple["subprocess.Popen[str]", Path]) -> None:
    process, folder = other
    assert left_of(folder)
    process.kill()
    process.wait()
    eventually(lambda: not left_of(folder), "nothing is left")


def test_a_part_that_ends_by_itself_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.environment.node import settings

    wrong = {**settings.commands(), "kube-proxy": ["/node/k8s", "kube-proxy", "--config=/nowhere"]}
    monkeypatch.setattr(settings, "commands", lambda: dict(wrong))

    def run_until_a_part_ends() -> None:
        with Node() as node:
            node.wait()  # the node may be ready before that
            node._check()

    with pytest.raises(NodeError, match=r"(?s)kube-proxy ended by itself.*nowhere"):
        run_until_a_part_ends()
