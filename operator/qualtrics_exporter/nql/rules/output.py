"""Rules about what a query returns. It must be one field of the user, with an e-mail address."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.parse import CLAUSES
from qualtrics_exporter.nql.source import Span, quoted
from qualtrics_exporter.nql.vocabulary import (
    EMAIL,
    OBJECTS,
    USER_FIELDS,
    USERS,
    has_no_user,
    is_known_table,
    is_of_devices,
    meant_to_be,
    nearest,
)
from qualtrics_exporter.nql.walk import aliases, assigned
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_RETURNS_SEVERAL_FIELDS)
def several_fields(subject: Subject) -> Iterator[Found]:
    """A query must return exactly one field. Without a projection, Nexthink returns several default fields."""
    last = _projection(subject)
    wanted = f"end the query with `| list {_email(subject)}`"
    if isinstance(last, syntax.List) and len(last.fields) > 1:
        span = Span(last.fields[1].span.start, last.fields[-1].span.end)
        yield span, f"the query returns {len(last.fields)} fields, but must return only the e-mail address: {wanted}"
    elif isinstance(last, syntax.Summarize) and len(last.assignments) + len(last.by) > 1:
        yield last.span, f"`summarize` returns {len(last.assignments) + len(last.by)} fields: {wanted}"
    elif last is None:
        end = subject.parsed.scan.parts[-1].span.end
        yield Span(end, end), f"without `list`, Nexthink returns several fields: {wanted}"


@rule(Reason.QUERY_FIELD_NOT_USER)
def not_a_user_field(subject: Subject) -> Iterator[Found]:
    """The field must be a field of the user, neither computed nor of another object."""
    field = _field(subject)
    if field and field.owner is Owner.COMPUTED:
        yield field.span, f"{field.shown} is computed and not a field of the user: return `{_email(subject)}`"
    elif field and field.owner is Owner.OTHER:
        yield field.span, f"{field.shown} is not a field of the user: return `{_email(subject)}`"


@rule(Reason.QUERY_NOT_VERIFIED)
def email_of_an_aggregate(subject: Subject) -> Iterator[Found]:
    """The first or last address of several rows is computed, but still an address."""
    field = _field(subject)
    if field and field.owner is Owner.COMPUTED_EMAIL:
        message = f"{field.shown} is computed from the e-mail address, which may not work"
        yield field.span, f"{message}: return `{_email(subject)}`"


@rule(Reason.QUERY_FIELD_NOT_EMAIL)
def not_an_email_field(subject: Subject) -> Iterator[Found]:
    """The address is in user.ad.email_address. Customers can map other fields to it, so this is a warning."""
    field = _field(subject)
    if field is None or field.owner not in (Owner.USER, Owner.USER_WITHOUT_PREFIX) or field.names == EMAIL:
        return
    known = ".".join(field.names)
    meant = nearest(known, USER_FIELDS) if known not in USER_FIELDS else None
    if known.endswith("()"):
        hint = f"remove the function, and return `{_email(subject)}`"
    elif meant and tuple(meant.split(".")) == EMAIL:
        hint = str(meant_to_be(known, _email(subject)))
    else:
        hint = f"by default, Nexthink has it in `{_email(subject)}`"
    yield field.span, f"{field.shown} is not known to contain an e-mail address; {hint}"


@rule(Reason.QUERY_NOT_VERIFIED)
def no_linked_user(subject: Subject) -> Iterator[Found]:
    """Rows of some tables have no linked user, or several."""
    field, table = _field(subject), _table(subject)
    if table is None:
        return
    if field and field.owner is Owner.USER and has_no_user(table.name):
        yield field.span, f"{_inaccessible(field)}: a row of {quoted(table.name)} has no single linked user"
    if table.name in USERS:
        for clause in subject.parsed.query.clauses:
            if isinstance(clause, syntax.With | syntax.Include) and is_of_devices(clause.table.name):
                message = f"{quoted(clause.table.name)} has no linked users, so it cannot select users"
                yield clause.table.span, message


@rule(Reason.QUERY_NOT_VERIFIED)
def missing_prefix(subject: Subject) -> Iterator[Found]:
    """`user.` is optional only in queries on the table of users."""
    field = _field(subject)
    if field and field.owner is Owner.USER_WITHOUT_PREFIX:
        yield field.span, f"write `user.` before {field.shown}: it is optional only in queries on `users`"


@rule(Reason.QUERY_NOT_VERIFIED)
def gone_after_summarize(subject: Subject) -> Iterator[Found]:
    """After `summarize`, only its own names and the fields of its `by` exist."""
    field = _field(subject)
    if field and field.owner is Owner.GONE:
        message = "after `summarize`, only its names and its `by` fields exist; add the field after `by`"
        yield field.span, f"{_inaccessible(field)}: {message}"


class Owner(Enum):
    """The object that the returned field belongs to."""

    USER = auto()
    USER_WITHOUT_PREFIX = auto()  # most likely a field of the user, where `user.` is required
    COMPUTED = auto()
    COMPUTED_EMAIL = auto()  # computed as `user.ad.email_address.last()`
    OTHER = auto()  # certainly of another object
    GONE = auto()  # does not exist after `summarize`
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class _Field:
    """The returned field. `names` do not include `user.`."""

    shown: str
    span: Span
    owner: Owner
    names: tuple[str, ...] = ()


def _inaccessible(field: _Field) -> str:
    """The wording of Nexthink (docs/facts/nexthink.md section 4)."""
    return f"Field {field.shown} does not exist or is not accessible in the context"


_UNKNOWN = syntax.Opaque("", "")
_PROJECTIONS = ("list", "summarize")


def _projection(subject: Subject) -> syntax.List | syntax.Summarize | syntax.Opaque | None:
    """The clause that selects the returned fields. Opaque if it is unknown, None if there is none."""
    scan, query = subject.parsed.scan, subject.parsed.query
    if not scan.complete or (scan.parts[0].empty and not query.clauses):
        return _UNKNOWN
    for clause in reversed((query.head, *query.clauses)):
        if isinstance(clause, syntax.List | syntax.Summarize):
            return clause
        if isinstance(clause, syntax.Opaque) and _may_project(clause, head=clause is query.head):
            return clause
    return None


def _may_project(clause: syntax.Opaque, *, head: bool) -> bool:
    """Whether an unknown clause may select the returned fields, for example by a `list` without its |."""
    unknown = not head and (clause.keyword not in CLAUSES or clause.keyword in _PROJECTIONS)
    return unknown or re.search(r"\b(list|summarize)\b", clause.text, re.IGNORECASE) is not None


def _field(subject: Subject) -> _Field | None:
    """The returned field. None if the query certainly or possibly returns something else."""
    query, last = subject.parsed.query, _projection(subject)
    if isinstance(last, syntax.Summarize) and len(last.assignments) == 1 and not last.by:
        only = last.assignments[0]
        return _Field(quoted(only.name), only.span, _computed(only))
    if not isinstance(last, syntax.List) or len(last.fields) != 1:
        return None
    path = last.fields[0]
    at = next(number for number, clause in enumerate(query.clauses) if clause is last)  # another one may be equal
    names = _names(path)
    summaries = [clause for clause in query.clauses[:at] if isinstance(clause, syntax.Summarize)]
    given = aliases(query).get(".".join(names), at)
    if given < at:
        owner = _computed(assigned(query.clauses[given], ".".join(names)))
    elif summaries and not _is_one_of(names, summaries[-1].by):
        owner = Owner.GONE
    else:
        owner = _owner(names, subject)
    if owner in (Owner.OTHER, Owner.GONE) and names[0] not in OBJECTS and _may_name(query.clauses[:at]):
        owner = Owner.UNKNOWN
    return _Field(quoted(path.dotted), path.span, owner, _bare(names))


def _computed(assignment: syntax.Assignment) -> Owner:
    """The owner of the field that an assignment defines."""
    value = assignment.value
    if not isinstance(value, syntax.Path):
        return Owner.COMPUTED
    *names, function = _names(value)
    is_email = function in ("first()", "last()") and _bare(tuple(names)) == EMAIL
    return Owner.COMPUTED_EMAIL if is_email else Owner.COMPUTED


def _may_name(before: tuple[syntax.Clause, ...]) -> bool:
    """Whether an unknown clause may have defined a name."""
    harmless = ("with", "include", "where", "sort", "limit")
    return any(isinstance(clause, syntax.Opaque) and clause.keyword not in harmless for clause in before)


def _is_one_of(names: tuple[str, ...], items: tuple[syntax.Path | syntax.Duration, ...]) -> bool:
    return any(isinstance(item, syntax.Path) and _bare(item.names) == _bare(names) for item in items)


def _owner(names: tuple[str, ...], subject: Subject) -> Owner:
    table = _table(subject)
    if any(name == "user" or name.endswith("_user") for name in names[:-1]):
        return Owner.USER  # also a user that is linked through another object
    if names[0] in OBJECTS:
        return Owner.OTHER
    if table is None or table.name in USERS:
        return Owner.USER
    if not is_known_table(table.name):
        return Owner.UNKNOWN
    of_user = names[0] == "ad" or names[-1] == EMAIL[-1] or names in (("upn",), ("username",), ("sid",))
    return Owner.USER_WITHOUT_PREFIX if of_user else Owner.OTHER


def _names(path: syntax.Path) -> tuple[str, ...]:
    """The names in lower case, functions with parentheses. Without a format at the end, which has no effect here."""
    members = list(path.members)
    if len(members) > 1 and isinstance(members[-1], syntax.Call) and members[-1].name.casefold() == "as":
        members.pop()
    return tuple(m.text.casefold() if isinstance(m, syntax.Name) else f"{m.name.casefold()}()" for m in members)


def _bare(names: tuple[str, ...]) -> tuple[str, ...]:
    return names[1:] if names[0] == "user" and len(names) > 1 else names


def _table(subject: Subject) -> syntax.Table | None:
    head = subject.parsed.query.head
    return head.table if isinstance(head, syntax.Head) else None


def _email(subject: Subject) -> str:
    table = _table(subject)
    return "ad.email_address" if table and table.name in USERS else "user.ad.email_address"
