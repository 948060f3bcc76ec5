"""What the chart renders is what the API server keeps: Argo CD, which compares the two, sees no difference."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.environment.controlplane import ControlPlane
from tests.environment.helm import CHART, Helm
from tests.gitops.compare import missing

# Those of the combinations that together render every object with every field.
VALUES = ("everything", "monitored", "namespaced", "private-ca")
FOREIGN = {"ServiceMonitor"}
"""Kinds whose CRDs are not here."""


@pytest.mark.parametrize("values", [None, *VALUES], ids=str)
def test_no_field_of_the_chart_is_rewritten_by_the_api_server(
    cluster: ControlPlane, namespace: str, tmp_path: Path, values: str | None
) -> None:
    combination = (CHART / "ci" / f"{values}-values.yaml").read_text("utf-8") if values else "{}"
    given: dict[str, Any] = yaml.safe_load(combination)
    objects = [
        body
        for body in Helm(tmp_path).template("exporters", namespace=namespace, values=given)
        if body["kind"] not in FOREIGN and "helm.sh/hook" not in body["metadata"].get("annotations", {})
    ]
    for body in objects:
        if "namespace" in body["metadata"]:  # Roles of watched namespaces, which are not here
            body["metadata"]["namespace"] = namespace
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--field-manager=gitops", "-o", "json")
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    kept = json.loads(cluster.kubectl("apply", *flags, "-f", "-", input=json.dumps(listed)).stdout)
    live = {(b["kind"], b["metadata"]["name"]): b for b in kept["items"]}
    assert [found for body in objects for found in missing(body, live[body["kind"], body["metadata"]["name"]])] == []


@pytest.mark.parametrize(
    ("written", "kept", "told"),
    [
        ({"cpu": "1000m"}, {"cpu": "1"}, [".cpu: '1000m' became '1'"]),
        ({"labels": None, "rules": [{"verbs": []}]}, {"rules": [{}]}, [".labels is gone", ".rules[0].verbs is gone"]),
        ({"port": "80"}, {"port": 80}, [".port: '80' became 80"]),
        ({"list": [1]}, {"list": [1, 2]}, [".list: [1] became [1, 2]"]),
        ({"a": 1}, {"a": 1, "default": 2}, []),
    ],
)
def test_what_argo_cd_would_take_for_a_change_is_noticed(written: Any, kept: Any, told: list[str]) -> None:
    assert missing(written, kept) == told
