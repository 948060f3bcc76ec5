"""A server that floods its clients, over TLS: `python -m tests.faults.flood_server CERTIFICATE`.

It is a separate process, so that its time and memory do not count as those of the operator. Each flood has a path,
`/NUMBER`, with a token endpoint at `/NUMBER/oauth2/token`, for the `url` of a Secret. Standard output has the port.
`FLOODS` has all floods.
"""

import argparse
import asyncio
import gzip
import json
import logging
import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from typing import Any

MB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
EMPTY_MEMBER = gzip.compress(b"", mtime=0)

Reply = Callable[[], Iterable[bytes]]
"""The bytes of a complete reply, with its head."""


@dataclass(frozen=True)
class Flood:
    """A reply, and the call that gets it: token, execute, export, survey or pages."""

    call: str
    reply: Reply
    at_once: int = 1
    """How many requests are made at the same time."""
    outcome: str = "RemoteReplyTooLarge"
    """How the call ends: a reason, or "done" if the reply is valid."""


def body(*pieces: bytes) -> Reply:
    return lambda: (OK, *pieces)


def document(value: Any) -> Reply:
    return body(json.dumps(value, ensure_ascii=False).encode())


def rows(addresses: Iterable[str]) -> dict[str, Any]:
    return {"data": [{"user.ad.email_address": address} for address in addresses]}


def idn(number: int) -> str:
    """An address whose domain must be encoded, and then has about 250 characters."""
    label = "".join(chr(0x4E00 + (number * 31 + place * 7) % 0x4000) for place in range(18))
    return f"a@{'.'.join([label] * 3)}.com"


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    yield OK
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def chunks() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from repeat(b"1\r\nx\r\n" * 10_000, 60)
    yield b"0\r\n\r\n"


def interim() -> Iterator[bytes]:
    yield from repeat(b"HTTP/1.1 100 \r\n\r\n" * 4000, 5)
    yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def header_lines() -> Iterator[bytes]:
    yield b"HTTP/1.1 404 Not Found\r\n" + b"a:\r\n" * 24_000 + b"Content-Length: 0\r\n\r\n"


HEADER = b"user.ad.email_address\n"


def people(count: int) -> Iterator[bytes]:
    """A file with so many thousand people."""
    yield HEADER
    for block in range(count):
        yield b"".join(b"firstname.%08d@example.com\n" % (block * 1000 + number) for number in range(1000))


@cache
def keys() -> bytes:
    """400,000 keys."""
    return json.dumps({f"{number:x}": 1 for number in range(400_000)}).encode()


NESTED = b"[" * (3 * MB)
CHOICES = {str(number): {"description": "Fine", "choiceText": "Fine, thank you"} for number in range(8)}
QUESTIONS = {f"QID{n}": {"questionText": "<p>How are you, really?</p>" * 4, "choices": CHOICES} for n in range(2000)}

