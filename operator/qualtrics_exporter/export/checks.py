"""Whether an exporter could work, without mailing anybody.

Both sides are checked independently and at the same time: who has two mistakes shall hear of both.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.guards import Remark, check_sender, guard, warnings
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.export.messages import advice, counted
from qualtrics_exporter.export.query import Answer, Compare, Reserve, Wanted, ask
from qualtrics_exporter.export.recipients import COUNTED_BYTES, MOST_OTHERS
from qualtrics_exporter.export.run_context import LARGE_RESULT, internal
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry, Result
from qualtrics_exporter.resource.status import RecipientCounts as Counts

LOOK = Wanted(limit=1, rows=False)
"""What a check wants to know of a query: that it works. It only begins an export, and does not read it."""


_COMPARISON = (Reason.QUERY_DRIFT, Reason.QUERY_NOT_COMPARED)


def counting(spec: Spec, *, reserve: Reserve | None = None, export_first: bool = False) -> Wanted:
    """What a test that sends nothing wants to know: how many people there are. It keeps nobody's address."""
    people = (spec.max_recipients or LARGE_RESULT) + MOST_OTHERS
    return Wanted(keep=0, recognize=people, reserve=reserve, export_first=export_first)


def counting_bytes(spec: Spec) -> int:
    """The memory that this takes at most for a large result, without what is never reserved (`MOST_OTHERS`)."""
    return (spec.max_recipients or LARGE_RESULT) * COUNTED_BYTES


@dataclass(frozen=True, slots=True)
class Checks:
    """What is wrong with the text of the query, the first error of each side, and the answer, if the query ran."""

    nexthink: ExportError | None
    qualtrics: ExportError | None
    text: ExportError | None = None
    answer: Answer | None = None
    remarks: tuple[Remark, ...] = ()
    """Warnings from the replies of Qualtrics."""

    @property
    def query_sync(self) -> QuerySync | None:
        """Whether the query of the spec ran; None if none was asked."""
        return self.answer.sync if self.answer else None

    @property
    def counts(self) -> Counts | None:
        """How many people the query returned; None if it was not asked, or not read."""
        return self.answer.recipients.counts if self.answer else None

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


async def check(spec: Spec, sides: Clients, *, query: bool, wanted: Wanted = LOOK) -> Checks:
    """Check both sides in full. `query` also has the query run, once, and finds out what is `wanted` of its result.

    A query whose text is wrong is not run. Nobody is imported, nothing is created. Raises nothing: an error without a
    name is `InternalError`.
    """
    text = (await sides.texts.check(spec)).error
    async with asyncio.TaskGroup() as group:
        query = query and not text
        nexthink = group.create_task(
            check_nexthink(spec, sides.nexthink, sides.texts.compare, wanted if query else None)
        )
        qualtrics = group.create_task(check_qualtrics(spec, sides.qualtrics))
    error, answer = nexthink.result()
    return Checks(
        nexthink=error,
        qualtrics=qualtrics.result(),
        text=text,
        answer=answer,
        remarks=remarks_of(sides.qualtrics),
    )


def remarks_of(qualtrics: QualtricsClient) -> tuple[Remark, ...]:
    """Warnings from a check of Qualtrics."""
    return (Remark(Reason.REQUESTS_PROXIED, qualtrics.advice),) if qualtrics.advice else ()


async def check_nexthink(
    spec: Spec, nexthink: NexthinkClient, compare: Compare, wanted: Wanted | None
) -> tuple[ExportError | None, Answer | None]:
    """Nexthink's side: the credentials, and what the query answers, if anything is wanted of it."""
    try:
        await nexthink.check_credentials()
        return None, await ask(spec.nexthink, nexthink, compare, wanted) if wanted else None
    except ExportError as error:
        return error, None
    except Exception as error:  # noqa: BLE001
        return internal(error), None


async def check_qualtrics(spec: Spec, qualtrics: QualtricsClient) -> ExportError | None:
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


async def dry_test(spec: Spec, sides: Clients, clock: Clock, run_id: str) -> HistoryEntry:
    """The test that sends nothing: both sides in full, and the people of the query counted."""
    start = clock.now()
    checks = await check(spec, sides, query=True, wanted=counting(spec))
    return test_entry(checks, spec, run_id, start, clock.now(), None)


def test_entry(
    checks: Checks, spec: Spec | None, run_id: str, start: datetime, end: datetime, previous: int | None
) -> HistoryEntry:
    """What a test that sent nothing found, as `status.lastTest` tells it. It ends as a run would end before its import.

    `spec` is None if it cannot be used; the checks then have the error. `previous` is as for `guard`.
    """
    result: Result = "Succeeded"
    answer, reason = checks.answer, Reason.TEST_PASSED
    stop = guard(spec, answer, limited=False, previous=previous) if spec and answer else None
    if first := checks.first_error:
        result, reason = "Failed", first.reason
        message = " ".join(error.message for error in checks.errors)
    elif stop and stop[0] == "Held":
        result, reason, message = stop
        message = " ".join([message, *counted(checks.counts)])
    else:
        told = [reason.meaning, "Both sides were checked in full.", *counted(checks.counts)]
        if spec and answer:
            told += advice([found for found in warnings(spec, answer, previous) if found not in _COMPARISON])
            told += [] if answer.sync.in_sync else [answer.sync.message]  # it says where they differ
        told += [f"{remark}." for remark in checks.remarks]
        message = " ".join(told)
    return HistoryEntry(
        id=run_id,
        trigger="Test",
        start_time=start,
        completion_time=end,
        result=result,
        reason=str(reason),
        message=message,
        recipients=checks.counts,
        survey_id=spec.qualtrics.survey_id if spec else None,
    )
