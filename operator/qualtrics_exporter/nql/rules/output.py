"""What a query returns: one field, of the user, that holds an e-mail address."""

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
    nearest_user_field,
)
from qualtrics_exporter.nql.walk import aliases, assigned
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_RETURNS_SEVERAL_FIELDS)
def several_fields(subject: Subject) -> Iterator[Found]:
    """Exactly one field has to come out; without a projection, Nexthink returns a default set of several."""
    last = _projection(subject)
    wanted = f"end the query with `| list {_email(subject)}`"
    if isinstance(last, syntax.List) and len(last.fields) > 1:
        span = Span(last.fields[1].span.start, last.fields[-1].span.end)
        yield span, f"{len(last.fields)} fields are returned, and only the e-mail address may be: {wanted}"
    elif isinstance(last, syntax.Summarize) and len(last.assignments) + len(last.by) > 1:
        yield last.span, f"`summarize` returns {len(last.assignments) + len(last.by)} fields: {wanted}"
    elif last is None:
        end = subject.parsed.scan.parts[-1].span.end
        yield Span(end, end), f"without `list` Nexthink returns several fields: {wanted}"


@rule(Reason.QUERY_FIELD_NOT_USER)
def not_a_user_field(subject: Subject) -> Iterator[Found]:
    """The field has to be one of the user: neither computed nor of another object."""
    field = _field(subject)
    if field and field.owner is Owner.COMPUTED:
        yield field.span, f"{field.shown} is computed, and no field of the user: return `{_email(subject)}`"
    elif field and field.owner is Owner.OTHER:
        yield field.span, f"{field.shown} is no field of the user: return `{_email(subject)}`"


@rule(Reason.QUERY_NOT_VERIFIED)
def email_of_an_aggregate(subject: Subject) -> Iterator[Found]:
    """A name for the last or first address is computed, but still an address."""
    field = _field(subject)
    if field and field.owner is Owner.COMPUTED_EMAIL:
        doubt = f"{field.shown} is computed from the e-mail address, which may work"
        yield field.span, f"{doubt}; `{_email(subject)}` itself is known to work"


@rule(Reason.QUERY_FIELD_NOT_EMAIL)
def not_an_email_field(subject: Subject) -> Iterator[Found]:
    """The address is in user.ad.email_address; customers may map it to others, so this is a warning."""
    field = _field(subject)
    if field is None or field.owner not in (Owner.USER, Owner.USER_WITHOUT_PREFIX) or field.names == EMAIL:
        return
    known = ".".join(field.names)
    meant = nearest_user_field(known) if known not in USER_FIELDS else None
    if known.endswith("()"):
        hint = f"a function stands on it; return `{_email(subject)}`"
    elif meant and tuple(meant.split(".")) == EMAIL:
        hint = str(meant_to_be(known, _email(subject)))
    else:
        hint = f"Nexthink keeps it in `{_email(subject)}`, unless yours is set up otherwise"
    yield field.span, f"{field.shown} is not known to hold an e-mail address; {hint}"


@rule(Reason.QUERY_NOT_VERIFIED)
def no_linked_user(subject: Subject) -> Iterator[Found]:
    """Rows of some tables belong to no user, or to several."""
    field, table = _field(subject), _table(subject)
    if table is None:
        return
    if field and field.owner is Owner.USER and has_no_user(table.name):
        yield field.span, f"{_inaccessible(field)}: no single user belongs to a row of {quoted(table.name)}"
    if table.name in USERS:
        for clause in subject.parsed.query.clauses:
            if isinstance(clause, syntax.With | syntax.Include) and is_of_devices(clause.table.name):
                told = f"no user is linked to {quoted(clause.table.name)}: who is returned cannot depend on it"
                yield clause.table.span, told


@rule(Reason.QUERY_NOT_VERIFIED)
def missing_prefix(subject: Subject) -> Iterator[Found]:
    """`user.` may be left out on the table of users only."""
    field = _field(subject)
    if field and field.owner is Owner.USER_WITHOUT_PREFIX:
        yield field.span, f"{field.shown} needs `user.` before it here: only on `users` it may be left out"


