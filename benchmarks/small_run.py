"""A run of six people with services that answer at once: its duration, calls, status writes and Events."""

import time
from collections.abc import Iterator

from benchmarks.figures import Figure, Floor, Series, Target
from benchmarks.growth import growth
from benchmarks.installation import Installation
from benchmarks.registry import Bench, Result
from benchmarks.remote_process import RemoteSettings, spec_of
from benchmarks.runs import Exporters, Run

NAME = "small-run"
GROWTH = "run-growth"
PEOPLE = 6
EVENT_SECONDS = 1.0
"""The Event of a run follows its entry within this time."""
SCRIPT = "the plain script with the same calls, in the same run"


def measure(bench: Bench) -> Iterator[Result]:
    """Run one exporter again and again, alternating with the plain script."""
    with Installation() as installation:
        remote = installation.remote(RemoteSettings(people=PEOPLE, instant=True))
        exporters = Exporters(installation, "small-run")
        exporters.add("small", remote.secrets[0], **spec_of(0, 0))
        operator, script = installation.operator("--namespace", exporters.namespace), exporters.script()
        operator.wait_until_ready()
        exporters.wait_until_checked()
        with bench.cpu_bound():
            exporters.run(operator, "small")  # fetches tokens and opens connections
            exporters.run_script(script, "small")
            runs: list[Run] = []
            floors: list[Run] = []
            calls: list[float] = []
            events = []
            for _ in range(bench.sizes.small_runs):
                remote.forget_calls()
                before = exporters.events("small")
                runs.append(exporters.run(operator, "small"))
                calls.append(sum(remote.progress().calls.values()))
                floors.append(exporters.run_script(script, "small"))
                time.sleep(EVENT_SECONDS)
                events.append(float(exporters.events("small") - before))
        if {run.people for run in (*runs, *floors)} != {PEOPLE}:
            raise RuntimeError("a run did not import all people")
        yield Figure(
            benchmark=NAME, name=f"run of {PEOPLE} people", unit="s", values=tuple(run.seconds for run in runs),
            floor=Floor(values=tuple(run.seconds for run in floors), source=SCRIPT), target=Target(at_most=0.5),
        )  # fmt: skip
        yield Figure(
            benchmark=NAME, name=f"CPU of a run of {PEOPLE} people", unit="s", values=tuple(run.cpu for run in runs),
            floor=Floor(values=tuple(run.cpu for run in floors), source=SCRIPT),
        )  # fmt: skip
        yield Figure(
            benchmark=NAME, name="remote calls of a small run", unit="calls", values=tuple(calls),
            target=Target(at_most=6),
        )  # fmt: skip
        yield Figure(
            benchmark=NAME, name="status writes of a small run", unit="writes",
            values=tuple(float(run.changes) for run in runs), target=Target(at_most=5),
        )  # fmt: skip
        yield Figure(
            benchmark=NAME, name="Events of a small run", unit="Events", values=tuple(events), target=Target(at_most=1)
        )


def measure_growth(bench: Bench) -> Iterator[Result]:
    """Run exporters of several sizes, and print how duration and CPU time grow."""
    runs: dict[int, list[Run]] = {}
    with Installation() as installation:
        exporters = Exporters(installation, "run-growth")
        for people in bench.sizes.growth_people:
            remote = installation.remote(RemoteSettings(people=people, instant=True))
            exporters.add(f"people-{people}", remote.secrets[0], **spec_of(0, 0))
        operator = installation.operator("--namespace", exporters.namespace)
        operator.wait_until_ready()
        exporters.wait_until_checked()
        for people in bench.sizes.growth_people:
            with bench.cpu_bound():
                exporters.run(operator, f"people-{people}")  # fetches tokens and opens connections
                runs[people] = [exporters.run(operator, f"people-{people}") for _ in range(3)]
    for name, unit, value in (
        ("duration of a run", "s", lambda run: run.seconds),
        ("CPU of a run", "s", lambda run: run.cpu),
    ):
        points = tuple((float(people), min(map(value, each))) for people, each in runs.items())
        series = Series(benchmark=GROWTH, name=name, unit=unit, size="people", points=points)
        yield series
        yield growth(series)
