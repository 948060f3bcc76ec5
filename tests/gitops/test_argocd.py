"""Health and actions of an exporter in Argo CD: the test files of the customization, and actions on real exporters."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.resource.names import GROUP, KIND
from tests.gitops.tools import (
    CUSTOMIZATION,
    Health,
    ScriptError,
    argo_cd_health,
    enabled_actions,
    merge_patch,
    run_action,
    run_script,
)
from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import Stage

ACTIONS = CUSTOMIZATION / "actions"
HEALTH_TESTS = plain_yaml.read((CUSTOMIZATION / "health_test.yaml").read_text("utf-8"))["tests"]
ACTION_TESTS = plain_yaml.read((ACTIONS / "action_test.yaml").read_text("utf-8"))
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
TOKENS = {f"{GROUP}/run-requested-at": TIME, f"{GROUP}/test-requested-at": f"dry-{TIME}"}
REJECTIONS = [test for test in ACTION_TESTS["actionTests"] if "expectedErrorMessage" in test]
CHANGES = [test for test in ACTION_TESTS["actionTests"] if test not in REJECTIONS]
CONFIG_MAP = plain_yaml.read((ROOT / "argocd" / "argocd-cm.yaml").read_text("utf-8"))


def loaded(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = plain_yaml.read(path.read_text("utf-8"))
    return body


# The test files of the customization, read as the test suite of Argo CD reads them


@pytest.mark.parametrize("test", HEALTH_TESTS, ids=lambda test: test["inputPath"])
def test_health_script_returns_the_status_of_its_test_file(test: dict[str, Any]) -> None:
    (health,) = argo_cd_health([loaded(CUSTOMIZATION / test["inputPath"])])
    assert health == Health(**test["healthStatus"])


@pytest.mark.parametrize("test", ACTION_TESTS["discoveryTests"], ids=lambda test: test["inputPath"])
def test_discovery_script_offers_the_actions_of_its_test_file(test: dict[str, Any]) -> None:
    (offered,) = run_script(ACTIONS / "discovery.lua", [loaded(ACTIONS / test["inputPath"])])
    assert {name: {"name": name, **action} for name, action in offered.items()} == {
        action["name"]: action for action in test["result"]
    }


def action_and_input(test: dict[str, str]) -> str:
    return f"{test['action']} {test['inputPath']}"


@pytest.mark.parametrize("test", CHANGES, ids=action_and_input)
def test_action_makes_only_the_changes_of_its_test_file(test: dict[str, Any]) -> None:
    changed = run_action(test["action"], loaded(ACTIONS / test["inputPath"]))
    expected = loaded(ACTIONS / test["expectedOutputPath"])
    for token, form in TOKENS.items():  # contains the current time
        if token in (annotations := changed["metadata"].get("annotations", {})):
            assert re.fullmatch(form, annotations[token])
            assert re.fullmatch(form, expected["metadata"]["annotations"][token])
            expected["metadata"]["annotations"][token] = annotations[token]
    assert changed == expected


@pytest.mark.parametrize("test", REJECTIONS, ids=action_and_input)
def test_disabled_action_fails_with_the_message_of_its_test_file(test: dict[str, Any]) -> None:
    """`argocd app actions run … --all` also runs disabled actions."""
    with pytest.raises(ScriptError, match=re.escape(test["expectedErrorMessage"])):
        run_action(test["action"], loaded(ACTIONS / test["inputPath"]))


def test_argo_cd_test_files_cover_every_action_and_all_test_data() -> None:
    files = {CUSTOMIZATION / test["inputPath"] for test in HEALTH_TESTS}
    files |= {ACTIONS / test["inputPath"] for tests in ACTION_TESTS.values() for test in tests}
    files |= {ACTIONS / test["expectedOutputPath"] for test in CHANGES}
    assert files == set(CUSTOMIZATION.rglob("testdata/*.yaml"))
    scripts = {path.parent.name for path in ACTIONS.glob("*/action.lua")}
    assert scripts == {test["action"] for test in ACTION_TESTS["actionTests"]}
    assert all(scripts == {a["name"] for a in test["result"]} for test in ACTION_TESTS["discoveryTests"])


# Whether a run may be requested


def time_ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def after_run(result: str, *later: str, **time: float) -> dict[str, Any]:
    """An exporter with a run that ended this long ago, followed by runs with the results `later`."""
    exporter, when = loaded(ACTIONS / "testdata" / "exporter.yaml"), time_ago(**time)
    exporter["status"]["history"] = [
        {"id": "r", "result": each, "startTime": when, "completionTime": when} for each in (*later, result)
    ]
    return exporter


def with_request(token: str, handled: str = "earlier") -> dict[str, Any]:
    """An exporter with the request `token`. The operator has handled the request `handled`."""
    exporter = loaded(ACTIONS / "testdata" / "exporter.yaml")
    exporter["metadata"]["annotations"] = {f"{GROUP}/run-requested-at": token}
    exporter["status"]["lastHandledRunRequest"] = handled
    return exporter


def being_deleted() -> dict[str, Any]:
    exporter = loaded(ACTIONS / "testdata" / "exporter.yaml")
    exporter["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    return exporter


@pytest.mark.parametrize(
    ("create", "reason"),
    [
        (lambda: after_run("Succeeded", minutes=9), "mailed people less than ten minutes ago"),
        (lambda: after_run("Succeeded", "Skipped", minutes=9), "mailed people less than ten minutes ago"),
        (lambda: after_run("Succeeded", minutes=11), None),
        (lambda: after_run("Succeeded", days=400), None),
        (lambda: after_run("Failed", minutes=1), None),
        (lambda: after_run("Held", minutes=1), None),
        (lambda: after_run("Unknown", "Succeeded", days=400), "It is unknown whether"),
        (lambda: with_request(time_ago(seconds=5)), "has not started it yet"),
        (lambda: with_request(now := time_ago(minutes=1), handled=now), None),
        (lambda: with_request(time_ago(minutes=11)), None),
        (lambda: with_request("a text of Git's"), None),
        (lambda: with_request("2-by-git"), None),
        (being_deleted, "is being deleted"),
    ],
    ids=[
        "success 9 minutes ago",
        "success 9 minutes ago before a skipped run",
        "success 11 minutes ago",
        "success 400 days ago",
        "failure a minute ago",
        "held run a minute ago",
        "unknown outcome before a success",
        "request 5 seconds ago",
        "handled request a minute ago",
        "request 11 minutes ago",
        "text as a token",
        "number and text as a token",
        "deletion in progress",
    ],
)
def test_run_now_is_disabled_and_rejected_after_a_recent_run_an_unknown_outcome_or_a_pending_request(
    create: Callable[[], dict[str, Any]], reason: str | None
) -> None:
    exporter = create()
    assert ("run-now" in enabled_actions(exporter)) == (reason is None)
    if reason is None:
        assert re.fullmatch(
            TIME, run_action("run-now", exporter)["metadata"]["annotations"][f"{GROUP}/run-requested-at"]
        )
    else:
        with pytest.raises(ScriptError, match=reason):
            run_action("run-now", exporter)


def test_discovery_and_run_now_contain_the_same_guard() -> None:
    discovery, action = ((ACTIONS / name).read_text("utf-8") for name in ("discovery.lua", "run-now/action.lua"))
    guard = re.compile(r"^-- Returns why a run .*?^end$", re.MULTILINE | re.DOTALL)
    assert guard.findall(discovery) == guard.findall(action) != []


# Scripts run with the limits of Argo CD


@pytest.mark.parametrize("script", ["string.format('x')", "math.random()", "os.time()", "io.open('x')"])
def test_script_cannot_use_a_library_that_argo_cd_does_not_load(script: str) -> None:
    with pytest.raises(ScriptError, match="attempt to index a non-table object"):
        run_script(f"return {{{script}}}", [{}])


def test_script_that_does_not_end_is_stopped() -> None:
    with pytest.raises(ScriptError, match="deadline"):
        run_script("while true do end", [{}])


def test_object_without_spec_or_status_is_progressing_and_breaks_no_script() -> None:
    bare = {"apiVersion": f"{GROUP}/v1alpha1", "kind": KIND, "metadata": {"name": "x", "generation": 1}}
    incomplete = [
        bare,
        {**bare, "status": {}},
        {**bare, "spec": {}, "status": {"observedGeneration": 1, "conditions": []}},
    ]
    assert {health.status for health in argo_cd_health(incomplete)} == {"Progressing"}
    assert all(enabled_actions(object_) <= {"suspend"} for object_ in incomplete)


# The ConfigMap for an Argo CD without the customization


def test_config_map_contains_the_scripts_of_the_customization() -> None:
    assert (CONFIG_MAP["kind"], CONFIG_MAP["metadata"]["name"]) == ("ConfigMap", "argocd-cm")
    health_key, actions_key = (f"resource.customizations.{what}.{GROUP}_{KIND}" for what in ("health", "actions"))
    assert CONFIG_MAP["data"].keys() == {health_key, actions_key}
    assert CONFIG_MAP["data"][health_key] == (CUSTOMIZATION / "health.lua").read_text("utf-8")
    definition = plain_yaml.read(CONFIG_MAP["data"][actions_key])
    assert definition["discovery.lua"] == (ACTIONS / "discovery.lua").read_text("utf-8")
    assert {action["name"]: action["action.lua"] for action in definition["definitions"]} == {
        path.parent.name: path.read_text("utf-8") for path in ACTIONS.glob("*/action.lua")
    }


# Real exporters


@pytest.fixture(scope="module")
def operated(shared_stage: Stage) -> Stage:
    """The stage of this module, with an operator."""
    shared_stage.operator()
    return shared_stage


def press(exporter: AppliedExporter, action: str) -> None:
    """Run an action as Argo CD does: run its script, and send the difference as a merge patch."""
    live = exporter.get()
    assert action in enabled_actions(live)
    patch = merge_patch(live, run_action(action, live))
    exporter.kubectl("patch", "qex", exporter.name, "--type=merge", "-p", json.dumps(patch))


def test_run_now_starts_one_run(operated: Stage) -> None:
    exporter = operated.exporter("pressed", **{"nexthink.parameters": {}})
    exporter.checked()
    sent = len(operated.sandbox.recorder.distributions)
    press(exporter, "run-now")
    entry = exporter.ended()
    assert (entry["trigger"], entry["result"]) == ("Request", "Succeeded")
    assert len(operated.sandbox.recorder.distributions) == sent + 1


def test_test_action_sends_nothing_although_test_mode_is_still_deliver(operated: Stage) -> None:
    exporter = operated.exporter("tested")
    exporter.checked()
    exporter.annotate(test_mode="Deliver")
    sent = len(operated.sandbox.recorder.distributions)
    press(exporter, "test")
    token = exporter.get()["metadata"]["annotations"][f"{GROUP}/test-requested-at"]
    assert exporter.tested(token)["reason"] == "TestPassed"
    assert len(operated.sandbox.recorder.distributions) == sent


def test_suspend_and_resume_change_only_the_suspension(operated: Stage) -> None:
    operated.apply(operated.manifest("paused"))  # by kubectl, which leaves an annotation
    exporter = operated.existing("paused")
    exporter.checked()
    before = exporter.get()
    press(exporter, "suspend")
    exporter.until(lambda status: "nextScheduleTime" not in status, "the exporter has no slots")
    assert enabled_actions(exporter.get()) == {"test", "resume"}
    press(exporter, "resume")
    exporter.until(lambda status: "nextScheduleTime" in status, "the exporter has slots")
    after = exporter.get()
    assert after["spec"] == {**before["spec"], "suspend": False}
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_next_sync_keeps_the_changes_of_actions_unless_git_sets_the_field(operated: Stage) -> None:
    exporter = operated.exporter("synced")
    exporter.checked()
    synced = {**exporter.manifest, "metadata": {"name": "synced", "namespace": operated.namespace}}

    def sync(**spec: Any) -> dict[str, Any]:
        manifest = {**synced, "spec": {**synced["spec"], **spec}}
        flags = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        operated.cluster.kubectl("apply", *flags, "-f", "-", input=json.dumps(manifest))
        return exporter.get()

    sync()
    press(exporter, "suspend")
    press(exporter, "test")
    live = sync()
    assert live["spec"]["suspend"] is True
    assert f"{GROUP}/test-requested-at" in live["metadata"]["annotations"]
    assert sync(suspend=False)["spec"]["suspend"] is False
