"""Formats findings as text, JSON or GitHub annotations."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from qualtrics_exporter.cli.manifest_findings import ManifestFinding
from qualtrics_exporter.nql.source import AT_SIGN, Position, Source

_SHOWN = 160
_AROUND = 256  # longer than any address


@dataclass(frozen=True)
class Checked:
    """One file: its text, the number of its exporters, and its findings."""

    file: str
    text: str
    exporters: int
    findings: Sequence[ManifestFinding]


def as_text(checked: Sequence[Checked]) -> str:
    """`FILE:LINE:COLUMN: severity reason: message`, followed by the line with the place marked."""
    lines = []
    for file, source, finding, (line, column) in _all(checked):
        lines.append(f"{_visible(file)}:{line}:{column}: {finding.severity} {finding.reason}: {finding.message}")
        lines += _excerpt(source, finding, line)
    return "".join(f"{line}\n" for line in lines)


def as_json(checked: Sequence[Checked]) -> str:
    """One object with all findings, even if there are none. In ASCII, which every encoding can write."""
    found = []
    for file, _, finding, (line, column) in _all(checked):
        fields = {name: str(getattr(finding, name)) for name in _FIELDS}
        found.append({"file": file, **fields, "line": line, "column": column})
    return json.dumps({"findings": found}, indent=2) + "\n"


_FIELDS = ("namespace", "name", "path", "severity", "reason", "rule", "message")


def as_github(checked: Sequence[Checked]) -> str:
    """Workflow commands, which GitHub shows next to the lines of a pull request."""
    lines = []
    for file, _, finding, (line, column) in _all(checked):
        where = f"file={_property(file)},line={line},col={column},title={_property(finding.reason)}"
        lines.append(f"::{finding.severity} {where}::{_data(finding.message)}")
    return "".join(f"{line}\n" for line in lines)


def _all(checked: Sequence[Checked]) -> Iterator[tuple[str, Source, ManifestFinding, Position]]:
    for each in checked:
        source = Source(each.text)
        for finding in each.findings:
            yield each.file, source, finding, source.position(finding.start)


Format = Callable[[Sequence[Checked]], str]

FORMATS: dict[str, Format] = {"text": as_text, "json": as_json, "github": as_github}


def _excerpt(source: Source, finding: ManifestFinding, number: int) -> list[str]:
    """The line, and carets under the place with the name of the rule.

    Reports end up in logs. So this shows no text outside the exporter (it can be a Secret), and no line with text that
    looks like an address.
    """
    if finding.within is None:
        return []
    line = source.line_span(finding.start)
    first, last = max(line.start, finding.within[0]), min(line.end, finding.within[1])
    if last - first > _SHOWN:
        first = max(first, finding.start - _SHOWN // 2)
        last = min(last, first + _SHOWN)
    if first >= last or AT_SIGN.search(source, max(line.start, first - _AROUND), min(line.end, last + _AROUND)):
        return []
    at = finding.start - first
    marks = max(1, min(finding.end - finding.start, last - finding.start))
    indent = "".join(sign if sign == "\t" else " " for sign in source[first : finding.start].ljust(at))
    return [
        f"{number:6} | {_visible(source[first:last])}".rstrip(),
        f"{'':6} | {indent}{'^' * marks} {finding.rule}".rstrip(),
    ]


def _visible(text: str) -> str:
    return "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
