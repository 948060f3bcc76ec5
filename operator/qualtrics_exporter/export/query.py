"""From the saved query to recipients.

A result of fewer than 1,000 rows comes with the text of the query that Nexthink executed. Exactly 1,000 rows may be the
first 1,000 of more. Then the rows come from an export, which returns the full result without the text, and may run many
minutes later. So the query is executed once more after the export, and its text must be correct both times. If that
execution returns fewer than 1,000 rows, these are the result.

Nexthink executes only queries that take a few seconds. If it fails to execute a query, the result comes from an export
in the same run, and it is unknown which text Nexthink ran. `resultSource: Export` uses an export from the start.
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
"""Compares the text that Nexthink ran with the query of the spec."""

Reserve = Callable[[bool], Awaitable[int | None]]
"""Waits for memory for the people of a result, and returns how many bytes they may take; None if there is no limit.
With True, it frees its memory and waits for the most that a result may have."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What the query returned."""

    recipients: Recipients
    truncated: bool
    sync: QuerySync
    begin_with: ResultSource | None = None
    """The source for the next run: see `Ended.begin_with`."""
    read: bool = True
    """Whether rows of the result were read. Otherwise its fields and addresses are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of a result the caller needs."""

    limit: int | None = None
    """Read this number of people at most. With a limit, a result that an execution returns is not exported."""
    keep: int | None = None
    """Keep this number of people, and count the others."""
    recognize: int | None = None
    """Recognize duplicates among this number of others, and count rows beyond that; see `Recipients`."""
    reserve: Reserve | None = None
    """Reserves memory for a result of unknown size. It is called when the file of the export is ready, because Nexthink
    may need long for the file, or never finish it. If the people need more memory because their addresses are long, it
    is called once more, and the file is read again."""
    export_first: bool = False
    """Nexthink failed to execute this query before."""
    patient: bool = False
    """Use an export only after executing the query has failed for minutes."""
    rows: bool = True
    """Whether to read an export that replaces an execution. Otherwise the export is only started."""

    def recipients(self, room: int | None = None) -> Recipients:
        """An empty collection for the rows. The people that it keeps take `room` bytes at most."""
        return Recipients(limit=self.limit, keep=self.keep, recognize=self.recognize, room=room)


