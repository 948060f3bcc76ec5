"""Known bugs, put back: what finds none of them proves nothing.

Each bug is named in plain words, with the invariants that it violates and, for a quick look, the classes of faults that
provoke it. `python -m tests.simulation --mutants` runs worlds with each until one of its invariants fails, and prints
how many seeds and how much time that took.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tests.faults import broken

from . import odd_code, old_code, simulation


@dataclass(frozen=True)
class Mutant:
    """One bug. `kinds` are the invariants of which one must fail."""

    name: str
    kinds: tuple[str, ...]
    classes: str
    patch: Callable[[], AbstractContextManager[None]]


def _broken(build: str) -> Callable[[], AbstractContextManager[None]]:
    return lambda: broken.build(build)


MUTANTS = (
    Mutant(
        "the journal is written after the send",
        ("sent twice", "a run sends by an old spec", "a suspended exporter sends"),
        "crash,pause",
        _broken(broken.WRITTEN_LATE),
    ),
    Mutant("the send is repeated", ("sent twice",), "remote-lost,remote-error", _broken(broken.SENT_AGAIN)),
    Mutant(
        "the fresh read before the send is left out",
        ("a run sends by an old spec", "a suspended exporter sends", "sent twice"),
        "edit,suspend,slow-import",
        _broken(broken.STALE),
    ),
    Mutant(
        "the end of a run is not written down",
        ("a slot without an entry", "a request without an entry", "a run does not end"),
        "token",
        _broken(broken.WITHOUT_ENTRY),
    ),
    Mutant(
        "A1 old tokens are forgotten",
        ("sent twice", "two entries for one run"),
        "token,test",
        _broken(broken.SHARED_RECEIPTS),
    ),
    Mutant(
        "A2 a second POST after a look-up that saw nothing",
        ("sent twice",),
        "remote-limited,list-lag,remote-lost",
        old_code.refusals_are_certain,
    ),
    Mutant(
        "A3 drift is judged before the export",
        ("mailed by a query that drifted, in spite of Hold",),
        "drift,people",
        old_code.drift_is_judged_once,
    ),
    Mutant(
        "A4 slots are remembered by history alone",
        ("sent twice", "two entries for one run", "two entries for one slot"),
        "clock",
        _broken(broken.HISTORY_ONLY),
    ),
    Mutant("A5 two workers on one run", ("two workers on one run",), "relabel,slow-import", old_code.runs_are_stolen),
    Mutant(
        "A6 an exporter is forgotten by its name",
        ("an exporter is forgotten",),
        "recreate,watch-lag,watch-gap",
        old_code.forgotten_by_name,
    ),
    Mutant(
        "B7 clock steps are not noticed",
        (
            "the next slot is not the one that is announced",
            "a slot is written off before it falls due",
            "a slot without an entry",
        ),
        "clock",
        old_code.clocks_are_believed,
    ),
    Mutant(
        "B8 announced slots are swallowed after a change of zone",
        ("a slot without an entry",),
        "zone",
        old_code.slots_have_local_names,
    ),
    Mutant(
        "B9 a hanging tenant delays the others",
        ("a slot starts late", "a slot is missed although the operator was up"),
        "remote-hang,rush",
        old_code.one_pool_of_places,
    ),
    Mutant(
        "B10 endless restarts on spec changes",
        ("too many attempts", "a run does not end"),
        "flip,slow-import",
        old_code.runs_go_on_for_ever,
    ),
    Mutant(
        "B11 an unreadable Secret restarts the run for ever",
        ("too many attempts", "status is written again and again", "a run does not end"),
        "secret",
        old_code.unreadable_secrets_raise,
    ),
    Mutant(
        "B12 a run has no deadline",
        ("a run sends after its deadline", "a run does not end"),
        "crash,pause,slow-import",
        old_code.runs_have_no_deadline,
    ),
    Mutant(
        "B12 status writes that conflict are repeated for ever",
        ("status is written again and again",),
        "api-conflict",
        old_code.conflicts_have_no_patience,
    ),
    Mutant(
        "C13 what is remembered about deleted exporters stays",
        ("deleted exporters are remembered",),
        "recreate,secret,remote-error",
        old_code.remembered_after_deletion,
    ),
    Mutant(
        "a damaged receipt or claimed slot is forgotten",
        ("sent twice", "two entries for one run"),
        "odd-status,token,test",
        odd_code.damaged_memory_is_forgotten,
    ),
    Mutant(
        "one invalid value loses the whole status",
        ("sent twice", "two entries for one run", "a slot without an entry", "a request without an entry"),
        "odd-status,token",
        odd_code.damaged_statuses_are_lost,
    ),
    Mutant(
        "a run that cannot be understood vanishes",
        ("a slot without an entry", "a request without an entry"),
        "odd-status,token",
        odd_code.unreadable_runs_vanish,
    ),
    Mutant(
        "an invalid spec or a deletion is not seen before the send",
        ("an exporter sends without a valid spec", "an exporter sends while it is deleted"),
        "odd-spec,odd-metadata,slow-import",
        _broken(broken.STALE),
    ),
    Mutant(
        "the rows of two replies are mixed",
        ("somebody is mailed whom the query did not return",),
        "remote-mixup",
        odd_code.results_are_mixed,
    ),
    Mutant(
        "a tenant with exports without an end delays the others",
        ("a slot starts late", "a slot is missed although the operator was up"),
        "remote-endless,rush",
        old_code.one_pool_of_places,
    ),
)


def table(*, minutes: float, focused: bool, changes: dict[str, Any], name: str | None = None) -> int:
    """Print the table; how many bugs were not found."""
    missed = 0
    print("Worlds with the faults that provoke the bug only" + (":" if focused else ", and worlds with every fault:"))
    print(f"{'bug':60} {'seeds':>6} {'CPU s':>7}  {'faults':5}  found by")
    for mutant in MUTANTS:
        if name and name not in mutant.name:
            continue
        seeds, cpu, only, found = find(mutant, minutes=minutes, focused=focused, changes=changes)
        missed += not found
        faults = "its" if only else "all"
        print(f"{mutant.name:60} {seeds:6} {cpu:7.1f}  {faults:6}  {found or 'NOT FOUND'}", flush=True)
    return missed


def find(mutant: Mutant, *, minutes: float, focused: bool, changes: dict[str, Any]) -> tuple[int, float, bool, str]:
    """Run worlds until the bug shows, for so many minutes of CPU: other work on the machine does not count.

    Worlds with every fault and worlds with the faults of the bug take turns, unless it is only the latter: some bugs
    show only while nothing else disturbs, others only when faults meet.

    Returns the number of seeds, the CPU seconds, whether the last world had the faults of the bug only, and the
    invariant that failed.
    """
    worlds = ((True, {"only": mutant.classes.split(",")}), (False, {}))[: 1 if focused else 2]
    spent, seeds = [0.0] * len(worlds), [0] * len(worlds)
    only = focused
    with mutant.patch():
        while sum(spent) < minutes * 60:
            turn = spent.index(min(spent))
            only, faults = worlds[turn]
            result = simulation.run(seeds[turn], stop_at=mutant.kinds, **{**changes, **faults})
            seeds[turn], spent[turn] = seeds[turn] + 1, spent[turn] + result.cpu
            for violation in result.violations:
                if violation.kind in mutant.kinds:
                    return sum(seeds), sum(spent), only, violation.kind
    return sum(seeds), sum(spent), only, ""
