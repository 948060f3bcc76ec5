"""Responses of aiohttp: pages and assets with headers for security, checks of Host and Origin, the reader's time zone.

The servers listen on loopback. A web page of another site that is open in the same browser could send requests there,
so each request must name the server itself as its host, and a request of a page must come from a page of this server
(https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Fetch-Site).
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from aiohttp import web

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: browsers would then send the Origin of a form as null.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every response. No page loads anything from another host, and no other page can show one in a frame."""

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SAFE_METHODS = frozenset({"GET", "HEAD"})


def html(text: str, status: int = 200) -> web.Response:
    """A page."""
    return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def redirect(path: str) -> web.Response:
    """After a form was handled: the page that shows the result. Reloading it does not send the form again."""
    return web.Response(status=303, headers={**HEADERS, "Location": path})


async def changes(request: web.Request, revisions: AsyncGenerator[str | None, None]) -> web.StreamResponse:
    """Server-sent events: each revision, until the client closes the connection or there are no more.

    None is a comment, by which both sides notice a lost connection.
    """
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
    with suppress(ConnectionError):  # the page was closed
        await response.prepare(request)
        async with aclosing(revisions):
            async for revision in revisions:
                await response.write(b": nothing new\n\n" if revision is None else f"data: {revision}\n\n".encode())
    return response


async def asset(request: web.Request) -> web.Response:
    """A file of `assets/`. Its name is the last part of the path."""
    name = request.match_info["name"]
    content = _assets().get(name)
    if content is None:
        return web.Response(status=404, headers=HEADERS)
    kind = TYPES[name[name.rindex(".") :]]
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=HEADERS)


@cache
def _assets() -> Mapping[str, bytes]:
    found = files("qualtrics_exporter.pages").joinpath("assets").iterdir()
    return {file.name: file.read_bytes() for file in found if file.name.endswith(tuple(TYPES))}


def foreign(request: web.Request, host: str) -> str | None:
    """Why the request may come from a page of another site; None if it does not. `host` is host and port."""
    own = f"{request.scheme}://{host}"
    if request.headers.getall("Host", []) != [host]:
        return f"This page has the address {own}/ only."
    origins = request.headers.getall("Origin", [])
    if origins not in ([], [own]) or (request.method not in SAFE_METHODS and not origins):
        return "The request comes from the page of another site."
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "The request comes from the page of another site."
    return None


def zone_of(request: web.Request) -> ZoneInfo | None:
    """The time zone of the reader, from the cookie of `page.js`. None if there is no such zone."""
    try:
        return ZoneInfo(request.cookies.get("zone", ""))
    except (KeyError, ValueError, OSError):  # missing or unknown, a path, a folder
        return None
