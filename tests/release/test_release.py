"""A whole release into a local registry: one command, signatures that protect it, and its installation on a node.

Everything runs in the network of the node, which reaches nothing else. So a release and its verification need no
service besides the registry.
"""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.image.archive import Image
from hack.image.builder import version
from hack.node import settings
from hack.node.node import Node, unsupported_reason
from hack.programs import build
from hack.release import programs
from hack.release.steps import CHART, FOLDER
from tests.conftest import skip_outside_ci
from tests.support.registry import LocalRegistry
from tests.support.waiting import HANG, HANG_SECONDS

pytestmark = pytest.mark.long

NAMESPACE = "surveys"


@dataclass
class Published:
    """A release in the registry of a node, and the commands of a user who has crane, cosign and Helm."""

    node: Node
    registry: str
    folder: Path
    image: Image
    output: str = ""

    @property
    def image_name(self) -> str:
        return f"{self.registry}/qualtrics-exporter/qualtrics-exporter:{version()}"

    @property
    def chart_name(self) -> str:
        return f"{self.registry}/{CHART}:{version()}"

    @property
    def files(self) -> Path:
        """A copy of the files of the release. The next attempt to release replaces the original."""
        return self.folder / "files"

    @property
    def public_key(self) -> Path:
        return self.files / "cosign.pub"

    def release(self) -> subprocess.CompletedProcess[str]:
        """Publish with the command of `make release`."""
        options = ("--rehearsal", "--plain-http", "--key", str(self.folder / "cosign.key"))
        return self.step("publish", *options, "--registry", self.registry, str(self.image.archive))

    def verify(self) -> subprocess.CompletedProcess[str]:
        return self.step("verify", "--registry", self.registry, "--public-key", str(self.public_key))

    def step(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "hack.release", *arguments)

    def crane(self, *arguments: str) -> str:
        return self.checked(str(programs.crane()), *arguments)

    def cosign(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        flags = ("--key", str(self.public_key), "--insecure-ignore-tlog=true")
        return self.run(str(programs.cosign()), arguments[0], *flags, *arguments[1:])

    def helm(self, *arguments: str) -> str:
        return self.checked(str(build()), "helm", *arguments)

    def checked(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.node.kubeconfig),
            "COSIGN_PASSWORD": "a password",
        }
        return self.node.run(*command, cwd=ROOT, env=environment, timeout=HANG_SECONDS)


