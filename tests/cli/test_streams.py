"""Broken and blocked standard streams change no result and no exit code. With real pipes, files and terminals."""

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

from hack import plain_yaml
from qualtrics_exporter.resource.crd import crd_yaml
from tests.cli.conftest import PEOPLE, SAMPLE, LocalRun, Program
from tests.resource.manifests import changed
from tests.support.waiting import HANG_SECONDS

NON_ASCII_CLAUSE = 'where binary.name == "Müller😀Büro.exe" andd x'
"""A clause with a finding after characters that some encodings lack."""


@contextmanager
def closed_pipe() -> Iterator[int]:
    """A pipe whose reader has exited, as with `| head -3`."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full_disk() -> Iterator[int]:
    """A file on a full disk."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def closed_terminal() -> Iterator[int]:
    """A terminal whose window was closed."""
    master, terminal = pty.openpty()
    os.close(master)
    yield terminal
    os.close(terminal)


@contextmanager
def paused_terminal() -> Iterator[int]:
    """A terminal on which the user pressed Ctrl-S."""
    master, terminal = pty.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    yield terminal
    termios.tcflow(terminal, termios.TCOON)
    os.close(terminal)
    os.close(master)


@contextmanager
def full_pipe() -> Iterator[int]:
    """A full pipe that nobody reads, such as that of a pager."""
    reader, writer = os.pipe()
    os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))
    yield writer
    os.close(writer)
    os.close(reader)


BROKEN_STREAMS = {"closed pipe": closed_pipe, "full disk": full_disk, "closed terminal": closed_terminal}
BLOCKED_STREAMS = {"paused terminal": paused_terminal, "full pipe": full_pipe}


def long_except(names: Iterable[str], *not_long: str) -> list[Any]:
    """All names as parameters. Those that are not in `not_long` are marked as long: each starts two processes."""
    return [name if name in not_long else pytest.param(name, marks=pytest.mark.long) for name in names]


