"""The chart on a real node: its pods are confined, and a survey is sent once, also if pods end during its run.

To interrupt a run at a known step, the sandbox holds it at a call that the test chooses. All tests are in one module,
because pytest runs a module in one worker, so they share one node.
"""

import json
import threading
from typing import Any

import pytest

from hack.image.archive import Image
from hack.kubectl import KubectlError
from tests.support.applied_exporter import AppliedExporter
from tests.support.installation import NAMESPACE, RELEASE, Installation
from tests.support.waiting import HANG, eventually

PEAK_MEMORY_LIMIT = 150 * 1024 * 1024
"""Limit in bytes for the peak of the operator with a few exporters. The peak was 95 MB when this limit was set."""

# The pods


def python(dex: Installation, pod: str, script: str) -> str:
    """Run a script with the Python of the operator's container."""
    return dex.kubectl("exec", pod, "--container", "controller", "--", "python3", "-c", script).strip()


def test_both_pods_run_the_built_image_without_restarts(dex: Installation, image: Image) -> None:
    pods = dex.pods()
    assert len(pods) == 2
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["image"], status["restartCount"]) == (image.name, 0)
        assert status["imageID"].endswith(image.configuration_digest)


def test_namespace_of_the_operator_enforces_the_restricted_standard(dex: Installation, image: Image) -> None:
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        dex.kubectl("run", "any", f"--image={image.name}")


def test_container_of_the_operator_has_no_capabilities_and_cannot_write_files(dex: Installation) -> None:
    script = """
import errno, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(os.getuid(), os.getgid(), os.getgroups())
print({status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd")})
print(status["NoNewPrivs"].strip(), status["Seccomp"].strip())
for path in ("/", "/tmp", "/opt/qualtrics-exporter"):
    try:
        open(path + "/x", "w")
    except OSError as error:
        print(path, errno.errorcode[error.errno])
"""
    assert python(dex, dex.leader(), script).splitlines() == [
        "65532 65532 [65532]",
        "{'0000000000000000'}",
        "1 2",
        "/ EROFS",
        "/tmp EROFS",
        "/opt/qualtrics-exporter EROFS",
    ]


@pytest.fixture(scope="module")
def finished(installed: Installation) -> AppliedExporter:
    """An exporter that has run once."""
    exporter = installed.exporter("finished", people("finished"))
    assert exporter.checked()["status"] == "True"
    exporter.annotate(run_requested_at="now")
    exporter.ended()
    return exporter


def test_run_mails_exactly_the_people_of_the_query(dex: Installation, finished: AppliedExporter) -> None:
    (entry,) = finished.history()
    assert (entry["result"], entry["recipients"]["imported"]) == ("Succeeded", 3)
    assert_sent_once(dex, finished)
    assert [sent["id"] for sent in dex.sandbox.distributions(finished.name)] == [entry["distributionId"]]


def test_helm_test_passes_and_leaves_no_pod(dex: Installation) -> None:
    assert "Phase:          Succeeded" in dex.helm.test(RELEASE, namespace=NAMESPACE)
    assert f"{RELEASE}-test" not in dex.kubectl("get", "pods", "--output", "name")


def test_logs_are_json_without_addresses_and_secrets(dex: Installation, finished: AppliedExporter) -> None:
    lines = [line for pod in dex.pods() for line in dex.kubectl("logs", pod["metadata"]["name"]).splitlines()]
    assert any(f"dex/{finished.name}" in json.loads(line)["message"] for line in lines)
    assert not [line for line in lines if "@" in line or "sandbox-secret" in line]


def test_operator_with_few_exporters_needs_less_than_150_mib_of_memory(dex: Installation) -> None:
    peak = int(python(dex, dex.leader(), "print(open('/proc/1/status').read().split('VmHWM:')[1].split()[0])")) * 1024
    assert peak < PEAK_MEMORY_LIMIT


# Interrupted runs


def held_run(dex: Installation, name: str, operation: str, when: str = "before") -> AppliedExporter:
    """Create an exporter and start a run, which the sandbox holds at the call `operation`."""
    exporter = dex.exporter(name, people(name))
    assert exporter.checked()["status"] == "True"
    dex.sandbox.hold(operation, when)
    exporter.annotate(run_requested_at="now")
    dex.sandbox.reached(operation)
    return exporter


