"""The series of all exporters, and their text for Prometheus.

The text of 10,000 exporters has 400,000 lines, and prometheus_client needs 5 microseconds for each. So this module
writes the lines itself, in pieces that take about a millisecond: a thread that formats a piece holds the lock of the
interpreter, and the event loop waits.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import islice

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Result
from qualtrics_exporter.telemetry import exporter_figures as figures
from qualtrics_exporter.telemetry import metric_definitions as definitions
from qualtrics_exporter.telemetry.exporter_figures import Columns, Figures, figures_of
from qualtrics_exporter.telemetry.metric_definitions import Definition

PIECE = 1000
"""How many lines are formatted at once, at most."""

Known = dict[tuple[str, str], Figures]
"""Exporters by namespace and name, so that no series exists twice."""


class ExporterSeries:
    """The figures of each exporter. A standby has them too, so that it can show them as soon as it leads."""

    def __init__(self) -> None:
        self._known: Known = {}

    def update(self, exporter: Exporter, *, ready: bool) -> None:
        """Replace the figures of an exporter. Those of an earlier one with the same name are forgotten."""
        key = sys.intern(exporter.namespace), exporter.name
        fresh, before = figures_of(exporter, ready=ready), self._known.get(key)
        if before and before.uid == exporter.uid:
            fresh = fresh._replace(runs=before.runs)
        self._known[key] = fresh

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """Forget a deleted exporter, but not a new one with the same name."""
        known = self._known.get((namespace, name))
        if known and known.uid == uid:
            del self._known[namespace, name]

    def count_run(self, exporter: Exporter, result: Result) -> None:
        """Count an entry of an exporter, unless the exporter is gone."""
        key = exporter.namespace, exporter.name
        known = self._known.get(key)
        if known and known.uid == exporter.uid:
            self._known[key] = known.plus_run(result)

    def uids(self) -> set[str]:
        """The uids of all known exporters."""
        return {known.uid for known in self._known.values()}

    def pieces(self) -> Iterator[bytes]:
        """The text, in pieces. Each is formatted when it is asked for, in any thread."""
        known = self._known.copy()  # one step of the interpreter, unlike a loop
        for definition, lines_of, most_lines in _FAMILIES:
            yield _header(definition)
            items = iter(known.items())
            while piece := list(islice(items, PIECE // most_lines)):
                lines: list[str] = []
                for (namespace, name), one in piece:
                    lines_of(lines, f'name="{_escaped(name)}",namespace="{_escaped(namespace)}"', one)
                if lines:
                    yield "".join(lines).encode()


LinesOf = Callable[[list[str], str, Figures], None]
"""Appends the lines of one exporter, which begin with these labels."""


def _value(definition: Definition, columns: Columns) -> tuple[Definition, LinesOf, int]:
    """A metric with one packed value."""
    start, unpack, offset = f"{definition.name}{{", columns.structure.unpack_from, columns.offset

    def lines_of(lines: list[str], labels: str, known: Figures) -> None:
        (value,) = unpack(known.values, offset)
        if value != figures.NOTHING:
            lines.append(f"{start}{labels}}} {value}\n")

    return definition, lines_of, 1


def _values(definition: Definition, columns: Columns, names: tuple[str, ...]) -> tuple[Definition, LinesOf, int]:
    """A metric with several packed values, each with one of these names as a label."""
    (label,) = definition.labels
    start, unpack, offset = f"{definition.name}{{", columns.structure.unpack_from, columns.offset
    ends = [f',{label}="{name}"}} ' for name in names]

    def lines_of(lines: list[str], labels: str, known: Figures) -> None:
        lines += [
            f"{start}{labels}{end}{value}\n"
            for end, value in zip(ends, unpack(known.values, offset), strict=True)
            if value != figures.NOTHING
        ]

    return definition, lines_of, len(names)


def _labels(
    definition: Definition, labels_of: Callable[[Figures], tuple[str, ...]], most: int
) -> tuple[Definition, LinesOf, int]:
    """A metric that is always 1, with labels that tell the rest."""
    start = f"{definition.name}{{"

    def lines_of(lines: list[str], labels: str, known: Figures) -> None:
        lines += [f"{start}{labels},{more}}} 1\n" for more in labels_of(known)]

    return definition, lines_of, most


def _runs(definition: Definition) -> tuple[Definition, LinesOf, int]:
    start = f"{definition.name}{{"
    ends = [f',result="{result}"}} ' for result in figures.RESULTS]

    def lines_of(lines: list[str], labels: str, known: Figures) -> None:
        lines += [f"{start}{labels}{end}{number}\n" for end, number in zip(ends, known.runs, strict=True)]

    return definition, lines_of, len(ends)


_FAMILIES = (
    _value(definitions.READY, figures.READY),
    _value(definitions.LAST_SUCCESS, figures.LAST_SUCCESS),
    _value(definitions.NEXT_SLOT, figures.NEXT_SLOT),
    _value(definitions.INTERVAL, figures.INTERVAL),
    _value(definitions.COUNTED_SINCE, figures.COUNTED_SINCE),
    _value(definitions.LAST_SENT, figures.LAST_SENT),
    _value(definitions.LAST_RUN, figures.LAST_RUN),
    _labels(definitions.LAST_RUN_INFO, lambda known: known.last_run, 1),
    _labels(definitions.CONDITION, lambda known: known.conditions, len(figures.CONDITION_TYPES)),
    _value(definitions.SUSPENDED, figures.SUSPENDED),
    _value(definitions.UNRESOLVED, figures.UNRESOLVED),
    _values(definitions.LAST_RECIPIENTS, figures.RECIPIENTS, figures.STAGES),
    _values(definitions.PREVIOUS_RECIPIENTS, figures.PREVIOUS, figures.PREVIOUS_STAGES),
    _values(definitions.LAST_DELIVERY, figures.DELIVERY, figures.OUTCOMES),
    _values(definitions.CREDENTIALS_EXPIRY, figures.EXPIRY, figures.SIDES),
    _runs(definitions.EXPORTER_RUNS),
)
"""Each metric with the function that writes its lines, and the number of lines that it writes for an exporter at most.
The text of a metric must be in one place.
"""


def _header(definition: Definition) -> bytes:
    text = definition.text.replace("\\", r"\\")
    return f"# HELP {definition.name} {text}\n# TYPE {definition.name} {definition.type}\n".encode()


def _escaped(label: str) -> str:
    """A name in a label. The API server accepts only names that stay as they are."""
    if "\\" in label or '"' in label or "\n" in label:
        return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return label
