"""The image: what is in it, what is not, and that it runs as it is meant to in a cluster."""

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

from tests.environment.build import ROOT
from tests.environment.image import REVISION, Image, arguments, rebuilt, version
from tests.environment.image import image as built_image
from tests.image.conftest import Unpacked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

LARGEST_TRANSFER = 40e6
LARGEST_UNPACKED = 110e6
"""Bytes. It was 31 and 89 million when this was written."""


@pytest.fixture(scope="module")
def files(image: Image) -> dict[str, tarfile.TarInfo]:
    """Everything in it, by its path."""
    return {"/" + member.name.removeprefix("./").strip("/"): member for member, _ in image.files()}


@pytest.fixture(scope="module")
def contents(image: Image) -> dict[str, bytes]:
    """What is in its files."""
    return {"/" + member.name.removeprefix("./"): content for member, content in image.files() if member.isfile()}


# What it is


def test_it_says_what_it_is(image: Image) -> None:
    labels = image.configuration["config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == PROJECT["name"]
    assert labels[f"{prefix}description"] == PROJECT["description"]
    assert labels[f"{prefix}licenses"] == PROJECT["license"]
    assert labels[f"{prefix}version"] == PROJECT["version"] == version()
    assert labels[f"{prefix}base.name"].startswith("localhost/debian:")


@pytest.mark.long
def test_the_commit_that_it_is_built_from_is_a_label_and_changes_no_layer(image: Image) -> None:
    first, second = (built_image(revision=commit) for commit in ("a" * 40, "b" * 40))
    assert [one.configuration["config"]["Labels"].get(REVISION) for one in (first, second)] == ["a" * 40, "b" * 40]
    assert first.configuration["rootfs"] == second.configuration["rootfs"] == image.configuration["rootfs"]


def test_it_runs_the_controller_unless_told_otherwise_as_a_user_whom_kubernetes_can_check(image: Image) -> None:
    config = image.configuration["config"]
    assert config["Entrypoint"] == ["qualtrics-exporter"]
    assert config["Cmd"] == ["controller"]
    assert config["User"] == "65532:65532"
    assert "8080/tcp" in config["ExposedPorts"]


def test_it_is_small(image: Image, files: dict[str, tarfile.TarInfo]) -> None:
    assert image.compressed < LARGEST_TRANSFER
    assert sum(member.size for member in files.values()) < LARGEST_UNPACKED


# What is not in it


def test_there_is_nothing_to_run_in_it_but_python_and_the_operator(files: dict[str, tarfile.TarInfo]) -> None:
    folders = re.compile(r"(?:/usr|/usr/local|/opt/[^/]+)?/s?bin/(.+)")
    programs = {found[1] for found in map(folders.fullmatch, files) if found}
    assert "sh" not in programs
    assert {re.sub(r"[0-9.]+$", "", program) for program in programs} == {"python", "qualtrics-exporter"}


def test_no_shell_answers(unpacked: Unpacked) -> None:
    for shell in ("/bin/sh", "/bin/bash", "/usr/bin/dash", "/bin/busybox"):
        assert unpacked.run(shell, "-c", "true", check=False).returncode == 127


def test_nothing_installs_more(unpacked: Unpacked) -> None:
    for module in ("pip", "ensurepip", "venv", "setuptools"):
        told = unpacked.run("python3", "-m", module, "--version", check=False)
        assert f"No module named {module}" in told.stderr


def test_nobody_gains_rights_and_only_tmp_can_be_written(files: dict[str, tarfile.TarInfo]) -> None:
    assert [path for path, member in files.items() if member.mode & 0o6000] == []
    writable = [path for path, member in files.items() if member.mode & 0o022 and not member.issym()]
    assert writable == ["/tmp"]
    assert files["/tmp"].mode & 0o7777 == 0o1777
    assert {(member.uid, member.gid) for member in files.values()} == {(0, 0)}


def test_nothing_of_the_machine_that_built_it_is_left(image: Image, contents: dict[str, bytes]) -> None:
    assert [path for path, content in contents.items() if str(ROOT).encode() in content] == []
    assert [path for path in contents if path.startswith(("/source", "/build", "/wheel", "/root", "/home"))] == []
    assert [path for path in contents if path.endswith(("pip.conf", "pip-ca.pem", "RECORD", "direct_url.json"))] == []
    assert {member.mtime for member, _ in image.files()} == {0}


# That it runs


def test_its_user_has_a_name_and_its_root_can_be_read_only(unpacked: Unpacked) -> None:
    told = unpacked.python(
        "import errno, getpass, os, pwd\n"
        "print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, getpass.getuser())\n"
        "try:\n    open('/tmp/x', 'w')\n"
        "except OSError as error:\n    print(errno.errorcode[error.errno])"
    )
    assert told.splitlines() == ["65532 65532 nonroot nonroot", "EROFS"]


def test_it_explains_itself(unpacked: Unpacked) -> None:
    assert "controller" in unpacked.run("qualtrics-exporter", "--help").stdout


def test_its_crd_is_that_of_the_repository(unpacked: Unpacked) -> None:
    (crd,) = (ROOT / "crds").glob("*.yaml")
    assert unpacked.run("qualtrics-exporter", "crd").stdout.strip() == crd.read_text().strip()


@pytest.mark.long
def test_an_export_works_in_it_from_end_to_end(unpacked: Unpacked) -> None:
    told = unpacked.run("qualtrics-exporter", "demo", environment={"TMPDIR": "/dev/shm"})
    assert "Succeeded" in told.stdout + told.stderr


def test_it_knows_the_public_authorities_and_only_those(unpacked: Unpacked, contents: dict[str, bytes]) -> None:
    known = unpacked.python("import ssl; print(len(ssl.create_default_context().get_ca_certs()))")
    assert int(known) > 100
    # The machine that builds may trust more, to reach a package index; the image gets what Debian's package has.
    bundle = contents["/etc/ssl/certs/ca-certificates.crt"].decode()
    assert len(re.findall("BEGIN CERTIFICATE", bundle)) == int(known)


def test_it_knows_the_zones_of_the_world(unpacked: Unpacked) -> None:
    told = unpacked.python(
        "from datetime import datetime; from zoneinfo import ZoneInfo\n"
        "print(datetime(2026, 7, 1, tzinfo=ZoneInfo('Europe/Zurich')).utcoffset())"
    )
    assert told == "2:00:00"


def test_it_needs_to_compile_nothing(unpacked: Unpacked) -> None:
    told = unpacked.python(
        "import os, sys, qualtrics_exporter.cli.controller, qualtrics_exporter.controller.app\n"
        "specs = [getattr(module, '__spec__', None) for module in list(sys.modules.values())]\n"
        "cached = [spec.cached for spec in specs if spec and spec.cached]\n"
        "print(len(cached), [path for path in cached if not os.path.exists(path)])"
    )
    number, missing = told.split(" ", 1)
    assert int(number) > 500
    assert missing == "[]"


def test_every_module_of_the_operator_can_be_imported(unpacked: Unpacked) -> None:
    told = unpacked.python(
        "import importlib, pkgutil, qualtrics_exporter as package\n"
        "names = [m.name for m in pkgutil.walk_packages(package.__path__, 'qualtrics_exporter.')]\n"
        "print(len([importlib.import_module(name) for name in names if not name.endswith('__main__')]))"
    )
    assert int(told) > 80


def test_what_the_operator_takes_from_the_kubernetes_client_is_there(unpacked: Unpacked) -> None:
    controller = ROOT / "operator" / "qualtrics_exporter" / "controller"
    text = "\n".join(path.read_text() for path in controller.rglob("*.py"))
    imports = re.findall(r"^from kubernetes\S* import .*$|^import kubernetes.*$", text, re.MULTILINE)
    assert set(imports) == {"from kubernetes.aio import client, config", "from kubernetes.aio import client"}
    names = sorted(set(re.findall(r"\b((?:client|config)\.[A-Za-z_]\w*)", text)))
    assert "client.ApiClient" in names
    assert unpacked.python(f"from kubernetes.aio import client, config; print(len([{', '.join(names)}]))")


# What it is made of


def test_the_list_of_parts_has_each_python_package_at_its_version_and_no_other(
    image: Image, contents: dict[str, bytes]
) -> None:
    listed = parts(image, "pkg:pypi/")
    there: dict[str, str] = {}
    for path, content in contents.items():
        if path.endswith(".dist-info/METADATA"):
            told = Parser().parsestr(content.decode())
            there[canonical(told["Name"])] = told["Version"]
    assert listed == there
    pinned = dict(re.findall(r"^(\S+)==([^\s;\\]+)", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE))
    assert {name: found for name, found in there.items() if name != PROJECT["name"]} == {
        name: wanted for name, wanted in pinned.items() if name in there
    }
    assert canonical("kopf") in there


def test_the_list_of_parts_has_each_debian_package_and_no_other(image: Image, contents: dict[str, bytes]) -> None:
    there: dict[str, str] = {}
    for path, content in contents.items():
        if path.startswith("/var/lib/dpkg/status.d/"):
            told = Parser().parsestr(content.decode())
            there[told["Package"]] = told["Version"]
    assert parts(image, "pkg:deb/") == there
    assert {"libc6", "libssl3", "ca-certificates"} <= there.keys()
    assert not {"dash", "bash", "apt", "dpkg", "coreutils"} & there.keys()
    assert {f"/usr/share/doc/{name}/copyright" for name in there} <= contents.keys()


def test_the_list_of_parts_is_about_the_operator(image: Image) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(image.sbom().decode()) is None
    document = json.loads(image.sbom())
    assert document["metadata"]["component"]["purl"] == f"pkg:pypi/{PROJECT['name']}@{PROJECT['version']}"


def parts(image: Image, kind: str) -> dict[str, str]:
    """The parts of one kind that the list has."""
    document = json.loads(image.sbom())
    listed = [*document["components"], document["metadata"]["component"]]
    name = canonical if kind == "pkg:pypi/" else str
    return {name(part["name"]): part["version"] for part in listed if part["purl"].startswith(kind)}


def canonical(name: str) -> str:
    """The name of a Python package as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# How it is built


@pytest.mark.long
def test_it_comes_out_the_same_when_it_is_built_from_nothing(image: Image, tmp_path: Path) -> None:
    again = rebuilt(tmp_path)
    assert again.digest == image.digest


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    wanted = {name.split("/")[0] for line in copied for name in line.split()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == wanted
    assert "*" in lines


def test_another_engine_builds_it_by_its_own_means() -> None:
    told = subprocess.run(
        ["make", "--dry-run", "image", "ENGINE=podman", "BASE=python:3"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    (build,) = re.findall(r"^podman build .*?\.$", told, re.MULTILINE | re.DOTALL)
    given = set(re.findall(r"--build-arg ([A-Z]+)=", build))
    declared = set(re.findall(r"^ARG ([A-Z]+)", (ROOT / "Containerfile").read_text(), re.MULTILINE))
    assert given == declared == set(arguments("python:3"))
    assert f"--label {REVISION}=" in build
    assert "tests.environment.image" not in told
