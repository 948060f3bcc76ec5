"""The steps of a run: the table of what a run does, read downwards.

    Claimed     ask the query who; open a batch
    Importing   bring them into the batch; ask Qualtrics, once, to send to it
    Sending     was it sent? look it up
    Sent        finish

Each step is what a process does when the journal stands there, be it a moment after having written that itself or a day
later in another process. A step that returns None has moved the journal on. `Importing` after a crash begins anew, as
nobody knows any more who the people were; `Sending` never sends, whoever comes there and why, with the one exception
that the journal names: a send that was refused for certain.
"""

from datetime import datetime, timedelta

from qualtrics_exporter.http.errors import ExportError, OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.qualtrics.client import Distribution, Qualtrics, portions
from qualtrics_exporter.resource.reasons import Reason

from .guards import check_query, check_sender, guard, warnings
from .held_back import held_back
from .journal import Ended
from .query import ask
from .work import Work, report

TEST_RECIPIENTS = 20
BATCHES = 3  # a batch whose import has an unknown outcome is left behind, so often at most
POSTS = 3  # a send that was refused for certain is asked for again, so often at most, by however many processes
LOOK_UPS = (0.0, 10.0, 30.0, 60.0, 120.0)  # seconds after the send was, perhaps, asked for
# From the write of `Sending` to its send, less than another replica takes to look the send up and tell its user.
PROMPT_SECONDS = 10.0
PROMPT_TRIES = 3
WINDOW = timedelta(hours=1)  # of the look-up, on both sides: clocks differ, and the batch decides anyway
TOKEN_GOOD_FOR = timedelta(minutes=5)
WAIT = timedelta(minutes=1)  # after a refusal that does not say how long
LONGEST_WAIT = timedelta(minutes=5)


async def claimed(work: Work) -> Ended | None:
    """Ask who, and open a batch for them."""
    # A crash here: nothing was sent, nothing but perhaps an empty batch was made. The next process starts again.
    spec = work.spec
    check_sender(spec)
    check_query(spec)
    limit = min(TEST_RECIPIENTS, spec.max_recipients or TEST_RECIPIENTS) if work.test else None
    answer = await ask(spec.nexthink, work.sides.nexthink, limit=limit)
    work.query = answer.sync
    told = [str(reason) for reason in warnings(answer)]
    work.note(counts=answer.recipients.counts, warnings=told, batch_id=None, recipients=None)
    if stop := guard(spec, answer, limited=work.test):
        return work.end(*stop)
    work.recipients = answer.recipients
    await _open_batch(work)
    return None


async def _open_batch(work: Work) -> None:
    work.batches += 1
    batch_id = await work.sides.qualtrics.create_batch(work.spec.qualtrics.directory_id)
    # A crash before this write leaves an empty batch behind that nobody knows of: harmless. It is written before the
    # first person goes in, so that a batch with people in it is always one that the journal has named.
    await work.journalled(step="Importing", batch_id=batch_id, survey_id=work.spec.qualtrics.survey_id)


async def importing(work: Work) -> Ended | None:
    """Bring everybody into the batch, see that they are in, and have it sent."""
    # A crash here: some or all are in the batch, nobody was mailed. The people are not known any more, and they must
    # not get into the same batch twice: the next process asks again and takes a new batch. This one is never sent.
    if work.recipients is None:
        return await claimed(work)
    qualtrics, spec = work.sides.qualtrics, work.spec.qualtrics
    assert work.run.batch_id, "Importing is written with its batch"  # noqa: S101
    created = accounted = 0
    try:
        for portion in portions(work.recipients, work.run.id):
            done = await qualtrics.import_contacts(
                spec.directory_id, spec.mailing_list_id, work.run.batch_id, work.run.id, portion
            )
            if done.created > len(portion):
                raise Transient(Reason.REMOTE_REPLY_INVALID, _too_many(done.created, len(portion)))
            created += done.created
            accounted += done.created + done.failed + done.unprocessed
    except OutcomeUnknown as lost:
        # These people may be in the batch, or come later: sent again, they would be in it twice. So all of them go into
        # a new batch, and nothing is ever sent to this one.
        if work.batches < BATCHES:
            await _open_batch(work)
            return None
        what = f"In {BATCHES} batches, the outcome of an import is unknown"
        raise Transient(
            lost.reason,  # a proxy's page or a limit that lasts asks for another next step than a side that is down
            what,
            status=lost.status,
            remote_code=lost.remote_code,
            request_id=lost.request_id,
        ) from lost
    accepted = len(work.recipients)
    if not created:
        what = (
            f"Qualtrics took none of {accepted} people into the batch: a wrong directory or list id does exactly this"
        )
        raise Permanent(Reason.IMPORT_INCOMPLETE, what)
    told = work.run.warnings or []
    work.note(
        recipients=created,
        counts=work.recipients.counts.model_copy(update={"imported": created}),
        warnings=[*told, str(Reason.IMPORT_INCOMPLETE)] if accounted < accepted else told,
    )
    return await _post(work)


