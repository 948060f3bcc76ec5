"""Every call to Nexthink and Qualtrics fails in every way.

In each scenario, an exporter is ready, one run is requested, and one call fails. `remote_faults.py` has the documented
outcome. `run_violations.py` has what must hold with any fault.
"""

import itertools
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from hack.files import ROOT
from tests.faults import mutants
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.controller_factory import ControllerFactory, ReusedController
from tests.faults.fault_injection import (
    DELIVERY_STOPPED,
    check_with,
    delivery_with,
    inject,
    requirements,
    run_with,
)
from tests.faults.in_process_controller import InProcessController
from tests.faults.remote_faults import (
    CHECK_OPERATIONS,
    DELIVERY_OPERATIONS,
    FAULT_TYPES,
    LOOK_UP_OPERATIONS,
    RUN_OPERATIONS,
    SUCCEEDED,
    UNKNOWN,
    Outcome,
    RemoteFault,
    expected_outcome,
    faults_of,
    page,
)
from tests.faults.run_violations import SEND, outcome_violations, promise_violations
from tests.faults.tally import Tally, seed

RUNS, LOOK_UPS, CHECKS, DELIVERY, TWO_FAULTS = (
    "one fault in a run",
    "one fault in a look-up",
    "one fault in a check",
    "one fault in the figures",
    "two faults in a run",
)
PAIR_VARIABLE = "QUALTRICS_EXPORTER_TEST_PAIR"
PAIRS, PAIRS_IN_A_TEST = 300, 50


# One fault in a run


