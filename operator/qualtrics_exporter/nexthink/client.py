"""Nexthink's NQL API: saved queries in, rows out.

Paths, keys and statuses as the vendor documents them; where it does not (`executedQuery`, bodies of errors, what an
expired export URL answers), anything is taken that can be understood.
"""

import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from qualtrics_exporter.fair_share import NOBODY, Tenant
from qualtrics_exporter.nexthink.table import WHAT_TO_DO, Damaged, NoTable, Row, Table, WrongFormat
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.remote.gunzip import BadGzip
from qualtrics_exporter.remote.polling import poll
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.response import (
    NotUnderstood,
    Response,
    TooMuch,
    get_code_or_none,
    get_count_or_none,
    get_id,
    get_list,
    get_path,
    get_text,
)
from qualtrics_exporter.remote.service import json_object
from qualtrics_exporter.remote.session import (
    ApiContext,
    Credentials,
    Operation,
    RetryPolicy,
    Service,
    Session,
    compact,
    segment,
)
from qualtrics_exporter.remote.transport import ConnectFailed, Download, ResponseLost, TooLarge
from qualtrics_exporter.resource.reasons import Reason

MOST_ROWS = 1000
"""What one execution returns at most, without a mark that there was more."""

QUERIES = Rate("queries", 1, 1.1)
"""1 a second, and a little for the jitter of the network."""

EXECUTE_TRIES = 3
EXECUTE_SECONDS = 20.0
"""How often an execution is tried, and for how long each time, before an export takes its place: at most about a minute
in all. Executions are meant for small requests: clients report that they end after about 5 s (docs/facts/nexthink.md
section 1)."""

EXPORT_DEADLINE = timedelta(hours=1)
"""From the request for an export until its file is there."""
LONGEST_CELL = 400
"""Characters. An address has 254 at most."""
DOWNLOAD_DEADLINE = timedelta(minutes=10)
"""For reading the file, with all tries: memory is held for its people meanwhile, for which other runs may wait."""
DOWNLOADS = 5
"""How often the file of one export is begun, at most: its URL is good for 15 minutes."""

_REFUSED = {
    400: Reason.QUERY_REFUSED,
    403: Reason.QUERY_NOT_PERMITTED,
    404: Reason.QUERY_NOT_FOUND,
    422: Reason.QUERY_REFUSED,
}


def _own(reply: Response) -> bool:
    """Whether Nexthink may have written this refusal: JSON, or no body, which it never does with 403 (facts section 1).

    Its documents differ too much to ask for more, and no call to Nexthink has an effect that must not be repeated.
    """
    return json_object(reply) is not None or (reply.empty and reply.status != 403)


NEXTHINK = Service(
    key="nexthink", name="NexthinkClient", codes=lambda document: (get_code_or_none(document, "code"), None), own=_own
)  # fmt: skip


@dataclass(frozen=True)
class Executed:
    """What one execution of a query returned."""

    columns: int
    """0 when unknown, because there is no row."""
    rows: list[tuple[str, ...]] = field(repr=False)
    executed_query: str | None = field(repr=False)
    """The NQL that really ran, if Nexthink tells."""
    complete: bool
    """False when as many rows came as an execution returns at most: there may be more."""
    truncated: bool
    """The licence's maximum cut the rows."""
    fields: tuple[str, ...] = ()
    """The name of the column, if there are rows that tell it; of several columns, nothing is kept."""


class NexthinkClient:
    """Nexthink as one credential sees it."""

    def __init__(self, remotes: ApiContext, credentials: Credentials, tenant: Tenant = NOBODY) -> None:
        self._remote = Session(remotes, credentials, NEXTHINK, tenant)

    async def check_credentials(self) -> None:
        """See that a token can be had, and that the API's own URL may be used."""
        self._remote.base()
        await self._remote.token()

    async def pause(self) -> None:
        """Let others work, if this has worked for long enough. To be called between rows."""
        await self._remote.pause()

    async def execute(self, query_id: str, parameters: Mapping[str, str], *, patient: bool = True) -> Executed:
        """Run a saved query and take what comes at once, 1,000 rows at most.

        A caller that is not `patient` has another way if Nexthink fails to answer: it is told after few short tries,
        by a `Transient` that was `heard`.
        """
        return await self._remote.call(
            Operation(
                operation="execute",
                task=f"run query {query_id}",
                method="POST",
                path="/api/v2/nql/execute",
                body=compact(_query(query_id, parameters)),
                repeat=RetryPolicy.READ,
                refused=_REFUSED,
                rates=(QUERIES,),
                heard_tries=None if patient else EXECUTE_TRIES,
                seconds=None if patient else EXECUTE_SECONDS,
            ),
            _executed,
        )

    def export(self, query_id: str, parameters: Mapping[str, str]) -> "Export":
        """Have a saved query's whole result: `async with` it, then `async for` its rows."""
        return Export(self._remote, query_id, parameters)


