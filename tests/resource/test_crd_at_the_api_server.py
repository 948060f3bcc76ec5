"""The CRD in a real API server, and what kubectl shows of it."""

import json
import re
import subprocess
from copy import deepcopy
from typing import Any, cast
from urllib.parse import quote

import kubernetes
import pytest
import yaml

from hack.files import ROOT
from qualtrics_exporter.resource.crd import crd
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION
from tests.resource.manifests import REMOVED, changed
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

pytestmark = pytest.mark.cluster


def apply(cluster: ControlPlane, manifest: dict[str, Any], *args: str, check: bool = True) -> Any:
    return cluster.kubectl("apply", "--filename=-", *args, input=json.dumps(manifest), check=check)


def write_status(cluster: ControlPlane, namespace: str, status: dict[str, Any]) -> dict[str, Any]:
    """Replace the status with a PUT, as the operator does. Returns the object."""
    api = kubernetes.client.CustomObjectsApi(cluster.api())
    arguments = (GROUP, VERSION, namespace, PLURAL, "teams-rollout")
    body: Any = api.get_namespaced_custom_object(*arguments)
    written: Any = api.replace_namespaced_custom_object_status(*arguments, body | {"status": status})
    return cast("dict[str, Any]", written)


def copy_of_crd(singular: str) -> dict[str, Any]:
    """The CRD under another name and group, so that kubectl does not confuse the two, even with its caches."""
    copy = deepcopy(crd())
    copy["spec"]["group"] = f"{singular}.qualtrics-exporter.dev"
    copy["spec"]["names"] = {
        "plural": f"{singular}s",
        "singular": singular,
        "kind": singular.title(),
        "listKind": f"{singular}List",
    }
    copy["metadata"]["name"] = f"{singular}s.{copy['spec']['group']}"
    return copy


def create_crd(control_plane: ControlPlane, manifest: dict[str, Any]) -> None:
    """Create a CRD, and wait until the API server accepts its objects."""
    control_plane.kubectl("create", "--validate=strict", "--filename=-", input=json.dumps(manifest))
    # kubectl fails on a CRD that has no conditions yet.
    wait = ("wait", "--for=condition=Established", f"crd/{manifest['metadata']['name']}")
    eventually(lambda: control_plane.kubectl(*wait, check=False).returncode == 0, "the CRD is established")


def condition(type_: str, status: str, message: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-05T00:00:00Z",
        "reason": "Checked",
        "message": message,
    }


@pytest.fixture(scope="module")
def cluster_with_schema(cluster: ControlPlane) -> ControlPlane:
    """The cluster, after the API server has published the schema of the CRD, which takes a moment."""
    explain = ("explain", KIND.lower(), f"--api-version={GROUP}/{VERSION}")
    eventually(lambda: cluster.kubectl(*explain, check=False).returncode == 0, "the schema is published")
    return cluster


