"""The object store of exports: another origin, pre-signed addresses, CSV written while it is read.

Nexthink §1: valid 15 minutes (D); an `Authorization` header is answered 400 (S). What an expired address is
answered is unknown (?): 403 with XML, as the object stores of this kind do. A million rows are never in memory.
"""

import asyncio
import csv
import io
import secrets
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Account, Query
from qualtrics_exporter.sandbox.middleware import Middleware, Reply

COMPRESSIONS = ("NONE", "GZIP")
"""ZSTD is documented too; this sandbox refuses it."""

ROWS_A_CHUNK = 2000


@dataclass
class Signed:
    """What one address leads to."""

    export_id: str
    query: Query
    compression: str
    expires_at: float


class ObjectStore:
    """Serves what `sign` gave addresses to."""

    def __init__(self, account: Account, clock: Clock, middleware: Middleware) -> None:
        self._account = account
        self._clock = clock
        self._middleware = middleware
        self._signed: dict[str, Signed] = {}
        self.url = ""

    def mount(self, app: web.Application) -> None:
        self._middleware.route(app, "nexthink", "GET", "/exports/{name}", "download", self.download, plain=plain)

    def sign(self, export_id: str, query: Query, compression: str) -> str:
        """A fresh address for a finished export."""
        signature = secrets.token_hex(16)
        lifetime = self._account.download_seconds
        expires_at = self._clock.monotonic() + lifetime
        self._signed[signature] = Signed(export_id, query, compression, expires_at)
        name = export_id + (".csv.gz" if compression == "GZIP" else ".csv")
        return f"{self.url}/exports/{name}?X-Amz-Expires={lifetime}&X-Amz-Signature={signature}"

    async def download(self, request: web.Request) -> Reply:
        if "Authorization" in request.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        signed = self._signed.get(request.query.get("X-Amz-Signature", ""))
        if signed is None or request.match_info["name"].partition(".")[0] != signed.export_id:
            return _xml(403, "SignatureDoesNotMatch", "The request signature does not match.")
        if self._clock.monotonic() >= signed.expires_at:
            return _xml(403, "AccessDenied", "Request has expired")
        rows = islice(signed.query.stream(), self._account.limits.nexthink_export_rows)
        mark = b"\xef\xbb\xbf" if self._account.csv_byte_order_mark else b""
        chunks = csv_chunks(signed.query.columns, rows, line_end=self._account.csv_line_end, mark=mark)
        headers = {"Content-Type": "binary/octet-stream", "ETag": f'"{signed.export_id}"'}
        if signed.compression == "GZIP":
            chunks = gzipped(chunks)
            if self._account.download_content_encoding:
                headers["Content-Encoding"] = "gzip"
        return Reply(200, chunks, headers)


async def csv_chunks(
    columns: list[str], rows: Iterable[Sequence[object]], *, line_end: Literal["\n", "\r\n"], mark: bytes = b""
) -> AsyncIterator[bytes]:
    """CSV with a header line, a few thousand rows at a time."""
    source = iter(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(columns)
    yield mark + text.getvalue().encode()
    while True:
        text.seek(0)
        text.truncate()
        writer.writerows(islice(source, ROWS_A_CHUNK))
        if not (chunk := text.getvalue()):
            return
        yield chunk.encode()
        await asyncio.sleep(0)  # others want to be served too


async def gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes as a gzip file."""
    packer = zlib.compressobj(level=1, wbits=31)
    async for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def plain(status: int) -> Reply:
    """An error in the store's words."""
    return _xml(status, "InternalError" if status >= 500 else "AccessDenied", "Ordered by the sandbox.")


def _xml(status: int, code: str, message: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})
