"""`samples/gitops`, the sample GitOps repository: it builds, the API server accepts it, and it contains no secret."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack import plain_yaml
from hack.files import ROOT
from hack.helm import CHART, Helm
from hack.programs import installed
from tests.support.controlplane import ControlPlane
from tests.support.waiting import HANG_SECONDS

REPOSITORY = ROOT / "samples" / "gitops"
FILES = sorted(REPOSITORY.rglob("*.yaml"))
KUSTOMIZATIONS = sorted(path.parent for path in REPOSITORY.rglob("kustomization.yaml"))
TEAMS = sorted(path for path in (REPOSITORY / "exporters").iterdir())

# The API versions of kinds of other tools: Flux 2.6 and newer, Argo CD, External Secrets 0.16 and newer.
FOREIGN = {
    "ApplicationSet": "argoproj.io/v1alpha1",
    "Application": "argoproj.io/v1alpha1",
    "ExternalSecret": "external-secrets.io/v1",
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
    "OCIRepository": "source.toolkit.fluxcd.io/v1",
}
KUSTOMIZATION = ("kustomize.config.k8s.io/v1beta1", "kustomize.toolkit.fluxcd.io/v1")


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def documents(path: Path) -> list[dict[str, Any]]:
    return [body for body in plain_yaml.read_all(path.read_text("utf-8")) if body]


def all_documents() -> Iterator[dict[str, Any]]:
    for path in FILES:
        yield from documents(path)


def of_kind(kind: str, group: str = "") -> list[dict[str, Any]]:
    return [body for body in all_documents() if body["kind"] == kind and body["apiVersion"].startswith(group)]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_document_has_a_known_kind_and_api_version(path: Path) -> None:
    for body in documents(path):
        kind, version = body["kind"], body["apiVersion"]
        if kind == "Kustomization":
            assert version in KUSTOMIZATION
        elif kind != "Namespace":
            assert version == {**FOREIGN, "QualtricsExporter": "qualtrics-exporter.dev/v1alpha1"}[kind]


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=relative)
def test_kustomization_builds_and_lists_all_files_of_its_folder(control_plane: ControlPlane, folder: Path) -> None:
    assert control_plane.kubectl("kustomize", str(folder)).stdout
    listed = set(plain_yaml.read((folder / "kustomization.yaml").read_text("utf-8"))["resources"])
    assert listed == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}


def test_every_exporter_passes_strict_validation() -> None:
    command = [str(installed("qualtrics-exporter")), "validate", "--strict", str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stdout
    assert f"{len(of_kind('QualtricsExporter'))} exporters checked" in done.stderr + done.stdout


@pytest.mark.parametrize("team", TEAMS, ids=relative)
def test_api_server_accepts_the_objects_in_the_folder_of_a_team(
    cluster: ControlPlane, namespace: str, team: Path
) -> None:
    built = cluster.kubectl("kustomize", str(team)).stdout
    for body in plain_yaml.read_all(built):
        if body["kind"] in FOREIGN:
            continue
        assert body["metadata"].get("namespace", body["metadata"]["name"]) == team.name
        if body["kind"] == "QualtricsExporter":
            body["metadata"]["namespace"] = namespace
        flags = ("--server-side", "--dry-run=server", "--validate=strict", "--field-manager=kustomize-controller")
        cluster.kubectl("apply", *flags, "-f", "-", input=json.dumps(body))


@pytest.mark.parametrize("team", TEAMS, ids=relative)
def test_folder_of_a_team_creates_exactly_the_secrets_that_its_exporters_use(
    control_plane: ControlPlane, team: Path
) -> None:
    bodies = list(plain_yaml.read_all(control_plane.kubectl("kustomize", str(team)).stdout))
    created = {body["metadata"]["name"] for body in bodies if body["kind"] == "ExternalSecret"}
    used = {
        body["spec"][side]["credentialsSecretRef"]["name"]
        for body in bodies
        if body["kind"] == "QualtricsExporter"
        for side in ("nexthink", "qualtrics")
    }
    assert used == created


def test_repository_contains_no_secret_and_only_example_hosts() -> None:
    assert of_kind("Secret") == []
    for path in (path for path in REPOSITORY.rglob("*") if path.is_file()):
        text = path.read_text("utf-8")
        hosts = set(re.findall(r"(?:oci|https?)://([^/\s\"')]+)|^\s*repoURL: ([a-z0-9.-]+)/", text, re.MULTILINE))
        found = {host for pair in hosts for host in pair if host} - {"kubernetes.default.svc", "external-secrets.io"}
        assert {host for host in found if not host.endswith(".example.com")} == set(), path


def test_flux_and_argo_cd_point_to_existing_folders() -> None:
    paths = {body["spec"]["path"] for body in of_kind("Kustomization", "kustomize.toolkit")}
    assert {(REPOSITORY / path).resolve() for path in paths} == {(REPOSITORY / "operator").resolve(), *TEAMS}
    (generator,) = of_kind("ApplicationSet")[0]["spec"]["generators"]
    globs = [directory["path"] for directory in generator["git"]["directories"]]
    assert [path for glob in globs for path in sorted(REPOSITORY.glob(glob))] == TEAMS


def test_flux_waits_for_the_operator_and_for_the_health_of_exporters() -> None:
    for body in of_kind("Kustomization", "kustomize.toolkit"):
        assert body["spec"]["wait"] is True
        if body["spec"]["path"].startswith("./exporters/"):
            assert body["spec"]["dependsOn"] == [{"name": "qualtrics-exporter"}]


def test_flux_and_argo_cd_install_the_chart_with_the_same_valid_values(tmp_path: Path) -> None:
    (release,), (application,) = of_kind("HelmRelease"), of_kind("Application")
    values = release["spec"]["values"]
    assert application["spec"]["source"]["helm"]["valuesObject"] == values
    rendered = Helm(tmp_path).template("qualtrics-exporter", namespace="qualtrics-exporter", values=values)
    (deployment,) = (body for body in rendered if body["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith(f"{values['image']['registry']}/")


def test_flux_and_argo_cd_pin_the_current_version_of_the_chart() -> None:
    """With a version range, the operator would be upgraded without a review."""
    version = plain_yaml.read((CHART / "Chart.yaml").read_text("utf-8"))["version"]
    (chart,), (application,) = of_kind("OCIRepository"), of_kind("Application")
    assert chart["spec"]["ref"] == {"tag": version}
    assert application["spec"]["source"]["targetRevision"] == version


def test_argo_cd_applications_retry_and_use_no_sync_waves() -> None:
    """Argo CD does not assess the health of Applications, so sync waves do not wait for them. Retries work."""
    for body in (*of_kind("Application"), *of_kind("ApplicationSet")):
        assert "argocd.argoproj.io/sync-wave" not in body["metadata"].get("annotations", {})
    for body in of_kind("ApplicationSet"):
        policy = body["spec"]["template"]["spec"]["syncPolicy"]
        assert policy["retry"]["limit"] >= 10
        assert "SkipDryRunOnMissingResource=true" in policy["syncOptions"]
