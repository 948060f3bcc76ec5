"""Makes and verifies releases: `make release REGISTRY=registry.example.com`. See docs/releasing.md."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from hack.build import BuildError
from hack.files import ROOT
from hack.helm import HelmError
from hack.release import distributions, oci, plugin, programs
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
        case "plugin":
            folder = ROOT / "dist" / "plugin"
            shutil.rmtree(folder, ignore_errors=True)
            wheel = distributions.wheel(distributions.build(folder))
            platforms = wanted.platform or plugin.PLATFORMS
            for path in plugin.build(check(rehearsal=True), wanted.downloads, wheel, folder, platforms):
                print(path.relative_to(ROOT))
        case "key":
            subprocess.run([programs.cosign(), "generate-key-pair"], check=False)
        case "login":
            oci.login(wanted.registry, wanted.user, os.environ["REGISTRY_PASSWORD"])
        case "publish":
            target = Target(wanted.registry.rstrip("/"), wanted.plain_http)
            Release(target, oci.Signer(wanted.key), wanted.images, wanted.rehearsal, wanted.downloads).make()
        case "verify":
            target = Target(wanted.registry.rstrip("/"), wanted.plain_http)
            verify(target, wanted.version or check(rehearsal=True), oci.Verifier(wanted.public_key))


def platform(text: str) -> plugin.Platform:
    """A platform of the plugin."""
    system, _, architecture = text.partition("/")
    if (system, architecture) not in plugin.PLATFORMS:
        raise argparse.ArgumentTypeError(f"write one of {', '.join(map('/'.join, plugin.PLATFORMS))}")
    return system, architecture


def parser() -> argparse.ArgumentParser:
    """The command line."""
    commands = argparse.ArgumentParser(prog="python -m hack.release", description=__doc__)
    steps = commands.add_subparsers(dest="step", required=True)
    checking = steps.add_parser("check", help="check that this commit is a release, and print its version")
    steps.add_parser("packages", help="build the wheel and the source distribution into dist/")
    packing = steps.add_parser("plugin", help="build the archives and the manifest of the plugin for krew")
    packing.add_argument("--platform", nargs="+", type=platform, help="such as linux/amd64 (default: all platforms)")
    steps.add_parser("key", help="create cosign.key and cosign.pub in the current folder")
    login = steps.add_parser("login", help="store the password in the variable REGISTRY_PASSWORD for later steps")
    login.add_argument("--registry", required=True, help="such as registry.example.com, with an optional path")
    login.add_argument("--user", required=True)
    publishing = steps.add_parser("publish", help="check, build, push, sign and verify")
    verifying = steps.add_parser("verify", help="verify what is published")
    for step in (publishing, verifying):
        step.add_argument("--registry", required=True, help="such as registry.example.com, with an optional path")
        step.add_argument("--plain-http", action="store_true", help="for a registry on this machine without TLS")
    for step in (packing, publishing):
        step.add_argument(
            "--downloads", default="", help="the URL of the folder from which users will download the files"
        )
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
