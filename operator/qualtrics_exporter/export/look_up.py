"""Looking for a distribution that may have been sent.

What a look means depends on what it is for. A distribution that is found is found, however little else was seen. That
it is *not* there is concluded from a complete look only, `LIST_LAG` after the request at the earliest: the send is
asked for again on that conclusion alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from qualtrics_exporter.export.run_context import RunContext, report
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.distributions import NotShown
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit

LIST_LAG = timedelta(minutes=10)
"""For so long after a request, a list of distributions that does not show it proves nothing.

How far Qualtrics' list lags is unknown; users report minutes for what can be seen of it, the mails themselves
(docs/facts/qualtrics.md section 3).
"""

LOOK_UPS = (0.0, 10.0, 30.0, 60.0, 120.0)  # seconds after a send without a clear answer
LOOKS_AFTER_A_REFUSAL = (0.0, 30.0, 60.0, 120.0, 240.0)  # seconds after `LIST_LAG`, until one of them is complete
LOOK_UP_SECONDS = 600.0
"""How long a whole look-up may take, without the wait for `LIST_LAG`."""

WINDOW = timedelta(hours=25)
"""The list is searched from so long before to so long after the send, and around the present time too. The batch tells
distributions apart, the window only keeps the list short. It covers a clock that was wrong by a day at the send, at the
look or at both."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look showed."""

    distribution_id: str | None = None
    complete: bool = False
    """Whether everything was seen in which the distribution could be."""

    @property
    def decides(self) -> bool:
        """Whether another look can show nothing new, if the list is up to date."""
        return self.complete or self.distribution_id is not None


async def find(qualtrics: QualtricsClient, survey_id: str, batch_id: str, at: datetime) -> str | None:
    """The distribution of the survey to that batch, sent at about that time; None if none shows now.

    None is not a proof that nothing was sent: Qualtrics may list distributions without their recipients. Raises
    `ExportError` if Qualtrics could not be asked.
    """
    try:
        return await qualtrics.find_distribution(survey_id, batch_id, at - WINDOW, at + WINDOW)
    except NotShown:
        return None


async def look(work: RunContext) -> Look:
    """Look once. Raises nothing: what keeps it from seeing everything makes the look incomplete."""
    run = work.run
    if not run.batch_id:
        return Look()
    survey_id = run.survey_id or work.spec.qualtrics.survey_id
    sent, now = run.send_time or run.start_time, work.clock.now()
    since, until = min(sent, now) - WINDOW, max(sent, now) + WINDOW
    try:
        found = await work.sides.qualtrics.find_distribution(survey_id, run.batch_id, since, until)
    except ExportError:
        return Look()
    except Exception as error:  # noqa: BLE001
        report("looking up the distribution of", run, error)
        return Look()
    return Look(found, complete=True)


async def after_lost_reply(work: RunContext) -> Look:
    """Look for a send without a clear answer, until it is found or two minutes have passed; the last look."""
    return await _looks(work, LOOK_UPS, lambda last: last.distribution_id is not None)


async def after_refusal(work: RunContext) -> Look:
    """Wait until the list shows a send that was refused with HTTP 429, if it took place, and look.

    An incomplete look is repeated for some minutes. No deadline of the run shortens this: it ends a doubt.
    """
    wait = LIST_LAG.total_seconds()
    if work.refused_at is not None:
        wait -= work.clock.monotonic() - work.refused_at
    # A process that did not see the refusal waits in full: the times in the journal are those of a clock that may have
    # been set since.
    await work.clock.sleep(max(0.0, wait))
    return await _looks(work, LOOKS_AFTER_A_REFUSAL, lambda last: last.decides)


async def _looks(work: RunContext, times: tuple[float, ...], enough: Callable[[Look], bool]) -> Look:
    last, began = Look(), work.clock.monotonic()
    try:
        async with TimeLimit(work.clock, LOOK_UP_SECONDS):
            for seconds in times:
                await work.clock.sleep(began + seconds - work.clock.monotonic())
                last = await look(work)
                if enough(last):
                    break
    except OutOfTime:
        pass
    return last
