"""A server that misbehaves in ways that the sandbox does not. It sends scripted bytes over real sockets."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from qualtrics_exporter.remote.credentials import ServiceCredentials

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""The response: these bytes, or what a function writes."""

JSON = {"Content-Type": "application/json"}


def answer(
    status: int = 200, body: bytes | str | Mapping[str, Any] = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """A complete and valid response. A mapping becomes JSON."""
    headers = dict(headers or {})
    if isinstance(body, Mapping):
        body, headers = json.dumps(body), {**JSON, **headers}
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status in set(HTTPStatus) else 'Odd'}"]
    lines += [f"{name}: {value}" for name, value in {"Content-Length": str(len(body)), **headers}.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def token(value: str = "a-token", seconds: float = 3600) -> bytes:
    """A response that issues a token."""
    return answer(200, {"access_token": value, "token_type": "Bearer", "expires_in": seconds})


def qualtrics_error(code: str) -> dict[str, object]:
    """The body of an error of Qualtrics."""
    return {"meta": {"httpStatus": "x", "error": {"errorMessage": "no", "errorCode": code}, "requestId": "r-1"}}


def credentials_for(origin: str) -> ServiceCredentials:
    """Credentials for a service and its token endpoint at this origin."""
    return ServiceCredentials(
        source="Secret dex/remote",
        url=origin,
        token_url=f"{origin}/oauth2/token",
        client_id="the-client",
        client_secret="the-secret",
        scope="a b",
    )


def result(**fields: Any) -> bytes:
    """A successful response of Qualtrics."""
    return answer(200, {"result": fields, "meta": {"httpStatus": "200 - OK", "requestId": "r-1"}})


async def silence(writer: asyncio.StreamWriter) -> None:
    """Close the connection without a response."""


@dataclass
class ReceivedRequest:
    """A request that the server received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers each request with the next of its answers, and all further requests with the last one.

    Requests for `/oauth2/token` are answered from `tokens` in the same way.
    """

    answers: list[Answer] = field(default_factory=lambda: [answer()])
    tokens: list[Answer] = field(default_factory=lambda: [token()])
    received_requests: list[ReceivedRequest] = field(default_factory=list)
    token_requests: list[ReceivedRequest] = field(default_factory=list)
    keeps: bool = False
    """Whether connections stay open for further requests."""
    tls: ssl.SSLContext | None = None
    """Needs a certificate for `localhost`."""
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def script(self, *answers: Answer) -> None:
        """Replace the answers, and forget the requests."""
        self.answers = list(answers)
        self.received_requests.clear()

    @property
    def request_count(self) -> int:
        """The number of received requests, without those for tokens."""
        return len(self.received_requests)

    @property
    def token_request_count(self) -> int:
        """The number of requests for tokens."""
        return len(self.token_requests)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        origin = "https://localhost" if self.tls else "http://127.0.0.1"
        self.url = f"{origin}:{self._server.sockets[0].getsockname()[1]}"
        return self

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Within the block, the port is closed."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        self._server.close()
        yield
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self.tls)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(await _read(reader), writer)
                await writer.drain()
                while self.keeps:
                    await self._answer(await _read(reader), writer)
                    await writer.drain()
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        if request.target.startswith("/oauth2/token"):
            self.token_requests.append(request)
            answers = self.tokens
        else:
            self.received_requests.append(request)
            answers = self.answers
        reply = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(reply, bytes):
            writer.write(reply)
        else:
            await reply(writer)


async def _read(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return ReceivedRequest(method, target, headers, body)
