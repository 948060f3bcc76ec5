"""The command line. Each command has a module of its own name, which is imported only when the command is called.

Importing all of them takes seconds. So this module has what `--help` shows of each command: its name and one sentence.

    controller  sandbox  crd               commands that need only flags
    run         demo                       commands that do an export: without_cluster, manifests, progress, report
    validate                               finds mistakes in manifests: manifest_findings, findings_report, cut_values
    located     scalars  yaml_errors       YAML with the position of each value
    written_yaml                           writes YAML
    qex/                                   `kubectl qex`, a program of its own
    console/                               the pages of `kubectl qex dashboard` and of `demo --dashboard`
    flags       local_setup  streams       shared flags, checks of this machine, standard output and standard error
    lazy_group                             imports a command when it is called

Results go to standard output, everything else to standard error. Exit codes: 0 success, 1 the check or the run failed,
2 wrong usage. If standard error cannot be written, the exit code stays the same.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from qualtrics_exporter.cli import streams
from qualtrics_exporter.cli.lazy_group import LazyGroup

if TYPE_CHECKING:  # imported at run time, the models would make `--help` slow
    from qualtrics_exporter.controller.settings import Settings

COMMANDS = {
    "controller": "Run the operator: watch exporters in a cluster and run them on schedule.",
    "validate": "Check manifests offline: the fields, their rules, the schedule and the NQL.",
    "run": "Run one export without a cluster. Sends no e-mail without --send.",
    "demo": "Run a complete example locally, in about ten seconds.",
    "sandbox": "Serve a local Nexthink and Qualtrics to try exporters with.",
    "crd": "Print the CustomResourceDefinition that this version expects.",
}


def _find(name: str) -> object:
    return getattr(import_module(f".{name}", __name__), name)


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, texts=COMMANDS, find=_find, context_settings=SETTINGS)
@click.version_option(package_name="qualtrics-exporter", message="%(prog)s %(version)s")
def program() -> None:
    """Send Qualtrics surveys to exactly the people that a Nexthink query returns, at most once.

    \b
    Try it:            qualtrics-exporter demo
    In a cluster:      qualtrics-exporter crd | kubectl apply --server-side -f -
                       qualtrics-exporter controller
    Check a manifest:  qualtrics-exporter validate exporter.yaml
    Without a cluster: qualtrics-exporter run exporter.yaml --secrets secrets.yaml

    You can set every flag as an environment variable: --time-zone is QUALTRICS_EXPORTER_TIME_ZONE. Separate the items
    of a list by commas. Exit codes: 0 success, 1 the check or the run failed, 2 wrong usage.
    """


def main(run_operator: "Callable[[Settings], int] | None" = None) -> None:
    """The console script. It reports every error as a sentence, without a traceback.

    `run_operator` runs the operator for the command `controller`; by default it is `controller.app.run`.
    """
    streams.install()
    try:
        program(prog_name="qualtrics-exporter", obj=run_operator)
    except streams.OutputLost as lost:
        lost.end()
    except Exception as error:  # noqa: BLE001
        from qualtrics_exporter.telemetry.redact import redact

        click.echo(f"Error: {redact(_error_message(error))}", err=True)
        sys.exit(1)


def _error_message(error: Exception) -> str:
    from qualtrics_exporter.export.unexpected import places
    from qualtrics_exporter.remote.errors import ExportError

    if isinstance(error, ExportError):
        return error.message
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    # The text of an unexpected error, and a traceback, could contain an address.
    return (
        f"Unexpected internal error: {type(error).__name__} at {places(error, 6)}. "
        "Please report this line and the output of `qualtrics-exporter --version`."
    )
