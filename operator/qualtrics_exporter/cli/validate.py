"""`qualtrics-exporter validate`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from qualtrics_exporter.cli.findings_report import FORMATS, Checked
from qualtrics_exporter.cli.flags import flag
from qualtrics_exporter.cli.located import decoded
from qualtrics_exporter.cli.manifest_findings import findings, mentions_exporter, refused
from qualtrics_exporter.cli.streams import OutputLost, say
from qualtrics_exporter.resource.names import KIND

STDIN = "<stdin>"
_SUFFIXES = (".yaml", ".yml", ".json")


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE…", type=click.Path(exists=True, allow_dash=True, path_type=Path)
)
@flag(
    "--output",
    "-o",
    type=click.Choice(list(FORMATS)),
    default="text",
    show_default=True,
    help="text: for people, with the line; json: for programs; github: annotations of a GitHub workflow.",
)
@flag("--strict", is_flag=True, help="Warnings count as errors.")
def validate(*, files: tuple[Path, ...], output: str, strict: bool) -> None:
    """Check manifests offline: the fields, their rules, the schedule and the NQL.

    FILE is a YAML or JSON file, a directory (all such files below it, except hidden ones), or - for standard input. A
    file can have several documents. Objects of other kinds are skipped.

    An error is something that kubectl, the API server or the operator would reject. A warning is something that they
    accept, but that may mail other people than you intend. spec.nexthink.queryCheck: Warn turns errors about the query
    into warnings.

    \b
    Examples:
      qualtrics-exporter validate exporters/
      kustomize build . | qualtrics-exporter validate --strict -
      git diff -z --name-only --diff-filter=d main -- '*.yaml' | xargs -0r qualtrics-exporter validate

    \b
    Exit codes: 0 no errors; 1 an error, or with --strict a warning; 2 wrong usage.
    They do not change if the findings cannot be written, as with `| head -3`.
    """
    if [str(path) for path in files].count("-") > 1:
        raise click.UsageError("Standard input can be given only once.")
    checked = list(_checked(files))
    try:
        click.echo(FORMATS[output](checked), nl=False)
    except OutputLost as lost:  # the exit code still shows the result
        if not lost.reader_left:
            say(f"The findings cannot be written to standard output: {lost}.")
    found = [finding for each in checked for finding in each.findings]
    errors = sum(finding.severity == "error" for finding in found)
    exporters = sum(each.exporters for each in checked)
    say(_summary(exporters, errors, len(found) - errors))
    sys.exit(1 if errors or (strict and found) else 0)


def _checked(files: Iterable[Path]) -> Iterator[Checked]:
    for path in files:
        if str(path) == "-":
            yield _check(STDIN, sys.stdin.buffer.read if sys.stdin else bytes)
        elif path.is_dir():
            yield from (_check(str(inner), inner.read_bytes) for inner in _below(path))
        else:
            yield _check(str(path), path.read_bytes)


def _check(name: str, read: Callable[[], bytes]) -> Checked:
    try:
        content = read()
    except OSError as error:
        return Checked(name, "", 0, [refused(f"this cannot be read: {error.strerror or type(error).__name__}")])
    try:
        text = decoded(content)
    except UnicodeDecodeError as error:
        text = content.decode("latin-1")
        wrong = [refused("this is not UTF-8 text", error.start)] if mentions_exporter(text) else []
        return Checked(name, text, 0, wrong)
    return Checked(name, text, *findings(text))


def _below(folder: Path) -> Iterator[Path]:
    unreadable: list[OSError] = []
    for here, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".") and path.is_file():
                yield path
    yield from (Path(error.filename) for error in unreadable)  # reading them reports the error


def _summary(exporters: int, errors: int, warnings: int) -> str:
    what = ", ".join(_counted(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number)
    if exporters:
        return f"{_counted(exporters, 'exporter')} checked: {what or 'no findings'}."
    return f"Nothing could be checked: {what}." if what else f"Nothing was checked: the input has no {KIND}."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
