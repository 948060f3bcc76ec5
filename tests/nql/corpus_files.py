"""Reads the corpus: queries with their expected findings (see corpus/README.md)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("corpus")
_EXPECTED = re.compile(r" *\^ (error|warning) (\w+) ([a-z-]+)")
_UNITS = {"min": "minutes", "h": "hours", "d": "days"}


class Expected(NamedTuple):
    """A finding at a line and a column."""

    line: int
    column: int
    severity: str
    reason: str
    rule: str


@dataclass(frozen=True)
class Entry:
    """A query of the corpus."""

    file: str
    title: str
    query: str
    expected: list[Expected]
    parameters: dict[str, str] = field(default_factory=dict)
    interval: timedelta | None = None


def entries() -> Iterator[Entry]:
    """All entries, in the order of the files."""
    for path in sorted(FOLDER.glob("*.nql")):
        for text in re.split(r"^== ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            yield _entry(path.name, text.rstrip("\n"))


def _entry(file: str, text: str) -> Entry:
    title, *lines = text.split("\n")
    options = lines.pop(0) if lines and lines[0].startswith("-- ") else None
    query: list[str] = []
    expected = []
    for line in lines:
        if found := _EXPECTED.fullmatch(line):
            expected.append(Expected(len(query), line.index("^") + 1, *found.groups()))
        else:
            assert not line.lstrip().startswith("^"), f"{file}: {title}: {line!r} is not a valid expectation"
            query.append(line)
    text, parameters, interval = with_options(options, "\n".join(query).rstrip("\n"))
    return Entry(file, title, text, sorted(expected), parameters, interval)


def with_options(line: str | None, query: str) -> tuple[str, dict[str, str], timedelta | None]:
    """The query, with the parameters and the interval of its options line."""
    options = _options(line) if line else {}
    if options.pop("escaped", None) is not None:
        query = query.encode("latin-1", "backslashreplace").decode("unicode_escape")
    every = options.pop("every", None)
    return query, options, _interval(every) if every else None


def _options(line: str) -> dict[str, str]:
    words = (word.strip() for word in line.removeprefix("-- ").split(","))
    return dict(re.fullmatch(r"(\w+)[= ]?(.*)", word).groups() for word in words)  # type: ignore[union-attr]


def _interval(every: str) -> timedelta:
    number, unit = re.fullmatch(r"(\d+)(min|h|d)", every).groups()  # type: ignore[union-attr]
    return timedelta(**{_UNITS[unit]: int(number)})
