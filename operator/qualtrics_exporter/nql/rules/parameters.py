"""Rules about parameters: `$names` and their values in the exporter."""

import re
from collections.abc import Iterator

from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.source import NOWHERE, quoted
from qualtrics_exporter.resource.reasons import Reason

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@rule(Reason.QUERY_INVALID)
def parameter_outside_where(subject: Subject) -> Iterator[Found]:
    """Nexthink replaces parameters only in `where` (docs/facts/nexthink.md section 1, D)."""
    scan = subject.parsed.scan
    for used in scan.parameters:
        if not used.quoted and (used.part == 0 or scan.parts[used.part].keyword in _NOT_WHERE):
            message = "is outside `where`: Nexthink replaces parameters only in `where`"
            yield used.span, f"{subject.source.shown(used.span)} {message}"


_NOT_WHERE = ("with", "include", "compute", "summarize", "list", "sort", "limit")


@rule(Reason.QUERY_PARAMETER_MISSING)
def parameter_missing(subject: Subject) -> Iterator[Found]:
    """A `$name` without a value. In quotes it may be normal text."""
    given = {name.casefold() for name in subject.parameters}
    for used in subject.parsed.scan.parameters:
        if not used.quoted and used.name.casefold() not in given:
            yield used.span, f"{subject.source.shown(used.span)} has no value in spec.nexthink.parameters"


@rule(Reason.QUERY_PARAMETER_UNUSED)
def parameter_unused(subject: Subject) -> Iterator[Found]:
    """A value without a `$name` in the query."""
    used = {parameter.name.casefold() for parameter in subject.parsed.scan.parameters}
    if not subject.parsed.scan.complete:
        return
    for name in subject.parameters:
        if name.casefold() not in used:
            # An invalid name may be anything, so the message does not show it.
            shown = quoted(f"${name}") if _NAME.fullmatch(name) else "a parameter"
            yield NOWHERE, f"spec.nexthink.parameters has a value for {shown}, but the query does not use it"


@rule(Reason.QUERY_NOT_VERIFIED)
def parameter_repeated(subject: Subject) -> Iterator[Found]:
    """Each parameter can be used only once in a query (docs/facts/nexthink.md section 4, D)."""
    seen: set[str] = set()
    for used in subject.parsed.scan.parameters:
        name = used.name.casefold()
        if used.quoted:
            continue
        if name in seen:
            message = "is used more than once: Nexthink accepts each parameter only once"
            yield used.span, f"{subject.source.shown(used.span)} {message}"
        seen.add(name)
