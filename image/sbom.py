"""Writes the bill of materials of the image (SBOM), in CycloneDX: all Python packages and Debian packages.

    sbom.py FILE TREE...   the trees are the layers of the image

The trees are the source, so the SBOM does not list packages that are only required, or only used for the build. The
same trees give the same file: the serial number is a hash of the contents.
"""

import hashlib
import json
import os
import platform
import sys
import uuid
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

SUBJECT = "qualtrics-exporter"


def python_packages(trees: list[Path]) -> Iterator[Component]:
    """Yield the Python packages in the image."""
    folders = [str(folder) for tree in trees for folder in sorted(tree.glob("opt/*/lib/python3*/site-packages"))]
    for found in distributions(path=folders):
        name, expression = found.metadata["Name"], found.metadata["License-Expression"]
        yield Component(
            type=ComponentType.APPLICATION if name == SUBJECT else ComponentType.LIBRARY,
            name=name,
            version=found.version,
            purl=PackageURL("pypi", None, name.lower().replace("_", "-").replace(".", "-"), found.version),
            licenses=[LicenseFactory().make_from_string(expression)] if expression else [],
        )


def debian_packages(trees: list[Path]) -> Iterator[Component]:
    """Yield the Debian packages that own files in the image."""
    for path in sorted(path for tree in trees for path in tree.glob("var/lib/dpkg/status.d/*")):
        metadata = Parser().parsestr(path.read_text())
        qualifiers = {"arch": metadata["Architecture"], "distro": distribution()}
        purl = PackageURL(
            "deb", platform.freedesktop_os_release()["ID"], metadata["Package"], metadata["Version"], qualifiers
        )
        yield Component(name=metadata["Package"], version=metadata["Version"], purl=purl)


def interpreter(trees: list[Path]) -> Iterator[Component]:
    """Yield Python, unless it comes from a Debian package."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not any(tree.joinpath("var/lib/dpkg/status.d", f"python{version}-minimal").exists() for tree in trees):
        full = platform.python_version()
        yield Component(name="python", version=full, purl=PackageURL("generic", None, "python", full))


def distribution() -> str:
    """Return the distribution of the base, such as debian-12."""
    os_release = platform.freedesktop_os_release()
    return f"{os_release['ID']}-{os_release.get('VERSION_ID', 'unstable')}"


def main(file: Path, trees: list[Path]) -> None:
    parts = [*python_packages(trees), *debian_packages(trees), *interpreter(trees)]
    for part in parts:
        part.bom_ref.value = str(part.purl)
    (subject,) = (part for part in parts if part.name == SUBJECT)
    bom = Bom(components=[part for part in parts if part is not subject])
    bom.metadata.component = subject
    purls = "\n".join(sorted(str(part.purl) for part in parts))
    bom.serial_number = uuid.UUID(bytes=hashlib.sha256(purls.encode()).digest()[:16], version=5)
    bom.register_dependency(subject, bom.components)
    file.parent.mkdir(parents=True, exist_ok=True)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]  # the only part that differs between builds
    file.write_text(json.dumps(document, indent=2) + "\n")
    for path in (file, *(folder for folder in file.parents if folder.is_relative_to(trees[-1]))):
        os.utime(path, (0, 0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
