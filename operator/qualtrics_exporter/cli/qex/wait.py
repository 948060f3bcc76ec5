"""`kubectl qex wait`, and how other commands wait for the outcome of their request."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from qualtrics_exporter.cli.progress import describe
from qualtrics_exporter.cli.qex.kubectl import Failed, Kubectl, connected, name_argument
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.controller.plan.requests import RUN, TEST, requested
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry
from qualtrics_exporter.telemetry.redact import redact

POLL_SECONDS = 1.0
"""Between two looks at the exporter."""
UNNOTICED_SECONDS = 30.0
"""So long without any sign of the operator, the command says that it may not be running."""
LONGEST_WAIT = 45 * 60.0
"""Seconds. A run takes at most half an hour after its turn."""


@dataclass(frozen=True, slots=True)
class Polling:
    """How often to look, and for how long, in seconds. Tests pass a time of their own."""

    timeout: float = LONGEST_WAIT
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def observe(kubectl: Kubectl, exporter: Exporter, polling: Polling) -> Iterator[Exporter]:
    """The exporter, again and again, until the timeout. Says what happens in the meantime.

    An API server that cannot be reached for a while does not end the wait: the request is made already. Raises `Failed`
    if the exporter was deleted, if the user may not read it, or after the timeout.
    """
    began, said = polling.monotonic(), ""
    while polling.monotonic() - began < polling.timeout:
        try:
            current = Exporter.from_object(kubectl.get(exporter.name))
        except Failed as failed:
            if failed.cause in ("NotFound", "Forbidden", "Unauthorized"):
                raise
            said = _say_once(f"{failed} Trying again.", said)
        else:
            if current.uid != exporter.uid:
                raise Failed(f"{exporter.name} was deleted, and another exporter has its name now.", "NotFound")
            yield current
            waited = polling.monotonic() - began
            said = _say_once(_progress(current, waited), said)
        polling.sleep(POLL_SECONDS)
    minutes = int(polling.timeout // 60)
    raise Failed(f"not finished after {minutes} min. The operator continues: `kubectl qex status {exporter.name}`.")


def _progress(exporter: Exporter, waited: float) -> str:
    if run := exporter.status.active_run:
        return redact(describe(run))
    if waited < UNNOTICED_SECONDS:
        return ""
    return "The operator has not begun it. It may be busy, or not running. Ctrl-C stops only the waiting."


def _say_once(text: str, said: str) -> str:
    if text and text != said:
        say(text)
    return text or said


def outcome(kubectl: Kubectl, exporter: Exporter, run_id: str, polling: Polling) -> HistoryEntry:
    """Wait for the entry of a run or a test. Raises `Failed` as `observe` does."""
    for current in observe(kubectl, exporter, polling):
        active = current.status.active_run
        if active and active.id == run_id:
            continue
        if entry := next((entry for entry in current.status.entries if entry.id == run_id), None):
            return entry
    raise AssertionError("observe ends with an error")


def _is_idle(exporter: Exporter) -> bool:
    return not (exporter.status.active_run or requested(RUN, exporter) or requested(TEST, exporter))


def _is_ready(exporter: Exporter) -> bool:
    return conditions.is_ready(exporter.status, exporter.generation)


CONDITIONS = {"idle": _is_idle, "ready": _is_ready}


@click.command("wait")
@name_argument
@click.option(
    "--for",
    "condition",
    type=click.Choice(tuple(CONDITIONS)),
    default="idle",
    show_default=True,
    help="idle: no run or test is in progress or requested. ready: the current spec was checked without an error.",
)
@click.option("--timeout", type=click.FloatRange(min=0), default=LONGEST_WAIT, show_default=True, metavar="SECONDS")
@connected
def wait_command(*, kubectl: Kubectl, name: str, condition: str, timeout: float) -> None:
    """Wait until an exporter is idle or ready. Exit code 1 if it is not after the timeout."""
    for current in observe(kubectl, Exporter.from_object(kubectl.get(name)), Polling(timeout)):
        if CONDITIONS[condition](current):
            click.echo(f"{current.namespace}/{current.name} is {condition}.")
            return
