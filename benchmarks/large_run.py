"""A run with a million rows, of which 30 % are duplicates, empty or garbage: its duration, CPU time and memory.

Once with services that answer at once, so that only the operator takes time, and once with imports that take as long as
those of Qualtrics. The plain script does the same calls, alternating with the operator.
"""

from collections.abc import Iterator

from benchmarks.fast_remote import FastRemote, FastSettings, people
from benchmarks.figures import Figure, Floor, Target
from benchmarks.installation import Installation
from benchmarks.registry import Bench, Result
from benchmarks.remote_process import IMPORT_SECONDS, IMPORT_SECONDS_PER_THOUSAND
from benchmarks.runs import Exporters, Run

INSTANT, REALISTIC = "large-run", "large-run-realistic"
SCRIPT = "the plain script with the same calls, in the same run"


def instant(bench: Bench) -> Iterator[Result]:
    """Services that answer at once."""
    with Installation() as installation:
        settings = FastSettings(rows=bench.sizes.rows, origins=bench.sizes.repetitions)
        # Each repetition has its own brand: 70 imports of two repetitions would be more than 100 in a minute.
        names = [f"large-{number}" for number in range(bench.sizes.repetitions)]
        with bench.cpu_bound():
            runs, floors = _measure(installation, settings, names)
    expected = people(bench.sizes.rows)
    what = f"run of {bench.sizes.rows:,} rows"
    yield Figure(
        benchmark=INSTANT, name=f"{what}: duration", unit="s", values=tuple(run.seconds for run in runs),
        floor=Floor(values=tuple(run.seconds for run in floors), source=SCRIPT),
        target=Target(at_most=2, of_floor=True),
    )  # fmt: skip
    yield Figure(
        benchmark=INSTANT, name=f"{what}: CPU", unit="s", values=tuple(run.cpu for run in runs),
        floor=Floor(values=tuple(run.cpu for run in floors), source=SCRIPT),
    )  # fmt: skip
    yield Figure(
        benchmark=INSTANT, name="peak memory above idle, for each recipient", unit="bytes",
        values=tuple((run.peak_memory - runs[0].memory_before) / expected for run in runs), target=Target(at_most=80),
    )  # fmt: skip


def realistic(bench: Bench) -> Iterator[Result]:
    """Imports of one list are done one after the other, and each takes 1 s plus 0.3 ms for each contact."""
    with Installation() as installation:
        settings = FastSettings(
            rows=bench.sizes.rows,
            origins=1,
            import_seconds=IMPORT_SECONDS,
            import_seconds_per_thousand=IMPORT_SECONDS_PER_THOUSAND,
        )
        runs, floors = _measure(installation, settings, ["large"])
    yield Figure(
        benchmark=REALISTIC, name=f"run of {bench.sizes.rows:,} rows: duration", unit="s",
        values=tuple(run.seconds for run in runs),
        floor=Floor(values=tuple(run.seconds for run in floors), source=SCRIPT),
        target=Target(at_most=1.1, of_floor=True),
    )  # fmt: skip


def _measure(installation: Installation, settings: FastSettings, names: list[str]) -> tuple[list[Run], list[Run]]:
    """Each exporter once by the operator and once by the script."""
    remote = installation.until_the_end(FastRemote(settings, installation.certificates.server, installation.log()))
    exporters = Exporters(installation, "large-run")
    for origin, name in enumerate(names):
        exporters.add(name, remote.secrets(origin), qualtrics={"mailingListId": f"CG_large{origin:010d}"})
    operator, script = installation.operator("--namespace", exporters.namespace), exporters.script()
    operator.wait_until_ready()
    exporters.wait_until_checked()
    runs: list[Run] = []
    floors: list[Run] = []
    for name in names:
        runs.append(exporters.run(operator, name))
        floors.append(exporters.run_script(script, name))
    expected = people(settings.rows)
    if {run.people for run in (*runs, *floors)} | set(remote.contacts().values()) != {expected}:
        raise RuntimeError(f"a run did not import {expected:,} people")
    return runs, floors
