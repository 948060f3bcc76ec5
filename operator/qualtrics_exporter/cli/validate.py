"""`qualtrics-exporter validate`."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from .findings_report import FORMATS, Checked
from .flags import flag
from .manifest_findings import findings, mentions_exporter

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
    help="text: for people, with the line; json: for programs; github: as annotations of a GitHub workflow.",
)
@flag("--strict", is_flag=True, help="Warnings count as errors.")
def validate(*, files: tuple[Path, ...], output: str, strict: bool) -> None:
    """Check manifests offline: the fields, their rules, the schedule and the NQL.

    FILE is a YAML or JSON file, a directory (all such files below it, but for hidden ones), or - for standard input.
    Several documents in a file are fine, and objects of other kinds are passed over.

    An error is what kubectl, the API server or the operator would refuse. A warning is what they take, and what may
    still mail other people than is meant. spec.nexthink.queryCheck: Warn makes warnings of all errors of the query.

    \b
    Examples:
      qualtrics-exporter validate exporters/
      kustomize build . | qualtrics-exporter validate --strict -
      qualtrics-exporter validate -o github $(git diff --name-only main -- '*.yaml')

    \b
    Exit codes: 0 good, or warnings only; 1 an error, or with --strict a warning; 2 wrong usage.
    """
    checked = list(_checked(files))
    click.echo(FORMATS[output](checked), nl=False)
    found = [finding for each in checked for finding in each.findings]
    errors = sum(finding.severity == "error" for finding in found)
    exporters = sum(each.exporters for each in checked)
    click.echo(_summary(exporters, errors, len(found) - errors), err=True)
    sys.exit(1 if errors or (strict and found) else 0)


def _checked(files: Iterable[Path]) -> Iterator[Checked]:
    for path in files:
        if str(path) == "-":
            yield _check(STDIN, sys.stdin.buffer.read())
        elif path.is_dir():
            yield from (_check(str(inner), inner.read_bytes()) for inner in _below(path))
        else:
            yield _check(str(path), path.read_bytes())


def _check(name: str, content: bytes) -> Checked:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        return Checked.unreadable(name, text) if mentions_exporter(text) else Checked(name, text, 0, [])
    return Checked(name, text, *findings(text))


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if name.endswith(_SUFFIXES) and not name.startswith(".") and path.is_file():
                yield path


def _summary(exporters: int, errors: int, warnings: int) -> str:
    if not exporters and not errors:
        return "There is no QualtricsExporter in what was given: nothing was checked."
    what = ", ".join(_counted(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number)
    return f"{_counted(exporters, 'exporter')} checked: {what or 'all well'}."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