def columns_of(text: str) -> dict[str, str]:
    """The values of the only row of kubectl's table, by column."""
    head, row = text.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+( \S+)*", head)]
    ends = [*starts[1:], None]
    return {head[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_the_api_server_accepts_the_crd_and_stores_its_schema_unchanged(control_plane: ControlPlane) -> None:
    # Another group, because an update of a stored CRD does not check the costs of its rules again.
    fresh = copy_of_crd("fresh")
    name = fresh["metadata"]["name"]
    try:
        create_crd(control_plane, fresh)
        stored = json.loads(control_plane.kubectl("get", "crd", name, "--output=json").stdout)
        conditions = {c["type"]: c["status"] for c in stored["status"]["conditions"]}
        assert "NonStructuralSchema" not in conditions
        assert stored["spec"]["versions"][0]["schema"] == fresh["spec"]["versions"][0]["schema"]
    finally:
        control_plane.kubectl("delete", "crd", name, "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("", ["to nobody else", "run-requested-at", "status.history"]),
        (
            "spec",
            ["When to send the survey.", "Whom to survey", "What to send", "held: nobody gets an e-mail", "-required-"],
        ),
        ("spec.schedule", ["frequency", "enum: Hourly, Daily, Weekly", "IANA time zone", "3600 by default"]),
        ("spec.nexthink", ["#teams_rollout", "list ad.email_address", "enum: Warn, Hold"]),
        ("spec.qualtrics", ["SV_…", "POOL_…", "MS_…", "UR_…", "CG_…", "never the whole list", "qemailserver.com"]),
        ("spec.qualtrics.credentialsSecretRef", ["in the namespace of the exporter", "clientSecret"]),
        ("status", ["newest first", "Best effort", "Stalled"]),
        ("status.activeRun", ["after a crash"]),
        ("status.history", ["Missed (the slot did not start in", "docs/reasons.md"]),
        ("status.history.delivery", ["Done does not mean delivered"]),
    ],
)
def test_kubectl_explain_describes_the_fields_of_the_exporter(
    cluster_with_schema: ControlPlane, path: str, texts: list[str]
) -> None:
    field = f"{KIND.lower()}.{path}".rstrip(".")
    output = " ".join(cluster_with_schema.kubectl("explain", field, f"--api-version={GROUP}/{VERSION}").stdout.split())
    assert [text for text in texts if text not in output] == [], output
    assert "<no description>" not in output


def test_a_status_in_an_applied_manifest_does_not_make_a_new_exporter_ready(
    cluster: ControlPlane, namespace: str
) -> None:
    claim = {"observedGeneration": 1, "conditions": [condition("Ready", "True", "Written by the user.")]}
    apply(cluster, changed({}, namespace=namespace) | {"status": claim})
    stored = json.loads(cluster.kubectl("get", "qex", "teams-rollout", "-n", namespace, "--output=json").stdout)
    assert stored["status"] == {"observedGeneration": -1}
    assert stored["metadata"]["generation"] == 1
    exporter = Exporter.from_object(stored)
    assert exporter.status.observed_generation == -1
    assert exporter.spec_error == ""


def test_the_api_server_stores_the_spec_as_it_is_applied(cluster: ControlPlane, namespace: str) -> None:
    manifest = changed({}, namespace=namespace)
    apply(cluster, manifest)
    stored = json.loads(cluster.kubectl("get", "qex", "teams-rollout", "-n", namespace, "--output=json").stdout)
    assert stored["spec"] == manifest["spec"]


def test_applying_a_manifest_twice_changes_nothing(cluster: ControlPlane, namespace: str) -> None:
    manifest = changed({}, namespace=namespace)
    apply(cluster, manifest)
    write_status(cluster, namespace, {"observedGeneration": 1, "conditions": [condition("Ready", "True", "Well.")]})
    diff = cluster.kubectl("diff", "--filename=-", input=json.dumps(manifest), check=False)
    assert (diff.returncode, diff.stdout) == (0, "")
    assert apply(cluster, manifest).stdout.split()[-1] == "unchanged"


def test_status_writes_keep_the_generation_and_spec_writes_keep_the_status(
    cluster: ControlPlane, namespace: str
) -> None:
    apply(cluster, changed({}, namespace=namespace))
    written = write_status(cluster, namespace, {"observedGeneration": 1, "schedule": "every Monday"})
    assert written["metadata"]["generation"] == 1
    apply(cluster, changed({"suspend": True}, namespace=namespace))
    stored = json.loads(cluster.kubectl("get", "qex", "teams-rollout", "-n", namespace, "--output=json").stdout)
    assert stored["metadata"]["generation"] == 2
    assert stored["status"] == {"observedGeneration": 1, "schedule": "every Monday"}


def test_a_status_that_the_operator_writes_is_read_back_unchanged(cluster: ControlPlane, namespace: str) -> None:
    apply(cluster, changed({}, namespace=namespace))
    entry = {
        "id": "run-1",
        "trigger": "Schedule",
        "scheduledTime": "2026-01-05T00:00:00Z",
        "completionTime": "2026-01-05T00:01:00Z",
        "result": "Succeeded",
        "reason": "Succeeded",
        "message": "Sent to 6 people.",
        "recipients": {"returned": 8, "empty": 1, "invalid": 0, "duplicate": 1, "accepted": 6, "imported": 6},
        "delivery": {"requestStatus": "Done", "sent": 6, "observedTime": "2026-01-05T00:03:00Z"},
    }
    run = {
        "id": "run-2",
        "trigger": "Request",
        "startTime": "2026-01-05T01:00:00Z",
        "step": "Sending",
        "counts": {"returned": 1, "accepted": 1},
        "warnings": ["ResultTruncated"],
    }
    followed = {
        "runId": "run-0",
        "surveyId": "SV_1",
        "distributionId": "EMD_1",
        "sendTime": "2026-01-05T00:00:00Z",
        "observedTime": "2026-01-05T01:00:00Z",
    }
    status = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", "Well.")],
        "warnings": [{"reason": "QueryLimited", "message": "At most 50 people get through."}],
        "credentialsExpiry": {"nexthink": "2027-01-31T00:00:00Z", "qualtrics": "2027-02-28T12:00:00Z"},
        "activeRun": run,
        "lastTest": entry | {"trigger": "Test"},
        "history": [entry] * 10,
        "followedDeliveries": [followed] * 170,
    }
    written = write_status(cluster, namespace, status)
    assert written["status"] == status
    read_back = Exporter.from_object(written).status.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert read_back == status


def test_kubectl_get_shows_the_columns_of_a_new_exporter(cluster: ControlPlane, namespace: str) -> None:
    apply(cluster, changed({}, namespace=namespace))
    output = columns_of(cluster.kubectl("get", "qex", "-n", namespace).stdout)
    assert list(output) == [
        *("NAME", "FREQUENCY", "SUSPENDED", "READY", "LAST RESULT", "RECIPIENTS", "LAST SUCCESS", "NEXT", "AGE")
    ]
    assert output["NAME"] == "teams-rollout"
    assert output["FREQUENCY"] == "Weekly"
    assert output["SUSPENDED"] == "false"
    assert output["READY"] == ""


