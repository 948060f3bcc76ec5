"""One run, from the step in its journal to its entry in the history.

A run sends at most one distribution, whatever crashes. The journal is written before each outside effect, and a step
depends on nothing but the journal (`steps`). Before `Sending` is written, a run can start again. After that, a send is
looked up and never repeated, unless it is certain that it was refused.
"""

import asyncio

from qualtrics_exporter.export.checks import check
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.shield import shield_until_done
from qualtrics_exporter.export.steps import STEPS
from qualtrics_exporter.export.unexpected import log_unexpected
from qualtrics_exporter.resource.reasons import Reason

MAX_ATTEMPTS = 10
"""The limit on starts of a run, after interruptions and edits of the spec. Each start runs the query and imports
everybody again."""


async def execute(context: RunContext) -> Ended:
    """Complete a claimed run and write its entry. The journal already names the caller as the holder of the run.

    Raises `Abandoned`, `SpecChanged` (claim the run again with the new spec), `CancelledError`, and errors of the
    journal if the entry cannot be written.

    A cancellation before the send or during the look-up leaves the rest to the next process. From the write of
    `Sending` to the write of the reply, and during the write of the entry, a cancellation is delayed.
    """
    try:
        ended = await _run_steps(context)
    finally:
        await context.release_recipients()
    # After a crash before this write, the journal has the same step, and the next process comes to the same end.
    await shield_until_done(context.journal.finish(context.run, ended))
    await asyncio.sleep(0)  # raises a cancellation that was delayed
    return ended


async def _run_steps(context: RunContext) -> Ended:
    if context.run.attempt > MAX_ATTEMPTS and context.run.step != "Sent":
        return _attempts_exhausted(context)
    try:
        if context.before_send and context.test and context.resumed:
            return context.interrupted()
        if context.before_send and (context.check_first or context.test):
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
