"""Tiny images in OCI archives, as `make image` writes them, for any architecture."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from hack.image.archive import SBOM, Image

LABELS = {"org.opencontainers.image.title": "qualtrics-exporter", "org.opencontainers.image.version": "0.1.0"}


def tiny_image(folder: Path, architecture: str, **labels: str) -> Image:
    """Write an archive with an image that has only an SBOM."""
    sbom = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": architecture}]})
    layer = tar({SBOM: sbom.encode()})
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    configuration = {
        "os": "linux",
        "architecture": architecture,
        "config": {"Labels": {**LABELS, **labels}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(files, json.dumps(configuration).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(files, gzip.compress(layer, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    entry = blob(files, json.dumps(manifest).encode(), str(manifest["mediaType"]))
    entry["annotations"] = {"org.opencontainers.image.ref.name": "localhost/qualtrics-exporter:0.1.0"}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    path = folder / f"{architecture}-{len(list(folder.iterdir()))}.oci.tar"
    path.write_bytes(tar(files))
    return Image(path)


def blob(files: dict[str, bytes], content: bytes, media_type: str) -> dict[str, Any]:
    """Add a blob to the files of an archive, and return its descriptor."""
    digest = hashlib.sha256(content).hexdigest()
    files[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def tar(files: dict[str, bytes]) -> bytes:
    """Return a tar archive with these files."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()
