"""Bodies of requests and responses. Responses are read within limits on size, memory and the number of pieces.

Bodies are read raw and unpacked here, because httpx unpacks any encoding, to any size.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Self

import httpx

from qualtrics_exporter.remote.failures import ResponseLost, describe
from qualtrics_exporter.remote.gunzip import BadGzip, Gunzip, TooManyMembers
from qualtrics_exporter.remote.paced import PIECE
from qualtrics_exporter.remote.response import SMALL_BODY

LARGEST_BODY = 4 * 1024 * 1024
LARGEST_ERROR = 64 * 1024
MAX_PIECES = 20_000
SMALLEST_PIECE = 64
"""The minimum average of bytes a piece, for a body in more than `MAX_PIECES` pieces: each piece takes far more time
than its bytes."""
CONNECTION_ERRORS = (httpx.HTTPError, httpx.InvalidURL, BadGzip, OSError)
"""OSError: some TLS errors pass through httpx."""


class TooLarge(ResponseLost):
    """The response is larger than any valid one. The text is a clause with the limit that it exceeds."""


class _PieceCounter:
    """Counts the pieces of a body."""

    def __init__(self, status: int) -> None:
        self.bytes = self._count = 0
        self._status = status

    def add(self, piece: bytes) -> None:
        """Raises `TooLarge`."""
        self.bytes += len(piece)
        self._count += 1
        if self._count > MAX_PIECES and self.bytes < self._count * SMALLEST_PIECE:
            raise TooLarge("it comes in too many small pieces", self._status)


class RequestBody:
    """The body of a request, in one piece: a service that answers early closes the connection before further pieces.

    It is freed when it was sent. httpx keeps a request and its body until the garbage collector finds them. Meanwhile,
    a run with a million people would send many more bodies of nearly a megabyte.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece, self._body = self._body, b""
        if not piece:
            raise StopAsyncIteration
        return piece


class Download:
    """The open body of a response. `pieces` are its raw bytes."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.end_is_known = "content-length" in response.headers or "transfer-encoding" in response.headers
        """Whether a truncated body can be told from a complete one. If not, it ends with the connection."""
        self._response = response

    async def pieces(self, arrived: Callable[[], None]) -> AsyncGenerator[bytes, None]:
        """The bytes, in pieces of a useful size. Raises `ResponseLost` if they end too early.

        `arrived` is called after each read from the connection. An error that it raises ends the download.
        """
        piece, counter = bytearray(), _PieceCounter(self.status)
        try:
            async for raw in self._response.aiter_raw():
                arrived()
                counter.add(raw)
                piece += raw
                if len(piece) >= PIECE:
                    yield bytes(piece)
                    piece.clear()
        except CONNECTION_ERRORS as error:
            raise ResponseLost(describe(error), self.status) from None
        if piece:
            yield bytes(piece)


async def read_body(
    response: httpx.Response,
    largest: int,
    reserve_memory: Callable[[], Awaitable[None]],
    pause: Callable[[], Awaitable[None]],
) -> bytes:
    """The complete body, unpacked. The body of an error is optional: b"" if it is too large or damaged.

    `reserve_memory` is called once, when the body exceeds `SMALL_BODY`. Raises `TooLarge`.
    """
    error = response.status_code >= 400
    largest = LARGEST_ERROR if error else largest
    body, unpack, counter = bytearray(), Gunzip(), _PieceCounter(response.status_code)
    try:
        async for raw in response.aiter_raw():
            counter.add(raw)
            for piece in unpack.feed(raw):
                small = len(body) <= SMALL_BODY
                body += piece
                if max(len(body), counter.bytes) > largest:
                    body.clear()  # an error keeps its frames, and a call keeps the errors of all its tries
                    if error:
                        return b""
                    raise TooLarge(f"it has more than {largest // 1024:,} KiB", response.status_code)
                if small and len(body) > SMALL_BODY:
                    await reserve_memory()
                await pause()
        for piece in unpack.close():
            body += piece
    except TooManyMembers:
        if error:
            return b""
        raise TooLarge("it consists of too many gzip members", response.status_code) from None
    except CONNECTION_ERRORS:
        if error:
            return b""  # its status is enough
        raise
    return bytes(body)
