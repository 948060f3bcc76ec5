"""The steps of a release, in their order. Each step can be repeated: a release that failed is made again.

Nothing that is published is ever replaced. If the registry has the version with other content, the release is refused.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hack.build import BuildError
from hack.files import ROOT
from hack.helm import Helm
from hack.image import builder
from hack.image.archive import Image
from hack.release import chart, distributions, index, oci, plugin, provenance
from hack.release.version import ReleaseError, check

CHARTS = "charts"
CHART = f"{CHARTS}/qualtrics-exporter"
ARCHITECTURES = ("amd64", "arm64")
FOLDER = ROOT / "dist" / "release"


@dataclass(frozen=True)
class Target:
    """The registry, with an optional path, such as registry.example.com/tools: the only place that names it."""

    registry: str
    plain_http: bool = False
    """Whether Helm uses HTTP. crane and cosign use it for registries on this machine."""

    def image(self, version: str) -> str:
        return f"{self.registry}/{chart.IMAGE}:{version}"

    def chart(self, version: str) -> str:
        return f"{self.registry}/{CHART}:{version}"


@dataclass(frozen=True)
class Release:
    """Makes a release in a folder, and publishes it."""

    target: Target
    signer: oci.Signer
    archives: Sequence[Path] = ()
    """The archives of the image, one for each architecture. Without any, the image of this machine is built."""
    rehearsal: bool = False
    """A rehearsal needs no tag, no section in the changelog and no plugin, and an image of only one architecture."""
    downloads: str = ""
    """The URL from which users will download the files of the release. krew gets the plugin from there."""
    folder: Path = FOLDER
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def make(self) -> None:
        """Check, build, push, sign and verify."""
        version = check(rehearsal=self.rehearsal)
        if not (self.downloads or self.rehearsal):
            raise ReleaseError("Set DOWNLOADS to the URL from which users will download the files in dist/release.")
        report("version", version)
        images = self.images()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.files(version)
        image_digest = self.push_image(version, images)
        chart_digest = self.push_chart(version)
        self.sign(version, images, image_digest, chart_digest)
        self.push_hub_metadata()
        verify(self.target, version, oci.Verifier(self.public_key))

    @property
    def public_key(self) -> Path:
        return self.folder / "cosign.pub"

    def images(self) -> list[Image]:
        """Return the image of each architecture, and refuse a release without one of them."""
        images = [Image(path) for path in self.archives] or [builder.image(revision=builder.revision())]
        found = {image.configuration["architecture"] for image in images}
        if missing := [name for name in ARCHITECTURES if name not in found and not self.rehearsal]:
            raise ReleaseError(
                f"There is no image for {' and '.join(missing)}: run `make image` on a machine of that architecture, "
                f"and pass the archives of all architectures with IMAGES."
            )
        return images

    def files(self, version: str) -> None:
        """Build the wheel, the source distribution and the plugin for krew, and sign their checksums."""
        self.public_key.write_text(self.signer.public_key())
        built = distributions.build(self.folder)
        if self.downloads:
            built += plugin.build(version, self.downloads, distributions.wheel(built), self.folder, plugin.PLATFORMS)
        sums = self.folder / "SHA256SUMS"
        sums.write_text(distributions.checksums(built))
        self.signer.sign_file(sums)
        for path in sorted(built):
            report("file", str(path.name))

    def push_image(self, version: str, images: Sequence[Image]) -> str:
        """Merge the images, push the index, and return its digest."""
        layout = self.folder / "image"
        merged = index.merge(images, layout)
        name = self.target.image(version)
        published = oci.digest(name)
        if published and published != merged:
            raise ReleaseError(f"{name} is already published with the digest {published}: release a new version.")
        if not published:
            oci.push(layout, name)
        report("image", f"{name}@{merged}")
        return merged

    def push_chart(self, version: str) -> str:
        """Package and push the chart, and return its digest."""
        name = self.target.chart(version)
        package = chart.package(self.target.registry, version, self.folder)
        published = oci.digest(name)
        if published and not chart.same_content(oci.first_layer(name), package.read_bytes()):
            raise ReleaseError(f"{name} is already published with other content: release a new version.")
        if not published:
            plain = ["--plain-http"] if self.target.plain_http else []
            Helm(self.folder / "helm").run("push", str(package), f"oci://{self.target.registry}/{CHARTS}", *plain)
            published = oci.digest(name)
        if not published:
            raise BuildError(f"{name} was pushed, but the registry does not have it.")
        report("chart", f"oci://{name}@{published}")
        return published

    def push_hub_metadata(self) -> None:
        """Push the metadata that Artifact Hub reads. Unlike a version, it is replaced by each release."""
        layout = self.folder / "artifacthub"
        chart.hub_metadata((ROOT / "artifacthub-repo.yml").read_bytes(), layout)
        oci.push(layout, f"{self.target.registry}/{CHART}:artifacthub.io")

    def sign(self, version: str, images: Sequence[Image], image_digest: str, chart_digest: str) -> None:
        """Sign the index with its images, and the chart. Attach the SBOM of each image, and the provenance of both."""
        image = f"{self.target.image(version)}@{image_digest}"
        chart_name = f"{self.target.chart(version)}@{chart_digest}"
        self.signer.sign(image, recursive=True)
        self.signer.sign(chart_name)
        predicate = self.folder / "provenance.json"
        statement = provenance.predicate(version, builder.revision(), images, self.started, datetime.now(UTC))
        predicate.write_text(json.dumps(statement, indent=2) + "\n")
        for name in (image, chart_name):
            self.signer.attest(name, oci.PROVENANCE, predicate)
        for one in images:
            sbom = self.folder / f"qualtrics-exporter-{version}-{one.configuration['architecture']}.cdx.json"
            sbom.write_bytes(one.sbom())
            self.signer.attest(f"{self.target.image(version)}@{one.digest}", oci.SBOM, sbom)
        report("signed", f"public key {self.public_key}")


def verify(target: Target, version: str, verifier: oci.Verifier) -> None:
    """Verify everything that is published for a version. Raise BuildError if a signature is missing or wrong."""
    image, chart_name = target.image(version), target.chart(version)
    for name in (image, chart_name):
        verifier.image(name)
        verifier.attestation(name, oci.PROVENANCE)
    for manifest in oci.platforms(image):
        verifier.image(manifest)
        verifier.attestation(manifest, oci.SBOM)
    report("verified", f"{image} and oci://{chart_name}")


def report(what: str, value: str) -> None:
    print(f"{what:<9} {value}", flush=True)
