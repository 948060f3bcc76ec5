"""The health of an exporter for Flux, Helm and Argo CD, in each of its states.

A fixture brings real exporters into all of these states, and keeps the object of the API server in each state. The
kstatus library and the health script of Argo CD then get the same objects.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.gitops.tools import Health, argo_cd_health, kstatus
from tests.support.stage import Stage

# For each state: the status of kstatus, the status of Argo CD, and a part of the message of Argo CD.
STATES = {
    "created": ("InProgress", "Progressing", "has not checked this spec yet"),
    "first check in progress": ("InProgress", "Progressing", "has not checked this spec yet"),
    "ready": ("Current", "Healthy", "The next slot is due at 2026-11-29T23:00:00Z."),
    "edited, not checked": ("InProgress", "Progressing", "has not checked this spec yet"),
    "edited, checked": ("Current", "Healthy", "The next slot is due"),
    "status lost": ("InProgress", "Progressing", "has not checked this spec yet"),
    "Secret missing": ("InProgress", "Progressing", "SecretNotFound: Secret "),
    "Qualtrics unavailable": ("InProgress", "Progressing", "RemoteUnavailable: "),
    "wrong survey": ("Failed", "Degraded", "SurveyNotFound: "),
    "wrong query": ("Failed", "Degraded", "QueryInvalid: "),
    "wrong survey, corrected, not checked": ("InProgress", "Progressing", "has not checked this spec yet"),
    "wrong survey, corrected, checked": ("Current", "Healthy", "The next slot is due"),
    "suspended": ("Current", "Healthy", "Suspended: it has no slots"),
    "suspended with a wrong survey": ("Failed", "Degraded", "SurveyNotFound: "),
    "suspended with a Secret missing": ("InProgress", "Healthy", "It is also not ready. SecretNotFound: "),
    "running": ("Current", "Healthy", "The next slot is due"),
    "run succeeded": ("Current", "Healthy", "The next slot is due"),
    "run failed": ("Current", "Healthy", "The last run did not succeed. SendRefused: "),
    "run held": ("Current", "Healthy", "The last run did not succeed. RecipientLimitExceeded: "),
    "run unknown": ("Current", "Healthy", "It is unknown whether the last run was sent. DeliveryUnknown: "),
    "deletion in progress": ("Terminating", "Progressing", "being deleted"),
}
ObjectsByState = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def objects(shared_stage: Stage) -> ObjectsByState:
    """The object of the API server in each state."""
    stage = shared_stage
    account = stage.sandbox.account
    stage.sandbox.call(lambda: account.add_survey("SV_another00000001"))
    seen: ObjectsByState = {}

    created = stage.exporter("created")
    seen["created"] = created.get()
    with held(stage, "nexthink.execute"):
        stage.operator()
        created.until(lambda status: "scheduleSince" in status, "the operator has seen it")
        seen["first check in progress"] = created.get()
    created.checked()
    seen["ready"] = created.get()

    with held(stage, "qualtrics.read_survey"):
        created.change(**{"qualtrics.surveyId": "SV_another00000001"})
        stage.sandbox.reached("qualtrics.read_survey")
        seen["edited, not checked"] = created.get()
    created.checked()
    seen["edited, checked"] = created.get()
    with held(stage, "qualtrics.read_survey"):
        created.forget_status()
        stage.sandbox.reached("qualtrics.read_survey")
        seen["status lost"] = created.get()
    created.checked()

    stage.sandbox.fault("qualtrics.read_survey", status=503, times=None)
    down = stage.exporter("down")
    stage.while_time_passes(down.checked)
    seen["Qualtrics unavailable"] = down.get()
    stage.sandbox.clear_faults()

    wrong = {"qualtrics.surveyId": "SV_noSuchSurvey001"}
    missing = {"qualtrics.credentialsSecretRef.name": "no-such-secret"}
    others = {
        "Secret missing": stage.exporter("secret", **missing),
        "wrong query": stage.exporter("query", **{"nexthink.query": "users | list ad.email_address,, name"}),
        "wrong survey": stage.exporter("survey", **wrong),
        "suspended": stage.exporter("suspended", suspend=True),
        "suspended with a wrong survey": stage.exporter("suspended-survey", suspend=True, **wrong),
        "suspended with a Secret missing": stage.exporter("suspended-secret", suspend=True, **missing),
    }
    for state, exporter in others.items():
        exporter.checked()
        seen[state] = exporter.get()
    corrected = others["wrong survey"]
    with held(stage, "qualtrics.read_survey"):
        corrected.change(**{"qualtrics.surveyId": account.survey_id})
        stage.sandbox.reached("qualtrics.read_survey")
        seen["wrong survey, corrected, not checked"] = corrected.get()
    corrected.checked()
    seen["wrong survey, corrected, checked"] = corrected.get()

    run = stage.exporter("run")
    run.checked()
    with held(stage, "qualtrics.create_batch"):
        run.annotate(run_requested_at="1")
        stage.sandbox.reached("qualtrics.create_batch")
        seen["running"] = run.get()
    run.ended()
    seen["run succeeded"] = run.get()
    stage.sandbox.fault("qualtrics.create_distribution", status=400)
    run.annotate(run_requested_at="2")
    run.ended(2)
    seen["run failed"] = run.get()
    run.change(maxRecipients=1)
    run.checked()
    run.annotate(run_requested_at="3")
    run.ended(3)
    seen["run held"] = run.get()
    run.change(maxRecipients=None)
    run.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop="before")
    run.annotate(run_requested_at="4")
    stage.while_time_passes(lambda: run.ended(4))
    seen["run unknown"] = run.get()

    run.kubectl("patch", "qex", "run", "--type=merge", "-p", '{"metadata": {"finalizers": ["example.com/kept"]}}')
    run.kubectl("delete", "qex", "run", "--wait=false")
    seen["deletion in progress"] = run.get()
    run.kubectl("patch", "qex", "run", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    return seen


@contextmanager
def held(stage: Stage, operation: str) -> Iterator[None]:
    """Hold the next call of that operation until the block ends."""
    stage.sandbox.fault(operation, hold=True)
    try:
        yield
    finally:
        stage.sandbox.clear_faults()


@pytest.fixture(scope="module")
def kstatus_health(objects: ObjectsByState) -> dict[str, Health]:
    return dict(zip(objects, kstatus(objects.values()), strict=True))


@pytest.fixture(scope="module")
def argo_health(objects: ObjectsByState) -> dict[str, Health]:
    return dict(zip(objects, argo_cd_health(objects.values()), strict=True))


def test_objects_of_this_module_include_every_state(objects: ObjectsByState) -> None:
    assert objects.keys() == STATES.keys()


@pytest.mark.parametrize("state", STATES)
def test_flux_waits_during_temporary_errors_and_fails_only_if_the_user_must_act(
    kstatus_health: dict[str, Health], state: str
) -> None:
    assert kstatus_health[state].status == STATES[state][0], kstatus_health[state].message


@pytest.mark.parametrize("state", STATES)
def test_argo_cd_shows_the_health_of_each_state_and_its_cause(argo_health: dict[str, Health], state: str) -> None:
    _, status, text = STATES[state]
    assert argo_health[state].status == status, argo_health[state].message
    assert text in argo_health[state].message
    assert "nil" not in argo_health[state].message


@pytest.mark.parametrize("state", [state for state, (status, _, _) in STATES.items() if status == "Failed"])
def test_flux_shows_the_message_of_the_stalled_condition_of_a_failed_exporter(
    kstatus_health: dict[str, Health], objects: ObjectsByState, state: str
) -> None:
    (stalled,) = (c for c in objects[state]["status"]["conditions"] if c["type"] == "Stalled")
    assert kstatus_health[state].message == stalled["message"]


def test_crd_is_current_for_flux(shared_stage: Stage) -> None:
    crd = shared_stage.cluster.kubectl("get", "crd", "qualtricsexporters.qualtrics-exporter.dev", "-o", "json").stdout
    (health,) = kstatus([json.loads(crd)])
    assert health.status == "Current"
