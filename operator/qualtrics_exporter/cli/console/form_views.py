"""The handlers of the form. They write nothing: the result is a manifest to copy or to download.

Reading a manifest and checking a query can take a second each. So both happen in a thread, and other requests continue.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Protocol

from aiohttp import web

from qualtrics_exporter.cli.console import form_open
from qualtrics_exporter.cli.console.form import (
    IDENTITY,
    PARAMETER_NAME,
    PARAMETER_VALUE,
    Form,
    form_of,
    new_form,
    sent_form,
)
from qualtrics_exporter.cli.console.form_check import Checked, check
from qualtrics_exporter.cli.console.form_fields import tabs, time_zones
from qualtrics_exporter.cli.console.form_open import Unreadable
from qualtrics_exporter.cli.qex import requests
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.clock import Clock
from qualtrics_exporter.pages.serving import HEADERS, redirect
from qualtrics_exporter.schedule import next_slot

NEW = "new"
CHECK = "new/check"
OPEN = "new/open"
DOWNLOAD = "new/download"
KEPT = "new/kept"
MOST_KEPT = 50
"""Pages that are kept. Each has at most the size of a request, and usually a hundredth of that."""

_TOO_LARGE = f"This file is too large: the limit is {form_open.MAX_CHARACTERS:,} characters."


class Render(Protocol):
    """Makes a page of a template, with what every page of the console has."""

    def __call__(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response: ...


class Zone(Protocol):
    """The time zone of the reader of a request, `None` if it is unknown."""

    def __call__(self, request: web.Request) -> tzinfo | None: ...


Page = Callable[[web.Request], Awaitable[web.Response]]


class FormViews:
    """The handlers. Each makes its page with `render`.

    The page after a POST is kept, and the browser is sent to its address. A browser that goes back or forward to the
    reply to a POST would ask whether to send it again, and show nothing.
    """

    def __init__(self, render: Render, zone: Zone, base: str, clock: Clock) -> None:
        self._render = render
        self._zone = zone
        self._base = base
        self._clock = clock
        self._kept: dict[str, Page] = {}

    async def new(self, request: web.Request) -> web.Response:
        """The form of a new exporter."""
        form = new_form(getattr(self._zone(request), "key", ""))
        return await self._page(request, form)

    async def edit(self, request: web.Request, exporter: Mapping[str, Any]) -> web.Response:
        """The form with an exporter of the cluster."""
        try:
            manifest = await asyncio.to_thread(_from_cluster, exporter)
        except Unreadable as error:
            return await self._open(request, 422, problem=str(error))
        form, _ = await asyncio.to_thread(form_of, manifest)
        return await self._page(request, form, complete=True)

    async def kept(self, request: web.Request) -> web.Response:
        """A page that was kept."""
        if page := self._kept.get(request.match_info["key"]):
            return await page(request)
        return await self._open(request, 404, problem="This page is not kept any more. Open the manifest again.")

    def _keep(self, page: Page) -> web.Response:
        """Keep a page, and send the browser there."""
        key = secrets.token_urlsafe(9)
        self._kept[key] = page
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return redirect(f"{self._base}{KEPT}/{key}")

    def _keep_form(self, form: Form) -> web.Response:
        return self._keep(lambda request: self._page(request, form, complete=True))

    async def check(self, request: web.Request) -> web.Response:
        """The form again, with its findings and its manifest; for the script only these."""
        try:
            sent, form = await _sent(request)
        except Unreadable as error:
            return await self._open(request, 422, problem=str(error))
        if "live" in sent:
            return await self._page(request, form, complete="complete" in sent, template="form_checked.html")
        return self._keep_form(form)

    async def download(self, request: web.Request) -> web.Response:
        """The manifest as a file, or the form with its mistakes."""
        try:
            _, form = await _sent(request)
        except Unreadable as error:
            return await self._open(request, 422, problem=str(error))
        checked = await asyncio.to_thread(check, form, complete=True)
        if not checked.valid:
            return self._keep_form(form)
        disposition = f'attachment; filename="{checked.name}.yaml"'  # a valid name needs no escapes
        headers = {**HEADERS, "Content-Disposition": disposition}
        return web.Response(text=checked.manifest, content_type="application/yaml", charset="utf-8", headers=headers)

    async def open(self, request: web.Request) -> web.Response:
        """The page to open a manifest, or the form with a manifest that was pasted or uploaded."""
        if request.method != "POST":
            return await self._open(request)
        text = ""
        try:
            sent = await _post(request)
            pasted, file = sent.get("text"), sent.get("file")
            text = pasted if isinstance(pasted, str) else ""
            content = text
            if isinstance(file, web.FileField) and file.filename:
                content = form_open.text_of(await asyncio.to_thread(file.file.read))
            found = await asyncio.to_thread(form_open.exporters, content)
        except Unreadable as error:
            problem = str(error)
            return self._keep(lambda request: self._open(request, 422, text=text, problem=problem))
        if len(found) == 1:
            form, _ = await asyncio.to_thread(form_of, found[0])
            return self._keep_form(form)
        choices = await asyncio.to_thread(_choices, found)
        return self._keep(lambda request: self._open(request, found=choices))

    async def _open(
        self,
        request: web.Request,
        status: int = 200,
        *,
        text: str = "",
        problem: str = "",
        found: Sequence[tuple[str, str]] = (),
    ) -> web.Response:
        values = {"current": NEW, "text": text, "problem": problem, "found": found}
        return self._render(request, "form_open.html", status, **values)

    async def _page(
        self,
        request: web.Request,
        form: Form,
        *,
        complete: bool = False,
        template: str = "form.html",
    ) -> web.Response:
        shown = await asyncio.to_thread(_values, form, complete, self._clock.now())
        return self._render(request, template, **shown)


def _values(form: Form, complete: bool, now: datetime) -> dict[str, Any]:
    """What the templates show of a form."""
    checked = check(form, complete=complete)
    return {
        "form": form,
        "checked": checked,
        "complete": complete,
        "tabs": tabs(),
        "zones": time_zones(),
        "parameter_names": (PARAMETER_NAME, PARAMETER_VALUE),
        "opened": to_yaml(form.opened) if form.opened else "",
        "opened_title": _title(form.opened) if form.opened else "",
        "schedule": _schedule(checked),
        "first_slot": _first_slot(checked, now),
        "gitops_tool": _gitops_tool(form.opened),
        "changed": form_of(form.opened)[1] if form.opened else (),
        "identity": IDENTITY,
        "current": None if form.opened else NEW,
    }


async def _post(request: web.Request) -> Mapping[str, Any]:
    try:
        return await request.post()
    except web.HTTPRequestEntityTooLarge:
        raise Unreadable(_TOO_LARGE) from None
    except (ValueError, LookupError):  # not the encoding that its header names
        raise Unreadable("The content of this form cannot be read.") from None


async def _sent(request: web.Request) -> tuple[Mapping[str, Any], Form]:
    """The form of a request. Raises `Unreadable`."""
    sent = await _post(request)
    text = sent.get("opened")
    opened: Mapping[str, Any] = {}
    if isinstance(text, str) and text.strip():
        opened = (await asyncio.to_thread(form_open.exporters, text))[0]
    return sent, sent_form(sent.items(), opened)


def _from_cluster(exporter: Mapping[str, Any]) -> Mapping[str, Any]:
    """The manifest of an exporter, within the limits of a manifest that is pasted. Raises `Unreadable`."""
    return form_open.exporters(to_yaml(form_open.of_the_cluster(exporter)))[0]


def _choices(found: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The title and the text of each manifest."""
    return [(_title(manifest), to_yaml(manifest)) for manifest in found]


