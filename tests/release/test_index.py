"""The images of several architectures become one index, which a registry serves for each architecture."""

import json
import subprocess
from pathlib import Path

import pytest

from hack.build import BuildError
from hack.release import index, oci, programs
from tests.release.images import tiny_image
from tests.support.registry import LocalRegistry


def test_registry_serves_the_image_of_each_architecture_from_one_index(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    images = {name: tiny_image(tmp_path / "archives", name) for name in ("arm64", "amd64")}
    digest = index.merge(list(images.values()), tmp_path / "layout")
    with LocalRegistry(tmp_path) as registry:
        name = f"{registry.host}/qualtrics-exporter/qualtrics-exporter:0.1.0"
        assert oci.digest(name) is None
        assert oci.push(tmp_path / "layout", name) == oci.digest(name) == digest
        for architecture, image in images.items():
            assert crane("digest", "--platform", f"linux/{architecture}", name) == image.digest
            config = json.loads(crane("config", "--platform", f"linux/{architecture}", name))
            assert config["architecture"] == architecture
        # crane checks the digest and the size of each blob.
        crane("validate", "--remote", name)
        annotations = json.loads(crane("manifest", name))["annotations"]
        assert annotations["org.opencontainers.image.version"] == "0.1.0"


def crane(*arguments: str) -> str:
    done = subprocess.run([programs.crane(), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_index_does_not_depend_on_the_order_of_the_images(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    images = [tiny_image(tmp_path / "archives", name) for name in ("arm64", "amd64")]
    assert index.merge(images, tmp_path / "one") == index.merge(images[::-1], tmp_path / "two")


def test_two_images_of_one_architecture_are_refused(tmp_path: Path) -> None:
    images = [tiny_image(tmp_path, "amd64") for _ in range(2)]
    with pytest.raises(BuildError, match="for the same architecture"):
        index.merge(images, tmp_path / "layout")


def test_images_of_two_commits_are_refused(tmp_path: Path) -> None:
    revision = "org.opencontainers.image.revision"
    images = [
        tiny_image(tmp_path, name, **{revision: commit * 40}) for name, commit in (("amd64", "a"), ("arm64", "b"))
    ]
    with pytest.raises(BuildError, match="not of the same version and commit"):
        index.merge(images, tmp_path / "layout")
