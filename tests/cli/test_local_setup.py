"""Wrong local settings (TLS, home, journal, temporary folder) end a command before its first request."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hack.files import ROOT
from qualtrics_exporter.cli.local_setup import LocalSetupError, check_journal, check_tls, state_folder
from tests.cli.conftest import PEOPLE, LocalRun, Program
from tests.support.sandbox import Certificates
from tests.support.waiting import HANG_SECONDS

COMMANDS = {"run": ["run", "x.yaml", "--secrets", "x.yaml"], "controller": ["controller"], "demo": ["demo"]}


def write_tls_files(home: Path) -> None:
    (home / "empty.pem").touch()
    (home / "text.pem").write_text("no certificate\n")
    (home / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (home / "folder").mkdir()
    (home / "folder" / "ca.pem").touch()


WRONG_TLS_SETTINGS = {
    "a missing file": ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE is /nowhere/ca.pem", "No such file"),
    "an empty file": ({"SSL_CERT_FILE": "empty.pem"}, "SSL_CERT_FILE is empty.pem", "has no certificate"),
    "a file without a certificate": ({"SSL_CERT_FILE": "text.pem"}, "SSL_CERT_FILE is text.pem", "has no certificate"),
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
    "a key log file that cannot be written": (
        {"SSLKEYLOGFILE": "/nowhere/keys"},
        "SSLKEYLOGFILE is /nowhere/keys",
        "Unset it",
    ),
}


@pytest.mark.parametrize("name", WRONG_TLS_SETTINGS)
def test_a_wrong_tls_setting_is_reported_with_its_variable_and_exit_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, setting, explanation = WRONG_TLS_SETTINGS[name]
    write_tls_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalSetupError) as problem:
        check_tls(variables)
    assert problem.value.exit_code == 2
    assert setting in problem.value.message
    assert explanation in problem.value.message


def test_valid_tls_settings_pass_the_check(certificates: Certificates, tmp_path: Path) -> None:
    check_tls({})
    check_tls({"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "SSLKEYLOGFILE": ""})
    check_tls({"SSL_CERT_FILE": str(certificates.authority)})
    (tmp_path / "9d66eef0.0").write_bytes(certificates.authority.read_bytes())
    check_tls({"SSL_CERT_DIR": f"{tmp_path}", "SSLKEYLOGFILE": str(tmp_path / "keys")})
    check_tls({"SSL_CERT_DIR": f"/nowhere:{tmp_path}"})  # such lists often name directories of other systems


@pytest.mark.parametrize("command", ["controller", "demo"])
def test_a_command_with_a_missing_certificate_authority_exits_at_its_start(program: Program, command: str) -> None:
    result = program(*COMMANDS[command], env={"SSL_CERT_FILE": "/nowhere/ca.pem"}, code=2)
    assert "SSL_CERT_FILE is /nowhere/ca.pem, which cannot be read: No such file or directory." in result.stderr


def test_a_run_with_a_missing_certificate_authority_sends_no_request(run: LocalRun) -> None:
    result = run("--send", env={"SSL_CERT_FILE": "/nowhere/ca.pem"}, code=2)
    assert "SSL_CERT_FILE is /nowhere/ca.pem" in result.stderr
    assert run.sandbox.recorder.calls == []


# A user without a home directory.

RUN_AS_OTHER_USER = """
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
"""The program as a user id that is not in /etc/passwd, as in OpenShift.

It imports modules before it changes the user, because that user may not be able to read them.
"""


def run_as_other_user(run: LocalRun, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    program = run.program
    env = {**program.environment({}), **variables, "PYTHONPATH": str(ROOT)}
    if not variables.get("HOME"):
        del env["HOME"]
    command = [sys.executable, "-c", RUN_AS_OTHER_USER, *map(str, run.arguments(*more))]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=HANG_SECONDS)


