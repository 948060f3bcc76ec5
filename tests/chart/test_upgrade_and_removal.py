"""Helm's life of a release, on a cluster of its own where Helm owns the CRD: upgraded, removed, installed again.

Exporters and what they remember are in the cluster, not in the release: nothing of them may be lost by any of it, and
nothing may be sent because of it.
"""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.helm import CHART
from tests.environment.release import Release
from tests.environment.stage import KIND, AppliedExporter, Stage
from tests.environment.waiting import HANG

CRD = "qualtricsexporters.qualtrics-exporter.dev"
HOURLY = {"schedule.frequency": "Hourly", "schedule.everyHours": 1, "schedule.dayOfWeek": None}
VALUES = {"allowedHosts": ["localhost"]}
HOUR = 3600


@pytest.fixture(scope="module")
def empty() -> Iterator[ControlPlane]:
    """A control plane in which nobody installed our CRD."""
    with ControlPlane() as running:
        yield running


@pytest.fixture
def release(empty: ControlPlane, namespace_of_its_own: str, tmp_path: Path) -> Iterator[Release]:
    """A release; when the test is over it is gone, and the CRD with every exporter."""
    made = Release(empty, tmp_path, namespace_of_its_own)
    yield made
    made.uninstall("--ignore-not-found")  # the next one is refused beside it
    empty.kubectl("delete", "crd", CRD, "--ignore-not-found")
    empty.kubectl("delete", "clusterrole,clusterrolebinding", "--selector=app.kubernetes.io/name=qualtrics-exporter")


