"""Serves only the form of the console, for tests of its pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from qualtrics_exporter.cli.console.form_views import MAX_BYTES, FormViews
from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.pages import serving
from qualtrics_exporter.pages.rendering import Pages
from tests.support.loop_thread import LoopThread, closed

BASE = "/console/"
ZONE = ZoneInfo("Europe/Zurich")


def form_app(exporter: dict[str, Any]) -> web.Application:
    """The routes of the form, and one to edit this exporter."""
    clock = SystemClock()
    pages = Pages(
        "qualtrics_exporter.cli.console", base=BASE, brand="Qualtrics exporters", links={"new": "New exporter"}
    )

    def render(request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        return serving.html(pages.render(template, now=clock.now(), zone=ZONE, **values), status)

    async def edit(request: web.Request) -> web.StreamResponse:
        return await views.edit(request, exporter)

    views = FormViews(render, lambda _: ZONE, clock)
    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_get(f"{BASE}assets/{{name}}", serving.asset)
    app.router.add_get(f"{BASE}new", views.new)
    app.router.add_post(f"{BASE}new/check", views.check)
    app.router.add_get(f"{BASE}new/open", views.open)
    app.router.add_post(f"{BASE}new/open", views.open)
    app.router.add_post(f"{BASE}new/download", views.download)
    app.router.add_get(f"{BASE}edit", edit)
    return app


@contextmanager
def served_form(exporter: dict[str, Any]) -> Iterator[str]:
    """Serve the form on loopback, in a thread. Yields the URL of its root."""
    thread = LoopThread("form")
    thread.start()
    try:
        runner = web.AppRunner(form_app(exporter))
        thread.run(runner.setup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        thread.run(site.start)
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}{BASE}"
        finally:
            thread.run(lambda: closed(runner.cleanup))
    finally:
        thread.stop()
