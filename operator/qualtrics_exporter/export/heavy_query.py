"""Remembers that Nexthink fails to execute a query, so that the next run does not wait for the failure again.

The record is in the status, or in the journal file. Without it, the next run only takes a minute longer.
"""

from datetime import datetime, timedelta

from qualtrics_exporter.export.journal import ResultSource
from qualtrics_exporter.resource.spec import NexthinkSpec
from qualtrics_exporter.resource.status import HeavyQuery

EXECUTE_AGAIN_AFTER = timedelta(days=8)
"""After this time, a run tries again to execute a query whose failure lasts. It is longer than the time between two
weekly slots. Otherwise the second run of a weekly exporter would wait."""

DOUBTFUL_FOR = timedelta(days=1)
"""The same after a failure that may pass. It is longer than the time until the second check of the operator, so the
checks try again, and runs do not wait. Without a cluster, the first run after this time tries again."""

LASTS_AFTER = timedelta(hours=6)
"""A failure lasts if Nexthink still fails to execute the query after this time, and exports work."""


def begins_with_export(spec: NexthinkSpec, heavy: HeavyQuery | None, generation: int | None, now: datetime) -> bool:
    """Whether a run of this spec begins with an export.

    With `driftPolicy: Hold` it never does, because only an execution shows which query ran. Otherwise a failure that
    passes would hold all runs of a week. A time in the future is ignored: a clock that was ahead wrote it.
    """
    if heavy is None or heavy.generation != generation or spec.drift_policy == "Hold":
        return False
    most = EXECUTE_AGAIN_AFTER if heavy.lasting else DOUBTFUL_FOR
    return timedelta(0) <= now - heavy.execute_time < most


def to_be_tried_again(spec: NexthinkSpec, heavy: HeavyQuery | None, generation: int | None, now: datetime) -> bool:
    """Whether a check of this spec tries to execute the query again, so that no run has to wait for it."""
    if heavy is None or heavy.generation != generation or spec.drift_policy == "Hold":
        return False
    return not heavy.lasting or not begins_with_export(spec, heavy, generation, now)


def remembered(
    heavy: HeavyQuery | None, learnt: ResultSource | None, generation: int | None, now: datetime, *, drifted: bool
) -> HeavyQuery | None:
    """The record after a run, a test or a check of this generation. `learnt` is what it found out.

    There is no record while the query is known to have `drifted`: only an execution shows when the drift is over, so
    each run has to try.
    """
    if heavy and heavy.generation != generation:
        heavy = None
    if drifted or learnt == "Execute":
        return None
    if learnt is None or generation is None:
        return heavy
    lasting = learnt == "ExportForDays" or bool(heavy and heavy.lasting)
    if heavy and not lasting and heavy.execute_time <= now:
        if now - heavy.execute_time < LASTS_AFTER:
            return heavy  # keeps the time of the first failure
        lasting = True
    return HeavyQuery(generation=generation, execute_time=now, lasting=lasting or None)
