"""Many exporters that are due in one slot: how long until all have sent, next to what the limits of the vendors allow.

The services have their documented limits and realistic times. Each tenant is a namespace with its own Nexthink account.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.exporters import DUE, create, manifest, path_of
from benchmarks.figures import Figure, Floor, Target
from benchmarks.installation import Installation
from benchmarks.processes import HANG_SECONDS, cpu_seconds, forget_peak, peak_memory, resident_memory
from benchmarks.registry import Bench, Result, Sizes
from benchmarks.remote_process import (
    IMPORT_SECONDS,
    IMPORT_SECONDS_PER_THOUSAND,
    Progress,
    RemoteProcess,
    RemoteSettings,
    spec_of,
)
from benchmarks.shifted_clock import SLOT, shift_to_slot
from qualtrics_exporter.sandbox import Limits

OWN, ONE, HANGING = "burst-own-brands", "burst-one-brand", "burst-hanging-tenant"
START_SECONDS = 25.0
POLL_SECONDS = 0.5
LIMITS = "computed from the vendors' limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What is due in the slot."""

    name: str
    sizes: Sizes
    brands: int
    target: float
    hanging: int = 0

    @property
    def exporters(self) -> int:
        """The number of exporters that can send."""
        return (self.sizes.burst_tenants - self.hanging) * self.sizes.burst_exporters

    @property
    def all_exporters(self) -> int:
        return self.sizes.burst_tenants * self.sizes.burst_exporters

    @property
    def floor(self) -> float:
        import_seconds = IMPORT_SECONDS + IMPORT_SECONDS_PER_THOUSAND * self.sizes.burst_people / 1000
        return floor_seconds(self.sizes.burst_exporters, -(-self.all_exporters // self.brands), import_seconds)


def floor_seconds(runs_of_tenant: int, runs_of_brand: int, import_seconds: float) -> float:
    """The time until the last run can have sent, by the limits of both vendors.

    A limit of n calls in a window allows n calls at once at its start, so the last of m calls comes after the windows
    that the calls before it fill. A run needs a query, a batch, an import, a look at the import, and a send. The import
    of the last run begins when its limits allow it, and takes its time.
    """
    limits = Limits()
    own = limits.qualtrics_endpoints_per_minute
    windows = [
        (runs_of_tenant, limits.nexthink_queries_per_second, 1.0),
        *((runs_of_brand, own[call], 60.0) for call in ("create_batch", "import_contacts", "import_status")),
        (4 * runs_of_brand, limits.qualtrics_brand_per_minute, 60.0),
    ]
    return max((calls - 1) // limit * window for calls, limit, window in windows if limit) + import_seconds


def own_brands(bench: Bench) -> Iterator[Result]:
    """Each tenant has its own brand."""
    yield from measure(bench, Burst(name=OWN, sizes=bench.sizes, brands=bench.sizes.burst_tenants, target=1.2))


def one_brand(bench: Bench) -> Iterator[Result]:
    """All tenants share one brand."""
    yield from measure(bench, Burst(name=ONE, sizes=bench.sizes, brands=1, target=1.05))


def hanging_tenant(bench: Bench) -> Iterator[Result]:
    """Each tenant has its own brand, and the Nexthink account of one tenant never answers."""
    burst = Burst(name=HANGING, sizes=bench.sizes, brands=bench.sizes.burst_tenants, target=1.3, hanging=1)
    yield from measure(bench, burst)


def measure(bench: Bench, burst: Burst) -> Iterator[Result]:
    """Run all exporters in one slot."""
    sizes = burst.sizes
    with Installation() as installation:
        with bench.cpu_bound(urgent=True):
            remote = installation.remote(
                RemoteSettings(
                    sandboxes=sizes.burst_tenants, exporters=sizes.burst_exporters, people=sizes.burst_people,
                    brands=burst.brands, hanging=burst.hanging, shift=shift_to_slot(0),
                )
            )  # fmt: skip
            for tenant in range(sizes.burst_tenants):
                _populate(installation, remote, burst, tenant)
            if burst.hanging:
                remote.hang()
            operator, due_at = installation.operator_before_slot(burst.all_exporters, seconds=START_SECONDS)
        forget_peak(operator.pid)
        memory, used, services_used = resident_memory(operator.pid), operator.cpu_seconds, cpu_seconds(remote.pid)
        sends = _wait_for_sends(installation, remote, burst, due_at)
        cpu, peak = operator.cpu_seconds - used, peak_memory(operator.pid) - memory
        services = cpu_seconds(remote.pid) - services_used
        progress = remote.progress()
        _check(progress, burst)
        what = f"{burst.exporters:,} exporters with {sizes.burst_people} people each"
        yield Figure(
            benchmark=burst.name, name=f"{what}: all sent", unit="s", values=(max(sends) - due_at,),
            floor=Floor(values=(burst.floor,), source=LIMITS), target=Target(at_most=burst.target, of_floor=True),
            note=f"half of them after {sorted(sends)[len(sends) // 2] - due_at:.0f} s",
        )  # fmt: skip
        yield Figure(
            benchmark=burst.name, name="requests that were answered with 429", unit="requests",
            values=(float(progress.rate_limited),), target=Target(at_most=0),
        )  # fmt: skip
        yield Figure(
            benchmark=burst.name, name="CPU per run", unit="s", values=(cpu / burst.exporters,)
        )  # fmt: skip
        yield Figure(
            benchmark=burst.name, name="CPU of the local services per run", unit="s",
            values=(services / burst.exporters,), note="if it fills a core, the services delay the operator",
        )  # fmt: skip
        yield Figure(
            benchmark=burst.name, name="peak memory above idle", unit="MB", values=(peak / 1e6,)
        )  # fmt: skip


def _populate(installation: Installation, remote: RemoteProcess, burst: Burst, tenant: int) -> None:
    """Create the namespace, the Secrets and the exporters of a tenant."""
    namespace = installation.cluster.namespace(f"tenant-{tenant}")
    installation.secret(namespace, "nexthink", remote.secrets[tenant]["nexthink"])
    installation.secret(namespace, "qualtrics", remote.secrets[tenant % burst.brands]["qualtrics"])
    bodies = (
        manifest(f"exporter-{number:04d}", DUE, **spec_of(number, tenant))
        for number in range(burst.sizes.burst_exporters)
    )
    create(installation.kubeconfig, namespace, bodies, SLOT - timedelta(minutes=30), history=1)


def _wait_for_sends(installation: Installation, remote: RemoteProcess, burst: Burst, due_at: float) -> list[float]:
    """Wait until each exporter that can send has sent. Returns when Qualtrics got each send."""
    deadline = due_at + burst.floor + HANG_SECONDS
    while True:
        time.sleep(POLL_SECONDS)
        sends = remote.sends()
        if len(sends) >= burst.exporters:
            return sends
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{len(sends)} of {burst.exporters} exporters have sent after {time.monotonic() - due_at:.0f} s; "
                f"{_unsent(installation, burst)}"
            )


def _unsent(installation: Installation, burst: Burst) -> str:
    """What an exporter says that did not send."""
    for tenant in range(burst.hanging, burst.sizes.burst_tenants):
        for item in installation.cluster.read(path_of(f"tenant-{tenant}"))["items"]:
            status = item["status"]
            if status["history"][0]["result"] != "Succeeded" or "activeRun" in status or len(status["history"]) < 2:
                found = status.get("activeRun", status["history"][0])
                return f"for example {item['metadata']['namespace']}/{item['metadata']['name']}: {found}"
    return "their statuses show no problem"


def _check(progress: Progress, burst: Burst) -> None:
    """Raise RuntimeError if not exactly the people of the queries got one mail each."""
    expected = burst.exporters * burst.sizes.burst_people
    if progress.errors:
        raise RuntimeError(f"the sandbox failed: {progress.errors[0]}")
    if progress.mails != expected or progress.most_to_one_address != 1:
        raise RuntimeError(
            f"{progress.mails} mails were sent instead of {expected}, up to {progress.most_to_one_address} to a person"
        )
