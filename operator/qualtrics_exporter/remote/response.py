"""A response, and functions that read its JSON without trusting its shape."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qualtrics_exporter.remote.errors import CODE
from qualtrics_exporter.remote.json_pieces import LimitExceeded, parse

SMALL_BODY = 128 * 1024
"""Bytes of a response that are parsed in one piece, which takes a few milliseconds at most."""


class NotUnderstood(Exception):
    """A response without the expected content. The text is a clause that says what is wrong, without the content."""


class TooMuch(NotUnderstood):
    """A response that is larger than any valid one. The text is a clause with the limit that it exceeds."""


@dataclass(slots=True, repr=False)
class Response:
    """Status, headers (names in lower case) and the complete body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    _parsed: list[Any] = field(default_factory=list)
    """The document, after it was parsed."""
    empty: bool = field(init=False)
    """Whether the response has no body. `parse` frees a large `body`, so that attribute does not show it."""

    def __post_init__(self) -> None:
        self.empty = not self.body.strip()

    @property
    def good(self) -> bool:
        """Whether it is a success, such as 200, 202 and 206."""
        return 200 <= self.status < 300

    def document(self) -> Any:
        """The body as JSON; NotUnderstood if it is not JSON. `parse` must have parsed a large body before."""
        if not self._parsed:
            for _ in self._pieces():
                pass
        document = self._parsed[0]
        if isinstance(document, NotUnderstood):
            raise document
        return document

    async def parse(self, pause: Callable[[], Awaitable[None]]) -> None:
        """Parse a large body in pieces, with a pause after each. Errors are raised by `document`."""
        if len(self.body) > SMALL_BODY:
            for _ in self._pieces():
                await pause()

    def _pieces(self) -> Iterator[None]:
        document: Any
        try:
            if len(self.body) <= SMALL_BODY:
                document = json.loads(self.body.decode("utf-8-sig"))
            else:
                text, self.body = self.body.decode("utf-8-sig"), b""
                document = yield from parse(text)
        except RecursionError:
            document = TooMuch("it is nested too deeply")
        except LimitExceeded as error:
            document = TooMuch(str(error))
        except ValueError:
            document = NotUnderstood("it is not JSON")
        self._parsed.append(document)

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"


def get_path(document: Any, *path: str) -> Any:
    """The value at a path; None if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def get_text(document: Any, *path: str) -> str:
    """The text at a path. Raises `NotUnderstood` if there is none."""
    value = get_path(document, *path)
    if not isinstance(value, str) or not value:
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def get_id(document: Any, *path: str) -> str:
    """The id at a path, in a form that can be shown and used in a URL. Raises `NotUnderstood`."""
    value = get_text(document, *path)
    if not CODE.fullmatch(value) or not value.strip("."):
        raise NotUnderstood(f"its {'.'.join(path)} is not an id")
    return value


def get_list(document: Any, *path: str) -> list[Any]:
    """The list at a path. Raises `NotUnderstood` if there is none."""
    value = get_path(document, *path)
    if not isinstance(value, list):
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def get_count(document: Any, *path: str) -> int:
    """The count at a path. Raises `NotUnderstood` if there is none."""
    value = get_count_or_none(document, *path)
    if value is None:
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def get_count_or_none(document: Any, *path: str) -> int | None:
    """The count at a path; None if there is none."""
    value = get_path(document, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)


def get_code_or_none(document: Any, *path: str) -> str | None:
    """The code at a path; None for any other value, which could be text about people."""
    value = get_path(document, *path)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
        return str(value)
    return value if isinstance(value, str) and CODE.fullmatch(value) else None
