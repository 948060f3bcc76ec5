"""Standard streams that cannot be written change no result and no exit code. With real pipes, files and terminals."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from qualtrics_exporter.resource.crd import crd_yaml
from tests.cli.conftest import PEOPLE, SAMPLE, Local, Program
from tests.environment import plain_yaml
from tests.environment.waiting import HANG_SECONDS
from tests.resource.manifests import changed

SIGN = 'where binary.name == "Müller😀Büro.exe" andd x'
"""A doubt behind characters that some encodings do not have."""


@contextmanager
def closed_pipe() -> Iterator[int]:
    """A pipe whose reader is gone, as after `| head -3`."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full_disk() -> Iterator[int]:
    """A file on a full disk."""
    number = os.open("/dev/full", os.O_WRONLY)
    yield number
    os.close(number)


@contextmanager
def vanished_terminal() -> Iterator[int]:
    """A terminal whose window was closed."""
    ours, theirs = pty.openpty()
    os.close(ours)
    yield theirs
    os.close(theirs)


@contextmanager
def held_terminal() -> Iterator[int]:
    """A terminal on which somebody pressed Ctrl-S."""
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    yield theirs
    termios.tcflow(theirs, termios.TCOON)
    os.close(theirs)
    os.close(ours)


@contextmanager
def full_pipe() -> Iterator[int]:
    """A pipe that nobody reads, such as that of a pager."""
    reader, writer = os.pipe()
    os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))
    yield writer
    os.close(writer)
    os.close(reader)


LOST = {"closed pipe": closed_pipe, "full disk": full_disk, "vanished terminal": vanished_terminal}
STUCK = {"held terminal": held_terminal, "full pipe": full_pipe}


def mostly_long(names: Iterable[str], *short: str) -> list[Any]:
    """All names. `make test` tries those in `short`, and `make test-long` the others, too: each takes two processes."""
    return [name if name in short else pytest.param(name, marks=pytest.mark.long) for name in names]


