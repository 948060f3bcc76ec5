"""`config/`: what `kubectl apply -k` installs is what the chart installs, in any namespace."""

import functools
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest

from qualtrics_exporter.cli.sandbox import sandbox
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.helm import Helm
from tests.environment.waiting import eventually
from tests.gitops.compare import missing

FOLDERS = ("crd", "base", "default", "namespaced", "sandbox")
IMAGE = "registry.example.com/tools/qualtrics-exporter"
NAME = "qualtrics-exporter"
TRIAL = f"{NAME}-sandbox"
Objects = list[dict[str, Any]]


@functools.cache
def built(control_plane: ControlPlane, folder: Path) -> Objects:
    """What `kubectl kustomize` makes of a folder. It is built once, so nobody may change it."""
    text = control_plane.kubectl("kustomize", str(folder)).stdout
    return [body for body in plain_yaml.read_all(text) if body]


def one(objects: Objects, kind: str, name: str = NAME) -> dict[str, Any]:
    (found,) = (body for body in objects if body["kind"] == kind and body["metadata"]["name"].endswith(name))
    return found


def pods(objects: Objects) -> Objects:
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": body["spec"]["template"]["spec"]}
        for body in objects
        if body["kind"] == "Deployment"
    ]


def keys(objects: Objects) -> set[tuple[str, str | None, str]]:
    return {(b["kind"], b["metadata"].get("namespace"), b["metadata"]["name"]) for b in objects}


Placed = Callable[..., Path]


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    """A user's own kustomization on top of folders, in a namespace of its own, with names and an image of its own."""

    def place(*folders: str | Path, namespace: str | None = None, prefix: str = "team-") -> Path:
        place = tmp_path / "-".join(Path(folder).name for folder in (namespace or "", prefix, *folders))
        place.mkdir()
        kustomization = {
            "resources": [os.path.relpath(ROOT / "config" / folder, place) for folder in folders],
            "images": [{"name": f"{NAME}/{NAME}", "newName": IMAGE, "newTag": "1.2.3"}],
            **({"namespace": namespace, "namePrefix": prefix} if namespace else {}),
        }
        (place / "kustomization.yaml").write_text(json.dumps(kustomization))
        return place

    return place


@pytest.fixture(scope="module")
def default(control_plane: ControlPlane) -> Objects:
    return built(control_plane, ROOT / "config" / "default")


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


# The same as the chart's


@pytest.mark.parametrize(
    ("folder", "values", "besides"),
    [
        ("default", {}, {("Namespace", NAME)}),
        ("namespaced", {"watchNamespaces": [NAME], "crds": {"enabled": False}}, set()),
        (
            "sandbox",
            {"watchNamespaces": [NAME], "crds": {"enabled": False}, "allowHttp": True, "allowedHosts": ["sandbox"],
             "allowedDownloadHosts": ["sandbox"]},
            {("Namespace", TRIAL), ("QualtricsExporter", "teams-rollout"), ("Secret", "nexthink"),
             ("Secret", "qualtrics"), ("Deployment", "sandbox"), ("Service", "sandbox")},
        ),
    ],
)  # fmt: skip
def test_an_installation_by_kustomize_is_that_of_the_chart(
    cluster: ControlPlane, helm: Helm, folder: str, values: dict[str, Any], besides: set[tuple[str, str]]
) -> None:
    rendered = helm.template(NAME, namespace=NAME, values=values)
    charts = {(b["kind"], b["metadata"]["name"]): b for b in rendered if not is_hook(b)}
    ours = {(b["kind"], b["metadata"]["name"]): b for b in built(cluster, ROOT / "config" / folder)}
    assert ours.keys() - charts.keys() == besides
    assert charts.keys() <= ours.keys()
    for key, chart in charts.items():
        assert told(ours[key]) == told(chart), key


def told(body: dict[str, Any]) -> dict[str, Any]:
    """All that an object says, without what only its installer wants to know."""
    said = {field: value for field, value in body.items() if field != "metadata"}
    if "subjects" in said:  # in its own namespace, whichever that is
        said["subjects"] = [
            {**who, "namespace": who["namespace"] == body["metadata"].get("namespace", NAME)}
            for who in said["subjects"]
        ]
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
    assert "helm" not in json.dumps(built(cluster, ROOT / "config" / folder)).lower()


def test_the_crd_is_the_one_of_crds(cluster: ControlPlane) -> None:
    (crd,) = built(cluster, ROOT / "config" / "crd")
    (path,) = (ROOT / "crds").glob("*.yaml")
    assert crd == plain_yaml.read(path.read_text("utf-8"))


# What a user's kustomization can do with it


def test_a_users_namespace_image_and_names_reach_every_place(cluster: ControlPlane, placed: Placed) -> None:
    objects = built(cluster, placed("default", namespace="surveys"))
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
    objects = built(cluster, placed("namespaced", namespace="surveys"))
    assert all(body["metadata"]["namespace"] == "surveys" for body in objects)
    assert not {body["kind"] for body in objects} & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.mark.parametrize("folder", ["base", "namespaced"])
