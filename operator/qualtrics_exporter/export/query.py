"""Whom to survey: from the saved query to recipients.

A result of fewer than 1,000 rows comes at once, together with the text that really ran. Exactly 1,000 may be the first
1,000 of many: then the full set is exported, and only its rows count. An export does not tell which text ran, and it
may begin many minutes later. So the query is executed once more after it, and the text has to be the right one both
times. If fewer than 1,000 rows are left then, these are the result.

Nexthink executes only queries that take a few seconds. If it fails to execute a query, the result comes from an export
in the same run, and it is unknown which text ran. `resultSource: Export` goes there directly.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from qualtrics_exporter.export.journal import QuerySync, ResultSource
from qualtrics_exporter.export.recipients import NoRoom, Recipients
from qualtrics_exporter.export.same_result import Seen, check_empty
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.execution import Executed
from qualtrics_exporter.nexthink.export import ResultExport
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NexthinkSpec

Compare = Callable[[NexthinkSpec, str | None], Awaitable[QuerySync | None]]
"""Tells whether the text that Nexthink ran is the query of the spec."""

Reserve = Callable[[bool], Awaitable[int | None]]
"""Waits for memory for the people of a result, and tells how many bytes they may take; None if there is no limit. With
True it gives back what it has, and waits for as much as a result may have at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the query returned."""

    recipients: Recipients
    truncated: bool
    sync: QuerySync
    begin_with: ResultSource | None = None
    """What was learnt for the next run: see `Ended.begin_with`."""
    read: bool = True
    """Whether rows of the result were read. Otherwise nothing is known of its fields and addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants to know of a result."""

    limit: int | None = None
    """Take in so many people at most. A result that comes at once is then not exported."""
    keep: int | None = None
    """Keep so many people, and count the others."""
    recognize: int | None = None
    """Count each of so many others once, and rows beyond that; see `Recipients`."""
    reserve: Reserve | None = None
    """Gets memory for a result of unknown size, when its file is there. Nexthink may take long to prepare the file, or
    never finish it, and nothing has to be held for it meanwhile. If the addresses are so long that the people need more
    memory, it is asked once more, and the file is read again."""
    export_first: bool = False
    """Nexthink failed to execute this query before."""
    patient: bool = False
    """Do not use an export before executing the query has failed for minutes."""
    rows: bool = True
    """Whether an export that takes the place of an execution is read. Otherwise Nexthink is only asked to begin it."""

    def people(self, room: int | None = None) -> Recipients:
        """What takes in the rows. The people whom it keeps take `room` bytes at most."""
        return Recipients(limit=self.limit, keep=self.keep, recognize=self.recognize, room=room)


async def ask(spec: NexthinkSpec, nexthink: NexthinkClient, compare: Compare, wanted: Wanted) -> Answer:
    """Have the query run and take in its people.

    Raises `Permanent` for an answer that cannot be one of a right query: several fields, or rows without any address;
    also if the people take more memory than there is for one result.
    """
    parameters = spec.parameters or {}
    if spec.result_source == "Export":
        return await _from_export(spec, nexthink, wanted, _CHOSEN)
    if wanted.export_first:
        return await _from_export(spec, nexthink, wanted, _REMEMBERED)
    try:
        executed = await nexthink.execute(spec.query_id, parameters, patient=wanted.patient)
    except Transient as error:
        if not error.received:
            raise
        how = f" (HTTP {error.status})" if error.status else ""
        # Only a time limit tells of the query. Any other failure can pass.
        learnt: ResultSource = "ExportForDays" if error.timed_out else "Export"
        return await _from_export(spec, nexthink, wanted, f"Nexthink failed to execute the query{how}", learnt)
    _one_field(executed.columns)
    sync = await compare(spec, executed.executed_query) or _UNTOLD
    if executed.complete or wanted.limit is not None:
        return await _from_execution(executed, sync, nexthink, wanted)
    seen = Seen(executed)
    export = await nexthink.export(spec.query_id, parameters)
    recipients = await _read(export, wanted, seen)
    truncated = executed.truncated or export.truncated
    again, after = await _executed_again(spec, nexthink, compare, wanted)
    same_field = not again or _same_field(executed, again)
    if again and again.complete and not again.truncated:
        # The result became small. These rows come with the text of their query, and those of the export do not: the
        # query may have been another one for just as long as the export took.
        return await _from_execution(again, _over_time(after, after, same_field=same_field), nexthink, wanted)
    truncated = truncated or bool(again and again.truncated)
    answer = _answer(recipients, truncated, _over_time(sync, after, same_field=same_field), "Execute")
    if not truncated and (not again or _same_text(executed, again)):
        seen.check_rows(recipients.returned)
    return answer


async def _from_execution(executed: Executed, sync: QuerySync, nexthink: NexthinkClient, wanted: Wanted) -> Answer:
    """The rows that an execution returned."""
    recipients = wanted.people()
    for row in executed.rows:
        if recipients.full:
            break
        recipients.add(_cell(row))
        await nexthink.pause()
    return _answer(recipients, executed.truncated, sync, "Execute")


async def _from_export(
    spec: NexthinkSpec, nexthink: NexthinkClient, wanted: Wanted, why: str, begin_with: ResultSource | None = None
) -> Answer:
    """The result from an export alone. Which text it ran is unknown."""
    sync = QuerySync(None, f"{why}, so the result comes from an export. {_NEXT}")
    export = await nexthink.start_export(spec.query_id, spec.parameters or {})
    if not wanted.rows:
        return Answer(wanted.people(), False, sync, begin_with, read=False)  # nothing is known yet of the export either
    await export.wait()
    recipients = await _read(export, wanted)
    if not recipients.returned:
        check_empty(export.header, spec.query)
    return _answer(recipients, export.truncated, sync, begin_with)


async def _read(export: ResultExport, wanted: Wanted, seen: Seen | None = None) -> Recipients:
    """Take in the people of an export, and compare it with what was seen of the result before."""
    room: int | None = None
    for again in (False, True):
        before, room = room, await wanted.reserve(again) if wanted.reserve else None
        if again and room == before:
            break  # it was the most already
        try:
            recipients = await _read_within(room, export, wanted, seen)
        except NoRoom:
            continue
        _one_field(export.columns)
        if seen:
            seen.check_header(export.header)
        return recipients
    what = (
        f"The people of the result take more than {(room or 0) >> 20} MiB of memory, because their addresses are long"
    )
    raise Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what)


async def _read_within(room: int | None, export: ResultExport, wanted: Wanted, seen: Seen | None) -> Recipients:
    """The people of an export, who take `room` bytes at most. Raises `NoRoom`."""
    recipients = wanted.people(room)

    def restart() -> None:
        nonlocal recipients
        recipients = wanted.people(room)
        if seen:
            seen.restart()

    async with aclosing(export.rows(restart)) as rows:
        async for row in rows:  # which lets others work between two of them
            cell = _cell(row)
            if seen:
                seen.take(cell)
            recipients.add(cell)
            if recipients.full:
                break
    return recipients


async def _executed_again(
    spec: NexthinkSpec, nexthink: NexthinkClient, compare: Compare, wanted: Wanted
) -> tuple[Executed | None, QuerySync]:
    """The query once more after its export, and whether it is the right one then."""
    try:
        again = await nexthink.execute(spec.query_id, spec.parameters or {}, patient=wanted.patient)
    except Transient as error:
        if not error.received:
            raise
        return None, QuerySync(None, f"Nexthink failed to execute the query again after its export. {_NEXT}")
    _one_field(again.columns)
    return again, await compare(spec, again.executed_query) or _UNTOLD


def _answer(recipients: Recipients, truncated: bool, sync: QuerySync, begin_with: ResultSource | None) -> Answer:
    if recipients.returned and not recipients:
        counts = recipients.counts
        what = f"The query returned {counts.returned} rows, but no e-mail address among them: {counts.empty} are empty"
        raise Permanent(Reason.QUERY_RETURNS_NO_EMAIL, f"{what}, and {counts.invalid} are not addresses")
    return Answer(recipients, truncated, sync, begin_with)


def _over_time(before: QuerySync, after: QuerySync, *, same_field: bool) -> QuerySync:
    """What the two comparisons around an export say of the query whose rows were exported."""
    if before.in_sync is False:
        return before
    if after.in_sync is False:
        return QuerySync(False, f"{after.message} {_CHANGED}")
    if not same_field:
        return QuerySync(False, f"{Reason.QUERY_DRIFT.meaning} {_CHANGED} {Reason.QUERY_DRIFT.next_step}")
    return before if before.in_sync is None else after


_NEXT = f"{Reason.QUERY_NOT_COMPARED.meaning} {Reason.QUERY_NOT_COMPARED.next_step}"
_UNTOLD = QuerySync(
    None,
    "Nexthink did not say which query it ran, so the query cannot be compared with spec.nexthink.query. "
    "If spec.nexthink.driftPolicy is Hold, set it to Warn to run all the same.",
)
_CHOSEN = "spec.nexthink.resultSource is Export"
_REMEMBERED = "Nexthink failed to execute the query before (status.heavyQuery)"
_CHANGED = "It was changed while its result was exported."


def _same_field(before: Executed, after: Executed) -> bool:
    """Whether both times the same field was returned; the second time, no row may be left to tell."""
    return not after.rows or before.fields == after.fields


def _same_text(before: Executed, after: Executed) -> bool:
    """Whether the query can be the same after the export as before it."""
    texts = before.executed_query, after.executed_query
    return None in texts or texts[0] == texts[1]


def _cell(row: tuple[str, ...]) -> str:
    _one_field(len(row))
    return row[0] if row else ""


def _one_field(columns: int) -> None:
    if columns > 1:
        raise Permanent(Reason.QUERY_RETURNS_SEVERAL_FIELDS, f"The query returns {columns} fields instead of one")
