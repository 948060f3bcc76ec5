"""The installation commands of the README work, in a copy of the repository and on a node without a release."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.image.archive import Image
from hack.node.node import Node
from hack.programs import build, installed
from tests.support.waiting import HANG, HANG_SECONDS

README = (ROOT / "README.md").read_text("utf-8")
INSTALL = re.search(r"^## Install\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
NAMESPACE = "qualtrics-exporter"
NEEDED = ("charts", "config", "crds")


@pytest.fixture
def repository(node: Node, image: Image, tmp_path: Path) -> Iterator[Path]:
    """A copy of the files that the commands need. The node has the image under the name in the README."""
    assert INSTALL
    (name,) = re.findall(r"registry\.example\.com/\S+:[\d.]+", INSTALL[1].split("```")[0])
    tagged = node.inside("ctr", "--namespace", "k8s.io", "images", "tag", "--force", image.name, name)
    assert tagged.returncode == 0, tagged.stderr
    for folder in NEEDED:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    yield tmp_path
    # Delete everything except the namespace, which would take long. Helm and kubectl cannot share the CRD.
    kinds = "deployments,services,poddisruptionbudgets,roles,rolebindings,serviceaccounts,secrets"
    node.kubectl("delete", kinds, "--all", "--namespace", NAMESPACE)
    label = f"--selector=app.kubernetes.io/instance={NAMESPACE}"
    node.kubectl("delete", "crds,clusterroles,clusterrolebindings", label, "--ignore-not-found")
    node.kubectl("delete", "crd", "qualtricsexporters.qualtrics-exporter.dev", "--ignore-not-found")


def section(tool: str) -> str:
    """The text of the README about the installation with a tool."""
    assert INSTALL
    return re.split(r"^With |^The operator then", INSTALL[1], flags=re.MULTILINE)[
        ["Helm", "kubectl", "kustomize"].index(tool) + 1
    ]


def code(text: str, language: str) -> str:
    """The only code block of a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


def run(command: str, repository: Path, node: Node) -> None:
    """Run a shell command like a user who has kubectl and Helm."""
    programs = repository / "programs"
    programs.mkdir()
    (programs / "helm").write_text(f'#!/bin/sh\nexec {build()} helm "$@"\n')
    (programs / "kubectl").write_text(f'#!/bin/sh\nexec {installed("kubectl")} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(node.kubeconfig),
        "HOME": str(repository),
    }
    done = subprocess.run(
        ["sh", "-euc", command], cwd=repository, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr


def assert_operator_runs(node: Node) -> None:
    """Assert that two pods are ready and that the API server serves exporters."""
    node.kubectl("rollout", "status", f"deployment/{NAMESPACE}", "--namespace", NAMESPACE, f"--timeout={HANG}")
    assert node.read(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAMESPACE}")["status"]["readyReplicas"] == 2
    assert node.read("/apis/qualtrics-exporter.dev/v1alpha1/qualtricsexporters")["items"] == []


def test_operator_runs_after_installation_with_helm(repository: Path, node: Node) -> None:
    run(code(section("Helm"), "sh"), repository, node)
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