async def _post(work: Work) -> Ended | None:
    """Ask for the distribution, once. The only place that sends."""
    if work.spec.dry_run:
        return work.not_sent_because_dry()
    # All waiting comes before the journal says `Sending`: after a kill in it nothing was asked for, and that is known.
    await work.sides.qualtrics.turn_to_send()
    await work.sides.qualtrics.ensure_token(TOKEN_GOOD_FOR)
    # From here to the journalled reply nothing is cut short: a request in flight that is dropped may have been heard.
    return await held_back(_write_and_post(work))


async def _write_and_post(work: Work) -> Ended | None:
    spec = work.spec.qualtrics
    before = work.run.send_attempts or 0
    for _ in range(PROMPT_TRIES):
        began, now = work.clock.uptime(), work.clock.now().replace(microsecond=0)
        attempt = work.run.attempt + (work.run.step == "Sending")
        await work.journalled_sending(send_time=now, attempt=attempt, send_attempts=before + 1)
        if work.clock.uptime() - began <= PROMPT_SECONDS:
            break
        # This process stood still meanwhile. Another one may have taken the run over, looked for the survey and told
        # its user that none is there: what was written is stale, and is written again, or is found to be lost.
    else:
        what = "Writing down that the survey is about to be sent took too long each time"
        return await _not_asked(work, before, Transient(Reason.INTERNAL_ERROR, what))
    # A crash from here on: the survey may be out. The next process looks it up by survey, time and batch, all of which
    # the journal has just been told, and never asks again.
    try:
        distribution_id = await work.sides.qualtrics.send(
            Distribution(
                library_id=spec.library_id,
                message_id=spec.message_id,
                batch_id=work.run.batch_id or "",
                from_name=spec.from_name,
                from_email=spec.from_email,
                reply_to_email=spec.reply_to_email,
                subject=spec.subject,
                survey_id=spec.survey_id,
                expiration=now + timedelta(days=spec.link_expiration_days) if spec.link_expiration_days else None,
                send_date=now,
            )
        )
    except Permanent as refused:
        return work.failed(refused)
    except Transient as refused:
        return await _not_asked(work, before, refused)
    except OutcomeUnknown:
        return None
    except Exception as error:  # noqa: BLE001
        report("sending", work.run, error)
        return None
    await work.journalled_sent(distribution_id)
    return None


async def _not_asked(work: Work, before: int, why: Transient) -> Ended | None:
    """It is certain that nothing was sent: ask again later, unless that was the last time."""
    if before + 1 >= POSTS:
        return work.failed(why)
    # A crash before this write: that nothing was sent is lost, and the next process only looks it up.
    await work.journalled_refused(_rounded_up(work.clock.now() + _wait(why)))
    return None


async def sending(work: Work) -> Ended | None:
    """See whether the survey went out."""
    # A crash here changes nothing: the next process looks again, by the same survey, time and batch.
    if work.run.refused_until is not None:
        # The exception: this process, or the one before it, was told that the request was refused, for certain.
        return await _ask_again(work, work.run.refused_until)
    began = work.clock.monotonic()
    for seconds in LOOK_UPS:
        await work.clock.sleep(began + seconds - work.clock.monotonic())
        if distribution_id := await _look(work):
            await work.journalled_sent(distribution_id)
            return None
    return work.unknown()


async def _ask_again(work: Work, until: datetime) -> Ended | None:
    # A crash here: as above, nothing was sent, and the next process goes on waiting. Never longer than the longest
    # wait: the clock may have been set back.
    wait = min(until - work.clock.now(), LONGEST_WAIT)
    await work.clock.sleep(max(0.0, wait.total_seconds()))
    # A look first all the same: it costs nothing, and a refusal could come from something that stands in between.
    if distribution_id := await _look(work):
        await work.journalled_sent(distribution_id)
        return None
    return await _post(work)


def _wait(refused: Transient) -> timedelta:
    return min(WAIT if refused.retry_after is None else refused.retry_after, LONGEST_WAIT)


def _rounded_up(time: datetime) -> datetime:
    """In whole seconds, as journals keep it, and never earlier."""
    return (time + timedelta(seconds=1)).replace(microsecond=0)


async def find(qualtrics: Qualtrics, survey_id: str, batch_id: str, at: datetime) -> str | None:
    """The distribution of the survey to that batch, sent at about that time; None if none shows now."""
    return await qualtrics.find_distribution(survey_id, batch_id, at - WINDOW, at + WINDOW)


async def _look(work: Work) -> str | None:
    run = work.run
    survey_id, at = run.survey_id or work.spec.qualtrics.survey_id, run.send_time or run.start_time
    try:
        return await find(work.sides.qualtrics, survey_id, run.batch_id or "", at)
    except ExportError:
        return None  # cannot be seen now: like not there yet
    except Exception as error:  # noqa: BLE001
        report("looking up the distribution of", run, error)
        return None


async def sent(work: Work) -> Ended | None:
    """Say so."""
    # A crash here: the survey is out and the journal knows its id. The next process finishes with the same words.
    return work.sent()


def _too_many(created: int, given: int) -> str:
    return f"Qualtrics counts {created} people in the batch after {given} were given to it; somebody may be in twice"
