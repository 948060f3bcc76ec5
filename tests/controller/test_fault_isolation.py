"""A problem with one replica, namespace or exporter does not affect the others, against a real API server."""

import json
from typing import Any

import pytest

from tests.support import chart_rules
from tests.support.controlplane import ControlPlane
from tests.support.operator import Operator
from tests.support.stage import Stage
from tests.support.waiting import eventually


def is_leader(operator: Operator) -> bool:
    return "qualtrics_exporter_leader 1.0" in operator.metrics()


def blind_seconds(operator: Operator, namespace: str) -> float:
    """The metric that says for how long the operator has not watched a namespace."""
    start = f'qualtrics_exporter_watch_blind_seconds{{namespace="{namespace}"}} '
    (line,) = [line for line in operator.metrics().splitlines() if line.startswith(start)]
    return float(line.removeprefix(start))


def test_replica_with_slow_lease_calls_becomes_leader(stage: Stage) -> None:
    fault_proxy = stage.fault_proxy()
    fault_proxy.fault("api.lease", times=None, delay=1.2)
    slow = stage.operator(election=True, fault_proxy=fault_proxy, start=False)
    slow.start(ready=False)
    slow.serves()
    eventually(lambda: is_leader(slow), "the slow replica leads")
    exporter = stage.exporter()
    exporter.checked()


def test_healthy_replica_becomes_leader_if_the_other_one_is_too_slow(stage: Stage) -> None:
    fault_proxy = stage.fault_proxy()
    fault_proxy.fault(
        "api.lease", times=None, delay_after=12.0
    )  # each write takes effect, but its reply comes too late
    slow = stage.operator(election=True, fault_proxy=fault_proxy, start=False)
    slow.start(ready=False)
    slow.serves()
    healthy = stage.operator(election=True, start=False)
    healthy.start(ready=False)
    healthy.serves()
    eventually(lambda: is_leader(healthy), "the healthy replica leads")
    assert not is_leader(slow)


def grant_permissions(cluster: ControlPlane, namespace: str, *, of: str, rules: list[dict[str, Any]]) -> None:
    """Grant permissions in a namespace to the operator's service account in the namespace `of`."""
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": of}
    items = [
        {"kind": "Role", "rules": rules},
        {
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "operator"},
            "subjects": [subject],
        },
    ]
    for item in items:
        item |= {"apiVersion": f"{group}/v1", "metadata": {"name": "operator", "namespace": namespace}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


@pytest.mark.parametrize("granted_at_start", [True, False], ids=["revoked later", "missing at the start"])
def test_namespace_without_permissions_is_reported_and_retried(stage: Stage, granted_at_start: bool) -> None:
    other = stage.cluster.namespace(f"{stage.namespace[:50]}-b")
    rules = [*chart_rules.namespaced()]
    kubeconfig = stage.cluster.service_account(stage.namespace, "operator", rules=rules)
    if granted_at_start:
        grant_permissions(stage.cluster, other, of=stage.namespace, rules=rules)
    fault_proxy = stage.fault_proxy()
    operator = stage.process(
        fault_proxy.kubeconfig(kubeconfig), "--namespace", stage.namespace, "--namespace", other,
        "--allowed-host", "localhost", "--no-leader-election", "--log-format", "console",
    )  # fmt: skip
    operator.start()
    exporter = stage.exporter()
    exporter.checked()

    if granted_at_start:
        eventually(lambda: blind_seconds(operator, other) == 0, "both namespaces are watched")
        stage.cluster.kubectl("delete", "rolebinding,role", "operator", "-n", other)
        fault_proxy.drop_watches()
    eventually(lambda: blind_seconds(operator, other) > 0, "the metric reports the namespace")
    eventually(lambda: f"namespace {other} is not watched" in operator.log, "the log reports the namespace")
    assert operator.get("/readyz") == 200
    exporter.annotate(run_requested_at="while-the-other-namespace-is-blind")
    assert exporter.ended()["result"] == "Succeeded"

    grant_permissions(stage.cluster, other, of=stage.namespace, rules=rules)
    stage.while_time_passes(
        lambda: eventually(lambda: blind_seconds(operator, other) == 0, "the other namespace is watched again")
    )
    assert operator.alive


def policy_for_other(name: str, namespace: str) -> dict[str, Any]:
    """A policy, with its binding, that denies updates of the status of all exporters except `other`."""
    api_version = "admissionregistration.k8s.io/v1"
    rule = {
        "apiGroups": ["qualtrics-exporter.dev"],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["qualtricsexporters/status"],
    }
    validation = {
        "expression": "object.metadata.name == 'other'",
        "message": "ask ana@example.com for an owner",
        "reason": "Forbidden",
    }
    policy = {
        "apiVersion": api_version,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [validation],
        },
    }
    match = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {
        "apiVersion": api_version,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": match},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [policy, binding]}


def test_admission_policy_that_denies_one_exporter_is_quoted_and_others_still_run(stage: Stage) -> None:
    operator = stage.operator()
    exporter, other = stage.exporter(), stage.exporter("other")
    exporter.checked()
    other.checked()
    name = f"owner-{stage.namespace}"
    stage.cluster.kubectl("apply", "-f", "-", input=json.dumps(policy_for_other(name, stage.namespace)))
    try:

        def denies() -> bool:
            result = stage.cluster.kubectl(
                "patch", "qualtricsexporter", "teams-rollout", "-n", stage.namespace, "--subresource=status",
                "--type=merge", "-p", '{"status":{"lastHandledTestRequest":"probe"}}', check=False,
            )  # fmt: skip
            return result.returncode != 0

        eventually(denies, "the policy is in force")
        exporter.annotate(run_requested_at="now")
        note = next(
            event["note"] for event in exporter.wait_for_event("StatusRefused") if event["reason"] == "StatusRefused"
        )
        assert f"ValidatingAdmissionPolicy '{name}'" in note
        assert "for an owner" in note
        assert "ana@" not in note
        assert "lacks that rule" not in note
        assert operator.get("/readyz") == 200
        other.annotate(run_requested_at="now")
        assert other.ended()["result"] == "Succeeded"
    finally:
        kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
        stage.cluster.kubectl("delete", kinds, name, "--ignore-not-found")
    stage.while_time_passes(exporter.ended)  # the request waited
    assert stage.sandbox.recorder.mails()
