"""`kubectl qex test`, `run`, `suspend`, `resume` and `resolve`: commands that change an exporter.

Each reads the exporter, refuses what the operator would refuse, asks if the command e-mails people, and writes with the
version that it read. On a conflict it reads again: if a request came in between, it is refused.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from qualtrics_exporter.cli.qex import requests
from qualtrics_exporter.cli.qex.kubectl import Failed, Kubectl, connected, name_argument
from qualtrics_exporter.cli.qex.output import ENTRY_FORMATS, format_data, output_option
from qualtrics_exporter.cli.qex.requests import Patch, Refused, Request
from qualtrics_exporter.cli.qex.wait import Polling, observe, outcome, timeout_option
from qualtrics_exporter.cli.report import GOOD, report
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.controller.plan.requests import SETTLEMENT, requested
from qualtrics_exporter.pages.times import now
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import SETTLE_RUN

ATTEMPTS = 10
"""How often a conflicting write is tried. The operator may be writing the status at the same time."""

T = TypeVar("T")

entry_output = output_option(ENTRY_FORMATS, "Print the entry of the history for programs instead of a report.")

yes = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
no_wait = click.option("--no-wait", is_flag=True, help="Do not wait for the outcome.")


@click.command("run")
@name_argument
@yes
@no_wait
@timeout_option
@entry_output
@connected
def run_command(*, kubectl: Kubectl, name: str, yes: bool, no_wait: bool, timeout: float, output: str | None) -> None:
    """Send the survey now, to all people of the query. Asks for confirmation first.

    The schedule does not change: the next slot runs as planned. Exit code 0 if the survey was sent.
    """
    found = kubectl.get(name)
    exporter = Exporter.from_object(found)
    _checked(lambda: requests.request_run(exporter, now()))
    spec = exporter.spec
    if not (spec and spec.dry_run):
        survey = spec.qualtrics.survey_id if spec else ""
        question = f"Send survey {survey} to {requests.format_audience(exporter, now())}?"
        _confirm(question, exporter, kubectl, yes=yes, known=requests.doubts(exporter, now()))

    def change(fresh: Exporter) -> Request:
        requests.check_no_newer_run(requests.latest(exporter), fresh)
        return requests.request_run(fresh, now())

    request = _write(kubectl, found, change)
    _finish(kubectl, exporter, request, no_wait=no_wait, timeout=timeout, output=output)


@click.command("test")
@name_argument
@click.option("--deliver", is_flag=True, help=f"Send the survey to at most {requests.TEST_PEOPLE} people of the query.")
@yes
@no_wait
@timeout_option
@entry_output
@connected
def test_command(
    *, kubectl: Kubectl, name: str, deliver: bool, yes: bool, no_wait: bool, timeout: float, output: str | None
) -> None:
    """Check Nexthink and Qualtrics and count the people of the query. Sends nothing without --deliver.

    Works on a suspended exporter, too. Exit code 0 if the test passed.
    """
    found = kubectl.get(name)
    exporter = Exporter.from_object(found)
    _checked(lambda: requests.request_test(exporter, now(), deliver=deliver))
    if deliver:
        survey = exporter.spec.qualtrics.survey_id if exporter.spec else ""
        question = f"Send survey {survey} to at most {requests.TEST_PEOPLE} people of the query?"
        _confirm(question, exporter, kubectl, yes=yes, known=requests.doubts(exporter, now()))

    def change(fresh: Exporter) -> Request:
        if deliver:
            requests.check_no_newer_run(requests.latest(exporter), fresh)
        return requests.request_test(fresh, now(), deliver=deliver)

    request = _write(kubectl, found, change)
    _finish(kubectl, exporter, request, no_wait=no_wait, timeout=timeout, output=output)


@click.command("suspend")
@name_argument
@connected
def suspend_command(*, kubectl: Kubectl, name: str) -> None:
    """Stop sending on schedule, until you resume. A run that has not begun to send stops."""
    _set_suspended(kubectl, name, suspend=True)


@click.command("resume")
@name_argument
@connected
def resume_command(*, kubectl: Kubectl, name: str) -> None:
    """Send on schedule again, from the next slot. What was due while suspended is not sent later."""
    _set_suspended(kubectl, name, suspend=False)


def _report(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    try:
        requests.parse_report(value)
    except Refused as refused:
        raise click.BadParameter(f"{refused}.") from None
    return value


@click.command("resolve")
@name_argument
@click.argument("outcome", metavar="RUN=Sent|NotSent|EMD_…", callback=_report)
@timeout_option
@connected
def resolve_command(*, kubectl: Kubectl, name: str, outcome: str, timeout: float) -> None:
    """Report whether a run with the result Unknown was sent, after you looked in Qualtrics. Sends nothing.

    A report that was wrong can be corrected with another one.

    RUN is the id of the run, which `kubectl qex status` shows. EMD_… is the id of its distribution in Qualtrics. Exit
    code 0 if the operator accepted the report.
    """
    found = kubectl.get(name)
    exporter = Exporter.from_object(found)
    run = requests.parse_report(outcome).run
    seen = requests.known_outcome(exporter, run)

    def change(fresh: Exporter) -> Request:
        requests.check_same_outcome(seen, fresh, run)
        return requests.report_outcome(fresh, outcome, now())

    written = _write(kubectl, found, change)
    value = written.patch["metadata"]["annotations"][SETTLE_RUN]
    for _, current in observe(kubectl, exporter, Polling(timeout)):
        settled = current.status.last_settlement
        if settled and current.status.last_handled_settlement == value and not requested(SETTLEMENT, current):
            click.echo(f"{settled.reason}: {settled.message}")
            sys.exit(1 if settled.reason == "SettlementRefused" else 0)


def _set_suspended(kubectl: Kubectl, name: str, *, suspend: bool) -> None:
    state = "suspended" if suspend else "active"
    found = kubectl.get(name)
    patch = requests.suspension(Exporter.from_object(found), suspend=suspend)
    if patch is None:
        click.echo(f"{name} is {state} already.")
        return
    _write(kubectl, found, lambda fresh: requests.suspension(fresh, suspend=suspend))
    click.echo(f"{name} is {state} now.")
    if tool := requests.gitops_tool(found):
        say(f"{tool} manages this exporter and may revert the change. Make it in Git, too.")


def _confirm(question: str, exporter: Exporter, kubectl: Kubectl, *, yes: bool, known: Sequence[str] = ()) -> None:
    """Say what is `known`, and ask before people are mailed. Raises UsageError if nobody can answer."""
    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("This command sends e-mail and asks first. Without a terminal, confirm with --yes.")
    for sentence in (f"Exporter {exporter.namespace}/{exporter.name} in {kubectl.cluster()}.", *known):
        say(sentence)
    if not yes:
        click.confirm(question, abort=True, err=True)


def _write(kubectl: Kubectl, found: dict[str, Any], change: Callable[[Exporter], T]) -> T:
    """Write the change to the exporter as it was read, and return it; on a conflict read again, and decide again.

    The uid must stay the same, because the user confirmed for that object. Raises `Failed` and ClickException.
    """
    before = Exporter.from_object(found)
    for attempt in range(ATTEMPTS):
        if attempt:
            found = kubectl.get(found["metadata"]["name"])
            _checked(lambda: requests.check_unchanged(before.uid, before.generation, Exporter.from_object(found)))  # noqa: B023 - called at once
        wanted = _checked(lambda: change(Exporter.from_object(found)))  # noqa: B023 - called at once
        patch: Patch | None = wanted.patch if isinstance(wanted, Request) else wanted  # type: ignore[assignment]
        if patch is None:
            return wanted
        try:
            kubectl.patch(found, patch)
        except Failed as failed:
            if failed.cause != "Conflict":
                raise
        else:
            return wanted
    raise Failed("the exporter changes all the time. Nothing was requested. Try again.")


def _checked(change: Callable[[], T]) -> T:
    try:
        return change()
    except Refused as refused:
        raise click.ClickException(f"{refused}.") from None


def _finish(
    kubectl: Kubectl, exporter: Exporter, request: Request, *, no_wait: bool, timeout: float, output: str | None
) -> None:
    """Wait for the outcome of a request, report it, and end with its exit code."""
    status = f"kubectl qex status {exporter.name} -n {exporter.namespace}"
    if no_wait:
        sentence = f"Requested as run {request.run_id}. `{status}` shows its outcome."
        click.echo(format_data({"id": request.run_id}, output) if output else sentence)
        return
    say(f"Requested as run {request.run_id}.")
    try:
        found, entry = outcome(kubectl, exporter, request.run_id, Polling(timeout))
    except KeyboardInterrupt:
        note = f"Stopped waiting. The request remains: `{status}` shows its outcome."
        raise click.ClickException(note) from None
    click.echo(format_data(found, output) if output else report(exporter.name, entry))
    if entry.result == "Unknown":
        say(f"To report it: kubectl qex resolve {exporter.name} {entry.id}=Sent -n {exporter.namespace}, or =NotSent.")
    sys.exit(0 if entry.result in GOOD else 1)
