"""What a query returns: one field, of the user, that holds an e-mail address."""

from collections.abc import Iterator
from dataclasses import dataclass

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.parse import CLAUSES
from qualtrics_exporter.nql.source import Span
from qualtrics_exporter.nql.vocabulary import (
    EMAIL,
    OBJECTS,
    USER_FIELDS,
    USERS,
    has_no_user,
    is_known_table,
    nearest_user_field,
)
from qualtrics_exporter.nql.walk import aliases
from qualtrics_exporter.resource.reasons import Reason

ACCESSIBLE = "Field '{}' does not exist or is not accessible in the context."
"""How Nexthink itself says it (docs/facts/nexthink.md section 4)."""


@rule(Reason.QUERY_RETURNS_SEVERAL_FIELDS)
def several_fields(subject: Subject) -> Iterator[Found]:
    """Exactly one field has to come out; without a projection, Nexthink returns a default set of several."""
    last = _projection(subject)
    wanted = f"`| list {_email(subject)}`"
    if isinstance(last, syntax.List) and len(last.fields) > 1:
        span = Span(last.fields[1].span.start, last.fields[-1].span.end)
        yield span, f"{len(last.fields)} fields are returned, and only the e-mail address may be: {wanted}"
    elif isinstance(last, syntax.Summarize):
        fields = [assignment.name for assignment in last.assignments] + ["" for _ in last.by]
        if len(fields) > 1:
            yield last.span, f"`summarize` returns {len(fields)} fields: end the query with {wanted}"
    elif last is None:
        end = subject.parsed.scan.parts[-1].span.end
        yield Span(end, end), f"without `list` Nexthink returns several fields: end the query with {wanted}"


@rule(Reason.QUERY_FIELD_NOT_USER)
def not_a_user_field(subject: Subject) -> Iterator[Found]:
    """The field has to be one of the user: neither computed nor of another object."""
    field = _field(subject)
    if field and field.owner == "computed":
        yield field.span, f"'{field.shown}' is computed, and no field of the user: {_instead(subject)}"
    elif field and field.owner == "other":
        yield field.span, f"'{field.shown}' is no field of the user: {_instead(subject)}"


@rule(Reason.QUERY_FIELD_NOT_EMAIL)
def not_an_email_field(subject: Subject) -> Iterator[Found]:
    """The address is in user.ad.email_address; customers may map it to others, so this is a warning."""
    field = _field(subject)
    if field is None or field.owner not in ("user", "user, prefix missing") or field.names == EMAIL:
        return
    known = ".".join(field.names)
    meant = nearest_user_field(known) if known not in USER_FIELDS else None
    if "()" in known:
        hint = f"a function stands on it; {_instead(subject)}"
    elif meant and tuple(meant.split(".")) == EMAIL:
        hint = f"did you mean `{_email(subject)}`?"
    else:
        hint = f"Nexthink keeps it in `{_email(subject)}`, unless yours is set up otherwise"
    yield field.span, f"'{field.shown}' is not known to hold an e-mail address; {hint}"


@rule(Reason.QUERY_NOT_VERIFIED)
def no_linked_user(subject: Subject) -> Iterator[Found]:
    """Rows of some tables belong to no user, or to several."""
    field, table = _field(subject), _table(subject)
    if table is None:
        return
    if field and field.owner == "user" and has_no_user(table.name):
        told = ACCESSIBLE.format(field.shown)
        yield field.span, f"{told[:-1]}: no single user belongs to a row of `{table.name}`"
    if table.name in USERS:
        for clause in subject.parsed.query.clauses:
            if isinstance(clause, syntax.With | syntax.Include) and has_no_user(clause.table.name):
                yield (
                    clause.table.span,
                    f"no user is linked to `{clause.table.name}`: who is returned cannot depend on it",
                )


@rule(Reason.QUERY_NOT_VERIFIED)
def missing_prefix(subject: Subject) -> Iterator[Found]:
    """`user.` may be left out on the table of users only."""
    field = _field(subject)
    if field and field.owner == "user, prefix missing":
        yield field.span, f"'{field.shown}' needs `user.` before it here: only on `users` it may be left out"


