"""The work of the operator causes no drift: kubectl, Flux and Argo CD find each exporter as it is in Git.

Each exporter has two copies, one applied like kubectl does, and one like Flux does. The operator manages both for a
week, in which all kinds of changes to the status happen.
"""

import copy
import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import kubernetes.client
import pytest

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.resource.crd import crd
from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION
from qualtrics_exporter.sandbox import Query
from tests.gitops.compare import differences
from tests.support.stage import KIND, Stage
from tests.support.waiting import HANG_SECONDS, eventually

AS_FLUX = ("--server-side", "--field-manager=kustomize-controller")
MONDAY = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
Manifests = list[dict[str, Any]]


def samples() -> Manifests:
    paths = sorted((ROOT / "samples").glob("*.yaml"))
    bodies = [body for path in paths for body in plain_yaml.read_all(path.read_text("utf-8"))]
    return [body for body in bodies if body["kind"] == "QualtricsExporter"]


def everything(stage: Stage) -> dict[str, Any]:
    """An exporter with every field set."""
    manifest = stage.manifest(
        "everything",
        description="Every field",
        suspend=False,
        maxRecipients=100,
        minRecipients=1,
        sample={"groups": 2},
        dryRun=False,
        **{
            "schedule.startingDeadlineSeconds": 3600,
            "nexthink.query": "users | where name == $who | list ad.email_address",
            "nexthink.queryId": "#everything",
            "nexthink.parameters": {"who": "ana"},
            "nexthink.driftPolicy": "Warn",
            "nexthink.queryCheck": "Warn",
            "nexthink.resultSource": "Auto",
            "qualtrics.allowCustomFromDomain": True,
            "qualtrics.replyToEmail": "dex@example.com",
            "qualtrics.linkExpirationDays": 14,
        },
    )
    manifest["metadata"]["labels"] = {"app.kubernetes.io/part-of": "dex"}
    manifest["metadata"]["annotations"] = {"example.com/owner": "dex"}
    return manifest