@pytest.fixture
def namespace_of_its_own(empty: ControlPlane, request: pytest.FixtureRequest) -> str:
    return empty.namespace(request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-"))


@pytest.fixture
def stage(release: Release, tmp_path: Path) -> Iterator[Stage]:
    """A namespace with the sandbox's Secrets, ten minutes before the slot of an hour falls due."""
    with ExitStack() as stack:
        yield Stage(
            release.cluster, release.namespace, tmp_path, stack, start=datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
        )


@pytest.fixture(scope="module")
def earlier_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as people have it installed: the newest of the main branch that differs from the present one.

    Where there is none, as in a shallow clone, it is the present one: then only a value changes by the upgrade.
    """
    place = CHART.relative_to(ROOT)
    for branch in ("origin/main", "main", "HEAD"):
        for commit in git("log", "--first-parent", "--format=%H", branch, "--", str(place)).stdout.decode().split():
            archive = git("archive", commit, str(place))
            if archive.returncode == 0 and git("diff", "--quiet", commit, "--", str(place)).returncode == 1:
                folder = tmp_path_factory.mktemp("earlier")
                with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
                    packed.extractall(folder, filter="data")
                return folder / place
    return CHART


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What Git says of this repository, or that it cannot."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)


def test_an_upgrade_in_the_middle_of_a_run_loses_nothing_and_repeats_nothing(
    release: Release, stage: Stage, earlier_chart: Path
) -> None:
    release.install(chart=earlier_chart, **VALUES)
    old = release.operator(stage, "old")
    old.start()
    busy, resting = exporter(stage, "busy"), exporter(stage, "resting", schedule=False)
    stage.sandbox.fault("qualtrics.import_status", hold="before")
    stage.clock.advance(15 * 60)
    stage.reached("qualtrics.import_status")

    release.upgrade(podAnnotations={"example.com/rollout": "2"}, **VALUES)
    new = release.operator(stage, "new")  # a rolling update: the new pod is ready before the old one is told to go
    new.start()
    old.terminate()
    stage.sandbox.release()
    old.wait()

    assert busy.ended()["result"] == "Succeeded"
    assert len(sent(stage)) == 1
    stage.clock.advance(HOUR)
    assert busy.ended(2)["result"] == "Succeeded"
    assert len(sent(stage)) == 2
    assert sent(stage) == told(busy)
    assert [entry["trigger"] for entry in busy.history()] == ["Schedule", "Schedule"]
    assert resting.history() == []
    assert resting.condition("Ready")["status"] == "True"


def test_a_removal_leaves_exporters_and_another_installation_carries_on_without_sending(
    release: Release, stage: Stage
) -> None:
    release.install(**VALUES)
    operator = release.operator(stage)
    operator.start()
    kept = exporter(stage, "kept")
    stage.clock.advance(15 * 60)
    kept.ended()
    operator.stop()
    before = kept.status()

    release.uninstall("--wait", "--timeout", HANG)
    assert release.cluster.kubectl("get", "deployment,serviceaccount,role,lease", "--namespace", release.namespace,
        "--selector=app.kubernetes.io/name=qualtrics-exporter", "-o", "name").stdout == ""  # fmt: skip
    assert kept.status() == before
    stage.clock.advance(20 * 60)

    release.install(**VALUES)
    again = release.operator(stage, "again")
    again.start()
    kept.annotate(test_requested_at="are-you-there")
    kept.tested("are-you-there")
    assert len(kept.history()) == len(sent(stage)) == 1
    stage.clock.advance(HOUR)
    kept.ended(2)
    assert len(sent(stage)) == 2
    assert sent(stage) == told(kept)


def test_a_removal_in_the_middle_of_a_send_is_told_when_an_operator_is_back(release: Release, stage: Stage) -> None:
    """The pod finishes what it sends, but its rights are gone, so that it cannot write down how it went."""
    release.install(**VALUES)
    operator = release.operator(stage)
    operator.start()
    cut = exporter(stage, "cut", schedule=False)
    stage.sandbox.fault("qualtrics.create_distribution", hold="after")
    cut.annotate(run_requested_at="now")
    stage.reached("qualtrics.create_distribution")

    release.uninstall()
    operator.terminate()
    stage.sandbox.release()
    stage.while_time_passes(operator.wait)
    assert cut.status()["activeRun"]["step"] == "Sending"
    assert cut.history() == []

    # The pod could not give its Lease back, which would be waited for.
    release.cluster.kubectl("delete", "lease", release.name, "--namespace", release.namespace)
    release.install(**VALUES)
    again = release.operator(stage, "again")
    again.start()
    assert stage.while_time_passes(cut.ended)["result"] == "Succeeded"
    assert len(sent(stage)) == 1
    assert sent(stage) == told(cut)


def test_exporters_can_be_deleted_when_no_operator_is_left(release: Release, stage: Stage) -> None:
    release.install(**VALUES)
    with_operator = release.operator(stage)
    with_operator.start()
    left = exporter(stage, "left")
    with_operator.stop()
    release.uninstall()
    release.cluster.kubectl("delete", KIND, left.name, "--namespace", stage.namespace, f"--timeout={HANG}")
    assert not left.exists()


def test_the_crd_goes_with_the_release_only_if_it_is_told_to(release: Release) -> None:
    release.install(**VALUES)
    release.uninstall()
    assert release.cluster.kubectl("get", "crd", CRD, check=False).returncode == 0
    release.install(crds={"keep": False}, **VALUES)
    release.uninstall("--wait", "--timeout", HANG)
    assert release.cluster.kubectl("get", "crd", CRD, check=False).returncode == 1


def exporter(stage: Stage, name: str, *, schedule: bool = True) -> AppliedExporter:
    """An exporter with a query of its own, that was checked."""
    stage.people(f"#{name}", [f"{name}@example.com"])
    changes = {"nexthink.queryId": f"#{name}", "qualtrics.subject": name}
    made = stage.exporter(name, **changes, **(HOURLY if schedule else {}))
    assert made.checked()["status"] == "True"
    return made


def sent(stage: Stage) -> list[str]:
    """The distributions that went out, newest first (of a second one to the same person Qualtrics makes no mail)."""
    return [distribution.id for distribution in reversed(stage.sandbox.ledger.distributions)]


def told(exporter: AppliedExporter) -> list[str]:
    """The distributions that its history tells of, newest first."""
    return [entry["distributionId"] for entry in exporter.history()]
