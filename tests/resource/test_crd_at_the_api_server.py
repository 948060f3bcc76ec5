"""The CRD as a real API server has it, and as somebody with kubectl meets it."""

import json
import re
from copy import deepcopy
from typing import Any, cast

import kubernetes
import pytest
import yaml

from qualtrics_exporter.resource.crd import crd
from qualtrics_exporter.resource.exporter import GROUP, KIND, PLURAL, VERSION, Exporter
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.waiting import eventually
from tests.resource.manifests import changed

pytestmark = pytest.mark.cluster


def apply(cluster: ControlPlane, manifest: dict[str, Any], *args: str, check: bool = True) -> Any:
    return cluster.kubectl("apply", "--filename=-", *args, input=json.dumps(manifest), check=check)


def write_status(cluster: ControlPlane, namespace: str, status: dict[str, Any]) -> dict[str, Any]:
    """The object after the operator's kind of write: a PUT of its status."""
    api = kubernetes.client.CustomObjectsApi(cluster.api())
    arguments = (GROUP, VERSION, namespace, PLURAL, "teams-rollout")
    body: Any = api.get_namespaced_custom_object(*arguments)
    written: Any = api.replace_namespaced_custom_object_status(*arguments, body | {"status": status})
    return cast("dict[str, Any]", written)


def copy_of_crd(word: str) -> dict[str, Any]:
    """Our CRD under another name and group, so that kubectl never takes one for the other, also from its caches."""
    copy = deepcopy(crd())
    copy["spec"]["group"] = f"{word}.qualtrics-exporter.dev"
    copy["spec"]["names"] = {"plural": f"{word}s", "singular": word, "kind": word.title(), "listKind": f"{word}List"}
    copy["metadata"]["name"] = f"{word}s.{copy['spec']['group']}"
    return copy


def create_crd(control_plane: ControlPlane, manifest: dict[str, Any]) -> None:
    """Create a CRD and return when objects of it can be."""
    control_plane.kubectl("create", "--validate=strict", "--filename=-", input=json.dumps(manifest))
    # Asked too early, kubectl stumbles over a CRD that has no conditions yet.
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
def documented(cluster: ControlPlane) -> ControlPlane:
    """The cluster, once `kubectl explain` knows our kind: the API server publishes its schemas a moment later."""
    explain = ("explain", KIND.lower(), f"--api-version={GROUP}/{VERSION}")
    eventually(lambda: cluster.kubectl(*explain, check=False).returncode == 0, "our schema is published")
    return cluster


