"""The steps of a run: what a process does, by the step in the journal.

    Claimed                         query the people, and open a batch for them
    Importing                       import them into the batch, write Sending, and send to the batch
    Sending                         look up the send
    Sending, with refused_until     send again, once it is certain that nothing was sent
    Sent                            finish

A process executes a step a moment after it wrote the step itself, or a day after another process did. A step returns
how the run ended, or None if the journal is at another step now.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from qualtrics_exporter.export.batch import import_recipients, open_batch
from qualtrics_exporter.export.guards import check_sender, guard, warnings
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.look_up import after_lost_reply, after_refusal, look
from qualtrics_exporter.export.query import QueryResult, Wanted, run_query
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.sample import draw
from qualtrics_exporter.export.send import MAX_SENDS, last_refusal, wait_until, write_and_send
from qualtrics_exporter.export.shield import shield_until_done
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.status import Step

TEST_RECIPIENTS = 20
TOKEN_GOOD_FOR = timedelta(minutes=5)


async def claimed(context: RunContext) -> Ended | None:
    """Query the people, and open a batch for them."""
    # After a crash here, the next process starts again. Nothing was sent, and nothing but an empty batch was created.
    async with context.before_deadline():
        result = await _query(context)
        if ended := await _select(context, result):
            return ended
        await open_batch(context)
        return None


async def importing(context: RunContext) -> Ended | None:
    """Import everybody into the batch, check that they are in it, and send to it."""
    # After a crash here, some or all people are in the batch, and nobody was mailed. The next process does not know the
    # people, and nobody may be in one batch twice. So it queries them again and opens a new batch. Nothing is ever sent
    # to this one.
    if context.recipients is None:
        return await claimed(context)
    async with context.before_deadline():
        await import_recipients(context, context.recipients)
    imported = context.run.recipients
    return await _send(context) if imported else None


async def sending(context: RunContext) -> Ended | None:
    """Look up whether the survey was sent."""
    if context.run.refused_until is not None:
        return await refused(context, context.run.refused_until)
    # After a crash here, the next process looks again, by the same survey, time and batch.
    last = await after_lost_reply(context)
    if last.distribution_id:
        await context.write_sent(last.distribution_id)
        return None
    seen = "does not show it" if last.complete else "could not be read in full"
    return context.unknown(f"there was no clear answer, and its list of distributions {seen}")


async def refused(context: RunContext, until: datetime) -> Ended | None:
    """Send again after a refusal, once it is certain that nothing was sent."""
    # After a crash here, the next process waits and looks again. What this process saw is not in the journal, because
    # the next one cannot know how long ago that was.
    if context.before_send:
        async with context.before_deadline():
            await wait_until(context, until)
            # A proxy may have reported the refusal although the send took effect. A look costs nothing.
            last = await look(context)
    else:
        last = await after_refusal(context)
    if last.distribution_id:
        await context.write_sent(last.distribution_id)
        return None
    if not (last.complete or context.before_send):
        return context.unknown(
            "it answered with HTTP 429, and later its list of distributions could not be read in full"
        )
    context.confirmed_not_sent = True
    if context.test and context.resumed:
        return context.interrupted()
    if (context.run.send_attempts or 0) >= MAX_SENDS:
        return context.failed(context.refusal or last_refusal(context))
    async with context.before_deadline():
        await wait_until(context, until)
    return await _send(context)


async def sent(context: RunContext) -> Ended | None:
    """Report that the survey was sent."""
    # After a crash here, the next process ends the run with the same message: the journal has the distribution.
    return context.sent()


STEPS: dict[Step, Callable[[RunContext], Awaitable[Ended | None]]] = {
    "Claimed": claimed,
    "Importing": importing,
    "Sending": sending,
    "Sent": sent,
}


async def _query(context: RunContext) -> QueryResult:
    """Check the text of the query, and run it."""
    spec = context.spec
    check_sender(spec)
    if error := (await context.clients.texts.check(spec)).error:
        raise error
    await context.release_recipients()
    wanted = Wanted(
        limit=min(TEST_RECIPIENTS, spec.max_recipients or TEST_RECIPIENTS) if context.test else None,
        keep=spec.max_recipients,
        reserve=None if context.test else context.reserve_memory,  # a test has 20 people at most
        export_first=context.export_first,
        # With Hold, the run needs the text that Nexthink executed, and an export does not have it.
        patient=spec.nexthink.drift_policy == "Hold",
    )
    try:
        result = await run_query(spec.nexthink, context.clients.nexthink, context.clients.texts.compare, wanted)
    except ExportError:
        context.begin_with = "Execute"  # an export at once, if one was used, does not work either
        raise
    context.query, context.begin_with = result.sync, result.begin_with
    return result


async def _select(context: RunContext, result: QueryResult) -> Ended | None:
    """Apply the guards and the sample. Returns how the run ends if nobody is to be imported."""
    spec, sample = context.spec, context.sample
    previous = None if context.test else context.previous
    context.note(
        counts=result.recipients.counts,
        warnings=[str(reason) for reason in warnings(spec, result, previous)],
        batch_id=None,
        recipients=None,
        sampled_group=sample.group if sample else None,
    )
    if stop := guard(spec, result, limited=context.test, previous=previous):
        return context.end(*stop)
    people = result.recipients
    if sample:
        context.sample = sample = sample.at(context.clock.now())
        people = await draw(sample, people, context.clients.nexthink.pause)
        context.note(counts=people.counts)
        if not people:
            return context.nobody_sampled()
    if spec.dry_run:
        return context.dry()
    context.keep_recipients(people)
    return None


async def _send(context: RunContext) -> Ended | None:
    """Wait until the run can send, write `Sending`, and send once."""
    if context.spec.dry_run:  # `dryRun` was set after the import
        return context.dry()
    # All waiting comes before the write of Sending. After a crash in it, the journal shows that nothing was sent.
    async with context.before_deadline():
        await context.wait_for_clock()
        await context.clients.qualtrics.acquire_send()
        await context.clients.qualtrics.ensure_token(TOKEN_GOOD_FOR)
    # Nothing interrupts this: a request that is dropped may already have reached Qualtrics.
    return await shield_until_done(write_and_send(context))
