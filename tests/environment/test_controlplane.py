"""The control plane is what the other tests stand on: what they take for granted of it is checked here."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kubernetes
import pytest

from tests.environment import controlplane, guard
from tests.environment.build import ROOT
from tests.environment.controlplane import BINARIES, EXISTING_CLUSTER, ControlPlane, ControlPlaneError, KubectlError
from tests.environment.waiting import HANG_SECONDS

READ_CONFIG = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
READ_NODES = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}


@pytest.fixture
def own(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, if it is one that may be stopped."""
    if not control_plane.owned:
        pytest.skip("the cluster is not ours to stop")
    return control_plane


@pytest.fixture
def processes() -> Iterator[list[int]]:
    """The processes of this test that might outlive it if it fails."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ends(descriptor: int) -> bool:
    """Wait for the end of a process, given by its descriptor, and tell whether it came in time."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    try:
        return bool(waiting.poll(int(HANG_SECONDS * 1000)))
    finally:
        os.close(descriptor)


@pytest.mark.skipif(bool({EXISTING_CLUSTER, BINARIES} & os.environ.keys()), reason="another version was given")
def test_it_serves_the_version_that_it_was_built_from(control_plane: ControlPlane) -> None:
    assert kubernetes.client.VersionApi(control_plane.api()).get_code().git_version == "v1.37.2"


def test_kubectl_and_the_client_see_the_same_objects(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "greeting", "--from-literal=text=hello", "--namespace", namespace)

    found = kubernetes.client.CoreV1Api(control_plane.api()).read_namespaced_config_map("greeting", namespace)

    assert found.data == {"text": "hello"}


def test_kubectl_takes_manifests_from_its_input(control_plane: ControlPlane, namespace: str) -> None:
    manifest = (
        f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "piped", "namespace": "{namespace}"}}}}'
    )

    assert control_plane.kubectl("apply", "-f", "-", input=manifest).stdout == "configmap/piped created\n"


def test_a_failed_kubectl_says_what_kubectl_said(control_plane: ControlPlane) -> None:
    with pytest.raises(KubectlError, match='namespaces "nowhere" not found'):
        control_plane.kubectl("get", "namespace", "nowhere")


def test_a_failed_kubectl_can_be_looked_at_instead(control_plane: ControlPlane) -> None:
    assert control_plane.kubectl("get", "namespace", "nowhere", check=False).returncode == 1


def test_the_users_own_context_is_never_touched(
    own: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "production"))
    monkeypatch.setenv("HOME", str(tmp_path))

    shown = own.kubectl("config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}").stdout

    assert shown.startswith("https://127.0.0.1:")
    assert own.kubectl("get", "namespaces").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_service_account_may_do_what_its_rules_say_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    reader = control_plane.service_account(namespace, "reader", rules=[READ_CONFIG])

    assert control_plane.kubectl("get", "configmaps", kubeconfig=reader).returncode == 0
    for refused in (
        ["get", "secrets"],
        ["create", "configmap", "mine"],
        ["get", "configmaps", "--namespace", "default"],
        ["get", "nodes"],
    ):
        with pytest.raises(KubectlError, match=f"(?i)forbidden: User .*{namespace}:reader"):
            control_plane.kubectl(*refused, kubeconfig=reader)


def test_cluster_rules_hold_everywhere(control_plane: ControlPlane, namespace: str) -> None:
    reader = control_plane.service_account(namespace, "reader", cluster_rules=[READ_CONFIG, READ_NODES])

    core = kubernetes.client.CoreV1Api(control_plane.api(reader))

    assert core.list_node().kind == "NodeList"
    assert core.list_namespaced_config_map("default").kind == "ConfigMapList"
    with pytest.raises(kubernetes.client.ApiException, match="403"):
        core.list_namespaced_secret("default")


def test_an_account_made_by_a_manifest_gets_credentials_too(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)

    path = control_plane.credentials(namespace, "operator")

    who = control_plane.kubectl("auth", "whoami", "--output", "jsonpath={.status.userInfo.username}", kubeconfig=path)
    assert who.stdout == f"system:serviceaccount:{namespace}:operator"
    assert path.stat().st_mode & 0o077 == 0


