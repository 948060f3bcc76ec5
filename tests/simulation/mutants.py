"""Mutants: known bugs that the invariants must find.

Each mutant has a name, the invariants that it violates, and the classes of faults that trigger it. `python -m
tests.simulation --mutants` runs worlds with each mutant until one of its invariants fails, and prints how many seeds
and how much time that took.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tests.faults import mutants as fault_mutants

from . import earlier_bugs, input_bugs, simulation


@dataclass(frozen=True)
class Mutant:
    """One known bug. `kinds` are the invariants of which one must fail."""

    name: str
    kinds: tuple[str, ...]
    classes: str
    patch: Callable[[], AbstractContextManager[None]]


def _of_faults(name: str) -> Callable[[], AbstractContextManager[None]]:
    return lambda: fault_mutants.applied(name)


MUTANTS = (
    Mutant(
        "the journal is written after the send",
        ("sent twice", "a run sends by an old spec", "a suspended exporter sends"),
        "crash,pause",
        _of_faults(fault_mutants.JOURNAL_AFTER_SEND),
    ),
    Mutant(
        "the send is repeated", ("sent twice",), "remote-lost,remote-error", _of_faults(fault_mutants.REPEATED_SEND)
    ),
    Mutant(
        "the fresh read before the send is missing",
        ("a run sends by an old spec", "a suspended exporter sends", "sent twice"),
        "edit,suspend,slow-import",
        _of_faults(fault_mutants.NO_FRESH_READ),
    ),
    Mutant(
        "the end of a run is not recorded",
        ("a slot without an entry", "a request without an entry", "a run does not end"),
        "token",
        _of_faults(fault_mutants.NO_ENTRY),
    ),
    Mutant(
        "old tokens are forgotten",
        ("sent twice", "two entries for one run"),
        "token,test",
        _of_faults(fault_mutants.SHARED_RECEIPTS),
    ),
    Mutant(
        "a second send after one look-up that found nothing",
        ("sent twice",),
        "remote-limited,list-lag,remote-lost",
        earlier_bugs.refusals_are_certain,
    ),
    Mutant(
        "drift is compared only before the export",
        ("mailed with a query that drifted, despite Hold",),
        "drift,people",
        earlier_bugs.drift_is_compared_once,
    ),
    Mutant(
        "only the history remembers slots",
        ("sent twice", "two entries for one run", "two entries for one slot"),
        "clock",
        _of_faults(fault_mutants.HISTORY_ONLY),
    ),
    Mutant("two workers on one run", ("two workers on one run",), "relabel,slow-import", earlier_bugs.runs_are_stolen),
    Mutant(
        "a deletion removes every exporter of that name",
        ("an exporter is forgotten",),
        "recreate,watch-lag,watch-gap",
        earlier_bugs.forgotten_by_name,
    ),
    Mutant(
        "clock steps are not noticed",
        (
            "the next slot is not the one that is announced",
            "a slot is skipped before it falls due",
            "a slot without an entry",
        ),
        "clock",
        earlier_bugs.clock_steps_are_ignored,
    ),
    Mutant(
        "announced slots are lost after a change of the time zone",
        ("a slot without an entry",),
        "zone",
        earlier_bugs.slots_have_local_names,
    ),
    Mutant(
        "a hanging tenant delays the others",
        ("a slot starts late", "a slot is missed although the operator was up"),
        "remote-hang,rush",
        earlier_bugs.one_pool_of_run_slots,
    ),
    Mutant(
        "a run starts again without limit after edits",
        ("too many attempts", "a run does not end"),
        "flip,slow-import",
        earlier_bugs.runs_never_end,
    ),
    Mutant(
        "an unreadable Secret restarts the run without limit",
        ("too many attempts", "status is written again and again", "a run does not end"),
        "secret",
        earlier_bugs.unreadable_secrets_raise,
    ),
    Mutant(
        "a run has no deadline",
        ("a run sends after its deadline", "a run does not end"),
        "crash,pause,slow-import",
        earlier_bugs.runs_have_no_deadline,
    ),
    Mutant(
        "status writes that conflict are repeated without limit",
        ("status is written again and again",),
        "api-conflict",
        earlier_bugs.conflicts_have_no_patience,
    ),
    Mutant(
        "the memory of deleted exporters is kept",
        ("deleted exporters are remembered",),
        "recreate,secret,remote-error",
        earlier_bugs.remembered_after_deletion,
    ),
    Mutant(
        "a damaged receipt or claimed slot is forgotten",
        ("sent twice", "two entries for one run"),
        "odd-status,token,test",
        input_bugs.damaged_memory_is_forgotten,
    ),
    Mutant(
        "one invalid value loses the whole status",
        ("sent twice", "two entries for one run", "a slot without an entry", "a request without an entry"),
        "odd-status,token",
        input_bugs.damaged_statuses_are_lost,
    ),
    Mutant(
        "a run with an unreadable journal has no entry",
        ("a slot without an entry", "a request without an entry"),
        "odd-status,token",
        input_bugs.unreadable_runs_vanish,
    ),
    Mutant(
        "an invalid spec or a deletion before the send is ignored",
        ("an exporter sends without a valid spec", "an exporter sends while it is deleted"),
        "odd-spec,odd-metadata,slow-import",
        _of_faults(fault_mutants.NO_FRESH_READ),
    ),
    Mutant(
        "the rows of two replies are mixed",
        ("a person is mailed whom the query did not return",),
        "remote-mixup",
        input_bugs.results_are_mixed,
    ),
    Mutant(
        "a tenant with endless exports delays the others",
        ("a slot starts late", "a slot is missed although the operator was up"),
        "remote-endless,rush",
        earlier_bugs.one_pool_of_run_slots,
    ),
)


def table(*, minutes: float, focused: bool, changes: dict[str, Any], name: str | None = None) -> int:
    """Print the table. Returns how many mutants were not found."""
    missed = 0
    print("Worlds with only the faults that trigger the bug" + (":" if focused else ", and worlds with all faults:"))
    print(f"{'mutant':60} {'seeds':>6} {'CPU s':>7}  {'faults':5}  found by")
    for mutant in MUTANTS:
        if name and name not in mutant.name:
            continue
        seeds, cpu, only, found = find(mutant, minutes=minutes, focused=focused, changes=changes)
        missed += not found
        faults = "its" if only else "all"
        print(f"{mutant.name:60} {seeds:6} {cpu:7.1f}  {faults:6}  {found or 'NOT FOUND'}", flush=True)
    return missed


def find(mutant: Mutant, *, minutes: float, focused: bool, changes: dict[str, Any]) -> tuple[int, float, bool, str]:
    """Run worlds until an invariant finds the mutant, for so many minutes of CPU.

    Worlds with all faults and worlds with only the faults of the mutant alternate: some bugs show only without other
    faults, others only with several. With `focused`, all worlds have only the faults of the mutant.

    Returns the number of seeds, the CPU seconds, whether the last world had only the faults of the mutant, and the
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
