"""The published chart: its default registry is that of the release, and nothing else changes."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from hack import plain_yaml
from hack.build import BuildError
from hack.files import ROOT
from hack.helm import CHART, Helm
from hack.image.builder import version
from hack.release import chart, oci, programs
from tests.support.registry import LocalRegistry

REGISTRY = "registry.example.com/tools"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chart.package(REGISTRY, version(), tmp_path_factory.mktemp("chart"))


def image(folder: Path, source: Path) -> str:
    """The image of the operator that a chart installs by default."""
    objects = Helm(folder, chart=source).template("qex")
    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def test_published_chart_pulls_the_published_image_by_default(package: Path, tmp_path: Path) -> None:
    assert image(tmp_path, package) == f"{REGISTRY}/qualtrics-exporter/qualtrics-exporter:{version()}"
    assert image(tmp_path, CHART) == f"qualtrics-exporter/qualtrics-exporter:{version()}"


def test_published_chart_differs_only_in_the_registry(package: Path, tmp_path: Path) -> None:
    Helm(tmp_path).run("package", str(CHART), "--destination", str(tmp_path))
    before, after = (files(path.read_bytes()) for path in (tmp_path / package.name, package))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"qualtrics-exporter/{name}" for name in ("Chart.yaml", "README.md", "values.yaml")}
    values = "qualtrics-exporter/values.yaml"
    page = "qualtrics-exporter/README.md"
    assert f"helm install qualtrics-exporter oci://{REGISTRY}/charts/qualtrics-exporter" in after[page]
    assert plain_yaml.read(before[values])["image"].pop("registry") == ""
    assert after[values].replace(f'registry: "{REGISTRY}"', 'registry: ""') == before[values]


def files(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        read = ((member.name, archive.extractfile(member)) for member in archive if member.isfile())
        return {name: file.read().decode() for name, file in read if file}


def test_artifact_hub_finds_the_image_in_the_annotations(package: Path) -> None:
    description = plain_yaml.read(files(package.read_bytes())["qualtrics-exporter/Chart.yaml"])
    (listed,) = plain_yaml.read(description["annotations"]["artifacthub.io/images"])
    assert listed == {
        "name": "controller",
        "image": f"{REGISTRY}/qualtrics-exporter/qualtrics-exporter:{version()}",
    }


def test_packages_with_the_same_files_are_equal_at_any_time(package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tgz"
    with tarfile.open(package) as source, tarfile.open(copy, "w:gz") as target:
        for member in source:
            member.mtime += 3600
            target.addfile(member, source.extractfile(member))
    assert copy.read_bytes() != package.read_bytes()
    assert chart.same_content(copy.read_bytes(), package.read_bytes())
    other = chart.package("registry.example.com", version(), tmp_path)
    assert not chart.same_content(other.read_bytes(), package.read_bytes())


def test_file_that_git_ignores_is_not_published(tmp_path: Path) -> None:
    """`git status` does not show it, so the first step of a release accepts it."""
    source = tmp_path / "repository" / "qualtrics-exporter"
    shutil.copytree(CHART, source)
    (source / ".gitignore").write_text("*.local\n")
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=source.parent, check=True)
    (source / "files" / "values.local").write_text("password: hunter2\n")
    (source / "values.yaml.local").write_text("password: hunter2\n")
    packed = files(chart.package(REGISTRY, version(), tmp_path, source=source).read_bytes())
    assert [name for name in packed if name.endswith(".local")] == []
    assert "qualtrics-exporter/files/alerts.yaml" in packed


def test_chart_without_the_line_of_the_registry_is_refused(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "chart")
    values = tmp_path / "chart" / "values.yaml"
    values.write_text(values.read_text("utf-8").replace('  registry: ""', '  registry: "elsewhere"'))
    with pytest.raises(BuildError, match=r"must have the line `  registry: \"\"` once, and has it 0 times"):
        chart.set_registry(tmp_path / "chart", REGISTRY, version())


def test_registry_serves_the_chart_and_the_metadata_of_artifact_hub(package: Path, tmp_path: Path) -> None:
    content = (ROOT / "artifacthub-repo.yml").read_bytes()
    chart.hub_metadata(content, tmp_path / "layout")
    with LocalRegistry(tmp_path) as registry:
        helm = Helm(tmp_path)
        helm.run("push", str(package), f"oci://{registry.host}/charts", "--plain-http")
        name = f"{registry.host}/charts/qualtrics-exporter"
        assert chart.same_content(oci.first_layer(f"{name}:{version()}"), package.read_bytes())
        shown = helm.run("show", "chart", f"oci://{name}", "--version", version(), "--plain-http").stdout
        assert plain_yaml.read(shown)["version"] == version()
        oci.push(tmp_path / "layout", f"{name}:artifacthub.io")
        assert oci.first_layer(f"{name}:artifacthub.io") == content


def test_login_stores_the_password_for_the_host_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    oci.login(REGISTRY, "ana", "a password")
    credentials = subprocess.run(
        [programs.crane(), "auth", "get", "registry.example.com"], capture_output=True, text=True, check=True
    ).stdout
    assert '"Username":"ana"' in credentials
    assert '"Secret":"a password"' in credentials
