"""`/_sandbox/`: the outbox for people, and steering for tests that run the sandbox as a process of its own.

Only callers from this machine are served, under a local name, so that neither the network nor a page in somebody's
browser steers it. Not part of either vendor's API: nothing here passes the gate or stands in the ledger.
"""

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from qualtrics_exporter.sandbox import outbox
from qualtrics_exporter.sandbox.settings import apply_settings, query_from, show_settings

if TYPE_CHECKING:
    from qualtrics_exporter.sandbox.server import Sandbox

Handler = Callable[[web.Request], Awaitable[web.Response]]

LONGEST_WAIT = 300.0

HELP = """\
GET    /_sandbox/outbox             the outbox as a page
GET    /_sandbox/outbox.json        the same as JSON
GET    /_sandbox/ledger.json        calls, batches, distributions, mails
DELETE /_sandbox/ledger             forget the calls
GET    /_sandbox/seen?operation=O&count=1&timeout=30      wait until so many calls came in
GET    /_sandbox/faults             open orders and held requests
POST   /_sandbox/faults             {"operation": "qualtrics.create_distribution", "drop": "after", ...}
DELETE /_sandbox/faults             forget all orders, release all requests
POST   /_sandbox/faults/release     {"operation": "*", "drop": false}
GET    /_sandbox/faults/reached?operation=O&count=1&timeout=30   wait until so many requests are held
GET    /_sandbox/world              addresses, ids, knobs
PUT    /_sandbox/world              {"list_lag_seconds": 60, "limits": {"qualtrics_brand_per_minute": 10}}
PUT    /_sandbox/queries            {"id": "#q", "people": [...]} or "generated": 5000, or "columns" and "rows";
                                    also "executed", "truncated", "permitted", "export_error", "heavy"
PUT    /_sandbox/surveys            {"id": "SV_...", "name": "...", "active": true}
GET    /_sandbox/secrets            what the two credentials Secrets need
DELETE /_sandbox/tokens             no token given out so far is good any more
"""


class Control:
    """The routes, on both sides' listeners."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    def mount(self, app: web.Application) -> None:
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "", self.help),
            ("GET", "/", self.help),
            ("GET", "/outbox", self.outbox),
            ("GET", "/outbox.json", self.outbox_json),
            ("GET", "/ledger.json", self.ledger),
            ("DELETE", "/ledger", self.forget),
            ("GET", "/seen", self.seen),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.order),
            ("DELETE", "/faults", self.clear),
            ("POST", "/faults/release", self.release),
            ("GET", "/faults/reached", self.reached),
            ("GET", "/world", self.account),
            ("PUT", "/world", self.change_settings),
            ("PUT", "/queries", self.query),
            ("PUT", "/surveys", self.survey),
            ("GET", "/secrets", self.secrets),
            ("DELETE", "/tokens", self.revoke),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, "/_sandbox" + path, _local(handler))

    async def help(self, request: web.Request) -> web.Response:
        return web.Response(text=HELP)

    async def outbox(self, request: web.Request) -> web.Response:
        headers = {
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
        }
        return web.Response(text=outbox.page(self._sandbox.ledger), content_type="text/html", headers=headers)

    async def outbox_json(self, request: web.Request) -> web.Response:
        return web.json_response([outbox.as_json(sent) for sent in self._sandbox.ledger.distributions])

    async def ledger(self, request: web.Request) -> web.Response:
        return web.json_response(outbox.ledger_json(self._sandbox.ledger))

    async def forget(self, request: web.Request) -> web.Response:
        self._sandbox.ledger.clear()
        return web.json_response({})

    async def seen(self, request: web.Request) -> web.Response:
        operation, count, timeout = _patience(request)
        try:
            await self._sandbox.ledger.seen(operation, count=count, timeout=timeout)
        except TimeoutError:
            return web.json_response({"seen": False})
        return web.json_response({"seen": True})

    async def faults(self, request: web.Request) -> web.Response:
        orders = [_written(asdict(fault)) for fault in self._sandbox.faults.open()]
        return web.json_response({"open": orders, "held": self._sandbox.faults.held()})

    async def order(self, request: web.Request) -> web.Response:
        wanted = await _document(request)
        if "body_base64" in wanted:
            wanted["body"] = base64.b64decode(wanted.pop("body_base64"), validate=True)
        fault = self._sandbox.faults.add(**wanted)
        return web.json_response(_written(asdict(fault)), status=201)

    async def clear(self, request: web.Request) -> web.Response:
        self._sandbox.faults.clear()
        return web.json_response({})

    async def release(self, request: web.Request) -> web.Response:
        return web.json_response({"released": self._sandbox.faults.release(**await _document(request))})

    async def reached(self, request: web.Request) -> web.Response:
        operation, count, timeout = _patience(request)
        try:
            await self._sandbox.faults.reached(operation, count=count, timeout=timeout)
        except TimeoutError:
            return web.json_response({"reached": False})
        return web.json_response({"reached": True})

    async def account(self, request: web.Request) -> web.Response:
        sandbox = self._sandbox
        urls = {"nexthink": sandbox.nexthink_url, "qualtrics": sandbox.qualtrics_url, "store": sandbox.store_url}
        return web.json_response({"urls": urls, "world": show_settings(sandbox.account)})

    async def change_settings(self, request: web.Request) -> web.Response:
        apply_settings(self._sandbox.account, await _document(request))
        return web.json_response(show_settings(self._sandbox.account))

    async def query(self, request: web.Request) -> web.Response:
        wanted = await _document(request)
        query = query_from(wanted)
        if "executed" not in wanted and (known := self._sandbox.account.queries.get(query.id)):
            query.executed = known.executed  # other people, by the same query
        return web.json_response({"id": self._sandbox.account.add_query(query).id})

    async def survey(self, request: web.Request) -> web.Response:
        wanted = await _document(request)
        survey = self._sandbox.account.add_survey(wanted.pop("id"), wanted.pop("name", "A survey"), **wanted)
        return web.json_response({"id": survey.id})

    async def secrets(self, request: web.Request) -> web.Response:
        return web.json_response(self._sandbox.secrets(), headers={"Cache-Control": "no-store"})

    async def revoke(self, request: web.Request) -> web.Response:
        self._sandbox.revoke_tokens()
        return web.json_response({})


def _local(handler: Handler) -> Handler:
    """Only for callers from this machine; what cannot be understood is a 400."""

    async def guarded(request: web.Request) -> web.Response:
        if not _is_local(request.remote) or not _is_local(request.url.host):
            return web.Response(status=403, text="The sandbox is steered from its own machine only.\n")
        try:
            return await handler(request)
        except (ValueError, TypeError, KeyError, binascii.Error) as error:
            return web.json_response({"error": str(error)}, status=400)

    return guarded


def _is_local(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


async def _document(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise ValueError("send application/json")
    document = await request.json()
    if not isinstance(document, dict):
        raise ValueError("send an object")  # noqa: TRY004
    return document


def _patience(request: web.Request) -> tuple[str, int, float]:
    query = request.query
    timeout = min(float(query.get("timeout", "30")), LONGEST_WAIT)
    return query.get("operation", "*"), int(query.get("count", "1")), timeout


def _written(order: dict[str, Any]) -> dict[str, Any]:
    """An order as JSON can hold it."""
    body = order["body"]
    return {**order, "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body}
