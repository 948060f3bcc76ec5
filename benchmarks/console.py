"""The console with thousands of exporters: its first page, its list and its memory. `idle.py` has the exporters."""

from collections.abc import Iterator

from benchmarks.figures import Figure, Target
from benchmarks.installation import Installation
from benchmarks.processes import Child
from benchmarks.registry import Result

NAME = "idle"
MEGA = 1e6


def figures(installation: Installation, namespace: str, exporters: int) -> Iterator[Result]:
    """Open the console for a namespace with this number of exporters."""
    arguments = (str(installation.kubeconfig), namespace)
    with Child("benchmarks.console_process", *arguments, log=installation.log()) as child:
        found = child.receive()
    what = f"console of {exporters:,} exporters"
    for name, key, target in (
        ("start until its address is printed", "started", None),
        ("from its address to a first page with exporters", "first", 1.0),
        ("from its address to the complete list", "complete", None),
        ("slowest page meanwhile", "slowest", 1.0),
        ("page of the complete list", "list", 1.0),
        ("page of a search", "search", 1.0),
        ("last page, in the order of the next slot", "last", 1.0),
    ):
        target_ = None if target is None else Target(at_most=target)
        yield Figure(benchmark=NAME, name=f"{what}: {name}", unit="s", values=(found[key],), target=target_)
    yield Figure(benchmark=NAME, name=f"{what}: peak memory", unit="MB", values=(found["memory"] / MEGA,))