class Export:
    """A whole result, streamed. `truncated` is known once it is entered, `header` once a row was read or all were."""

    def __init__(self, remote: Session, query_id: str, parameters: Mapping[str, str]) -> None:
        self.truncated = False
        self._table = Table()
        self._remote = remote
        self._query_id = query_id
        self._parameters = parameters
        self._export_id = ""
        self._url = ""
        self._deadline = 0.0
        self._rows: AsyncGenerator[tuple[str, ...], None] | None = None

    async def start(self) -> None:
        """Have Nexthink begin, and wait for nothing. It refuses a query that it cannot run."""
        self._deadline = self._remote.clock.monotonic() + EXPORT_DEADLINE.total_seconds()
        self._export_id = await self._remote.call(
            Operation(
                operation="export",
                task=f"export query {self._query_id}",
                method="POST",
                path="/api/v1/nql/export",
                body=compact({**_query(self._query_id, self._parameters), "compression": "GZIP"}),
                repeat=RetryPolicy.READ,
                refused=_REFUSED,
                rates=(QUERIES,),
            ),
            lambda reply: get_id(reply.document(), "exportId"),
        )

    async def __aenter__(self) -> Self:
        await self.start()
        self._url = await self._finished()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.begin_again()

    async def begin_again(self) -> None:
        """Stop reading. Whoever reads next gets all rows, from the first one on."""
        if self._rows is not None:
            await self._rows.aclose()
            self._rows = None

    def __aiter__(self) -> AsyncGenerator[tuple[str, ...], None]:
        if self._rows is None:
            self._rows = self._all()
        return self._rows

    async def _finished(self) -> str:
        """Wait until the file is there; its URL, good for 15 minutes."""
        ask = Operation(
            operation="status",
            task=f"tell how the export of query {self._query_id} stands",
            path=f"/api/v1/nql/status/{segment(self._export_id)}",
            repeat=RetryPolicy.READ,
        )

        async def done() -> str | None:
            status, url, truncated = await self._remote.call(ask, _status)
            if status == "ERROR":
                what = f"Nexthink ended the export of query {self._query_id} with an error"
                raise Permanent(Reason.QUERY_REFUSED, what)
            self.truncated = self.truncated or truncated
            return url

        left = self._deadline - self._remote.clock.monotonic()
        if url := await poll(self._remote.clock, done, first=1, longest=15, most=left):
            return url
        what = f"Nexthink did not finish the export of query {self._query_id} in time"
        raise Transient(Reason.REMOTE_UNAVAILABLE, what)

    async def _all(self) -> AsyncGenerator[tuple[str, ...], None]:
        """Each row once, whatever happens to the download: it begins anew, and what was seen is passed over."""
        self._deadline = self._remote.clock.monotonic() + DOWNLOAD_DEADLINE.total_seconds()
        seen, misread = _Seen(), False
        what = f"The export of query {self._query_id} cannot be read"
        for left in reversed(range(DOWNLOADS)):
            url = self._remote.allowed_download(self._url, f"The file of Nexthink's export of query {self._query_id}")
            seen.begin()
            try:
                async with self._remote.download(url, "download") as file, aclosing(self._read(file)) as rows:
                    async for row in rows:
                        if seen.is_new(row):
                            yield row
                seen.end()
            except (TooLarge, TooMuch) as limit:
                what = f"The export of query {self._query_id} is too large: {limit}"
                raise Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what) from None
            except NotUnderstood as why:
                if misread or not left or not isinstance(why, NoTable | Damaged):
                    next_step = WHAT_TO_DO if isinstance(why, WrongFormat) else None
                    raise Transient(Reason.REMOTE_REPLY_INVALID, f"{what}: {why}", next_step=next_step) from None
                misread = True  # as with any read: a second look, at a fresh URL, and no more
            except (ConnectFailed, ResponseLost, BadGzip) as trouble:
                if not left or self._remote.clock.monotonic() > self._deadline:
                    if isinstance(trouble, ConnectFailed):
                        told = f"{what}: {trouble}"
                        raise Transient(Reason.REMOTE_UNAVAILABLE, told, next_step=trouble.next_step) from trouble
                    status = trouble.status if isinstance(trouble, ResponseLost) else None
                    raise Transient(Reason.REMOTE_UNAVAILABLE, what, status=status) from trouble
            else:
                return
            await self._remote.clock.sleep(DOWNLOADS - left)
            self._url = await self._finished()

    async def _read(self, file: Download) -> AsyncGenerator[tuple[str, ...], None]:
        if not 200 <= file.status < 300:
            raise ResponseLost("the file is refused", file.status)  # its URL may have expired
        table = self._table = Table()
        async with aclosing(file.pieces(self._check_deadline)) as pieces:
            async for piece in pieces:
                for row in table.feed(piece):
                    if row is not None:
                        yield row
                    # Also covers what the reader of the rows does with each.
                    if self._remote.time_is_up:
                        await self._remote.pause()
            if not file.end_is_known:
                # A packed part with a correct checksum does not help: others may have followed it.
                raise Damaged("nobody knows whether it is whole, as the reply has neither a length nor chunks")
            for row in table.close():
                if row is not None:
                    yield row
                if self._remote.time_is_up:
                    await self._remote.pause()

    @property
    def header(self) -> Row | None:
        """The header line of the file that is read."""
        return self._table.header

    @property
    def columns(self) -> int:
        """How many fields the query returns; 0 when unknown."""
        return len(self.header or ())

    def _check_deadline(self) -> None:
        if self._remote.clock.monotonic() > self._deadline:
            raise NotUnderstood(f"it takes more than {DOWNLOAD_DEADLINE.total_seconds() / 60:g} minutes")


