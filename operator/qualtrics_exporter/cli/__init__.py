"""The command line: one file a command, loaded when it is called.

Loading all of them would take seconds (the Kubernetes client alone is one), and `--help` is read by people who try
things out. So the sentence that stands for a command in `--help` is here, and the rest in its own module.

Results go to standard output, everything else to standard error. Exit codes: 0 good, 1 the answer is no, 2 wrong usage.
If standard error cannot be written, the exit code stays the same.
"""

import sys
from importlib import import_module
from pathlib import Path

import click

from qualtrics_exporter.cli import streams

COMMANDS = {
    "controller": "Run the operator: watch exporters in a cluster and keep their schedules.",
    "validate": "Check manifests offline: the fields, their rules, the schedule and the NQL.",
    "run": "Do one export without a cluster; mails nobody unless told to.",
    "demo": "See it work in ten seconds, on this machine alone.",
    "sandbox": "Serve Nexthink and Qualtrics locally, to try exporters against.",
    "crd": "Print the CustomResourceDefinition that this version expects.",
}


class _Commands(click.Group):
    """Commands that are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f".{cmd_name}", __name__), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click would suggest from the commands that it knows, which are none here.
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"No such command '{args[0]}'. The commands are {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qualtrics-exporter", message="%(prog)s %(version)s")
def program() -> None:
    """Send Qualtrics surveys to exactly the people that a Nexthink query returns, at most once.

    \b
    Try it:            qualtrics-exporter demo
    In a cluster:      qualtrics-exporter crd | kubectl apply --server-side -f -
                       qualtrics-exporter controller
    Before that:       qualtrics-exporter validate exporter.yaml
    Without one:       qualtrics-exporter run exporter.yaml --secrets secrets.yaml

    Every flag can also be set as an environment variable: --time-zone is QUALTRICS_EXPORTER_TIME_ZONE; lists are
    separated by commas. Exit codes: 0 good, 1 the answer is no, 2 wrong usage.
    """


def main() -> None:
    """The console script. Whatever goes wrong, a user reads a sentence."""
    streams.install()
    try:
        program(prog_name="qualtrics-exporter")
    except streams.OutputLost as lost:
        lost.end()
    except Exception as error:  # noqa: BLE001
        from qualtrics_exporter.telemetry.redact import redact

        click.echo(f"Error: {redact(_sentence(error))}", err=True)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    from qualtrics_exporter.remote.errors import ExportError

    if isinstance(error, ExportError):
        return error.message
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    # Neither a traceback nor the text of an error that nobody expected: it could hold an address.
    places, at = [], error.__traceback__
    while at:
        places.append(f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}")
        at = at.tb_next
    return (
        f"qualtrics-exporter met an error that it has no name for: {type(error).__name__} at {' '.join(places[-6:])}. "
        "Please report this line, together with `qualtrics-exporter --version`."
    )
