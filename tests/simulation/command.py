"""The command line: runs many worlds, one world, or the mutants, and prints the violations."""

import argparse
import gc
import heapq
import sys
import time
from collections import Counter
from multiprocessing import get_context
from typing import Any

from . import mutants, plan, simulation
from .shrink import Shrinker
from .simulation import Result


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 if an invariant was violated."""
    options = _parser().parse_args(arguments)
    gc.collect()
    gc.freeze()  # the garbage collector need not search imported modules again
    changes: dict[str, Any] = {
        "without": options.without.split(",") if options.without else (),
        "only": options.only.split(",") if options.only is not None else None,
        "keep": [int(number) for number in options.keep.split(",")] if options.keep else None,
        "exporters": options.exporters,
        "days": options.days,
    }
    if options.mutants is not None:
        return mutants.table(
            minutes=options.minutes or 10, focused=options.focused, changes=changes, name=options.mutants
        )
    if options.seed is not None:
        if options.shrink:
            return _shrink(options, changes)
        return _one(options, changes)
    return _many(options, changes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=1, help="processes at once")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes (--mutants: of CPU, each bug)")
    parser.add_argument("--seed", type=int, help="run this world alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: show everything that happens")
    parser.add_argument("--plan", action="store_true", help="with --seed: show the plan")
    parser.add_argument(
        "--mutants", nargs="?", const="", help="find known bugs in the code: all of them, or those with this name"
    )
    parser.add_argument("--focused", action="store_true", help="with --mutants: only the faults that trigger the bug")
    parser.add_argument(
        "--shrink", action="store_true", help="with --seed: search the smallest plan that fails in the same way"
    )
    parser.add_argument("--kind", help="with --shrink: the invariant that must fail; by default, the first one")
    parser.add_argument("--seconds", type=float, default=120, help="with --shrink: how long to search")
    parser.add_argument("--without", help="classes of faults to disable, separated by commas")
    parser.add_argument("--only", help="the only classes of faults")
    parser.add_argument("--keep", help="numbers of the only events to play, as --plan and --shrink show them")
    parser.add_argument("--exporters", type=int, help="how many exporters")
    parser.add_argument("--days", type=float, help="how many days")
    return parser


def _shrink(options: argparse.Namespace, changes: dict[str, Any]) -> int:
    violations = simulation.run(options.seed, **changes).violations
    kind = options.kind or (violations[0].kind if violations else "")
    if kind not in {violation.kind for violation in violations}:
        print(f"seed {options.seed} does not violate that invariant")
        return 0
    print(f"seed {options.seed}: {kind}")
    exporter = next(violation.exporter for violation in violations if violation.kind == kind)
    changes = Shrinker(
        options.seed, kind, changes, options.seconds, lambda text: print(f"  {text}", flush=True)
    ).shrink(exporter)
    for event in plan.make(options.seed, **changes).events:
        print(f"    {event}")
    for violation in simulation.run(options.seed, **changes).violations:
        print(f"  {violation}")
    arguments = [f"--seed {options.seed}"]
    arguments += [
        f"--{name} {value}" for name, value in (("exporters", options.exporters), ("days", options.days)) if value
    ]
    arguments += [f"--only '{options.only}'"] if options.only is not None else []
    arguments += [f"--{name} {','.join(map(str, changes[name]))}" for name in ("without", "keep") if changes[name]]
    print(f"  replay: python -m tests.simulation {' '.join(arguments)} --trace")
    return 1


def _one(options: argparse.Namespace, changes: dict[str, Any]) -> int:
    if options.plan:
        made = plan.make(options.seed, **changes)
        print("enabled:", ", ".join(sorted(made.enabled)))
        for event in made.events:
            print(event)
    result = simulation.run(options.seed, tracing=options.trace, **changes)
    for line in result.trace:
        print(line)
    _show(result)
    return 1 if result.violations else 0


def _show(result: Result) -> None:
    print(
        f"seed {result.seed}: {result.exporter_days:.0f} exporter-days, {result.events} events, {result.steps} steps, "
        f"{result.cpu:.1f} s of CPU, {result.exporter_days / result.cpu:.0f} exporter-days per second"
    )
    print("  " + ", ".join(f"{name}: {count}" for name, count in sorted(result.counts.items())))
    for violation in result.violations:
        print(f"  {violation}")


def _run(job: tuple[int, dict[str, Any]]) -> Result:
    gc.disable()  # the process runs only this world
    seed, changes = job
    try:
        return simulation.run(seed, **changes)
    except Exception as error:
        raise RuntimeError(f"seed {seed} raises an exception") from error


def _many(options: argparse.Namespace, changes: dict[str, Any]) -> int:
    jobs = [(seed, changes) for seed in range(options.first, options.first + options.seeds)]
    stop = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    days = cpu = 0.0
    worlds = events = 0
    kinds: Counter[str] = Counter()
    first: dict[str, int] = {}
    counts: Counter[str] = Counter()
    slowest: list[tuple[float, int]] = []
    with get_context("fork").Pool(options.workers, maxtasksperchild=1) as pool:
        for result in pool.imap(_run, jobs):
            worlds, days, cpu, events = (
                worlds + 1,
                days + result.exporter_days,
                cpu + result.cpu,
                events + result.events,
            )
            counts.update(result.counts)
            slowest = heapq.nlargest(5, [*slowest, (result.cpu, result.seed)])
            for violation in result.violations:
                kinds[violation.kind] += 1
                first.setdefault(violation.kind, result.seed)
            if result.violations:
                _show(result)
                print(f"  replay: python -m tests.simulation --seed {result.seed} --trace", flush=True)
            if time.monotonic() > stop:
                break
        pool.terminate()
    print(
        f"{worlds} worlds, {days:.0f} exporter-days, {events} events, {sum(kinds.values())} violations, "
        f"{days / max(cpu, 0.001):.0f} exporter-days per second of CPU"
    )
    print("  " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    print("  slowest seeds: " + ", ".join(f"{seed} ({cpu:.0f} s)" for cpu, seed in slowest))
    for kind, number in kinds.most_common():
        print(f"  {number:5} x {kind} (first in seed {first[kind]})")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
