"""How an exporter does in the eyes of Flux, Helm and Argo CD, in every state that it can be in.

One story takes real exporters through all of these states and keeps what the API server showed in each; the kstatus
library and Argo CD's health script then judge the same objects.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.environment.stage import Stage
from tests.gitops.judges import Judgement, health, kstatus

# The state, what kstatus and Argo CD make of it, and words that Argo CD's message must have.
STATES = {
    "just created": ("InProgress", "Progressing", "has not checked this spec yet"),
    "being checked for the first time": ("InProgress", "Progressing", "has not checked this spec yet"),
    "ready": ("Current", "Healthy", "The next slot falls due at 2026-11-29T23:00:00Z."),
    "edited and not seen": ("InProgress", "Progressing", "has not checked this spec yet"),
    "edited and checked": ("Current", "Healthy", "The next slot falls due"),
    "status lost": ("InProgress", "Progressing", "has not checked this spec yet"),
    "Secret missing": ("InProgress", "Progressing", "SecretNotFound: Secret "),
    "remote side down": ("InProgress", "Progressing", "RemoteUnavailable: "),
    "wrong survey": ("Failed", "Degraded", "SurveyNotFound: "),
    "wrong query": ("Failed", "Degraded", "QueryInvalid: "),
    "wrong survey, corrected and not seen": ("InProgress", "Progressing", "has not checked this spec yet"),
    "wrong survey, corrected": ("Current", "Healthy", "The next slot falls due"),
    "suspended": ("Current", "Healthy", "Suspended: it has no slots"),
    "suspended with a wrong survey": ("Failed", "Degraded", "SurveyNotFound: "),
    "suspended with a Secret missing": ("InProgress", "Healthy", "It would not be ready. SecretNotFound: "),
    "running": ("Current", "Healthy", "The next slot falls due"),
    "run succeeded": ("Current", "Healthy", "The next slot falls due"),
    "run failed": ("Current", "Healthy", "The last run did not succeed. SendRefused: "),
    "run held": ("Current", "Healthy", "The last run did not succeed. RecipientLimitExceeded: "),
    "run unknown": ("Current", "Healthy", "Whether the last run was sent is unknown. DeliveryUnknown: "),
    "being deleted": ("Terminating", "Progressing", "being deleted"),
}
Gallery = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def gallery(shared_stage: Stage) -> Gallery:
    """The object in each state, as the API server had it."""
    stage = shared_stage
    account = stage.sandbox.account
    stage.sandbox.call(lambda: account.add_survey("SV_another00000001"))
    seen: Gallery = {}

    created = stage.exporter("story")
    seen["just created"] = created.get()
    with held(stage, "nexthink.execute"):
        stage.operator()
        created.until(lambda status: "scheduleSince" in status, "the operator has seen it")
        seen["being checked for the first time"] = created.get()
    created.checked()
    seen["ready"] = created.get()

    with held(stage, "qualtrics.read_survey"):
        created.change(**{"qualtrics.surveyId": "SV_another00000001"})
        stage.sandbox.reached("qualtrics.read_survey")
        seen["edited and not seen"] = created.get()
    created.checked()
    seen["edited and checked"] = created.get()
    with held(stage, "qualtrics.read_survey"):
        created.forget_status()
        stage.sandbox.reached("qualtrics.read_survey")
        seen["status lost"] = created.get()
    created.checked()

    stage.sandbox.fault("qualtrics.read_survey", status=503, times=None)
    down = stage.exporter("down")
    stage.while_time_passes(down.checked)
    seen["remote side down"] = down.get()
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
        seen["wrong survey, corrected and not seen"] = corrected.get()
    corrected.checked()
    seen["wrong survey, corrected"] = corrected.get()

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
    seen["being deleted"] = run.get()
    run.kubectl("patch", "qex", "run", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    return seen


@contextmanager
def held(stage: Stage, operation: str) -> Iterator[None]:
    """The next call of that operation stands still as long as the block lasts."""
    stage.sandbox.fault(operation, hold=True)
    try:
        yield
    finally:
        stage.sandbox.clear_faults()


@pytest.fixture(scope="module")
def of_kstatus(gallery: Gallery) -> dict[str, Judgement]:
    return dict(zip(gallery, kstatus(gallery.values()), strict=True))


@pytest.fixture(scope="module")
def of_argo_cd(gallery: Gallery) -> dict[str, Judgement]:
    return dict(zip(gallery, health(gallery.values()), strict=True))


def test_no_state_is_missing(gallery: Gallery) -> None:
    assert gallery.keys() == STATES.keys()


@pytest.mark.parametrize("state", STATES)
def test_flux_waits_while_a_check_may_help_and_gives_up_only_where_the_user_must_act(
    of_kstatus: dict[str, Judgement], state: str
) -> None:
    assert of_kstatus[state].status == STATES[state][0], of_kstatus[state].message


@pytest.mark.parametrize("state", STATES)
def test_argo_cd_says_the_same_and_why(of_argo_cd: dict[str, Judgement], state: str) -> None:
    _, status, words = STATES[state]
    assert of_argo_cd[state].status == status, of_argo_cd[state].message
    assert words in of_argo_cd[state].message
    assert "nil" not in of_argo_cd[state].message


@pytest.mark.parametrize("state", [state for state, (status, _, _) in STATES.items() if status == "Failed"])
def test_what_failed_names_its_reason_for_flux(of_kstatus: dict[str, Judgement], gallery: Gallery, state: str) -> None:
    (stalled,) = (c for c in gallery[state]["status"]["conditions"] if c["type"] == "Stalled")
    assert of_kstatus[state].message == stalled["message"]


def test_the_crd_is_current_for_flux_too(shared_stage: Stage) -> None:
    crd = shared_stage.cluster.kubectl("get", "crd", "qualtricsexporters.qualtrics-exporter.dev", "-o", "json").stdout
    (judgement,) = kstatus([json.loads(crd)])
    assert judgement.status == "Current"
