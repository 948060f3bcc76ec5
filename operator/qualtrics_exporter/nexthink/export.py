"""The complete result of a saved query, read from the file of an export."""

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Self

from qualtrics_exporter.nexthink import operations
from qualtrics_exporter.nexthink.table import NEXT_STEP, Damaged, NoTable, Row, Rows, Table, WrongFormat
from qualtrics_exporter.remote.bodies import Download, TooLarge
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.gunzip import BadGzip
from qualtrics_exporter.remote.polling import growing, poll
from qualtrics_exporter.remote.response import NotUnderstood, Response, TooMuch, get_id, get_text
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.resource.reasons import Reason

EXPORT_DEADLINE = timedelta(hours=1)
"""From the request for an export until its file exists."""
DOWNLOAD_DEADLINE = timedelta(minutes=10)
"""For reading the file, with all tries. Memory is reserved for its people meanwhile, and other runs may wait for it."""
MAX_DOWNLOADS = 5
"""The maximum number of downloads of one file. Its URL is valid for 15 minutes."""


class _Begin:
    """The rows with which a download of the file began: how many, and a digest of them.

    The digest depends on the cells of each row, and not on how the rows are grouped.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, rows: Rows, broken: Self) -> Iterator[Rows]:
        """Add rows, and return them. Raises `NotUnderstood` if the download that broke off began with other rows.

        The rows before the last one of the broken download are returned before the comparison.
        """
        left = broken.rows - self.rows
        if 0 < left <= len(rows):
            yield from self._added(rows.part(0, left - 1))
            self._update(rows.part(left - 1, left))
            if self._digest.digest() != broken._digest.digest():
                raise NotUnderstood("its rows differ from those of the download before, which broke off")
            self._update(rows.part(left))
            yield rows.part(left - 1)
        else:
            yield from self._added(rows)

    def check_end(self, broken: Self) -> None:
        """Raises `NotUnderstood` if the file ends before the place where the other download broke off."""
        if self.rows < broken.rows:
            raise NotUnderstood("it has fewer rows than the download before, which broke off")

    def _added(self, rows: Rows) -> Iterator[Rows]:
        if rows:
            self._update(rows)
            yield rows

    def _update(self, rows: Rows) -> None:
        self.rows += len(rows)
        self._digest.update(_serialized(rows))


def _serialized(rows: Rows) -> bytes:
    """The rows as bytes, which differ for different rows."""
    cells = rows.cells
    text = "\n".join(cells)
    if rows.columns == 1 and "\0" not in text and text.count("\n") == len(cells) - 1:
        return f"{text}\n".encode()
    cells = [cell.replace("\0", "\0\0").replace("\n", "\0n") for cell in cells]
    return "".join("\0,".join(row) + "\n" for row in Rows(cells, rows.columns)).encode()


class ResultExport:
    """The export of a complete result: `start` it, `wait` for its file, and read its `rows`."""

    def __init__(self, session: Session, query_id: str, export_id: str, deadline: float) -> None:
        self.truncated = False
        """The maximum of the licence cut the rows. It is known after `wait`."""
        self._session = session
        self._query_id = query_id
        self._export_id = export_id
        self._deadline = deadline
        self._url = ""
        self._table = Table()

    @classmethod
    async def start(cls, session: Session, query_id: str, parameters: Mapping[str, str]) -> Self:
        """Start an export, and do not wait for its file."""
        deadline = session.clock.monotonic() + EXPORT_DEADLINE.total_seconds()
        operation = operations.start_export(query_id, parameters)
        export_id = await session.call(operation, lambda response: get_id(response.document(), "exportId"))
        return cls(session, query_id, export_id, deadline)

    async def wait(self) -> None:
        """Wait until the file exists, and get a fresh URL for it."""
        operation = operations.export_status(self._query_id, self._export_id)

        async def finished_url() -> str | None:
            status, url, truncated = await self._session.call(operation, _read_status)
            if status == "ERROR":
                what = f"The export of query {self._query_id} ended with an error in Nexthink"
                raise Permanent(Reason.QUERY_REFUSED, what)
            self.truncated = self.truncated or truncated
            return url

        left = self._deadline - self._session.clock.monotonic()
        url = await poll(self._session.clock, finished_url, pauses=growing(1, 15), most=left)
        if url is None:
            what = f"Nexthink did not finish the export of query {self._query_id} in time"
            raise Transient(Reason.REMOTE_UNAVAILABLE, what)
        self._url = url

    async def rows(self, restart: Callable[[], None]) -> AsyncGenerator[Rows, None]:
        """All rows of the file, a part at a time. Close the generator (`aclosing`) unless you read it to its end.

        Other tasks can run between two parts.

        `restart` is called before the first row of each download. A download that breaks starts over from the first
        row, so the caller has to forget the rows that it got before. The file of an export never changes: if the next
        download does not begin with the same rows, it is the file of something else.
        """
        self._deadline = self._session.clock.monotonic() + DOWNLOAD_DEADLINE.total_seconds()
        was_invalid, broken = False, _Begin()
        what = f"Cannot read the export of query {self._query_id}"
        for left in reversed(range(MAX_DOWNLOADS)):
            url = self._session.check_download_url(
                self._url, f"The file of Nexthink's export of query {self._query_id}"
            )
            restart()
            begin = _Begin()
            try:
                async with self._session.download(url, "download") as file, aclosing(self._read(file)) as pieces:
                    async for piece in pieces:
                        for rows in begin.add(piece, broken):
                            yield rows
                begin.check_end(broken)
            except (TooLarge, TooMuch) as limit:
                what = f"The export of query {self._query_id} is too large: {limit}"
                raise Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what) from None
            except NotUnderstood as problem:
                if was_invalid or not left or not isinstance(problem, NoTable | Damaged):
                    next_step = NEXT_STEP if isinstance(problem, WrongFormat) else None
                    raise Transient(Reason.REMOTE_REPLY_INVALID, f"{what}: {problem}", next_step=next_step) from None
                was_invalid = True  # as for any read, one more try
            except (ConnectFailed, ResponseLost, BadGzip) as failure:
                if not left or self._session.clock.monotonic() > self._deadline:
                    if isinstance(failure, ConnectFailed):
                        text = f"{what}: {failure}"
                        raise Transient(Reason.REMOTE_UNAVAILABLE, text, next_step=failure.next_step) from failure
                    status = failure.status if isinstance(failure, ResponseLost) else None
                    raise Transient(Reason.REMOTE_UNAVAILABLE, what, status=status) from failure
                broken = max(broken, begin, key=lambda one: one.rows)
            else:
                return
            await self._session.clock.sleep(MAX_DOWNLOADS - left)
            await self.wait()

    @property
    def time_is_up(self) -> bool:
        """Whether `pause` would let other tasks run now."""
        return self._session.time_is_up

    async def pause(self) -> None:
        """Let other tasks run if this one has used its time."""
        await self._session.pause()

    async def _read(self, file: Download) -> AsyncGenerator[Rows, None]:
        if not 200 <= file.status < 300:
            raise ResponseLost("the file is refused", file.status)  # its URL may have expired
        table = self._table = Table()
        async with aclosing(file.pieces(self._check_deadline)) as pieces:
            async for piece in pieces:
                for rows in table.feed(piece):
                    if rows is not None:
                        yield rows
                    # This also covers the work that the reader does for these rows.
                    if self._session.time_is_up:
                        await self._session.pause()
            if not file.end_is_known:
                # A packed member with a correct checksum is not proof: more members may have followed.
                raise Damaged("the response has neither a length nor chunks, so it may be incomplete")
            for rows in table.close():
                if rows is not None:
                    yield rows
                if self._session.time_is_up:
                    await self._session.pause()

    @property
    def header(self) -> Row | None:
        """The header line of the file; None before it was read."""
        return self._table.header

    @property
    def columns(self) -> int:
        """The number of fields that the query returns; 0 if unknown."""
        return len(self.header or ())

    def _check_deadline(self) -> None:
        if self._session.clock.monotonic() > self._deadline:
            raise NotUnderstood(f"it takes more than {DOWNLOAD_DEADLINE.total_seconds() / 60:g} minutes")


def _read_status(response: Response) -> tuple[str, str | None, bool]:
    """The status, the URL of the file if it exists, and whether the licence cut the rows."""
    document = response.document()
    status = get_text(document, "status").upper()
    done = status in ("COMPLETED", "COMPLETE")
    return status, get_text(document, "resultsFileUrl") if done else None, response.status == 206
