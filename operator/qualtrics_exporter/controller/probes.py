"""Probes and metrics over plain HTTP, on a separate port. A standby serves them too.

`/livez` tells the kubelet whether to restart this process, `/readyz` whether it is ready, and `/metrics` is for
Prometheus. A check is a callable that returns None if all is well, and otherwise a sentence about the problem.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def parse_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`, `:PORT` or `[IPV6]:PORT`. Port 0 is any free port. Raises ValueError with a sentence."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: write HOST:PORT, for example 0.0.0.0:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is not an address: write an IPv6 host in brackets, for example [::]:8080")
    return host, int(port)


@asynccontextmanager
async def serve(
    address: str,
    *,
    metrics: Callable[[], Iterator[bytes]],
    health: Check = lambda: None,
    ready: Check = lambda: None,
) -> AsyncIterator[tuple[str, int]]:
    """Serve while the block runs; yields the host and port that the server listens on. `metrics` returns a page.

    Without a host, the server listens on all IPv4 and IPv6 addresses, or on those of one family if the machine lacks
    the other. Raises OSError if it cannot listen.
    """
    host, port = parse_address(address)
    app = web.Application()
    app.router.add_get("/livez", _probe(health))
    app.router.add_get("/readyz", _probe(ready))
    app.router.add_get("/metrics", _metrics(metrics))
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        bound = runner.addresses[0]
        yield str(bound[0]), int(bound[1])
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    if host:
        await web.TCPSite(runner, host, port).start()
        return
    problems: list[OSError] = []
    for family in ("0.0.0.0", "::"):  # noqa: S104 - the addresses of the pod
        try:
            await web.TCPSite(runner, family, runner.addresses[0][1] if runner.addresses else port).start()
        except OSError as error:
            problems.append(error)
    # The machine may lack one family. A port that is in use is an error in any case.
    if len(problems) == 2 or any(error.errno == errno.EADDRINUSE for error in problems):
        raise problems[0]


def _probe(check: Check) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        try:
            problem = check()
        except Exception as error:
            log.exception("an unexpected error in the check of a probe")
            problem = f"unexpected error in the check: {type(error).__name__}"
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer


def _metrics(page: Callable[[], Iterator[bytes]]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        # Ten thousand exporters take some tenths of a second to format. Runs must continue meanwhile.
        text = page()
        piece = await asyncio.to_thread(next, text, b"")
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
        with contextlib.suppress(ConnectionError):  # the client has left
            await response.prepare(request)
            while piece and request.method != "HEAD":
                await response.write(piece)
                piece = await asyncio.to_thread(next, text, b"")
            await response.write_eof()
        return response

    return answer
