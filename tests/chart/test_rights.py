"""The chart's rights are enough and none is spare: with all of them everything works, without one something does not.

Each test below takes one right away and names what a user would miss. `test_each_right_is_missed` compares that list
with what the chart really gives.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.environment.controlplane import ControlPlane
from tests.environment.operator import Operator
from tests.environment.release import Release, Right
from tests.environment.stage import NOON, AppliedExporter, Stage
from tests.environment.waiting import eventually

GROUP = "qualtrics-exporter.dev"
GET = Right("get", "qualtricsexporters", GROUP)
LIST = Right("list", "qualtricsexporters", GROUP)
WATCH = Right("watch", "qualtricsexporters", GROUP)
UPDATE_STATUS = Right("update", "qualtricsexporters/status", GROUP)
GET_SECRETS = Right("get", "secrets", "")
CREATE_EVENTS = Right("create", "events", "events.k8s.io")
GET_LEASES = Right("get", "leases", "coordination.k8s.io")
CREATE_LEASES = Right("create", "leases", "coordination.k8s.io")
UPDATE_LEASES = Right("update", "leases", "coordination.k8s.io")
EVERYBODY = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}

Test = Callable[..., None]
missed: dict[Right, str] = {}
"""Each right, and the test that fails without it."""


def misses(*rights: Right) -> Callable[[Test], Test]:
    """Marks a test that shows what becomes of an operator without that right, or without each of several."""

    def mark(test: Test) -> Test:
        missed.update(dict.fromkeys(rights, test.__name__))
        return pytest.mark.parametrize("right", rights, ids=str)(test)

    return mark


class Installed:
    """A release and a stage for it: exporters in one namespace, the release in another."""

    def __init__(self, release: Release, stage: Stage, labels: dict[str, str]) -> None:
        self.release = release
        self.stage = stage
        self._labels = labels
        self._numbers = itertools.count(1)
        self._leader: Operator | None = None

    def exporter(self) -> AppliedExporter:
        """A new exporter that this release looks after."""
        exporter = self.stage.existing(f"exporter-{next(self._numbers)}")
        exporter.manifest = self.stage.manifest(exporter.name)
        exporter.manifest["metadata"]["labels"] = self._labels
        self.stage.apply(exporter.manifest)
        return exporter

    def operator(self, pod: str) -> Operator:
        """Another of its pods, not started yet."""
        return self.release.operator(self.stage, pod)

    def leader(self) -> Operator:
        """A pod of it that leads, the same for all who ask."""
        if not self._leader:
            leader = self.operator("pod-0")
            leader.start()
            eventually(lambda: "qualtrics_exporter_leader 1.0" in leader.metrics(), "it leads")
            self._leader = leader
        return self._leader

    def end_leader(self) -> None:
        """Let nobody lead."""
        if self._leader:
            self._leader.stop()
            self._leader = None

    def without(self, right: Right) -> Any:
        """The release without that right."""
        about_leases = right.resource == "leases"
        return self.release.without(right, self.release.namespace if about_leases else self.stage.namespace)

    def mailed(self) -> set[str]:
        """Everybody who got a mail so far."""
        return set(self.stage.sandbox.ledger.mails())


@pytest.fixture(scope="module", params=["all namespaces", "one namespace"])
def installed(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installed]:
    """The chart, installed once for exporters of all namespaces (with a label: others are about) and once for one's."""
    folder = tmp_path_factory.mktemp("rights")
    own, theirs = (cluster.namespace(f"rights-{what}-{folder.name[-1]}-{id(folder) % 9973}") for what in ("op", "dex"))
    with ExitStack() as stack:
        stage = Stage(cluster, theirs, folder, stack, start=NOON)
        release = Release(cluster, folder, own)
        labels = {"team": theirs}
        scope = {"watchNamespaces": [theirs]} if request.param == "one namespace" else {"selector": f"team={theirs}"}
        release.install(crds={"enabled": False}, allowedHosts=["localhost"], logging={"level": "debug"}, **scope)
        yield Installed(release, stage, labels)


@pytest.fixture
def operator(installed: Installed) -> Operator:
    """A pod of the release that leads."""
    return installed.leader()


@pytest.mark.usefixtures("operator")
def test_with_the_charts_rights_a_survey_goes_out_and_is_told(installed: Installed) -> None:
    exporter = installed.exporter()
    assert exporter.checked()["reason"] == "Checked"
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"
    exporter.told("Succeeded")
    assert [event["reason"] for event in exporter.events()] == ["Checked", "Succeeded"]
    assert installed.mailed() == EVERYBODY


def test_it_may_nothing_that_would_let_it_read_or_change_what_is_not_its_business(installed: Installed) -> None:
    wishes = [Right(verb, "secrets", "") for verb in ("list", "watch", "create", "update", "patch", "delete")]
    wishes += [Right(verb, "qualtricsexporters", GROUP) for verb in ("create", "update", "patch", "delete")]
    for right in wishes:
        assert not installed.release.may(right, installed.stage.namespace), right


