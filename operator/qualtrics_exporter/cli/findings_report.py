"""Findings as text, JSON or GitHub annotations: functions of what was checked to what is printed."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.reasons import Reason

from .manifest_findings import Finding

_WIDEST = 160
_ADDRESS = re.compile(r"[^\s\"'<>()\[\]{},;:=|]*@[^\s\"'<>()\[\]{},;:=|]*")


@dataclass(frozen=True)
class Checked:
    """One file: its text, how many exporters it has, what was found."""

    file: str
    text: str
    exporters: int
    findings: Sequence[Finding]

    @classmethod
    def unreadable(cls, file: str, text: str) -> "Checked":
        """A file with exporters that is not in UTF-8."""
        return cls(file, text, 0, [Finding("error", Reason.MANIFEST_INVALID, "this is no UTF-8 text", 0, 0)])


def as_text(checked: Sequence[Checked]) -> str:
    """`FILE:LINE:COLUMN: severity reason: message`, with the line and a mark under the place."""
    lines = []
    for file, source, finding in _all(checked):
        line, column = source.position(finding.start)
        lines.append(f"{file}:{line}:{column}: {finding.severity} {finding.reason}: {finding.message}")
        lines += _excerpt(source, finding)
    return "".join(f"{line}\n" for line in lines)


def as_json(checked: Sequence[Checked]) -> str:
    """One object with all findings, also when there are none."""
    found = []
    for file, source, finding in _all(checked):
        line, column = source.position(finding.start)
        fields = {name: str(getattr(finding, name)) for name in _FIELDS}
        found.append({"file": file, **fields, "line": line, "column": column})
    return json.dumps({"findings": found}, indent=2, ensure_ascii=False) + "\n"


_FIELDS = ("namespace", "name", "path", "severity", "reason", "rule", "message")


def as_github(checked: Sequence[Checked]) -> str:
    """Workflow commands, which GitHub shows beside the lines of a pull request."""
    lines = []
    for file, source, finding in _all(checked):
        line, column = source.position(finding.start)
        where = f"file={_property(file)},line={line},col={column},title={_property(finding.reason)}"
        lines.append(f"::{finding.severity} {where}::{_data(finding.message)}")
    return "".join(f"{line}\n" for line in lines)


def _all(checked: Sequence[Checked]) -> Iterator[tuple[str, Source, Finding]]:
    for each in checked:
        source = Source(each.text)
        for finding in each.findings:
            yield each.file, source, finding


Format = Callable[[Sequence[Checked]], str]

FORMATS: dict[str, Format] = {"text": as_text, "json": as_json, "github": as_github}


def _excerpt(source: Source, finding: Finding) -> list[str]:
    """The line, and carets under the place with the name of the rule.

    What could be an address is masked: reports end up in logs.
    """
    line, column = source.position(finding.start)
    shown = source.line(line)
    if not shown.strip():
        return []
    shown = _ADDRESS.sub(lambda found: "*" * len(found[0]), shown)
    shown = "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in shown)
    first = max(0, column - 1 - _WIDEST // 2) if len(shown) > _WIDEST else 0
    part = shown[first : first + _WIDEST]
    at = column - 1 - first
    marks = max(1, min(finding.end - finding.start, len(part) - at))
    indent = "".join(sign if sign == "\t" else " " for sign in part[:at].ljust(at))
    return [f"{line:6} | {part}".rstrip(), f"{'':6} | {indent}{'^' * marks} {finding.rule}".rstrip()]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
