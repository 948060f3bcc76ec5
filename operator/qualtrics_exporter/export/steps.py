"""The steps of a run: the table of what a run does, read downwards.

    Claimed     ask the query who; open a batch
    Importing   bring them into the batch; ask Qualtrics, once, to send to it
    Sending     was it sent? look it up
    Sent        finish

Each step is what a process does when the journal stands there, be it a moment after having written that itself or a day
later in another process. A step that returns None has moved the journal on. `Importing` after a crash begins anew, as
nobody knows any more who the people were. `Sending` only looks the send up, with the one exception that the journal
names: a send that was refused. It is asked for again once it is certain that it did not take place.
"""

from datetime import datetime, timedelta

from qualtrics_exporter.export.guards import check_sender, guard, warnings
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.look_up import LIST_LAG, after_lost_reply, after_refusal, look
from qualtrics_exporter.export.look_up import find as find  # for those who look later
from qualtrics_exporter.export.query import Wanted, ask
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.run_context import RunContext, report
from qualtrics_exporter.export.sample import draw
from qualtrics_exporter.export.shield import shield_until_done
from qualtrics_exporter.qualtrics.chunks import chunks
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CERTAIN_REFUSALS

TEST_RECIPIENTS = 20
BATCHES = 3  # a batch whose import has an unknown outcome is left behind, so often at most
POSTS = 3  # a send that was refused is asked for again, so often at most, by however many processes
# From the write of `Sending` to its send, less than another replica takes to look the send up and tell its user.
PROMPT_SECONDS = 10.0
PROMPT_TRIES = 3
TOKEN_GOOD_FOR = timedelta(minutes=5)
WAIT = timedelta(minutes=1)  # after a refusal that does not say how long
LONGEST_WAIT = timedelta(minutes=30)  # even if Qualtrics asks for more


async def claimed(work: RunContext) -> Ended | None:
    """Ask who, and open a batch for them."""
    async with work.in_time():
        return await _ask_who(work)


async def _ask_who(work: RunContext) -> Ended | None:
    # A crash here: nothing was sent, nothing but perhaps an empty batch was made. The next process starts again.
    spec = work.spec
    check_sender(spec)
    if error := (await work.sides.texts.check(spec)).error:
        raise error
    limit = min(TEST_RECIPIENTS, spec.max_recipients or TEST_RECIPIENTS) if work.test else None
    await work.forget_people()
    wanted = Wanted(
        limit=limit,
        keep=spec.max_recipients,
        reserve=None if work.test else work.reserve_memory,  # it has 20 people at most
        export_first=work.export_first,
        # If it has to be compared, an export in its place helps nobody.
        patient=spec.nexthink.drift_policy == "Hold",
    )
    try:
        answer = await ask(spec.nexthink, work.sides.nexthink, work.sides.texts.compare, wanted)
    except ExportError:
        work.begin_with = "Execute"  # whatever was remembered, it does not work
        raise
    work.query, work.begin_with = answer.sync, answer.begin_with
    previous = None if work.test else work.previous
    told = [str(reason) for reason in warnings(spec, answer, previous)]
    group = work.sample.group if work.sample else None
    work.note(counts=answer.recipients.counts, warnings=told, batch_id=None, recipients=None, sampled_group=group)
    if stop := guard(spec, answer, limited=work.test, previous=previous):
        return work.end(*stop)
    people = answer.recipients
    if work.sample:
        work.sample = work.sample.at(work.clock.now())
        people = await draw(work.sample, people, work.sides.nexthink.pause)
        work.note(counts=people.counts)
        if not people:
            return work.nobody_sampled()
    if spec.dry_run:
        return work.dry()
    work.take_people(people)
    await _open_batch(work)
    return None


async def _open_batch(work: RunContext) -> None:
    work.batches += 1
    batch_id = await work.sides.qualtrics.create_batch(work.spec.qualtrics.directory_id)
    # A crash before this write leaves an empty batch behind that nobody knows of: harmless. It is written before the
    # first person goes in, so that a batch with people in it is always one that the journal has named.
    await work.journalled(step="Importing", batch_id=batch_id, survey_id=work.spec.qualtrics.survey_id)


async def importing(work: RunContext) -> Ended | None:
    """Bring everybody into the batch, see that they are in, and have it sent."""
    # A crash here: some or all are in the batch, nobody was mailed. The people are not known any more, and they must
    # not get into the same batch twice: the next process asks again and takes a new batch. This one is never sent.
    if work.recipients is None:
        return await claimed(work)
    async with work.in_time():
        await _bring_in(work, work.recipients)
    return await _post(work) if work.run.recipients else None


