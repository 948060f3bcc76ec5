"""Names that are not in the data model as it is known. It grows: these are warnings, for typing errors."""

from collections.abc import Iterator

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.vocabulary import (
    FUNCTIONS,
    USER_FIELDS,
    USERS,
    is_known_table,
    nearest_function,
    nearest_table,
    nearest_user_field,
)
from qualtrics_exporter.nql.walk import aliases, calls, paths, tables
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_table(subject: Subject) -> Iterator[Found]:
    """A table that the data model does not have, as far as it is known."""
    for table in tables(subject.parsed.query):
        if is_known_table(table.name):
            continue
        meant = nearest_table(table.name)
        hint = f"did you mean `{meant}`?" if meant else "look it up in Nexthink's data model"
        yield table.span, f"{subject.source.shown(table.span)} is no table that is known here; {hint}"


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_function(subject: Subject) -> Iterator[Found]:
    """A function that is not documented."""
    for call in calls(subject.parsed.query):
        if call.name.casefold() in FUNCTIONS:
            continue
        meant = nearest_function(call.name)
        hint = f"did you mean `{meant}()`?" if meant else "look it up in Nexthink's documentation"
        yield call.span, f"{subject.source.shown(call.span)} is no function that is known here; {hint}"


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
            yield (
                path.span,
                f"{subject.source.shown(path.span)} is no known field of the user; did you mean `user.{meant}`?",
            )