def table(text: str) -> dict[str, str]:
    """The one row of kubectl's table, by the heads of its columns: what stands below them."""
    head, row = text.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+( \S+)*", head)]
    ends = [*starts[1:], None]
    return {head[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_the_crd_is_accepted_by_a_server_that_never_saw_it(control_plane: ControlPlane) -> None:
    # Under another group: the costs of stored rules are not counted again when a CRD is updated.
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
    ("path", "words"),
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
def test_kubectl_explain_reads_like_a_manual(documented: ControlPlane, path: str, words: list[str]) -> None:
    where = f"{KIND.lower()}.{path}".rstrip(".")
    shown = " ".join(documented.kubectl("explain", where, f"--api-version={GROUP}/{VERSION}").stdout.split())
    assert [word for word in words if word not in shown] == [], shown
    assert "<no description>" not in shown


def test_a_new_exporter_is_not_taken_for_a_ready_one(cluster: ControlPlane, namespace: str) -> None:
    claim = {"observedGeneration": 1, "conditions": [condition("Ready", "True", "So it says.")]}
    apply(cluster, changed({}, namespace=namespace) | {"status": claim})
    stored = json.loads(cluster.kubectl("get", "qex", "teams-rollout", "-n", namespace, "--output=json").stdout)
    assert stored["status"] == {"observedGeneration": -1}
    assert stored["metadata"]["generation"] == 1
    exporter = Exporter.from_object(stored)
    assert exporter.status.observed_generation == -1
    assert exporter.spec_error == ""


def test_the_spec_is_stored_as_it_was_written(cluster: ControlPlane, namespace: str) -> None:
    manifest = changed({}, namespace=namespace)
    apply(cluster, manifest)
    stored = json.loads(cluster.kubectl("get", "qex", "teams-rollout", "-n", namespace, "--output=json").stdout)
    assert stored["spec"] == manifest["spec"]


def test_applying_twice_changes_nothing(cluster: ControlPlane, namespace: str) -> None:
    manifest = changed({}, namespace=namespace)
    apply(cluster, manifest)
    write_status(cluster, namespace, {"observedGeneration": 1, "conditions": [condition("Ready", "True", "Well.")]})
    difference = cluster.kubectl("diff", "--filename=-", input=json.dumps(manifest), check=False)
    assert (difference.returncode, difference.stdout) == (0, "")
    assert apply(cluster, manifest).stdout.split()[-1] == "unchanged"


def test_a_status_written_moves_no_generation_and_a_spec_written_leaves_the_status(
    cluster: ControlPlane, namespace: str
) -> None:
    apply(cluster, changed({}, namespace=namespace))
    written = write_status(cluster, namespace, {"observedGeneration": 1, "schedule": "every Monday"})
    assert written["metadata"]["generation"] == 1
    apply(cluster, changed({"suspend": True}, namespace=namespace))
    stored = json.loads(cluster.kubectl("get", "qex", "teams-rollout", "-n", namespace, "--output=json").stdout)
    assert stored["metadata"]["generation"] == 2
    assert stored["status"] == {"observedGeneration": 1, "schedule": "every Monday"}


def test_what_the_operator_writes_comes_back_the_same(cluster: ControlPlane, namespace: str) -> None:
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
    status = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", "Well.")],
        "warnings": [{"reason": "QueryLimited", "message": "At most 50 people get through."}],
        "activeRun": run,
        "lastTest": entry | {"trigger": "Test"},
        "history": [entry] * 10,
    }
    written = write_status(cluster, namespace, status)
    assert written["status"] == status
    again = Exporter.from_object(written).status.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert again == status


def test_the_columns_of_a_new_exporter(cluster: ControlPlane, namespace: str) -> None:
    apply(cluster, changed({}, namespace=namespace))
    shown = table(cluster.kubectl("get", "qex", "-n", namespace).stdout)
    assert list(shown) == [
        *("NAME", "FREQUENCY", "SUSPENDED", "READY", "LAST RESULT", "RECIPIENTS", "LAST SUCCESS", "NEXT", "AGE")
    ]
    assert shown["NAME"] == "teams-rollout"
    assert shown["FREQUENCY"] == "Weekly"
    assert shown["SUSPENDED"] == "false"
    assert shown["READY"] == ""


def test_the_columns_of_an_exporter_that_ran(cluster: ControlPlane, namespace: str) -> None:
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
    shown = table(cluster.kubectl("get", "qex", "-n", namespace, "--output=wide").stdout)
    assert shown | {"LAST SUCCESS": "", "AGE": ""} == {
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
    assert re.fullmatch(r"\d+[a-z]\w*", shown["LAST SUCCESS"])


def test_the_samples_can_be_applied_as_they_are(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "namespace", "dex", check=False)
    cluster.kubectl("apply", "--dry-run=server", f"--filename={ROOT / 'samples'}")


def test_an_object_with_a_field_that_does_not_exist_is_refused_by_kubectl(
    cluster: ControlPlane, namespace: str
) -> None:
    refused = apply(cluster, changed({"qualtrics.surveyID": "x"}, namespace=namespace), check=False)
    assert refused.returncode == 1
    assert 'unknown field "spec.qualtrics.surveyID"' in refused.stderr


def test_what_an_older_crd_let_in_is_read_as_invalid(control_plane: ControlPlane, namespace: str) -> None:
    older = copy_of_crd("older")
    older["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
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