def test_a_restart_keeps_address_credentials_and_objects(own: ControlPlane, namespace: str) -> None:
    account = own.service_account(namespace, "reader", rules=[READ_CONFIG])
    own.kubectl("create", "configmap", "kept", "--namespace", namespace)

    own.restart()

    assert own.kubectl("get", "configmap", "kept", "--output", "name", kubeconfig=account).stdout == "configmap/kept\n"


def test_a_frozen_control_plane_answers_nothing_until_it_thaws(own: ControlPlane, namespace: str) -> None:
    own.kubectl("create", "configmap", "kept", "--namespace", namespace)

    own.freeze()
    try:
        silent = own.kubectl("get", "configmaps", "--namespace", namespace, "--request-timeout", "500ms", check=False)
    finally:
        own.thaw()

    assert "exceeded" in silent.stderr, "the time, said in one of two ways"
    assert own.kubectl("get", "configmap", "kept", "--namespace", namespace).returncode == 0


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.usefixtures("own")
def test_a_stopped_control_plane_leaves_nothing_behind(frozen: bool) -> None:
    with ControlPlane() as running:
        folder = running.kubeconfig.parent
        mine = [pid for pid in children(os.getpid()) if str(folder) in Path(f"/proc/{pid}/cmdline").read_text()]
        if frozen:
            running.freeze()

    assert len(mine) >= 2, "its guard and at least one process"
    assert not [pid for pid in mine if Path(f"/proc/{pid}").exists()]
    assert not folder.exists()
    with pytest.raises(ControlPlaneError, match="not running"):
        running.kubectl("version")


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.usefixtures("own")
def test_a_killed_run_leaves_nothing_behind(frozen: bool, processes: list[int]) -> None:
    command = [sys.executable, "-m", controlplane.__name__]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout
        processes.append(run.pid)
        folder = Path(run.stdout.readline().strip()).parent
        processes += children(run.pid)
        endings = [os.pidfd_open(pid) for pid in children(run.pid)]
        assert len(endings) >= 2, "its guard and at least one process"
        if frozen:
            for pid in children(run.pid):
                if guard.__file__ not in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGSTOP)
        run.kill()

    for descriptor in endings:
        assert ends(descriptor)
    assert not folder.exists()


def test_the_foreground_command_ends_cleanly_when_told_to(own: ControlPlane, processes: list[int]) -> None:
    command = [sys.executable, "-m", controlplane.__name__]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout
        processes.append(run.pid)
        kubeconfig = Path(run.stdout.readline().strip())
        own.kubectl("get", "namespaces", kubeconfig=kubeconfig)
        run.terminate()

    assert run.returncode == 0
    assert not kubeconfig.parent.exists()


def test_an_existing_cluster_is_used_and_tidied_up_but_never_stopped(
    own: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXISTING_CLUSTER, str(own.kubeconfig))

    with ControlPlane() as borrowed:
        borrowed.namespace("borrowed")
        borrowed.service_account("borrowed", "reader", cluster_rules=[READ_CONFIG])
        own.kubectl("get", "clusterrole", "borrowed-reader")
        for refused in (borrowed.restart, borrowed.freeze, borrowed.thaw):
            with pytest.raises(ControlPlaneError, match="not ours"):
                refused()

    left = own.kubectl("get", "namespace", "borrowed", "--output", "jsonpath={.status.phase}", check=False).stdout
    assert left in ("", "Terminating")
    assert own.kubectl("get", "clusterroles,clusterrolebindings", "--output", "name").stdout.count("borrowed") == 0


def test_an_existing_cluster_without_its_kubeconfig_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(EXISTING_CLUSTER, str(tmp_path / "gone"))

    with pytest.raises(ControlPlaneError, match=r"gone, which is no file"):
        ControlPlane().start()


def test_missing_binaries_are_told_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(EXISTING_CLUSTER, raising=False)
    monkeypatch.setenv(BINARIES, str(tmp_path))

    with pytest.raises(ControlPlaneError, match="etcd: No such file or directory"):
        ControlPlane().start()


def test_a_control_plane_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(EXISTING_CLUSTER, raising=False)
    monkeypatch.setenv(BINARIES, str(tmp_path))
    for name in ("etcd", "kube-apiserver"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
        program.chmod(0o755)

    with pytest.raises(ControlPlaneError, match="the disk is full"):
        ControlPlane().start()
