"""The triggers, results and reasons with which a run or slot can end.

Their counters begin with 0. Without that, a rate over a counter does not see its first increase.
"""

from collections.abc import Iterator

from qualtrics_exporter.resource.reasons import Kind, Place, Reason
from qualtrics_exporter.resource.status import Result, Trigger

_HELD = (
    Reason.RECIPIENT_LIMIT_EXCEEDED,
    Reason.TOO_FEW_RECIPIENTS,
    Reason.QUERY_DRIFT,
    Reason.QUERY_NOT_COMPARED,
)
_SUCCEEDED = (
    Reason.SUCCEEDED,
    Reason.NO_RECIPIENTS,
    Reason.IMPORT_INCOMPLETE,
    Reason.AUDIENCE_SHRANK,
    Reason.RESULT_TRUNCATED,
    Reason.QUERY_DRIFT,
    Reason.QUERY_NOT_COMPARED,
)
_FAILED = (
    *(
        reason
        for reason in Reason
        if reason.kind in (Kind.PERMANENT, Kind.TRANSIENT) and Place.HISTORY in reason.places and reason not in _HELD
    ),
    Reason.IMPORT_INCOMPLETE,  # nobody was imported
    Reason.STATUS_NOT_UNDERSTOOD,  # the journal lost its batch
)
_SKIPPED_SLOTS = (
    Reason.SUSPENDED,
    Reason.RUN_ACTIVE,
    Reason.SLOT_ALREADY_RAN,
    Reason.CLOCK_STEPPED,
    Reason.STATUS_NOT_UNDERSTOOD,
)
_SKIPPED_REQUESTS = (Reason.SUSPENDED, Reason.RUN_ACTIVE, Reason.ALREADY_SENT, Reason.STATUS_NOT_UNDERSTOOD)
_MISSED_SLOTS = (Reason.DEADLINE_EXCEEDED, Reason.SLOT_OVERTAKEN, Reason.SCHEDULE_CHANGED)

_OF_RUNS: dict[Result, tuple[Reason, ...]] = {
    "Succeeded": _SUCCEEDED,
    "Failed": _FAILED,
    "Held": _HELD,
    "Unknown": (Reason.DELIVERY_UNKNOWN,),
    "DryRun": (Reason.DRY_RUN,),
}
_OF_TRIGGERS: dict[Trigger, dict[Result, tuple[Reason, ...]]] = {
    "Schedule": {**_OF_RUNS, "Missed": _MISSED_SLOTS, "Skipped": _SKIPPED_SLOTS},
    "Request": {**_OF_RUNS, "Missed": (Reason.DEADLINE_EXCEEDED,), "Skipped": _SKIPPED_REQUESTS},
    # Tests have entries of their own. Only these come into the history.
    "Test": {"Skipped": (Reason.ALREADY_SENT, Reason.STATUS_NOT_UNDERSTOOD)},
}


def run_outcomes() -> Iterator[tuple[Trigger, Result, Reason]]:
    """Everything that can occur."""
    for trigger, results in _OF_TRIGGERS.items():
        for result, reasons in results.items():
            for reason in reasons:
                yield trigger, result, reason
