"""JSON, parsed in small pieces, for documents that would block the event loop.

`json.loads` takes a tenth of a second for a megabyte of distinct keys. This parser accepts the same documents, without
NaN and Infinity, and within limits on memory.
"""

import re
from collections.abc import Generator
from json import JSONDecoder
from typing import Any

MAX_VALUES = 150_000
"""The sum of numbers, texts, objects and so on. Each takes up to 250 bytes."""
MAX_DEPTH = 100
_PIECE = 256

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,399})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,400})?")
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}


class LimitExceeded(Exception):
    """The document is larger than any valid one. The text is a clause with the limit that it exceeds."""


def parse(text: str) -> Generator[None, None, Any]:
    """The document, as the value of the generator, which yields after each small amount of work.

    Raises ValueError for a text that is not JSON, and `LimitExceeded`.
    """
    at = values = 0
    containers: list[dict[str, Any] | list[Any]] = []
    keys: list[str] = []
    known: dict[str, str] = {}
    read_text = JSONDecoder().raw_decode

    def space(at: int) -> int:
        match = _SPACE.match(text, at)
        return match.end() if match else at

    def key(at: int) -> int:
        if text[at : at + 1] != '"':
            raise ValueError
        name, at = read_text(text, at)
        keys.append(known.setdefault(name, name))
        at = space(at)
        if text[at : at + 1] != ":":
            raise ValueError
        return at + 1

    while True:
        values += 1
        if values > MAX_VALUES:
            raise LimitExceeded(f"it has more than {MAX_VALUES:,} values")
        if values % _PIECE == 0:
            yield
        at = space(at)
        sign = text[at : at + 1]
        value: Any
        if sign == '"':
            value, at = read_text(text, at)
        elif sign in ("{", "["):
            value = {} if sign == "{" else []
            at = space(at + 1)
            if text[at : at + 1] == _CLOSING[type(value)]:
                at += 1
            else:
                if len(containers) == MAX_DEPTH:
                    raise LimitExceeded(f"it is nested more than {MAX_DEPTH} levels deep")
                containers.append(value)
                at = key(at) if sign == "{" else at
                continue
        elif number := _NUMBER.match(text, at):
            value, at = float(number[0]) if number[1] or number[2] else int(number[0]), number.end()
        else:
            word, value = _LITERALS.get(sign, ("", None))
            if not word or not text.startswith(word, at):
                raise ValueError
            at += len(word)
        while True:
            at = space(at)
            if not containers:
                if at != len(text):
                    raise ValueError
                return value
            container = containers[-1]
            if isinstance(container, dict):
                container[keys.pop()] = value
            else:
                container.append(value)
            sign, at = text[at : at + 1], at + 1
            if sign == ",":
                at = key(space(at)) if isinstance(container, dict) else at
                break
            if sign != _CLOSING[type(container)]:
                raise ValueError
            value = containers.pop()


_CLOSING: dict[type, str] = {dict: "}", list: "]"}
