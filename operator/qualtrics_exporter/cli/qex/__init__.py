"""`kubectl qex`: the command line for people who own surveys. It acts with the permissions of the user's kubeconfig.

Each command has a function of its own name. Its module is imported only when the command is called.

    kubectl     runs kubectl, which knows every form of kubeconfig and of credentials
    show        list, status, history, events: commands that only read
    act         run, test, suspend, resume, resolve: commands that change an exporter
    dashboard   dashboard: serves `cli.console` for the cluster of the user
    wait        wait, and how `act` waits for the outcome of a request
    requests    what a command writes into an exporter, and whether it may, as functions of the object
    output      output for programs: JSON, YAML and names
    events      Events as the API server returns them: their selector and times
    views       what a command shows of an exporter, as functions of the object and the time
    health      the health of an exporter in a few words, and the next step
    tables      columns of text
    completion  completion in the shell, as kubectl asks plugins for it
"""

import sys
from importlib import import_module

import click

from qualtrics_exporter.cli import SETTINGS, streams
from qualtrics_exporter.cli.lazy_group import LazyGroup
from qualtrics_exporter.cli.qex.kubectl import Failed

COMMANDS = {
    "list": ("show", "List exporters: active or suspended, schedule, next slot, last run, health."),
    "status": ("show", "Show one exporter: schedule, next slots, conditions with next steps, latest runs."),
    "history": ("show", "Show the latest runs: how many people, and what happened to the mails."),
    "events": ("show", "Show what the operator reported in the last hour (Kubernetes Events), oldest first."),
    "test": ("act", "Count the people of the query. With --deliver, send the survey to at most 20 of them."),
    "run": ("act", "Send the survey now, to all people of the query."),
    "suspend": ("act", "Stop sending on schedule, until you resume."),
    "resume": ("act", "Send on schedule again, from the next slot."),
    "resolve": ("act", "Report whether a run with the result Unknown was sent."),
    "dashboard": ("dashboard", "Show the exporters on a page of this machine."),
    "wait": ("wait", "Wait until the current run or test has ended, or until the exporter is ready."),
}


def _find(name: str) -> object:
    return getattr(import_module(f".{COMMANDS[name][0]}", __name__), f"{name}_command")


@click.group(
    cls=LazyGroup,
    texts={name: text for name, (_, text) in COMMANDS.items()},
    find=_find,
    context_settings=SETTINGS,
)
@click.version_option(package_name="qualtrics-exporter", message="%(prog)s %(version)s")
def program() -> None:
    """See, test, run and suspend exporters. An exporter sends a Qualtrics survey to the people of a Nexthink query.

    \b
    What is there?          kubectl qex list -A
    How is it doing?        kubectl qex status teams-rollout -n dex
    How many people?        kubectl qex test teams-rollout -n dex
    Send it now:            kubectl qex run teams-rollout -n dex

    A slot is a time at which the schedule of an exporter sends its survey. Times are in your time zone.

    The commands run kubectl, with your kubeconfig and your permissions. A command that sends e-mail asks first.
    Exit codes: 0 success, 1 the command or the run failed, 2 wrong usage.
    """


def main() -> None:
    """The console script `kubectl-qex`. It reports every error as a sentence, without a traceback."""
    streams.install()
    try:
        program(prog_name="kubectl qex")
    except streams.OutputLost as lost:
        lost.end()
    except Failed as failed:
        click.echo(f"Error: {failed}", err=True)
        sys.exit(1)
