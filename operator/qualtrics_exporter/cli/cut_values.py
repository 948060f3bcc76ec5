"""Finds values that lose a part because YAML reads it as something else.

An unquoted `#` after a space starts a comment: `queryId: #everyone` has no value, and `subject: Survey #5` sends
"Survey". An unquoted `!` or `&` at the beginning starts a tag or an anchor: `fromName: &Co` is empty. kubectl accepts
all of these. Only fields with free text are checked. Intended comments and anchors are not reported: comments with a
space after the `#` that do not begin with a clause of NQL (`# | where`), and anchors with an alias.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from qualtrics_exporter.cli.located import Document, Location

_TEXTS: tuple[Location, ...] = (
    ("spec", "description"),
    ("spec", "nexthink", "query"),
    ("spec", "nexthink", "queryId"),
    ("spec", "qualtrics", "fromName"),
    ("spec", "qualtrics", "subject"),
)
_PARAMETERS: Location = ("spec", "nexthink", "parameters")
_STRING_DATA: Location = ("stringData",)
_COMMENT = re.compile(r"(?:[ \t]+|[ \t]*\r?\n([ \t]+))(#(?:[^\s#]|[ \t]*\|)[^\r\n]*)")
_PROPERTY = re.compile(r"[&!][^\s,\[\]{}]*")


@dataclass(frozen=True, slots=True)
class CutValue:
    """The part of a value that YAML reads as something else, by its offsets in the text."""

    path: str
    start: int
    end: int
    message: str


def cut_values(document: Document) -> Iterator[CutValue]:
    """The values of an exporter that lose a part."""
    fields = [(location, ".".join(map(str, location))) for location in _TEXTS]
    yield from _cut(document, [*fields, *_inner(document, _PARAMETERS)])


def cut_in_secret(document: Document) -> Iterator[CutValue]:
    """The same for a Secret. No message shows a value."""
    yield from _cut(document, _inner(document, _STRING_DATA))


def _inner(document: Document, location: Location) -> list[tuple[Location, str]]:
    node = document.node_at(location)
    names = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    # A name can be any text, such as an address, so the path does not show it.
    return [((*location, name), f"{'.'.join(map(str, location))}.*") for name in names]


def _cut(document: Document, fields: list[tuple[Location, str]]) -> Iterator[CutValue]:
    for location, path in fields:
        node = document.node_at(location)
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            block = ", or write it as a block after |" if location[-1] == "query" else ""
            for start, end, what in _parts(document, location, node):
                yield CutValue(path, start, end, f"{path} {what}; put the value in quotes{block}")


def _parts(document: Document, location: Location, node: yaml.ScalarNode) -> Iterator[tuple[int, int, str]]:
    source = document.source
    comment = _COMMENT.match(source, int(node.end_mark.index))
    # A comment on its own line with the indentation of the keys is more likely a field that is commented out.
    if comment and (comment[1] is None or len(comment[1]) > _indentation(document, location)):
        what = "ends here" if node.value else "is empty"
        yield *comment.span(2), f"{what}: in YAML, an unquoted # starts a comment"
    found = _PROPERTY.match(source, int(node.start_mark.index))
    if found and found[0].startswith("!") and not found[0].startswith("!!"):
        yield *found.span(), "begins after this: in YAML, an unquoted ! starts a tag"
    elif found and found[0].startswith("&") and not re.search(rf"\*{re.escape(found[0][1:])}(?![^\s,\]}}:])", source):
        yield *found.span(), "begins after this: in YAML, an unquoted & starts an anchor"


def _indentation(document: Document, location: Location) -> int:
    return document.source.position(document.offset(location, of_key=True)).column - 1


def comment_before(text: str, offset: int) -> int | None:
    """The line, from 1, of a comment that may be the reason for invalid YAML at that offset."""
    lines = text[:offset].splitlines() or [""]
    for number in range(len(lines), max(0, len(lines) - 3), -1):
        if _AFTER_A_VALUE.search(lines[number - 1]):
            return number
        if number < len(lines) and lines[number - 1].strip():
            break
    return None


_AFTER_A_VALUE = re.compile(r"""^(?:"[^"]*"|'[^']*'|[^#"'])*(?<=[^\s])[ \t]+#[^\s#]""")
