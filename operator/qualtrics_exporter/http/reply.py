"""A reply that came, and how to read what is in it without trusting its shape."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


class NotUnderstood(Exception):
    """A reply does not hold what it must. The text says where, never what it holds instead."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """Status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        """Whether it is a success: also 202, and 206."""
        return 200 <= self.status < 300

    def document(self) -> Any:
        """The body as JSON; NotUnderstood if it is none."""
        try:
            return json.loads(self.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise NotUnderstood("it is not JSON") from None

    def __repr__(self) -> str:
        return f"<Reply {self.status}, {len(self.body)} bytes>"


def at(document: Any, *path: str) -> Any:
    """What lies at that path; None where there is nothing."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def text_at(document: Any, *path: str) -> str:
    """The text at that path, which must be there."""
    value = at(document, *path)
    if not isinstance(value, str) or not value:
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def id_at(document: Any, *path: str) -> str:
    """The id at that path. Opaque, but one that can be shown and put into a path."""
    value = text_at(document, *path)
    if not _CODE.fullmatch(value) or not value.strip("."):
        raise NotUnderstood(f"its {'.'.join(path)} is no id")
    return value


def list_at(document: Any, *path: str) -> list[Any]:
    """The list at that path, which must be there."""
    value = at(document, *path)
    if not isinstance(value, list):
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def count_at(document: Any, *path: str) -> int:
    """The number of things at that path, which must be there."""
    value = count_or_none(document, *path)
    if value is None:
        raise NotUnderstood(f"it has no {'.'.join(path)}")
    return value


def count_or_none(document: Any, *path: str) -> int | None:
    """The number of things at that path, if there is one."""
    value = at(document, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)


def code_or_none(document: Any, *path: str) -> str | None:
    """What looks like a code at that path. Anything else could be text about people, and is not let in."""
    value = at(document, *path)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
        return str(value)
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
