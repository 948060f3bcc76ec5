"""The complete result of a saved query, read from the file of an export."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from qualtrics_exporter.nexthink import operations
from qualtrics_exporter.nexthink.table import NEXT_STEP, Damaged, NoTable, Row, Table, WrongFormat
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


@dataclass(slots=True)
class _Begin:
    """The rows with which a download of the file began: how many, and a number that depends on each of them."""

    rows: int = 0
    mark: int = 0

    def add(self, row: Row, broken: Self) -> None:
        """Add a row. Raises `NotUnderstood` if the download that broke off began with other rows."""
        self.rows, self.mark = self.rows + 1, hash((self.mark, row))
        if self.rows == broken.rows and self.mark != broken.mark:
            raise NotUnderstood("its rows differ from those of the download before, which broke off")

    def check_end(self, broken: Self) -> None:
        """Raises `NotUnderstood` if the file ends before the place where the other download broke off."""
        if self.rows < broken.rows:
            raise NotUnderstood("it has fewer rows than the download before, which broke off")


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

    async def rows(self, restart: Callable[[], None]) -> AsyncGenerator[Row, None]:
        """All rows of the file. Close the generator (`aclosing`) unless you read it to its end.

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
                async with self._session.download(url, "download") as file, aclosing(self._read(file)) as rows:
                    async for row in rows:
                        begin.add(row, broken)
                        yield row
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

    async def _read(self, file: Download) -> AsyncGenerator[Row, None]:
        if not 200 <= file.status < 300:
            raise ResponseLost("the file is refused", file.status)  # its URL may have expired
        table = self._table = Table()
        async with aclosing(file.pieces(self._check_deadline)) as pieces:
            async for piece in pieces:
                for row in table.feed(piece):
                    if row is not None:
                        yield row
                    # This also covers the work that the reader does for each row.
                    if self._session.time_is_up:
                        await self._session.pause()
            if not file.end_is_known:
                # A packed member with a correct checksum is not proof: more members may have followed.
                raise Damaged("the response has neither a length nor chunks, so it may be incomplete")
            for row in table.close():
                if row is not None:
                    yield row
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
