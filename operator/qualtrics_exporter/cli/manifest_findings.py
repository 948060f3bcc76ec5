"""Finds mistakes in the exporters of a text, each with its place in the file.

The findings cover everything that kubectl, the CRD or the operator would report about a manifest.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from qualtrics_exporter.cli.cut_values import comment_before, cut_values
from qualtrics_exporter.cli.located import Document, NotYaml, documents
from qualtrics_exporter.nql.check import check
from qualtrics_exporter.nql.findings import Finding
from qualtrics_exporter.nql.source import AT_SIGN
from qualtrics_exporter.resource.manifest import is_ours, manifest_violations
from qualtrics_exporter.resource.names import GROUP, KIND
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import MAX_GROUPS, NEVER_COMPARED, ScheduleSpec

_MENTIONED = re.compile(rf"{re.escape(GROUP)}/|\b{KIND}\b")
Severity = Literal["error", "warning"]

_QUERY = ("spec", "nexthink", "query")
_PARAMETERS = ("spec", "nexthink", "parameters")
_SOURCE = ("spec", "nexthink", "resultSource")


@dataclass(frozen=True, slots=True)
class ManifestFinding:
    """One thing to fix. `start` and `end` are offsets in the text. `path` is the field, as the API server writes it."""

    severity: Severity
    reason: Reason
    message: str
    start: int
    end: int
    path: str = ""
    namespace: str = ""
    name: str = ""
    rule: str = ""  # of the query: the name of its page in docs/nql/
    within: tuple[int, int] | None = None
    """The part of the text that may be shown: the exporter."""


def mentions_exporter(text: str) -> bool:
    """Whether a text can contain an exporter. Other texts are skipped, even if they are not YAML."""
    return _MENTIONED.search(text) is not None


def findings(text: str) -> tuple[int, list[ManifestFinding]]:
    """The number of exporters in the text, and the findings in the order of the text. Raises nothing."""
    if not mentions_exporter(text):
        return 0, []
    try:
        return _findings(text)
    except NotYaml as error:
        return 0, [refused(not_yaml(error, text), error.offset)]
    except Exception as error:  # noqa: BLE001
        return 0, [refused(f"this cannot be read ({type(error).__name__}), please report it")]


def not_yaml(error: NotYaml, text: str) -> str:
    """The message about text that is not YAML, with the most likely cause."""
    if "{{" in text:
        return f"{error.message}; render a template before you check it"
    if line := comment_before(text, error.offset):
        return f"{error.message}; the unquoted # in line {line} starts a comment: put the value in quotes"
    return error.message


def refused(message: str, offset: int = 0) -> ManifestFinding:
    """A finding about a text that cannot be split into objects."""
    return ManifestFinding("error", Reason.MANIFEST_INVALID, message, offset, offset + 1)


def _findings(text: str) -> tuple[int, list[ManifestFinding]]:
    exporters, found = 0, []
    checked: dict[int, list[tuple[Severity, Finding]]] = {}
    for document in documents(text):
        if isinstance(document.value, list) and mentions_exporter(text[document.offset(()) : document.end]):
            found.append(refused("this is a list of manifests: write one object per document", document.offset(())))
        for item in document.items():
            if is_ours(item.value):
                exporters += 1
                found += _of_one(item, checked)
    return exporters, sorted(found, key=lambda finding: (finding.start, finding.severity))


def _of_one(document: Document, checked: dict[int, list[tuple[Severity, Finding]]]) -> Iterator[ManifestFinding]:
    spec, who = document.value.get("spec"), _who(document.value)
    shown = document.offset(()), document.end
    for violation in manifest_violations(document.value):
        start = document.offset(violation.location, of_key=violation.of_key)
        reason = violation.reason if violation.path.startswith("spec") else Reason.MANIFEST_INVALID
        message = f"{violation.path} {violation.message}"
        # An unknown field can be anything, even a Secret after a missing ---.
        known = None if violation.of_key else shown
        yield ManifestFinding("error", reason, message, start, start + 1, violation.path, *who, within=known)
    for offset in document.repeated_keys():
        message = "this key is a duplicate: kubectl uses the last one, and other tools reject the file"
        yield ManifestFinding("warning", Reason.KEY_REPEATED, message, offset, offset + 1, "", *who)
    nexthink = _part(spec, "nexthink")
    if (nexthink.get("resultSource"), nexthink.get("driftPolicy")) == ("Export", "Hold"):
        start, path = document.offset(_SOURCE), ".".join(_SOURCE)
        message = f"{path} is Export: {NEVER_COMPARED}"
        yield ManifestFinding(
            "warning", Reason.QUERY_NOT_COMPARED, message, start, start + len("Export"), path, *who, within=shown
        )
    for cut in cut_values(document):
        path = cut.path.removesuffix(".*")
        yield ManifestFinding("warning", Reason.VALUE_CUT, cut.message, cut.start, cut.end, path, *who, within=shown)
    if id(spec) not in checked:  # several objects can share one by an alias
        checked[id(spec)] = list(about_the_query(spec))
    for severity, found in checked[id(spec)]:
        location = _QUERY
        if found.reason is Reason.QUERY_PARAMETER_UNUSED:
            location = _PARAMETERS
            start = document.offset(location, of_key=True)
            end = start + len("parameters")
        else:
            start = document.offset_within(location, found.span.start)
            end = document.offset_within(location, max(found.span.end - 1, found.span.start)) + 1
        path = ".".join(location)
        yield ManifestFinding(severity, found.reason, found.message, start, end, path, *who, found.rule, shown)


def about_the_query(spec: Any) -> Iterator[tuple[Severity, Finding]]:
    """The findings about the query of a spec as it was written, even if the spec is invalid elsewhere."""
    nexthink, schedule = (_part(spec, part) for part in ("nexthink", "schedule"))
    query = nexthink.get("query")
    if not isinstance(query, str) or not query.strip():
        return  # a rule of the field reports this
    given = nexthink.get("parameters")
    parameters = {key: str(value) for key, value in given.items()} if isinstance(given, Mapping) else {}
    times = {key: schedule[key] for key in ("frequency", "everyHours", "dayOfWeek") if key in schedule}
    try:
        interval = ScheduleSpec.model_validate(times).interval()
    except ValidationError:
        interval = None
    groups = _part(spec, "sample").get("groups")
    # A rule of the field reports an invalid number of groups.
    cycle = interval * groups if interval and isinstance(groups, int) and 1 <= groups <= MAX_GROUPS else None
    for found in check(query, parameters, interval, cycle):
        yield "error" if found.stops(nexthink.get("queryCheck")) else "warning", found


def _part(spec: Any, name: str) -> Mapping[str, Any]:
    part = spec.get(name) if isinstance(spec, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _who(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body.get("metadata")
    found = metadata if isinstance(metadata, Mapping) else {}
    namespace, name = found.get("namespace"), found.get("name")
    return _as_name(namespace), _as_name(name)


def _as_name(value: Any) -> str:
    """Return the value if it is a valid name. Otherwise it may be an address, which must not be shown."""
    return value if isinstance(value, str) and value.isascii() and not AT_SIGN.search(value) else ""
