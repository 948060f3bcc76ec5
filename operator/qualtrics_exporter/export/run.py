"""One run, from wherever its journal stands to its entry in the history.

At most one distribution, whatever crashes: the journal is written before each outside effect, and what a step may do
depends on nothing but where the journal stands (`steps`). Before the send everything may be begun anew; from the
moment at which the send is written down, nothing is ever repeated, only looked up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export import steps
from qualtrics_exporter.export.checks import check
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.journal import Abandoned, Ended, Journal, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.run_context import HoldMemory, RunContext, report
from qualtrics_exporter.export.sample import Sample
from qualtrics_exporter.export.shield import shield_until_done
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, Step

STEPS: dict[Step, Callable[[RunContext], Awaitable[Ended | None]]] = {
    "Claimed": steps.claimed,
    "Importing": steps.importing,
    "Sending": steps.sending,
    "Sent": steps.sent,
}

MAX_ATTEMPTS = 10
"""A run is taken up so often at most: after interruptions, and after edits of the spec. Each time it asks Nexthink and
imports everybody anew."""


async def execute(
    run: ActiveRun,
    spec: Spec,
    sides: Clients,
    journal: Journal,
    clock: Clock,
    *,
    check_first: bool = False,
    deadline: timedelta | None = None,
    memory: HoldMemory | None = None,
    sample: Sample | None = None,
    previous: int | None = None,
    export_first: bool = False,
    unsure: Callable[[], bool] = lambda: False,
) -> Ended:
    """Take a claimed run to its end and write that down; the journal already names the caller as its holder.

    `check_first` checks both sides in full before anything else, as a delivering test always does. Raises `Abandoned`,
    `SpecChanged` (claim it anew with the new spec) and `CancelledError`; also what the journal itself raises when the
    end of the run cannot be written down.

    `deadline` is how long the run may take until its send, from now on. When it passes earlier, the run is stopped
    wherever it stands and ends as `Failed` (RunDeadlineExceeded). A send that was perhaps asked for is looked up all
    the same, within the bounds of `look_up`, and is not asked for again.

    `memory` is asked for room before the people of a large result are taken in. `sample` says whom of the people of the
    query the run surveys, and `previous` how many the query named in the run before. `export_first` uses an export at
    once, because Nexthink failed to execute the query before (see heavy_query). `unsure` says whether the wall clock
    was set forward a moment ago, and may be wrong: nothing is sent meanwhile.

    A cancellation before the send leaves everything to the next start, as does one during the look-up. Between the
    write that announces the send and the journalled reply it is held back; a run that ends thereby is finished first.
    """
    work = RunContext(
        *(run, spec, sides, journal, clock),
        deadline=deadline,
        memory=memory,
        sample=sample,
        previous=previous,
        export_first=export_first,
        unsure=unsure,
    )
    try:
        ended = await _to_its_end(work, check_first or work.test)
    finally:
        await work.forget_people()
    # A crash before this write: the journal stands where it stood, the next process comes to the same end.
    await shield_until_done(journal.finish(work.run, ended))
    await asyncio.sleep(0)  # where a cancellation that was held back strikes
    return ended


async def _to_its_end(work: RunContext, check_first: bool) -> Ended:
    if work.run.attempt > MAX_ATTEMPTS and work.run.step != "Sent":
        return _exhausted(work)
    try:
        if work.before_send and work.test and work.taken_up_again:
            return work.interrupted()
        if work.before_send and check_first:
            async with work.in_time():
                (await check(work.spec, work.sides, wanted=None)).raise_error()
        ended = None
        while ended is None:
            ended = await STEPS[work.run.step](work)
    except (Abandoned, SpecChanged):
        raise
    except SuspendedMeanwhile:
        what = "The exporter was suspended before the send: nobody was mailed."
        return work.end("Skipped", Reason.SUSPENDED, f"{what} {Reason.SUSPENDED.next_step}")
    except Exception as error:  # noqa: BLE001
        if work.before_send:
            return work.failed(error)
        report("a run that may have been sent,", work.run, error)
        return work.unknown("then the operator met an unexpected error")
    return ended


def _exhausted(work: RunContext) -> Ended:
    often = f"The run was taken up {work.run.attempt} times, {MAX_ATTEMPTS} are the limit"
    if not work.before_send:
        return work.unknown(f"then the run was interrupted again and again. {often}")
    reason = Reason.ATTEMPTS_EXHAUSTED
    return work.end("Failed", reason, f"{often}. {reason.next_step} Nobody was mailed.")