async def run_query(spec: NexthinkSpec, nexthink: NexthinkClient, compare: Compare, wanted: Wanted) -> QueryResult:
    """Run the query and read its people.

    Raises `Permanent` if the query returns several fields, or rows without any address, or if the people take more
    memory than one result may have.
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
        # Only a time limit shows that the query is too heavy. Any other failure may pass.
        begin_with: ResultSource = "ExportForDays" if error.timed_out else "Export"
        return await _from_export(spec, nexthink, wanted, f"Nexthink failed to execute the query{how}", begin_with)
    _one_field(executed.columns)
    sync = await compare(spec, executed.executed_query) or _TEXT_UNKNOWN
    if executed.complete or wanted.limit is not None:
        return await _from_execution(executed, sync, nexthink, wanted)
    seen = Seen(executed)
    export = await nexthink.export(spec.query_id, parameters)
    recipients = await _read(export, wanted, seen)
    truncated = executed.truncated or export.truncated
    again, after = await _executed_again(spec, nexthink, compare, wanted)
    same_field = not again or _same_field(executed, again)
    if again and again.complete and not again.truncated:
        # The result became small. These rows come with the text of their query, and those of the export do not: another
        # query may have been saved during the export.
        return await _from_execution(again, _over_time(after, after, same_field=same_field), nexthink, wanted)
    truncated = truncated or bool(again and again.truncated)
    result = _result(recipients, truncated, _over_time(sync, after, same_field=same_field), "Execute")
    if not truncated and (not again or _same_text(executed, again)):
        seen.check_rows(recipients.returned)
    return result


async def _from_execution(executed: Executed, sync: QuerySync, nexthink: NexthinkClient, wanted: Wanted) -> QueryResult:
    """The rows that an execution returned."""
    recipients = wanted.recipients()
    for _ in recipients.add_all([_cell(row) for row in executed.rows]):
        await nexthink.pause()
    return _result(recipients, executed.truncated, sync, "Execute")


async def _from_export(
    spec: NexthinkSpec, nexthink: NexthinkClient, wanted: Wanted, why: str, begin_with: ResultSource | None = None
) -> QueryResult:
    """The result from an export alone. It is unknown which text Nexthink ran."""
    sync = QuerySync(None, f"{why}, so the result comes from an export. {_NEXT}")
    export = await nexthink.start_export(spec.query_id, spec.parameters or {})
    if not wanted.rows:
        return QueryResult(
            wanted.recipients(), False, sync, begin_with, read=False
        )  # nor is it known whether the export works
    await export.wait()
    recipients = await _read(export, wanted)
    if not recipients.returned:
        check_empty(export.header, spec.query)
    return _result(recipients, export.truncated, sync, begin_with)


async def _read(export: ResultExport, wanted: Wanted, seen: Seen | None = None) -> Recipients:
    """Read the people of an export, and compare it with what the execution before it returned."""
    room: int | None = None
    for again in (False, True):
        before, room = room, await wanted.reserve(again) if wanted.reserve else None
        if again and room == before:
            break  # that was already the most
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
    """Read the people of an export. Raises `NoRoom` if they take more than `room` bytes."""
    recipients = wanted.recipients(room)

    def restart() -> None:
        nonlocal recipients
        recipients = wanted.recipients(room)
        if seen:
            seen.restart()

    async with aclosing(export.rows(restart)) as rows:
        async for part in rows:
            _one_field(part.columns)
            if seen:
                seen.take(part.cells)
            for _ in recipients.add_all(part.cells):
                if export.time_is_up:
                    await export.pause()
            if recipients.full:
                break
    return recipients


async def _executed_again(
    spec: NexthinkSpec, nexthink: NexthinkClient, compare: Compare, wanted: Wanted
) -> tuple[Executed | None, QuerySync]:
    """Execute the query again after its export, and compare its text."""
    try:
        again = await nexthink.execute(spec.query_id, spec.parameters or {}, patient=wanted.patient)
    except Transient as error:
        if not error.received:
            raise
        return None, QuerySync(None, f"Nexthink failed to execute the query again after the export. {_NEXT}")
    _one_field(again.columns)
    return again, await compare(spec, again.executed_query) or _TEXT_UNKNOWN


def _result(recipients: Recipients, truncated: bool, sync: QuerySync, begin_with: ResultSource | None) -> QueryResult:
    if recipients.returned and not recipients:
        counts = recipients.counts
        what = f"The query returned {counts.returned} rows, but no e-mail address among them: {counts.empty} are empty"
        raise Permanent(Reason.QUERY_RETURNS_NO_EMAIL, f"{what}, and {counts.invalid} are not addresses")
    return QueryResult(recipients, truncated, sync, begin_with)


def _over_time(before: QuerySync, after: QuerySync, *, same_field: bool) -> QuerySync:
    """Whether the query of an export is in sync, by the comparisons before and after the export."""
    if before.in_sync is False:
        return before
    if after.in_sync is False:
        return QuerySync(False, f"{after.message} {_CHANGED}")
    if not same_field:
        return QuerySync(False, f"{Reason.QUERY_DRIFT.meaning} {_CHANGED} {Reason.QUERY_DRIFT.next_step}")
    return before if before.in_sync is None else after


_NEXT = f"{Reason.QUERY_NOT_COMPARED.meaning} {Reason.QUERY_NOT_COMPARED.next_step}"
_TEXT_UNKNOWN = QuerySync(
    None,
    "Nexthink did not say which query it ran, so the query cannot be compared with spec.nexthink.query. "
    "If spec.nexthink.driftPolicy is Hold, set it to Warn to run anyway.",
)
_CHOSEN = "spec.nexthink.resultSource is Export"
_REMEMBERED = "Nexthink failed to execute the query before (status.heavyQuery)"
_CHANGED = "It was changed while its result was exported."


def _same_field(before: Executed, after: Executed) -> bool:
    """Whether both executions returned the same field. If the second one has no rows, its field is unknown."""
    return not after.rows or before.fields == after.fields


def _same_text(before: Executed, after: Executed) -> bool:
    """Whether the query may be the same after the export as before it."""
    texts = before.executed_query, after.executed_query
    return None in texts or texts[0] == texts[1]


def _cell(row: tuple[str, ...]) -> str:
    _one_field(len(row))
    return row[0] if row else ""


def _one_field(columns: int) -> None:
    if columns > 1:
        raise Permanent(Reason.QUERY_RETURNS_SEVERAL_FIELDS, f"The query returns {columns} fields instead of one")
