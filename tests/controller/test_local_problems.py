"""Problems stay local, against a real API server: one slow replica, one namespace, one policy."""

import json
from typing import Any

import pytest

from tests.environment import chart_rules
from tests.environment.controlplane import ControlPlane
from tests.environment.operator import Operator
from tests.environment.stage import Stage
from tests.environment.waiting import eventually


def leads(operator: Operator) -> bool:
    return "qualtrics_exporter_leader 1.0" in operator.metrics()


def blind(operator: Operator, namespace: str) -> float:
    """For how long the operator has not watched a namespace, as its metric says."""
    start = f'qualtrics_exporter_watch_blind_seconds{{namespace="{namespace}"}} '
    (line,) = [line for line in operator.metrics().splitlines() if line.startswith(start)]
    return float(line.removeprefix(start))


def test_a_replica_leads_although_each_call_about_the_lease_is_slow(stage: Stage) -> None:
    gate = stage.gate()
    gate.fault("api.lease", times=None, delay=1.2)
    slow = stage.operator(election=True, gate=gate, start=False)
    slow.start(ready=False)
    slow.serves()
    eventually(lambda: leads(slow), "the slow replica leads")
    exporter = stage.exporter()
    exporter.checked()


def test_a_replica_that_is_too_slow_to_lead_lets_another_one_lead(stage: Stage) -> None:
    gate = stage.gate()
    gate.fault("api.lease", times=None, delay_after=12.0)  # each write takes effect, and its reply is too late
    slow = stage.operator(election=True, gate=gate, start=False)
    slow.start(ready=False)
    slow.serves()
    healthy = stage.operator(election=True, start=False)
    healthy.start(ready=False)
    healthy.serves()
    eventually(lambda: leads(healthy), "the healthy replica leads")
    assert not leads(slow)


def rights(cluster: ControlPlane, namespace: str, *, of: str, rules: list[dict[str, Any]]) -> None:
    """Give the operator's service account in namespace `of` its rights in another namespace."""
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


@pytest.mark.parametrize("there_at_start", [True, False])
def test_a_namespace_without_rights_is_reported_and_tried_again(stage: Stage, there_at_start: bool) -> None:
    other = stage.cluster.namespace(f"{stage.namespace[:50]}-b")
    rules = [*chart_rules.namespaced()]
    kubeconfig = stage.cluster.service_account(stage.namespace, "operator", rules=rules)
    if there_at_start:
        rights(stage.cluster, other, of=stage.namespace, rules=rules)
    gate = stage.gate()
    operator = stage.process(
        gate.kubeconfig(kubeconfig), "--namespace", stage.namespace, "--namespace", other,
        "--allowed-host", "localhost", "--no-leader-election", "--log-format", "console",
    )  # fmt: skip
    operator.start()
    exporter = stage.exporter()
    exporter.checked()
    if there_at_start:
        eventually(lambda: blind(operator, other) == 0, "both namespaces are watched")
        stage.cluster.kubectl("delete", "rolebinding,role", "operator", "-n", other)
        gate.drop_watches()
    eventually(lambda: blind(operator, other) > 0, "the lost namespace is reported")
    eventually(lambda: f"namespace {other} is not watched" in operator.log, "the log says it")
    assert operator.get("/readyz") == 200
    exporter.annotate(run_requested_at="while-it-is-lost")
    assert exporter.ended()["result"] == "Succeeded"
    rights(stage.cluster, other, of=stage.namespace, rules=rules)
    stage.while_time_passes(lambda: eventually(lambda: blind(operator, other) == 0, "it is back"))
    assert operator.alive


def test_a_policy_that_refuses_one_exporter_is_quoted_and_touches_nothing_else(stage: Stage) -> None:
    operator = stage.operator()
    exporter, other = stage.exporter(), stage.exporter("other")
    exporter.checked()
    other.checked()
    name = f"owner-{stage.namespace}"
    kind = "admissionregistration.k8s.io/v1"
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
        "apiVersion": kind,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [validation],
        },
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}}
    binding = {
        "apiVersion": kind,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here},
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [policy, binding]}
    stage.cluster.kubectl("apply", "-f", "-", input=json.dumps(items))
    try:

        def denies() -> bool:
            tried = stage.cluster.kubectl(
                "patch", "qualtricsexporter", "teams-rollout", "-n", stage.namespace, "--subresource=status",
                "--type=merge", "-p", '{"status":{"lastHandledTestRequest":"probe"}}', check=False,
            )  # fmt: skip
            return tried.returncode != 0

        eventually(denies, "the policy is in force")
        exporter.annotate(run_requested_at="now")
        note = next(event["note"] for event in exporter.told("StatusRefused") if event["reason"] == "StatusRefused")
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
    stage.while_time_passes(exporter.ended)  # the request was only waiting
    assert stage.sandbox.ledger.mails()