def people(name: str) -> list[str]:
    """The people that the query of the exporter returns. No other exporter mails them."""
    return [f"{name}-{number}@example.com" for number in range(3)]


def ended(exporter: AppliedExporter) -> dict[str, Any]:
    """Wait for the end of the run; returns its entry."""
    entry: dict[str, Any] = eventually(lambda: next(iter(exporter.history()), None), f"{exporter.name} has an entry")
    return entry


def assert_sent_once(dex: Installation, exporter: AppliedExporter) -> None:
    """Assert that the exporter has one distribution, and each of its people one mail."""
    (sent,) = dex.sandbox.distributions(exporter.name)
    assert sorted(sent["recipients"]) == people(exporter.name)
    mails = dex.sandbox.record()["mails"]
    assert {address: mails[address] for address in sent["recipients"]} == dict.fromkeys(people(exporter.name), 1)


def is_terminating(dex: Installation, pod: str) -> bool:
    """Tell whether the pod is terminating or deleted."""
    return pod not in {present["metadata"]["name"] for present in dex.pods()}


def evict(dex: Installation, pod: str) -> int:
    """Evict a pod as `kubectl drain` does; returns the HTTP status of the answer."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    done = dex.node.kubectl("create", "--raw", path, "--filename", "-", input=json.dumps(body), check=False)
    return 201 if done.returncode == 0 else 429 if "TooManyRequests" in done.stderr else 500


def test_container_killed_after_its_send_does_not_send_again(dex: Installation) -> None:
    exporter = held_run(dex, "killed", "qualtrics.create_distribution", "after")
    leader = dex.leader()
    (status,) = next(pod for pod in dex.pods() if pod["metadata"]["name"] == leader)["status"]["containerStatuses"]
    container = status["containerID"].removeprefix("containerd://")
    killed = dex.node.inside("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container)
    assert killed.returncode == 0, killed.stderr
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
    restarted = next(pod for pod in dex.pods() if pod["metadata"]["name"] == leader)
    assert restarted["status"]["containerStatuses"][0]["restartCount"] == 1


def test_rolling_update_waits_for_a_send_in_progress(dex: Installation) -> None:
    exporter = held_run(dex, "rolled", "qualtrics.create_distribution")
    old = dex.leader()
    before = {pod["metadata"]["name"] for pod in dex.pods()}
    dex.upgrade(podAnnotations={"example.com/rolled": "yes"})
    eventually(lambda: is_terminating(dex, old), "the leader is terminating")
    dex.sandbox.release()
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
    dex.kubectl("rollout", "status", "deployment/qualtrics-exporter", f"--timeout={HANG}")
    assert not before & {pod["metadata"]["name"] for pod in dex.pods()}


def test_other_pod_finishes_the_run_of_an_evicted_leader_and_is_protected_by_the_budget(dex: Installation) -> None:
    exporter = held_run(dex, "evicted", "qualtrics.import_contacts")
    leader = dex.leader()
    (other,) = {pod["metadata"]["name"] for pod in dex.pods()} - {leader}
    assert evict(dex, leader) == 201
    assert evict(dex, other) == 429
    eventually(lambda: is_terminating(dex, leader), "the leader is terminating")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
    assert dex.leader() == other


def test_other_replica_finishes_the_run_of_a_deleted_leader(dex: Installation) -> None:
    exporter = held_run(dex, "deleted", "nexthink.execute")
    leader = dex.leader()
    deleting = threading.Thread(target=dex.kubectl, args=("delete", "pod", leader), name="kubectl delete")
    deleting.start()
    eventually(lambda: is_terminating(dex, leader), "the leader is terminating")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    deleting.join()
    assert_sent_once(dex, exporter)


@pytest.mark.long
def test_send_of_a_force_deleted_pod_is_looked_up_and_not_repeated(dex: Installation) -> None:
    exporter = held_run(dex, "forced", "qualtrics.create_distribution", "after")
    dex.kubectl("delete", "pod", dex.leader(), "--force", "--grace-period=0")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
