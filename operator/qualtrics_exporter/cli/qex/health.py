"""The health of an exporter in a few words, and the next step."""

from dataclasses import dataclass
from typing import Literal

from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Condition

Level = Literal["good", "warning", "error", "pending"]

UNKNOWN_OUTCOME = "It is unknown whether the survey was sent. Look in Qualtrics, and report the outcome."


@dataclass(frozen=True, slots=True)
class Health:
    """`text` is a few words. `message` says what happened and what to do next; empty if there is nothing to do."""

    level: Level
    text: str
    message: str = ""


def health(exporter: Exporter) -> Health:
    """The most urgent thing about the exporter."""
    status = exporter.status
    ready = status.condition(conditions.READY)
    if ready is None or status.observed_generation != exporter.generation:
        return Health("pending", "not checked yet", "The operator checks it soon. If not, it may not be running.")
    if ready.status != "True":
        return _about(ready, "error" if ready.status == "False" else "pending", f"not ready: {ready.reason}")
    last = status.condition(conditions.LAST_RUN_SUCCEEDED)
    if last and last.status == "Unknown" and last.reason not in ("NotYetRun", "NotYetChecked"):
        return Health("error", f"last run unknown: {last.reason}", UNKNOWN_OUTCOME)
    if last and last.status == "False":
        how = "not delivered" if last.reason == Reason.DUPLICATE_SUPPRESSED else "failed"
        return _about(last, "error", f"last run {how}: {last.reason}")
    sync = status.condition(conditions.QUERY_IN_SYNC)
    if sync and sync.status == "False":
        return _about(sync, "warning", f"ready, but {sync.reason}")
    if status.warnings:
        return Health("warning", "ready, with warnings", " ".join(each.message for each in status.warnings))
    return Health("good", "ready")


def _about(condition: Condition, level: Level, text: str) -> Health:
    return Health(level, text, condition.message)