async def _bring_in(work: RunContext, recipients: Recipients) -> None:
    """Import everybody, or open another batch for that."""
    qualtrics, spec = work.sides.qualtrics, work.spec.qualtrics
    assert work.run.batch_id, "Importing is written with its batch"  # noqa: S101
    created = accounted = 0
    limited = False
    try:
        for portion in chunks(recipients, work.run.id):
            done = await qualtrics.import_contacts(
                spec.directory_id, spec.mailing_list_id, work.run.batch_id, work.run.id, portion
            )
            if done.created > len(portion):
                raise Transient(Reason.REMOTE_REPLY_INVALID, _too_many(done.created, len(portion)))
            created += done.created
            accounted += done.created + done.failed + done.unprocessed
            limited = limited or done.limited
        if limited:
            await _count_people(work, created)
    except OutcomeUnknown as lost:
        # These people may be in the batch, or come later: sent again, they would be in it twice. So all of them go into
        # a new batch, and nothing is ever sent to this one.
        if work.batches < BATCHES:
            await _open_batch(work)
            return
        what = f"In {BATCHES} batches, the outcome of an import is unknown"
        raise Transient(
            lost.reason,  # a proxy's page or a limit that lasts asks for another next step than a side that is down
            what,
            status=lost.status,
            remote_code=lost.remote_code,
            request_id=lost.request_id,
        ) from lost
    accepted = len(recipients)
    if not created:
        what = (
            f"Qualtrics took none of {accepted} people into the batch: a wrong directory or list id does exactly this"
        )
        raise Permanent(Reason.IMPORT_INCOMPLETE, what)
    told = work.run.warnings or []
    await work.forget_people()
    work.note(
        recipients=created,
        counts=recipients.counts.model_copy(update={"imported": created}),
        warnings=[*told, str(Reason.IMPORT_INCOMPLETE)] if accounted < accepted else told,
    )


async def _count_people(work: RunContext, created: int) -> None:
    """See that nobody is in the batch twice. Raises `OutcomeUnknown` unless it has exactly so many people.

    An import was answered with 429 and was repeated. Qualtrics may have taken it the first time, too: then it has done
    that by now, because it does the imports for a mailing list one after the other.
    """
    batch_id = work.run.batch_id or ""
    try:
        number = await work.sides.qualtrics.count_batch(work.spec.qualtrics.directory_id, batch_id)
    except (Permanent, Transient) as error:
        what = f"After an import was answered with HTTP 429, batch {batch_id} cannot be counted: {error.what}"
        raise OutcomeUnknown(Reason.RATE_LIMITED, what, status=error.status) from error
    if number != created:
        what = f"Batch {batch_id} has {number} people instead of {created}, after an import was answered with HTTP 429"
        raise OutcomeUnknown(Reason.RATE_LIMITED, what, status=429)


async def _post(work: RunContext) -> Ended | None:
    """Ask for the distribution, once. The only place that sends."""
    if work.spec.dry_run:  # since it imported its people
        return work.dry()
    # All waiting comes before the journal says `Sending`: after a kill in it nothing was asked for, and that is known.
    async with work.in_time():
        await work.wait_for_clock()
        await work.sides.qualtrics.acquire_send()
        await work.sides.qualtrics.ensure_token(TOKEN_GOOD_FOR)
    # From here to the journalled reply nothing is cut short: a request in flight that is dropped may have been heard.
    return await shield_until_done(_write_and_post(work))


