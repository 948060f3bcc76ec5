"""Tools restore the tokens of requests: each acts once in the lifetime of its exporter, and has one entry."""

import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.controller.plan import next_status, requests
from tests.faults import mutants
from tests.faults.assertions import Violation
from tests.faults.controller_factory import ControllerFactory
from tests.faults.in_process_controller import InProcessController
from tests.faults.tally import Tally
from tests.faults.tokens import SCENARIOS, Requester
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

ATTACK = "tokens"
QUICK = ("restored", "delivered, the operator restarts", "displaced, the CRD is upgraded")
NEW_FIELDS = (
    "claimedSlots",
    "claimedSlotsSince",
    "sentRuns",
    "handledRunRequests",
    "handledTestRequests",
    "handledSettlements",
)
"""The fields of a status that the CRD of version 0.1 does not know."""
InstallCrd = Callable[[str], None]


@pytest.fixture
def install_crd(cluster: ControlPlane, controllers: ControllerFactory) -> Iterator[InstallCrd]:
    """Installs the CRD of this version, `newer`, or that of the version before, `older`."""
    (file,) = (ROOT / "crds").glob("*.yaml")
    newer = plain_yaml.read(file.read_text())
    older = plain_yaml.read(file.read_text())
    status = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    for name in NEW_FIELDS:
        del status[name]
    status["activeRun"]["properties"].pop("heartbeatTime")
    probe = {
        "apiVersion": "qualtrics-exporter.dev/v1alpha1",
        "kind": "QualtricsExporter",
        "metadata": {"name": "probe", "namespace": controllers.namespace},
        "spec": plain_yaml.read((ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"))["spec"]
        | {"suspend": True},
    }
    installed = "newer"

    def install(which: str) -> None:
        nonlocal installed
        if which == installed:
            return
        document = json.dumps(older if which == "older" else newer)
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=document)
        cluster.kubectl("apply", "-f", "-", input=json.dumps(probe))
        patch = json.dumps({"status": {"sentRuns": ["a"]}})
        probing = (
            "patch",
            "qex",
            "probe",
            "-n",
            controllers.namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            patch,
        )

        def in_force() -> bool:
            kept = cluster.kubectl(*probing, "--dry-run=server", "-o", "json").stdout
            return ("sentRuns" in kept) is (which == "newer")

        eventually(in_force, f"the {which} CRD is in force")
        installed = which

    yield install
    install("newer")


@pytest_asyncio.fixture
async def controller(controllers: ControllerFactory) -> AsyncIterator[InProcessController]:
    """A controller with an exporter that is ready."""
    async with controllers.create() as created:
        await created.apply_ready()
        yield created


async def play(controller: InProcessController, install_crd: InstallCrd, name: str) -> list[Violation]:
    """Play a scenario, and return its violations."""
    requester = Requester(controller, install_crd)
    for step in SCENARIOS[name]:
        await step(requester)
    return [*requester.violations(), *await controller.leaks()]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in SCENARIOS]
)
async def test_token_that_tools_restore_acts_once(
    controller: InProcessController, install_crd: InstallCrd, tally: Tally, name: str
) -> None:
    tally.add(ATTACK, name, name, await play(controller, install_crd, name))
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.parametrize("kind", ["run", "test"])
async def test_token_that_is_restored_after_each_of_many_others_acts_once(
    controller: InProcessController, install_crd: InstallCrd, tally: Tally, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """There are more other tokens than receipts, and self-heal restores the first token after each of them."""
    receipts = 8
    for module, name, number in (
        (requests, "HANDLED_TOKENS", receipts),
        (requests, "RECENT_TOKENS", 2),
        (requests, "HANDLED_REQUESTS", 4),
        (requests, "RECENT_REQUESTS", 2),
        (next_status, "SENT_RUNS", 3),
    ):
        monkeypatch.setattr(module, name, number)
    controller.account.suppression_hours = 0  # so that Qualtrics mails the same people each time
    requester = Requester(controller, install_crd)

    for number in range(receipts + 4):
        for token, mode in (("A", "Deliver"), (f"B{number}", "Dry")):
            await (requester.run(token) if kind == "run" else requester.test(token, mode))

    tally.add(ATTACK, "restored each time", kind, [*requester.violations(), *await controller.leaks()])
    assert tally.violations == [], tally.how_to_repeat
    status = await controller.status()
    writes = len(controller.cluster.journal_writes)
    await requester.restart()
    assert len(controller.cluster.journal_writes) == writes, "a restart changes the status"
    assert len(status[f"handled{kind.title()}Requests"]) == receipts


@pytest.mark.parametrize(
    "mutant", [mutants.FEW_RECEIPTS, pytest.param(mutants.SHARED_RECEIPTS, marks=pytest.mark.long)]
)
async def test_token_that_tools_restore_catches_each_mutant(
    controller: InProcessController, install_crd: InstallCrd, tally: Tally, mutant: mutants.Mutant
) -> None:
    with mutants.applied(mutant):
        violations = await play(controller, install_crd, "restored")
    tally.add(ATTACK, "restored", mutant, violations, mutant=mutant)
    assert tally.caught, f"the restored token does not find this bug: {mutant}"
