"""The syntax tree of a query: plain values, each with the place that it was read from.

    Query
    ├── head: Head(Table, Time)             Time: Past | Between | On
    └── clauses: With, Include, Where, Compute, Summarize, List, Sort, Limit; Opaque for what was not understood

    Expression: AnyOf, AllOf, Comparison, Arithmetic, Signed, Values, Path, Literal, Parameter

Two trees are equal when they say the same in the same words; where they were read from makes no difference. What may
be long is flat (a chain of `and` is one node), so that nothing in here is deeper than the brackets of the text.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal as Choice
from typing import TypeAlias

from qualtrics_exporter.nql.source import NOWHERE, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Anything that was read from a text."""

    span: Span = field(default=NOWHERE, compare=False, repr=False)


# --- expressions


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A value as it is written, without the quotes of a text: `kind` says how to read it."""

    kind: Choice["text", "number", "duration", "size", "address", "version", "date", "boolean", "null"]
    text: str


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """`$name`, filled in when the query runs."""

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
    """A field, a function, a word of an enumeration: all of them are names joined by dots."""

    members: tuple[Name | Call, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """In lower case, as NQL compares them; functions too."""
        return tuple((m.text if isinstance(m, Name) else m.name).casefold() for m in self.members)

    @property
    def dotted(self) -> str:
        """As people write it, functions with empty parentheses."""
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
    """A chain of one strength: `a + b - c` is `a` and then `(+, b), (-, c)`."""

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
        """How long that is; a thousand years for what is longer, which is for ever here."""
        try:
            return min(timedelta(**{_UNITS[self.unit]: float(self.amount)}), _FOR_EVER)
        except OverflowError:
            return _FOR_EVER


@dataclass(frozen=True, slots=True)
class Date(Node):
    """A day or a moment, in one of the documented ways to write it."""

    text: str


@dataclass(frozen=True, slots=True)
class Ago(Node):
    """`13d ago`."""

    duration: Duration


@dataclass(frozen=True, slots=True)
class Past(Node):
    """`during past 7d`; `during` makes no difference."""

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
        """In lower case, ids as they are: letters of an id are always small."""
        return ".".join(self.segments).casefold()


# --- clauses


@dataclass(frozen=True, slots=True)
class Head(Node):
    """What a query begins with."""

    table: Table
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class With(Node):
    """Only objects that have such events."""

    table: Table
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class Include(Node):
    """Objects with or without such events."""

    table: Table
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class Where(Node):
    """A condition."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Assignment(Node):
    """`name = value`; the name may have dots."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Compute(Node):
    """Metrics of the events of each object."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Summarize(Node):
    """Metrics of everything, or by fields and periods."""

    assignments: tuple[Assignment, ...]
    by: tuple[Path | Duration, ...] = ()


@dataclass(frozen=True, slots=True)
class List(Node):
    """What is returned."""

    fields: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Sort(Node):
    """In which order; `asc`, `desc`, or nothing said."""

    field: Path
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """How many rows at most."""

    count: Decimal


@dataclass(frozen=True, slots=True)
class Opaque(Node):
    """A head or a clause that was not understood: its first word in lower case, and its text, white space made one."""

    keyword: str
    text: str


Clause: TypeAlias = With | Include | Where | Compute | Summarize | List | Sort | Limit | Opaque


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole query."""

    head: Head | Opaque
    clauses: tuple[Clause, ...] = ()
