"""Writes what `make bench` measured into docs/performance.md, between its markers, and draws the plots.

    python -m benchmarks.page [dist/bench.json]

Nobody types a figure of the page. A figure that was not measured appears as `not measured`.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import burst, plots
from benchmarks.figures import Figure, Series, figure_from_json, markdown, number, series_from_json
from benchmarks.processes import ROOT
from benchmarks.registry import Sizes
from qualtrics_exporter.sandbox import Limits

PAGE = ROOT / "docs" / "performance.md"
PLOTS = PAGE.parent / "performance"
OFF_TARGET_HEADING = "## Figures that miss their target"
MARKED = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end of bench -->)", re.DOTALL)
NOT_MEASURED = "not measured"
REPLICAS = (1, 2, 5, 10)
BURSTS = (burst.OWN, burst.HANGING, burst.ONE)


@dataclass(frozen=True, slots=True)
class Results:
    """What the JSON of a run contains."""

    document: Mapping[str, Any]
    figures: Sequence[Figure]
    series: Sequence[Series]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Results":
        figures = [figure_from_json(figure) for figure in document["figures"]]
        return cls(document, figures, [series_from_json(series) for series in document["series"]])

    def value(self, benchmark: str, name: str) -> float | None:
        """The figure of the benchmark whose name ends like this; None if it was not measured."""
        found = [one for one in self.figures if one.benchmark == benchmark and one.name.endswith(name)]
        return found[0].value if found else None

    def per_unit(self, benchmark: str, name: str) -> float | None:
        """What one more of the size adds to the series, from its ends; None if it was not measured."""
        for one in self.series:
            if (one.benchmark, one.name) == (benchmark, name) and len(one.points) > 1:
                (small, low), (large, high) = one.points[0], one.points[-1]
                return (high - low) / (large - small)
        return None


def shown(value: float | None, unit: str, factor: float = 1.0) -> str:
    return NOT_MEASURED if value is None else f"{number(value * factor)} {unit}"


def machine(results: Results) -> str:
    """The machine, and which benchmarks ran at the same time."""
    facts = "\n".join(f"| {key} | {value} |" for key, value in results.document["machine"].items())
    together = "\n".join(
        f"- `{name}` ran at the same time as {', '.join(f'`{other}`' for other in others)}."
        for name, others in results.document["together"].items()
        if others
    )
    minutes = results.document["seconds"] / 60
    took = f"Measured on {results.document['date']}, in {minutes:.0f} minutes, on this machine:"
    return "\n\n".join(part for part in (took, f"| | |\n| --- | --- |\n{facts}", together) if part)


def table(results: Results) -> str:
    """All figures, and what their floors and notes say."""
    sources = dict.fromkeys(figure.floor.source for figure in results.figures if figure.floor)
    failures = [f"- **{one['benchmark']} failed**: {one['reason']}" for one in results.document["failures"]]
    notes = [f"- `{figure.benchmark}`, {figure.name}: {figure.note}." for figure in results.figures if figure.note]
    floors = [f"- Floor: {source}." for source in sources]
    return "\n\n".join(filter(None, (markdown(results.figures), "\n".join([*failures, *floors, *notes]))))


def images(_: Results) -> str:
    """Both plots."""
    ratios, growth = (f"{PLOTS.name}/{name}" for name in plots.FILES)
    return f"![Each figure as a multiple of its floor]({ratios})\n\n![Growth with the size]({growth})"


def sizing(results: Results) -> str:
    """What one exporter, one run and one recipient cost."""
    exporter = results.per_unit("idle", "memory")
    rows = [
        ("The process, with all its exporters at rest", shown(results.value("idle", "settled memory"), "MB")),
        ("The same, at its highest after the start", shown(results.value("idle", "peak memory"), "MB")),
        ("Memory for one more exporter at rest", shown(exporter, "kB", 1e3)),
        ("CPU time at rest, for each minute", shown(results.value("idle", "CPU per minute"), "s")),
        ("CPU time of a run in the burst that takes the most", shown(_run_cpu(results), "ms", 1e3)),
        ("CPU time for 1,000 more people in a run", shown(results.per_unit("run-growth", "CPU of a run"), "ms", 1e6)),
        ("Memory for one person of a large run, at its highest", shown(_recipient(results), "bytes")),
        ("Memory for the burst that takes the most, above that at rest", shown(_burst_memory(results), "MB")),
    ]
    return "| What | Measured |\n| --- | ---: |\n" + "\n".join(f"| {what} | {cost} |" for what, cost in rows)


def replicas(results: Results) -> str:
    """What several installations cost together."""
    exporters = results.document["sizes"]["exporters"]
    memory, cpu = results.value("idle", "settled memory"), results.value("idle", "CPU per minute")
    run = _run_cpu(results)
    capacity = None if not run else 3600 / run
    lines = [
        "| Installations | Exporters | Memory at rest | CPU at rest, s a minute | Runs an hour, by their CPU time |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for count in REPLICAS:
        cells = (shown(memory, "MB", count), shown(cpu, "s", count), shown(capacity, "", count).strip())
        lines.append(f"| {count} | {exporters * count:,} | " + " | ".join(cells) + " |")
    limits = Limits()
    queries = 3600 * (limits.nexthink_queries_per_second or 0)
    imports = 60 * limits.qualtrics_endpoints_per_minute["import_contacts"]
    vendors = (
        f"The vendors allow {queries:,} queries an hour for one Nexthink instance, and {imports:,} imports an hour for "
        "one Qualtrics brand, with any number of installations."
    )
    return "\n".join(lines) + "\n\n" + textwrap.fill(vendors, 120)


def _run_cpu(results: Results) -> float | None:
    return _highest_of_bursts(results, "CPU per run")


def _burst_memory(results: Results) -> float | None:
    return _highest_of_bursts(results, "peak memory above idle")


def _highest_of_bursts(results: Results, name: str) -> float | None:
    """The figure of the burst that costs the most. If one was not measured, it is not known which that is."""
    values = [results.value(burst, name) for burst in BURSTS]
    return None if None in values else max(value for value in values if value is not None)


def _recipient(results: Results) -> float | None:
    return results.value("large-run", "for each recipient")


BLOCKS: Mapping[str, Callable[[Results], str]] = {
    "machine": machine,
    "table": table,
    "plots": images,
    "sizing": sizing,
    "replicas": replicas,
}


def unexplained(page: str, results: Results) -> list[str]:
    """The benchmarks with a figure off target about which `OFF_TARGET_HEADING` of the page has no paragraph."""
    reasons = page.partition(OFF_TARGET_HEADING)[2].partition("\n## ")[0]
    names = dict.fromkeys(figure.benchmark for figure in results.figures if figure.is_met is False)
    return [name for name in names if f"`{name}`" not in reasons]


def filled(page: str, results: Results) -> str:
    """The page with new texts between its markers. Raises ValueError for a marker that does not exist."""

    def block(found: re.Match[str]) -> str:
        if found[2] not in BLOCKS:
            raise ValueError(f"there is no block {found[2]}")
        return f"{found[1]}\n{BLOCKS[found[2]](results)}\n\n{found[3]}"

    return MARKED.sub(block, page)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and the plots."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("json", nargs="?", type=Path, default=Path("dist/bench.json"))
    file = parser.parse_args(arguments).json
    document = json.loads(file.read_text())
    if document["sizes"] != json.loads(json.dumps(asdict(Sizes()))):
        print(
            f"{file} has other sizes than those of `make bench`, so its figures do not belong on the page",
            file=sys.stderr,
        )
        return 1
    results = Results.read(document)
    plots.draw(results.figures, results.series, PLOTS)
    PAGE.write_text(page := filled(PAGE.read_text(), results))
    if names := unexplained(page, results):
        print(f"{PAGE.name} does not say why these miss their target: {', '.join(names)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
