"""Whom to mail: from the saved query to recipients.

A result of fewer than 1,000 rows comes at once, together with the text that really ran. Exactly 1,000 may be the first
1,000 of many: then the full set is exported, and only its rows count. An export does not tell which text ran, and it
may begin many minutes later. So the query is executed once more after it, and the text has to be the right one both
times.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.nexthink.client import Executed, Export, Nexthink
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NexthinkSpec

from .journal import QuerySync
from .recipients import NoRoom, Recipients

Compare = Callable[[NexthinkSpec, str | None], Awaitable[QuerySync | None]]
"""Tells whether the text that Nexthink ran is the query of the spec."""

Reserve = Callable[[bool], Awaitable[int | None]]
"""Waits for memory for the people of a result, and tells how many bytes they may take; None if there is no limit. With
True it gives back what it has, and waits for as much as a result may have at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the query returned. `sync` is None when Nexthink did not say, or not each time, what it ran."""

    recipients: Recipients
    truncated: bool
    sync: QuerySync | None


async def ask(
    spec: NexthinkSpec,
    nexthink: Nexthink,
    compare: Compare,
    *,
    limit: int | None = None,
    keep: int | None = None,
    reserve: Reserve | None = None,
) -> Answer:
    """Execute the query and take in its people, `limit` of them at most (then nothing is exported).

    Of more than `keep` people, so many are kept, and all are counted. `reserve` gets memory for a result of unknown
    size when its file is there. Nexthink may take long to prepare the file, or never finish it, and nothing has to be
    held for it meanwhile. If the addresses are so long that the people need more memory, it is asked once more, and the
    file is read again.

    Raises `Permanent` for an answer that cannot be one of a right query: several fields, or rows without any address;
    also if the people take more memory than there is for one result.
    """
    parameters = spec.parameters or {}
    executed = await nexthink.execute(spec.query_id, parameters)
    _one_field(executed.columns)
    recipients, truncated = Recipients(limit=limit, keep=keep), executed.truncated
    sync = await compare(spec, executed.executed_query)
    if executed.complete or limit is not None:
        for row in executed.rows:
            if recipients.full:
                break
            recipients.add(_cell(row))
            await nexthink.pause()
    else:
        async with nexthink.export(spec.query_id, parameters) as rows:
            recipients = await _read(rows, limit=limit, keep=keep, reserve=reserve)
            truncated = truncated or rows.truncated
        again = await nexthink.execute(spec.query_id, parameters)
        _one_field(again.columns)
        truncated = truncated or again.truncated
        sync = _over_time(sync, await compare(spec, again.executed_query), same_field=_same_field(executed, again))
    if recipients.returned and not recipients:
        counts = recipients.counts
        what = f"The query returned {counts.returned} rows, but no e-mail address among them: {counts.empty} are empty"
        raise Permanent(Reason.QUERY_RETURNS_NO_EMAIL, f"{what}, and {counts.invalid} are not addresses")
    return Answer(recipients, truncated, sync)


async def _read(rows: Export, *, limit: int | None, keep: int | None, reserve: Reserve | None) -> Recipients:
    """Take in the people of an export."""
    room: int | None = None
    for again in (False, True):
        before, room = room, await reserve(again) if reserve else None
        if again and room == before:
            break  # it was the most already
        recipients = Recipients(limit=limit, keep=keep, room=room)
        try:
            async for row in rows:
                recipients.add(_cell(row))  # the export itself lets others work between two rows
        except NoRoom:
            del recipients  # its memory is given back before more is waited for
            await rows.begin_again()
        else:
            return recipients
    what = (
        f"The people of the result take more than {(room or 0) >> 20} MiB of memory, because their addresses are long"
    )
    raise Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what)


def _over_time(before: QuerySync | None, after: QuerySync | None, *, same_field: bool) -> QuerySync | None:
    """What the two comparisons around an export say of the query whose rows were exported."""
    if before and not before.in_sync:
        return before
    if after and not after.in_sync:
        return QuerySync(False, f"{after.message} {_CHANGED}")
    if not same_field:
        return QuerySync(False, f"{Reason.QUERY_DRIFT.meaning} {_CHANGED} {Reason.QUERY_DRIFT.next_step}")
    return before and after


_CHANGED = "It was changed while its result was exported."


def _same_field(before: Executed, after: Executed) -> bool:
    """Whether both times the same field was returned; the second time, no row may be left to tell."""
    return not after.rows or before.fields == after.fields


def _cell(row: tuple[str, ...]) -> str:
    _one_field(len(row))
    return row[0] if row else ""


def _one_field(columns: int) -> None:
    if columns > 1:
        raise Permanent(Reason.QUERY_RETURNS_SEVERAL_FIELDS, f"The query returns {columns} fields instead of one")
