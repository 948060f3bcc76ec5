"""Builds the nodes of the syntax tree: one method for each rule of grammar.lark."""

from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from typing import Any

from lark import Token, v_args
from lark.tree import Meta
from lark.visitors import Transformer_NonRecursive

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.source import Span


def _span(meta: Meta) -> Span:
    return Span(meta.start_pos, meta.end_pos)


def _of(token: Token) -> Span:
    return Span(token.start_pos or 0, token.end_pos or 0)


def _duration(token: Token) -> syntax.Duration:
    digits = token.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t\r\n")
    return syntax.Duration(Decimal(digits), token[len(digits) :].strip().casefold(), span=_of(token))


def _name(token: Token) -> syntax.Name:
    return syntax.Name(str(token), span=_of(token))


def _flat(conditions: list[Any], kind: type[syntax.AllOf | syntax.AnyOf]) -> tuple[Any, ...]:
    """Flattens nested chains: `a and (b and c)` means the same as `a and b and c`."""
    inner = (c.conditions if isinstance(c, kind) else (c,) for c in conditions)
    return tuple(chain.from_iterable(inner))


def _node(kind: Callable[..., syntax.Node]) -> Callable[..., syntax.Node]:
    """A method that passes the children of a rule to a node as its fields."""
    return lambda _tree, meta, children: kind(*children, span=_span(meta))


def _node_of(kind: Callable[..., syntax.Node]) -> Callable[..., syntax.Node]:
    """The same for a node that has all children in one field."""
    return lambda _tree, meta, children: kind(tuple(children), span=_span(meta))


_KINDS: dict[str, Any] = {
    "STRING": "text",
    "NUMBER": "number",
    "DURATION": "duration",
    "SIZE": "size",
    "ADDRESS": "address",
    "VERSION": "version",
    "DATE": "date",
    "WORDED_DATE": "date",
    "BOOLEAN": "boolean",
    "NULL": "null",
}


@v_args(meta=True)
class _Tree(Transformer_NonRecursive[Token, Any]):
    """One method for each rule of the grammar."""

    head, with_clause, include_clause = _node(syntax.Head), _node(syntax.With), _node(syntax.Include)
    where_clause, assignment, comparison = _node(syntax.Where), _node(syntax.Assignment), _node(syntax.Comparison)
    compute_clause, list_clause, values = _node_of(syntax.Compute), _node_of(syntax.List), _node_of(syntax.Values)

    def summarize_clause(self, meta: Meta, children: list[Any]) -> syntax.Summarize:
        *assignments, by = children
        return syntax.Summarize(tuple(assignments), by or (), span=_span(meta))

    def sort_clause(self, meta: Meta, children: list[Any]) -> syntax.Sort:
        field, order = children
        return syntax.Sort(field, order and str(order).casefold(), span=_span(meta))

    def limit_clause(self, meta: Meta, children: list[Any]) -> syntax.Limit:
        return syntax.Limit(Decimal(children[0]), span=_span(meta))

    def table(self, meta: Meta, children: list[Token]) -> syntax.Table:
        return syntax.Table(tuple(map(str, children)), span=_span(meta))

    def past(self, meta: Meta, children: list[Token]) -> syntax.Past:
        return syntax.Past(*map(_duration, children), span=_span(meta))

    def between(self, meta: Meta, children: list[Any]) -> syntax.Between:
        start, end, *every = children
        return syntax.Between(start, end, *map(_duration, every), span=_span(meta))

    def on(self, meta: Meta, children: list[Any]) -> syntax.On:
        day, *every = children
        return syntax.On(day, *map(_duration, every), span=_span(meta))

    def ago(self, meta: Meta, children: list[Token]) -> syntax.Ago:
        return syntax.Ago(_duration(children[0]), span=_span(meta))

    def date(self, meta: Meta, children: list[Token]) -> syntax.Date:
        return syntax.Date(" ".join(children[0].split()), span=_span(meta))

    def alias(self, _: Meta, children: list[Token]) -> str:
        return ".".join(children)

    def grouping(self, _: Meta, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    def period(self, _: Meta, children: list[Token]) -> syntax.Duration:
        return _duration(children[0])

    def any_of(self, meta: Meta, children: list[Any]) -> syntax.AnyOf:
        return syntax.AnyOf(_flat(children, syntax.AnyOf), span=_span(meta))

    def all_of(self, meta: Meta, children: list[Any]) -> syntax.AllOf:
        return syntax.AllOf(_flat(children, syntax.AllOf), span=_span(meta))

    def operator(self, _: Meta, children: list[Token]) -> str:
        return "".join(children[0].split()).casefold()

    def arithmetic(self, meta: Meta, children: list[Any]) -> syntax.Arithmetic:
        first, *rest = children
        signs = map(str, rest[::2])
        return syntax.Arithmetic(first, tuple(zip(signs, rest[1::2], strict=True)), span=_span(meta))

    def signed(self, meta: Meta, children: list[Any]) -> syntax.Signed:
        return syntax.Signed(str(children[0]), children[1], span=_span(meta))

    def parameter(self, meta: Meta, children: list[Token]) -> syntax.Parameter:
        return syntax.Parameter(children[0][1:], span=_span(meta))

    def literal(self, meta: Meta, children: list[Token]) -> syntax.Literal:
        kind, text = _KINDS[children[0].type], str(children[0])
        if kind == "text":
            return syntax.Literal(kind, text[1:-1], span=_span(meta))
        # `15 min` is `15min`; a date needs its spaces.
        return syntax.Literal(kind, (" " if kind == "date" else "").join(text.split()), span=_span(meta))

    def path(self, meta: Meta, children: list[Any]) -> syntax.Path:
        members = (child if isinstance(child, syntax.Call) else _name(child) for child in children)
        return syntax.Path(tuple(members), span=_span(meta))

    def call(self, meta: Meta, children: list[Any]) -> syntax.Call:
        name, *arguments = children
        given = tuple(argument for argument in arguments if argument is not None)
        return syntax.Call(str(name), given, span=_span(meta))


TREE = _Tree()
