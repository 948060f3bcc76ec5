"""Finds the offset in a YAML file of each character of a scalar, in all five styles of YAML.

A value and its lines in the file have the same visible characters in the same order: YAML only folds, strips and
indents blanks, and an escape is one character. So this pairs the visible characters one by one, and puts a blank right
after the visible character before it. If they do not match (an unknown way to write a text), the offsets are unknown.
"""

import re
from collections.abc import Iterator

import yaml

_BLANK = frozenset(" \t\r\n\x85\u2028\u2029")
_ESCAPE = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r\n|.", re.DOTALL)
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
_SHORT = {
    "0": "\0", "a": "\x07", "b": "\x08", "e": "\x1b", "f": "\x0c", "n": "\n", "r": "\r", "t": "\t", "v": "\x0b",
    "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip


def character_offsets(source: str, node: yaml.ScalarNode) -> list[int] | None:
    """The offset of each character of the node's value, and of its end. None if they are unknown."""
    found: list[int] = []
    end = _start(source, node)
    written = _written(source, node, end)
    for char in node.value:
        if char in _BLANK:
            found.append(end)
            end += 1
            continue
        visible, start, end = next(written, ("", 0, 0))
        if visible != char:
            return None
        found.append(start)
    return None if next(written, None) else [*found, end]


def _start(source: str, node: yaml.ScalarNode) -> int:
    """The offset of the text itself, after an &anchor or a !tag."""
    found = _PROPERTIES.match(source, int(node.start_mark.index), int(node.end_mark.index))
    return found.end() if found else int(node.start_mark.index)


def _written(source: str, node: yaml.ScalarNode, start: int) -> Iterator[tuple[str, int, int]]:
    """Each visible character in the file, with its start and end. An escape yields the character that it means."""
    offset, end = start, int(node.end_mark.index)
    if node.style in ("|", ">"):
        # The first line is the header of the block: |2-  # a comment
        offset = next((i for i in range(offset, end) if source[i] in "\r\n\x85\u2028\u2029"), end)
    elif node.style in ("'", '"'):
        offset, end = offset + 1, end - 1
    while offset < end:
        char, length = source[offset], 1
        if node.style == "'" and source[offset : offset + 2] == "''":
            length = 2
        elif node.style == '"' and char == "\\":
            char, length = _escaped(source, offset)
        if char and char not in _BLANK:
            yield char, offset, offset + length
        offset += length


def _escaped(source: str, offset: int) -> tuple[str, int]:
    """The character that an escape means, and its length. An escaped line break means nothing."""
    found = _ESCAPE.match(source, offset + 1)
    if not found:
        return "\\", 1
    word = found[0]
    if len(word) > 2 and word[0] in "xuU":
        return chr(int(word[1:], 16)), 1 + len(word)
    if word[0] in "\r\n\x85\u2028\u2029":
        return "", 1 + len(word)
    return _SHORT.get(word, word), 1 + len(word)
