"""The handlers of the console: they read, ask `actions`, and render a page."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from qualtrics_exporter.cli.console import actions, rows
from qualtrics_exporter.cli.console.actions import Confirmed
from qualtrics_exporter.cli.console.exporter_page import exporter_page
from qualtrics_exporter.cli.console.form_views import NEW, FormViews
from qualtrics_exporter.cli.console.rows import Choice
from qualtrics_exporter.cli.console.sentences import sentence
from qualtrics_exporter.cli.console.snapshot import Key
from qualtrics_exporter.cli.console.source import Event, Object, Source
from qualtrics_exporter.cli.qex import requests
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.cli.qex.requests import Refused
from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.status.resolution import reportable, understood, unknown_entries
from qualtrics_exporter.pages import serving
from qualtrics_exporter.pages.rendering import Pages
from qualtrics_exporter.resource.exporter import Exporter

LINKS = {"": "Exporters", NEW: "New exporter"}
HEARTBEAT_SECONDS = 15
"""Between two comments in the stream of changes, by which both sides notice a lost connection."""
QUIET_SECONDS = 0.3
"""A change is reported after this time, so that many changes at once are one."""
STATUS = {"NotFound": 404, "Forbidden": 403, "Unauthorized": 401, "Conflict": 409}

Action = Callable[[Confirmed], Awaitable[str]]


class Console:
    """The handlers of one console."""

    def __init__(self, source: Source, base: str, clock: Clock) -> None:
        self._source = source
        self._base = base
        self._clock = clock
        package = "qualtrics_exporter.cli.console"
        self._pages = Pages(package, base=base, brand="Qualtrics exporters", links=LINKS, where=source.where)
        self.form = FormViews(self._page, serving.zone_of, base, clock)

    # The list.

    async def list(self, request: web.Request) -> web.StreamResponse:
        snapshot = self._source.snapshot
        choice = Choice.from_query(request.query)
        known = list(snapshot.rows.values())
        return self._page(
            request,
            "list.html",
            current="",
            choice=choice,
            selection=rows.select(known, choice),
            namespaces=sorted({row.namespace for row in known}),
            states=rows.STATES,
            orders=rows.ORDERS,
            snapshot=snapshot,
        )

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the revision of the list, or of one exporter, whenever it changes."""
        namespace, _, name = request.query.get("exporter", "").partition("/")
        return await serving.changes(request, self._revisions((namespace, name) if name else None))

    async def _revisions(self, key: Key | None) -> AsyncGenerator[str | None, None]:
        seen = -1
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    seen = await self._source.snapshot.changed(key, seen)
            except TimeoutError:
                yield None
            else:
                yield str(seen)
            await asyncio.sleep(QUIET_SECONDS)

    # One exporter.

    async def exporter(self, request: web.Request) -> web.StreamResponse:
        return await self._exporter_page(request, await self._get(request))

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """The form with this exporter."""
        return await self.form.edit(request, await self._get(request))

    async def confirm_run(self, request: web.Request) -> web.StreamResponse:
        return await self._confirm(request, "run")

    async def confirm_delivery(self, request: web.Request) -> web.StreamResponse:
        return await self._confirm(request, "test-with-delivery")

    async def run(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, lambda confirmed: actions.run(self._source, confirmed, self._clock.now()))

    async def test(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, lambda confirmed: self._test(confirmed, deliver=False))

    async def deliver(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, lambda confirmed: self._test(confirmed, deliver=True))

    async def suspend(self, request: web.Request) -> web.StreamResponse:
        async def suspend(confirmed: Confirmed) -> str:
            await actions.suspend(self._source, confirmed)
            return "suspended"

        return await self._act(request, suspend)

    async def resume(self, request: web.Request) -> web.StreamResponse:
        async def resume(confirmed: Confirmed) -> str:
            await actions.resume(self._source, confirmed, self._clock.now())
            return "resumed"

        return await self._act(request, resume)

    async def confirm_outcome(self, request: web.Request) -> web.StreamResponse:
        """Ask for the outcome of an unknown run, or of one whose outcome a user reported."""
        return await self._outcome_page(request)

    async def _outcome_page(self, request: web.Request, problem: str = "") -> web.StreamResponse:
        found = await self._get(request)
        exporter = Exporter.from_object(found)
        run = request.match_info["run"]
        entry = next((each for each in reportable(exporter.status) if each.id == run), None)
        if entry is None:
            problem = "The outcome of this run is not in doubt."
            return await self._exporter_page(request, found, problem=problem, status=409)
        return self._page(
            request,
            "outcome.html",
            422 if problem else 200,
            problem=problem,
            exporter=exporter,
            entry=entry,
            fields=Confirmed.of(exporter, self._clock.now()).fields,
            seen={"seen": requests.known_outcome(exporter, run)},
            refusal=await self._refusal(exporter.namespace, "resolve"),
        )

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        run = request.match_info["run"]
        try:
            form = await _form(request)
        except Refused as refused:
            found = await self._get(request)
            return await self._exporter_page(request, found, problem=sentence(str(refused)), status=409)
        outcome, missing = _chosen_outcome(form)
        if understood(f"{run}={outcome}") is None:
            return await self._outcome_page(request, missing)

        async def report(confirmed: Confirmed) -> str:
            await actions.resolve(self._source, confirmed, run, outcome, str(form.get("seen", "")))
            return "reported"

        return await self._act(request, report)

    async def _test(self, confirmed: Confirmed, *, deliver: bool) -> str:
        return await actions.test(self._source, confirmed, self._clock.now(), deliver=deliver)

    async def _act(self, request: web.Request, action: Action) -> web.StreamResponse:
        """Do what the form asks for, and show the exporter with the outcome. Raises `Failed`."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        try:
            found = await self._get(request)
        except Failed as failed:
            raise Failed(f"{failed} Nothing was requested.", failed.cause) from None
        try:
            done = await action(Confirmed.from_form(namespace, name, await _form(request)))
        except Failed as failed:
            if failed.cause == "NotFound":
                raise
            return await self._exporter_page(request, found, problem=str(failed), status=_status(failed))
        except Refused as refused:
            return await self._exporter_page(request, found, problem=sentence(str(refused)), status=409)
        return serving.redirect(f"{self._base}exporters/{namespace}/{name}?done={done}")

    async def _confirm(self, request: web.Request, action: str) -> web.StreamResponse:
        """Ask before people are mailed. What the request itself would refuse is refused before the reader confirms."""
        found = await self._get(request)
        exporter = Exporter.from_object(found)
        now = self._clock.now()
        refusal = await self._refusal(exporter.namespace, action)
        try:
            if action == "run":
                requests.request_run(exporter, now)
            else:
                requests.request_test(exporter, now, deliver=True)
        except Refused as refused:
            refusal = sentence(str(refused))
        if refusal:
            return await self._exporter_page(request, found, problem=refusal, status=409)
        return self._page(
            request,
            "confirm.html",
            exporter=exporter,
            action=action,
            audience=requests.format_audience(exporter, now),
            test_people=requests.TEST_PEOPLE,
            unknown=unknown_entries(exporter.status),
            sent=requests.last_sent(exporter),
            fields=Confirmed.of(exporter, now).fields,
        )

    async def _exporter_page(
        self, request: web.Request, found: Object, *, problem: str = "", status: int = 200
    ) -> web.StreamResponse:
        exporter = Exporter.from_object(found)
        (events, events_problem), refusal = await asyncio.gather(
            self._events(found), self._permission(exporter.namespace)
        )
        now = self._clock.now()
        done = request.query.get("done", "")
        values = await asyncio.to_thread(exporter_page, found, exporter, now, done)
        names = ("run", "test", "test-with-delivery", "suspend", "resolve")
        return self._page(
            request,
            "exporter.html",
            status,
            problem=problem,
            events=events,
            events_problem=events_problem,
            fields=Confirmed.of(exporter, now).fields,
            refusals={name: self._source.unavailable(name) or refusal for name in names},
            # The page is refreshed from here, even if it is the answer to a form.
            path=f"{self._base}exporters/{exporter.namespace}/{exporter.name}",
            done=f"?{urlencode({'done': done})}" if done else "",
            **values,
        )

    async def _get(self, request: web.Request) -> Object:
        return await self._source.get(request.match_info["namespace"], request.match_info["name"])

    async def _events(self, found: Object) -> tuple[tuple[Event, ...], str]:
        """The Events, or why there are none: reading them needs a permission of its own."""
        try:
            return tuple(await self._source.events(found)), ""
        except Failed as failed:
            return (), str(failed)

    async def _refusal(self, namespace: str, action: str) -> str | None:
        """Why the button of this action is disabled; None if it is not."""
        return self._source.unavailable(action) or await self._permission(namespace)

    async def _permission(self, namespace: str) -> str | None:
        """Why the reader may not change exporters in this namespace; None if the reader may."""
        try:
            return await self._source.refusal(namespace)
        except Failed as failed:
            return f"It is not known whether you may do this: {failed}"

    # Pages without an exporter.

    def entered(self) -> web.Response:
        """The page that replaces the address with the token."""
        return serving.html(self._pages.render("entered.html", now=self._clock.now(), zone=None))

    def refused(self, request: web.Request, why: str) -> web.StreamResponse:
        """The page for a browser that may not use the console. It has nothing of the cluster."""
        text = f"{why} Press Enter in the terminal of the console: it shows another address, which works once."
        return web.Response(status=403, text=f"{text}\n", headers=serving.HEADERS)

    def message(self, request: web.Request, status: int, title: str, text: str) -> web.StreamResponse:
        return self._page(request, "message.html", status, heading=title, text=text, exporter="")

    def failed(self, request: web.Request, failed: Failed) -> web.StreamResponse:
        gone = failed.cause == "NotFound"
        heading = "This exporter does not exist" if gone else "The exporter cannot be shown"
        text = "It may have been deleted." if gone else str(failed)
        # The page of the exporter appears as soon as it can be read. The reply to a form stays: it says what happened.
        name = request.match_info.get("name") if request.method == "GET" else None
        exporter = f"{request.match_info['namespace']}/{name}" if name else ""
        return self._page(request, "message.html", _status(failed), heading=heading, text=text, exporter=exporter)

    def _page(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        zone = serving.zone_of(request)
        shown = {"outbox": self._source.outbox, **values}
        return serving.html(self._pages.render(template, now=self._clock.now(), zone=zone, **shown), status)


async def _form(request: web.Request) -> Mapping[str, object]:
    """The fields of a form. Raises `Refused` if the body is not one."""
    try:
        return await request.post()
    except (ValueError, LookupError):
        raise Refused("the form is incomplete. Open the page again") from None


def _chosen_outcome(form: Mapping[str, object]) -> tuple[str, str]:
    """The outcome that the reader reports, and what to ask for if it is not one."""
    chosen = str(form.get("outcome", ""))
    if chosen == "distribution":
        return str(form.get("distribution", "")).strip(), "Enter the id of the distribution. It begins with EMD_."
    return chosen, "Choose one."


def _status(failed: Failed) -> int:
    return STATUS.get(failed.cause, 502)