@rule(Reason.QUERY_NOT_VERIFIED)
def gone_after_summarize(subject: Subject) -> Iterator[Found]:
    """After `summarize` there are only its own names and what stands after its `by`."""
    field = _field(subject)
    if field and field.owner is Owner.GONE:
        told = "after `summarize` only its names and its `by` fields are left; add it after `by`"
        yield field.span, f"{_inaccessible(field)}: {told}"


class Owner(Enum):
    """Whose field it is that a query returns."""

    USER = auto()
    USER_WITHOUT_PREFIX = auto()  # most likely the user's, where `user.` must not be left out
    COMPUTED = auto()
    COMPUTED_EMAIL = auto()  # the name of `user.ad.email_address.last()`, and of nothing else
    OTHER = auto()  # for certain of something else
    GONE = auto()  # not there any more after `summarize`
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class _Field:
    """The one field that is returned. `names` are without `user.` before them."""

    shown: str
    span: Span
    owner: Owner
    names: tuple[str, ...] = ()


def _inaccessible(field: _Field) -> str:
    """How Nexthink itself says it (docs/facts/nexthink.md section 4)."""
    return f"Field {field.shown} does not exist or is not accessible in the context"


_UNKNOWN = syntax.Opaque("", "")
_PROJECTIONS = ("list", "summarize")


def _projection(subject: Subject) -> syntax.List | syntax.Summarize | syntax.Opaque | None:
    """The clause that says what is returned, Opaque where that cannot be told, None if there is none."""
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
    """Whether something that was not understood may say what is returned; also by a `list` whose | is missing."""
    unknown = not head and (clause.keyword not in CLAUSES or clause.keyword in _PROJECTIONS)
    return unknown or re.search(r"\b(list|summarize)\b", clause.text, re.IGNORECASE) is not None


def _field(subject: Subject) -> _Field | None:
    """The field, if it is certain that it is one."""
    query, last = subject.parsed.query, _projection(subject)
    if isinstance(last, syntax.Summarize) and len(last.assignments) == 1 and not last.by:
        only = last.assignments[0]
        return _Field(quoted(only.name), only.span, _computed(only))
    if not isinstance(last, syntax.List) or len(last.fields) != 1:
        return None
    path = last.fields[0]
    at = next(number for number, clause in enumerate(query.clauses) if clause is last)  # another may be equal to it
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
    """Whose the field is that an assignment makes."""
    value = assignment.value
    if not isinstance(value, syntax.Path):
        return Owner.COMPUTED
    *names, function = _names(value)
    is_email = function in ("first()", "last()") and _bare(tuple(names)) == EMAIL
    return Owner.COMPUTED_EMAIL if is_email else Owner.COMPUTED


def _may_name(before: tuple[syntax.Clause, ...]) -> bool:
    """Whether a clause that was not understood may have given a name."""
    harmless = ("with", "include", "where", "sort", "limit")
    return any(isinstance(clause, syntax.Opaque) and clause.keyword not in harmless for clause in before)


def _is_one_of(names: tuple[str, ...], items: tuple[syntax.Path | syntax.Duration, ...]) -> bool:
    return any(isinstance(item, syntax.Path) and _bare(item.names) == _bare(names) for item in items)


def _owner(names: tuple[str, ...], subject: Subject) -> Owner:
    table = _table(subject)
    if any(name == "user" or name.endswith("_user") for name in names[:-1]):
        return Owner.USER  # also a user by way of something else
    if names[0] in OBJECTS:
        return Owner.OTHER
    if table is None or table.name in USERS:
        return Owner.USER
    if not is_known_table(table.name):
        return Owner.UNKNOWN
    of_user = names[0] == "ad" or names[-1] == EMAIL[-1] or names in (("upn",), ("username",), ("sid",))
    return Owner.USER_WITHOUT_PREFIX if of_user else Owner.OTHER


def _names(path: syntax.Path) -> tuple[str, ...]:
    """In lower case, functions with their parentheses, but without a format at the end: that changes nothing."""
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
