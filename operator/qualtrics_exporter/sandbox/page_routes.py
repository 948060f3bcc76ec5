"""The pages of the sandbox: outbox, faults, limits, queries.

Their forms are accepted only from pages of this server. jinja2 is imported when the first page is requested, because
most sandboxes serve none.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from qualtrics_exporter.pages import serving
from qualtrics_exporter.sandbox import fault_forms, outbox, setting_forms
from qualtrics_exporter.sandbox.changes import Changes
from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.services import Services

if TYPE_CHECKING:
    from qualtrics_exporter.pages.rendering import Pages

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BASE = "/_sandbox/"
LINKS = {"outbox": "Outbox", "pages/faults": "Faults", "pages/limits": "Limits", "pages/queries": "Queries"}
LAST_REQUESTS = 15
"""How many requests the page of faults shows."""

DONE = {
    "added": "The fault was added. It hits the next requests that it applies to.",
    "removed": "All faults were removed, and all held requests continue.",
    "released": "The held requests continue.",
    "dropped": "The connections of the held requests were closed.",
    "revoked": "All access tokens are invalid now.",
    "saved": "The settings were changed.",
    "off": "There are no limits now, except for the rows of a result.",
    "defaults": "All limits and settings have their defaults again.",
}
"""What a form has done, for the page that the browser shows next."""


class PageRoutes:
    """The routes of the pages, below `/_sandbox`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._changes = Changes(services)
        self._outbox = outbox.Outbox()

    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/outbox", self.outbox),
            ("GET", "/outbox/{distribution_id}", self.distribution),
            ("GET", "/pages/faults", self.faults),
            ("POST", "/pages/faults", self._own_form(self.change_faults)),
            ("GET", "/pages/limits", self.limits),
            ("POST", "/pages/limits", self._own_form(self.change_limits)),
            ("GET", "/pages/queries", self.queries),
            ("GET", "/changes", self._changes.stream),
            ("GET", "/assets/{name}", serving.asset),
        ]

    async def close(self, app: web.Application) -> None:
        """End the streams of changes."""
        self._changes.close()

    def _render(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        now, zone = self._services.clock.now(), serving.zone_of(request)
        done = DONE.get(request.query.get("done", ""), "")
        return serving.html(_pages().render(template, now=now, zone=zone, **{"done": done, **values}), status)

    def _own_form(self, handler: Handler) -> Handler:
        """Refuse a form of another site with a 403."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if reason := serving.foreign(request, request.host):
                return self._render(request, "refused.html", 403, reason=reason)
            return await handler(request)

        return guarded

    # The outbox.

    async def outbox(self, request: web.Request) -> web.Response:
        recorder, address = self._services.recorder, request.query.get("address", "").strip()
        distributions = recorder.distributions
        last = max(1, -(-len(distributions) // outbox.PER_PAGE))
        number = request.query.get("page", "1")
        page = min(int(number), last) if number.isdecimal() and 1 <= len(number) <= 6 and int(number) else 1
        found = outbox.search(recorder, address) if address else []
        return self._render(
            request,
            "outbox.html",
            current="outbox",
            distributions=len(distributions),
            mails=sum(len(sent.recipients) for sent in distributions),
            twice=self._outbox.mailed_twice(recorder),
            entries=self._outbox.page(recorder, page),
            surveys=self._services.account.surveys,
            page=page,
            last=last,
            address=address,
            found=found[: outbox.MAX_FOUND],
            more_found=len(found) > outbox.MAX_FOUND,
            batches=outbox.batches_with(recorder, address) if address and not found else [],
            command=self._sample_command(),
        )

    def _sample_command(self) -> str:
        """A command that sends the sample to this sandbox."""
        url = urlsplit(self._services.qualtrics_url)
        http = " --allow-http" if url.scheme == "http" else ""
        return (
            "qualtrics-exporter run samples/teams-rollout.yaml --secrets secrets.yaml "
            f"--allowed-host {url.hostname}{http} --send"
        )

    async def distribution(self, request: web.Request) -> web.Response:
        recorder, wanted = self._services.recorder, request.match_info["distribution_id"]
        sent = next((sent for sent in recorder.distributions if sent.id == wanted), None)
        if sent is None:
            return self._render(request, "missing.html", 404, wanted=wanted)
        account = self._services.account
        return self._render(
            request,
            "distribution.html",
            entry=self._outbox.entry(recorder, sent),
            surveys=account.surveys,
            message=account.messages.get(sent.message_id),
            batch=recorder.batches.get(sent.batch_id or ""),
            request_json=json.dumps(sent.request, indent=2, ensure_ascii=False),
        )

    # Faults.

    async def faults(self, request: web.Request) -> web.Response:
        return self._show_faults(request)

    def _show_faults(
        self,
        request: web.Request,
        status: int = 200,
        form: Mapping[str, str] | None = None,
        wrong: Mapping[str, str] | None = None,
    ) -> web.Response:
        services = self._services
        return self._render(
            request,
            "faults.html",
            status,
            current="pages/faults",
            faults=[
                (fault, fault_forms.title(fault), fault_forms.describe(fault))
                for fault in services.faults.added()[::-1]
            ],
            held=services.faults.held_operations(),
            calls=services.recorder.calls[: -LAST_REQUESTS - 1 : -1],
            kinds=fault_forms.KINDS.values(),
            times=fault_forms.TIMES,
            fields=fault_forms.FIELDS,
            operations=services.operations,
            form=form or {},
            wrong=wrong or {},
        )

    async def change_faults(self, request: web.Request) -> web.Response:
        form = await _read_form(request)
        faults = self._services.faults
        match form.get("action"):
            case "kind":
                try:
                    faults.add(**fault_forms.from_kind(form))
                except ValueError as error:
                    return self._show_faults(request, 400, form, {"kind": str(error)})
                return _done("pages/faults", "added")
            case "fields":
                fields, wrong = fault_forms.from_fields(form, self._services.operations)
                if wrong:
                    return self._show_faults(request, 400, form, wrong)
                faults.add(**fields)
                return _done("pages/faults", "added")
            case "remove":
                faults.clear()
                return _done("pages/faults", "removed")
            case "release":
                faults.release()
                return _done("pages/faults", "released")
            case "drop":
                faults.release(drop=True)
                return _done("pages/faults", "dropped")
            case "revoke":
                self._services.revoke_tokens()
                return _done("pages/faults", "revoked")
        return self._show_faults(request, 400, form, {"kind": "Choose a fault."})

    # Limits and settings.

    async def limits(self, request: web.Request) -> web.Response:
        return self._show_limits(request, setting_forms.texts(self._services.account))

    def _show_limits(
        self,
        request: web.Request,
        texts: Mapping[str, str],
        status: int = 200,
        wrong: Mapping[str, str] | None = None,
    ) -> web.Response:
        groups = setting_forms.groups(self._services.account)
        labels = {each.name.removeprefix("limits."): (group, each.label) for group in groups for each in groups[group]}
        return self._render(
            request,
            "limits.html",
            status,
            current="pages/limits",
            uses=[(*labels[use.setting], use) for use in self._services.uses()],
            groups=groups,
            texts=texts,
            wrong=wrong or {},
        )

    async def change_limits(self, request: web.Request) -> web.Response:
        form = await _read_form(request)
        account = self._services.account
        match form.pop("action", ""):
            case "save":
                if wrong := setting_forms.change(account, form):
                    return self._show_limits(request, {**setting_forms.texts(account), **form}, 400, wrong)
                done = "saved"
            case "off":
                account.limits = Limits.off()
                done = "off"
            case "defaults":
                setting_forms.restore_defaults(account)
                done = "defaults"
            case _:
                return await self.limits(request)
        self._services.changed.notify_all()
        return _done("pages/limits", done)

    # Queries and surveys.

    async def queries(self, request: web.Request) -> web.Response:
        return self._render(
            request, "queries.html", current="pages/queries", account=self._services.account, services=self._services
        )


@cache
def _pages() -> "Pages":
    """The templates. All sandboxes of a process share them."""
    from qualtrics_exporter.pages.rendering import Pages

    where = "No mail leaves the sandbox."
    return Pages("qualtrics_exporter.sandbox", base=BASE, brand="Sandbox", links=LINKS, where=where)


async def _read_form(request: web.Request) -> dict[str, str]:
    """The fields of the form, without files."""
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _done(page: str, what: str) -> web.Response:
    return serving.redirect(f"{BASE}{page}?{urlencode({'done': what})}")
