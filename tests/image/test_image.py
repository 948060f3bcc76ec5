"""The image: its contents, how it runs, its bill of materials, and how it is built."""

import json
import re
import subprocess
import tarfile
import tomllib
from email.parser import Parser
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from hack.files import ROOT
from hack.image.archive import Image
from hack.image.builder import REVISION, arguments, rebuilt, version
from hack.image.builder import image as built_image
from tests.image.conftest import Unpacked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

LARGEST_TRANSFER = 40e6
LARGEST_UNPACKED = 110e6
"""Limits in bytes. The image had 31 and 89 million bytes when these limits were set."""


@pytest.fixture(scope="module")
def files(image: Image) -> dict[str, tarfile.TarInfo]:
    """All members of the image, by path."""
    return {"/" + member.name.removeprefix("./").strip("/"): member for member, _ in image.files()}


@pytest.fixture(scope="module")
def contents(image: Image) -> dict[str, bytes]:
    """The contents of all files, by path."""
    return {"/" + member.name.removeprefix("./"): content for member, content in image.files() if member.isfile()}


# Metadata


def test_labels_describe_the_product_its_version_and_its_base(image: Image) -> None:
    labels = image.configuration["config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == PROJECT["name"]
    assert labels[f"{prefix}description"] == PROJECT["description"]
    assert labels[f"{prefix}licenses"] == PROJECT["license"]
    assert labels[f"{prefix}version"] == PROJECT["version"] == version()
    assert labels[f"{prefix}base.name"].startswith("localhost/debian:")


@pytest.mark.long
def test_commit_is_a_label_of_the_image_and_changes_no_layer(image: Image) -> None:
    first, second = (built_image(revision=commit) for commit in ("a" * 40, "b" * 40))
    assert [one.configuration["config"]["Labels"].get(REVISION) for one in (first, second)] == ["a" * 40, "b" * 40]
    assert first.configuration["rootfs"] == second.configuration["rootfs"] == image.configuration["rootfs"]


def test_image_runs_the_controller_by_default_as_a_numeric_user(image: Image) -> None:
    config = image.configuration["config"]
    assert config["Entrypoint"] == ["qualtrics-exporter"]
    assert config["Cmd"] == ["controller"]
    assert config["User"] == "65532:65532"
    assert "8080/tcp" in config["ExposedPorts"]


def test_image_is_not_larger_than_its_limits(image: Image, files: dict[str, tarfile.TarInfo]) -> None:
    assert image.compressed < LARGEST_TRANSFER
    assert sum(member.size for member in files.values()) < LARGEST_UNPACKED


# Contents


def test_image_contains_no_programs_except_python_and_the_operator(files: dict[str, tarfile.TarInfo]) -> None:
    folders = re.compile(r"(?:/usr|/usr/local|/opt/[^/]+)?/s?bin/(.+)")
    programs = {found[1] for found in map(folders.fullmatch, files) if found}
    assert "sh" not in programs
    assert {re.sub(r"[0-9.]+$", "", program) for program in programs} == {"python", "qualtrics-exporter"}


def test_image_has_no_shell(unpacked: Unpacked) -> None:
    for shell in ("/bin/sh", "/bin/bash", "/usr/bin/dash", "/bin/busybox"):
        assert unpacked.run(shell, "-c", "true", check=False).returncode == 127


def test_image_has_no_package_installer(unpacked: Unpacked) -> None:
    for module in ("pip", "ensurepip", "venv", "setuptools"):
        done = unpacked.run("python3", "-m", module, "--version", check=False)
        assert f"No module named {module}" in done.stderr


def test_files_belong_to_root_without_setuid_and_only_tmp_is_writable(files: dict[str, tarfile.TarInfo]) -> None:
    assert [path for path, member in files.items() if member.mode & 0o6000] == []
    writable = [path for path, member in files.items() if member.mode & 0o022 and not member.issym()]
    assert writable == ["/tmp"]
    assert files["/tmp"].mode & 0o7777 == 0o1777
    assert {(member.uid, member.gid) for member in files.values()} == {(0, 0)}


def test_image_contains_no_paths_configuration_or_times_of_the_build(image: Image, contents: dict[str, bytes]) -> None:
    assert [path for path, content in contents.items() if str(ROOT).encode() in content] == []
    assert [path for path in contents if path.startswith(("/source", "/build", "/wheel", "/root", "/home"))] == []
    assert [path for path in contents if path.endswith(("pip.conf", "pip-ca.pem", "RECORD", "direct_url.json"))] == []
    assert {member.mtime for member, _ in image.files()} == {0}


# Running the image


def test_image_runs_as_nonroot_with_a_read_only_root_file_system(unpacked: Unpacked) -> None:
    output = unpacked.python(
        "import errno, getpass, os, pwd\n"
        "print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, getpass.getuser())\n"
        "try:\n    open('/tmp/x', 'w')\n"
        "except OSError as error:\n    print(errno.errorcode[error.errno])"
    )
    assert output.splitlines() == ["65532 65532 nonroot nonroot", "EROFS"]


def test_help_of_the_program_works(unpacked: Unpacked) -> None:
    assert "controller" in unpacked.run("qualtrics-exporter", "--help").stdout


def test_crd_command_prints_the_crd_of_the_repository(unpacked: Unpacked) -> None:
    (crd,) = (ROOT / "crds").glob("*.yaml")
    assert unpacked.run("qualtrics-exporter", "crd").stdout.strip() == crd.read_text().strip()


@pytest.mark.long
def test_demo_export_succeeds_in_the_image(unpacked: Unpacked) -> None:
    done = unpacked.run("qualtrics-exporter", "demo", environment={"TMPDIR": "/dev/shm"})
    assert "Succeeded" in done.stdout + done.stderr


def test_python_trusts_exactly_the_public_certificate_authorities_of_debian(
    unpacked: Unpacked, contents: dict[str, bytes]
) -> None:
    trusted = unpacked.python("import ssl; print(len(ssl.create_default_context().get_ca_certs()))")
    assert int(trusted) > 100
    # The build machine may trust more authorities, to reach a package index. The image has those of the Debian package.
    bundle = contents["/etc/ssl/certs/ca-certificates.crt"].decode()
    assert len(re.findall("BEGIN CERTIFICATE", bundle)) == int(trusted)


def test_python_knows_the_iana_time_zones(unpacked: Unpacked) -> None:
    offset = unpacked.python(
        "from datetime import datetime; from zoneinfo import ZoneInfo\n"
        "print(datetime(2026, 7, 1, tzinfo=ZoneInfo('Europe/Zurich')).utcoffset())"
    )
    assert offset == "2:00:00"


def test_all_imported_modules_are_already_compiled(unpacked: Unpacked) -> None:
    output = unpacked.python(
        "import os, sys, qualtrics_exporter.cli.controller, qualtrics_exporter.controller.app\n"
        "specs = [getattr(module, '__spec__', None) for module in list(sys.modules.values())]\n"
        "cached = [spec.cached for spec in specs if spec and spec.cached]\n"
        "print(len(cached), [path for path in cached if not os.path.exists(path)])"
    )
    number, missing = output.split(" ", 1)
    assert int(number) > 500
    assert missing == "[]"


def test_every_module_of_the_operator_can_be_imported(unpacked: Unpacked) -> None:
    number = unpacked.python(
        "import importlib, pkgutil, qualtrics_exporter as package\n"
        "names = [m.name for m in pkgutil.walk_packages(package.__path__, 'qualtrics_exporter.')]\n"
        "print(len([importlib.import_module(name) for name in names if not name.endswith('__main__')]))"
    )
    assert int(number) > 80


def test_image_contains_the_parts_of_the_kubernetes_client_that_the_operator_uses(unpacked: Unpacked) -> None:
    controller = ROOT / "operator" / "qualtrics_exporter" / "controller"
    text = "\n".join(path.read_text() for path in controller.rglob("*.py"))
    imports = re.findall(r"^from kubernetes\S* import .*$|^import kubernetes.*$", text, re.MULTILINE)
    assert set(imports) == {"from kubernetes.aio import client, config", "from kubernetes.aio import client"}
    names = sorted(set(re.findall(r"\b((?:client|config)\.[A-Za-z_]\w*)", text)))
    assert "client.ApiClient" in names
    assert unpacked.python(f"from kubernetes.aio import client, config; print(len([{', '.join(names)}]))")


# The bill of materials


def test_sbom_lists_exactly_the_python_packages_at_their_pinned_versions(
    image: Image, contents: dict[str, bytes]
) -> None:
    listed = sbom_versions(image, "pkg:pypi/")
    installed: dict[str, str] = {}
    for path, content in contents.items():
        if path.endswith(".dist-info/METADATA"):
            metadata = Parser().parsestr(content.decode())
            installed[canonical(metadata["Name"])] = metadata["Version"]
    assert listed == installed
    pinned = dict(re.findall(r"^(\S+)==([^\s;\\]+)", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE))
    assert {name: version for name, version in installed.items() if name != PROJECT["name"]} == {
        name: version for name, version in pinned.items() if name in installed
    }
    assert canonical("kopf") in installed


def test_sbom_lists_exactly_the_debian_packages_and_each_has_its_copyright(
    image: Image, contents: dict[str, bytes]
) -> None:
    installed: dict[str, str] = {}
    for path, content in contents.items():
        if path.startswith("/var/lib/dpkg/status.d/"):
            metadata = Parser().parsestr(content.decode())
            installed[metadata["Package"]] = metadata["Version"]
    assert sbom_versions(image, "pkg:deb/") == installed
    assert {"libc6", "libssl3", "ca-certificates"} <= installed.keys()
    assert not {"dash", "bash", "apt", "dpkg", "coreutils"} & installed.keys()
    assert {f"/usr/share/doc/{name}/copyright" for name in installed} <= contents.keys()


def test_sbom_is_valid_and_describes_the_operator(image: Image) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(image.sbom().decode()) is None
    document = json.loads(image.sbom())
    assert document["metadata"]["component"]["purl"] == f"pkg:pypi/{PROJECT['name']}@{PROJECT['version']}"


def sbom_versions(image: Image, purl_prefix: str) -> dict[str, str]:
    """The versions of the components of one type in the bill of materials, by name."""
    document = json.loads(image.sbom())
    components = [*document["components"], document["metadata"]["component"]]
    name = canonical if purl_prefix == "pkg:pypi/" else str
    return {name(each["name"]): each["version"] for each in components if each["purl"].startswith(purl_prefix)}


def canonical(name: str) -> str:
    """The normalized name of a Python package, as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# The build


@pytest.mark.long
def test_build_from_scratch_gives_the_same_digest(image: Image, tmp_path: Path) -> None:
    again = rebuilt(tmp_path)
    assert again.digest == image.digest


def test_build_context_contains_only_the_files_that_are_copied() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    needed = {name.split("/")[0] for line in copied for name in line.split()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == needed
    assert "*" in lines


def test_make_image_passes_all_build_arguments_to_another_engine() -> None:
    output = subprocess.run(
        ["make", "--dry-run", "image", "ENGINE=podman", "BASE=python:3"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    (build,) = re.findall(r"^podman build .*?\.$", output, re.MULTILINE | re.DOTALL)
    given = set(re.findall(r"--build-arg ([A-Z]+)=", build))
    declared = set(re.findall(r"^ARG ([A-Z]+)", (ROOT / "Containerfile").read_text(), re.MULTILINE))
    assert given == declared == set(arguments("python:3"))
    assert f"--label {REVISION}=" in build
    assert "hack.image" not in output
