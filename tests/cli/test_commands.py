"""The program as a whole: its commands, help, exit codes, and the libraries that it imports."""

import re
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from hack.files import ROOT
from qualtrics_exporter.cli import COMMANDS
from qualtrics_exporter.cli import program as commands
from tests.cli.conftest import InProcessProgram, Program

SLOW_IMPORTS = {"kopf", "kubernetes", "httpx", "aiohttp", "pydantic", "prometheus_client"}


def command_named(name: str) -> click.Command:
    found = commands.get_command(click.Context(commands), name)
    assert found
    return found


def test_help_lists_every_command_with_a_sentence(program: Program) -> None:
    text = " ".join(program("--help").stdout.split())
    for name, sentence in COMMANDS.items():
        assert f"{name} {sentence}" in text
        assert sentence.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_begins_with_its_sentence_in_the_list(name: str) -> None:
    assert (command_named(name).help or "").partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_a_help_text_and_an_environment_variable(name: str) -> None:
    for flag in command_named(name).params:
        if isinstance(flag, click.Option) and flag.name != "help":
            variable = flag.opts[0].removeprefix("--").replace("-", "_").upper()
            assert flag.envvar == f"QUALTRICS_EXPORTER_{variable}"
            assert flag.help, flag.name
            assert flag.help.endswith((".", "]"))


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_help_goes_to_standard_output(in_process: InProcessProgram, name: str) -> None:
    result = in_process(*filter(None, [name]), "--help")
    assert result.stdout.startswith("Usage: qualtrics-exporter")
    assert result.stderr == ""


def test_version_flag_prints_the_version_of_the_package(program: Program) -> None:
    assert program("--version").stdout == f"qualtrics-exporter {version('qualtrics-exporter')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage:"),
        (["nope"], "No such command 'nope'. The commands are controller, validate, run,"),
        (["crd", "--nope"], "No such option"),
        (["crd", "more"], "unexpected extra argument"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "nowhere.yaml", "--secrets", "nowhere.yaml"], "'nowhere.yaml' does not exist"),
        (["controller", "--time-zone", "Europe/Zuerich"], "did you mean 'Europe/Zurich'?"),
        (["controller", "--allowed-host", "https://example.com"], "an allowed host is a host name or *.suffix"),
        (["controller", "--http-address", "8080"], "write HOST:PORT"),
        (["controller", "--max-concurrent-runs", "0"], "0 is not in the range"),
        (["controller", "--log-level", "loud"], "'loud' is not one of"),
    ],
    ids=[
        "no command",
        "an unknown command",
        "an unknown flag",
        "an extra argument",
        "a missing argument",
        "a missing file",
        "an unknown time zone",
        "a URL instead of a host",
        "a port instead of an address",
        "zero concurrent runs",
        "an unknown log level",
    ],
)
def test_wrong_usage_prints_a_message_on_standard_error_and_exits_with_2(
    in_process: InProcessProgram, arguments: list[str], message: str
) -> None:
    result = in_process(*arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_installed_program_prints_wrong_usage_on_standard_error_and_exits_with_2(program: Program) -> None:
    result = program("nope", code=2)
    assert "No such command 'nope'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("arguments", "expected"), [(["--help"], set()), (["crd"], {"pydantic"})], ids=["help", "crd"])
def test_a_short_command_imports_only_the_libraries_that_it_needs(arguments: list[str], expected: set[str]) -> None:
    """Imports take nearly all of the time of a short command."""
    script = (
        f"import sys; from qualtrics_exporter.cli import program; program({arguments!r}, standalone_mode=False); "
        f"print('loaded', sorted({sorted(SLOW_IMPORTS)!r} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.endswith(f"loaded {sorted(expected)}\n")


def test_crd_command_prints_the_crd_of_the_repository(program: Program) -> None:
    (file,) = (ROOT / "crds").glob("*.yaml")
    result = program("crd")
    assert result.stdout == file.read_text()
    assert result.stderr == ""


def test_crd_command_prints_the_json_schema_of_the_repository(program: Program) -> None:
    (file,) = (ROOT / "schemas").rglob("*.json")
    assert program("crd", "--json-schema").stdout == file.read_text()


def test_an_unexpected_error_prints_one_line_without_the_text_of_the_error(program: Program) -> None:
    script = (
        "from qualtrics_exporter import cli\n"
        "def broken(*_, **__): raise ValueError('ana@example.com')\n"
        "cli.program.invoke = broken\n"
        "cli.main()\n"
    )
    result = subprocess.run([sys.executable, "-c", script, "crd"], capture_output=True, text=True)
    assert result.returncode == 1
    assert re.fullmatch(r"Error: .*: ValueError at .*<string>:2\. Please report this .*\n", result.stderr)
    assert "ana@" not in result.stderr
