"""Many idle exporters: the memory and CPU time of the operator, its start, and how soon it claims slots that are due.

Each exporter has a full status and a size of about 11 kB (docs/facts/kubernetes.md, section 1). It was just checked,
and its next slot is days ahead. A few are due in a slot after the measurement of the idle operator.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from benchmarks import console
from benchmarks.exporters import DUE, NOT_DUE, create, manifest
from benchmarks.figures import Figure, Floor, Series, Target
from benchmarks.growth import growth
from benchmarks.installation import MARGIN_SECONDS, Installation
from benchmarks.operator_process import OperatorProcess
from benchmarks.processes import Child, cpu_seconds, peak_memory, resident_memory
from benchmarks.registry import Bench, Result
from benchmarks.remote_process import RemoteProcess, RemoteSettings, spec_of
from benchmarks.shifted_clock import SLOT, shift_to_slot
from benchmarks.status_watch import StatusWatch

NAME = "idle"
HISTORY = 10
TENANTS = 5
"""Nexthink accounts of the exporters that are due."""
LONG_BEFORE = 1200.0
"""Seconds from the start of an idle operator to its slot."""
WATCH = "a bare Kopf watch of the same objects, at the same time"
LIST = "a bare list of the same objects"
MEGA = 1e6


def measure(bench: Bench) -> Iterator[Result]:
    """Measure the operator next to a bare list and a bare watch."""
    sizes = bench.sizes
    with Installation() as installation:
        remote = installation.remote(
            RemoteSettings(sandboxes=TENANTS, exporters=sizes.due, shift=shift_to_slot(0), instant=True)
        )
        with bench.cpu_bound(urgent=True):
            smaller = {number: _populate(installation, f"idle-{number}", number) for number in sizes.growth}
            namespace = _populate(installation, "idle", sizes.exporters - sizes.due)
            _populate_due(installation, remote, namespace, sizes.due)
            listed = _timed(installation, "benchmarks.floors.bare_list", str(installation.kubeconfig), namespace)
            watch, watched = _start_watch(installation, namespace, sizes.exporters)
            starts = {number: _start(installation, name, number) for number, name in smaller.items()}
            for start in starts.values():
                start.operator.end()
            start = starts[sizes.exporters] = _start(installation, namespace, sizes.exporters)
        yield from _growth(starts)
        yield Figure(
            benchmark=NAME, name=f"ready with {sizes.exporters:,} exporters", unit="s", values=(start.seconds,),
            floor=Floor(values=(listed,), source=LIST), target=Target(at_most=2, of_floor=True),
        )  # fmt: skip
        yield Figure(
            benchmark=NAME, name=f"a bare Kopf watch has seen {sizes.exporters:,} exporters", unit="s",
            values=(watched,), floor=Floor(values=(listed,), source=LIST),
        )  # fmt: skip
        yield from _idle(start.operator, watch, sizes.idle_seconds, sizes.exporters)
        start.operator.end()
        watch.end()
        with bench.cpu_bound():
            yield from console.figures(installation, namespace, sizes.exporters)
            yield _claims(installation, namespace, start.seconds, sizes.due, sizes.exporters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """An operator that has just seen all its exporters."""

    operator: OperatorProcess
    seconds: float
    cpu: float
    memory: float


def _populate(installation: Installation, name: str, exporters: int) -> str:
    namespace = installation.cluster.namespace(name)
    bodies = (manifest(f"exporter-{number:05d}", NOT_DUE) for number in range(exporters))
    create(installation.kubeconfig, namespace, bodies, SLOT - timedelta(minutes=30), history=HISTORY)
    return namespace


def _populate_due(installation: Installation, remote: RemoteProcess, namespace: str, exporters: int) -> None:
    for tenant, secrets in enumerate(remote.secrets):
        for service, keys in secrets.items():
            installation.secret(namespace, f"{service}-{tenant}", keys)

    def body(number: int) -> dict[str, object]:
        tenant = number % TENANTS
        made = manifest(f"due-{number:05d}", DUE, **spec_of(number, tenant))
        for service in ("nexthink", "qualtrics"):
            made["spec"][service]["credentialsSecretRef"] = {"name": f"{service}-{tenant}"}
        return made

    moment = SLOT - timedelta(minutes=30)
    create(installation.kubeconfig, namespace, map(body, range(exporters)), moment, history=HISTORY)


def _timed(installation: Installation, module: str, *arguments: str) -> float:
    """The seconds from the start of a process until it prints its document."""
    began = time.monotonic()
    with Child(module, *arguments, log=installation.log()) as child:
        child.receive()
        return time.monotonic() - began


def _start_watch(installation: Installation, namespace: str, exporters: int) -> tuple[Child, float]:
    """A bare watch, and the seconds until it has seen all exporters."""
    began = time.monotonic()
    environment = {"KUBECONFIG": str(installation.kubeconfig)}
    child = Child(
        "benchmarks.floors.bare_watch", namespace, str(exporters), log=installation.log(), environment=environment
    )
    watch = installation.until_the_end(child)
    watch.receive()
    return watch, time.monotonic() - began


def _start(installation: Installation, namespace: str, exporters: int) -> Start:
    """Start an operator for a namespace, long before the slot."""
    operator = installation.operator("--namespace", namespace, shift=shift_to_slot(LONG_BEFORE))
    seconds = operator.wait_until_seen(exporters)
    return Start(
        operator=operator,
        seconds=seconds,
        cpu=operator.cpu_seconds,
        memory=resident_memory(operator.pid) / MEGA,
    )


def _growth(starts: dict[int, Start]) -> Iterator[Result]:
    """How the start and the memory grow with the number of exporters."""
    for name, unit, values in (
        ("time until ready", "s", [start.seconds for start in starts.values()]),
        ("CPU until ready", "s", [start.cpu for start in starts.values()]),
        ("memory", "MB", [start.memory for start in starts.values()]),
    ):
        points = tuple(zip(map(float, starts), values, strict=True))
        series = Series(benchmark=NAME, name=name, unit=unit, size="exporters", points=points)
        yield series
        yield growth(series)


def _idle(operator: OperatorProcess, watch: Child, seconds: float, exporters: int) -> Iterator[Figure]:
    """Memory, and CPU time per minute, while nothing is due."""
    before, watch_before = operator.cpu_seconds, cpu_seconds(watch.pid)
    peaks = peak_memory(operator.pid) / MEGA, peak_memory(watch.pid) / MEGA
    time.sleep(seconds)
    minute = (operator.cpu_seconds - before) * 60 / seconds
    watch_minute = (cpu_seconds(watch.pid) - watch_before) * 60 / seconds
    what = f"{exporters:,} idle exporters"
    for name, unit, values, floors in (
        ("settled memory", "MB", (resident_memory(operator.pid) / MEGA,), (resident_memory(watch.pid) / MEGA,)),
        ("peak memory", "MB", peaks[:1], peaks[1:]),
        ("CPU per minute", "s", (minute,), (watch_minute,)),
    ):
        yield Figure(
            benchmark=NAME, name=f"{what}: {name}", unit=unit, values=values,
            floor=Floor(values=floors, source=WATCH), target=Target(at_most=1.15, of_floor=True),
        )  # fmt: skip


def _claims(installation: Installation, namespace: str, start: float, due: int, exporters: int) -> Figure:
    """How long after the slot the runs of the exporters that are due are claimed."""
    watch = installation.until_the_end(StatusWatch(installation.kubeconfig, namespace))
    seconds = 2 * start + 2 * MARGIN_SECONDS
    _, due_at = installation.operator_before_slot(exporters, "--namespace", namespace, seconds=seconds)
    delays = sorted(claimed - due_at for claimed in watch.wait_for_claims(due))
    if delays[0] < 0:
        raise RuntimeError(f"a run was claimed {-delays[0]:.1f} s before its slot")
    worst = delays[min(len(delays) - 1, int(len(delays) * 0.99))]
    return Figure(
        benchmark=NAME, name=f"due until claimed: p99 of {due} due of {exporters:,}", unit="s",
        values=(worst,), target=Target(at_most=1),
        note=f"fastest {delays[0]:.2f} s, median {delays[len(delays) // 2]:.2f} s",
    )  # fmt: skip