def _title(manifest: Mapping[str, Any]) -> str:
    """Namespace and name of a manifest, as far as it has them."""
    metadata = manifest.get("metadata")
    found = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, Mapping) else []
    return "/".join(part for part in found if isinstance(part, str) and part) or "without a name"


def _gitops_tool(manifest: Mapping[str, Any]) -> str | None:
    """The GitOps tool that applied the manifest, which may have anything in place of labels and annotations."""
    metadata = manifest.get("metadata")
    parts = metadata if isinstance(metadata, Mapping) else {}
    return requests.gitops_tool(
        {"metadata": {key: value for key, value in parts.items() if isinstance(value, Mapping)}}
    )


def _schedule(checked: Checked) -> str:
    """The schedule for people; empty if it is invalid."""
    if not checked.spec:
        return ""
    text = checked.spec.schedule.in_zone("UTC").describe()
    if checked.spec.schedule.time_zone:
        return text
    return f"{text.rpartition(',')[0]}, in the time zone of the operator, which is UTC by default"


def _first_slot(checked: Checked, now: datetime) -> datetime | None:
    """The first slot if the manifest is applied now. None if there is none, or if the time zone is unknown."""
    if not checked.spec or checked.spec.suspend or not checked.spec.schedule.time_zone:
        return None
    return next_slot(checked.spec.schedule.in_zone("UTC"), now).due