@pytest.fixture(scope="module")
def published(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A release in the registry of a node that has no image of the operator."""
    if reason := unsupported_reason():
        skip_outside_ci(f"no node can be run: {reason}")
    folder = tmp_path_factory.mktemp("release")
    with Node() as node, LocalRegistry(folder, node) as registry:
        published = Published(node, registry.host, folder, image)
        environment = {**os.environ, "COSIGN_PASSWORD": "a password"}
        subprocess.run([programs.cosign(), "generate-key-pair"], cwd=folder, env=environment, check=True)
        done = published.release()
        assert done.returncode == 0, done.stdout + done.stderr
        published.output = done.stdout
        shutil.copytree(FOLDER, published.files)
        yield published
        shutil.rmtree(FOLDER)


def test_one_command_publishes_signs_and_verifies_a_release(published: Published) -> None:
    lines = dict(line.split(maxsplit=1) for line in published.output.splitlines())
    assert lines["version"] == version()
    assert lines["image"] == f"{published.image_name}@{published.crane('digest', published.image_name).strip()}"
    assert lines["chart"] == f"oci://{published.chart_name}@{published.crane('digest', published.chart_name).strip()}"
    assert lines["verified"] == f"{published.image_name} and oci://{published.chart_name}"


def test_published_image_is_the_built_one(published: Published) -> None:
    index = json.loads(published.crane("manifest", published.image_name))
    (manifest,) = index["manifests"]
    assert manifest["digest"] == published.image.digest
    assert manifest["platform"] == {
        "architecture": published.image.configuration["architecture"],
        "os": published.image.configuration["os"],
    }


@pytest.mark.parametrize("name", ["image_name", "chart_name"])
def test_cosign_verifies_image_and_chart_with_the_public_key(published: Published, name: str) -> None:
    assert published.cosign("verify", getattr(published, name)).returncode == 0


def test_another_key_verifies_nothing(published: Published, tmp_path: Path) -> None:
    environment = {**os.environ, "COSIGN_PASSWORD": ""}
    subprocess.run([programs.cosign(), "generate-key-pair"], cwd=tmp_path, env=environment, check=True)
    other = ("--registry", published.registry, "--public-key", str(tmp_path / "cosign.pub"))
    done = published.step("verify", *other)
    assert done.returncode == 1
    assert f"verify --key {tmp_path / 'cosign.pub'}" in done.stderr
    assert published.image_name in done.stderr


def attested(published: Published, name: str, kind: str) -> dict[str, object]:
    """The statement of a verified attestation."""
    done = published.cosign("verify-attestation", "--type", kind, name)
    assert done.returncode == 0, done.stderr
    envelope = json.loads(done.stdout.splitlines()[0])
    statement: dict[str, object] = json.loads(base64.b64decode(envelope["payload"]))
    return statement


def test_sbom_of_the_image_is_attached_and_signed(published: Published) -> None:
    repository = published.image_name.rpartition(":")[0]
    statement = attested(published, f"{repository}@{published.image.digest}", "cyclonedx")
    assert statement["predicate"] == json.loads(published.image.sbom())


@pytest.mark.parametrize("name", ["image_name", "chart_name"])
def test_provenance_of_image_and_chart_is_attached_and_signed(published: Published, name: str) -> None:
    statement = attested(published, getattr(published, name), "slsaprovenance1")
    digest = published.crane("digest", getattr(published, name)).strip().removeprefix("sha256:")
    assert [subject["digest"]["sha256"] for subject in statement["subject"]] == [digest]  # type: ignore[attr-defined]
    parameters = statement["predicate"]["buildDefinition"]["externalParameters"]  # type: ignore[index]
    assert parameters["version"] == version()


def test_checksums_of_the_packages_are_signed(published: Published) -> None:
    sums = published.files / "SHA256SUMS"
    assert published.cosign("verify-blob", "--bundle", f"{sums}.sigstore.json", str(sums)).returncode == 0
    subprocess.run(
        ["sha256sum", "--check", "--strict", sums.name], cwd=published.files, check=True, capture_output=True
    )
    changed = published.folder / "SHA256SUMS"
    changed.write_text(sums.read_text() + "\n")
    assert published.cosign("verify-blob", "--bundle", f"{sums}.sigstore.json", str(changed)).returncode == 1


def test_repeated_release_changes_nothing(published: Published) -> None:
    again = published.release()
    assert again.returncode == 0, again.stderr
    assert again.stdout == published.output


def test_published_chart_runs_the_published_image_in_a_new_namespace(published: Published) -> None:
    node = published.node
    node.namespace(NAMESPACE)
    server = f"--kube-apiserver=https://{settings.ADDRESS}:{settings.PORT}"
    published.helm(
        *("install", "qualtrics-exporter", f"oci://{published.registry}/{CHART}", "--version", version()),
        *("--namespace", NAMESPACE, "--plain-http", "--wait", f"--timeout={HANG}", server),
    )
    pods = node.read(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    assert len(pods) == 2
    digest = published.crane("digest", published.image_name).strip()
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["image"], status["ready"]) == (published.image_name, True)
        assert status["imageID"] == f"{published.image_name.rpartition(':')[0]}@{digest}"
    assert node.read("/apis/qualtrics-exporter.dev/v1alpha1/qualtricsexporters")["items"] == []


@pytest.fixture
def restored(published: Published) -> Iterator[Published]:
    """The release. After the test, its tags have their digests again."""
    names = {name: published.crane("digest", name).strip() for name in (published.image_name, published.chart_name)}
    yield published
    for name, digest in names.items():
        published.crane("tag", f"{name.rpartition(':')[0]}@{digest}", version())


def test_image_that_somebody_changed_is_refused(restored: Published) -> None:
    restored.crane("mutate", restored.image_name, "--entrypoint=another", "--tag", restored.image_name)
    assert_refused(restored, restored.image_name)


def test_chart_that_somebody_changed_is_refused(restored: Published, tmp_path: Path) -> None:
    package = tmp_path / f"qualtrics-exporter-{version()}.tgz"
    with (
        tarfile.open(restored.files / package.name) as source,
        tarfile.open(package, "w:gz") as target,
    ):
        for member in source:
            content = (source.extractfile(member) or io.BytesIO()).read()
            content = content.replace(b"replicaCount: 2", b"replicaCount: 3")
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    restored.helm("push", str(package), f"oci://{restored.registry}/charts", "--plain-http")
    assert_refused(restored, restored.chart_name)


def assert_refused(published: Published, name: str) -> None:
    """Assert that neither cosign nor the release accepts the tag, and that the release replaces nothing."""
    before = published.crane("digest", name)
    assert "no signatures found" in published.cosign("verify", name).stderr
    assert published.verify().returncode == 1
    refused = published.release()
    assert refused.returncode == 1
    assert f"{name} is already published with " in refused.stderr
    assert "release a new version" in refused.stderr
    assert published.crane("digest", name) == before
