"""Names that are not in the data model as it is known. It grows: these are warnings, for typing errors."""

from collections.abc import Iterator

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.source import quoted
from qualtrics_exporter.nql.vocabulary import (
    FUNCTIONS,
    METRICS,
    USER_FIELDS,
    USERS,
    is_known_table,
    meant_to_be,
    nearest_function,
    nearest_table,
    nearest_user_field,
)
from qualtrics_exporter.nql.walk import aliases, paths, tables
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_table(subject: Subject) -> Iterator[Found]:
    """A table that the data model does not have, as far as it is known."""
    for table in tables(subject.parsed.query):
        if not is_known_table(table.name):
            hint = meant_to_be(table.name, nearest_table(table.name)) or "look it up in Nexthink's data model"
            yield table.span, f"{quoted('.'.join(table.segments))} is no table that is known here; {hint}"


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_function(subject: Subject) -> Iterator[Found]:
    """A function that is not documented, or one that is written as in other languages."""
    for path in paths(subject.parsed.query):
        for call in path.members:
            if not isinstance(call, syntax.Call):
                continue
            name = call.name.casefold()
            if name not in FUNCTIONS:
                hint = meant_to_be(name, nearest_function(name)) or "look it up in Nexthink's documentation"
                yield call.span, f"{quoted(f'{call.name}()')} is no function that is known here; {hint}"
            elif name in METRICS and call.arguments and call is path.members[0]:
                yield call.span, f"`{name}` stands behind its field in NQL, as in `duration.{name}()`"


@rule(Reason.QUERY_NOT_VERIFIED)
def misspelled_user_field(subject: Subject) -> Iterator[Found]:
    """A field of the user that is nearly one of the known ones. What is returned has rules of its own."""
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
        if meant := nearest_user_field(field):
            hint = meant_to_be(path.dotted, f"user.{meant}")
            yield path.span, f"{quoted(path.dotted)} is no known field of the user; {hint}"
