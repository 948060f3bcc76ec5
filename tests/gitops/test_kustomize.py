"""`config/`: what `kubectl apply -k` installs is what the chart installs, in any namespace."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from qualtrics_exporter.cli.sandbox import sandbox
from qualtrics_exporter.sandbox import Sandbox, World
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.helm import Helm
from tests.gitops.compare import missing

FOLDERS = ("crd", "base", "default", "namespaced", "sandbox")
IMAGE = "registry.example.com/tools/qualtrics-exporter"
NAME = "qualtrics-exporter"
Objects = list[dict[str, Any]]


def built(control_plane: ControlPlane, folder: Path) -> Objects:
    """What `kubectl kustomize` makes of a folder."""
    return [body for body in yaml.safe_load_all(control_plane.kubectl("kustomize", str(folder)).stdout) if body]


def one(objects: Objects, kind: str, name: str = NAME) -> dict[str, Any]:
    (found,) = (body for body in objects if body["kind"] == kind and body["metadata"]["name"].endswith(name))
    return found


def pods(objects: Objects) -> Objects:
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": body["spec"]["template"]["spec"]}
        for body in objects
        if body["kind"] == "Deployment"
    ]


Placed = Callable[[str, str], Path]


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    """A user's own kustomization on top of a folder, in a namespace of its own, with names and an image of its own."""

    def place(folder: str, namespace: str) -> Path:
        kustomization = {
            "namespace": namespace,
            "namePrefix": "team-",
            "resources": [os.path.relpath(ROOT / "config" / folder, tmp_path)],
            "images": [{"name": f"{NAME}/{NAME}", "newName": IMAGE, "newTag": "1.2.3"}],
        }
        (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
        return tmp_path

    return place


@pytest.fixture(scope="module")
def default(control_plane: ControlPlane) -> Objects:
    return built(control_plane, ROOT / "config" / "default")


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


# The same as the chart's


@pytest.mark.parametrize(
    ("folder", "values"),
    [
        ("default", {}),
        ("namespaced", {"watchNamespaces": [NAME], "crds": {"enabled": False}}),
        ("sandbox", {"allowHttp": True, "allowedHosts": ["sandbox"]}),
    ],
)
def test_an_installation_by_kustomize_is_that_of_the_chart(
    cluster: ControlPlane, helm: Helm, folder: str, values: dict[str, Any]
) -> None:
    rendered = helm.template(NAME, namespace=NAME, values=values)
    charts = {(b["kind"], b["metadata"]["name"]): b for b in rendered if not is_hook(b)}
    ours = {(b["kind"], b["metadata"]["name"]): b for b in built(cluster, ROOT / "config" / folder)}
    besides = {"default": {("Namespace", NAME)}, "namespaced": set()}.get(
        folder,
        {("Namespace", NAME), ("QualtricsExporter", "teams-rollout"), ("Secret", "nexthink"), ("Secret", "qualtrics"),
         ("Deployment", "sandbox"), ("Service", "sandbox")},
    )  # fmt: skip
    assert ours.keys() - charts.keys() == besides
    assert charts.keys() <= ours.keys()
    for key, chart in charts.items():
        assert told(ours[key]) == told(chart), key


def told(body: dict[str, Any]) -> dict[str, Any]:
    """All that an object says, without what only its installer wants to know."""
    said = {field: value for field, value in body.items() if field != "metadata"}
    if body["kind"] == "Deployment":
        said = json.loads(json.dumps(said))
        template = said["spec"]["template"]
        template["metadata"] = {
            field: {k: v for k, v in values.items() if k != "helm.sh/chart" and v != "Helm"}
            for field, values in template["metadata"].items()
        }
        (container,) = template["spec"]["containers"]
        container["env"] = {variable["name"]: value_of(variable) for variable in container["env"]}
    return said


def value_of(variable: dict[str, Any]) -> Any:
    """The value that the pod sees in the namespace that it is in by default."""
    source = variable.get("valueFrom")
    return NAME if source == {"fieldRef": {"fieldPath": "metadata.namespace"}} else source or variable["value"]


def is_hook(body: dict[str, Any]) -> bool:
    return "helm.sh/hook" in body["metadata"].get("annotations", {})


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_of_helm_is_left(cluster: ControlPlane, folder: str) -> None:
    text = cluster.kubectl("kustomize", str(ROOT / "config" / folder)).stdout
    assert "helm" not in text.lower()


def test_the_crd_is_the_one_of_crds(cluster: ControlPlane) -> None:
    (crd,) = built(cluster, ROOT / "config" / "crd")
    (path,) = (ROOT / "crds").glob("*.yaml")
    assert crd == yaml.safe_load(path.read_text("utf-8"))


# What a user's kustomization can do with it


def test_a_users_namespace_image_and_names_reach_every_place(cluster: ControlPlane, placed: Placed) -> None:
    objects = built(cluster, placed("default", "surveys"))
    deployment = one(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{IMAGE}:1.2.3"
    assert deployment["metadata"]["name"] == f"team-{NAME}"
    assert one(objects, "Namespace", "surveys")
    for body in objects:
        assert body["metadata"].get("namespace", "surveys") == "surveys"
        for subject in body.get("subjects", []):
            assert (subject["name"], subject["namespace"]) == (f"team-{NAME}", "surveys")
        if role := body.get("roleRef"):
            assert one(objects, role["kind"], role["name"])
    leases = {v["name"]: v for v in container["env"] if "NAMESPACE" in v["name"]}
    assert leases["QUALTRICS_EXPORTER_LEASE_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_the_namespaced_one_has_no_right_outside_of_its_namespace(cluster: ControlPlane, placed: Placed) -> None:
    objects = built(cluster, placed("namespaced", "surveys"))
    assert all(body["metadata"]["namespace"] == "surveys" for body in objects)
    assert not {body["kind"] for body in objects} & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.mark.parametrize("folder", ["base", "namespaced"])
def test_applied_applied_again_and_deleted(cluster: ControlPlane, namespace: str, placed: Placed, folder: str) -> None:
    """No pod runs here; whether the rights are enough is what the chart's tests find out, these are the same."""
    place = placed(folder, namespace)
    objects = built(cluster, place)
    cluster.kubectl("apply", "-k", str(place))

    def live() -> Objects:
        listed = cluster.kubectl("get", "-k", str(place), "-o", "json", "--show-managed-fields").stdout
        return list(json.loads(listed)["items"])

    before = live()
    for body in objects:
        (kept,) = (o for o in before if (o["kind"], o["metadata"]["name"]) == (body["kind"], body["metadata"]["name"]))
        assert missing(body, kept) == []
    cluster.kubectl("apply", "-k", str(place))
    assert cluster.kubectl("diff", "-k", str(place)).stdout == ""
    assert live() == before
    may = ("auth", "can-i", f"--as=system:serviceaccount:{namespace}:team-{NAME}", "-n")
    assert cluster.kubectl(*may, namespace, "get", "secrets").stdout.strip() == "yes"
    assert cluster.kubectl(*may, namespace, "list", "secrets", check=False).stdout.strip() == "no"
    elsewhere = cluster.kubectl(*may, "default", "get", "secrets", check=False).stdout.strip()
    assert elsewhere == ("yes" if folder == "base" else "no")
    cluster.kubectl("delete", "-k", str(place), "--wait=false")
    assert cluster.kubectl("get", "-k", str(place), "--ignore-not-found").stdout == ""


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_server_takes_every_object_and_changes_none(
    cluster: ControlPlane, namespace: str, placed: Placed, folder: str
) -> None:
    place = placed(folder, namespace) if folder != "crd" else ROOT / "config" / "crd"
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--field-manager=gitops", "-o", "json")
    kept = json.loads(cluster.kubectl("apply", *flags, "-k", str(place)).stdout)
    live = {(b["kind"], b["metadata"]["name"]): b for b in kept.get("items", [kept])}
    for body in built(cluster, place):
        wanted = {**body, **({"data": {}} if body["kind"] == "Secret" else {})}
        wanted.pop("stringData", None)  # the API server keeps it as data
        assert missing(wanted, live[body["kind"], body["metadata"]["name"]]) == []


@pytest.mark.parametrize("folder", ["base", "namespaced", "sandbox"])
def test_the_pods_pass_the_restricted_standard(
    cluster: ControlPlane, namespace: str, placed: Placed, folder: str
) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    found = pods(built(cluster, placed(folder, namespace)))
    assert found
    for pod in found:
        cluster.kubectl("create", "-n", namespace, "--dry-run=server", "-f", "-", input=json.dumps(pod))
        loose = {**pod, "spec": {**pod["spec"], "securityContext": {}}}
        refused = cluster.kubectl(
            "create", "-n", namespace, "--dry-run=server", "-f", "-", input=json.dumps(loose), check=False
        )
        assert "violates PodSecurity" in refused.stderr


def test_the_default_namespace_enforces_the_restricted_standard(default: Objects) -> None:
    labels = one(default, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


# The sandbox


async def test_the_secrets_of_the_sandbox_are_those_that_it_takes(cluster: ControlPlane) -> None:
    objects = built(cluster, ROOT / "config" / "sandbox")
    (container,) = one(objects, "Deployment", "sandbox")["spec"]["template"]["spec"]["containers"]
    with sandbox.make_context("sandbox", container["args"][1:]) as context:
        flags = context.params
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"nexthink": flags["nexthink_port"], "qualtrics": flags["qualtrics_port"]}
    assert {p["name"]: p["port"] for p in one(objects, "Service", "sandbox")["spec"]["ports"]} == ports
    async with Sandbox(World.default(), host="127.0.0.1", advertise=flags["advertise"]) as served:
        for name, keys in served.secrets().items():
            real = one(objects, "Secret", name)["stringData"]
            assert {key: value.replace(f":{ports[name]}", "") for key, value in real.items()} == {
                key: value.replace(f":{getattr(served, f'{name}_url').rpartition(':')[2]}", "")
                for key, value in keys.items()
            }


def test_the_exporter_of_the_sandbox_is_the_sample(cluster: ControlPlane) -> None:
    exporter = one(built(cluster, ROOT / "config" / "sandbox"), "QualtricsExporter", "teams-rollout")
    sample = yaml.safe_load((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))
    assert exporter["spec"] == sample["spec"]