def test_two_of_them_in_one_namespace_share_neither_lease_nor_pods(
    cluster: ControlPlane, placed: Placed, folder: str
) -> None:
    """As shards are installed. With one Lease one of them would stand by for ever, and nobody would be told."""
    shards = [placed(folder, namespace="surveys", prefix=prefix) for prefix in ("dex-", "workplace-")]
    objects = built(cluster, placed(*shards))
    leases, selected = set(), []
    for deployment in (body for body in objects if body["kind"] == "Deployment"):
        name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (lease,) = (v["value"] for v in container["env"] if v["name"] == "QUALTRICS_EXPORTER_LEASE_NAME")
        leases.add(lease)
        role = one(objects, "Role", f"{name}-leader-election")
        assert {n for rule in role["rules"] for n in rule.get("resourceNames", [])} == {lease}
        selectors = [b["spec"]["selector"] for b in objects if b["kind"] in ("Deployment", "PodDisruptionBudget")]
        selectors = [s["matchLabels"] for s in selectors] + [
            b["spec"]["selector"] for b in objects if b["kind"] == "Service"
        ]
        selected += [s for s in selectors if s.items() <= labels.items()]
    assert leases == {f"dex-{NAME}", f"workplace-{NAME}"}
    assert len(selected) == 2 * 3  # each by its own Deployment, PodDisruptionBudget and Service


@pytest.mark.parametrize("folder", ["base", "namespaced"])
def test_applied_applied_again_and_deleted(cluster: ControlPlane, namespace: str, placed: Placed, folder: str) -> None:
    """No pod runs here; whether the rights are enough is what the chart's tests find out, these are the same."""
    place = placed(folder, namespace=namespace)
    objects = built(cluster, place)
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "-f", "-", input=everything)

    def live() -> Objects:
        listed = cluster.kubectl("get", "-f", "-", "-o", "json", "--show-managed-fields", input=everything).stdout
        return list(json.loads(listed)["items"])

    before = live()
    for body in objects:
        (kept,) = (o for o in before if (o["kind"], o["metadata"]["name"]) == (body["kind"], body["metadata"]["name"]))
        assert missing(body, kept) == []
    assert cluster.kubectl("diff", "-k", str(place)).stdout == ""
    cluster.kubectl("apply", "-k", str(place))
    assert live() == before
    may = functools.partial(allowed, cluster, f"system:serviceaccount:{namespace}:team-{NAME}")
    eventually(lambda: may(namespace, "get", "secrets"), "the authorizer has seen the roles")
    assert not may(namespace, "list", "secrets")
    assert may("default", "get", "secrets") == (folder == "base")
    assert may(namespace, "update", "leases", group="coordination.k8s.io", name=f"team-{NAME}")
    assert not may(namespace, "update", "leases", group="coordination.k8s.io", name=NAME)
    cluster.kubectl("delete", "-k", str(place), "--wait=false")
    assert cluster.kubectl("get", "-f", "-", "--ignore-not-found", input=everything).stdout == ""


def test_the_operator_for_all_namespaces_is_moved_by_deleting_it_first(
    cluster: ControlPlane, namespace: str, placed: Placed
) -> None:
    moved = cluster.namespace(f"{namespace}-2")
    here, there = (placed("base", namespace=where) for where in (namespace, moved))
    cluster.kubectl("apply", "-k", str(here))
    cluster.kubectl("delete", "-k", str(here), "--wait=false")
    cluster.kubectl("apply", "-k", str(there))
    users = [f"system:serviceaccount:{where}:team-{NAME}" for where in (namespace, moved)]
    eventually(lambda: allowed(cluster, users[1], "default", "get", "secrets"), "the moved one has its rights")
    assert not allowed(cluster, users[0], "default", "get", "secrets")
    cluster.kubectl("delete", "-k", str(there), "--wait=false")


def allowed(
    cluster: ControlPlane, user: str, namespace: str, verb: str, resource: str, *, group: str = "", name: str = ""
) -> bool:
    """What `kubectl auth can-i` asks."""
    attributes = {"namespace": namespace, "verb": verb, "resource": resource, "group": group, "name": name}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    api = kubernetes.client.AuthorizationV1Api(cluster.api())
    return bool(api.create_subject_access_review(review).status.allowed)


# The two folders below are made of all others.


@pytest.mark.parametrize("folder", ["default", "sandbox"])
def test_the_api_server_takes_every_object_and_changes_none(
    cluster: ControlPlane, namespace: str, placed: Placed, folder: str
) -> None:
    place = placed(folder, namespace=namespace)
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--field-manager=gitops", "-o", "json")
    kept = json.loads(cluster.kubectl("apply", *flags, "-k", str(place)).stdout)
    live = {(b["kind"], b["metadata"]["name"]): b for b in kept["items"]}
    for body in built(cluster, place):
        wanted = {**body, **({"data": {}} if body["kind"] == "Secret" else {})}
        wanted.pop("stringData", None)  # the API server keeps it as data
        assert missing(wanted, live[body["kind"], body["metadata"]["name"]]) == []


