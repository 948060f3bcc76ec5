"""`/_sandbox/`: the pages, and control of a sandbox that runs in another process.

The routes accept only requests from the same machine, for a local host name. So neither another machine nor a web page
of another site can control the sandbox. The routes are not part of the API of a vendor: they bypass the middleware, so
they get no faults and are not recorded.
"""

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from qualtrics_exporter.sandbox import outbox
from qualtrics_exporter.sandbox.page_routes import PageRoutes
from qualtrics_exporter.sandbox.services import Services
from qualtrics_exporter.sandbox.settings import apply_settings, query_from, show_settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_WAIT = 300.0

HELP = """\
GET    /_sandbox/outbox             the outbox as a page, with links to the other pages
GET    /_sandbox/outbox.json        the outbox as JSON
GET    /_sandbox/record.json        the recorded requests, batches, distributions and mails
DELETE /_sandbox/record             delete the recorded requests
GET    /_sandbox/seen?operation=O&count=1&timeout=30      wait until that many requests have come in
GET    /_sandbox/faults             active faults, and the number of held requests
POST   /_sandbox/faults             add a fault: {"operation": "qualtrics.create_distribution", "drop": "after", ...}
DELETE /_sandbox/faults             remove all faults, release all held requests
POST   /_sandbox/faults/release     release held requests: {"operation": "*", "drop": false}
GET    /_sandbox/faults/reached?operation=O&count=1&timeout=30   wait until that many requests are held
GET    /_sandbox/settings              URLs, ids, settings
PUT    /_sandbox/settings              {"list_lag_seconds": 60, "limits": {"qualtrics_brand_per_minute": 10}}
PUT    /_sandbox/queries            {"id": "#q", "people": [...]} or "generated": 5000, or "columns" and "rows";
                                    also "executed", "truncated", "permitted", "export_error", "heavy"
PUT    /_sandbox/surveys            {"id": "SV_...", "name": "...", "active": true}
GET    /_sandbox/secrets            the keys of the two credentials Secrets
DELETE /_sandbox/tokens             make all access tokens invalid
"""


class Control:
    """The routes. Nexthink's port and Qualtrics' port both serve them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pages = PageRoutes(services)

    def mount(self, app: web.Application) -> None:
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "", self.help),
            ("GET", "/", self.help),
            ("GET", "/outbox.json", self.outbox_json),
            ("GET", "/record.json", self.record),
            ("DELETE", "/record", self.clear_record),
            ("GET", "/seen", self.seen),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/faults/release", self.release),
            ("GET", "/faults/reached", self.reached),
            ("GET", "/settings", self.settings),
            ("PUT", "/settings", self.change_settings),
            ("PUT", "/queries", self.put_query),
            ("PUT", "/surveys", self.put_survey),
            ("GET", "/secrets", self.secrets),
            ("DELETE", "/tokens", self.revoke_tokens),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, "/_sandbox" + path, _local_only(self._checked(handler)))
        for method, path, handler in self._pages.routes():
            app.router.add_route(method, "/_sandbox" + path, _local_only(handler))
        app.on_shutdown.append(self._pages.close)

    def _checked(self, handler: Handler) -> Handler:
        """Refuse invalid requests with a 400. Let the pages show what other requests change."""

        async def checked(request: web.Request) -> web.StreamResponse:
            try:
                response = await handler(request)
            except (ValueError, TypeError, KeyError, binascii.Error) as error:
                return web.json_response({"error": str(error)}, status=400)
            if request.method != "GET":
                self._services.changed.notify_all()
            return response

        return checked

    async def help(self, request: web.Request) -> web.Response:
        return web.Response(text=HELP)

    async def outbox_json(self, request: web.Request) -> web.Response:
        return web.json_response([outbox.as_json(sent) for sent in self._services.recorder.distributions])

    async def record(self, request: web.Request) -> web.Response:
        return web.json_response(outbox.record_json(self._services.recorder))

    async def clear_record(self, request: web.Request) -> web.Response:
        self._services.recorder.clear()
        return web.json_response({})

    async def seen(self, request: web.Request) -> web.Response:
        operation, count, timeout = _wait_arguments(request)
        try:
            await self._services.recorder.seen(operation, count=count, timeout=timeout)
        except TimeoutError:
            return web.json_response({"seen": False})
        return web.json_response({"seen": True})

    async def faults(self, request: web.Request) -> web.Response:
        active = [_fault_json(asdict(fault)) for fault in self._services.faults.open()]
        return web.json_response({"open": active, "held": self._services.faults.held()})

    async def add_fault(self, request: web.Request) -> web.Response:
        wanted = await _read_object(request)
        if "body_base64" in wanted:
            wanted["body"] = base64.b64decode(wanted.pop("body_base64"), validate=True)
        fault = self._services.faults.add(**wanted)
        return web.json_response(_fault_json(asdict(fault)), status=201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        self._services.faults.clear()
        return web.json_response({})

    async def release(self, request: web.Request) -> web.Response:
        return web.json_response({"released": self._services.faults.release(**await _read_object(request))})

    async def reached(self, request: web.Request) -> web.Response:
        operation, count, timeout = _wait_arguments(request)
        try:
            await self._services.faults.reached(operation, count=count, timeout=timeout)
        except TimeoutError:
            return web.json_response({"reached": False})
        return web.json_response({"reached": True})

    async def settings(self, request: web.Request) -> web.Response:
        found = self._services
        urls = {"nexthink": found.nexthink_url, "qualtrics": found.qualtrics_url, "store": found.store_url}
        return web.json_response({"urls": urls, "settings": show_settings(found.account)})

    async def change_settings(self, request: web.Request) -> web.Response:
        apply_settings(self._services.account, await _read_object(request))
        return web.json_response(show_settings(self._services.account))

    async def put_query(self, request: web.Request) -> web.Response:
        wanted = await _read_object(request)
        query = query_from(wanted)
        if "executed" not in wanted and (known := self._services.account.queries.get(query.id)):
            query.executed = known.executed  # keep the text of the query, change its people
        return web.json_response({"id": self._services.account.add_query(query).id})

    async def put_survey(self, request: web.Request) -> web.Response:
        wanted = await _read_object(request)
        survey = self._services.account.add_survey(wanted.pop("id"), wanted.pop("name", "A survey"), **wanted)
        return web.json_response({"id": survey.id})

    async def secrets(self, request: web.Request) -> web.Response:
        return web.json_response(self._services.secrets(), headers={"Cache-Control": "no-store"})

    async def revoke_tokens(self, request: web.Request) -> web.Response:
        self._services.revoke_tokens()
        return web.json_response({})


def _local_only(handler: Handler) -> Handler:
    """Refuse requests from other machines with a 403."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not _is_local(request.remote) or not _is_local(request.url.host):
            return web.Response(status=403, text="You can control the sandbox only from the machine that it runs on.\n")
        return await handler(request)

    return guarded


def _is_local(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


async def _read_object(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise ValueError("send application/json")
    document = await request.json()
    if not isinstance(document, dict):
        raise ValueError("send an object")  # noqa: TRY004
    return document


def _wait_arguments(request: web.Request) -> tuple[str, int, float]:
    query = request.query
    timeout = min(float(query.get("timeout", "30")), MAX_WAIT)
    return query.get("operation", "*"), int(query.get("count", "1")), timeout


def _fault_json(fault: dict[str, Any]) -> dict[str, Any]:
    """The fault for JSON: a body of bytes becomes base64."""
    body = fault["body"]
    return {**fault, "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body}
