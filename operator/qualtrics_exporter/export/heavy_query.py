"""What is remembered about a query that Nexthink fails to execute, so that the next run does not wait for that again.

It is kept in the status, or in the journal file. If it is lost, the next run takes a minute longer, and nothing else.
"""

from datetime import datetime, timedelta

from qualtrics_exporter.resource.spec import NexthinkSpec
from qualtrics_exporter.resource.status import HeavyQuery

from .journal import ResultSource

EXECUTE_AGAIN_AFTER = timedelta(days=8)
"""After that, one run tries again whether Nexthink executes the query. Longer than the time between two weekly slots:
the second run of a weekly exporter would wait otherwise."""


def begins_with_export(spec: NexthinkSpec, heavy: HeavyQuery | None, generation: int | None, now: datetime) -> bool:
    """Whether a run of this spec uses an export at once.

    With `driftPolicy: Hold` it never does, because only an execution shows which query ran. A failure that passes would
    otherwise hold all runs of a week. A time in the future counts for nothing: a clock that was ahead wrote it.
    """
    if heavy is None or heavy.generation != generation or spec.drift_policy == "Hold":
        return False
    return timedelta(0) <= now - heavy.execute_time < EXECUTE_AGAIN_AFTER


def remembered(
    heavy: HeavyQuery | None, learnt: ResultSource | None, generation: int | None, now: datetime, *, drifted: bool
) -> HeavyQuery | None:
    """What is remembered after a run or a test of this generation that `learnt` this.

    Nothing while the query is known to have `drifted`: only an execution shows when that is over, so each run has to
    try.
    """
    if drifted or learnt == "Execute" or (heavy and heavy.generation != generation):
        heavy = None
    if learnt == "Export" and generation is not None and not drifted:
        return HeavyQuery(generation=generation, execute_time=now)
    return heavy