async def _write_and_post(work: RunContext) -> Ended | None:
    spec, batch_id = work.spec.qualtrics, work.run.batch_id
    if not batch_id:  # it was lost from the journal, and no other batch may take its place
        what = "The journal does not say into which transaction batch the people of the run were imported."
        return work.failed(Permanent(Reason.STATUS_NOT_UNDERSTOOD, what))
    before, asked_before = work.run.send_attempts or 0, work.run.send_time
    for _ in range(PROMPT_TRIES):
        if work.is_late():
            return work.failed(work.too_late())
        began, now = work.clock.uptime(), work.clock.now().replace(microsecond=0)
        attempt = work.run.attempt + (work.run.step == "Sending")
        await work.journalled_sending(send_time=now, attempt=attempt, send_attempts=before + 1)
        if work.clock.uptime() - began <= PROMPT_SECONDS:
            break
        # This process stood still meanwhile. Another one may have taken the run over, looked for the survey and told
        # its user that none is there: what was written is stale, and is written again, or is found to be lost.
    else:
        what = "Writing down that the survey is about to be sent took too long each time"
        return await _refused(work, before, Transient(Reason.INTERNAL_ERROR, what))
    if work.is_late():
        work.note(send_time=asked_before)
        return work.failed(work.too_late())
    # A crash from here on: the survey may be out. The next process looks it up by survey, time and batch, all of which
    # the journal has just been told, and never asks again.
    try:
        distribution_id = await work.sides.qualtrics.send(
            Distribution(
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
        )
    except Permanent as refused:
        return work.failed(refused)
    except Transient as refused:
        return await _refused(work, before, refused)
    except OutcomeUnknown:
        return None
    except Exception as error:  # noqa: BLE001
        report("sending", work.run, error)
        return None
    await work.journalled_sent(distribution_id)
    return None


async def _refused(work: RunContext, before: int, why: Transient) -> Ended | None:
    """The send was refused, or never asked for: ask again later, unless that was the last time."""
    certain = str(why.reason) in CERTAIN_REFUSALS
    if certain and before + 1 >= POSTS:
        return work.failed(why)
    work.refusal, work.refused_at = why, work.clock.monotonic()
    wait = _wait(why) if certain else max(_wait(why), LIST_LAG)
    # A crash before this write: that the send was refused is lost, and the next process only looks it up.
    await work.journalled_refused(why, _rounded_up(work.clock.now() + wait))
    return None


async def sending(work: RunContext) -> Ended | None:
    """See whether the survey went out."""
    # A crash here changes nothing: the next process looks again, by the same survey, time and batch.
    if work.run.refused_until is not None:
        return await _after_refusal(work, work.run.refused_until)
    last = await after_lost_reply(work)
    if last.distribution_id:
        await work.journalled_sent(last.distribution_id)
        return None
    seen = "does not show it" if last.complete else "could not be read in full"
    return work.unknown(f"there was no clear answer, and its list of distributions {seen}")


async def _after_refusal(work: RunContext, until: datetime) -> Ended | None:
    """Ask again for a send that was refused, once it is certain that it did not take place."""
    # A crash here: the next process waits and looks again. What this one has seen is not in the journal, because the
    # next one cannot know how long ago that was.
    if work.before_send:
        async with work.in_time():
            await _wait_until(work, until)
            # It costs nothing to look all the same: something between us and Qualtrics may have told a lie.
            last = await look(work)
    else:
        last = await after_refusal(work)
    if last.distribution_id:
        await work.journalled_sent(last.distribution_id)
        return None
    if not (last.complete or work.before_send):
        why = "it answered with HTTP 429, and later its list of distributions could not be read in full"
        return work.unknown(why)
    work.seen_absent = True
    if work.test and work.taken_up_again:
        return work.interrupted()
    if (work.run.send_attempts or 0) >= POSTS:
        return work.failed(work.refusal or _last_refusal(work))
    async with work.in_time():
        await _wait_until(work, until)
    return await _post(work)


async def _wait_until(work: RunContext, until: datetime) -> None:
    # Never longer than the longest wait: the clock may have been set back.
    wait = min(until - work.clock.now(), LONGEST_WAIT)
    await work.clock.sleep(max(0.0, wait.total_seconds()))


def _wait(refused: Transient) -> timedelta:
    return min(WAIT if refused.retry_after is None else refused.retry_after, LONGEST_WAIT)


def _last_refusal(work: RunContext) -> Transient:
    """The refusal of an earlier process, as far as the journal tells."""
    return Transient(Reason.RATE_LIMITED, f"Qualtrics refused {POSTS} times to send to batch {work.run.batch_id}")


def _rounded_up(time: datetime) -> datetime:
    """In whole seconds, as journals keep it, and never earlier."""
    return (time + timedelta(seconds=1)).replace(microsecond=0)


async def sent(work: RunContext) -> Ended | None:
    """Say so."""
    # A crash here: the survey is out and the journal knows its id. The next process finishes with the same words.
    return work.sent()


def _too_many(created: int, given: int) -> str:
    return f"Qualtrics counts {created} people in the batch after {given} were given to it; somebody may be in twice"