@pytest.fixture
def other_user_run(installed_run: LocalRun) -> Iterator[LocalRun]:
    """The command `run` in a home that other users can read, but not write."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    # Not below tmp_path: pytest makes its folders unreadable for other users.
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        authority = home / "authority.pem"
        authority.write_bytes(Path(installed_run.program.variables["SSL_CERT_FILE"]).read_bytes())
        variables = {**installed_run.program.variables, "SSL_CERT_FILE": str(authority)}
        local_run = LocalRun(replace(installed_run.program, home=home, variables=variables), installed_run.sandbox)
        for path in home.iterdir():
            path.chmod(0o644)
        yield local_run


def test_a_run_of_a_user_without_a_home_names_the_variables_to_set(other_user_run: LocalRun) -> None:
    result = run_as_other_user(other_user_run, "--send")
    assert result.returncode == 2, result.stderr
    assert "HOME is not set, and user id 54321 has no home directory: set HOME or XDG_STATE_HOME" in result.stderr
    assert other_user_run.sandbox.recorder.calls == []


def test_a_run_with_a_read_only_journal_directory_names_where_it_comes_from(other_user_run: LocalRun) -> None:
    home = str(other_user_run.program.home)
    result = run_as_other_user(other_user_run, "--send", HOME=home)
    assert result.returncode == 2, result.stderr
    assert f"The journal {home}/.local/state/" in result.stderr
    assert "Permission denied. Its directory comes from HOME" in result.stderr
    result = run_as_other_user(other_user_run, "--send", HOME=home, XDG_STATE_HOME=f"{home}/state")
    assert result.returncode == 2
    assert "Its directory comes from XDG_STATE_HOME" in result.stderr
    result = run_as_other_user(other_user_run, "--send", "--journal", f"{home}/journal.json")
    assert result.returncode == 2
    assert f"The journal {home}/journal.json cannot be written: Permission denied." in result.stderr
    assert other_user_run.sandbox.recorder.calls == []


def test_a_run_of_a_user_without_a_home_sends_with_xdg_state_home(other_user_run: LocalRun, tmp_path: Path) -> None:
    folder = other_user_run.program.home / "open"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    result = run_as_other_user(other_user_run, "--send", XDG_STATE_HOME=str(folder))
    assert result.returncode == 0, result.stderr
    assert other_user_run.mailed() == PEOPLE


def test_a_dry_test_of_a_user_without_a_home_passes(other_user_run: LocalRun) -> None:
    result = run_as_other_user(other_user_run, "--test")
    assert result.returncode == 0, result.stderr
    assert "TestPassed" in result.stdout


def test_a_missing_home_is_an_error_only_without_an_absolute_xdg_state_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_home(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert state_folder({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path
    with pytest.raises(LocalSetupError, match="HOME is not set"):
        state_folder({"XDG_STATE_HOME": "relative"})


def test_a_relative_or_empty_home_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each working directory would have another journal, and the same command could send again."""
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(LocalSetupError, match="HOME is relative, which is not an absolute path"):
        state_folder({})
    with pytest.raises(LocalSetupError, match="HOME is empty"):
        state_folder({"HOME": ""})


# The journal.


@pytest.mark.parametrize(
    ("path", "explanation"),
    [
        ("nowhere/journal.json", "No such file or directory"),
        ("file/journal.json", "Not a directory"),
        ("/proc/journal.json", "No such file or directory"),
    ],
)
def test_checking_a_journal_creates_no_folder_for_a_path_that_the_user_chooses(
    path: str, explanation: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalSetupError, match=explanation) as problem:
        check_journal(tmp_path / path, chosen=True, environment={})
    assert f"The journal {tmp_path / path}" in problem.value.message
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("path", ["journal.json", "./journal.json", "~/journal.json"])
def test_a_relative_journal_path_is_rejected(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a relative HOME: in another working directory the same command could send again."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalSetupError, match="is not an absolute path"):
        check_journal(Path(path), chosen=True)


def test_checking_a_journal_resolves_symbolic_links_and_rejects_hard_links(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real.json")
    assert check_journal(link, chosen=True) == tmp_path / "real.json"
    (tmp_path / "real.json").touch()
    (tmp_path / "second.json").hardlink_to(tmp_path / "real.json")
    with pytest.raises(LocalSetupError, match="hard link"):
        check_journal(link, chosen=True)


def test_checking_a_journal_creates_no_folder_behind_a_broken_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    with pytest.raises(LocalSetupError, match="cannot be written"):
        check_journal(tmp_path / "state" / "journal.json", chosen=False)
    assert not (tmp_path / "disk").exists()


def test_checking_a_journal_leaves_no_files(tmp_path: Path) -> None:
    check_journal(tmp_path / "journal.json", chosen=True)
    assert list(tmp_path.iterdir()) == []


def test_demo_without_a_temporary_folder_names_the_variable_and_exits_with_2(program: Program) -> None:
    code = (
        "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere'];"
        "from qualtrics_exporter.cli import main; main()"
    )
    env = program.environment({"TMPDIR": "/nowhere"})
    result = subprocess.run(
        [sys.executable, "-c", code, "demo"], env=env, cwd=program.home, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "TMPDIR is /nowhere" in result.stderr


@pytest.mark.parametrize("inline", [True, False], ids=["certificate in the kubeconfig", "token in a missing file"])
def test_a_missing_temporary_folder_is_not_reported_as_an_invalid_kubeconfig(program: Program, inline: bool) -> None:
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
    result = subprocess.run(
        [sys.executable, "-c", code, "controller"],
        env=env,
        cwd=program.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(program.home / "kubeconfig") in result.stderr
    assert result.returncode == (2 if inline else 1)
    assert ("TMPDIR is /nowhere" in result.stderr) is inline
    assert ("no usable kubeconfig" in result.stderr) is not inline
