"""The control plane for tests: the properties that other tests rely on."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kubernetes
import pytest

from hack import guard
from hack.files import ROOT
from hack.kubectl import KubectlError
from tests.support import controlplane
from tests.support.controlplane import EXISTING_CLUSTER, ControlPlane
from tests.support.controlplane_processes import BINARIES, ControlPlaneError
from tests.support.waiting import HANG_SECONDS

READ_CONFIG = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
READ_NODES = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}


@pytest.fixture
def own_control_plane(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, if these tests may stop it."""
    if not control_plane.owned:
        pytest.skip("the tests did not start the cluster, and cannot stop it")
    return control_plane


@pytest.fixture
def processes() -> Iterator[list[int]]:
    """The processes of a test. Those that a failed test leaves are killed."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_end(descriptor: int) -> bool:
    """Wait for the end of a process, given by its descriptor. Returns whether it ended in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        return bool(poll.poll(int(HANG_SECONDS * 1000)))
    finally:
        os.close(descriptor)


@pytest.mark.skipif(bool({EXISTING_CLUSTER, BINARIES} & os.environ.keys()), reason="the version is configured")
def test_the_api_server_has_the_version_of_its_source(control_plane: ControlPlane) -> None:
    assert kubernetes.client.VersionApi(control_plane.api()).get_code().git_version == "v1.37.2"


def test_kubectl_and_the_client_see_the_same_objects(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "greeting", "--from-literal=text=hello", "--namespace", namespace)

    found = kubernetes.client.CoreV1Api(control_plane.api()).read_namespaced_config_map("greeting", namespace)

    assert found.data == {"text": "hello"}


def test_kubectl_reads_manifests_from_standard_input(control_plane: ControlPlane, namespace: str) -> None:
    manifest = (
        f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "piped", "namespace": "{namespace}"}}}}'
    )

    assert control_plane.kubectl("apply", "-f", "-", input=manifest).stdout == "configmap/piped created\n"


def test_a_failed_kubectl_raises_an_error_with_its_output(control_plane: ControlPlane) -> None:
    with pytest.raises(KubectlError, match='namespaces "nowhere" not found'):
        control_plane.kubectl("get", "namespace", "nowhere")


def test_a_failed_kubectl_without_check_returns_its_exit_code(control_plane: ControlPlane) -> None:
    assert control_plane.kubectl("get", "namespace", "nowhere", check=False).returncode == 1


def test_kubectl_does_not_use_the_kubeconfig_of_the_user(
    own_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "production"))
    monkeypatch.setenv("HOME", str(tmp_path))

    server = own_control_plane.kubectl(
        "config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}"
    ).stdout

    assert server.startswith("https://127.0.0.1:")
    assert own_control_plane.kubectl("get", "namespaces").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_service_account_has_only_the_permissions_of_its_rules(control_plane: ControlPlane, namespace: str) -> None:
    reader = control_plane.service_account(namespace, "reader", rules=[READ_CONFIG])

    assert control_plane.kubectl("get", "configmaps", kubeconfig=reader).returncode == 0
    for forbidden in (
        ["get", "secrets"],
        ["create", "configmap", "mine"],
        ["get", "configmaps", "--namespace", "default"],
        ["get", "nodes"],
    ):
        with pytest.raises(KubectlError, match=f"(?i)forbidden: User .*{namespace}:reader"):
            control_plane.kubectl(*forbidden, kubeconfig=reader)


def test_cluster_rules_apply_in_all_namespaces(control_plane: ControlPlane, namespace: str) -> None:
    reader = control_plane.service_account(namespace, "reader", cluster_rules=[READ_CONFIG, READ_NODES])

    core = kubernetes.client.CoreV1Api(control_plane.api(reader))

    assert core.list_node().kind == "NodeList"
    assert core.list_namespaced_config_map("default").kind == "ConfigMapList"
    with pytest.raises(kubernetes.client.ApiException, match="403"):
        core.list_namespaced_secret("default")


def test_credentials_work_for_an_existing_service_account(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)

    path = control_plane.credentials(namespace, "operator")

    user = control_plane.kubectl("auth", "whoami", "--output", "jsonpath={.status.userInfo.username}", kubeconfig=path)
    assert user.stdout == f"system:serviceaccount:{namespace}:operator"
    assert path.stat().st_mode & 0o077 == 0


