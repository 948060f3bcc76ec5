"""Wrong settings of this machine end a command at its start, before the first request."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qualtrics_exporter.cli.local_setup import LocalSetupError, check_journal, check_tls, state_folder
from tests.cli.conftest import PEOPLE, Local, Program
from tests.environment.build import ROOT
from tests.environment.sandbox import Certificates
from tests.environment.waiting import HANG_SECONDS

COMMANDS = {"run": ["run", "x.yaml", "--secrets", "x.yaml"], "controller": ["controller"], "demo": ["demo"]}


def files(home: Path) -> None:
    (home / "empty.pem").touch()
    (home / "text.pem").write_text("no certificate\n")
    (home / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (home / "folder").mkdir()
    (home / "folder" / "ca.pem").touch()


TLS = {
    "a missing file": ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE is /nowhere/ca.pem", "No such file"),
    "an empty file": ({"SSL_CERT_FILE": "empty.pem"}, "SSL_CERT_FILE is empty.pem", "has no certificate"),
    "a file of something else": ({"SSL_CERT_FILE": "text.pem"}, "SSL_CERT_FILE is text.pem", "has no certificate"),
    "a broken file": ({"SSL_CERT_FILE": "broken.pem"}, "SSL_CERT_FILE is broken.pem", "is not PEM"),
    "a folder for a file": ({"SSL_CERT_FILE": "folder"}, "SSL_CERT_FILE is folder", "Is a directory"),
    "a missing folder": ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR is /nowhere", "No such file"),
    "only missing folders": (
        {"SSL_CERT_DIR": "/nowhere:/else"},
        "SSL_CERT_DIR is /nowhere:/else",
        "/else cannot be read",
    ),
    "a missing folder and one without hashes": (
        {"SSL_CERT_DIR": "/nowhere:folder"},
        "/nowhere:folder",
        "openssl rehash",
    ),
    "a file for a folder": ({"SSL_CERT_DIR": "empty.pem"}, "SSL_CERT_DIR is empty.pem", "Not a directory"),
    "a folder without hashes": ({"SSL_CERT_DIR": "folder"}, "SSL_CERT_DIR is folder", "openssl rehash"),
    "keys that cannot be logged": ({"SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE is /nowhere/keys", "Unset it"),
}


@pytest.mark.parametrize("name", TLS)
def test_settings_of_tls_are_checked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, named, why = TLS[name]
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalSetupError) as problem:
        check_tls(variables)
    assert problem.value.exit_code == 2
    assert named in problem.value.message
    assert why in problem.value.message


def test_good_settings_of_tls_pass(certificates: Certificates, tmp_path: Path) -> None:
    check_tls({})
    check_tls({"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "SSLKEYLOGFILE": ""})
    check_tls({"SSL_CERT_FILE": str(certificates.authority)})
    (tmp_path / "9d66eef0.0").write_bytes(certificates.authority.read_bytes())
    check_tls({"SSL_CERT_DIR": f"{tmp_path}", "SSLKEYLOGFILE": str(tmp_path / "keys")})
    check_tls({"SSL_CERT_DIR": f"/nowhere:{tmp_path}"})  # such lists often have directories of other systems


@pytest.mark.parametrize("command", ["controller", "demo"])
def test_a_missing_authority_ends_a_command_at_its_start(program: Program, command: str) -> None:
    ended = program(*COMMANDS[command], env={"SSL_CERT_FILE": "/nowhere/ca.pem"}, code=2)
    assert "SSL_CERT_FILE is /nowhere/ca.pem, which cannot be read: No such file or directory." in ended.stderr


def test_a_run_with_a_missing_authority_sends_no_request(run: Local) -> None:
    ended = run("--send", env={"SSL_CERT_FILE": "/nowhere/ca.pem"}, code=2)
    assert "SSL_CERT_FILE is /nowhere/ca.pem" in ended.stderr
    assert run.sandbox.ledger.calls == []


# Without a home.

AS_ANOTHER = """
import os, sys
from qualtrics_exporter.cli import demo, main, run
import encodings.idna, encodings.utf_8_sig, http.cookiejar, httpx
from qualtrics_exporter import schedule
from qualtrics_exporter.nql.check import check
check("users | list ad.email_address")
schedule.zone("Europe/Zurich")
httpx.create_ssl_context()
os.setgroups([]); os.setgid(54321); os.setuid(54321)
main()
"""
"""The program as a user that this machine does not know, as in OpenShift. Its modules may be unreadable for it."""


def as_another(run: Local, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    program = run.program
    env = {**program.environment({}), **variables, "PYTHONPATH": str(ROOT)}
    if not variables.get("HOME"):
        del env["HOME"]
    command = [sys.executable, "-c", AS_ANOTHER, *map(str, run.arguments(*more))]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=HANG_SECONDS)


@pytest.fixture
def readable(as_installed: Local) -> Iterator[Local]:
    """The command in a home that everyone can read and nobody else can write."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    # Not below tmp_path: pytest keeps other users out of all its folders, again at each start.
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        authority = home / "authority.pem"
        authority.write_bytes(Path(as_installed.program.variables["SSL_CERT_FILE"]).read_bytes())
        variables = {**as_installed.program.variables, "SSL_CERT_FILE": str(authority)}
        local = Local(replace(as_installed.program, home=home, variables=variables), as_installed.sandbox)
        for path in home.iterdir():
            path.chmod(0o644)
        yield local


