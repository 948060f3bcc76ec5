"""Reads an image in an OCI archive."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SBOM = "usr/share/sbom/qualtrics-exporter.cdx.json"


@dataclass(frozen=True)
class Image:
    """An image in an OCI archive."""

    archive: Path

    @property
    def digest(self) -> str:
        """The digest of the manifest. Pods that pin the image use it."""
        digest: str = self._json("index.json")["manifests"][0]["digest"]
        return digest

    @property
    def name(self) -> str:
        name: str = self._json("index.json")["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
        return name

    @property
    def configuration_digest(self) -> str:
        """The digest of the configuration. Container runtimes use it as the id of the image."""
        return str(self._manifest()["config"]["digest"])

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration: how a container runs, the labels, and the digests of the uncompressed layers."""
        found: dict[str, Any] = self._json(_blob(self._manifest()["config"]))
        return found

    @property
    def compressed(self) -> int:
        """The size of all compressed layers in bytes: what a pull transfers."""
        return sum(layer["size"] for layer in self._manifest()["layers"])

    @property
    def layers(self) -> list[str]:
        """The paths of the layers in the archive, lowest layer first."""
        return [_blob(layer) for layer in self._manifest()["layers"]]

    def files(self) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Yield all members, layer by layer. The content of a member that is not a file is empty."""
        with tarfile.open(self.archive) as archive:
            for layer in self.layers:
                with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                    for member in files:
                        content = files.extractfile(member) if member.isfile() else None
                        yield member, content.read() if content else b""

    def sbom(self) -> bytes:
        """The bill of materials, in CycloneDX."""
        return next(content for member, content in self.files() if member.name.removeprefix("./") == SBOM)

    def _manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = self._json(_blob(self._json("index.json")["manifests"][0]))
        return found

    def _json(self, member: str) -> Any:
        with tarfile.open(self.archive) as archive:
            file = archive.extractfile(member)
            assert file
            return json.load(file)


def _blob(descriptor: dict[str, Any]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")