@pytest.mark.long
@pytest.mark.parametrize("operation", RUN_OPERATIONS)
async def test_run_with_any_fault_ends_as_documented(
    controllers: ControllerFactory, tally: Tally, operation: str
) -> None:
    async with ReusedController(controllers) as reused:
        for fault in faults_of(operation, RUN_OPERATIONS[operation]):
            violations = await run_with(reused, fault, expected_outcome(fault, RUN_OPERATIONS[operation]))
            tally.add(RUNS, operation, str(fault), violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("operation", LOOK_UP_OPERATIONS)
async def test_look_up_with_a_fault_finds_the_send_unless_the_fault_never_ends(
    controllers: ControllerFactory, tally: Tally, operation: str
) -> None:
    async with ReusedController(controllers) as reused:
        for fault in faults_of(operation, "read"):
            violations = await run_with(reused, fault, SUCCEEDED if fault.once else UNKNOWN)
            tally.add(LOOK_UPS, operation, str(fault), violations)
    assert tally.violations == [], tally.how_to_repeat


# One fault in a check, and in the delivery figures


@pytest.mark.long
@pytest.mark.parametrize("operation", CHECK_OPERATIONS)
async def test_check_with_a_fault_reports_it_and_is_repeated_until_it_succeeds(
    controllers: ControllerFactory, tally: Tally, operation: str
) -> None:
    for fault in faults_of(operation, CHECK_OPERATIONS[operation]):
        violations = await check_with(controllers, fault, expected_outcome(fault, CHECK_OPERATIONS[operation]))
        tally.add(CHECKS, operation, str(fault), violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("operation", DELIVERY_OPERATIONS)
async def test_delivery_figures_that_cannot_be_read_leave_the_result_unchanged_and_are_read_later(
    controllers: ControllerFactory, tally: Tally, operation: str
) -> None:
    async with ReusedController(controllers) as reused:
        for fault in faults_of(operation, "read"):
            expected = expected_outcome(fault, "read")
            if fault.type.name == "404":
                # The operator does not ask again for a distribution that Qualtrics does not know.
                expected = Outcome("Failed", DELIVERY_STOPPED)
            tally.add(DELIVERY, operation, str(fault), await delivery_with(reused, fault, expected))
    assert tally.violations == [], tally.how_to_repeat


# A user edits the exporter while a refused send waits


async def refused_send_and_change(controller: InProcessController, **change: Any) -> dict[str, Any] | None:
    """A run whose send is refused at first. The user changes the spec while it waits. Returns the entry."""
    controller.faults.add(SEND, status=429)
    controller.clock.during_sleep(30, lambda: controller.user.patch(controller.name, spec=change))
    return await controller.run()


async def suspend_while_waiting(reused: ReusedController) -> list[Violation]:
    """A suspended exporter does not repeat its refused send."""
    controller = await reused.ready()
    entry = await refused_send_and_change(controller, suspend=True)
    return [
        *outcome_violations(controller, entry, Outcome("Skipped", "Suspended", 1)),
        *await promise_violations(controller, entry, may_send=False),
    ]


async def edit_while_waiting(reused: ReusedController) -> list[Violation]:
    """A refused send is repeated with the spec after the edit."""
    controller = await reused.ready()
    entry = await refused_send_and_change(controller, qualtrics={"subject": EDITED_SUBJECT})
    violations = [
        *outcome_violations(controller, entry, Outcome("Succeeded", "Succeeded", 2)),
        *await promise_violations(controller, entry),
    ]
    if [sent.subject for sent in controller.sent] != [EDITED_SUBJECT]:
        violations.append(Violation(ViolationKind.WRONG_MAIL, "it was sent with the spec before the edit"))
    return violations


EDITED_SUBJECT = "What is Teams like for you?"
FRESH_READ = "the spec while a send waits"


@pytest.mark.parametrize("attack", [suspend_while_waiting, edit_while_waiting])
async def test_refused_send_obeys_a_suspension_or_an_edit_while_it_waits(
    controllers: ControllerFactory, tally: Tally, attack: Callable[[ReusedController], Awaitable[list[Violation]]]
) -> None:
    async with ReusedController(controllers) as reused:
        tally.add(FRESH_READ, SEND, attack.__name__, await attack(reused))
    assert tally.violations == [], tally.how_to_repeat


# Another client writes to the object


async def test_run_succeeds_with_a_conflict_at_every_write_of_the_journal(
    controllers: ControllerFactory, tally: Tally
) -> None:
    async with controllers.create() as controller:
        await controller.apply_ready()
        writes = itertools.count()

        async def add_label() -> None:
            number = next(writes)
            if number % 2 == 0:  # the first try of each write conflicts
                await controller.user.patch(controller.name, metadata={"labels": {"write": str(number)}})

        controller.cluster.before_write = add_label
        entry = await controller.run()
        controller.cluster.before_write = None
        violations = [
            *outcome_violations(controller, entry, SUCCEEDED),
            *await promise_violations(controller, entry),
        ]
        tally.add("a label before each write", "the journal", "once each", violations)
        assert tally.violations == [], tally.how_to_repeat
        steps = [write.run["step"] for write in controller.cluster.journal_writes if write.run]
        assert steps == ["Claimed", "Importing", "Sending", "Sent"]
        assert next(writes) == 2 * (len(steps) + 1), "and once at the end of the run"


# Two faults in a run


def pair(number: int) -> tuple[RemoteFault, RemoteFault]:
    """Two faults in one run, chosen only by the seed and this number."""
    chance = random.Random(f"{seed()} {number}")

    def one() -> RemoteFault:
        operation = chance.choice([*RUN_OPERATIONS, *LOOK_UP_OPERATIONS])
        fault = chance.choice(faults_of(operation, RUN_OPERATIONS.get(operation, "read")))
        return replace(fault, after=0 if fault.type.closed else chance.choice([0, 0, 1, 2]))

    return one(), one()


def pair_numbers() -> list[range]:
    """The numbers of all pairs, some for each test; or only the one of the variable."""
    if one := os.environ.get(PAIR_VARIABLE):
        return [range(int(one), int(one) + 1)]
    return [range(start, start + PAIRS_IN_A_TEST) for start in range(0, PAIRS, PAIRS_IN_A_TEST)]


@pytest.mark.long
@pytest.mark.parametrize("numbers", pair_numbers(), ids=lambda numbers: f"{numbers.start} to {numbers.stop - 1}")
async def test_run_with_two_faults_breaks_no_promise(
    controllers: ControllerFactory, tally: Tally, numbers: range
) -> None:
    for number in numbers:
        both = pair(number)
        async with controllers.create(**requirements(*both)) as controller:
            await controller.apply_ready()
            faults = inject(controller, *both)
            violations = await promise_violations(controller, await controller.run())
            name = f"{PAIR_VARIABLE}={number}: {' and '.join(map(str, both))}"
            target = "both occurred" if faults.all_occurred() else "only one occurred, or none"
            tally.add(TWO_FAULTS, target, name, violations)
    assert tally.violations == [], tally.how_to_repeat


# Mutants


async def lost_reply(reused: ReusedController) -> list[Violation]:
    return await run_with(reused, RemoteFault(SEND, FAULT_TYPES["dropped after"], once=True), SUCCEEDED)


async def late_send(reused: ReusedController) -> list[Violation]:
    return await run_with(reused, RemoteFault(SEND, FAULT_TYPES["late, then done"], once=True), SUCCEEDED)


@pytest.mark.parametrize("mutant", mutants.GENERAL)
async def test_faults_of_the_send_catch_each_mutant(
    controllers: ControllerFactory, tally: Tally, mutant: mutants.Mutant
) -> None:
    async with ReusedController(controllers) as reused:
        for attack in (lost_reply, late_send, suspend_while_waiting):
            with mutants.applied(mutant):
                violations = await attack(reused)
            tally.add(RUNS, SEND, attack.__name__, violations, mutant=mutant)
    assert tally.caught, f"no fault finds this bug: {mutant}"


# A selection for `make test`


def some_faults_of(operation: str) -> list[RemoteFault]:
    """All faults of a send, most of an import, and one of each other call."""
    every = faults_of(operation, RUN_OPERATIONS.get(operation, "read"))
    if operation in (SEND, IMPORT):
        left_out = ALIKE_FOR_AN_IMPORT if operation == IMPORT else set()
        every = [fault for fault in every if fault.once or fault.type.name in ENDLESS]
        return [fault for fault in every if fault.type.name not in left_out]
    once = [fault for fault in every if fault.once and not fault.type.late]
    return [once[7 * [*RUN_OPERATIONS, *LOOK_UP_OPERATIONS].index(operation) % len(once)]]


IMPORT = "qualtrics.import_contacts"
ENDLESS = {"429", "not reached"}
ALIKE_FOR_AN_IMPORT = {"403", "409", "429, in seconds", "429, at a date", "500", "500, done", "empty", "late, done"}


@pytest.mark.parametrize("operation", [*RUN_OPERATIONS, *LOOK_UP_OPERATIONS])
async def test_run_with_a_selected_fault_ends_as_documented(
    controllers: ControllerFactory, tally: Tally, operation: str
) -> None:
    async with ReusedController(controllers) as reused:
        for fault in some_faults_of(operation):
            kind = RUN_OPERATIONS.get(operation)
            violations = await run_with(reused, fault, expected_outcome(fault, kind) if kind else SUCCEEDED)
            tally.add(RUNS if kind else LOOK_UPS, operation, str(fault), violations)
    assert tally.violations == [], tally.how_to_repeat


def test_documentation_has_the_outcomes_that_are_tested() -> None:
    assert page() in (ROOT / "docs" / "reliability.md").read_text(), "put remote_faults.page() into docs/reliability.md"
