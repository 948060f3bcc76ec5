"""`kubectl qex wait`, and how other commands wait for the outcome of their request."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from qualtrics_exporter.cli.progress import describe
from qualtrics_exporter.cli.qex.kubectl import Failed, Kubectl, connected, name_argument
from qualtrics_exporter.cli.qex.output import OBJECT_FORMATS, format_object, output_option
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.controller.plan.requests import RUN, TEST, requested
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.pages.times import now
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


def observe(kubectl: Kubectl, exporter: Exporter, polling: Polling) -> Iterator[tuple[dict[str, Any], Exporter]]:
    """The exporter, as an object and as a model, again and again, until the timeout. Reports the progress.

    An API server that cannot be reached for a while does not end the wait: the request is made already. Raises `Failed`
    if the exporter was deleted, if the user may not read it, or after the timeout.
    """
    began, said = polling.monotonic(), ""
    while polling.monotonic() - began < polling.timeout:
        try:
            found = kubectl.get(exporter.name)
        except Failed as failed:
            if failed.cause in ("NotFound", "Forbidden", "Unauthorized"):
                raise
            said = _say_once(f"{failed} Trying again.", said)
        else:
            current = Exporter.from_object(found)
            if current.uid != exporter.uid:
                raise Failed(f"{exporter.name} was deleted, and another exporter has its name now.", "NotFound")
            yield found, current
            waited = polling.monotonic() - began
            said = _say_once(_progress(current, waited), said)
        polling.sleep(POLL_SECONDS)
    length = f"{polling.timeout / 60:.0f} min" if polling.timeout > 120 else f"{polling.timeout:.0f} s"
    status = f"kubectl qex status {exporter.name} -n {exporter.namespace}"
    raise Failed(f"not finished after {length}. `{status}` shows the current state.")


def _progress(exporter: Exporter, waited: float) -> str:
    if run := exporter.status.active_run:
        return redact(describe(run, now()))
    if waited < UNNOTICED_SECONDS:
        return ""
    return "The operator has not begun it. It may be busy, or not running. Ctrl-C stops only the waiting."


def _say_once(text: str, said: str) -> str:
    if text and text != said:
        say(text)
    return text or said


def outcome(kubectl: Kubectl, exporter: Exporter, run_id: str, polling: Polling) -> tuple[dict[str, Any], HistoryEntry]:
    """Wait for the entry of a run or a test, as in the status and as a model. Raises `Failed` as `observe` does."""
    for found, current in observe(kubectl, exporter, polling):
        active = current.status.active_run
        if active and active.id == run_id:
            continue
        if entry := next((entry for entry in current.status.entries if entry.id == run_id), None):
            return _entry_in(found["status"], run_id), entry
    raise AssertionError("observe ends with an error")


def _entry_in(status: dict[str, Any], run_id: str) -> dict[str, Any]:
    entries = (*(status.get("history") or []), status.get("lastTest") or {})
    return next(entry for entry in entries if entry.get("id") == run_id)


def _is_idle(exporter: Exporter) -> bool:
    return not (exporter.status.active_run or requested(RUN, exporter) or requested(TEST, exporter))


def _is_ready(exporter: Exporter) -> bool:
    return conditions.is_ready(exporter.status, exporter.generation)


CONDITIONS = {"idle": _is_idle, "ready": _is_ready}


timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), default=LONGEST_WAIT, metavar="SECONDS",
    help=f"How long to wait. Default: {LONGEST_WAIT:.0f}, which is 45 minutes. A request continues after it.",
)  # fmt: skip


@click.command("wait")
@name_argument
@click.option(
    "--for",
    "condition",
    type=click.Choice(tuple(CONDITIONS)),
    default="idle",
    show_default=True,
    help="idle: no run or test is in progress or requested. ready: the operator has found no error in it.",
)
@timeout_option
@output_option(OBJECT_FORMATS, "Then print the exporter for programs, as kubectl get does.")
@connected
def wait_command(*, kubectl: Kubectl, name: str, condition: str, timeout: float, output: str | None) -> None:
    """Wait until an exporter is idle or ready. Exit code 1 if that takes longer than the timeout."""
    for found, current in observe(kubectl, Exporter.from_object(kubectl.get(name)), Polling(timeout)):
        if CONDITIONS[condition](current):
            sentence = f"{current.namespace}/{current.name} is {condition}."
            click.echo(format_object(found, output) if output else sentence)
            return
