"""A reply that came, and how to read what is in it without trusting its shape."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qualtrics_exporter.remote.json_pieces import LimitExceeded, parse

SMALL_BODY = 128 * 1024
"""Bytes of a reply that are parsed at once: that takes a few milliseconds, whatever they are."""

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


class NotUnderstood(Exception):
    """A reply does not hold what it must. The text says where, never what it holds instead."""


class TooMuch(NotUnderstood):
    """A reply holds more than anything that can be meant. The text says which limit it exceeds."""


@dataclass(slots=True, repr=False)
class Response:
    """Status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    _parsed: list[Any] = field(default_factory=list)
    """The document, once it was parsed."""
    empty: bool = field(init=False)
    """Whether it came without a body. `parse` gives up the text of a large one, so `body` does not tell."""

    def __post_init__(self) -> None:
        self.empty = not self.body.strip()

    @property
    def good(self) -> bool:
        """Whether it is a success: also 202, and 206."""
        return 200 <= self.status < 300

    def document(self) -> Any:
        """The body as JSON; NotUnderstood if it is none. A large one is parsed by `parse` before, not here."""
        if not self._parsed:
            for _ in self._pieces():
                pass
        document = self._parsed[0]
        if isinstance(document, NotUnderstood):
            raise document
        return document

    async def parse(self, pause: Callable[[], Awaitable[None]]) -> None:
        """Parse a large body in pieces, with a pause after each. Raises nothing: `document` does."""
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
        return f"<Reply {self.status}, {len(self.body)} bytes>"


def get_path(document: Any, *path: str) -> Any:
    """What lies at that path; None where there is nothing."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def get_text(document: Any, *path: str) -> str:
    """The text at that path, which must be there."""
    value = get_path(document, *path)
    if not isinstance(value, str) or not value:
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def get_id(document: Any, *path: str) -> str:
    """The id at that path. Opaque, but one that can be shown and put into a path."""
    value = get_text(document, *path)
    if not _CODE.fullmatch(value) or not value.strip("."):
        raise NotUnderstood(f"its {'.'.join(path)} is no id")
    return value


def get_list(document: Any, *path: str) -> list[Any]:
    """The list at that path, which must be there."""
    value = get_path(document, *path)
    if not isinstance(value, list):
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def get_count(document: Any, *path: str) -> int:
    """The number of things at that path, which must be there."""
    value = get_count_or_none(document, *path)
    if value is None:
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def get_count_or_none(document: Any, *path: str) -> int | None:
    """The number of things at that path, if there is one."""
    value = get_path(document, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)


def get_code_or_none(document: Any, *path: str) -> str | None:
    """What looks like a code at that path. Anything else could be text about people, and is not let in."""
    value = get_path(document, *path)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
        return str(value)
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
