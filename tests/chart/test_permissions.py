"""The permissions of the chart are sufficient, and each of them is needed.

With all of them, everything works. Each test that is marked with `needs` takes one permission away, and asserts what
then fails. `test_each_permission_of_the_chart_is_needed_by_a_test` compares those permissions with the chart's roles.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.applied_exporter import AppliedExporter
from tests.support.controlplane import ControlPlane
from tests.support.operator import Operator
from tests.support.release import Permission, Release
from tests.support.stage import NOON, Stage
from tests.support.waiting import eventually

GROUP = "qualtrics-exporter.dev"
GET = Permission("get", "qualtricsexporters", GROUP)
LIST = Permission("list", "qualtricsexporters", GROUP)
WATCH = Permission("watch", "qualtricsexporters", GROUP)
UPDATE_STATUS = Permission("update", "qualtricsexporters/status", GROUP)
GET_SECRETS = Permission("get", "secrets", "")
CREATE_EVENTS = Permission("create", "events", "events.k8s.io")
GET_LEASES = Permission("get", "leases", "coordination.k8s.io")
CREATE_LEASES = Permission("create", "leases", "coordination.k8s.io")
UPDATE_LEASES = Permission("update", "leases", "coordination.k8s.io")
EVERYBODY = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}

Test = Callable[..., None]
needed: dict[Permission, str] = {}
"""Each permission, and the name of the test that takes it away."""


def needs(*permissions: Permission) -> Callable[[Test], Test]:
    """Mark a test of an operator without a permission. The test runs once for each of `permissions`."""

    def mark(test: Test) -> Test:
        needed.update(dict.fromkeys(permissions, test.__name__))
        return pytest.mark.parametrize("permission", permissions, ids=str)(test)

    return mark


class Installed:
    """A release in one namespace, and a stage for it with exporters in another namespace."""

    def __init__(self, release: Release, stage: Stage, labels: dict[str, str]) -> None:
        self.release = release
        self.stage = stage
        self._labels = labels
        self._numbers = itertools.count(1)
        self._leader: Operator | None = None

    def exporter(self) -> AppliedExporter:
        """Create an exporter that this release manages."""
        exporter = self.stage.existing(f"exporter-{next(self._numbers)}")
        exporter.manifest = self.stage.manifest(exporter.name)
        exporter.manifest["metadata"]["labels"] = self._labels
        self.stage.apply(exporter.manifest)
        return exporter

    def operator(self, pod: str) -> Operator:
        """A pod of the release. It is not started yet."""
        return self.release.operator(self.stage, pod)

    def leader(self) -> Operator:
        """The pod that leads, the same one for all tests. The first call starts it."""
        if not self._leader:
            leader = self.operator("pod-0")
            leader.start()
            eventually(lambda: "qualtrics_exporter_leader 1.0" in leader.metrics(), "the pod leads")
            self._leader = leader
        return self._leader

    def end_leader(self) -> None:
        """Stop the pod that leads."""
        if self._leader:
            self._leader.stop()
            self._leader = None

    def revoked(self, permission: Permission) -> Any:
        """A context in which the release does not have that permission."""
        is_lease = permission.resource == "leases"
        return self.release.revoked(permission, self.release.namespace if is_lease else self.stage.namespace)

    def mailed(self) -> set[str]:
        """All people who have got a mail so far."""
        return set(self.stage.sandbox.recorder.mails())


@pytest.fixture(scope="module", params=["all namespaces", "one namespace"])
def installed(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installed]:
    """The chart, installed for all namespaces, and then for one namespace.

    The release for all namespaces has a selector, because other tests have exporters in the same cluster.
    """
    folder = tmp_path_factory.mktemp("permissions")
    own, tenant = (
        cluster.namespace(f"permissions-{what}-{folder.name[-1]}-{id(folder) % 9973}") for what in ("op", "dex")
    )
    with ExitStack() as stack:
        stage = Stage(cluster, tenant, folder, stack, start=NOON)
        release = Release(cluster, folder, own)
        labels = {"team": tenant}
        scope = {"watchNamespaces": [tenant]} if request.param == "one namespace" else {"selector": f"team={tenant}"}
        release.install(crds={"enabled": False}, allowedHosts=["localhost"], logging={"level": "debug"}, **scope)
        yield Installed(release, stage, labels)


@pytest.fixture
def operator(installed: Installed) -> Operator:
    """The pod of the release that leads."""
    return installed.leader()


@pytest.mark.usefixtures("operator")
def test_operator_with_the_permissions_of_the_chart_sends_a_survey_and_reports_it(installed: Installed) -> None:
    exporter = installed.exporter()
    assert exporter.checked()["reason"] == "Checked"
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"
    exporter.wait_for_event("Succeeded")
    assert [event["reason"] for event in exporter.events()] == ["Checked", "Succeeded"]
    assert installed.mailed() == EVERYBODY


def test_operator_cannot_list_or_change_secrets_and_cannot_change_exporters(installed: Installed) -> None:
    forbidden = [Permission(verb, "secrets", "") for verb in ("list", "watch", "create", "update", "patch", "delete")]
    forbidden += [Permission(verb, "qualtricsexporters", GROUP) for verb in ("create", "update", "patch", "delete")]
    for permission in forbidden:
        assert not installed.release.is_allowed(permission, installed.stage.namespace), permission


def test_operator_for_one_namespace_cannot_read_secrets_of_another(installed: Installed) -> None:
    can_read = installed.release.is_allowed(GET_SECRETS, "default")
    assert can_read == ("QUALTRICS_EXPORTER_NAMESPACE" not in environment(installed))


def test_operator_can_read_and_write_only_its_own_lease(installed: Installed) -> None:
    release = installed.release
    lease = f"leases.coordination.k8s.io/{release.name}"
    account = f"--as=system:serviceaccount:{release.namespace}:{release.name}"
    for verb in ("get", "update"):
        for name, answer in ((lease, "yes"), (f"{lease}-of-another", "no")):
            review = release.cluster.kubectl(
                "auth", "can-i", verb, name, "--namespace", release.namespace, account, check=False
            )
            assert review.stdout.strip() == answer


@needs(GET)
def test_operator_that_cannot_get_exporters_runs_once_the_permission_is_back(
    installed: Installed, operator: Operator, permission: Permission
) -> None:
    exporter = installed.exporter()
    exporter.checked()
    sent = len(installed.stage.sandbox.recorder.distributions)
    with installed.revoked(permission):
        exporter.annotate(run_requested_at="now")
        wait_for_log(operator, "may not get qualtricsexporters")
    assert exporter.ended()["result"] == "Succeeded"
    assert len(installed.stage.sandbox.recorder.distributions) == sent + 1


@needs(UPDATE_STATUS)
def test_operator_that_cannot_write_the_status_reports_it_as_an_event_and_in_the_log(
    installed: Installed, operator: Operator, permission: Permission
) -> None:
    with installed.revoked(permission):
        exporter = installed.exporter()
        events = eventually(exporter.events, "an Event reports it")
        assert events[0]["reason"] == "StatusRefused"
        assert "may not update" in events[0]["note"]
        wait_for_log(operator, "may not update qualtricsexporters")
        assert exporter.history() == []


@needs(GET_SECRETS)
@pytest.mark.usefixtures("operator")
def test_exporter_whose_secrets_the_operator_cannot_read_is_not_ready_with_secret_not_readable(
    installed: Installed, permission: Permission
) -> None:
    with installed.revoked(permission):
        ready = installed.exporter().checked()
    assert (ready["status"], ready["reason"]) == ("False", "SecretNotReadable")


@needs(CREATE_EVENTS)
def test_operator_that_cannot_create_events_still_runs_and_reports_in_the_status(
    installed: Installed, operator: Operator, permission: Permission
) -> None:
    with installed.revoked(permission):
        exporter = installed.exporter()
        exporter.checked()
        exporter.annotate(run_requested_at="now")
        assert exporter.ended()["result"] == "Succeeded"
        assert exporter.events() == []
    assert "may not create events" in operator.log


@needs(LIST, WATCH)
def test_operator_that_cannot_list_or_watch_exporters_exits_and_names_the_permission(
    installed: Installed, permission: Permission
) -> None:
    operator = installed.operator("pod-1")
    with installed.revoked(permission):
        operator.start(ready=False)
        assert operator.wait() == 1
    assert f"the operator may not {permission.verb} qualtricsexporters" in operator.log
    assert "Traceback" not in operator.log


@needs(GET_LEASES, CREATE_LEASES, UPDATE_LEASES)
def test_operator_that_cannot_use_its_lease_is_neither_leader_nor_ready_until_it_can(
    installed: Installed, permission: Permission
) -> None:
    release = installed.release
    installed.end_leader()
    lease = ("lease", release.name, "--namespace", release.namespace)
    release.cluster.kubectl("delete", *lease, "--ignore-not-found")
    if permission == UPDATE_LEASES:  # a Lease without a holder, which the operator would only update
        free_lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": release.name, "namespace": release.namespace},
            "spec": {"holderIdentity": ""},
        }
        release.cluster.kubectl("create", "-f", "-", input=json.dumps(free_lease))
    operator = installed.operator("pod-2")
    with installed.revoked(permission):
        if permission == CREATE_LEASES:  # the pod that led may have created it again before it lost the permission
            release.cluster.kubectl("delete", *lease, "--ignore-not-found")
        operator.start(ready=False)
        wait_for_log(operator, f"cannot be acquired or renewed: the operator may not {permission.verb} leases")
        operator.serves()
        assert operator.get("/readyz") == 503
        assert "qualtrics_exporter_leader 0.0" in operator.metrics()
    eventually(lambda: operator.get("/readyz") == 200, "the operator is ready once it has the permission")
    operator.stop()


def test_each_permission_of_the_chart_is_needed_by_a_test(installed: Installed) -> None:
    assert installed.release.permissions() == set(needed)


def wait_for_log(operator: Operator, text: str) -> None:
    """Wait until the operator logs the text."""
    eventually(lambda: text in operator.log, f"the operator logs: {text}")


def environment(installed: Installed) -> dict[str, Any]:
    """The environment variables in the Deployment, by name."""
    release = installed.release
    found = release.cluster.kubectl("get", "deployment", release.name, "--namespace", release.namespace, "-o", "json")
    (container,) = json.loads(found.stdout)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable for variable in container["env"]}
