"""Pushes, signs and verifies in an OCI registry, with crane and cosign.

Signatures, the SBOM and the provenance are attached as referrers: they are found by the digest that they are about. A
key signs them. No transparency log, certificate authority or other service of a third party takes part, so a private
registry can be used, and everything can be verified without the internet.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hack.build import BuildError
from hack.limits import HANG_SECONDS
from hack.release import programs

SIGNING_SERVICES = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
TRUSTED_SERVICES = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
"""Files that name no service. Without them, cosign would download the names of the public services."""
MISSING = re.compile(r"MANIFEST_UNKNOWN|NAME_UNKNOWN|404 Not Found")

SBOM = "cyclonedx"
PROVENANCE = "slsaprovenance1"
"""The types of attestations, as cosign names them."""


def login(registry: str, user: str, password: str) -> None:
    """Store a password where crane, cosign and Helm find it: in the settings of docker."""
    host = registry.partition("/")[0]
    _run([str(programs.crane()), "auth", "login", host, "--username", user, "--password-stdin"], given=password)


def digest(name: str) -> str | None:
    """Return the digest of a tag, or None if the registry does not have it."""
    done = _run([str(programs.crane()), "digest", name], check=False)
    if done.returncode == 0:
        return done.stdout.strip()
    if MISSING.search(done.stderr):
        return None
    raise BuildError(f"{name} cannot be read: {done.stderr.strip()}")


def push(layout: Path, name: str) -> str:
    """Push the only entry of an OCI layout, with everything below it, and return the digest."""
    return _run([str(programs.crane()), "push", str(layout), name]).stdout.strip().rpartition("@")[2]


def platforms(name: str) -> list[str]:
    """Return the names of the images in an index, by digest."""
    manifests = json.loads(_run([str(programs.crane()), "manifest", name]).stdout)["manifests"]
    return [f"{_repository(name)}@{manifest['digest']}" for manifest in manifests]


def first_layer(name: str) -> bytes:
    """Return the content of the first layer of an artifact. The first layer of a chart is its package."""
    crane = str(programs.crane())
    layer = json.loads(_run([crane, "manifest", name]).stdout)["layers"][0]["digest"]
    command = [crane, "blob", f"{_repository(name)}@{layer}"]
    return subprocess.run(command, capture_output=True, check=True, timeout=HANG_SECONDS).stdout


def _repository(name: str) -> str:
    """The name without tag and digest. A colon before the last slash belongs to the port of the registry."""
    return re.sub(r"(:[\w.+-]+)?(@sha256:[0-9a-f]{64})?$", "", name)


@dataclass(frozen=True)
class Signer:
    """Signs with a private key: a file, `env://VARIABLE`, or a key of a key management service as cosign names it.

    The environment variable COSIGN_PASSWORD decrypts the key.
    """

    key: str = field(repr=False)

    def public_key(self) -> str:
        """Return the public key, in PEM."""
        return _run([str(programs.cosign()), "public-key", "--key", self.key]).stdout

    def sign(self, name: str, *, recursive: bool = False) -> None:
        """Sign a digest in the registry: an index with `recursive`, which also signs the image of each architecture."""
        self._cosign("sign", *(["--recursive"] if recursive else []), name)

    def attest(self, name: str, kind: str, predicate: Path) -> None:
        """Attach a signed statement about a digest in the registry."""
        self._cosign("attest", "--type", kind, "--predicate", str(predicate), name)

    def sign_file(self, path: Path) -> Path:
        """Sign a file, and return the path of the signature next to it."""
        bundle = path.with_name(f"{path.name}.sigstore.json")
        self._cosign("sign-blob", "--bundle", str(bundle), str(path))
        return bundle

    def _cosign(self, command: str, *arguments: str) -> None:
        with _no_services() as flags:
            _run([str(programs.cosign()), command, "--yes", "--key", self.key, *flags, *arguments])


@dataclass(frozen=True)
class Verifier:
    """Verifies with a public key. All methods raise BuildError if a signature is missing or wrong."""

    public_key: Path

    def image(self, name: str) -> None:
        """Verify the signature of an image, an index or a chart."""
        self._cosign("verify", name)

    def attestation(self, name: str, kind: str) -> None:
        """Verify that a signed statement of this type is attached."""
        self._cosign("verify-attestation", "--type", kind, name)

    def file(self, path: Path) -> None:
        """Verify the signature next to a file."""
        self._cosign("verify-blob", "--bundle", f"{path}.sigstore.json", str(path))

    def _cosign(self, command: str, *arguments: str) -> None:
        # There is no transparency log to look into.
        flags = ("--key", str(self.public_key), "--insecure-ignore-tlog=true")
        _run([str(programs.cosign()), command, *flags, *arguments])


@contextmanager
def _no_services() -> Iterator[list[str]]:
    """Yield flags for cosign that name no public services."""
    with tempfile.TemporaryDirectory() as folder:
        flags = []
        for flag, content in (("--signing-config", SIGNING_SERVICES), ("--trusted-root", TRUSTED_SERVICES)):
            path = Path(folder) / f"{flag.strip('-')}.json"
            path.write_text(json.dumps(content))
            flags += [flag, str(path)]
        yield flags


def _run(command: list[str], *, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, "COSIGN_PASSWORD": os.environ.get("COSIGN_PASSWORD", "")},
        timeout=HANG_SECONDS,
        check=False,
    )
    if check and done.returncode != 0:
        raise BuildError(f"{Path(command[0]).name.partition('-')[0]} {' '.join(command[1:])} failed:\n{done.stderr}")
    return done
