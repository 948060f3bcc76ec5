"""A real API server accepts every object of the chart, and its pods also with the *restricted* standard."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.helm import Helm
from hack.kubectl import KubectlError
from tests.chart.conftest import NAMESPACE
from tests.chart.objects import Object, only, pods
from tests.gitops.compare import differences
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

NAMESPACES = ("dex", "hr", NAMESPACE)
"""The namespaces in the combinations, and the namespace of the release."""


@pytest.fixture(scope="module")
def prepared_cluster(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster with the namespaces of the combinations and, for now, the CRDs of the Prometheus operator."""
    for namespace in NAMESPACES:
        cluster.kubectl("create", "namespace", namespace, check=False)  # it may exist already
    crd = Path(__file__).parent / "prometheus_operator.yaml"
    cluster.kubectl("apply", "--server-side", "-f", str(crd))
    eventually(
        lambda: "monitoring.coreos.com/v1" in cluster.kubectl("api-versions").stdout,
        "the API server serves ServiceMonitors",
    )
    yield cluster
    cluster.kubectl("delete", "-f", str(crd))


@pytest.fixture(scope="module")
def restricted_namespace(cluster: ControlPlane) -> str:
    """A namespace that enforces the restricted Pod Security Standard."""
    name = cluster.namespace(f"restricted-{secrets.token_hex(2)}")
    labels = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
    cluster.kubectl("label", "namespace", name, *labels)
    return name


def test_api_server_accepts_each_object_of_a_combination_and_stores_it_unchanged(
    prepared_cluster: ControlPlane, rendered: list[Object]
) -> None:
    """Argo CD compares both: an object that the API server stores in another form would stay out of sync."""
    stored = {(object_["kind"], *namespace_and_name(object_)): object_ for object_ in apply(prepared_cluster, rendered)}
    assert len(stored) == len(rendered)
    # Argo CD does not compare hooks, because they exist only for a moment.
    compared = [object_ for object_ in rendered if "helm.sh/hook" not in object_["metadata"].get("annotations", {})]
    changes = [differences(object_, stored[object_["kind"], *namespace_and_name(object_)]) for object_ in compared]
    assert changes == [[]] * len(compared)


def test_pods_of_each_combination_pass_the_restricted_standard(
    cluster: ControlPlane, restricted_namespace: str, rendered: list[Object]
) -> None:
    assert len(apply(cluster, [in_namespace(restricted_namespace, pod) for pod in pods(rendered)])) == 2


def test_api_server_rejects_a_pod_without_seccomp_profile_in_the_restricted_namespace(
    cluster: ControlPlane, restricted_namespace: str, helm: Helm
) -> None:
    pod = pods(helm.template("surveys", values={"podSecurityContext": {"seccompProfile": None}}))[0]
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted:latest": seccompProfile'):
        apply(cluster, [in_namespace(restricted_namespace, pod)])


def test_api_server_rejects_an_unknown_field_in_an_object(prepared_cluster: ControlPlane, helm: Helm) -> None:
    deployment = only("Deployment", helm.template("surveys", namespace="dex"))
    deployment["spec"]["replicaCount"] = 2
    with pytest.raises(KubectlError, match='unknown field "replicaCount"'):
        apply(prepared_cluster, [deployment])


def in_namespace(namespace: str, object_: Object) -> Object:
    """A copy of the object in another namespace."""
    return {**object_, "metadata": {**object_["metadata"], "namespace": namespace}}


def namespace_and_name(object_: Object) -> tuple[str, str]:
    """The namespace of the object (`default` if it has none) and its name."""
    return object_["metadata"].get("namespace", "default"), object_["metadata"]["name"]


def apply(cluster: ControlPlane, objects: list[Object]) -> list[Object]:
    """Apply objects as a dry run; returns the stored objects. The API server rejects unknown fields and wrong types."""
    dry_run = ("--server-side", "--force-conflicts", "--dry-run=server", "-o", "json")
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    stored = json.loads(cluster.kubectl("apply", *dry_run, "-f", "-", input=items).stdout)
    return list(stored["items"]) if stored["kind"] == "List" else [stored]
