"""Upgrade, uninstall and a new installation of a release lose no exporter, repeat no survey and send none.

The exporters and their status are in the cluster and not in the release. These tests have a control plane of their own,
because Helm installs and deletes the CRD.
"""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.helm import CHART
from tests.support.applied_exporter import AppliedExporter
from tests.support.controlplane import ControlPlane
from tests.support.release import Release
from tests.support.stage import KIND, Stage
from tests.support.waiting import HANG

CRD = "qualtricsexporters.qualtrics-exporter.dev"
HOURLY = {"schedule.frequency": "Hourly", "schedule.everyHours": 1, "schedule.dayOfWeek": None}
VALUES = {"allowedHosts": ["localhost"]}
HOUR = 3600


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[ControlPlane]:
    """A control plane without the CRD."""
    with ControlPlane() as running:
        yield running


@pytest.fixture
def release(own_cluster: ControlPlane, own_namespace: str, tmp_path: Path) -> Iterator[Release]:
    """A release that is not installed yet. After the test, it is uninstalled, and the CRD and all exporters deleted."""
    release = Release(own_cluster, tmp_path, own_namespace)
    yield release
    release.uninstall("--ignore-not-found")
    own_cluster.kubectl("delete", "crd", CRD, "--ignore-not-found")
    own_cluster.kubectl(
        "delete", "clusterrole,clusterrolebinding", "--selector=app.kubernetes.io/name=qualtrics-exporter"
    )


@pytest.fixture
def own_namespace(own_cluster: ControlPlane, request: pytest.FixtureRequest) -> str:
    return own_cluster.namespace(request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-"))


@pytest.fixture
def stage(release: Release, tmp_path: Path) -> Iterator[Stage]:
    """A namespace with the Secrets of the sandbox, ten minutes before an hourly slot is due."""
    with ExitStack() as stack:
        yield Stage(
            release.cluster, release.namespace, tmp_path, stack, start=datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
        )


@pytest.fixture(scope="module")
def earlier_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest chart of the main branch that differs from the current chart.

    If there is none, for example in a shallow clone, it is the current chart. Then the upgrade only changes a value.
    """
    path = CHART.relative_to(ROOT)
    for branch in ("origin/main", "main", "HEAD"):
        for commit in git("log", "--first-parent", "--format=%H", branch, "--", str(path)).stdout.decode().split():
            archive = git("archive", commit, str(path))
            if archive.returncode == 0 and git("diff", "--quiet", commit, "--", str(path)).returncode == 1:
                folder = tmp_path_factory.mktemp("earlier")
                with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
                    packed.extractall(folder, filter="data")
                return folder / path
    return CHART


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run Git in this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)


def test_upgrade_during_a_run_loses_no_run_and_sends_each_survey_once(
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
    new = release.operator(stage, "new")  # a rolling update: the new pod is ready before the old one stops
    new.start()
    old.terminate()
    stage.sandbox.release()
    old.wait()

    assert busy.ended()["result"] == "Succeeded"
    assert len(sent(stage)) == 1
    stage.clock.advance(HOUR)
    assert busy.ended(2)["result"] == "Succeeded"
    assert len(sent(stage)) == 2
    assert sent(stage) == recorded(busy)
    assert [entry["trigger"] for entry in busy.history()] == ["Schedule", "Schedule"]
    assert resting.history() == []
    assert resting.condition("Ready")["status"] == "True"


def test_uninstall_keeps_exporters_and_a_new_installation_sends_only_at_the_next_slot(
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
    assert sent(stage) == recorded(kept)


def test_send_interrupted_by_uninstall_is_recorded_as_succeeded_after_a_new_installation(
    release: Release, stage: Stage
) -> None:
    """The pod finishes the send, but it cannot write the result, because its permissions are deleted."""
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

    # The pod could not release its Lease. Delete it, so that the new pod does not wait until the Lease expires.
    release.cluster.kubectl("delete", "lease", release.name, "--namespace", release.namespace)
    release.install(**VALUES)
    again = release.operator(stage, "again")
    again.start()
    assert stage.while_time_passes(cut.ended)["result"] == "Succeeded"
    assert len(sent(stage)) == 1
    assert sent(stage) == recorded(cut)


def test_exporter_can_be_deleted_after_uninstall(release: Release, stage: Stage) -> None:
    release.install(**VALUES)
    operator = release.operator(stage)
    operator.start()
    left = exporter(stage, "left")
    operator.stop()
    release.uninstall()
    release.cluster.kubectl("delete", KIND, left.name, "--namespace", stage.namespace, f"--timeout={HANG}")
    assert not left.exists()


def test_uninstall_deletes_the_crd_only_with_keep_false(release: Release) -> None:
    release.install(**VALUES)
    release.uninstall()
    assert release.cluster.kubectl("get", "crd", CRD, check=False).returncode == 0
    release.install(crds={"keep": False}, **VALUES)
    release.uninstall("--wait", "--timeout", HANG)
    assert release.cluster.kubectl("get", "crd", CRD, check=False).returncode == 1


def exporter(stage: Stage, name: str, *, schedule: bool = True) -> AppliedExporter:
    """Create an exporter with its own query, and wait for its check."""
    stage.people(f"#{name}", [f"{name}@example.com"])
    changes = {"nexthink.queryId": f"#{name}", "qualtrics.subject": name}
    created = stage.exporter(name, **changes, **(HOURLY if schedule else {}))
    assert created.checked()["status"] == "True"
    return created


def sent(stage: Stage) -> list[str]:
    """All distributions, newest first. Mails do not show a second distribution to the same person."""
    return [distribution.id for distribution in reversed(stage.sandbox.recorder.distributions)]


def recorded(exporter: AppliedExporter) -> list[str]:
    """The distributions in the history of the exporter, newest first."""
    return [entry["distributionId"] for entry in exporter.history()]
