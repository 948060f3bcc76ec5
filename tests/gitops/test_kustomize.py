"""`config/`: `kubectl apply -k` installs the same objects as the chart, in any namespace."""

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

from hack import plain_yaml
from hack.files import ROOT
from hack.helm import Helm
from qualtrics_exporter.cli.sandbox import sandbox
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.gitops.compare import differences
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

FOLDERS = ("crd", "base", "default", "namespaced", "sandbox")
IMAGE = "registry.example.com/tools/qualtrics-exporter"
NAME = "qualtrics-exporter"
SANDBOX_NAMESPACE = f"{NAME}-sandbox"
Objects = list[dict[str, Any]]


@functools.cache
def built(control_plane: ControlPlane, folder: Path) -> Objects:
    """The output of `kubectl kustomize` for a folder. It is cached: do not change it."""
    text = control_plane.kubectl("kustomize", str(folder)).stdout
    return [body for body in plain_yaml.read_all(text) if body]


def only(objects: Objects, kind: str, name: str = NAME) -> dict[str, Any]:
    """The object of this kind whose name ends with `name`."""
    (found,) = (body for body in objects if body["kind"] == kind and body["metadata"]["name"].endswith(name))
    return found


def pods(objects: Objects) -> Objects:
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": body["spec"]["template"]["spec"]}
        for body in objects
        if body["kind"] == "Deployment"
    ]


def identities(objects: Objects) -> set[tuple[str, str | None, str]]:
    return {(b["kind"], b["metadata"].get("namespace"), b["metadata"]["name"]) for b in objects}


CreateOverlay = Callable[..., Path]


@pytest.fixture
def create_overlay(tmp_path: Path) -> CreateOverlay:
    """A function that creates an overlay of a user, with its own image and possibly its own namespace and names."""

    def create(*folders: str | Path, namespace: str | None = None, prefix: str = "team-") -> Path:
        overlay = tmp_path / "-".join(Path(folder).name for folder in (namespace or "", prefix, *folders))
        overlay.mkdir()
        kustomization = {
            "resources": [os.path.relpath(ROOT / "config" / folder, overlay) for folder in folders],
            "images": [{"name": f"{NAME}/{NAME}", "newName": IMAGE, "newTag": "1.2.3"}],
            **({"namespace": namespace, "namePrefix": prefix} if namespace else {}),
        }
        (overlay / "kustomization.yaml").write_text(json.dumps(kustomization))
        return overlay

    return create


@pytest.fixture(scope="module")
def default(control_plane: ControlPlane) -> Objects:
    return built(control_plane, ROOT / "config" / "default")


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


# The same objects as with the chart


@pytest.mark.parametrize(
    ("folder", "values", "additional"),
    [
        ("default", {}, {("Namespace", NAME)}),
        ("namespaced", {"watchNamespaces": [NAME], "crds": {"enabled": False}}, set()),
        (
            "sandbox",
            {"watchNamespaces": [NAME], "crds": {"enabled": False}, "allowHttp": True, "allowedHosts": ["sandbox"],
             "allowedDownloadHosts": ["sandbox"]},
            {("Namespace", SANDBOX_NAMESPACE), ("QualtricsExporter", "teams-rollout"), ("Secret", "nexthink"),
             ("Secret", "qualtrics"), ("Deployment", "sandbox"), ("Service", "sandbox")},
        ),
    ],
    ids=["default", "namespaced", "sandbox"],
)  # fmt: skip
def test_kustomize_installs_the_same_objects_as_the_chart(
    cluster: ControlPlane, helm: Helm, folder: str, values: dict[str, Any], additional: set[tuple[str, str]]
) -> None:
    rendered = helm.template(NAME, namespace=NAME, values=values)
    by_helm = {(b["kind"], b["metadata"]["name"]): b for b in rendered if not is_hook(b)}
    by_kustomize = {(b["kind"], b["metadata"]["name"]): b for b in built(cluster, ROOT / "config" / folder)}
    assert by_kustomize.keys() - by_helm.keys() == additional
    assert by_helm.keys() <= by_kustomize.keys()
    for key, body in by_helm.items():
        assert normalized(by_kustomize[key]) == normalized(body), key