def outcome_of(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for the process. Returns its exit code, standard output and standard error (empty without a pipe)."""
    out, err = process.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in (err or "")
    assert "Exception ignored" not in (err or "")
    return process.returncode, out or "", err or ""


def with_closed_stream(descriptor: int, *command: str | Path) -> list[str]:
    """The command with one of its standard streams closed."""
    return ["sh", "-c", f'exec "$@" {descriptor}>&-', "sh", *map(str, command)]


@pytest.fixture
def non_ascii_manifest(home: Path) -> Path:
    """A manifest with a warning in a line that contains umlauts and an emoji."""
    path = home / "non_ascii.yaml"
    text = SAMPLE.read_text("utf-8").replace('where binary.name == "teams.exe"', NON_ASCII_CLAUSE)
    assert NON_ASCII_CLAUSE in text
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def invalid_manifest(home: Path) -> Path:
    """A manifest with many errors."""
    path = home / "broken.yaml"
    path.write_text("---\n".join([yaml.safe_dump(changed({"nexthink.query": "users | where |"}))] * 40))
    return path


# Findings.


@pytest.mark.parametrize("stream", long_except(BROKEN_STREAMS, "closed pipe"))
@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_validate_exits_with_the_same_code_if_standard_output_is_broken(
    program: Program, invalid_manifest: Path, stream: str, output: str
) -> None:
    for file, code in (invalid_manifest, 1), (SAMPLE, 0):
        with BROKEN_STREAMS[stream]() as descriptor:
            exit_code, _, err = outcome_of(program.start("validate", "--output", output, file, stdout=descriptor))
        assert exit_code == code, err
        assert "1 exporter checked: no findings." in err or "40 exporters checked: " in err


@pytest.mark.parametrize("stream", BROKEN_STREAMS)
def test_validate_exits_with_the_same_code_if_standard_error_is_broken(
    program: Program, invalid_manifest: Path, stream: str
) -> None:
    for file, code in (invalid_manifest, 1), (SAMPLE, 0):
        with BROKEN_STREAMS[stream]() as descriptor:
            exit_code, out, _ = outcome_of(program.start("validate", file, stderr=descriptor))
        assert exit_code == code
        assert out.count("error QueryInvalid") == (80 if code else 0)


@pytest.mark.parametrize("descriptor", [1, 2])
def test_validate_exits_with_the_same_code_if_a_stream_is_closed(
    program: Program, invalid_manifest: Path, descriptor: int
) -> None:
    for file, code in (invalid_manifest, 1), (SAMPLE, 0):
        command = with_closed_stream(descriptor, *program.command, "validate", file)
        exit_code, out, err = outcome_of(
            subprocess.Popen(
                command, env=program.environment({}), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        assert exit_code == code
        assert (out if descriptor == 1 else err) == ""


def test_validate_reports_a_full_disk_in_addition_to_its_exit_code(program: Program, invalid_manifest: Path) -> None:
    with full_disk() as descriptor:
        exit_code, _, err = outcome_of(program.start("validate", invalid_manifest, stdout=descriptor))
    assert exit_code == 1
    assert "The findings cannot be written to standard output: No space left on device." in err


def test_wrong_usage_exits_with_2_if_the_streams_are_broken(program: Program) -> None:
    for stream in BROKEN_STREAMS.values():
        with stream() as descriptor:
            assert outcome_of(program.start("validate", "nowhere.yaml", stderr=descriptor))[0] == 2
            assert outcome_of(program.start("run", stdout=descriptor, stderr=descriptor))[0] == 2


ENCODINGS: dict[str, dict[str, str]] = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "strict cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"LC_ALL": "C"},
    "the C locale without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_validate_replaces_only_the_characters_that_an_encoding_lacks(
    program: Program, non_ascii_manifest: Path, name: str
) -> None:
    result = program("validate", non_ascii_manifest, env=ENCODINGS[name], encoding="latin-1")
    assert "warning QueryNotVerified" in result.stdout
    assert "1 exporter checked: 1 warning." in result.stderr
    if name in ("cp1252", "latin-1", "strict cp1252"):
        _, line, marks = result.stdout.splitlines()
        assert line.endswith('"Müller?Büro.exe" andd x')
        assert marks.index("^") == line.index("andd"), "one ? for each character, so that the mark keeps its position"
    program("validate", "--strict", non_ascii_manifest, env=ENCODINGS[name], encoding="latin-1", code=1)


@pytest.mark.parametrize("name", long_except(ENCODINGS, "cp1252", "the C locale without UTF-8"))
def test_validate_prints_valid_json_in_every_encoding(
    program: Program, home: Path, non_ascii_manifest: Path, name: str
) -> None:
    folder = home / "Büro 😀"
    folder.mkdir()
    path = folder / "exporter.yaml"
    path.write_bytes(non_ascii_manifest.read_bytes())
    result = program("validate", "--output", "json", "Büro 😀", env=ENCODINGS[name])
    (finding,) = json.loads(result.stdout)["findings"]
    assert os.fsencode(finding["file"]) == os.fsencode(path.relative_to(home))


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_validate_checks_a_file_whose_name_is_not_utf_8(program: Program, home: Path, output: str) -> None:
    os.makedirs(os.path.join(os.fsencode(home), b"m\xfcller"))
    path = os.path.join(os.fsencode(home), b"m\xfcller", b"exporter.yaml")
    with open(path, "w") as file:
        file.write(yaml.safe_dump(changed({"nexthink.query": "users | where |"})))
    result = program("validate", "--output", output, os.fsdecode(os.path.dirname(path)), code=1)
    assert "QueryInvalid" in result.stdout


@pytest.mark.parametrize("name", long_except(ENCODINGS, "cp1252", "the C locale without UTF-8"))
def test_crd_command_prints_utf_8_in_every_encoding(program: Program, name: str) -> None:
    env = program.environment(ENCODINGS[name])
    out = subprocess.run([*program.command, "crd"], env=env, check=True, capture_output=True).stdout
    assert out.decode("utf-8") == crd_yaml()
    assert not out.isascii()


# Commands that only print.


@pytest.mark.parametrize("command", [["crd"], ["--help"], ["--version"], ["run", "--help"]], ids=" ".join)
def test_a_command_whose_reader_closed_the_pipe_ends_with_sigpipe(program: Program, command: list[str]) -> None:
    with closed_pipe() as descriptor:
        exit_code, _, err = outcome_of(program.start(*command, stdout=descriptor))
    assert (exit_code, err) == (-signal.SIGPIPE, "")


def test_crd_command_fails_with_a_message_on_a_full_disk(program: Program) -> None:
    with full_disk() as descriptor:
        exit_code, _, err = outcome_of(program.start("crd", stdout=descriptor))
    assert (exit_code, err) == (1, "Error: standard output cannot be written: No space left on device.\n")


def test_crd_command_writes_its_whole_output_to_a_non_blocking_pipe(program: Program) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    process = program.start("crd", stdout=writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        content = pipe.read()
    assert outcome_of(process)[0] == 0
    assert plain_yaml.read(content)["kind"] == "CustomResourceDefinition"


# Progress of a run.


@pytest.mark.parametrize("name", long_except([*BROKEN_STREAMS, *BLOCKED_STREAMS], "closed pipe", "paused terminal"))
def test_a_run_mails_if_its_progress_cannot_be_written(run: LocalRun, name: str) -> None:
    with {**BROKEN_STREAMS, **BLOCKED_STREAMS}[name]() as descriptor:
        exit_code, out, _ = outcome_of(run.start("--send", stderr=descriptor))
    assert exit_code == 0
    assert "Succeeded" in out
    assert run.mailed() == PEOPLE
    run("--send")
    assert len(run.sandbox.recorder.distributions) == 2, "the first run counts as reported"


def test_a_run_mails_if_standard_error_is_closed(run: LocalRun) -> None:
    program = run.program
    command = with_closed_stream(2, *program.command, *run.arguments("--send"))
    process = subprocess.Popen(
        command, env=program.environment({}), cwd=program.home, text=True, stdout=subprocess.PIPE
    )
    exit_code, out, _ = outcome_of(process)
    assert exit_code == 0
    assert "Succeeded" in out
    assert run.mailed() == PEOPLE
    json.loads(run.journal.read_text())


@pytest.mark.parametrize("name", long_except(BROKEN_STREAMS, "closed terminal"))
def test_a_run_with_broken_standard_output_reports_on_standard_error_and_the_next_run_sends(
    run: LocalRun, name: str
) -> None:
    """Otherwise a job whose standard output is always broken sends once, and then always repeats its report."""
    for sends in (1, 2):
        with BROKEN_STREAMS[name]() as descriptor:
            exit_code, _, err = outcome_of(run.start("--send", stdout=descriptor))
        assert exit_code == 0
        assert "The report cannot be written to standard output: " in err
        assert "result        Succeeded" in err
        assert len(run.sandbox.recorder.distributions) == sends


@pytest.mark.parametrize("name", long_except(BROKEN_STREAMS, "full disk"))
def test_the_next_command_repeats_an_unwritten_report_once_and_the_one_after_it_sends(run: LocalRun, name: str) -> None:
    with BROKEN_STREAMS[name]() as descriptor:
        assert outcome_of(run.start("--send", stdout=descriptor, stderr=descriptor))[0] == 0
    repeated = run("--send")
    assert "about         an earlier run, which ended at " in repeated.stdout
    assert "An earlier command ended at " in repeated.stderr
    assert len(run.sandbox.recorder.distributions) == 1
    assert run.mailed() == PEOPLE
    assert "earlier" not in run("--send").stdout
    assert len(run.sandbox.recorder.distributions) == 2


def test_a_job_that_can_never_write_its_report_sends_again_on_its_third_run(run: LocalRun) -> None:
    for sends in (1, 1, 2):
        with full_disk() as descriptor:
            assert outcome_of(run.start("--send", stdout=descriptor, stderr=descriptor))[0] == 0
        assert len(run.sandbox.recorder.distributions) == sends


@pytest.mark.parametrize("name", long_except(BLOCKED_STREAMS, "paused terminal"))
def test_a_report_to_a_blocked_standard_error_counts_as_unreported(run: LocalRun, name: str) -> None:
    with full_disk() as descriptor, BLOCKED_STREAMS[name]() as terminal:
        assert outcome_of(run.start("--send", stdout=descriptor, stderr=terminal))[0] == 0
    assert "an earlier run" in run("--send").stdout
    assert len(run.sandbox.recorder.distributions) == 1


def test_a_report_without_any_usable_stream_counts_as_unreported(run: LocalRun) -> None:
    program = run.program
    command = with_closed_stream(2, *program.command, *run.arguments("--send"))
    with full_disk() as descriptor:
        subprocess.run(
            command, env=program.environment({}), cwd=program.home, stdout=descriptor, check=True, timeout=HANG_SECONDS
        )
    assert "an earlier run" in run("--send").stdout
    assert len(run.sandbox.recorder.distributions) == 1


IN_BACKGROUND = """
import fcntl, os, pty, subprocess, sys, termios
master, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
modes = termios.tcgetattr(terminal)
modes[3] |= termios.TOSTOP
termios.tcsetattr(terminal, termios.TCSANOW, modes)
job = subprocess.Popen(sys.argv[1:], stderr=terminal, process_group=0)
_, status = os.waitpid(job.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    job.kill()
    job.wait()
    sys.exit("stopped")
job.returncode = os.waitstatus_to_exitcode(status)
sys.exit(job.returncode)
"""
"""Starts a command in the background of a terminal after `stty tostop`, and exits with its exit code."""


def test_a_run_in_the_background_of_a_terminal_is_not_stopped_by_its_progress(run: LocalRun) -> None:
    program = run.program
    command = [sys.executable, "-c", IN_BACKGROUND, *program.command, *map(str, run.arguments("--send"))]
    process = subprocess.Popen(
        command,
        env=program.environment({}),
        cwd=program.home,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    exit_code, out, err = outcome_of(process)
    assert (exit_code, err) == (0, "")
    assert "Succeeded" in out
    assert run.mailed() == PEOPLE


def test_a_failed_run_exits_with_1_if_its_report_cannot_be_written(run: LocalRun) -> None:
    run.change(maxRecipients=2)
    with full_disk() as descriptor:
        assert outcome_of(run.start("--send", stdout=descriptor))[0] == 1
    assert run.mailed() == set()


def test_every_run_mails_if_standard_output_is_closed(run: LocalRun) -> None:
    """With standard output closed, the user does not want the report, so it is not repeated."""
    program = run.program
    for _ in range(2):
        command = with_closed_stream(1, *program.command, *run.arguments("--send"))
        subprocess.run(command, env=program.environment({}), cwd=program.home, check=True, timeout=HANG_SECONDS)
    assert len(run.sandbox.recorder.distributions) == 2


@pytest.mark.parametrize("name", ["cp1252", "the C locale without UTF-8"])
def test_a_run_mails_and_reports_in_encodings_other_than_utf_8(run: LocalRun, name: str) -> None:
    run.change(description="Grüße 😀")
    result = run("--send", env=ENCODINGS[name])
    assert "Succeeded" in result.stdout
    assert run.mailed() == PEOPLE


def test_a_hangup_of_the_terminal_does_not_end_a_run(run: LocalRun) -> None:
    run.sandbox.fault("qualtrics.import_contacts", hold="before")
    process = run.start("--send")
    run.sandbox.reached("qualtrics.import_contacts")
    process.send_signal(signal.SIGHUP)
    run.sandbox.release()
    exit_code, out, _ = outcome_of(process)
    assert (exit_code, "Succeeded" in out) == (0, True)
    assert run.mailed() == PEOPLE


# The logs.


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_log_line_is_valid_json_in_every_encoding(encoding: str) -> None:
    code = "import logging; from qualtrics_exporter.telemetry import logs; logs.configure(); logging.error('Büro 😀')"
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    result = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    assert json.loads(result.stderr)["message"] == "Büro 😀"
