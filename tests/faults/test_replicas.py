"""Several replicas: the one that works is killed, paused or cut off in each step, and two replicas work at once."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tests.faults import mutants
from tests.faults.assertions import Violation
from tests.faults.scenario import Scenario, Slot, Trigger
from tests.faults.tally import Tally
from tests.support.operator import Operator
from tests.support.stage import Stage
from tests.support.waiting import eventually

ATTACK = "several replicas"
SLOT: Trigger = "a slot of the schedule"
STEPS = (
    ("api.status.Claimed", "after"),
    ("nexthink.execute", "before"),
    ("qualtrics.create_batch", "after"),
    ("api.status.Importing", "after"),
    ("qualtrics.import_contacts", "after"),
    ("qualtrics.import_status", "after"),
    ("api.status.Sending", "before"),
    ("api.status.Sending", "after"),
    ("qualtrics.create_distribution", "before"),
    ("qualtrics.create_distribution", "after"),
    ("api.status.Sent", "before"),
    ("api.status.ended", "before"),
)
IMPORTED = STEPS[5]
StartReplicas = Callable[..., Scenario]


@pytest.fixture
def start_replicas(stage: Stage) -> StartReplicas:
    """Starts two replicas, with an exporter that was checked."""

    def start(mutant: mutants.Mutant | None = None, *, election: bool = True, steered_lease: bool = True) -> Scenario:
        scenario = Scenario(stage, mutant=mutant)
        for _ in range(2):
            scenario.start(election=election, steered_lease=steered_lease)
        scenario.exporter.checked()
        return scenario

    return start


def leads(operator: Operator) -> bool:
    """Whether this replica reports that it leads."""
    return has_metric(operator, "qualtrics_exporter_leader 1.0")


def wait_for_leader(scenario: Scenario) -> int:
    """The number of the replica that leads."""

    def poll() -> list[int]:
        return [n for n in range(len(scenario.operators)) if leads_after_restarts(scenario, n)]

    return eventually(poll, "a replica leads")[0]


def lose_worker(scenario: Scenario, how: str, operation: str, when: str, *, elected: bool = False) -> list[Violation]:
    """The violations of one slot whose replica is lost at this step, and returns after the other one has finished."""
    sandbox = scenario.stage.sandbox
    if operation.startswith("api."):
        for fault_proxy in scenario.fault_proxies:
            fault_proxy.fault(operation, hold=when)
    else:
        sandbox.fault(operation, hold=when)
    slot = scenario.make_due(SLOT)
    working = wait_for_worker(scenario, operation, slot)
    fault_proxy, operator = scenario.fault_proxies[working], scenario.operators[working]
    scenario.fault_proxies[1 - working].clear_faults()
    if how == "killed":
        operator.kill()
        fault_proxy.release(drop=True)
        sandbox.release(drop=True)
    elif how == "paused":
        operator.send(signal.SIGSTOP)
    else:
        fault_proxy.partition()
        fault_proxy.release()
        sandbox.release()
    if elected:
        is_leading = partial(leads_after_restarts, scenario, 1 - working)
        scenario.stage.until_lease_runs_out(is_leading, "the other replica leads")
    else:
        scenario.stage.let_a_lease_pass()  # without a Lease, the paused replica has no other limit
    scenario.wait_for_end(slot, pace=60)
    fault_proxy.clear_faults()
    sandbox.clear_faults()
    if how == "killed":
        operator.start()
    elif how == "paused":
        operator.send(signal.SIGCONT)
        # When it replies again, it has done what was left to do: it has written, or found that it may not.
        eventually(lambda: not operator.alive or operator.get("/livez") == 200, "the replica replies again")
        eventually(lambda: not operator.alive or has_no_run(operator), "the replica has released the run")
        if not operator.alive:  # it has ended itself, because its term was over
            operator.start()
    else:
        fault_proxy.end_partition()
        eventually(lambda: not operator.alive or has_no_run(operator), "the replica has released the run")
        if not operator.alive:
            operator.start()
    return scenario.violations(slot)


def leads_after_restarts(scenario: Scenario, number: int) -> bool:
    """Whether this replica leads. Replicas that have ended are restarted."""
    scenario.restart_ended_operators()
    return leads(scenario.operators[number])


def wait_for_worker(scenario: Scenario, operation: str, slot: Slot) -> int:
    """Wait until this operation is held. Returns the number of the replica that called it."""
    if not operation.startswith("api."):
        assert scenario.wait_until_held(operation, slot)
        claims = [
            (call.at, n)
            for n, fault_proxy in enumerate(scenario.fault_proxies)
            for call in fault_proxy.calls
            if call.run and call.executed
        ]
        return max(claims)[1]

    def poll() -> list[int]:
        return [n + 1 for n, fault_proxy in enumerate(scenario.fault_proxies) if fault_proxy.held(operation)]

    return scenario.stage.while_time_passes(lambda: eventually(poll, f"{operation} is reached"), seconds=1)[0] - 1


def has_no_run(operator: Operator) -> bool:
    """Whether this replica reports that it has no run in progress."""
    return has_metric(operator, "qualtrics_exporter_active_runs 0.0")


def has_metric(operator: Operator, metric: str) -> bool:
    """Whether the metrics of this replica have this line. A replica that was lost may end itself at any moment."""
    with suppress(OSError):
        return operator.alive and metric in operator.metrics()
    return False


@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_standby_takes_over_the_run_of_a_lost_leader_and_the_survey_is_sent_once(
    start_replicas: StartReplicas, tally: Tally, how: str
) -> None:
    scenario = start_replicas()
    wait_for_leader(scenario)
    operation, when = IMPORTED
    violations = lose_worker(scenario, how, operation, when, elected=True)
    tally.add(ATTACK, f"leader {how}", f"{when} {operation}", violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_standby_takes_over_the_run_of_a_leader_lost_in_any_step_and_the_survey_is_sent_once(
    start_replicas: StartReplicas, tally: Tally, how: str
) -> None:
    scenario = start_replicas()
    for operation, when in STEPS:
        wait_for_leader(scenario)
        violations = lose_worker(scenario, how, operation, when, elected=True)
        tally.add(ATTACK, f"leader {how}", f"{when} {operation}", violations)
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_two_leaders_send_once_if_one_is_lost_in_any_step(
    start_replicas: StartReplicas, tally: Tally, how: str
) -> None:
    scenario = start_replicas(election=False)
    for operation, when in STEPS:
        violations = lose_worker(scenario, how, operation, when)
        tally.add(ATTACK, f"two leaders, one {how}", f"{when} {operation}", violations)
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
def test_two_leaders_send_each_slot_once(start_replicas: StartReplicas, tally: Tally) -> None:
    scenario = start_replicas(election=False)
    for number in range(30):
        slot = scenario.make_due(SLOT)
        scenario.wait_for_end(slot)
        tally.add(ATTACK, "two leaders", f"slot {number}", scenario.violations(slot))
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
@pytest.mark.parametrize("mutant", mutants.GENERAL)
def test_loss_of_one_of_two_leaders_catches_each_mutant(
    start_replicas: StartReplicas, tally: Tally, mutant: mutants.Mutant
) -> None:
    scenario = start_replicas(mutant, election=False)
    for how, operation, when in (
        ("killed", "qualtrics.create_distribution", "after"),
        ("paused", "qualtrics.import_status", "after"),
    ):
        violations = lose_worker(scenario, how, operation, when)
        tally.add(ATTACK, f"one {how}", operation, violations, mutant=mutant)
    assert tally.caught, f"no lost replica finds this bug: {mutant}"


@pytest.mark.long
def test_standby_takes_over_from_a_leader_that_was_killed_or_asked_to_stop(
    start_replicas: StartReplicas, tally: Tally
) -> None:
    scenario = start_replicas(steered_lease=False)
    killed = wait_for_leader(scenario)

    scenario.operators[killed].kill()
    began = time.monotonic()
    eventually(lambda: leads(scenario.operators[1 - killed]), "the other replica leads")
    tally.note(f"A leader that was killed is followed after {time.monotonic() - began:.1f} s.")

    scenario.operators[killed].start()
    scenario.operators[1 - killed].terminate()
    began = time.monotonic()
    eventually(lambda: leads(scenario.operators[killed]), "the first replica leads again")
    tally.note(f"A leader that was asked to stop is followed after {time.monotonic() - began:.1f} s.")

    assert scenario.operators[1 - killed].wait() == 0
