"""Whether an exporter could work, without mailing anybody.

Both sides are checked independently and at the same time: who has two mistakes shall hear of both.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.http.errors import ExportError
from qualtrics_exporter.nexthink.client import Nexthink
from qualtrics_exporter.qualtrics.client import Qualtrics
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry
from qualtrics_exporter.resource.status import Recipients as Counts

from .guards import Remark, check_sender
from .journal import QuerySync
from .query import Answer, Compare, ask
from .sides import Sides
from .steps import TEST_RECIPIENTS
from .work import internal

LOOKED_AT = 1


@dataclass(frozen=True, slots=True)
class Checks:
    """What is wrong with the text of the query, the first error of each side, and what the query told, if it was asked.

    `query_sync` is None when Nexthink did not say what it ran.
    """

    nexthink: ExportError | None
    qualtrics: ExportError | None
    text: ExportError | None = None
    query_sync: QuerySync | None = None
    counts: Counts | None = None
    advice: tuple[Remark, ...] = ()
    """Warnings from the replies of the services."""

    @property
    def errors(self) -> list[ExportError]:
        """What is wrong, what the user can mend alone first."""
        return [error for error in (self.text, self.nexthink, self.qualtrics) if error is not None]

    @property
    def first_error(self) -> ExportError | None:
        """The error to show where there is room for one."""
        return next(iter(self.errors), None)

    def raise_first(self) -> None:
        """Raise the first error, if there is one."""
        if self.first_error:
            raise self.first_error


async def check(spec: Spec, sides: Sides, *, query: bool, people: int = LOOKED_AT) -> Checks:
    """Check both sides in full. `query` also executes the query, once, and looks at `people` addresses of its result.

    A query whose text is wrong is not executed. Nobody is imported, nothing is created. Raises nothing: an error
    without a name is `InternalError`.
    """
    text = (await sides.texts.check(spec)).error
    async with asyncio.TaskGroup() as group:
        query = query and not text
        nexthink = group.create_task(
            check_nexthink(spec, sides.nexthink, sides.texts.compare, query=query, people=people)
        )
        qualtrics = group.create_task(check_qualtrics(spec, sides.qualtrics))
    error, answer = nexthink.result()
    return Checks(
        nexthink=error,
        qualtrics=qualtrics.result(),
        text=text,
        query_sync=answer.sync if answer else None,
        counts=answer.recipients.counts if answer else None,
        advice=advice(sides.qualtrics),
    )


def advice(qualtrics: Qualtrics) -> tuple[Remark, ...]:
    """Warnings from a check of Qualtrics."""
    return (Remark(Reason.REQUESTS_PROXIED, qualtrics.advice),) if qualtrics.advice else ()


async def check_nexthink(
    spec: Spec, nexthink: Nexthink, compare: Compare, *, query: bool, people: int = LOOKED_AT
) -> tuple[ExportError | None, Answer | None]:
    """Nexthink's side: the credentials, and what the query answers."""
    try:
        await nexthink.check_credentials()
        return None, await ask(spec.nexthink, nexthink, compare, limit=people) if query else None
    except ExportError as error:
        return error, None
    except Exception as error:  # noqa: BLE001
        return internal(error), None


async def check_qualtrics(spec: Spec, qualtrics: Qualtrics) -> ExportError | None:
    """Qualtrics' side: the credentials, and that every id leads to the right kind of thing."""
    wanted = spec.qualtrics
    try:
        check_sender(spec)
        await qualtrics.check_credentials()
        await qualtrics.check_survey(wanted.survey_id)
        await qualtrics.check_message(wanted.library_id, wanted.message_id)
        await qualtrics.check_directory(wanted.directory_id)
        await qualtrics.check_mailing_list(wanted.directory_id, wanted.mailing_list_id)
    except ExportError as error:
        return error
    except Exception as error:  # noqa: BLE001
        return internal(error)
    return None


async def dry_test(spec: Spec, sides: Sides, clock: Clock, run_id: str) -> HistoryEntry:
    """The test that sends nothing: both sides in full, and at most 20 people of the query looked at."""
    start = clock.now()
    checks = await check(spec, sides, query=True, people=TEST_RECIPIENTS)
    return test_entry(checks, spec.qualtrics.survey_id, run_id, start, clock.now())


def test_entry(checks: Checks, survey_id: str | None, run_id: str, start: datetime, end: datetime) -> HistoryEntry:
    """What a test that sent nothing found, as `status.lastTest` tells it."""
    if first := checks.first_error:
        reason, message = first.reason, " ".join(error.message for error in checks.errors)
    else:
        reason = Reason.TEST_PASSED
        found = checks.counts.accepted if checks.counts else 0
        who = "the query names nobody at present" if not found else f"{found} people of the query were looked at"
        message = f"{reason.meaning} Both sides were checked in full; {who}."
        if checks.query_sync and not checks.query_sync.in_sync:
            message = f"{message} {checks.query_sync.message}"
        message = " ".join([message, *(f"{remark}." for remark in checks.advice)])
    return HistoryEntry(
        id=run_id,
        trigger="Test",
        start_time=start,
        completion_time=end,
        result="Failed" if first else "Succeeded",
        reason=str(reason),
        message=message,
        recipients=checks.counts,
        survey_id=survey_id,
    )
