"""gzip, unpacked in small pieces: a megabyte that unpacks to a gigabyte takes a few kilobytes of memory."""

import zlib
from collections.abc import Iterator

PIECE = 16 * 1024
MAX_MEMBERS = 10_000
"""Members of one stream. Tools that pack in parallel write one for each 64 KiB or more. 25 MB can hold a million empty
ones."""
_MAGIC = b"\x1f\x8b"
_HEADER = b"\x1f\x8b\x08"
"""The start of each member: 8 is the only compression method (RFC 1952)."""


class BadGzip(Exception):
    """The stream is damaged, or ends too early."""


class TooManyMembers(Exception):
    """The stream has more members than any tool writes."""


class Gunzip:
    """Bytes in, bytes out in pieces of at most 16 KiB. Other data than gzip passes unchanged.

    The first two bytes decide, and not a header: an object store may or may not declare the encoding of a file that was
    requested compressed. Neither JSON nor CSV can begin with these bytes.
    """

    def __init__(self) -> None:
        self._start: bytes | None = b""  # until two bytes have arrived
        self._unpacker: zlib._Decompress | None = None
        self._packed = False
        self._members = 0
        self._between = b""  # the first byte of a possible next member
        self._over = False
        self._tail = b""  # the first bytes after the last member

    @property
    def maybe_lost(self) -> bool:
        """Whether the bytes after the last member are the header of another one, except for one damaged byte.

        Bytes after the last member are ignored, as gzip does.
        """
        return sum(one == other for one, other in zip(self._tail, _HEADER, strict=False)) == len(_HEADER) - 1

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack bytes. Read the iterator to its end before the next call.

        Each piece is a small amount of work, and may be empty: the caller can let other tasks run in between. Raises
        `BadGzip` and `TooManyMembers`.
        """
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_MAGIC) and _MAGIC.startswith(data):
                self._start = data
                return
            self._start = None
            self._packed = data.startswith(_MAGIC)
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            if self._packed:
                yield from self._unpack(piece)
            else:
                yield piece

    def close(self) -> Iterator[bytes]:
        """The stream has ended. `BadGzip` if it ended too early."""
        if self._unpacker is not None or self._between:
            raise BadGzip
        if self._start:
            yield self._start

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._over:
                self._tail = (self._tail + data)[: len(_HEADER)]
                return
            if self._unpacker is None:
                # A file may be padded, and may have several members.
                data = (self._between + data).lstrip(b"\0")
                self._between = b""
                if not data.startswith(_MAGIC):
                    if _MAGIC.startswith(data):
                        self._between = data
                        return
                    self._over = True
                    continue
                self._members += 1
                if self._members > MAX_MEMBERS:
                    raise TooManyMembers
                self._unpacker = zlib.decompressobj(wbits=31)
            try:
                piece = self._unpacker.decompress(data, PIECE)
            except zlib.error as error:
                raise BadGzip from error
            yield piece
            if self._unpacker.eof:
                data, self._unpacker = self._unpacker.unused_data, None
            else:
                data = self._unpacker.unconsumed_tail