def test_kubectl_get_shows_the_columns_of_an_exporter_after_a_run(cluster: ControlPlane, namespace: str) -> None:
    apply(cluster, changed({}, namespace=namespace))
    entry = {
        "id": "run",
        "trigger": "Schedule",
        "completionTime": "2026-01-05T00:01:00Z",
        "result": "Succeeded",
        "reason": "Succeeded",
        "message": "Sent.",
        "recipients": {"accepted": 6},
    }
    write_status(
        cluster,
        namespace,
        {
            "observedGeneration": 1,
            "conditions": [condition("QueryInSync", "False", "Drift."), condition("Ready", "True", "All is well.")],
            "nextScheduleTime": "2126-01-12T00:00:00Z",
            "lastSuccessfulTime": "2026-01-05T00:01:00Z",
            "history": [entry, entry | {"result": "Failed"}],
        },
    )
    output = columns_of(cluster.kubectl("get", "qex", "-n", namespace, "--output=wide").stdout)
    assert output | {"LAST SUCCESS": "", "AGE": ""} == {
        "NAME": "teams-rollout",
        "FREQUENCY": "Weekly",
        "SUSPENDED": "false",
        "READY": "True",
        "LAST RESULT": "Succeeded",
        "RECIPIENTS": "6",
        "LAST SUCCESS": "",
        "NEXT": "2126-01-12T00:00:00Z",
        "AGE": "",
        "SURVEY": "SV_teamsRollout01",
        "QUERY": "#teams_rollout",
        "MESSAGE": "All is well.",
    }
    assert re.fullmatch(r"\d+[a-z]\w*", output["LAST SUCCESS"])


def test_kubectl_lists_exporters_by_category_and_selects_them_by_field(cluster: ControlPlane, namespace: str) -> None:
    exporters = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
    for name, changes in {
        "another": {"qualtrics.surveyId": "SV_another00001", "suspend": REMOVED},
        "daily": {"schedule.frequency": "Daily", "schedule.dayOfWeek": REMOVED},
        "suspended": {"suspend": True},
    }.items():
        manifest = changed(changes, name=name, namespace=namespace)
        cluster.put(f"{exporters}/{name}", manifest)

    def select(selector: str) -> list[str]:
        listed = cluster.read(f"{exporters}?fieldSelector={quote(selector)}")
        return [item["metadata"]["name"] for item in listed["items"]]

    expected = {
        "spec.schedule.frequency=Daily": ["daily"],
        "spec.suspend=true": ["suspended"],
        "spec.suspend!=true": ["another", "daily"],
        "spec.suspend=false": ["daily"],  # a field that is not set is neither true nor false
        "spec.qualtrics.surveyId=SV_another00001": ["another"],
        "spec.schedule.frequency=Weekly,spec.suspend!=true": ["another"],
    }
    assert {selector: select(selector) for selector in expected} == expected

    def kubectl_get(*args: str) -> subprocess.CompletedProcess[str]:
        return cluster.kubectl("get", "qualtrics", "--output=name", "-n", namespace, *args, check=False)

    selected = kubectl_get("--field-selector=spec.suspend=true")
    assert selected.stdout == f"{KIND.lower()}.{GROUP}/suspended\n", selected.stderr
    refused = kubectl_get("--field-selector=spec.dryRun=true")
    assert "field label not supported: spec.dryRun" in refused.stderr


def test_the_api_server_accepts_all_samples(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "namespace", "dex", check=False)
    cluster.kubectl("apply", "--dry-run=server", f"--filename={ROOT / 'samples'}")


def test_kubectl_rejects_an_exporter_with_an_unknown_field(cluster: ControlPlane, namespace: str) -> None:
    result = apply(cluster, changed({"qualtrics.surveyID": "x"}, namespace=namespace), check=False)
    assert result.returncode == 1
    assert 'unknown field "spec.qualtrics.surveyID"' in result.stderr


def test_an_exporter_that_an_older_crd_accepted_is_read_as_invalid(control_plane: ControlPlane, namespace: str) -> None:
    older = copy_of_crd("older")
    version = older["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version.pop("selectableFields")  # they must be in the schema
    try:
        create_crd(control_plane, older)
        manifest = changed({"qualtrics.surveyId": "eva@example.com"}, namespace=namespace)
        manifest |= {"apiVersion": f"{older['spec']['group']}/{VERSION}", "kind": older["spec"]["names"]["kind"]}
        stored = json.loads(
            control_plane.kubectl("create", "--filename=-", "--output=json", input=yaml.safe_dump(manifest)).stdout
        )
        exporter = Exporter.from_object(stored)
        assert exporter.spec is None
        assert exporter.spec_error.startswith("spec.qualtrics.surveyId: must be the id of a survey, SV_")
        assert "eva" not in exporter.spec_error
    finally:
        control_plane.kubectl("delete", "crd", older["metadata"]["name"], "--ignore-not-found", "--wait=false")
