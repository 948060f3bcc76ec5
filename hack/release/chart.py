"""Packages the chart for a registry: `python -m hack.release chart`.

The packaged chart pulls the image from the registry of the release, so `helm install oci://…` needs no value. Nothing
else differs from the chart in this repository.
"""

import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from hack import chart
from hack.build import BuildError
from hack.helm import CHART, Helm
from hack.release import index

IMAGE = "qualtrics-exporter/qualtrics-exporter"
"""The repository of the image, which is also the default of the value `image.repository`."""

EXAMPLE = "registry.example.com"
"""The registry in the documentation."""


def package(registry: str, version: str, folder: Path, *, source: Path = CHART) -> Path:
    """Write the package of the chart into a folder, and return its path."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / source.name
        shutil.copytree(source, copy, ignore=_ignored_by_git(source))
        set_registry(copy, registry, version)
        Helm(Path(temporary)).run("package", str(copy), "--destination", str(folder))
    return folder / f"{source.name}-{version}.tgz"


def _ignored_by_git(source: Path) -> Callable[[str, list[str]], set[str]]:
    """What `shutil.copytree` leaves out: files that are in no commit, such as a copy of values with a password."""
    command = ["git", "ls-files", "--others", "-z", "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    untracked = {source / name for name in done.stdout.split("\0") if name} if done.returncode == 0 else set()

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(folder) / name in untracked}

    return ignored


def set_registry(folder: Path, registry: str, version: str) -> None:
    """Set the registry of the image, in the values of a chart and everything that is generated from them."""
    values = folder / "values.yaml"
    text, count = re.subn(r'^(  registry: )""$', rf'\g<1>"{registry}"', values.read_text("utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise BuildError(f'{values} must have the line `  registry: ""` once, and has it {count} times.')
    values.write_text(text, "utf-8")
    for name, generated in chart.generated(folder).items():
        (folder / name).write_text(generated.replace(f"oci://{EXAMPLE}/", f"oci://{registry}/"), "utf-8")
    description = folder / "Chart.yaml"
    images = f"  artifacthub.io/images: |\n    - name: controller\n      image: {registry}/{IMAGE}:{version}\n"
    description.write_text(description.read_text("utf-8") + images, "utf-8")


def hub_metadata(content: bytes, layout: Path) -> str:
    """Write the layout of the artifact from which Artifact Hub reads `artifacthub-repo.yml`, and return its digest."""
    configuration, configuration_size = index.write_blob(layout, b"{}")
    digest, size = index.write_blob(layout, content)
    kind = "application/vnd.cncf.artifacthub"
    manifest = {
        "schemaVersion": 2,
        "mediaType": index.MANIFEST,
        "config": {"mediaType": f"{kind}.config.v1+yaml", "digest": configuration, "size": configuration_size},
        "layers": [
            {
                "mediaType": f"{kind}.repository-metadata.layer.v1.yaml",
                "digest": digest,
                "size": size,
                "annotations": {"org.opencontainers.image.title": "artifacthub-repo.yml"},
            }
        ],
    }
    return index.write_layout(layout, manifest, index.MANIFEST)


def same_content(first: bytes, second: bytes) -> bool:
    """Return whether two packages contain the same files. Their times differ, because Helm writes the current time."""
    return _files(first) == _files(second)


def _files(package: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        read = ((member.name, archive.extractfile(member)) for member in archive if member.isfile())
        return {name: file.read() for name, file in read if file}
