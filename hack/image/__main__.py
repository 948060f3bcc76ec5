"""Builds the image into `dist/`, and prints its name, digest and size: `make image`."""

import json
import shutil
import sys

from hack.build import BuildError
from hack.files import ROOT
from hack.image.builder import image, revision, version


def main() -> None:
    """Build the image, and write it and its bill of materials into `dist/`."""
    built = image(revision=revision())
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    archive, parts = (folder / f"qualtrics-exporter-{version()}.{kind}" for kind in ("oci.tar", "cdx.json"))
    shutil.copyfile(built.archive, archive)
    parts.write_bytes(built.sbom())
    unpacked = sum(member.size for member, _ in built.files())
    print(f"image   {archive.relative_to(ROOT)}")
    print(f"name    {built.name}")
    print(f"digest  {built.digest}")
    print(f"size    {built.compressed / 1e6:.1f} MB to transfer, {unpacked / 1e6:.1f} MB unpacked")
    print(f"parts   {parts.relative_to(ROOT)}, {len(json.loads(built.sbom())['components'])} of them")


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(str(error))
