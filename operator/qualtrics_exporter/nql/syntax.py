"""The nodes of the syntax tree of a query: immutable values, each with its place in the text.

    Query
    ├── head: Head(Table, Time)             Time: Past | Between | On
    └── clauses: With, Include, Where, Compute, Summarize, List, Sort, Limit; Opaque for an unknown clause

    Expression: AnyOf, AllOf, Comparison, Arithmetic, Signed, Values, Path, Literal, Parameter

Trees are equal if their nodes are, regardless of places. Long chains are flat (a chain of `and` is one node), so the
depth of a tree depends only on the brackets of the text.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal as Choice
from typing import TypeAlias

from qualtrics_exporter.nql.source import NOWHERE, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node with its place in the text."""

    span: Span = field(default=NOWHERE, compare=False, repr=False)


# --- expressions


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A value as written, without the quotes of a text. `kind` is its type."""

    kind: Choice["text", "number", "duration", "size", "address", "version", "date", "boolean", "null"]
    text: str


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """`$name`, which Nexthink replaces when the query runs."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A part of a path: a word, or `#id`."""

    text: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A part of a path that is a function."""

    name: str
    arguments: tuple["Expression", ...] = ()


@dataclass(frozen=True, slots=True)
class Path(Node):
    """Names joined by dots: a field, a function, or a word of an enumeration."""

    members: tuple[Name | Call, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names in lower case, as NQL compares them, including functions."""
        return tuple((m.text if isinstance(m, Name) else m.name).casefold() for m in self.members)

    @property
    def dotted(self) -> str:
        """The path as text, functions with empty parentheses."""
        return ".".join(m.text if isinstance(m, Name) else f"{m.name}()" for m in self.members)


@dataclass(frozen=True, slots=True)
class Values(Node):
    """`[a, b]`."""

    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Signed(Node):
    """`-x`."""

    sign: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """A chain of operators of the same precedence: `a + b - c` is `a` and then `(+, b), (-, c)`."""

    first: "Expression"
    rest: tuple[tuple[str, "Expression"], ...]


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """`left operator right`; the operator in lower case: == = != > < >= <= in !in contains !contains."""

    left: "Expression"
    operator: str
    right: "Expression"


@dataclass(frozen=True, slots=True)
class AllOf(Node):
    """`a and b and c`."""

    conditions: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Node):
    """`a or b or c`."""

    conditions: tuple["Expression", ...]


Expression: TypeAlias = Literal | Parameter | Path | Values | Signed | Arithmetic | Comparison | AllOf | AnyOf


# --- tables and times

_FOR_EVER = timedelta(days=365_000)
_UNITS = {"ms": "milliseconds", "s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Duration(Node):
    """`15 min`: ms, s, min, h or d."""

    amount: Decimal
    unit: str

    @property
    def length(self) -> timedelta:
        """The length, at most a thousand years."""
        try:
            return min(timedelta(**{_UNITS[self.unit]: float(self.amount)}), _FOR_EVER)
        except OverflowError:
            return _FOR_EVER


@dataclass(frozen=True, slots=True)
class Date(Node):
    """A date or a time, in one of the documented formats."""

    text: str


@dataclass(frozen=True, slots=True)
class Ago(Node):
    """`13d ago`."""

    duration: Duration


@dataclass(frozen=True, slots=True)
class Past(Node):
    """`during past 7d`. `during` has no effect."""

    duration: Duration
    every: Duration | None = None


@dataclass(frozen=True, slots=True)
class Between(Node):
    """`from … to …`."""

    start: Ago | Date
    end: Ago | Date
    every: Duration | None = None


@dataclass(frozen=True, slots=True)
class On(Node):
    """`on …`: one day."""

    day: Date
    every: Duration | None = None


Time: TypeAlias = Past | Between | On


@dataclass(frozen=True, slots=True)
class Table(Node):
    """`execution.events`, `users`, `campaign.#my_campaign.responses`."""

    segments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in lower case. Ids always are in lower case."""
        return ".".join(self.segments).casefold()


# --- clauses


@dataclass(frozen=True, slots=True)
class Head(Node):
    """The beginning of a query: its table."""

    table: Table
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class With(Node):
    """`with`: only objects that have such events."""

    table: Table
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class Include(Node):
    """`include`: objects with or without such events."""

    table: Table
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class Where(Node):
    """A condition."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Assignment(Node):
    """`name = value`. The name can have dots."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Compute(Node):
    """Metrics of the events of each object."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Summarize(Node):
    """Metrics of all rows, or by fields and periods."""

    assignments: tuple[Assignment, ...]
    by: tuple[Path | Duration, ...] = ()


@dataclass(frozen=True, slots=True)
class List(Node):
    """The returned fields."""

    fields: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Sort(Node):
    """The order of the rows: `asc`, `desc`, or None if not written."""

    field: Path
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """The maximum number of rows."""

    count: Decimal


@dataclass(frozen=True, slots=True)
class Opaque(Node):
    """An unknown head or clause: its first word in lower case, and its text with single spaces."""

    keyword: str
    text: str


Clause: TypeAlias = With | Include | Where | Compute | Summarize | List | Sort | Limit | Opaque


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole query."""

    head: Head | Opaque
    clauses: tuple[Clause, ...] = ()
