"""Tokens of requests are replayed by tools: each acts once in the lifetime of its exporter, and has one entry."""

import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from qualtrics_exporter.controller.plan import next_status, requests
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.waiting import eventually
from tests.faults import broken
from tests.faults.desk import Desk, Office
from tests.faults.oracle import Found
from tests.faults.tally import Tally
from tests.faults.tokens import SCENARIOS, Player

MATRIX = "tokens"
QUICK = ("restored", "delivered, the operator restarts", "displaced, the CRD is upgraded")
NEW_FIELDS = (
    "claimedSlots",
    "claimedSlotsSince",
    "sentRuns",
    "handledRunRequests",
    "handledTestRequests",
    "handledSettlements",
)
"""What the CRD of version 0.1 does not know of a status."""
Crd = Callable[[str], None]


@pytest.fixture
def crd(cluster: ControlPlane, office: Office) -> Iterator[Crd]:
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
        "metadata": {"name": "probe", "namespace": office.namespace},
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
        tried = ("patch", "qex", "probe", "-n", office.namespace, "--subresource=status", "--type=merge", "-p", patch)

        def in_force() -> bool:
            kept = cluster.kubectl(*tried, "--dry-run=server", "-o", "json").stdout
            return ("sentRuns" in kept) is (which == "newer")

        eventually(in_force, f"the {which} CRD is in force")
        installed = which

    yield install
    install("newer")


@pytest_asyncio.fixture
async def desk(office: Office) -> AsyncIterator[Desk]:
    """A controller with an exporter that is ready."""
    async with office.desk() as made:
        await made.ready()
        yield made


async def played(desk: Desk, crd: Crd, name: str) -> list[Found]:
    """What is wrong after that scenario."""
    player = Player(desk, crd)
    for step in SCENARIOS[name]:
        await step(player)
    return [*player.found(), *await desk.leaks()]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in SCENARIOS]
)
async def test_a_token_acts_once_whatever_tools_make_of_it(desk: Desk, crd: Crd, tally: Tally, name: str) -> None:
    shape, _, interlude = name.partition(", ")
    tally.add(MATRIX, f"{shape}, {interlude}" if interlude else shape, name, await played(desk, crd, name))


@pytest.mark.parametrize("kind", ["run", "test"])
async def test_a_token_that_is_restored_again_and_again_acts_once(
    desk: Desk, crd: Crd, tally: Tally, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """More other tokens come in between than there are receipts. Self-heal restores it after each of them."""
    receipts = 8
    for module, name, number in (
        (requests, "HANDLED_TOKENS", receipts),
        (requests, "RECENT_TOKENS", 2),
        (requests, "HANDLED_REQUESTS", 4),
        (requests, "RECENT_REQUESTS", 2),
        (next_status, "SENT_RUNS", 3),
    ):
        monkeypatch.setattr(module, name, number)
    desk.account.suppression_hours = 0  # the same people are asked each time
    player = Player(desk, crd)
    for number in range(receipts + 4):
        for token, mode in (("A", "Deliver"), (f"B{number}", "Dry")):
            await (player.run(token) if kind == "run" else player.test(token, mode))
    tally.add(MATRIX, "restored each time", kind, [*player.found(), *await desk.leaks()])
    status = await desk.status()
    before = len(desk.cluster.written)
    await player.restart()
    assert len(desk.cluster.written) == before, "the status is at rest"
    assert len(status[f"handled{kind.title()}Requests"]) == receipts


@pytest.mark.parametrize("build", [broken.FORGETFUL, pytest.param(broken.SHARED_RECEIPTS, marks=pytest.mark.long)])
async def test_a_broken_build_is_caught(desk: Desk, crd: Crd, tally: Tally, build: broken.Build) -> None:
    with broken.build(build):
        found = await played(desk, crd, "restored")
    tally.add(MATRIX, "restored", build, found, broken=build)
    assert found
