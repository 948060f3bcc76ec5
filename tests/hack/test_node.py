"""The node for tests: it cleans up when it stops or is killed, and two nodes can run side by side."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.node import cgroups, settings
from hack.node.node import Node, NodeError, unsupported_reason
from tests.conftest import skip_outside_ci
from tests.support.waiting import HANG_SECONDS, eventually

RUN_NODE = """\
import sys, time
from hack.node.node import Node
with Node() as node:
    print(node.kubeconfig, node.pid, flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def require_node_support() -> None:
    if reason := unsupported_reason():
        skip_outside_ci(f"no node can be run: {reason}")


@pytest.fixture
def other_node() -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that runs another node, and the folder of that node."""
    process = subprocess.Popen([sys.executable, "-c", RUN_NODE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    kubeconfig, _ = process.stdout.readline().split()
    yield process, Path(kubeconfig).parent
    process.kill()
    process.communicate()


def remains_of(folder: Path) -> list[str]:
    """What remains of a node on the machine: its folder, its cgroups, and processes whose command or mounts name it."""
    cgroup_folders = [str(hierarchy / folder.name) for hierarchy in cgroups.hierarchies()]
    remains = [path for path in (str(folder), *cgroup_folders) if os.path.exists(path)]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            texts = [(process / part).read_bytes().decode(errors="replace") for part in ("cmdline", "mountinfo")]
        except OSError:  # the process has ended
            continue
        if any(folder.name in text for text in texts) and process.name != str(os.getpid()):
            remains.append(f"{process.name}: {texts[0]}")
    return remains


def test_two_nodes_run_side_by_side_and_leave_nothing_when_they_stop(
    other_node: tuple["subprocess.Popen[str]", Path],
) -> None:
    process, folder = other_node
    assert remains_of(folder)
    with Node() as node:
        own_folder = node.kubeconfig.parent
        assert node.read("/api/v1/nodes")["items"][0]["metadata"]["name"] == "node1"
        assert node.inside("ip", "route").stdout.startswith("default dev node0")
        # Only the network of the node reaches the address of a Service.
        script = f"import socket; socket.create_connection(('10.96.0.1', 443), timeout={HANG_SECONDS})"
        command = (sys.executable, "-c", script)
        assert node.run(*command).returncode == 0
    assert remains_of(own_folder) == []
    assert remains_of(folder)
    process.send_signal(signal.SIGINT)
    process.wait(HANG_SECONDS)
    assert remains_of(folder) == []


def test_a_killed_node_leaves_nothing(other_node: tuple["subprocess.Popen[str]", Path]) -> None:
    process, folder = other_node
    assert remains_of(folder)
    process.kill()
    process.wait()
    eventually(lambda: not remains_of(folder), "nothing is left")


def test_a_component_of_the_node_that_exits_is_reported_with_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {**settings.commands(), "kube-proxy": ["/node/k8s", "kube-proxy", "--config=/nowhere"]}
    monkeypatch.setattr(settings, "commands", lambda: dict(commands))

    def run_until_a_component_exits() -> None:
        with Node() as node:
            node.wait()  # the node may be ready before kube-proxy exits
            node._check()

    with pytest.raises(NodeError, match=r"(?s)kube-proxy exited unexpectedly.*nowhere"):
        run_until_a_component_exits()
