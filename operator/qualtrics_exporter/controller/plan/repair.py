"""The repair of a status of which this version cannot read a part.

Every change of a status starts from the repaired status. Otherwise the first write after the damage would keep only
what could be read, and nothing would show that something is missing.
"""

from dataclasses import replace
from datetime import datetime

from qualtrics_exporter.controller.plan.requests import (
    RUN,
    SETTLEMENT,
    TEST,
    refuse_run,
    refuse_test,
    requested,
    with_receipts_again,
    with_tokens_handled,
)
from qualtrics_exporter.controller.plan.slot_repair import with_claims_again, with_slots_again
from qualtrics_exporter.controller.plan.takeover import end_unreadable
from qualtrics_exporter.controller.status import resolution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import SETTLE_RUN
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Status


def repaired(exporter: Exporter, now: datetime, *, clock_unsure: bool = False, default_zone: str = "UTC") -> Exporter:
    """The exporter with a status in which nothing can act twice, and with entries for what was lost.

    `clock_unsure` says that the clock was set forward a moment ago, and may be wrong.
    """
    status = end_unreadable(exporter, exporter.status, now)
    status = with_slots_again(exporter, status, now, clock_unsure=clock_unsure, default_zone=default_zone)
    if exporter.lost_memory:
        # The record of runs is incomplete: no slot up to now may act, and no run or test that is requested now.
        status = with_claims_again(exporter, status, now, clock_unsure=clock_unsure)
        status = _with_refusals(exporter, with_receipts_again(exporter, status), now)
        # A settlement may act again: it sends nothing. But an old one must not undo its correction.
        kinds = (RUN, TEST, SETTLEMENT) if _was_settled(exporter, status) else (RUN, TEST)
        status = with_tokens_handled(exporter, status, kinds)
    if status is exporter.status:
        return exporter
    return replace(exporter, status=status, ignored=(), unreadable_run=None)


def _was_settled(exporter: Exporter, status: Status) -> bool:
    """Whether the annotation of a settlement names an entry that a user has settled before."""
    report = resolution.understood(exporter.annotations.get(SETTLE_RUN, ""))
    return report is not None and any(e.id == report.run and resolution.is_reported(e) for e in status.entries)


def _with_refusals(exporter: Exporter, status: Status, now: datetime) -> Status:
    """The status with an entry for each request that would act now, unless its run has an entry or is in progress."""
    run = exporter.status.active_run  # its request has acted, and its entry is written at its end
    known = {part.id for part in (*status.entries, run) if part}
    run_token, test_token = requested(RUN, exporter, status), requested(TEST, exporter, status)
    reason = Reason.STATUS_NOT_UNDERSTOOD
    if run_token and RUN.id_of(exporter.uid, run_token.identity) not in known:
        status = refuse_run(exporter, status, now, "Skipped", reason, "The request did not start a run")
    if test_token and TEST.id_of(exporter.uid, test_token.identity) not in known:
        status = refuse_test(exporter, status, now, reason)
    return status
