"""A status of which this version cannot understand a part.

Every writer of a status starts from the repaired one. Otherwise the first write after the damage would replace it with
what is left of it, and nobody would know any more that something is missing.
"""

from dataclasses import replace
from datetime import datetime

from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.requests import refuse_run, refuse_test
from qualtrics_exporter.controller.plan.takeover import end_unreadable
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason


def repaired(exporter: Exporter, now: datetime) -> Exporter:
    """The exporter with a status in which nothing can act twice, and in which what is lost has an entry."""
    status = end_unreadable(exporter, exporter.status, now)
    if exporter.lost_memory:
        # It is not known any more what had its run: no slot up to now acts, and no run or test that is requested now.
        reason = Reason.STATUS_NOT_UNDERSTOOD
        status = slots.forgone(exporter, status, now, "Skipped", reason)
        status = status.model_copy(update={"claimed_slots": status.claimed_slots or [], "claimed_slots_since": now})
        status = refuse_run(exporter, status, now, "Skipped", reason, "The request did not start a run")
        # A settlement sends nothing, and changes only an entry that is still Unknown: it may act again.
        status = refuse_test(exporter, status, now, reason)
    if status is exporter.status:
        return exporter
    return replace(exporter, status=status, ignored=(), unreadable_run=None)
