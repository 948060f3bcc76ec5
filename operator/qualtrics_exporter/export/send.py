"""The send of a run: write `Sending`, and ask Qualtrics once for the distribution. No other module sends."""

from datetime import datetime, timedelta

from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.look_up import LIST_LAG
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.unexpected import log_unexpected
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CERTAIN_REFUSALS

MAX_SENDS = 3
"""How often a run sends at most, if its sends are refused. Sends of earlier processes count."""

WRITE_TRIES = 3

WAIT = timedelta(minutes=1)
"""The wait after a refusal that does not say how long to wait."""
LONGEST_WAIT = timedelta(minutes=30)
"""The limit on a wait, even if Qualtrics asks for more."""


async def write_and_send(context: RunContext) -> Ended | None:
    """Write `Sending`, send, and write the reply."""
    batch_id = context.run.batch_id
    if not batch_id:  # somebody removed it from the journal, and the run must not send to another batch
        what = "The journal does not say into which transaction batch the people of the run were imported."
        return context.failed(Permanent(Reason.STATUS_NOT_UNDERSTOOD, what))
    sends, send_time = context.run.send_attempts or 0, context.run.send_time
    for _ in range(WRITE_TRIES):
        if context.is_late():
            return context.failed(context.deadline_error())
        began, now = context.clock.uptime(), context.clock.now().replace(microsecond=0)
        attempt = context.run.attempt + (context.run.step == "Sending")
        await context.write_sending(send_time=now, attempt=attempt, send_attempts=sends + 1)
        if context.clock.uptime() - began <= context.max_write_seconds:
            break
        # This process was paused. Another one may have taken over the run, looked up the send and reported that nothing
        # was sent. So the write is out of date: repeat it, or find out that the run is lost.
    else:
        what = "Writing to the journal that the survey is about to be sent took too long each time"
        return await _record_refusal(context, sends, Transient(Reason.INTERNAL_ERROR, what))
    if context.is_late():
        context.note(send_time=send_time)
        return context.failed(context.deadline_error())
    # After a crash from here on, the survey may have been sent. The next process looks it up by survey, time and batch,
    # which the journal has, and never sends again.
    try:
        distribution_id = await context.clients.qualtrics.send(_distribution(context, batch_id, now))
    except Permanent as refusal:
        return context.failed(refusal)
    except Transient as refusal:
        return await _record_refusal(context, sends, refusal)
    except OutcomeUnknown:
        return None
    except Exception as error:  # noqa: BLE001
        log_unexpected(f"sending the survey of run {context.run.id}", error)
        return None
    await context.write_sent(distribution_id)
    return None


def _distribution(context: RunContext, batch_id: str, now: datetime) -> Distribution:
    spec = context.spec.qualtrics
    return Distribution(
        library_id=spec.library_id,
        message_id=spec.message_id,
        batch_id=batch_id,
        from_name=spec.from_name,
        from_email=spec.from_email,
        reply_to_email=spec.reply_to_email,
        subject=spec.subject,
        survey_id=spec.survey_id,
        expiration=now + timedelta(days=spec.link_expiration_days) if spec.link_expiration_days else None,
        send_date=now,
    )


async def _record_refusal(context: RunContext, sends: int, refusal: Transient) -> Ended | None:
    """Write down that the send was refused, or not made. The run sends again later unless this was the last time."""
    certain = str(refusal.reason) in CERTAIN_REFUSALS
    if certain and sends + 1 >= MAX_SENDS:
        return context.failed(refusal)
    context.refusal, context.refused_at = refusal, context.clock.monotonic()
    wait = min(WAIT if refusal.retry_after is None else refusal.retry_after, LONGEST_WAIT)
    if not certain:
        wait = max(wait, LIST_LAG)
    # After a crash before this write, the next process does not know of the refusal, and only looks up the send.
    await context.write_refused(refusal, _rounded_up(context.clock.now() + wait))
    return None


def _rounded_up(time: datetime) -> datetime:
    """In whole seconds, as in the journal, and never earlier."""
    return (time + timedelta(seconds=1)).replace(microsecond=0)


def last_refusal(context: RunContext) -> Transient:
    """The refusal that an earlier process met, as far as the journal describes it."""
    return Transient(
        Reason.RATE_LIMITED, f"Qualtrics refused {MAX_SENDS} times to send to batch {context.run.batch_id}"
    )


async def wait_until(context: RunContext, until: datetime) -> None:
    """Wait until this time, but not longer than the longest wait: the clock may have been set back."""
    wait = min(until - context.clock.now(), LONGEST_WAIT)
    await context.clock.sleep(max(0.0, wait.total_seconds()))
