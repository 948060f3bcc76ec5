"""The same work in two usual ways, next to the operator: a script that a CronJob starts, and Kopf timers."""

import time
from collections.abc import Iterator
from datetime import timedelta

from benchmarks.exporters import NOT_DUE, create, manifest, path_of
from benchmarks.figures import Figure
from benchmarks.installation import Installation
from benchmarks.processes import Child, cpu_seconds, peak_memory, resident_memory
from benchmarks.registry import Bench, Result
from benchmarks.remote_process import RemoteSettings, spec_of
from benchmarks.runs import Exporters
from benchmarks.shifted_clock import SLOT, shift_to_slot

NAME = "side-by-side"
PEOPLE = 6
SCRIPT, TIMERS, OPERATOR = "CronJob script", "Kopf timers", "operator"


def measure(bench: Bench) -> Iterator[Result]:
    """Both comparisons."""
    with Installation() as installation:
        yield from _script(bench, installation)
        yield from _timers(bench, installation)


def _script(bench: Bench, installation: Installation) -> Iterator[Result]:
    """One process for each run, from its start to its end, next to a run of the operator."""
    remote = installation.remote(RemoteSettings(people=PEOPLE, instant=True))
    exporters = Exporters(installation, "cronjob")
    exporters.add("small", remote.secrets[0], **spec_of(0, 0))
    operator = installation.operator("--namespace", exporters.namespace)
    operator.wait_until_ready()
    exporters.wait_until_checked()
    times: list[float] = []
    cpu: list[float] = []
    memory: list[float] = []
    with bench.cpu_bound():
        exporters.run(operator, "small")
        runs = [exporters.run(operator, "small") for _ in range(bench.sizes.small_runs)]
        for _ in range(bench.sizes.small_runs):
            began = time.monotonic()
            with exporters.script() as script:
                exporters.run_script(script, "small")
                times.append(time.monotonic() - began)
                cpu.append(cpu_seconds(script.pid))
                memory.append(peak_memory(script.pid) / 1e6)
    what = f"run of {PEOPLE} people"
    for name, unit, values in (
        (f"{SCRIPT}: {what}", "s", times),
        (f"{OPERATOR}: {what}", "s", [run.seconds for run in runs]),
        (f"{SCRIPT}: CPU of a {what}", "s", cpu),
        (f"{OPERATOR}: CPU of a {what}", "s", [run.cpu for run in runs]),
        (f"{SCRIPT}: memory while it runs", "MB", memory),
        (f"{OPERATOR}: memory, for all its exporters, also at rest", "MB", [resident_memory(operator.pid) / 1e6]),
    ):
        yield Figure(benchmark=NAME, name=name, unit=unit, values=tuple(values))
    operator.end()


def _timers(bench: Bench, installation: Installation) -> Iterator[Result]:
    """One timer for each exporter, next to the operator with the same exporters."""
    number, seconds = bench.sizes.timers, bench.sizes.timer_seconds
    namespace = installation.cluster.namespace("timers")
    with bench.cpu_bound():
        bodies = (manifest(f"exporter-{each:05d}", NOT_DUE) for each in range(number))
        create(installation.kubeconfig, namespace, bodies, SLOT - timedelta(minutes=30), history=10)
        operator = installation.operator("--namespace", namespace, shift=shift_to_slot(1200))
        ready = operator.wait_until_seen(number)
    yield Figure(benchmark=NAME, name=f"{OPERATOR}: ready with {number:,} exporters", unit="s", values=(ready,))
    yield from _at_rest(OPERATOR, operator, seconds)
    operator.end()
    with bench.cpu_bound():
        began = time.monotonic()
        environment = {"KUBECONFIG": str(installation.kubeconfig)}
        arguments = "benchmarks.floors.kopf_timers", namespace, str(number)
        timers = installation.until_the_end(Child(*arguments, log=installation.log(), environment=environment))
        timers.receive()
        ready = time.monotonic() - began
    yield Figure(benchmark=NAME, name=f"{TIMERS}: each of {number:,} has run once", unit="s", values=(ready,))
    yield from _at_rest(TIMERS, timers, seconds)
    items = installation.cluster.read(path_of(namespace))["items"]
    changed = sum("kopf.zalando.org/KopfFinalizerMarker" in item["metadata"].get("finalizers", ()) for item in items)
    yield Figure(benchmark=NAME, name=f"{TIMERS}: exporters that got a finalizer", unit="exporters", values=(changed,))


def _at_rest(what: str, process: Child, seconds: float) -> Iterator[Figure]:
    """The memory and the CPU time of a process while nothing is due."""
    before = cpu_seconds(process.pid)
    time.sleep(seconds)
    minute = (cpu_seconds(process.pid) - before) * 60 / seconds
    yield Figure(benchmark=NAME, name=f"{what}: CPU per minute while idle", unit="s", values=(minute,))
    memory = resident_memory(process.pid) / 1e6
    yield Figure(benchmark=NAME, name=f"{what}: settled memory", unit="MB", values=(memory,))
