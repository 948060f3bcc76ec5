"""Values of which YAML takes a part for something else.

An unquoted `#` after a space starts a comment: `queryId: #everyone` has no value, and `subject: Survey #5` sends
"Survey". An unquoted `!` or `&` at the beginning starts a tag or an anchor: `fromName: &Co` is empty. kubectl takes
all of them. Only values that are free text are looked at. A comment that somebody means has a space after its `#`, and
an anchor that somebody means has an alias.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from .located import Document, Location

_TEXTS: tuple[Location, ...] = (
    ("spec", "description"),
    ("spec", "nexthink", "query"),
    ("spec", "nexthink", "queryId"),
    ("spec", "qualtrics", "fromName"),
    ("spec", "qualtrics", "subject"),
)
_PARAMETERS: Location = ("spec", "nexthink", "parameters")
_COMMENT = re.compile(r"[ \t]+(#[^\s#].*)")
_PROPERTY = re.compile(r"[&!][^\s,\[\]{}]*")


@dataclass(frozen=True, slots=True)
class CutValue:
    """What was cut off, by its place in the text."""

    path: str
    start: int
    end: int
    message: str


def cut_values(document: Document) -> Iterator[CutValue]:
    """The values that lose a part, in no certain order."""
    parameters = document.node_at(_PARAMETERS)
    names = [key.value for key, _ in parameters.value] if isinstance(parameters, yaml.MappingNode) else []
    # The name of a parameter may be anything: it is not repeated.
    fields = [(location, ".".join(map(str, location))) for location in _TEXTS]
    fields += [((*_PARAMETERS, name), f"{'.'.join(map(str, _PARAMETERS))}.*") for name in names]
    for location, path in fields:
        node = document.node_at(location)
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            block = ", or write it as a block after |" if location[-1] == "query" else ""
            for start, end, what in _cuts(document, node):
                yield CutValue(path, start, end, f"{path} {what}; put the value in quotes{block}")


def _cuts(document: Document, node: yaml.ScalarNode) -> Iterator[tuple[int, int, str]]:
    source = document.source
    if found := _COMMENT.match(source, int(node.end_mark.index)):
        what = "ends here" if node.value else "is empty"
        yield *found.span(1), f"{what}: in YAML, an unquoted # starts a comment"
    found = _PROPERTY.match(source, int(node.start_mark.index))
    if found and found[0].startswith("!") and not found[0].startswith("!!"):
        yield *found.span(), "begins after this: in YAML, an unquoted ! starts a tag"
    elif found and found[0].startswith("&") and not re.search(rf"\*{re.escape(found[0][1:])}(?![^\s,\]}}:])", source):
        yield *found.span(), "begins after this: in YAML, an unquoted & starts an anchor"


def comment_before(text: str, offset: int) -> int | None:
    """The line of a comment that may be why the text is not YAML at that place, counted from 1."""
    lines = text[:offset].splitlines() or [""]
    for number in range(len(lines), max(0, len(lines) - 3), -1):
        if _AFTER_A_VALUE.search(lines[number - 1]):
            return number
        if number < len(lines) and lines[number - 1].strip():
            break
    return None


_AFTER_A_VALUE = re.compile(r"[^\s#][ \t]+#[^\s#]")
