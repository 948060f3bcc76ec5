"""Qualtrics: who may ask, how often, and what can be read before a send (Qualtrics §1, §4, §6).

Unknown, and decided here: a false or expired token is 401 without an `errorCode`; a credential of another
datacenter gets a token and then 401 `DCD_7` on each call; which scope a call needs is inferred from the scopes'
names; a missing message, list or import is a 404 without `errorCode`.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.limits import Windows, retry_after
from qualtrics_exporter.sandbox.middleware import Handler, Middleware, Reply
from qualtrics_exporter.sandbox.qualtrics_state import QualtricsState
from qualtrics_exporter.sandbox.strict import plain, refusal, result, written
from qualtrics_exporter.sandbox.tokens import Tokens, covers

API = "/API/v3"

SCOPES = {
    "whoami": {"read:users"},
    "read_survey": {"read:surveys"},
    "read_message": {"read:libraries"},
    "list_directories": {"read:directories"},
    "read_mailing_list": {"read:mailing_lists"},
    "create_batch": {"write:contact_transactions"},
    "add_transactions": {"write:contact_transactions"},
    "list_transactions": {"write:contact_transactions"},
    "import_contacts": {"write:mailing_list_contacts", "write:contact_transactions"},
    "import_status": {"write:mailing_list_contacts"},
    "create_distribution": {"write:distributions"},
    "list_distributions": {"read:distributions"},
    "read_distribution": {"read:distributions"},
    "distribution_history": {"read:distributions"},
    "distribution_links": {"read:distributions"},
}
"""Least privilege (Qualtrics §1, I). `manage:<resource>` covers that resource, `manage:all` everything."""


class QualtricsApi:
    """The door of one brand, and its plain reads. The rooms behind are `Imports` and `Distributions`."""

    def __init__(self, account: Account, clock: Clock, middleware: Middleware, state: QualtricsState) -> None:
        self.account = account
        self.clock = clock
        self.state = state
        self.url = ""
        self._middleware = middleware
        self._windows = Windows(clock)
        self.tokens = Tokens(clock, lambda: account.qualtrics_credentials, lambda: account.qualtrics_token_seconds)

    def mount(self, app: web.Application) -> None:
        """Serve the token endpoint and the plain reads; `close` comes last."""
        self._middleware.route(app, "qualtrics", "POST", "/oauth2/token", "token", self.tokens.give, plain=plain)
        self.route(app, "GET", "/whoami", "whoami", self.whoami)
        self.route(app, "GET", "/surveys/{survey_id}", "read_survey", self.read_survey)
        self.route(app, "GET", "/libraries/{library_id}/messages/{message_id}", "read_message", self.read_message)
        self.route(app, "GET", "/directories", "list_directories", self.list_directories)
        path = "/directories/{directory_id}/mailinglists/{list_id}"
        self.route(app, "GET", path, "read_mailing_list", self.read_mailing_list)

    def close(self, app: web.Application) -> None:
        """Everything else is a 404 in an envelope; the old `/mailinglists` endpoints too (removed, D)."""
        self._middleware.route(app, "qualtrics", "*", "/{path:(?!_sandbox).*}", "unknown", self.unknown, plain=plain)

    def route(self, app: web.Application, method: str, path: str, operation: str, handler: Handler) -> None:
        """Serve an API path to those who may call it, as often as they may."""
        self._middleware.route(
            app, "qualtrics", method, API + path, operation, self._guarded(operation, handler), plain=plain
        )

    def _guarded(self, operation: str, handler: Handler) -> Callable[[web.Request], Awaitable[Reply]]:
        async def guarded(request: web.Request) -> Reply:
            self.state.settle()
            self._authorize(request, operation)
            self._count(operation)
            return await handler(request)

        return guarded

    def _authorize(self, request: web.Request, operation: str) -> None:
        if "Authorization" not in request.headers:
            raise refusal(400, "Missing authentication.", "ATP_2")
        grant = self.tokens.holder(request)
        if grant is None:
            raise refusal(401, "The token is not valid.")
        if grant.credential.elsewhere == "call":
            raise refusal(401, "Unrecognized X-API-TOKEN.", "DCD_7")
        if not covers(grant.scopes, SCOPES.get(operation, set())):
            raise refusal(403, "The token's scopes do not allow this.", "AuthZ_2.0")

    def _count(self, operation: str) -> None:
        limits = self.account.limits
        own = limits.qualtrics_endpoints_per_minute.get(operation)
        wait = self._windows.enter(("brand", limits.qualtrics_brand_per_minute, 60), (operation, own, 60))
        if wait is not None:
            headers = retry_after(limits.qualtrics_retry_after, wait, self.clock)
            raise refusal(429, "Too many requests.", headers=headers)

    def page(self, request: web.Request, elements: Sequence[Any], size: int) -> Reply:
        """One page of a list. `skipToken` is the place to go on from; `nextPage` is absolute, maybe elsewhere."""
        token = request.query.get("skipToken", "0")
        start = int(token) if token.isdecimal() else -1
        if start < 0 or start > len(elements):
            raise refusal(400, "skipToken is not valid.", "QVAL_1")
        end = start + size
        query = urlencode({**request.query, "skipToken": end})
        origin = self.account.next_page_origin or self.url
        following = f"{origin}{request.path}?{query}" if end < len(elements) else None
        return result({"elements": elements[start:end], "nextPage": following})

    # The reads.

    async def unknown(self, request: web.Request) -> Reply:
        raise refusal(404, "The requested resource does not exist.")

    async def whoami(self, request: web.Request) -> Reply:
        return result(
            {
                "brandId": "sandbox",
                "userId": "UR_sandboxUser0001",
                "userName": "api@example.com#sandbox",
                "accountType": "UT_BRANDADMIN",
                "firstName": "Sandbox",
                "lastName": "User",
                "email": "api@example.com",
                "datacenter": "sandbox",
                "language": "en",
                "timeZone": "UTC",
            }
        )

    async def read_survey(self, request: web.Request) -> Reply:
        survey = self.account.surveys.get(request.match_info["survey_id"])
        if survey is None:
            raise refusal(404, "The requested survey does not exist.", "QVAL_404")
        expiration = {"startDate": _written(survey.starts), "endDate": _written(survey.ends)}
        answer = {"id": survey.id, "name": survey.name, "isActive": survey.active, "expiration": expiration}
        return result(answer)

    async def read_message(self, request: web.Request) -> Reply:
        message = self.account.messages.get(request.match_info["message_id"])
        if message is None or message.library_id != request.match_info["library_id"]:
            raise refusal(404, "The requested message does not exist.")
        answer = {"category": message.category, "description": message.description, "messages": message.texts}
        return result(answer)

    async def list_directories(self, request: web.Request) -> Reply:
        elements = [
            {
                "directoryId": directory.id,
                "name": directory.name,
                "contactCount": 0,
                "isDefault": False,
                "deduplicationCriteria": {"email": True, "firstName": False, "lastName": False, "phone": False},
            }
            for directory in self.account.directories.values()
        ]
        return self.page(request, elements, self.account.directories_page_size)

    async def read_mailing_list(self, request: web.Request) -> Reply:
        directory_id, list_id = request.match_info["directory_id"], request.match_info["list_id"]
        if not self.account.has_list(directory_id, list_id):
            raise refusal(404, "The requested mailing list does not exist.")
        answer = {
            "mailingListId": list_id,
            "name": self.account.mailing_lists[list_id].name,
            "ownerId": self.account.library_id,
            "contactCount": len(self.state.contacts(directory_id, list_id)),
        }
        return result(answer)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else written(moment)