@rule(Reason.QUERY_NOT_VERIFIED)
def gone_after_summarize(subject: Subject) -> Iterator[Found]:
    """After `summarize` there are only its own names and what stands after its `by`."""
    field = _field(subject)
    if field and field.owner == "gone":
        told = ACCESSIBLE.format(field.shown)
        yield (
            field.span,
            f"{told[:-1]}: after `summarize` only its names and its `by` fields are left; add it after `by`",
        )


@dataclass(frozen=True, slots=True)
class _Field:
    """The one field that is returned. `names` are without `user.` before them."""

    shown: str
    span: Span
    owner: str
    names: tuple[str, ...] = ()


def _projection(subject: Subject) -> syntax.List | syntax.Summarize | syntax.Opaque | None:
    """The clause that says what is returned, Opaque where that cannot be told, None if there is none."""
    scan, query = subject.parsed.scan, subject.parsed.query
    if not scan.complete or (scan.parts[0].empty and not query.clauses):
        return syntax.Opaque("", "")
    for clause in reversed(query.clauses):
        if isinstance(clause, syntax.List | syntax.Summarize):
            return clause
        if isinstance(clause, syntax.Opaque) and (clause.keyword not in CLAUSES or clause.keyword in _PROJECTIONS):
            return clause
    return None


_PROJECTIONS = ("list", "summarize")


def _field(subject: Subject) -> _Field | None:
    """The field, if it is certain that it is one."""
    last = _projection(subject)
    if isinstance(last, syntax.Summarize) and len(last.assignments) == 1 and not last.by:
        return _Field(last.assignments[0].name, last.assignments[0].span, "computed")
    if not isinstance(last, syntax.List) or len(last.fields) != 1:
        return None
    path = last.fields[0]
    shown = subject.source.shown(path.span)[1:-1]
    known = aliases(subject.parsed.query)
    at = subject.parsed.query.clauses.index(last)
    if known.get(".".join(_names(path)), at) < at:
        return _Field(shown, path.span, "computed")
    summary = _summary_before(subject.parsed.query, last)
    if summary and not _same_as_one_of(path, summary.by):
        return _Field(shown, path.span, "gone")
    owner, names = _owner(path, subject)
    return _Field(shown, path.span, owner, names)


def _summary_before(query: syntax.Query, last: syntax.List) -> syntax.Summarize | None:
    before = query.clauses[: query.clauses.index(last)]
    return next((clause for clause in reversed(before) if isinstance(clause, syntax.Summarize)), None)


def _same_as_one_of(path: syntax.Path, items: tuple[syntax.Path | syntax.Duration, ...]) -> bool:
    return any(isinstance(item, syntax.Path) and _bare(item.names) == _bare(path.names) for item in items)


def _owner(path: syntax.Path, subject: Subject) -> tuple[str, tuple[str, ...]]:
    """Whose field it is, and its names without `user.`."""
    names = _names(path)
    table = _table(subject)
    if names[0] == "user":
        return "user", _bare(names)
    if names[0] in OBJECTS:
        return "other", names
    if table is None or table.name in USERS:
        return "user", names
    if names[0] == "ad":
        return "user, prefix missing", names
    return ("other" if is_known_table(table.name) else "unknown"), names


def _names(path: syntax.Path) -> tuple[str, ...]:
    """In lower case, functions with their parentheses, but without a format at the end: that changes nothing."""
    members = list(path.members)
    if isinstance(members[-1], syntax.Call) and members[-1].name.casefold() == "as":
        members.pop()
    named = tuple(m.text.casefold() if isinstance(m, syntax.Name) else f"{m.name.casefold()}()" for m in members)
    return named or ("as()",)


def _bare(names: tuple[str, ...]) -> tuple[str, ...]:
    return names[1:] if names[0] == "user" else names


def _table(subject: Subject) -> syntax.Table | None:
    head = subject.parsed.query.head
    return head.table if isinstance(head, syntax.Head) else None


def _email(subject: Subject) -> str:
    table = _table(subject)
    return "ad.email_address" if table and table.name in USERS else "user.ad.email_address"


def _instead(subject: Subject) -> str:
    return f"return `{_email(subject)}`"
