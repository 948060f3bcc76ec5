"""The socket and the routes of the console."""

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Middleware

from qualtrics_exporter.cli.console.form_views import CHECK, DOWNLOAD, KEPT, NEW, OPEN
from qualtrics_exporter.cli.console.routes import Console
from qualtrics_exporter.cli.console.session import NotAllowed, Session
from qualtrics_exporter.cli.console.source import Source
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.clock import Clock
from qualtrics_exporter.pages import serving

HOST = "127.0.0.1"
LARGEST_FORM = 2 * 1024 * 1024
"""In bytes. A manifest is smaller than the 1.5 MB of an object in the API server."""

NAME = "[a-z0-9][a-z0-9.-]*"
"""The characters of names in Kubernetes. A name becomes a part of a path of the API, so no other character may."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(source: Source, clock: Clock, *, port: int = 0) -> AsyncIterator[Session]:
    """Serve the console on loopback. Port 0 is any free port. Raises OSError if the port is not free."""
    listening = socket.create_server((HOST, port))
    session = Session(listening.getsockname()[1])
    console = Console(source, session.base, clock)
    app = web.Application(client_max_size=LARGEST_FORM, middlewares=[_guard(session, console)])
    for method, path, handler in _routes(console):
        app.router.add_route(method, session.base + path, handler)
    # A malformed request would be logged with its headers, so with the cookie, and with a traceback.
    silent = logging.getLogger(f"{__name__}.malformed_requests")
    silent.disabled = True
    runner = web.AppRunner(app, access_log=None, logger=silent, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield session
    finally:
        await runner.cleanup()


def _routes(console: Console) -> list[tuple[str, str, Handler]]:
    exporter = f"exporters/{{namespace:{NAME}}}/{{name:{NAME}}}"
    return [
        ("GET", "", console.list),
        ("GET", "changes", console.changes),
        ("GET", "assets/{name}", serving.asset),
        ("GET", NEW, console.form.new),
        ("POST", CHECK, console.form.check),
        ("POST", DOWNLOAD, console.form.download),
        ("GET", OPEN, console.form.open),
        ("POST", OPEN, console.form.open),
        ("GET", f"{KEPT}/{{key}}", console.form.kept),
        ("GET", exporter, console.exporter),
        ("GET", f"{exporter}/edit", console.edit),
        ("GET", f"{exporter}/run", console.confirm_run),
        ("POST", f"{exporter}/run", console.run),
        ("GET", f"{exporter}/test-with-delivery", console.confirm_delivery),
        ("POST", f"{exporter}/test-with-delivery", console.deliver),
        ("POST", f"{exporter}/test", console.test),
        ("POST", f"{exporter}/suspend", console.suspend),
        ("POST", f"{exporter}/resume", console.resume),
        ("GET", f"{exporter}/resolve/{{run}}", console.confirm_outcome),
        ("POST", f"{exporter}/resolve/{{run}}", console.resolve),
    ]


def _guard(session: Session, console: Console) -> Middleware:
    """The middleware: only this session's pages get an answer, and an error is a page."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if session.begin(request):
                # Not a redirect: the browser would not send the new cookie if a link of another page led here.
                response = console.entered()
                session.remember(response)
                return response
            session.check(request)
        except NotAllowed as refused:
            return console.refused(request, str(refused))
        try:
            return await handler(request)
        except Failed as failed:
            return console.failed(request, failed)
        except web.HTTPNotFound:
            return console.message(request, 404, "Not found", "There is no such page in the console.")
        except web.HTTPException as error:
            if isinstance(error, web.HTTPMethodNotAllowed) and request.method == "GET":
                # The address of a button, without its form. The page with the button is above it.
                return serving.redirect(request.path.rpartition("/")[0])
            return console.message(request, error.status, "Not possible", error.reason)
        except Exception as error:  # noqa: BLE001 - the reader gets a page, and no traceback
            text = f"The console has an internal error ({type(error).__name__}). Please report it."
            return console.message(request, 500, "Not possible", text)

    return guard
