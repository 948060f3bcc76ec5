"""Makes and verifies releases: `make release REGISTRY=registry.example.com`. See docs/releasing.md."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from hack.build import BuildError
from hack.files import ROOT
from hack.helm import HelmError
from hack.release import distributions, oci, programs
from hack.release.steps import Release, Target, verify
from hack.release.version import check


def main(arguments: list[str] | None = None) -> None:
    """Run one step, or all steps."""
    wanted = parser().parse_args(arguments)
    match wanted.step:
        case "check":
            print(check(rehearsal=wanted.rehearsal))
        case "packages":
            for path in distributions.build(ROOT / "dist"):
                print(path.relative_to(ROOT))
        case "key":
            subprocess.run([programs.cosign(), "generate-key-pair"], check=False)
        case "login":
            oci.login(wanted.registry, wanted.user, os.environ["REGISTRY_PASSWORD"])
        case "publish":
            target = Target(wanted.registry.rstrip("/"), wanted.plain_http)
            Release(target, oci.Signer(wanted.key), wanted.images, wanted.rehearsal).make()
        case "verify":
            target = Target(wanted.registry.rstrip("/"), wanted.plain_http)
            verify(target, wanted.version or check(rehearsal=True), oci.Verifier(wanted.public_key))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    commands = argparse.ArgumentParser(prog="python -m hack.release", description=__doc__)
    steps = commands.add_subparsers(dest="step", required=True)
    checking = steps.add_parser("check", help="check that this commit is a release, and print its version")
    steps.add_parser("packages", help="build the wheel and the source distribution into dist/")
    steps.add_parser("key", help="create cosign.key and cosign.pub in the current folder")
    login = steps.add_parser("login", help="store the password in the variable REGISTRY_PASSWORD for later steps")
    login.add_argument("--registry", required=True, help="such as registry.example.com, with an optional path")
    login.add_argument("--user", required=True)
    publishing = steps.add_parser("publish", help="check, build, push, sign and verify")
    verifying = steps.add_parser("verify", help="verify what is published")
    for step in (publishing, verifying):
        step.add_argument("--registry", required=True, help="such as registry.example.com, with an optional path")
        step.add_argument("--plain-http", action="store_true", help="for a registry on this machine without TLS")
    for step in (checking, publishing):
        step.add_argument(
            "--rehearsal", action="store_true", help="accept a commit without a tag, and one architecture"
        )
    publishing.add_argument(
        "--key",
        default="env://COSIGN_PRIVATE_KEY",
        help="the private key, as cosign names it (default: the environment variable COSIGN_PRIVATE_KEY)",
    )
    publishing.add_argument(
        "images", nargs="*", type=Path, help="archives of `make image`, one for each architecture (default: build one)"
    )
    verifying.add_argument("--public-key", required=True, type=Path, help="the file cosign.pub of the release")
    verifying.add_argument("--version", help="default: the version of this source")
    return commands


if __name__ == "__main__":
    try:
        main()
    except (BuildError, HelmError) as error:
        sys.exit(str(error))
