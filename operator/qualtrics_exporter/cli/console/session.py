"""Who may use the console: the person who has the address that the terminal shows, in one browser.

The address has a token that works once. The reply sets a cookie, which every other request must have. So the address in
the history of the browser, or in the list of processes, is worthless afterwards. Cookies do not distinguish ports. So
the cookie is limited to a path that only the address has, and servers on other ports of this machine never get it.
"""

import secrets
from secrets import compare_digest

from aiohttp import web

from qualtrics_exporter.cli.console.peer import is_another_user
from qualtrics_exporter.pages import serving

COOKIE = "qex-session"


class NotAllowed(Exception):
    """The request is refused with 403. The text is a sentence for the page."""


class Session:
    """One run of the console, at this port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.base = f"/{secrets.token_urlsafe(9)}/"
        self._cookie = secrets.token_urlsafe(32)
        self._token: str | None = None

    def new_address(self) -> str:
        """An address that works once. The one before it stops working."""
        self._token = secrets.token_urlsafe(32)
        return f"http://{self.host}{self.base}?token={self._token}"

    def begin(self, request: web.Request) -> bool:
        """Whether the request has the token, which is used up then. Raises `NotAllowed` for a foreign host or token."""
        if request.path != self.base or request.method != "GET" or "token" not in request.query:
            return False
        if request.headers.getall("Host", []) != [self.host]:
            raise NotAllowed(f"This page has the address http://{self.host}/ only.")
        if self.knows(request):
            return True
        if self._token is None or not _same(request.query["token"], self._token):
            raise NotAllowed("This address was used already, or it belongs to an earlier run.")
        if is_another_user(request):
            raise NotAllowed("Only the user who has started the console can open it.")
        self._token = None
        return True

    def check(self, request: web.Request) -> None:
        """Raise `NotAllowed` unless a page of this session made the request."""
        if problem := serving.foreign(request, self.host):
            raise NotAllowed(problem)
        if not self.knows(request):
            raise NotAllowed("This browser has not opened the address of the console yet.")

    def knows(self, request: web.Request) -> bool:
        """Whether the request has the cookie. Other programs of this host may have set others, in any form."""
        sent = (
            pair.strip().partition("=") for text in request.headers.getall("Cookie", []) for pair in text.split(";")
        )
        return any(name == COOKIE and _same(value, self._cookie) for name, _, value in sent)

    def remember(self, response: web.StreamResponse) -> None:
        """Set the cookie. It ends with the browser."""
        response.set_cookie(COOKIE, self._cookie, path=self.base, httponly=True, samesite="Strict")


def _same(one: str, other: str) -> bool:
    return compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())
