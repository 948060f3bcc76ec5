"""The program as a whole: its commands, their help, exit codes, and how quickly it is there."""

import re
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from qualtrics_exporter.cli import COMMANDS
from qualtrics_exporter.cli import program as commands
from tests.cli.conftest import Called, Program
from tests.environment.build import ROOT

HEAVY = {"kopf", "kubernetes", "httpx", "aiohttp", "pydantic", "prometheus_client"}


def command(name: str) -> click.Command:
    found = commands.get_command(click.Context(commands), name)
    assert found
    return found


def test_help_lists_every_command_with_a_sentence(program: Program) -> None:
    text = " ".join(program("--help").stdout.split())
    for name, sentence in COMMANDS.items():
        assert f"{name} {sentence}" in text
        assert sentence.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_sentence_in_the_list_is_the_one_that_the_command_itself_begins_with(name: str) -> None:
    assert (command(name).help or "").partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_explained_and_has_its_variable(name: str) -> None:
    for flag in command(name).params:
        if isinstance(flag, click.Option) and flag.name != "help":
            word = flag.opts[0].removeprefix("--").replace("-", "_").upper()
            assert flag.envvar == f"QUALTRICS_EXPORTER_{word}"
            assert flag.help, flag.name
            assert flag.help.endswith((".", "]"))


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_help_goes_to_standard_output(called: Called, name: str) -> None:
    ended = called(*filter(None, [name]), "--help")
    assert ended.stdout.startswith("Usage: qualtrics-exporter")
    assert ended.stderr == ""


def test_version(program: Program) -> None:
    assert program("--version").stdout == f"qualtrics-exporter {version('qualtrics-exporter')}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
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
)
def test_wrong_usage_is_told_on_standard_error_with_exit_code_2(
    called: Called, arguments: list[str], said: str
) -> None:
    ended = called(*arguments, code=2)
    assert said in ended.stderr
    assert ended.stdout == ""


def test_the_installed_program_tells_wrong_usage_so_too(program: Program) -> None:
    ended = program("nope", code=2)
    assert "No such command 'nope'" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(("arguments", "needed"), [(["--help"], set()), (["crd"], {"pydantic"})])
def test_nothing_is_loaded_that_a_command_does_not_need(arguments: list[str], needed: set[str]) -> None:
    """Loading is nearly all of what a short command costs."""
    script = (
        f"import sys; from qualtrics_exporter.cli import program; program({arguments!r}, standalone_mode=False); "
        f"print('loaded', sorted({sorted(HEAVY)!r} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.endswith(f"loaded {sorted(needed)}\n")


def test_crd_prints_the_file_that_is_in_the_repository(program: Program) -> None:
    (file,) = (ROOT / "crds").glob("*.yaml")
    ended = program("crd")
    assert ended.stdout == file.read_text()
    assert ended.stderr == ""


def test_crd_prints_the_json_schema_that_is_in_the_repository(program: Program) -> None:
    (file,) = (ROOT / "schemas").rglob("*.json")
    assert program("crd", "--json-schema").stdout == file.read_text()


def test_an_error_without_a_name_is_one_line_without_its_text(program: Program) -> None:
    script = (
        "from qualtrics_exporter import cli\n"
        "def broken(*_, **__): raise ValueError('ana@example.com')\n"
        "cli.program.invoke = broken\n"
        "cli.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, "crd"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(r"Error: .*: ValueError at .*<string>:2\. Please report this .*\n", ended.stderr)
    assert "ana@" not in ended.stderr
