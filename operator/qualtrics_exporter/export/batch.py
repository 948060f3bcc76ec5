"""The transaction batch of a run: open it, and import the recipients into it.

Nobody may be in a batch twice, because a distribution mails every contact in its batch. If the outcome of an import is
unknown, all people go into a new batch, and nothing is ever sent to the old one.
"""

from contextlib import aclosing

from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.qualtrics.chunks import chunks
from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason

MAX_BATCHES = 3


async def open_batch(context: RunContext) -> None:
    """Create a batch and write it to the journal."""
    context.batches += 1
    batch_id = await context.clients.qualtrics.create_batch(context.spec.qualtrics.directory_id)
    # After a crash before this write, an unknown empty batch stays in Qualtrics, which is harmless. The write comes
    # before the first import, so the journal names every batch that has people in it.
    await context.write_step(step="Importing", batch_id=batch_id, survey_id=context.spec.qualtrics.survey_id)


async def import_recipients(context: RunContext, recipients: Recipients) -> None:
    """Import everybody, or open another batch for them if it is unknown who was imported."""
    try:
        created, accounted = await _import_chunks(context, recipients)
    except OutcomeUnknown as unknown:
        if context.batches < MAX_BATCHES:
            await open_batch(context)
            return
        raise Transient(
            unknown.reason,  # its next step tells a proxy's page or a lasting limit from a service that is down
            f"In {MAX_BATCHES} batches, the outcome of an import is unknown",
            status=unknown.status,
            remote_code=unknown.remote_code,
            request_id=unknown.request_id,
        ) from unknown
    accepted = len(recipients)
    if not created:
        what = (
            f"Qualtrics imported none of {accepted} people into the batch. "
            "A wrong id of the directory or mailing list has this effect"
        )
        raise Permanent(Reason.IMPORT_INCOMPLETE, what)
    reasons = context.run.warnings or []
    await context.release_recipients()
    context.note(
        recipients=created,
        counts=recipients.counts.model_copy(update={"imported": created}),
        warnings=[*reasons, str(Reason.IMPORT_INCOMPLETE)] if accounted < accepted else reasons,
    )


async def _import_chunks(context: RunContext, recipients: Recipients) -> tuple[int, int]:
    """How many people Qualtrics imported, and how many it reported on."""
    qualtrics, spec, run = context.clients.qualtrics, context.spec.qualtrics, context.run
    assert run.batch_id, "Importing is written with its batch"  # noqa: S101
    created = accounted = 0
    repeated = False
    parts = chunks(recipients, run.id)
    results = qualtrics.import_chunks(spec.directory_id, spec.mailing_list_id, run.batch_id, run.id, parts)
    async with aclosing(results):
        async for done in results:
            created += done.created
            accounted += done.created + done.failed + done.unprocessed
            repeated = repeated or done.limited
    if repeated:
        await _check_number(context, run.batch_id, created)
    return created, accounted


async def _check_number(context: RunContext, batch_id: str, created: int) -> None:
    """Check that nobody is in the batch twice. Raises `OutcomeUnknown` unless it has this number of people.

    An import was answered with HTTP 429 and repeated. Qualtrics may have executed both. If so, the first one is
    complete by now, because Qualtrics executes the imports into a mailing list one after the other.
    """
    directory_id = context.spec.qualtrics.directory_id
    try:
        number = await context.clients.qualtrics.count_batch(directory_id, batch_id, created)
    except (Permanent, Transient) as error:
        what = f"After an import was answered with HTTP 429, batch {batch_id} cannot be counted: {error.what}"
        raise OutcomeUnknown(Reason.RATE_LIMITED, what, status=error.status) from error
    if number != created:
        what = f"Batch {batch_id} has {number} people instead of {created}, after an import was answered with HTTP 429"
        raise OutcomeUnknown(Reason.RATE_LIMITED, what, status=429)