def test_a_restarted_control_plane_keeps_its_address_credentials_and_objects(
    own_control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = own_control_plane.service_account(namespace, "reader", rules=[READ_CONFIG])
    own_control_plane.kubectl("create", "configmap", "kept", "--namespace", namespace)

    own_control_plane.restart()

    assert (
        own_control_plane.kubectl("get", "configmap", "kept", "--output", "name", kubeconfig=kubeconfig).stdout
        == "configmap/kept\n"
    )


def test_a_frozen_control_plane_does_not_respond_until_it_thaws(
    own_control_plane: ControlPlane, namespace: str
) -> None:
    own_control_plane.kubectl("create", "configmap", "kept", "--namespace", namespace)

    own_control_plane.freeze()
    try:
        result = own_control_plane.kubectl(
            "get", "configmaps", "--namespace", namespace, "--request-timeout", "500ms", check=False
        )
    finally:
        own_control_plane.thaw()

    assert "exceeded" in result.stderr, "kubectl reports the timeout in one of two ways"
    assert own_control_plane.kubectl("get", "configmap", "kept", "--namespace", namespace).returncode == 0


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.usefixtures("own_control_plane")
def test_a_stopped_control_plane_leaves_no_process_and_no_folder(frozen: bool) -> None:
    with ControlPlane() as running:
        folder = running.kubeconfig.parent
        processes = [pid for pid in children(os.getpid()) if str(folder) in Path(f"/proc/{pid}/cmdline").read_text()]
        if frozen:
            running.freeze()

    assert len(processes) >= 2, "the guard and at least one process"
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    assert not folder.exists()
    with pytest.raises(ControlPlaneError, match="not running"):
        running.kubectl("version")


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.usefixtures("own_control_plane")
def test_a_killed_control_plane_leaves_no_process_and_no_folder(frozen: bool, processes: list[int]) -> None:
    command = [sys.executable, "-m", controlplane.__name__]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout
        processes.append(run.pid)
        folder = Path(run.stdout.readline().strip()).parent
        processes += children(run.pid)
        descriptors = [os.pidfd_open(pid) for pid in children(run.pid)]
        assert len(descriptors) >= 2, "the guard and at least one process"
        if frozen:
            for pid in children(run.pid):
                if guard.__file__ not in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGSTOP)
        run.kill()

    for descriptor in descriptors:
        assert wait_for_end(descriptor)
    assert not folder.exists()


def test_the_foreground_command_exits_with_0_on_sigterm(own_control_plane: ControlPlane, processes: list[int]) -> None:
    command = [sys.executable, "-m", controlplane.__name__]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout
        processes.append(run.pid)
        kubeconfig = Path(run.stdout.readline().strip())
        own_control_plane.kubectl("get", "namespaces", kubeconfig=kubeconfig)
        run.terminate()

    assert run.returncode == 0
    assert not kubeconfig.parent.exists()


def test_an_existing_cluster_is_cleaned_up_after_the_tests_and_never_stopped(
    own_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXISTING_CLUSTER, str(own_control_plane.kubeconfig))

    with ControlPlane() as borrowed:
        borrowed.namespace("borrowed")
        borrowed.service_account("borrowed", "reader", cluster_rules=[READ_CONFIG])
        own_control_plane.kubectl("get", "clusterrole", "borrowed-reader")
        for forbidden in (borrowed.restart, borrowed.freeze, borrowed.thaw):
            with pytest.raises(ControlPlaneError, match="cannot stop it"):
                forbidden()

    phase = own_control_plane.kubectl(
        "get", "namespace", "borrowed", "--output", "jsonpath={.status.phase}", check=False
    ).stdout
    assert phase in ("", "Terminating")
    assert (
        own_control_plane.kubectl("get", "clusterroles,clusterrolebindings", "--output", "name").stdout.count(
            "borrowed"
        )
        == 0
    )


def test_an_existing_cluster_with_a_missing_kubeconfig_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(EXISTING_CLUSTER, str(tmp_path / "gone"))

    with pytest.raises(ControlPlaneError, match=r"gone, which is not a file"):
        ControlPlane().start()


def test_a_missing_binary_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(EXISTING_CLUSTER, raising=False)
    monkeypatch.setenv(BINARIES, str(tmp_path))

    with pytest.raises(ControlPlaneError, match="etcd: No such file or directory"):
        ControlPlane().start()


def test_a_control_plane_that_cannot_start_raises_an_error_with_its_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(EXISTING_CLUSTER, raising=False)
    monkeypatch.setenv(BINARIES, str(tmp_path))
    for name in ("etcd", "kube-apiserver"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
        program.chmod(0o755)

    with pytest.raises(ControlPlaneError, match="the disk is full"):
        ControlPlane().start()
