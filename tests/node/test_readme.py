"""The installation commands of the README and of docs/image.md work, on a node without a release.

The registry is in the network of the node, so Helm runs there too. It has the published chart. To save time, the node
already has the image.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.image.archive import Image
from hack.image.builder import version
from hack.node import settings
from hack.node.node import Node
from hack.programs import build, installed
from hack.release import chart
from tests.support.registry import LocalRegistry
from tests.support.waiting import HANG, HANG_SECONDS

README = (ROOT / "README.md").read_text("utf-8")
INSTALL = re.search(r"^## Install\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
FROM_SOURCE = (ROOT / "docs" / "image.md").read_text("utf-8")
NAMESPACE = "qualtrics-exporter"
NEEDED = ("charts", "config", "crds")


REGISTRY = "registry.example.com"
"""The registry in the commands."""


@pytest.fixture
def repository(node: Node, image: Image, tmp_path: Path) -> Iterator[Path]:
    """A copy of the files that the commands need. The node has the image under the name in the README."""
    tag(node, image, REGISTRY)
    for folder in NEEDED:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    yield tmp_path
    # Delete everything except the namespace, which would take long. Helm and kubectl cannot share the CRD.
    kinds = "deployments,services,poddisruptionbudgets,roles,rolebindings,serviceaccounts,secrets"
    node.kubectl("delete", kinds, "--all", "--namespace", NAMESPACE)
    label = f"--selector=app.kubernetes.io/instance={NAMESPACE}"
    node.kubectl("delete", "crds,clusterroles,clusterrolebindings", label, "--ignore-not-found")
    node.kubectl("delete", "crd", "qualtricsexporters.qualtrics-exporter.dev", "--ignore-not-found")


def tag(node: Node, image: Image, registry: str) -> None:
    """Give the image the name that it has in a registry."""
    name = f"{registry}/{chart.IMAGE}:{version()}"
    tagged = node.inside("ctr", "--namespace", "k8s.io", "images", "tag", "--force", image.name, name)
    assert tagged.returncode == 0, tagged.stderr


@pytest.fixture
def registry(node: Node, image: Image, repository: Path) -> Iterator[str]:
    """A registry in the network of the node, with the published chart. The node has the image under its name there."""
    with LocalRegistry(repository, node) as serving:
        tag(node, image, serving.host)
        package = chart.package(serving.host, version(), repository)
        push = ("push", str(package), f"oci://{serving.host}/charts", "--plain-http")
        done = node.run(str(build()), "helm", *push, env={**os.environ, "HOME": str(repository)})
        assert done.returncode == 0, done.stderr
        yield serving.host


def section(tool: str) -> str:
    """The text of the README about the installation with a tool."""
    assert INSTALL
    return re.split(r"^With |^Image and chart are signed", INSTALL[1], flags=re.MULTILINE)[
        ["Helm", "kubectl", "kustomize"].index(tool) + 1
    ]


def code(text: str, language: str) -> str:
    """The only code block of a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


def run(command: str, repository: Path, node: Node, registry: str | None = None) -> None:
    """Run a shell command like a user who has kubectl and Helm, and has set the registry as the README says.

    With a registry in the network of the node, the command runs there. The registry has no TLS, which Helm must know.
    """
    assert INSTALL
    (first,) = re.findall(r"^REGISTRY=.*$", INSTALL[1], re.MULTILINE)
    programs = repository / "programs"
    programs.mkdir()
    flags = "--plain-http" if registry else ""
    (programs / "helm").write_text(f'#!/bin/sh\nexec {build()} helm "$@" {flags}\n')
    (programs / "kubectl").write_text(f'#!/bin/sh\nexec {installed("kubectl")} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    kubeconfig = node.kubeconfig.read_text()
    if registry:
        first = first.replace(REGISTRY, registry)
        kubeconfig = re.sub(r"https://127\.0\.0\.1:\d+", f"https://{settings.ADDRESS}:{settings.PORT}", kubeconfig)
    (repository / "kubeconfig").write_text(kubeconfig)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(repository / "kubeconfig"),
        "HOME": str(repository),
    }
    done = subprocess.run(
        [*(node.network_command if registry else []), "sh", "-euc", f"{first}\n{command}"],
        cwd=repository, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def assert_operator_runs(node: Node) -> None:
    """Assert that two pods are ready and that the API server serves exporters."""
    node.kubectl("rollout", "status", f"deployment/{NAMESPACE}", "--namespace", NAMESPACE, f"--timeout={HANG}")
    assert node.read(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAMESPACE}")["status"]["readyReplicas"] == 2
    assert node.read("/apis/qualtrics-exporter.dev/v1alpha1/qualtricsexporters")["items"] == []


def test_operator_runs_after_installation_with_helm_from_the_registry(
    repository: Path, node: Node, registry: str
) -> None:
    run(code(section("Helm"), "sh"), repository, node, registry)
    assert_operator_runs(node)


def test_operator_runs_after_installation_of_the_chart_in_the_repository(repository: Path, node: Node) -> None:
    (command,) = re.findall(r"^helm install (?:.*\\\n)*.*$", FROM_SOURCE, re.MULTILINE)
    run(command, repository, node)
    assert_operator_runs(node)


def test_operator_runs_after_installation_with_kubectl(repository: Path, node: Node) -> None:
    run(code(section("kubectl"), "sh"), repository, node)
    assert_operator_runs(node)


def test_operator_runs_after_installation_with_kustomize(repository: Path, node: Node) -> None:
    text = section("kustomize")
    (folder,) = re.findall(r"say `(.*?)/`", text)
    (repository / folder).mkdir()
    (repository / folder / "kustomization.yaml").write_text(code(text, "yaml"))
    (command,) = re.findall(r"`(kubectl .*?)`", text.replace("\n", " "))
    run(command, repository, node)
    assert_operator_runs(node)
