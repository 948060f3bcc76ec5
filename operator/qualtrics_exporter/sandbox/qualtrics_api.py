"""The API of Qualtrics: access, rate limits, and what clients read before a send (Qualtrics §1, §4 and §6).

Unknown, and decided here: an invalid or expired token is a 401 without an `errorCode`. A credential of another
datacenter gets a token, and then 401 `DCD_7` for each request. The scope that a request needs follows from the names
of the scopes. A missing message, list or import is a 404 without `errorCode`.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.limits import SlidingWindows, Use, retry_after
from qualtrics_exporter.sandbox.middleware import Handler, Middleware, Reply
from qualtrics_exporter.sandbox.qualtrics_json import format_time, refusal, result, status_reply
from qualtrics_exporter.sandbox.qualtrics_state import QualtricsState
from qualtrics_exporter.sandbox.tokens import TokenEndpoint, covers

API = "/API/v3"
MINUTE = 60.0

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
"""The scopes that each operation needs (Qualtrics §1, I)."""


class QualtricsApi:
    """The API of one brand. `Imports` and `Distributions` add their operations with `route`."""

    def __init__(self, account: Account, clock: Clock, middleware: Middleware, state: QualtricsState) -> None:
        self.account = account
        self.clock = clock
        self.state = state
        self.url = ""
        self._middleware = middleware
        self._windows = SlidingWindows(clock)
        self.tokens = TokenEndpoint(
            clock, lambda: account.qualtrics_credentials, lambda: account.qualtrics_token_seconds
        )

    def mount(self, app: web.Application) -> None:
        """Serve the token endpoint and the reads. Call `close` after all other routes."""
        self._middleware.route(
            app, "qualtrics", "POST", "/oauth2/token", "token", self.tokens.issue, status_reply=status_reply
        )
        self.route(app, "GET", "/whoami", "whoami", self.whoami)
        self.route(app, "GET", "/surveys/{survey_id}", "read_survey", self.read_survey)
        self.route(app, "GET", "/libraries/{library_id}/messages/{message_id}", "read_message", self.read_message)
        self.route(app, "GET", "/directories", "list_directories", self.list_directories)
        path = "/directories/{directory_id}/mailinglists/{list_id}"
        self.route(app, "GET", path, "read_mailing_list", self.read_mailing_list)

    def close(self, app: web.Application) -> None:
        """Serve any other path as a 404 in the envelope, also the removed `/mailinglists` endpoints (D)."""
        self._middleware.route(
            app, "qualtrics", "*", "/{path:(?!_sandbox).*}", "unknown", self.unknown, status_reply=status_reply
        )

    def route(self, app: web.Application, method: str, path: str, operation: str, handler: Handler) -> None:
        """Serve a path of the API, with a check of the token, the scopes and the rate limits."""
        self._middleware.route(
            app,
            "qualtrics",
            method,
            API + path,
            operation,
            self._guarded(operation, handler),
            status_reply=status_reply,
        )

    def _guarded(self, operation: str, handler: Handler) -> Callable[[web.Request], Awaitable[Reply]]:
        async def guarded(request: web.Request) -> Reply:
            self.state.process_due()
            self._authorize(request, operation)
            self._count(operation)
            return await handler(request)

        return guarded

    def _authorize(self, request: web.Request, operation: str) -> None:
        if "Authorization" not in request.headers:
            raise refusal(400, "Missing authentication.", "ATP_2")
        token = self.tokens.find(request)
        if token is None:
            raise refusal(401, "The token is not valid.")
        if token.credential.elsewhere == "call":
            raise refusal(401, "Unrecognized X-API-TOKEN.", "DCD_7")
        if not covers(token.scopes, SCOPES.get(operation, set())):
            raise refusal(403, "The token's scopes do not allow this.", "AuthZ_2.0")

    def _count(self, operation: str) -> None:
        limits = self.account.limits
        own = limits.qualtrics_endpoints_per_minute.get(operation)
        wait = self._windows.enter(("brand", limits.qualtrics_brand_per_minute, MINUTE), (operation, own, MINUTE))
        if wait is not None:
            headers = retry_after(limits.qualtrics_retry_after, wait, self.clock)
            raise refusal(429, "Too many requests.", headers=headers)

    def uses(self) -> list[Use]:
        """How much of the rate limits, and of the limit of imports in progress, is used now."""
        limits = self.account.limits
        return [
            Use("qualtrics_brand_per_minute", limits.qualtrics_brand_per_minute, self._windows.used("brand", MINUTE)),
            *(
                Use(f"qualtrics_endpoints_per_minute.{name}", limit, self._windows.used(name, MINUTE))
                for name, limit in limits.qualtrics_endpoints_per_minute.items()
            ),
            Use("qualtrics_jobs", limits.qualtrics_jobs, self.state.running_imports),
        ]

    def page(self, request: web.Request, elements: Sequence[Any], size: int) -> Reply:
        """One page of a list. `skipToken` is the index of its first element. `nextPage` is an absolute URL."""
        token = request.query.get("skipToken", "0")
        start = int(token) if token.isdecimal() else -1
        if start < 0 or start > len(elements):
            raise refusal(400, "skipToken is not valid.", "QVAL_1")
        end = start + size
        query = urlencode({**request.query, "skipToken": end})
        origin = self.account.next_page_origin or self.url
        next_page = f"{origin}{request.path}?{query}" if end < len(elements) else None
        return result({"elements": elements[start:end], "nextPage": next_page})

    # Reads before a send.

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
        expiration = {"startDate": _optional_time(survey.starts), "endDate": _optional_time(survey.ends)}
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


def _optional_time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