def _query(query_id: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"queryId": query_id, **({"parameters": dict(parameters)} if parameters else {})}


def _executed(reply: Response) -> Executed:
    document = reply.document()
    data = get_list(document, "data")
    columns: dict[str, None] = {}
    for row in data[:MOST_ROWS]:  # if there are more, the export has them
        if not isinstance(row, dict):
            raise NotUnderstood("a row of its data is no object")
        columns.update(dict.fromkeys(row))
    executed = get_path(document, "executedQuery")
    only = next(iter(columns), "") if len(columns) <= 1 else None
    return Executed(
        columns=max(1, len(columns)) if data else 0,
        # Rows of several columns are refused unseen: kept, they would take rows times columns.
        rows=[] if only is None else [(_cell(row.get(only)),) for row in data[:MOST_ROWS]],
        executed_query=executed if isinstance(executed, str) else None,
        complete=max(len(data), get_count_or_none(document, "rows") or 0) < MOST_ROWS,
        truncated=reply.status == 206,
        fields=tuple(columns) if only is not None else (),
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    # A list or an object is not an address, and neither is a long text: a run keeps all cells for a while. It is not
    # cut, because its beginning may look like an address.
    text = str(value).strip(" ") if isinstance(value, str | int | float) else ""
    return text if len(text) <= LONGEST_CELL and (text or value == "") else "?"


def _status(reply: Response) -> tuple[str, str | None, bool]:
    document = reply.document()
    status = get_text(document, "status").upper()
    done = status in ("COMPLETED", "COMPLETE")
    return status, get_text(document, "resultsFileUrl") if done else None, reply.status == 206


class _Seen:
    """Tells the rows of a repeated download from those that were given out before, and that those are the same."""

    def __init__(self) -> None:
        self._given = self._mark = self._number = self._again = 0

    def begin(self) -> None:
        """The file begins anew."""
        self._number = self._again = 0

    def is_new(self, row: tuple[str, ...]) -> bool:
        """Whether this row was not given out before."""
        self._number += 1
        if self._number > self._given:
            self._given, self._mark = self._number, _mark(row, self._mark)
            return True
        self._again = _mark(row, self._again)
        if self._number == self._given and self._again != self._mark:
            raise NotUnderstood("its rows are others than a moment ago")
        return False

    def end(self) -> None:
        """The file ends here."""
        if self._number < self._given:
            raise NotUnderstood("it has fewer rows than a moment ago")


def _mark(row: tuple[str, ...], before: int) -> int:
    return zlib.crc32("\0".join((*row, "")).encode(errors="surrogatepass"), before)
