"""A real API server takes every object that the chart renders, and its pods where *restricted* is enforced."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.conftest import NAMESPACE
from tests.chart.objects import Object, only, pods
from tests.environment.controlplane import ControlPlane, KubectlError
from tests.environment.helm import Helm
from tests.environment.waiting import eventually
from tests.gitops.compare import missing

NAMESPACES = ("dex", "hr", NAMESPACE)
"""Those that the combinations name, and theirs."""


@pytest.fixture(scope="module")
def ground(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster with the namespaces of the combinations, and with Prometheus' kind as long as it is needed."""
    for namespace in NAMESPACES:
        cluster.kubectl("create", "namespace", namespace, check=False)  # it may be there
    crd = Path(__file__).parent / "servicemonitors.yaml"
    cluster.kubectl("apply", "--server-side", "-f", str(crd))
    eventually(lambda: "monitoring.coreos.com/v1" in cluster.kubectl("api-versions").stdout, "the kind is known")
    yield cluster
    cluster.kubectl("delete", "-f", str(crd))


@pytest.fixture(scope="module")
def restricted(cluster: ControlPlane) -> str:
    """A namespace that lets only pods in which are as confined as can be."""
    name = cluster.namespace(f"restricted-{secrets.token_hex(2)}")
    labels = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
    cluster.kubectl("label", "namespace", name, *labels)
    return name


def test_each_object_of_each_combination_is_taken_and_kept_as_it_is_written(
    ground: ControlPlane, rendered: list[Object]
) -> None:
    """Argo CD compares the two: what the API server writes in another way would be out of sync for ever."""
    kept = {(object_["kind"], *place(object_)): object_ for object_ in apply(ground, rendered)}
    assert len(kept) == len(rendered)
    # A hook is made for a moment, by Helm or by Argo CD: nobody compares it.
    lasting = [object_ for object_ in rendered if "helm.sh/hook" not in object_["metadata"].get("annotations", {})]
    changes = [missing(object_, kept[object_["kind"], *place(object_)]) for object_ in lasting]
    assert changes == [[]] * len(lasting)


def test_the_pods_of_each_combination_pass_restricted(
    cluster: ControlPlane, restricted: str, rendered: list[Object]
) -> None:
    assert len(apply(cluster, [within(restricted, pod) for pod in pods(rendered)])) == 2


def test_a_pod_that_is_less_confined_would_be_refused_there(cluster: ControlPlane, restricted: str, helm: Helm) -> None:
    pod = pods(helm.template("surveys", values={"podSecurityContext": {"seccompProfile": None}}))[0]
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted:latest": seccompProfile'):
        apply(cluster, [within(restricted, pod)])


def test_a_field_that_there_is_not_would_be_refused(ground: ControlPlane, helm: Helm) -> None:
    deployment = only("Deployment", helm.template("surveys", namespace="dex"))
    deployment["spec"]["replicaCount"] = 2
    with pytest.raises(KubectlError, match='unknown field "replicaCount"'):
        apply(ground, [deployment])


def within(namespace: str, object_: Object) -> Object:
    """The object as one of another namespace."""
    return {**object_, "metadata": {**object_["metadata"], "namespace": namespace}}


def place(object_: Object) -> tuple[str, str]:
    """Namespace and name; an object that names no namespace is put into `default`."""
    return object_["metadata"].get("namespace", "default"), object_["metadata"]["name"]


def apply(cluster: ControlPlane, objects: list[Object]) -> list[Object]:
    """What the server would store, by a dry run: unknown fields, wrong types and rules are found."""
    dry_run = ("--server-side", "--force-conflicts", "--dry-run=server", "-o", "json")
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    stored = json.loads(cluster.kubectl("apply", *dry_run, "-f", "-", input=items).stdout)
    return list(stored["items"]) if stored["kind"] == "List" else [stored]
