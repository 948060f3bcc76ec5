"""What happens to pods in mid-run on a real node, and that nobody is mailed twice by it.

A run is held by the sandbox at the call that a test names, so that "in mid-run" is no matter of luck.
"""

import json
import threading
from typing import Any

import pytest

from tests.environment.node.installation import NAMESPACE, Installation
from tests.environment.stage import AppliedExporter
from tests.environment.waiting import eventually

PATIENCE = 120.0
"""Seconds: a Lease that was not given back is waited for, 15 seconds, and a look-up may come after it."""


def begun(dex: Installation, name: str, operation: str, when: str = "before") -> tuple[AppliedExporter, list[str]]:
    """An exporter in mid-run, held at that call; and its people."""
    people = [f"{name}-{number}@example.com" for number in range(3)]
    exporter = dex.exporter(name, people)
    assert exporter.checked()["status"] == "True"
    dex.sandbox.hold(operation, when)
    exporter.annotate(run_requested_at="now")
    dex.sandbox.reached(operation)
    return exporter, people


def ended(exporter: AppliedExporter) -> dict[str, Any]:
    """The entry of its run, with more patience."""
    entry: dict[str, Any] = eventually(
        lambda: next(iter(exporter.history()), None), f"{exporter.name} has an entry", patience=PATIENCE, pause=0.2
    )
    return entry


def assert_sent_once(dex: Installation, name: str, people: list[str]) -> None:
    """One distribution with that subject, and one mail for each of the people."""
    (sent,) = dex.sandbox.distributions(name)
    assert sorted(sent["recipients"]) == people
    mails = dex.sandbox.ledger()["mails"]
    assert {address: mails[address] for address in people} == dict.fromkeys(people, 1)


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
    exporter, people = begun(dex, "killed", "qualtrics.create_distribution", "after")
    leader = dex.leader()
    (status,) = next(pod for pod in dex.pods() if pod["metadata"]["name"] == leader)["status"]["containerStatuses"]
    container = status["containerID"].removeprefix("containerd://")
    killed = dex.node.inside("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container)
    assert killed.returncode == 0, killed.stderr
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, "killed", people)
    restarted = next(pod for pod in dex.pods() if pod["metadata"]["name"] == leader)
    assert restarted["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_rolling_update_waits_for_the_send_that_is_under_way(dex: Installation) -> None:
    exporter, people = begun(dex, "rolled", "qualtrics.create_distribution")
    old = dex.leader()
    before = {pod["metadata"]["name"] for pod in dex.pods()}
    dex.upgrade(podAnnotations={"example.com/rolled": "yes"})
    eventually(lambda: is_leaving(dex, old), "the leader is asked to end")
    dex.sandbox.release()
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, "rolled", people)
    dex.kubectl("rollout", "status", "deployment/qualtrics-exporter", "--timeout=60s")
    assert not before & {pod["metadata"]["name"] for pod in dex.pods()}


def test_an_evicted_leader_hands_its_run_over_and_the_budget_keeps_the_other_pod(dex: Installation) -> None:
    exporter, people = begun(dex, "evicted", "qualtrics.import_contacts")
    leader = dex.leader()
    (other,) = {pod["metadata"]["name"] for pod in dex.pods()} - {leader}
    assert evict(dex, leader) == 201
    assert evict(dex, other) == 429
    eventually(lambda: is_leaving(dex, leader), "the leader is asked to end")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, "evicted", people)
    assert dex.leader() == other


def test_when_the_leaders_pod_is_deleted_in_mid_run_the_other_replica_ends_it(dex: Installation) -> None:
    exporter, people = begun(dex, "deleted", "nexthink.execute")
    leader = dex.leader()
    deleting = threading.Thread(target=dex.kubectl, args=("delete", "pod", leader), name="kubectl delete")
    deleting.start()
    eventually(lambda: is_leaving(dex, leader), "the leader is asked to end")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    deleting.join()
    assert_sent_once(dex, "deleted", people)


@pytest.mark.long
def test_a_pod_that_is_gone_at_once_while_it_sends_is_looked_up_and_sends_nothing_more(dex: Installation) -> None:
    exporter, people = begun(dex, "forced", "qualtrics.create_distribution", "after")
    dex.kubectl("delete", "pod", dex.leader(), "--force", "--grace-period=0")
    dex.sandbox.release(drop=True)
    assert ended(exporter)["result"] == "Succeeded"
    assert_sent_once(dex, "forced", people)
