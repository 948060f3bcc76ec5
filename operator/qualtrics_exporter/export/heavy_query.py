"""What is remembered about a query that Nexthink fails to execute, so that the next run does not wait for that again.

It is kept in the status, or in the journal file. If it is lost, the next run takes a minute longer, and nothing else.
"""

from datetime import datetime, timedelta

from qualtrics_exporter.export.journal import ResultSource
from qualtrics_exporter.resource.spec import NexthinkSpec
from qualtrics_exporter.resource.status import HeavyQuery

EXECUTE_AGAIN_AFTER = timedelta(days=8)
"""After that, it is tried again whether Nexthink executes a query whose failure lasts. Longer than the time between two
weekly slots: the second run of a weekly exporter would wait otherwise."""

DOUBTFUL_FOR = timedelta(days=1)
"""The same after a failure that can pass. Longer than the time until the second check of the operator: its checks try
again, and its runs do not wait. Without a cluster, the next run after that tries again."""

LASTS_AFTER = timedelta(hours=6)
"""If Nexthink still fails to execute the query then, while exports work, the failure lasts."""


def begins_with_export(spec: NexthinkSpec, heavy: HeavyQuery | None, generation: int | None, now: datetime) -> bool:
    """Whether a run of this spec uses an export at once.

    With `driftPolicy: Hold` it never does, because only an execution shows which query ran. A failure that passes would
    otherwise hold all runs of a week. A time in the future counts for nothing: a clock that was ahead wrote it.
    """
    if heavy is None or heavy.generation != generation or spec.drift_policy == "Hold":
        return False
    most = EXECUTE_AGAIN_AFTER if heavy.lasting else DOUBTFUL_FOR
    return timedelta(0) <= now - heavy.execute_time < most


def to_be_tried_again(spec: NexthinkSpec, heavy: HeavyQuery | None, generation: int | None, now: datetime) -> bool:
    """Whether a check of this spec tries to execute the query again, so that no run has to wait for that."""
    if heavy is None or heavy.generation != generation or spec.drift_policy == "Hold":
        return False
    return not heavy.lasting or not begins_with_export(spec, heavy, generation, now)


def remembered(
    heavy: HeavyQuery | None, learnt: ResultSource | None, generation: int | None, now: datetime, *, drifted: bool
) -> HeavyQuery | None:
    """What is remembered after a run, a test or a check of this generation that `learnt` this.

    Nothing while the query is known to have `drifted`: only an execution shows when that is over, so each run has to
    try.
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
            return heavy  # the time since its first failure decides
        lasting = True
    return HeavyQuery(generation=generation, execute_time=now, lasting=lasting or None)