def normalized(body: dict[str, Any]) -> dict[str, Any]:
    """The object without its metadata, without labels of the installer, and without the name of its namespace."""
    fields = {field: value for field, value in body.items() if field != "metadata"}
    if "subjects" in fields:
        fields["subjects"] = [
            {**subject, "namespace": subject["namespace"] == body["metadata"].get("namespace", NAME)}
            for subject in fields["subjects"]
        ]
    if body["kind"] == "Deployment":
        fields = json.loads(json.dumps(fields))
        template = fields["spec"]["template"]
        template["metadata"] = {
            field: {k: v for k, v in values.items() if k != "helm.sh/chart" and v != "Helm"}
            for field, values in template["metadata"].items()
        }
        (container,) = template["spec"]["containers"]
        container["env"] = {variable["name"]: value_of(variable) for variable in container["env"]}
    return fields


def value_of(variable: dict[str, Any]) -> Any:
    """The value of the variable in a pod in the default namespace of the installation."""
    source = variable.get("valueFrom")
    return NAME if source == {"fieldRef": {"fieldPath": "metadata.namespace"}} else source or variable["value"]


def is_hook(body: dict[str, Any]) -> bool:
    return "helm.sh/hook" in body["metadata"].get("annotations", {})


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_output_does_not_mention_helm(cluster: ControlPlane, folder: str) -> None:
    assert "helm" not in json.dumps(built(cluster, ROOT / "config" / folder)).lower()


def test_kustomize_installs_the_generated_crd(cluster: ControlPlane) -> None:
    (crd,) = built(cluster, ROOT / "config" / "crd")
    (path,) = (ROOT / "crds").glob("*.yaml")
    assert crd == plain_yaml.read(path.read_text("utf-8"))


# Overlays of users


