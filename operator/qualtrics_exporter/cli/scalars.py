"""Where in a YAML file each character of a text stands, whichever of YAML's five ways to write a text was used.

A text and its lines in the file have the same visible characters in the same order: blanks are what YAML folds, strips
and indents, and escapes stand for one character each. So the visible ones are paired off, one by one, and a blank
stands just behind the visible one before it. If the two do not pair (a way to write a text that is not known here),
there is no answer rather than a wrong one.
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


def places(source: str, node: yaml.ScalarNode) -> list[int] | None:
    """The offset of each character of the node's text, and of its end; None if they cannot be told."""
    found: list[int] = []
    start = _start(source, node)
    after, written = start, _written(source, node, start)
    for sign in node.value:
        if sign in _BLANK:
            found.append(after)
            after += 1
            continue
        there = next(written, None)
        if there is None or there[0] != sign:
            return None
        found.append(there[1])
        after = there[2]
    if next(written, None) is not None:
        return None
    return [*found, after]


def _start(source: str, node: yaml.ScalarNode) -> int:
    """Where the text itself begins, behind an &anchor or a !tag."""
    found = _PROPERTIES.match(source, int(node.start_mark.index), int(node.end_mark.index))
    return found.end() if found else int(node.start_mark.index)


def _written(source: str, node: yaml.ScalarNode, start: int) -> Iterator[tuple[str, int, int]]:
    """Each visible character as the file has it: what it stands for, where it begins, where it ends."""
    at, end = start, int(node.end_mark.index)
    if node.style in ("|", ">"):
        # The first line says how the text is written: |2-  # a comment
        at = next((i for i in range(at, end) if source[i] in "\r\n\x85\u2028\u2029"), end)
    elif node.style in ("'", '"'):
        at, end = at + 1, end - 1
    while at < end:
        sign, length = source[at], 1
        if node.style == "'" and source[at : at + 2] == "''":
            length = 2
        elif node.style == '"' and sign == "\\":
            sign, length = _escaped(source, at)
        if sign and sign not in _BLANK:
            yield sign, at, at + length
        at += length


def _escaped(source: str, at: int) -> tuple[str, int]:
    """What an escape stands for, and its length; an escaped line break stands for nothing."""
    found = _ESCAPE.match(source, at + 1)
    if not found:
        return "\\", 1
    word = found[0]
    if len(word) > 2 and word[0] in "xuU":
        return chr(int(word[1:], 16)), 1 + len(word)
    if word[0] in "\r\n\x85\u2028\u2029":
        return "", 1 + len(word)
    return _SHORT.get(word, word), 1 + len(word)
