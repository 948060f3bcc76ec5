"""The chart on a real node: its pods are what they are meant to be, a survey goes out, and it goes out once whatever
happens to the pods in mid-run.

A run in the middle is one that the sandbox holds at a call that the test names, so that it is no matter of luck. All in
one module, because a module stays with one worker: one node is enough.
"""

import json
import threading
from typing import Any

import pytest

from tests.environment.controlplane import KubectlError
from tests.environment.image import Image
from tests.environment.node.installation import NAMESPACE, RELEASE, Installation
from tests.environment.stage import AppliedExporter
from tests.environment.waiting import HANG, eventually

MOST_MEMORY = 150 * 1024 * 1024
"""Bytes that the operator may have had at most with a few exporters. It was 95 MB when this was written."""

"""Seconds: a Lease that was not given back is waited for, 15 seconds, and a look-up may come after it."""

# The pods


def python(dex: Installation, pod: str, script: str) -> str:
    """Run a script by the Python of the operator's container."""
    return dex.kubectl("exec", pod, "--container", "controller", "--", "python3", "-c", script).strip()


def test_its_pods_run_the_image_that_was_built(dex: Installation, image: Image) -> None:
    pods = dex.pods()
    assert len(pods) == 2
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["image"], status["restartCount"]) == (image.name, 0)
        assert status["imageID"].endswith(image.configuration_digest)


def test_its_namespace_takes_only_pods_that_pass_the_restricted_standard(dex: Installation, image: Image) -> None:
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        dex.kubectl("run", "any", f"--image={image.name}")


def test_its_container_really_has_no_rights_and_cannot_write(dex: Installation) -> None:
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
def goes_out(installed: Installation) -> AppliedExporter:
    """An exporter that has run once."""
    exporter = installed.exporter("goes-out", people("goes-out"))
    assert exporter.checked()["status"] == "True"
    exporter.annotate(run_requested_at="now")
    exporter.ended()
    return exporter


def test_a_survey_goes_out_to_exactly_the_people_of_the_query(dex: Installation, goes_out: AppliedExporter) -> None:
    (entry,) = goes_out.history()
    assert (entry["result"], entry["recipients"]["imported"]) == ("Succeeded", 3)
    assert_sent_once(dex, goes_out)
    assert [sent["id"] for sent in dex.sandbox.distributions(goes_out.name)] == [entry["distributionId"]]


def test_helm_test_passes_and_leaves_nothing(dex: Installation) -> None:
    assert "Phase:          Succeeded" in dex.helm.test(RELEASE, namespace=NAMESPACE)
    assert f"{RELEASE}-test" not in dex.kubectl("get", "pods", "--output", "name")


def test_its_logs_are_json_and_name_nobody(dex: Installation, goes_out: AppliedExporter) -> None:
    lines = [line for pod in dex.pods() for line in dex.kubectl("logs", pod["metadata"]["name"]).splitlines()]
    assert any(f"dex/{goes_out.name}" in json.loads(line)["message"] for line in lines)
    assert not [line for line in lines if "@" in line or "sandbox-secret" in line]


def test_it_needs_little_memory(dex: Installation) -> None:
    peak = int(python(dex, dex.leader(), "print(open('/proc/1/status').read().split('VmHWM:')[1].split()[0])")) * 1024
    assert peak < MOST_MEMORY


# In mid-run


def begun(dex: Installation, name: str, operation: str, when: str = "before") -> AppliedExporter:
    """An exporter in mid-run, held at that call."""
    exporter = dex.exporter(name, people(name))
    assert exporter.checked()["status"] == "True"
    dex.sandbox.hold(operation, when)
    exporter.annotate(run_requested_at="now")
    dex.sandbox.reached(operation)
    return exporter


def people(name: str) -> list[str]:
    """Whom the query of an exporter returns: nobody else gets a mail of that subject."""
    return [f"{name}-{number}@example.com" for number in range(3)]


def ended(exporter: AppliedExporter) -> dict[str, Any]:
    """The entry of its run, with more patience."""
    entry: dict[str, Any] = eventually(lambda: next(iter(exporter.history()), None), f"{exporter.name} has an entry")
    return entry


def assert_sent_once(dex: Installation, exporter: AppliedExporter) -> None:
    """One distribution of that exporter, and one mail for each of its people."""
    (sent,) = dex.sandbox.distributions(exporter.name)
    assert sorted(sent["recipients"]) == people(exporter.name)
    mails = dex.sandbox.ledger()["mails"]
    assert {address: mails[address] for address in sent["recipients"]} == dict.fromkeys(people(exporter.name), 1)


def is_leaving(dex: Installation, pod: str) -> bool:
    """Whether a pod was asked to end, or is gone."""
    return pod not in {present["metadata"]["name"] for present in dex.pods()}


def evict(dex: Installation, pod: str) -> int:
    """Evict a pod as `kubectl drain` does; returns the HTTP status of the answer."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    done = dex.node.kubectl("create", "--raw", path, "--filename", "-", input=json.dumps(body), check=False)
    return 201 if done.returncode == 0 else 429 if "TooManyRequests" in done.stderr else 500


def test_a_container_killed_after_the_send_went_out_sends_nothing_more(dex: Installation) -> None:
    exporter = begun(dex, "killed", "qualtrics.create_distribution", "after")
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


def test_a_rolling_update_waits_for_the_send_that_is_under_way(dex: Installation) -> None:
    exporter = begun(dex, "rolled", "qualtrics.create_distribution")
    old = dex.leader()
    before = {pod["metadata"]["name"] for pod in dex.pods()}
    dex.upgrade(podAnnotations={"example.com/rolled": "yes"})
    eventually(lambda: is_leaving(dex, old), "the leader is asked to end")
    dex.sandbox.release()
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
    dex.kubectl("rollout", "status", "deployment/qualtrics-exporter", f"--timeout={HANG}")
    assert not before & {pod["metadata"]["name"] for pod in dex.pods()}


def test_an_evicted_leader_hands_its_run_over_and_the_budget_keeps_the_other_pod(dex: Installation) -> None:
    exporter = begun(dex, "evicted", "qualtrics.import_contacts")
    leader = dex.leader()
    (other,) = {pod["metadata"]["name"] for pod in dex.pods()} - {leader}
    assert evict(dex, leader) == 201
    assert evict(dex, other) == 429
    eventually(lambda: is_leaving(dex, leader), "the leader is asked to end")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
    assert dex.leader() == other


def test_when_the_leaders_pod_is_deleted_in_mid_run_the_other_replica_ends_it(dex: Installation) -> None:
    exporter = begun(dex, "deleted", "nexthink.execute")
    leader = dex.leader()
    deleting = threading.Thread(target=dex.kubectl, args=("delete", "pod", leader), name="kubectl delete")
    deleting.start()
    eventually(lambda: is_leaving(dex, leader), "the leader is asked to end")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    deleting.join()
    assert_sent_once(dex, exporter)


@pytest.mark.long
def test_a_pod_that_is_gone_at_once_while_it_sends_is_looked_up_and_sends_nothing_more(dex: Installation) -> None:
    exporter = begun(dex, "forced", "qualtrics.create_distribution", "after")
    dex.kubectl("delete", "pod", dex.leader(), "--force", "--grace-period=0")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, exporter)