FLOODS: dict[str, Flood] = {
    # JSON
    "a different key in each row": Flood(
        "execute", document({"data": [{f"{n:x}": 1} for n in range(9000)]}), outcome="QueryReturnsSeveralFields"
    ),
    "400,000 keys in a row": Flood("execute", lambda: (OK, b'{"data":[', keys(), b"]}")),
    "a million empty objects": Flood("execute", body(b'{"data":[', b"{}," * 1_000_000, b"{}]}")),
    "12 MB of spaces": Flood("execute", lambda: chain((OK,), repeat(b" " * 65536, 192))),
    "JSON of three million levels": Flood("execute", body(NESTED)),
    "JSON of 50,000 levels": Flood("execute", body(b"[" * 50_000)),
    "integers of 4,000 digits": Flood(
        "execute", body(b'{"data":[', b",".join([b"9" * 4000] * 900), b"]}"), outcome="RemoteReplyInvalid"
    ),
    "a text of 3 MB as an address": Flood("execute", document(rows(["é" * 1_500_000])), outcome="QueryReturnsNoEmail"),
    "a thousand long IDN addresses": Flood("execute", document(rows(map(idn, range(999)))), outcome="done"),
    "an executed query of 39,000 characters": Flood(
        "execute",
        document({**rows(["a@example.com"]), "executedQuery": "users | where a == (1) " * 1700}),
        outcome="done",
    ),
    "JSON that unpacks to 100 MB": Flood("execute", lambda: packed(repeat(b" " * MB, 100))),
    "25 MB of empty gzip members as JSON": Flood("execute", lambda: chain((OK,), repeat(EMPTY_MEMBER * 3000, 417))),
    "a token of 3 MB": Flood("token", document({"access_token": "x" * 3 * MB, "expires_in": 60})),
    "a token beside 100,000 keys": Flood("token", lambda: (OK, keys())),
    "a survey of 2 MB": Flood(
        "survey", document({"result": {"isActive": True, "questions": QUESTIONS}}), outcome="done"
    ),
    "400,000 keys in a survey": Flood("survey", lambda: (OK, b'{"result":', keys(), b"}")),
    "an error of 60,000 brackets": Flood(
        "survey",
        lambda: (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"[" * 60_000),
        outcome="RemoteReplyInvalid",
    ),
    "next pages of 3 MB each": Flood(
        "pages",
        document({"result": {"elements": [], "nextPage": "https://localhost/" + "x" * 3 * MB}}),
        outcome="HostNotAllowed",
    ),
    "a page of 100,000 elements": Flood(
        "pages", document({"result": {"elements": [{"directoryId": "POOL_1"}] * 100_000, "nextPage": None}})
    ),
    # HTTP
    "24,000 header lines": Flood("survey", header_lines, outcome="RemoteUnavailable"),
    "24,000 header lines, 20 at once": Flood("survey", header_lines, 20, outcome="RemoteUnavailable"),
    "20,000 interim replies, 5 at once": Flood("survey", interim, 5, outcome="RemoteReplyInvalid"),
    "chunks of one byte": Flood("survey", chunks),
    # Files of exports
    "25 MB of empty gzip members": Flood("export", lambda: chain((OK,), repeat(EMPTY_MEMBER * 3000, 417))),
    "gzip members of empty gzip members": Flood(
        "export", lambda: chain((OK,), repeat(gzip.compress(EMPTY_MEMBER * 20_000, mtime=0) * 10, 40))
    ),
    "600 MB of empty rows": Flood("export", lambda: packed(chain([HEADER], repeat(b"\n" * MB, 600)))),
    "600 MB of zeros after the end": Flood("export", lambda: chain(packed([HEADER]), repeat(b"\0" * MB, 600))),
    "a million people, 100 wanted": Flood("export", lambda: packed(people(1000)), outcome="done"),
    "more than a million rows": Flood("export", lambda: packed(people(1001))),
    "60,000 people, 100 wanted": Flood("export", lambda: packed(people(60)), outcome="done"),
    "300 long IDN addresses": Flood(
        "export", lambda: packed(chain((HEADER,), (f"{idn(n)}\n".encode() for n in range(300)))), outcome="done"
    ),
    "3,000 long IDN addresses": Flood(
        "export", lambda: packed(chain((HEADER,), (f"{idn(n)}\n".encode() for n in range(3000)))), outcome="done"
    ),
    "long IDN addresses, 20 at once": Flood(
        "export", lambda: packed(chain((HEADER,), (f"{idn(n)}\n".encode() for n in range(200)))), 20, outcome="done"
    ),
    "a header line of 1 MB": Flood("export", body(b"x" * MB, b"\n", HEADER * 1000)),
    "30,000 columns": Flood(
        "export", body(b"a," * 30_000 + b"\n", b"," * 30_000 + b"\n"), outcome="QueryReturnsSeveralFields"
    ),
    "quoted line ends without end": Flood(
        "export", lambda: chain((OK, HEADER, b'"'), repeat(b"\n" * 65536, 200)), outcome="RemoteReplyInvalid"
    ),
    "a quote in every row": Flood(
        "export", lambda: chain((OK, HEADER), repeat(b'"a"\n' * 16_384, 60)), outcome="QueryReturnsNoEmail"
    ),
    "rows in chunks of one byte": Flood("export", chunks, outcome="RemoteReplyTooLarge"),
}


LONG = {
    "600 MB of empty rows",
    "600 MB of zeros after the end",
    "a million people, 100 wanted",
    "more than a million rows",
    "3,000 long IDN addresses",
    "long IDN addresses, 20 at once",
    "a quote in every row",
}
"""Floods that take more than a few seconds."""
LONG_IN_MEMORY = LONG | {
    "a million empty objects",
    "a thousand long IDN addresses",
    "an executed query of 39,000 characters",
    "24,000 header lines, 20 at once",
    "20,000 interim replies, 5 at once",
    "rows in chunks of one byte",
    "a page of 100,000 elements",
    "300 long IDN addresses",
}
"""Floods that take more than a few seconds if each allocation is counted. A shorter one of each kind remains."""


async def serve(certificate: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    floods = {f"/{number}": flood for number, flood in enumerate(FLOODS.values())}
    server = await asyncio.start_server(lambda r, w: answer(floods, r, w), "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    async with server:
        await server.serve_forever()


async def answer(floods: dict[str, Flood], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        _, _, length = head.lower().partition("content-length: ")
        await reader.readexactly(int(length.split()[0]) if length else 0)
        path = head.split()[1]
        host = head.lower().partition("host: ")[2].split()[0]
        for piece in reply(floods["/" + path.split("/")[1]], path, host):
            if writer.is_closing():
                break
            for at in range(0, len(piece), 65536):
                writer.write(piece[at : at + 65536])
                await writer.drain()
    with suppress(ConnectionError, ssl.SSLError):
        writer.close()


def reply(flood: Flood, path: str, host: str) -> Iterable[bytes]:
    """The flood for its call, and for the calls before it a reply that leads there."""
    start = "/" + path.split("/")[1]
    if path.endswith("/oauth2/token"):
        return flood.reply() if flood.call == "token" else document({"access_token": "x", "expires_in": 3600})()
    if flood.call == "export":
        if path.endswith("/execute"):  # so that the export is not compared with an execution
            return [b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"]
        if path.endswith("/export"):
            return document({"exportId": "e1"})()
        if "/status/" in path:
            return document({"status": "COMPLETED", "resultsFileUrl": f"https://{host}{start}/file"})()
        return chunked(flood.reply())
    return flood.reply()


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same reply in chunks: the client reads a file only if its end is known."""
    for piece in pieces:
        if piece == OK:
            yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        elif piece.startswith(b"HTTP/"):
            yield from (piece, *pieces)
            return
        elif piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("certificate")
    logging.disable()  # clients close connections early
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().certificate))