def leaves(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each field in a schema of the CRD."""
    for name, field in node["properties"].items():
        yield from leaves(field, (*path, name)) if "properties" in field else [(*path, name)]


class Repository:
    """The manifests in Git, and commands for them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        # The copy for kubectl has other fields, because an exporter cannot have both dayOfWeek and everyHours, or both
        # groups and percent.
        hourly = copy.deepcopy(everything(stage))
        hourly["spec"]["schedule"] |= {"frequency": "Hourly", "everyHours": 12}
        hourly["spec"]["schedule"].pop("dayOfWeek")
        hourly["spec"]["sample"] = {"percent": 99}
        self.kubectl = self._named("kubectl", [*samples(), hourly])
        self.flux = self._named("flux", [*samples(), everything(stage)])

    def apply(self, manifests: Manifests, *flags: str) -> str:
        return self._kubectl("apply", *flags, manifests=manifests)

    def diff(self, manifests: Manifests, *flags: str) -> str:
        """The output of `kubectl diff`. Raises KubectlError if there is a difference, because it then exits with 1."""
        return self._kubectl("diff", *flags, manifests=manifests)

    def live(self) -> dict[str, dict[str, Any]]:
        objects = kubernetes.client.CustomObjectsApi(self.stage.cluster.api())
        listed = objects.list_namespaced_custom_object(
            GROUP, VERSION, self.stage.namespace, PLURAL, _request_timeout=HANG_SECONDS
        )
        return {body["metadata"]["name"]: body for body in listed["items"]}

    def history(self) -> list[dict[str, Any]]:
        return [entry for body in self.live().values() for entry in body["status"].get("history", [])]

    def wait_for_entries(self, number: int, *, of: Collection[str]) -> None:
        """Wait until each of these exporters has that many entries in its history, and no active run."""

        def are_done() -> bool:
            found = [body.get("status", {}) for name, body in self.live().items() if name in of]
            return all(len(s.get("history", [])) >= number and "activeRun" not in s for s in found)

        self.stage.while_time_passes(lambda: eventually(are_done, f"{number} entries each"))

    def _named(self, suffix: str, manifests: Manifests) -> Manifests:
        named = copy.deepcopy(manifests)
        for body in named:
            body["metadata"]["name"] += f"-{suffix}"
            body["metadata"]["namespace"] = self.stage.namespace
        return named

    def _kubectl(self, command: str, *flags: str, manifests: Manifests) -> str:
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
        return self.stage.cluster.kubectl(command, *flags, "-f", "-", input=json.dumps(listed)).stdout


@pytest.fixture(scope="module")
def repository(shared_stage: Stage) -> Repository:
    """The repository after a week: checks, a run, a resolved outcome, a test, a slot and delivery figures."""
    stage = shared_stage
    query = everything(stage)["spec"]["nexthink"]["query"]
    saved = Query.people("#everything", (f"user{n}@example.com" for n in range(90)), executed=query)
    stage.sandbox.call(lambda: stage.sandbox.account.add_query(saved))
    repository = Repository(stage)
    repository.apply(repository.kubectl)
    repository.apply(repository.flux, *AS_FLUX)
    operator = stage.operator()

    requested = {body["metadata"]["name"] for body in (*repository.kubectl[-2:], *repository.flux[-2:])}

    def annotate(**annotations: str) -> None:
        pairs = [f"{GROUP}/{key.replace('_', '-')}={value}" for key, value in annotations.items()]
        stage.cluster.kubectl("annotate", KIND, "-n", stage.namespace, "--overwrite", *requested, *pairs)

    eventually(
        lambda: all("nextScheduleTime" in b.get("status", {}) for b in repository.live().values()),
        "all exporters have slots",
    )
    stage.sandbox.fault("qualtrics.create_distribution", drop="before")
    annotate(run_requested_at="first")
    repository.wait_for_entries(1, of=requested)
    (unknown,) = (entry for entry in repository.history() if entry["result"] == "Unknown")
    annotate(settle_run=f"{unknown['id']}=NotSent")
    annotate(test_requested_at="first", test_mode="Dry")
    eventually(
        lambda: all("lastTest" in repository.live()[name]["status"] for name in requested), "the exporters are tested"
    )
    due = {name for name, body in repository.live().items() if body["status"]["nextScheduleTime"] < "2026-11-29T23:30"}
    stage.clock.advance_to(MONDAY)
    repository.wait_for_entries(1, of=due)
    repository.wait_for_entries(2, of=requested & due)
    stage.clock.advance(120)
    eventually(lambda: any("delivery" in entry for entry in repository.history()), "delivery figures are read")
    operator.stop()
    return repository


def test_exporters_of_this_module_use_every_field(shared_stage: Stage) -> None:
    repository = Repository(shared_stage)
    root = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    used = {
        path for body in [*repository.kubectl, *repository.flux] for path in leaves(root) if _has(body["spec"], path)
    }
    assert used == set(leaves(root))


def test_kubectl_diff_finds_no_difference(repository: Repository) -> None:
    assert repository.diff(repository.kubectl) == ""


def test_server_side_kubectl_diff_finds_no_difference(repository: Repository) -> None:
    assert repository.diff(repository.flux, *AS_FLUX) == ""


def test_second_kubectl_apply_writes_nothing(repository: Repository) -> None:
    before = repository.live()
    assert all(line.endswith(" unchanged") for line in repository.apply(repository.kubectl).splitlines())
    assert repository.live() == before


def test_second_apply_by_flux_writes_nothing_and_finds_no_conflict(repository: Repository) -> None:
    before = repository.live()
    repository.apply(repository.flux, *AS_FLUX)
    assert repository.live() == before


def test_argo_cd_finds_every_field_of_git_unchanged_in_the_cluster(repository: Repository) -> None:
    live = repository.live()
    for body in [*repository.kubectl, *repository.flux]:
        assert differences(body, live[body["metadata"]["name"]]) == []


def test_operator_manages_only_status_fields_under_its_own_name(repository: Repository) -> None:
    for body in repository.live().values():
        of_status = [entry for entry in body["metadata"]["managedFields"] if "f:status" in entry["fieldsV1"]]
        assert {(entry["manager"], entry["subresource"]) for entry in of_status} == {("qualtrics-exporter", "status")}
        assert all(entry["fieldsV1"].keys() == {"f:status"} for entry in of_status)
        others = {entry["manager"] for entry in body["metadata"]["managedFields"] if entry not in of_status}
        assert others <= {"kubectl-client-side-apply", "kustomize-controller", "kubectl-annotate"}


def _has(body: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(body, dict) or name not in body:
            return False
        body = body[name]
    return True
