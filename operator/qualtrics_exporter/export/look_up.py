"""Look up a distribution that may have been sent.

A look that finds the distribution is certain. That nothing was sent follows only from a complete look, `LIST_LAG` after
the request at the earliest. A run sends again only after such a look.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.unexpected import log_unexpected
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.distributions import NotShown
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit

LIST_LAG = timedelta(minutes=10)
"""How long after a request the list of distributions may not show it.

It is unknown how far Qualtrics' list lags. Users report minutes for the mails themselves
(docs/facts/qualtrics.md section 3).
"""

LOOK_UPS = (0.0, 10.0, 30.0, 60.0, 120.0)
"""When to look after a send without a clear answer, in seconds."""
LOOKS_AFTER_A_REFUSAL = (0.0, 30.0, 60.0, 120.0, 240.0)
"""When to look after `LIST_LAG`, in seconds, until a look is complete."""
LOOK_UP_SECONDS = 600.0
"""The limit on a whole look-up, without the wait for `LIST_LAG`."""

WINDOW = timedelta(hours=25)
"""The list is searched this long before and after the send and the present time. It only keeps the list short, because
the batch identifies the distribution. It covers a clock that was wrong by a day at the send, at the look or at both."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look showed."""

    distribution_id: str | None = None
    complete: bool = False
    """Whether the look covered everything in which the distribution could be."""

    @property
    def decides(self) -> bool:
        """Whether another look cannot show more, if the list is up to date."""
        return self.complete or self.distribution_id is not None


async def find(qualtrics: QualtricsClient, survey_id: str, batch_id: str, at: datetime) -> str | None:
    """The distribution of the survey to the batch, sent at about this time; None if the list does not show it.

    None does not prove that nothing was sent: Qualtrics may list distributions without their recipients. Raises
    `ExportError` if Qualtrics did not answer.
    """
    try:
        return await qualtrics.find_distribution(survey_id, batch_id, at - WINDOW, at + WINDOW)
    except NotShown:
        return None


async def look(context: RunContext) -> Look:
    """Look once. Raises nothing: after an error, the look is incomplete."""
    run = context.run
    if not run.batch_id:
        return Look()
    survey_id = run.survey_id or context.spec.qualtrics.survey_id
    sent, now = run.send_time or run.start_time, context.clock.now()
    since, until = min(sent, now) - WINDOW, max(sent, now) + WINDOW
    try:
        found = await context.clients.qualtrics.find_distribution(survey_id, run.batch_id, since, until)
    except ExportError:
        return Look()
    except Exception as error:  # noqa: BLE001
        log_unexpected(f"looking up the distribution of run {run.id}", error)
        return Look()
    return Look(found, complete=True)


async def after_lost_reply(context: RunContext) -> Look:
    """Look for a send without a clear answer, until it is found or two minutes have passed. Returns the last look."""
    return await _looks(context, LOOK_UPS, lambda last: last.distribution_id is not None)


async def after_refusal(context: RunContext) -> Look:
    """Wait until the list must show a send that was refused with HTTP 429, and look until a look is complete.

    Takes some minutes at most. The deadline of the run does not shorten it.
    """
    wait = LIST_LAG.total_seconds()
    if context.refused_at is not None:
        wait -= context.clock.monotonic() - context.refused_at
    # A process that did not meet the refusal itself waits in full: the clock may have been set since the journal was
    # written.
    await context.clock.sleep(max(0.0, wait))
    return await _looks(context, LOOKS_AFTER_A_REFUSAL, lambda last: last.decides)


async def _looks(context: RunContext, times: tuple[float, ...], enough: Callable[[Look], bool]) -> Look:
    last, began = Look(), context.clock.monotonic()
    try:
        async with TimeLimit(context.clock, LOOK_UP_SECONDS):
            for seconds in times:
                await context.clock.sleep(began + seconds - context.clock.monotonic())
                last = await look(context)
                if enough(last):
                    break
    except OutOfTime:
        pass
    return last