def test_the_pods_pass_the_restricted_standard(cluster: ControlPlane, namespace: str) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    found = [pod for folder in ("default", "sandbox") for pod in pods(built(cluster, ROOT / "config" / folder))]
    assert len(found) == 3

    def create(bodies: Objects) -> subprocess.CompletedProcess[str]:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        return cluster.kubectl("create", "-n", namespace, "--dry-run=server", "-f", "-", input=listed, check=False)

    assert create(found).returncode == 0
    refused = create([{**pod, "spec": {**pod["spec"], "securityContext": {}}} for pod in found])
    assert refused.stderr.count("violates PodSecurity") == len(found)


def test_the_default_namespace_enforces_the_restricted_standard(default: Objects) -> None:
    labels = one(default, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


# The sandbox


def test_a_trial_shares_no_object_with_an_installation_and_takes_no_exporter_with_it(
    cluster: ControlPlane, default: Objects, placed: Placed
) -> None:
    trial = built(cluster, ROOT / "config" / "sandbox")
    assert keys(trial) & keys(default) == set()
    assert {key for key in keys(trial) if key[1] != TRIAL} == {("Namespace", None, TRIAL)}
    variables = {v["name"]: v for v in one(trial, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]}
    watched = variables["QUALTRICS_EXPORTER_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert watched == "metadata.namespace"
    assert variables["QUALTRICS_EXPORTER_ALLOWED_HOST"]["value"] == "sandbox"
    both = built(cluster, placed("default", "sandbox"))
    assert keys(both) == keys(trial) | keys(default)


async def test_the_secrets_of_the_sandbox_are_those_that_it_takes(cluster: ControlPlane) -> None:
    objects = built(cluster, ROOT / "config" / "sandbox")
    (container,) = one(objects, "Deployment", "sandbox")["spec"]["template"]["spec"]["containers"]
    with sandbox.make_context("sandbox", container["args"][1:]) as context:
        flags = context.params
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"nexthink": flags["nexthink_port"], "qualtrics": flags["qualtrics_port"]}
    assert {p["name"]: p["port"] for p in one(objects, "Service", "sandbox")["spec"]["ports"]} == ports
    async with Sandbox(Account.default(), host="127.0.0.1", advertise=flags["advertise"]) as served:
        for name, keys in served.secrets().items():
            real = one(objects, "Secret", name)["stringData"]
            assert {key: value.replace(f":{ports[name]}", "") for key, value in real.items()} == {
                key: value.replace(f":{getattr(served, f'{name}_url').rpartition(':')[2]}", "")
                for key, value in keys.items()
            }


def test_the_exporter_of_the_sandbox_is_the_sample(cluster: ControlPlane) -> None:
    exporter = one(built(cluster, ROOT / "config" / "sandbox"), "QualtricsExporter", "teams-rollout")
    sample = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))
    assert exporter["spec"] == sample["spec"]


@pytest.mark.parametrize("prefix", ["", "team-"])
def test_an_exporter_follows_the_secrets_that_kustomize_generates(
    control_plane: ControlPlane, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        json.dumps({"resources": [os.path.relpath(ROOT / "samples" / "kustomize", tmp_path)], "namePrefix": prefix})
    )
    check_secrets(built(control_plane, tmp_path), prefix)


def test_it_does_so_beside_the_operator_too(control_plane: ControlPlane, tmp_path: Path) -> None:
    sample = (ROOT / "samples" / "crashes.yaml").read_text()
    (tmp_path / "exporter.yaml").write_text(sample)
    kustomization = {
        "namespace": "dex",
        "resources": [os.path.relpath(ROOT / "config" / "default", tmp_path), "exporter.yaml"],
        "secretGenerator": [{"name": name, "literals": ["clientId=x"]} for name in ("nexthink", "qualtrics")],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    check_secrets(built(control_plane, tmp_path), "")


def check_secrets(objects: Objects, prefix: str) -> None:
    """Whether the exporter refers to the two Secrets by the names that they have got."""
    (exporter,) = (body for body in objects if body["kind"] == "QualtricsExporter")
    secrets = {body["metadata"]["name"] for body in objects if body["kind"] == "Secret"}
    named = {side: exporter["spec"][side]["credentialsSecretRef"]["name"] for side in ("nexthink", "qualtrics")}
    assert set(named.values()) == secrets
    for side, name in named.items():
        assert re.fullmatch(rf"{prefix}{side}-[a-z0-9]{{10}}", name)


def test_the_sample_for_generated_secrets_is_that_of_the_other_samples() -> None:
    samples = ROOT / "samples"
    assert (samples / "kustomize" / "crashes.yaml").read_text() == (samples / "crashes.yaml").read_text()