def ended(started: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, standard output and standard error, as far as there is a pipe."""
    out, err = started.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in (err or "")
    assert "Exception ignored" not in (err or "")
    return started.returncode, out or "", err or ""


def without(number: int, *command: str | Path) -> list[str]:
    """The command with one of its standard streams closed."""
    return ["sh", "-c", f'exec "$@" {number}>&-', "sh", *map(str, command)]


@pytest.fixture
def odd(home: Path) -> Path:
    """A manifest with a warning about a line with umlauts and an emoji."""
    path = home / "odd.yaml"
    text = SAMPLE.read_text("utf-8").replace('where binary.name == "teams.exe"', SIGN)
    assert SIGN in text
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def broken(home: Path) -> Path:
    """A manifest with many errors."""
    path = home / "broken.yaml"
    path.write_text("---\n".join([yaml.safe_dump(changed({"nexthink.query": "users | where |"}))] * 40))
    return path


# Findings.


@pytest.mark.parametrize("lost", mostly_long(LOST, "closed pipe"))
@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_findings_that_cannot_be_written_change_no_verdict(
    program: Program, broken: Path, lost: str, output: str
) -> None:
    for file, code in (broken, 1), (SAMPLE, 0):
        with LOST[lost]() as number:
            result, _, err = ended(program.start("validate", "--output", output, file, stdout=number))
        assert result == code, err
        assert "1 exporter checked: no findings." in err or "40 exporters checked: " in err


@pytest.mark.parametrize("lost", LOST)
def test_a_summary_that_cannot_be_written_changes_no_verdict(program: Program, broken: Path, lost: str) -> None:
    for file, code in (broken, 1), (SAMPLE, 0):
        with LOST[lost]() as number:
            result, out, _ = ended(program.start("validate", file, stderr=number))
        assert result == code
        assert out.count("error QueryInvalid") == (80 if code else 0)


@pytest.mark.parametrize("number", [1, 2])
def test_a_closed_stream_changes_no_verdict(program: Program, broken: Path, number: int) -> None:
    for file, code in (broken, 1), (SAMPLE, 0):
        command = without(number, *program.command, "validate", file)
        result, out, err = ended(
            subprocess.Popen(
                command, env=program.environment({}), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        assert result == code
        assert (out if number == 1 else err) == ""


def test_a_full_disk_is_reported_beside_the_verdict(program: Program, broken: Path) -> None:
    with full_disk() as number:
        result, _, err = ended(program.start("validate", broken, stdout=number))
    assert result == 1
    assert "The findings cannot be written to standard output: No space left on device." in err


def test_wrong_usage_stays_wrong_usage(program: Program) -> None:
    for lost in LOST.values():
        with lost() as number:
            assert ended(program.start("validate", "nowhere.yaml", stderr=number))[0] == 2
            assert ended(program.start("run", stdout=number, stderr=number))[0] == 2


ENCODINGS: dict[str, dict[str, str]] = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252, strictly": {"PYTHONIOENCODING": "cp1252:strict"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"LC_ALL": "C"},
    "the C locale without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_without_a_character_loses_that_character_only(program: Program, odd: Path, name: str) -> None:
    result = program("validate", odd, env=ENCODINGS[name], encoding="latin-1")
    assert "warning QueryNotVerified" in result.stdout
    assert "1 exporter checked: 1 warning." in result.stderr
    if name in ("cp1252", "latin-1", "cp1252, strictly"):
        _, line, marks = result.stdout.splitlines()
        assert line.endswith('"Müller?Büro.exe" andd x')
        assert marks.index("^") == line.index("andd"), "one ? for one character: the mark stays in its place"
    program("validate", "--strict", odd, env=ENCODINGS[name], encoding="latin-1", code=1)


@pytest.mark.parametrize("name", mostly_long(ENCODINGS, "cp1252", "the C locale without UTF-8"))
def test_json_is_json_in_every_encoding(program: Program, home: Path, odd: Path, name: str) -> None:
    folder = home / "Büro 😀"
    folder.mkdir()
    path = folder / "exporter.yaml"
    path.write_bytes(odd.read_bytes())
    result = program("validate", "--output", "json", "Büro 😀", env=ENCODINGS[name])
    (finding,) = json.loads(result.stdout)["findings"]
    assert os.fsencode(finding["file"]) == os.fsencode(path.relative_to(home))


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_a_file_name_that_is_not_text_is_checked(program: Program, home: Path, output: str) -> None:
    os.makedirs(os.path.join(os.fsencode(home), b"m\xfcller"))
    path = os.path.join(os.fsencode(home), b"m\xfcller", b"exporter.yaml")
    with open(path, "w") as file:
        file.write(yaml.safe_dump(changed({"nexthink.query": "users | where |"})))
    result = program("validate", "--output", output, os.fsdecode(os.path.dirname(path)), code=1)
    assert "QueryInvalid" in result.stdout


@pytest.mark.parametrize("name", mostly_long(ENCODINGS, "cp1252", "the C locale without UTF-8"))
def test_the_crd_is_utf_8_in_every_encoding(program: Program, name: str) -> None:
    env = program.environment(ENCODINGS[name])
    out = subprocess.run([*program.command, "crd"], env=env, check=True, capture_output=True).stdout
    assert out.decode("utf-8") == crd_yaml()
    assert not out.isascii()


# Answers that are nothing but output.


@pytest.mark.parametrize("command", [["crd"], ["--help"], ["--version"], ["run", "--help"]])
def test_an_answer_without_a_reader_ends_as_other_tools_do(program: Program, command: list[str]) -> None:
    with closed_pipe() as number:
        result, _, err = ended(program.start(*command, stdout=number))
    assert (result, err) == (-signal.SIGPIPE, "")


def test_an_answer_on_a_full_disk_is_an_error(program: Program) -> None:
    with full_disk() as number:
        result, _, err = ended(program.start("crd", stdout=number))
    assert (result, err) == (1, "Error: standard output cannot be written: No space left on device.\n")


def test_a_pipe_that_does_not_block_gets_the_whole_answer(program: Program) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    started = program.start("crd", stdout=writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        got = pipe.read()
    assert ended(started)[0] == 0
    assert plain_yaml.read(got)["kind"] == "CustomResourceDefinition"


# Progress of a run.


@pytest.mark.parametrize("name", mostly_long([*LOST, *STUCK], "closed pipe", "held terminal"))
def test_a_run_mails_whatever_happens_to_its_progress(run: Local, name: str) -> None:
    with {**LOST, **STUCK}[name]() as number:
        result, out, _ = ended(run.start("--send", stderr=number))
    assert result == 0
    assert "Succeeded" in out
    assert run.mailed() == PEOPLE
    run("--send")
    assert len(run.sandbox.ledger.distributions) == 2, "the first run was reported"


def test_a_run_mails_without_standard_error(run: Local) -> None:
    program = run.program
    command = without(2, *program.command, *run.arguments("--send"))
    started = subprocess.Popen(
        command, env=program.environment({}), cwd=program.home, text=True, stdout=subprocess.PIPE
    )
    result, out, _ = ended(started)
    assert result == 0
    assert "Succeeded" in out
    assert run.mailed() == PEOPLE
    json.loads(run.journal.read_text())


@pytest.mark.parametrize("name", mostly_long(LOST, "vanished terminal"))
def test_a_report_without_standard_output_goes_to_standard_error_and_the_next_command_sends(
    run: Local, name: str
) -> None:
    """A job whose standard output is always broken would otherwise send once, and succeed without a send ever after."""
    for sent in (1, 2):
        with LOST[name]() as number:
            result, _, err = ended(run.start("--send", stdout=number))
        assert result == 0
        assert "The report cannot be written to standard output: " in err
        assert "result        Succeeded" in err
        assert len(run.sandbox.ledger.distributions) == sent


@pytest.mark.parametrize("name", mostly_long(LOST, "full disk"))
def test_a_report_that_nobody_got_is_repeated_once_and_the_command_after_that_sends(run: Local, name: str) -> None:
    with LOST[name]() as number:
        assert ended(run.start("--send", stdout=number, stderr=number))[0] == 0
    again = run("--send")
    assert "about         an earlier run, which ended at " in again.stdout
    assert "An earlier command ended at " in again.stderr
    assert len(run.sandbox.ledger.distributions) == 1
    assert run.mailed() == PEOPLE
    assert "earlier" not in run("--send").stdout
    assert len(run.sandbox.ledger.distributions) == 2


def test_a_job_that_can_never_report_sends_again(run: Local) -> None:
    for sent in (1, 1, 2):
        with full_disk() as number:
            assert ended(run.start("--send", stdout=number, stderr=number))[0] == 0
        assert len(run.sandbox.ledger.distributions) == sent


@pytest.mark.parametrize("name", mostly_long(STUCK, "held terminal"))
def test_a_report_to_a_terminal_that_is_held_counts_as_unread(run: Local, name: str) -> None:
    with full_disk() as number, STUCK[name]() as held:
        assert ended(run.start("--send", stdout=number, stderr=held))[0] == 0
    assert "an earlier run" in run("--send").stdout
    assert len(run.sandbox.ledger.distributions) == 1


def test_a_report_without_standard_error_counts_as_unread(run: Local) -> None:
    program = run.program
    command = without(2, *program.command, *run.arguments("--send"))
    with full_disk() as number:
        subprocess.run(
            command, env=program.environment({}), cwd=program.home, stdout=number, check=True, timeout=HANG_SECONDS
        )
    assert "an earlier run" in run("--send").stdout
    assert len(run.sandbox.ledger.distributions) == 1


BACKGROUND = """
import fcntl, os, pty, subprocess, sys, termios
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
modes = termios.tcgetattr(theirs)
modes[3] |= termios.TOSTOP
termios.tcsetattr(theirs, termios.TCSANOW, modes)
job = subprocess.Popen(sys.argv[1:], stderr=theirs, process_group=0)
_, status = os.waitpid(job.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    job.kill()
    job.wait()
    sys.exit("stopped")
job.returncode = os.waitstatus_to_exitcode(status)
sys.exit(job.returncode)
"""
"""Start a command in the background of a terminal after `stty tostop`, and end as it ends."""


def test_a_run_in_the_background_is_not_stopped_by_its_progress(run: Local) -> None:
    program = run.program
    command = [sys.executable, "-c", BACKGROUND, *program.command, *map(str, run.arguments("--send"))]
    started = subprocess.Popen(
        command,
        env=program.environment({}),
        cwd=program.home,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    result, out, err = ended(started)
    assert (result, err) == (0, "")
    assert "Succeeded" in out
    assert run.mailed() == PEOPLE


def test_a_failed_run_stays_failed_when_its_report_cannot_be_written(run: Local) -> None:
    run.change(maxRecipients=2)
    with full_disk() as number:
        assert ended(run.start("--send", stdout=number))[0] == 1
    assert run.mailed() == set()


def test_a_run_without_standard_output_mails_each_time(run: Local) -> None:
    """With standard output closed, the user does not want the report, so it is not repeated."""
    program = run.program
    for _ in range(2):
        command = without(1, *program.command, *run.arguments("--send"))
        subprocess.run(command, env=program.environment({}), cwd=program.home, check=True, timeout=HANG_SECONDS)
    assert len(run.sandbox.ledger.distributions) == 2


@pytest.mark.parametrize("name", ["cp1252", "the C locale without UTF-8"])
def test_a_run_reports_in_every_encoding(run: Local, name: str) -> None:
    run.change(description="Grüße 😀")
    result = run("--send", env=ENCODINGS[name])
    assert "Succeeded" in result.stdout
    assert run.mailed() == PEOPLE


def test_a_terminal_that_hangs_up_does_not_end_a_run(run: Local) -> None:
    run.sandbox.fault("qualtrics.import_contacts", hold="before")
    started = run.start("--send")
    run.sandbox.reached("qualtrics.import_contacts")
    started.send_signal(signal.SIGHUP)
    run.sandbox.release()
    result, out, _ = ended(started)
    assert (result, "Succeeded" in out) == (0, True)
    assert run.mailed() == PEOPLE


# The logs.


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_line_of_the_log_is_json_in_every_encoding(encoding: str) -> None:
    code = "import logging; from qualtrics_exporter.telemetry import logs; logs.configure(); logging.error('Büro 😀')"
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    assert json.loads(ended.stderr)["message"] == "Büro 😀"
