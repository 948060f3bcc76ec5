"""Rules about unknown names, to find typing errors. They are warnings, because the data model grows."""

from collections.abc import Iterator

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.source import quoted
from qualtrics_exporter.nql.vocabulary import (
    FUNCTIONS,
    METRICS,
    TABLES,
    USER_FIELDS,
    USERS,
    is_known_table,
    meant_to_be,
    nearest,
)
from qualtrics_exporter.nql.walk import aliases, paths, tables
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_table(subject: Subject) -> Iterator[Found]:
    """A table that is not in the known data model."""
    for table in tables(subject.parsed.query):
        if not is_known_table(table.name):
            hint = meant_to_be(table.name, nearest(table.name, TABLES)) or "look it up in Nexthink's data model"
            yield table.span, f"{quoted('.'.join(table.segments))} is not a known table; {hint}"


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_function(subject: Subject) -> Iterator[Found]:
    """A function that is not documented, or that is written as in other languages."""
    for path in paths(subject.parsed.query):
        for call in path.members:
            if not isinstance(call, syntax.Call):
                continue
            name = call.name.casefold()
            if name not in FUNCTIONS:
                hint = meant_to_be(name, nearest(name, FUNCTIONS)) or "look it up in Nexthink's documentation"
                yield call.span, f"{quoted(f'{call.name}()')} is not a known function; {hint}"
            elif name in METRICS and call.arguments and call is path.members[0]:
                yield call.span, f"in NQL, write `{name}` after the field, as in `duration.{name}()`"


@rule(Reason.QUERY_NOT_VERIFIED)
def misspelled_user_field(subject: Subject) -> Iterator[Found]:
    """A field of the user that is similar to a known one. Other rules check the returned field."""
    query = subject.parsed.query
    on_users = isinstance(query.head, syntax.Head) and query.head.table.name in USERS
    known = aliases(query)
    for path in paths(query, returned=False):
        names = path.names
        if names[0] == "user" and len(names) > 1:
            field = ".".join(names[1:])
        elif on_users and names[0] == "ad":
            field = ".".join(names)
        else:
            continue
        if field in USER_FIELDS or path.dotted.casefold() in known or "#" in field:
            continue
        if any(isinstance(member, syntax.Call) for member in path.members):
            continue
        if meant := nearest(field, USER_FIELDS):
            hint = meant_to_be(path.dotted, f"user.{meant}")
            yield path.span, f"{quoted(path.dotted)} is not a known field of the user; {hint}"