def test_where_it_watches_one_namespace_it_reads_no_secret_of_another(installed: Installed) -> None:
    everywhere = installed.release.may(GET_SECRETS, "default")
    assert everywhere == ("QUALTRICS_EXPORTER_NAMESPACE" not in environment(installed))


def test_it_may_have_its_own_lease_and_no_other(installed: Installed) -> None:
    release = installed.release
    lease = f"leases.coordination.k8s.io/{release.name}"
    account = f"--as=system:serviceaccount:{release.namespace}:{release.name}"
    for verb in ("get", "update"):
        for name, answer in ((lease, "yes"), (f"{lease}-of-another", "no")):
            asked = release.cluster.kubectl(
                "auth", "can-i", verb, name, "--namespace", release.namespace, account, check=False
            )
            assert asked.stdout.strip() == answer


@misses(GET)
def test_without_a_fresh_look_at_the_exporter_nobody_is_mailed(
    installed: Installed, operator: Operator, right: Right
) -> None:
    exporter = installed.exporter()
    exporter.checked()
    sent = len(installed.stage.sandbox.ledger.distributions)
    with installed.without(right):
        exporter.annotate(run_requested_at="now")
        says(operator, "may not get qualtricsexporters")
    assert exporter.ended()["result"] == "Succeeded"
    assert len(installed.stage.sandbox.ledger.distributions) == sent + 1


@misses(UPDATE_STATUS)
def test_without_the_status_nobody_is_mailed_and_an_event_tells(
    installed: Installed, operator: Operator, right: Right
) -> None:
    with installed.without(right):
        exporter = installed.exporter()
        told = eventually(exporter.events, "an Event tells it")
        assert told[0]["reason"] == "StatusRefused"
        assert "may not update" in told[0]["note"]
        says(operator, "may not update qualtricsexporters")
        assert exporter.history() == []


@misses(GET_SECRETS)
@pytest.mark.usefixtures("operator")
def test_without_the_secrets_an_exporter_is_not_ready_and_says_why(installed: Installed, right: Right) -> None:
    with installed.without(right):
        ready = installed.exporter().checked()
    assert (ready["status"], ready["reason"]) == ("False", "SecretNotReadable")


@misses(CREATE_EVENTS)
def test_without_events_a_run_is_told_by_the_status_alone(
    installed: Installed, operator: Operator, right: Right
) -> None:
    with installed.without(right):
        exporter = installed.exporter()
        exporter.checked()
        exporter.annotate(run_requested_at="now")
        assert exporter.ended()["result"] == "Succeeded"
        assert exporter.events() == []
    assert "may not create events" in operator.log


@misses(LIST, WATCH)
def test_without_list_or_watch_it_ends_with_a_sentence(installed: Installed, right: Right) -> None:
    operator = installed.operator("pod-1")
    with installed.without(right):
        operator.start(ready=False)
        assert operator.wait() == 1
    assert f"the operator may not {right.verb} qualtricsexporters" in operator.log
    assert "Traceback" not in operator.log


@misses(GET_LEASES, CREATE_LEASES, UPDATE_LEASES)
def test_without_its_lease_it_neither_leads_nor_is_ready(installed: Installed, right: Right) -> None:
    release = installed.release
    installed.end_leader()
    lease = ("lease", release.name, "--namespace", release.namespace)
    release.cluster.kubectl("delete", *lease, "--ignore-not-found")
    if right == UPDATE_LEASES:  # one that is free, to be taken over
        free = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": release.name, "namespace": release.namespace},
            "spec": {"holderIdentity": ""},
        }
        release.cluster.kubectl("create", "-f", "-", input=json.dumps(free))
    operator = installed.operator("pod-2")
    with installed.without(right):
        if right == CREATE_LEASES:  # the pod that led may have made it anew before it lost the right
            release.cluster.kubectl("delete", *lease, "--ignore-not-found")
        operator.start(ready=False)
        says(operator, f"cannot be acquired or renewed: the operator may not {right.verb} leases")
        operator.serves()
        assert operator.get("/readyz") == 503
        assert "qualtrics_exporter_leader 0.0" in operator.metrics()
    eventually(lambda: operator.get("/readyz") == 200, "it is ready once it has the right")
    operator.stop()


def test_each_right_that_the_chart_gives_is_missed_in_a_test(installed: Installed) -> None:
    assert installed.release.rights() == set(missed)


def says(operator: Operator, what: str) -> None:
    """Wait until it logs that."""
    eventually(lambda: what in operator.log, f"the operator says: {what}")


def environment(installed: Installed) -> dict[str, Any]:
    """What the Deployment sets."""
    release = installed.release
    asked = release.cluster.kubectl("get", "deployment", release.name, "--namespace", release.namespace, "-o", "json")
    (container,) = json.loads(asked.stdout)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable for variable in container["env"]}
