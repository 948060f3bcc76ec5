"""The object store with the files of exports, on its own origin with pre-signed URLs (Nexthink §1).

A URL is valid for 15 minutes (D), and a request with an `Authorization` header is a 400 (S). Unknown, and decided here:
an expired URL is a 403 with XML, as in other stores of this kind. The store writes the CSV while the client reads it,
so a million rows are never in memory.
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
"""ZSTD is documented too, but the sandbox refuses it."""

ROWS_PER_CHUNK = 2000


@dataclass
class SignedFile:
    """The file of a pre-signed URL."""

    export_id: str
    query: Query
    compression: str
    expires_at: float


class ObjectStore:
    """Serves the files for which `sign` has made URLs."""

    def __init__(self, account: Account, clock: Clock, middleware: Middleware) -> None:
        self._account = account
        self._clock = clock
        self._middleware = middleware
        self._signed: dict[str, SignedFile] = {}
        self.url = ""

    def mount(self, app: web.Application) -> None:
        self._middleware.route(
            app, "nexthink", "GET", "/exports/{name}", "download", self.download, status_reply=status_reply
        )

    def sign(self, export_id: str, query: Query, compression: str) -> str:
        """A new URL for the file of an export that has ended."""
        signature = secrets.token_hex(16)
        lifetime = self._account.download_seconds
        expires_at = self._clock.monotonic() + lifetime
        self._signed[signature] = SignedFile(export_id, query, compression, expires_at)
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
        writer.writerows(islice(source, ROWS_PER_CHUNK))
        if not (chunk := text.getvalue()):
            return
        yield chunk.encode()
        await asyncio.sleep(0)  # let other requests run


async def gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes as a gzip file."""
    packer = zlib.compressobj(level=1, wbits=31)
    async for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def status_reply(status: int) -> Reply:
    """A reply with this status, for a fault or a bug in the sandbox."""
    return _xml(status, "InternalError" if status >= 500 else "AccessDenied", "Injected by the sandbox.")


def _xml(status: int, code: str, message: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})
