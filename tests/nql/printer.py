"""Prints a tree as a query on one line. The parser reads the result as the same tree."""

from qualtrics_exporter.nql.syntax import (
    Ago,
    AllOf,
    AnyOf,
    Arithmetic,
    Assignment,
    Between,
    Call,
    Comparison,
    Compute,
    Date,
    Duration,
    Head,
    Include,
    Limit,
    List,
    Literal,
    Name,
    Node,
    On,
    Opaque,
    Parameter,
    Past,
    Path,
    Query,
    Signed,
    Sort,
    Summarize,
    Table,
    Values,
    Where,
    With,
)


def printed(node: Node) -> str:
    """The text of a node and its children."""
    match node:
        case Query(head=head, clauses=clauses):
            return " | ".join(map(printed, (head, *clauses)))
        case Opaque(text=text):
            return text
        case Head(table=table, time=time):
            return _timed("", table, time)
        case With(table=table, time=time):
            return _timed("with ", table, time)
        case Include(table=table, time=time):
            return _timed("include ", table, time)
        case Where(condition=condition):
            return f"where {printed(condition)}"
        case Compute(assignments=assignments):
            return f"compute {_listed(assignments)}"
        case Summarize(assignments=assignments, by=by):
            return f"summarize {_listed(assignments)}" + (f" by {_listed(by)}" if by else "")
        case List(fields=fields):
            return f"list {_listed(fields)}"
        case Sort(field=field, order=order):
            return f"sort {printed(field)}" + (f" {order}" if order else "")
        case Limit(count=count):
            return f"limit {count}"
        case Assignment(name=name, value=value):
            return f"{name} = {printed(value)}"
        case _:
            return _smaller(node)


def _smaller(node: Node) -> str:
    match node:
        case Table(segments=segments):
            return ".".join(segments)
        case Past(duration=duration, every=every):
            return f"during past {printed(duration)}{_every(every)}"
        case Between(start=start, end=end, every=every):
            return f"from {printed(start)} to {printed(end)}{_every(every)}"
        case On(day=day, every=every):
            return f"on {printed(day)}{_every(every)}"
        case Ago(duration=duration):
            return f"{printed(duration)} ago"
        case Date(text=text):
            return text
        case Duration(amount=amount, unit=unit):
            return f"{amount}{unit}"
        case _:
            return _expression(node, 0)


_LEVELS = {"+": 4, "-": 4, "*": 5, "/": 5, "^": 6}


def _expression(node: Node, level: int) -> str:
    """`level` is the precedence of the parent. An expression with a lower precedence gets parentheses."""
    match node:
        case AnyOf(conditions=conditions):
            text, own = " or ".join(_expression(c, 2) for c in conditions), 1
        case AllOf(conditions=conditions):
            text, own = " and ".join(_expression(c, 3) for c in conditions), 2
        case Comparison(left=left, operator=operator, right=right):
            text, own = f"{_expression(left, 4)} {operator} {_expression(right, 4)}", 3
        case Arithmetic(first=first, rest=rest):
            own = _LEVELS[rest[0][0]]
            text = _expression(first, own + 1) + "".join(f" {sign} {_expression(n, own + 1)}" for sign, n in rest)
        case Signed(sign=sign, operand=operand):
            text, own = f"{sign}{_expression(operand, 8)}", 7
        case Values(items=items):
            return f"[{_listed(items)}]"
        case Parameter(name=name):
            return f"${name}"
        case Literal(kind=kind, text=text):
            return _quoted(text) if kind == "text" else text
        case Path(members=members):
            return ".".join(map(printed, members))
        case Name(text=text):
            return text
        case Call(name=name, arguments=arguments):
            return f"{name}({_listed(arguments)})"
        case _:
            raise TypeError(f"{type(node).__name__} is not an expression")
    return f"({text})" if own < level else text


def _timed(keyword: str, table: Table, time: Node | None) -> str:
    return f"{keyword}{printed(table)}" + (f" {printed(time)}" if time else "")


def _every(every: Duration | None) -> str:
    return f" by {printed(every)}" if every else ""


def _listed(nodes: tuple[Node, ...]) -> str:
    return ", ".join(map(printed, nodes))


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'