def test_overlay_sets_namespace_image_and_name_prefix_in_all_objects(
    cluster: ControlPlane, create_overlay: CreateOverlay
) -> None:
    objects = built(cluster, create_overlay("default", namespace="surveys"))
    deployment = only(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{IMAGE}:1.2.3"
    assert deployment["metadata"]["name"] == f"team-{NAME}"
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    (preferred,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["labelSelector"] == deployment["spec"]["selector"]
    assert only(objects, "Namespace", "surveys")
    for body in objects:
        assert body["metadata"].get("namespace", "surveys") == "surveys"
        for subject in body.get("subjects", []):
            assert (subject["name"], subject["namespace"]) == (f"team-{NAME}", "surveys")
        if role := body.get("roleRef"):
            assert only(objects, role["kind"], role["name"])
    leases = {v["name"]: v for v in container["env"] if "NAMESPACE" in v["name"]}
    assert leases["QUALTRICS_EXPORTER_LEASE_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_namespaced_installation_has_no_permissions_outside_its_namespace(
    cluster: ControlPlane, create_overlay: CreateOverlay
) -> None:
    objects = built(cluster, create_overlay("namespaced", namespace="surveys"))
    assert all(body["metadata"]["namespace"] == "surveys" for body in objects)
    assert not {body["kind"] for body in objects} & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.mark.parametrize("folder", ["base", "namespaced"])
def test_two_installations_in_one_namespace_have_different_leases_and_pods(
    cluster: ControlPlane, create_overlay: CreateOverlay, folder: str
) -> None:
    """Shards are installed like this. With a common Lease, one of them would wait forever without a message."""
    shards = [create_overlay(folder, namespace="surveys", prefix=prefix) for prefix in ("dex-", "workplace-")]
    objects = built(cluster, create_overlay(*shards))
    leases, selected = set(), []
    for deployment in (body for body in objects if body["kind"] == "Deployment"):
        name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (lease,) = (v["value"] for v in container["env"] if v["name"] == "QUALTRICS_EXPORTER_LEASE_NAME")
        leases.add(lease)
        role = only(objects, "Role", f"{name}-leader-election")
        assert {n for rule in role["rules"] for n in rule.get("resourceNames", [])} == {lease}
        selectors = [b["spec"]["selector"] for b in objects if b["kind"] in ("Deployment", "PodDisruptionBudget")]
        selectors = [s["matchLabels"] for s in selectors] + [
            b["spec"]["selector"] for b in objects if b["kind"] == "Service"
        ]
        selected += [s for s in selectors if s.items() <= labels.items()]
    assert leases == {f"dex-{NAME}", f"workplace-{NAME}"}
    assert len(selected) == 2 * 3  # by the Deployment, PodDisruptionBudget and Service of each


@pytest.mark.parametrize("folder", ["base", "namespaced"])
def test_second_apply_changes_nothing_and_delete_removes_everything(
    cluster: ControlPlane, namespace: str, create_overlay: CreateOverlay, folder: str
) -> None:
    """No pods run here. The tests of the chart verify that the permissions are sufficient."""
    overlay = create_overlay(folder, namespace=namespace)
    objects = built(cluster, overlay)
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "-f", "-", input=everything)

    def live() -> Objects:
        listed = cluster.kubectl("get", "-f", "-", "-o", "json", "--show-managed-fields", input=everything).stdout
        return list(json.loads(listed)["items"])

    before = live()
    for body in objects:
        (stored,) = (
            o for o in before if (o["kind"], o["metadata"]["name"]) == (body["kind"], body["metadata"]["name"])
        )
        assert differences(body, stored) == []
    assert cluster.kubectl("diff", "-k", str(overlay)).stdout == ""
    cluster.kubectl("apply", "-k", str(overlay))
    assert live() == before
    can = functools.partial(allowed, cluster, f"system:serviceaccount:{namespace}:team-{NAME}")
    eventually(lambda: can(namespace, "get", "secrets"), "the authorizer knows the roles")
    assert not can(namespace, "list", "secrets")
    assert can("default", "get", "secrets") == (folder == "base")
    assert can(namespace, "update", "leases", group="coordination.k8s.io", name=f"team-{NAME}")
    assert not can(namespace, "update", "leases", group="coordination.k8s.io", name=NAME)
    cluster.kubectl("delete", "-k", str(overlay), "--wait=false")
    assert cluster.kubectl("get", "-f", "-", "--ignore-not-found", input=everything).stdout == ""


def test_operator_for_all_namespaces_moves_to_another_namespace_by_delete_and_apply(
    cluster: ControlPlane, namespace: str, create_overlay: CreateOverlay
) -> None:
    new_namespace = cluster.namespace(f"{namespace}-2")
    old, new = (create_overlay("base", namespace=each) for each in (namespace, new_namespace))
    cluster.kubectl("apply", "-k", str(old))
    cluster.kubectl("delete", "-k", str(old), "--wait=false")
    cluster.kubectl("apply", "-k", str(new))
    old_user, new_user = (f"system:serviceaccount:{each}:team-{NAME}" for each in (namespace, new_namespace))
    eventually(lambda: allowed(cluster, new_user, "default", "get", "secrets"), "the new operator has its permissions")
    assert not allowed(cluster, old_user, "default", "get", "secrets")
    cluster.kubectl("delete", "-k", str(new), "--wait=false")


def allowed(
    cluster: ControlPlane, user: str, namespace: str, verb: str, resource: str, *, group: str = "", name: str = ""
) -> bool:
    """Ask the API server whether the user has the permission, as `kubectl auth can-i` does."""
    attributes = {"namespace": namespace, "verb": verb, "resource": resource, "group": group, "name": name}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    api = kubernetes.client.AuthorizationV1Api(cluster.api())
    return bool(api.create_subject_access_review(review).status.allowed)


# The folders default and sandbox, which include all others


@pytest.mark.parametrize("folder", ["default", "sandbox"])
def test_api_server_accepts_every_object_and_stores_it_unchanged(
    cluster: ControlPlane, namespace: str, create_overlay: CreateOverlay, folder: str
) -> None:
    overlay = create_overlay(folder, namespace=namespace)
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--field-manager=gitops", "-o", "json")
    stored = json.loads(cluster.kubectl("apply", *flags, "-k", str(overlay)).stdout)
    live = {(b["kind"], b["metadata"]["name"]): b for b in stored["items"]}
    for body in built(cluster, overlay):
        expected = {**body, **({"data": {}} if body["kind"] == "Secret" else {})}
        expected.pop("stringData", None)  # the API server stores it in `data`
        assert differences(expected, live[body["kind"], body["metadata"]["name"]]) == []


def test_pods_pass_the_restricted_standard(cluster: ControlPlane, namespace: str) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    found = [pod for folder in ("default", "sandbox") for pod in pods(built(cluster, ROOT / "config" / folder))]
    assert len(found) == 3

    def create(bodies: Objects) -> subprocess.CompletedProcess[str]:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        return cluster.kubectl("create", "-n", namespace, "--dry-run=server", "-f", "-", input=listed, check=False)

    assert create(found).returncode == 0
    rejected = create([{**pod, "spec": {**pod["spec"], "securityContext": {}}} for pod in found])
    assert rejected.stderr.count("violates PodSecurity") == len(found)


def test_default_installation_creates_a_namespace_that_enforces_the_restricted_standard(default: Objects) -> None:
    labels = only(default, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


# The sandbox


def test_sandbox_installation_shares_no_object_with_a_default_one_and_manages_only_its_namespace(
    cluster: ControlPlane, default: Objects, create_overlay: CreateOverlay
) -> None:
    with_sandbox = built(cluster, ROOT / "config" / "sandbox")
    assert identities(with_sandbox) & identities(default) == set()
    assert {key for key in identities(with_sandbox) if key[1] != SANDBOX_NAMESPACE} == {
        ("Namespace", None, SANDBOX_NAMESPACE)
    }
    variables = {
        v["name"]: v for v in only(with_sandbox, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    watched = variables["QUALTRICS_EXPORTER_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert watched == "metadata.namespace"
    assert variables["QUALTRICS_EXPORTER_ALLOWED_HOST"]["value"] == "sandbox"
    both = built(cluster, create_overlay("default", "sandbox"))
    assert identities(both) == identities(with_sandbox) | identities(default)


async def test_sandbox_accepts_the_credentials_in_its_secrets(cluster: ControlPlane) -> None:
    objects = built(cluster, ROOT / "config" / "sandbox")
    (container,) = only(objects, "Deployment", "sandbox")["spec"]["template"]["spec"]["containers"]
    with sandbox.make_context("sandbox", container["args"][1:]) as context:
        flags = context.params
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"nexthink": flags["nexthink_port"], "qualtrics": flags["qualtrics_port"]}
    assert {p["name"]: p["port"] for p in only(objects, "Service", "sandbox")["spec"]["ports"]} == ports
    # The sandbox would answer 403 to a request of the kubelet for one of its pages.
    assert container["readinessProbe"] == {"tcpSocket": {"port": "qualtrics"}, "periodSeconds": 5}
    async with Sandbox(Account.default(), host="127.0.0.1", advertise=flags["advertise"]) as served:
        for name, keys in served.secrets().items():
            configured = only(objects, "Secret", name)["stringData"]
            assert {key: value.replace(f":{ports[name]}", "") for key, value in configured.items()} == {
                key: value.replace(f":{getattr(served, f'{name}_url').rpartition(':')[2]}", "")
                for key, value in keys.items()
            }


def test_exporter_of_the_sandbox_has_the_spec_of_the_sample(cluster: ControlPlane) -> None:
    exporter = only(built(cluster, ROOT / "config" / "sandbox"), "QualtricsExporter", "teams-rollout")
    sample = plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))
    assert exporter["spec"] == sample["spec"]


@pytest.mark.parametrize("prefix", ["", "team-"])
def test_exporter_refers_to_the_generated_names_of_its_secrets(
    control_plane: ControlPlane, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        json.dumps({"resources": [os.path.relpath(ROOT / "samples" / "kustomize", tmp_path)], "namePrefix": prefix})
    )
    assert_secret_names(built(control_plane, tmp_path), prefix)


def test_exporter_refers_to_the_generated_names_also_in_a_kustomization_with_the_operator(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    sample = (ROOT / "samples" / "crashes.yaml").read_text()
    (tmp_path / "exporter.yaml").write_text(sample)
    kustomization = {
        "namespace": "dex",
        "resources": [os.path.relpath(ROOT / "config" / "default", tmp_path), "exporter.yaml"],
        "secretGenerator": [{"name": name, "literals": ["clientId=x"]} for name in ("nexthink", "qualtrics")],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    assert_secret_names(built(control_plane, tmp_path), "")


def assert_secret_names(objects: Objects, prefix: str) -> None:
    """Assert that the exporter refers to the generated names of its two Secrets."""
    (exporter,) = (body for body in objects if body["kind"] == "QualtricsExporter")
    secrets = {body["metadata"]["name"] for body in objects if body["kind"] == "Secret"}
    references = {side: exporter["spec"][side]["credentialsSecretRef"]["name"] for side in ("nexthink", "qualtrics")}
    assert set(references.values()) == secrets
    for side, name in references.items():
        assert re.fullmatch(rf"{prefix}{side}-[a-z0-9]{{10}}", name)


def test_sample_for_generated_secrets_has_the_same_exporter_as_the_other_samples() -> None:
    samples = ROOT / "samples"
    assert (samples / "kustomize" / "crashes.yaml").read_text() == (samples / "crashes.yaml").read_text()
