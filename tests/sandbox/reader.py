"""A reader of the pages of the sandbox, without a browser: the text of a page, and its forms."""

from html.parser import HTMLParser

import httpx


class _Text(HTMLParser):
    """The text of a page as a reader sees it, with a space between elements."""

    UNSEEN = ("script", "style", "title", "option", "meter")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self._unseen = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in self.UNSEEN
        self.words += [value or "" for name, value in attrs if name == "value" and tag == "input"]

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in self.UNSEEN

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words += data.split()


class Reader:
    """Reads pages, and sends forms like a browser that shows a page of this server."""

    def __init__(self, http: httpx.AsyncClient, origin: str) -> None:
        self.http = http
        self.origin = origin
        self.url = origin + "/_sandbox"

    async def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.get(self.url + path, headers=headers)

    async def text(self, path: str) -> str:
        """The text of a page, with a space between words. Markup that is shown as text is in it."""
        return text_of((await self.get(path)).text)

    async def post(self, path: str, origin: dict[str, str] | None = None, **form: str) -> httpx.Response:
        """Send a form. `origin` replaces the headers with which a browser says where the form is from."""
        if origin is None:
            origin = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        return await self.http.post(self.url + path, data=form, headers=origin)


def text_of(html: str) -> str:
    return " ".join(_Text(html).words)
