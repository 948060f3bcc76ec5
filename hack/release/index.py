"""Merges the images of several architectures into one OCI index: `python -m hack.release merge`.

Each architecture builds its image on a machine of this architecture, because the build runs the Python of the image.
The archives of these machines become one folder in the OCI image layout, which `oci.py` pushes.
"""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hack.build import BuildError
from hack.image.archive import Image

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DESCRIBED = ("title", "description", "licenses", "version", "revision")
"""The labels of the images that the index repeats as annotations, because registries show those."""


def merge(images: Sequence[Image], folder: Path) -> str:
    """Write the layout of one index with these images into a new folder, and return the digest of the index.

    The result does not depend on the order of the images. The images must have different architectures and the same
    labels, so that an image of another commit is refused.
    """
    by_platform = {_platform(image): image for image in images}
    if len(by_platform) != len(images):
        raise BuildError(f"Two images are for the same architecture: {sorted(_platform(image) for image in images)}")
    labels = {json.dumps(_labels(image), sort_keys=True): image for image in images}
    if len(labels) != 1:
        raise BuildError(f"The images are not of the same version and commit: {' and '.join(labels)}")
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for (system, architecture), image in sorted(by_platform.items()):
        _extract(image, folder)
        manifest = blobs / image.digest.removeprefix("sha256:")
        manifests.append(
            {
                "mediaType": json.loads(manifest.read_bytes()).get("mediaType", MANIFEST),
                "digest": image.digest,
                "size": manifest.stat().st_size,
                "platform": {"architecture": architecture, "os": system},
            }
        )
    annotations = _labels(images[0])
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": annotations}
    return write_layout(folder, index, INDEX)


def write_layout(folder: Path, content: dict[str, Any], media_type: str) -> str:
    """Write the manifest or index to which a layout points, and return its digest. Its blobs are already there."""
    digest, size = write_blob(folder, json.dumps(content, separators=(",", ":")).encode())
    entry = {"mediaType": media_type, "digest": digest, "size": size}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
    return digest


def write_blob(folder: Path, content: bytes) -> tuple[str, int]:
    """Write a blob of a layout, and return its digest and size."""
    digest = hashlib.sha256(content).hexdigest()
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / digest).write_bytes(content)
    return f"sha256:{digest}", len(content)


def _platform(image: Image) -> tuple[str, str]:
    return image.configuration["os"], image.configuration["architecture"]


def _labels(image: Image) -> dict[str, str]:
    labels = image.configuration["config"].get("Labels") or {}
    names = [f"org.opencontainers.image.{name}" for name in DESCRIBED]
    return {name: labels[name] for name in names if labels.get(name)}


def _extract(image: Image, folder: Path) -> None:
    """Copy the blobs of an archive into the layout."""
    with tarfile.open(image.archive) as archive:
        members = [member for member in archive if member.isfile() and member.name.startswith("blobs/sha256/")]
        archive.extractall(folder, members, filter="data")
