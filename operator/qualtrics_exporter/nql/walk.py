"""Finds nodes in a syntax tree."""

from collections.abc import Iterator
from dataclasses import fields

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.syntax import Node, Query


def nodes(node: Node) -> Iterator[Node]:
    """A node and everything in it, in the order of the text."""
    stack: list[object] = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, tuple):
            stack.extend(reversed(here))
        elif isinstance(here, Node):
            yield here
            stack.extend(getattr(here, f.name) for f in reversed(fields(here)) if f.name != "span")


def tables(query: Query) -> Iterator[syntax.Table]:
    return (node for node in nodes(query) if isinstance(node, syntax.Table))


def paths(query: Query, *, returned: bool = True) -> Iterator[syntax.Path]:
    """Every path in the query. Without `returned`, those of `list` are left out."""
    for part in (query.head, *query.clauses):
        if returned or not isinstance(part, syntax.List):
            yield from (node for node in nodes(part) if isinstance(node, syntax.Path))


def aliases(query: Query) -> dict[str, int]:
    """The names that `compute` and `summarize` define, in lower case, each with the number of its last clause."""
    return {
        assignment.name.casefold(): number
        for number, clause in enumerate(query.clauses)
        if isinstance(clause, syntax.Compute | syntax.Summarize)
        for assignment in clause.assignments
    }


def assigned(clause: syntax.Clause, name: str) -> syntax.Assignment:
    """The last assignment of that name in a clause that has one. `name` is in lower case."""
    assert isinstance(clause, syntax.Compute | syntax.Summarize)  # noqa: S101
    return next(one for one in reversed(clause.assignments) if one.name.casefold() == name)
