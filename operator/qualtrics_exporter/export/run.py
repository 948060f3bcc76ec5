"""One run, from the step in its journal to its entry in the history.

A run sends at most one distribution, whatever crashes. The journal is written before each outside effect, and a step
depends on nothing but the journal (`steps`). Before `Sending` is written, a run can start again. After that, a send is
looked up and never repeated, unless it is certain that it was refused.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export.checks import check
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.journal import Abandoned, Ended, Journal, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.result_memory import HoldMemory
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.sample import Sample
from qualtrics_exporter.export.shield import shield_until_done
from qualtrics_exporter.export.steps import STEPS
from qualtrics_exporter.export.unexpected import log_unexpected
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun

MAX_ATTEMPTS = 10
"""The limit on starts of a run, after interruptions and edits of the spec. Each start runs the query and imports
everybody again."""


async def execute(
    run: ActiveRun,
    spec: Spec,
    clients: Clients,
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
    """Complete a claimed run and write its entry. The journal already names the caller as the holder of the run.

    Raises `Abandoned`, `SpecChanged` (claim the run again with the new spec), `CancelledError`, and errors of the
    journal if the entry cannot be written.

    A cancellation before the send or during the look-up leaves the rest to the next process. From the write of
    `Sending` to the write of the reply, and during the write of the entry, a cancellation is delayed.

    - `check_first`: check both services in full before anything else. A test that delivers always does.
    - `deadline`: the time that is left until the send. If it passes earlier, the run ends as `Failed`
      (RunDeadlineExceeded). A send whose outcome is unknown is still looked up, and not repeated.
    - `memory`: reserves memory for the people of a large result.
    - `sample`: the people of the query that the run surveys; None for everybody.
    - `previous`: how many people the query returned in the previous run.
    - `export_first`: use an export immediately, because Nexthink failed to execute the query before (`heavy_query`).
    - `unsure`: whether the wall clock was recently set forward and may be wrong. Nothing is sent in that time.
    """
    context = RunContext(
        *(run, spec, clients, journal, clock),
        deadline=deadline,
        memory=memory,
        sample=sample,
        previous=previous,
        export_first=export_first,
        unsure=unsure,
    )
    try:
        ended = await _run_steps(context, check_first=check_first or context.test)
    finally:
        await context.release_recipients()
    # After a crash before this write, the journal has the same step, and the next process comes to the same end.
    await shield_until_done(journal.finish(context.run, ended))
    await asyncio.sleep(0)  # raises a cancellation that was delayed
    return ended


async def _run_steps(context: RunContext, *, check_first: bool) -> Ended:
    if context.run.attempt > MAX_ATTEMPTS and context.run.step != "Sent":
        return _attempts_exhausted(context)
    try:
        if context.before_send and context.test and context.resumed:
            return context.interrupted()
        if context.before_send and check_first:
            async with context.before_deadline():
                (await check(context.spec, context.clients, wanted=None)).raise_error()
        ended = None
        while ended is None:
            ended = await STEPS[context.run.step](context)
    except (Abandoned, SpecChanged):
        raise
    except SuspendedMeanwhile:
        what = "The exporter was suspended before the send: nobody was mailed."
        return context.end("Skipped", Reason.SUSPENDED, f"{what} {Reason.SUSPENDED.next_step}")
    except Exception as error:  # noqa: BLE001
        if context.before_send:
            return context.failed(error)
        log_unexpected(f"completing run {context.run.id}, which may have been sent", error)
        return context.unknown("then an unexpected error occurred")
    return ended


def _attempts_exhausted(context: RunContext) -> Ended:
    limit = f"The run was started {context.run.attempt} times. The limit is {MAX_ATTEMPTS}"
    if not context.before_send:
        return context.unknown(f"then the run was interrupted repeatedly. {limit}")
    reason = Reason.ATTEMPTS_EXHAUSTED
    return context.end("Failed", reason, f"{limit}. {reason.next_step} Nobody was mailed.")