def test_a_user_without_a_home_learns_what_to_set(readable: Local) -> None:
    ended = as_another(readable, "--send")
    assert ended.returncode == 2, ended.stderr
    assert "HOME is not set, and user id 54321 has no home directory: set HOME or XDG_STATE_HOME" in ended.stderr
    assert readable.sandbox.ledger.calls == []


def test_a_home_that_cannot_be_written_is_named(readable: Local) -> None:
    home = str(readable.program.home)
    ended = as_another(readable, "--send", HOME=home)
    assert ended.returncode == 2, ended.stderr
    assert f"The journal {home}/.local/state/" in ended.stderr
    assert "Permission denied. Its directory comes from HOME" in ended.stderr
    ended = as_another(readable, "--send", HOME=home, XDG_STATE_HOME=f"{home}/state")
    assert ended.returncode == 2
    assert "Its directory comes from XDG_STATE_HOME" in ended.stderr
    ended = as_another(readable, "--send", "--journal", f"{home}/journal.json")
    assert ended.returncode == 2
    assert f"The journal {home}/journal.json cannot be written: Permission denied." in ended.stderr
    assert readable.sandbox.ledger.calls == []


def test_a_user_without_a_home_sends_with_a_journal_elsewhere(readable: Local, tmp_path: Path) -> None:
    folder = readable.program.home / "open"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    ended = as_another(readable, "--send", XDG_STATE_HOME=str(folder))
    assert ended.returncode == 0, ended.stderr
    assert readable.mailed() == PEOPLE


def test_a_test_that_sends_nothing_needs_no_home(readable: Local) -> None:
    ended = as_another(readable, "--test")
    assert ended.returncode == 0, ended.stderr
    assert "TestPassed" in ended.stdout


def test_no_home_is_a_problem_only_without_another_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(none))
    assert state_folder({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path
    with pytest.raises(LocalSetupError, match="HOME is not set"):
        state_folder({"XDG_STATE_HOME": "relative"})


def test_a_relative_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each working directory would have another journal, and the same command could send again."""
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(LocalSetupError, match="HOME is relative, which is not an absolute path"):
        state_folder({})
    with pytest.raises(LocalSetupError, match="HOME is empty"):
        state_folder({"HOME": ""})


# The journal.


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere/journal.json", "No such file or directory"),
        ("file/journal.json", "Not a directory"),
        ("/proc/journal.json", "No such file or directory"),
    ],
)
def test_no_folder_is_created_for_a_journal_that_the_user_names(path: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalSetupError, match=why) as problem:
        check_journal(tmp_path / path, chosen=True, environment={})
    assert f"The journal {tmp_path / path}" in problem.value.message
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("path", ["journal.json", "./journal.json", "~/journal.json"])
def test_a_relative_journal_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a relative HOME: in another working directory the same command could send again."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalSetupError, match="is not an absolute path"):
        check_journal(Path(path), chosen=True)


def test_a_journal_is_known_by_the_file_behind_its_links(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real.json")
    assert check_journal(link, chosen=True) == tmp_path / "real.json"
    (tmp_path / "real.json").touch()
    (tmp_path / "second.json").hardlink_to(tmp_path / "real.json")
    with pytest.raises(LocalSetupError, match="hard link"):
        check_journal(link, chosen=True)


def test_no_folder_is_created_behind_a_link_to_a_disk_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    with pytest.raises(LocalSetupError, match="cannot be written"):
        check_journal(tmp_path / "state" / "journal.json", chosen=False)
    assert not (tmp_path / "disk").exists()


def test_a_check_of_the_journal_leaves_nothing_behind(tmp_path: Path) -> None:
    check_journal(tmp_path / "journal.json", chosen=True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_temporary_folder_is_reported_with_the_variable(program: Program) -> None:
    code = (
        "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere'];"
        "from qualtrics_exporter.cli import main; main()"
    )
    env = program.environment({"TMPDIR": "/nowhere"})
    ended = subprocess.run(
        [sys.executable, "-c", code, "demo"], env=env, cwd=program.home, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "TMPDIR is /nowhere" in ended.stderr


@pytest.mark.parametrize("inline", [True, False])
def test_a_kubeconfig_that_needs_a_temporary_folder_is_not_blamed_for_its_absence(
    program: Program, inline: bool
) -> None:
    nowhere = "tempfile._candidate_tempdir_list = lambda: ['/nowhere']" if inline else "pass"
    code = f"import tempfile; {nowhere}; from qualtrics_exporter.cli import main; main()"
    authority = {"certificate-authority-data": "eA=="} if inline else {}
    content = {
        "clusters": [{"name": "a", "cluster": {"server": "https://localhost:9", **authority}}],
        "users": [{"name": "a", "user": {"token": "t"} if inline else {"tokenFile": "none"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    (program.home / "kubeconfig").write_text(json.dumps(content))
    env = program.environment({"TMPDIR": "/nowhere", "KUBECONFIG": str(program.home / "kubeconfig")})
    env.pop("KUBERNETES_SERVICE_HOST", None)
    ended = subprocess.run(
        [sys.executable, "-c", code, "controller"],
        env=env,
        cwd=program.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(program.home / "kubeconfig") in ended.stderr
    assert ended.returncode == (2 if inline else 1)
    assert ("TMPDIR is /nowhere" in ended.stderr) is inline
    assert ("no usable kubeconfig" in ended.stderr) is not inline
