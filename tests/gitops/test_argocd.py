"""What Argo CD shows of an exporter and lets people do with it: its own test files, and real exporters acted upon."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qualtrics_exporter.resource.exporter import GROUP, KIND
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.stage import AppliedExporter, Stage
from tests.gitops.judges import CUSTOMIZATION, Judgement, ScriptError, acted, actions, health, merge_patch, run_script

ACTIONS = CUSTOMIZATION / "actions"
HEALTH_TESTS = plain_yaml.read((CUSTOMIZATION / "health_test.yaml").read_text("utf-8"))["tests"]
ACTION_TESTS = plain_yaml.read((ACTIONS / "action_test.yaml").read_text("utf-8"))
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
TOKENS = {f"{GROUP}/run-requested-at": TIME, f"{GROUP}/test-requested-at": f"dry-{TIME}"}
REFUSALS = [test for test in ACTION_TESTS["actionTests"] if "expectedErrorMessage" in test]
CHANGES = [test for test in ACTION_TESTS["actionTests"] if test not in REFUSALS]
CONFIG_MAP = plain_yaml.read((ROOT / "argocd" / "argocd-cm.yaml").read_text("utf-8"))


def loaded(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = plain_yaml.read(path.read_text("utf-8"))
    return body


# Argo CD's own test files, read as its test suite reads them


@pytest.mark.parametrize("test", HEALTH_TESTS, ids=lambda test: test["inputPath"])
def test_the_health_script_does_what_its_test_file_says(test: dict[str, Any]) -> None:
    (judgement,) = health([loaded(CUSTOMIZATION / test["inputPath"])])
    assert judgement == Judgement(**test["healthStatus"])


@pytest.mark.parametrize("test", ACTION_TESTS["discoveryTests"], ids=lambda test: test["inputPath"])
def test_the_actions_that_are_offered_are_those_of_the_test_file(test: dict[str, Any]) -> None:
    (offered,) = run_script(ACTIONS / "discovery.lua", [loaded(ACTIONS / test["inputPath"])])
    assert {name: {"name": name, **action} for name, action in offered.items()} == {
        action["name"]: action for action in test["result"]
    }


def named(test: dict[str, str]) -> str:
    return f"{test['action']} {test['inputPath']}"


@pytest.mark.parametrize("test", CHANGES, ids=named)
def test_an_action_changes_what_the_test_file_says_and_nothing_else(test: dict[str, Any]) -> None:
    changed = acted(test["action"], loaded(ACTIONS / test["inputPath"]))
    expected = loaded(ACTIONS / test["expectedOutputPath"])
    for token, form in TOKENS.items():  # the time, which the test file cannot know
        if token in (annotations := changed["metadata"].get("annotations", {})):
            assert re.fullmatch(form, annotations[token])
            assert re.fullmatch(form, expected["metadata"]["annotations"][token])
            expected["metadata"]["annotations"][token] = annotations[token]
    assert changed == expected


@pytest.mark.parametrize("test", REFUSALS, ids=named)
def test_an_action_that_is_run_although_it_is_disabled_changes_nothing_and_says_why(test: dict[str, Any]) -> None:
    """As by `argocd app actions run … --all`, which does not ask what is disabled."""
    with pytest.raises(ScriptError, match=re.escape(test["expectedErrorMessage"])):
        acted(test["action"], loaded(ACTIONS / test["inputPath"]))


def test_every_action_and_every_file_of_test_data_is_tested() -> None:
    files = {CUSTOMIZATION / test["inputPath"] for test in HEALTH_TESTS}
    files |= {ACTIONS / test["inputPath"] for tests in ACTION_TESTS.values() for test in tests}
    files |= {ACTIONS / test["expectedOutputPath"] for test in CHANGES}
    assert files == set(CUSTOMIZATION.rglob("testdata/*.yaml"))
    scripts = {path.parent.name for path in ACTIONS.glob("*/action.lua")}
    assert scripts == {test["action"] for test in ACTION_TESTS["actionTests"]}
    assert all(scripts == {a["name"] for a in test["result"]} for test in ACTION_TESTS["discoveryTests"])


# Whether a run may be requested


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ended(result: str, *later: str, **time: float) -> dict[str, Any]:
    """An exporter with a run that ended so long ago, and with others after it."""
    exporter, when = loaded(ACTIONS / "testdata" / "exporter.yaml"), ago(**time)
    exporter["status"]["history"] = [
        {"id": "r", "result": each, "startTime": when, "completionTime": when} for each in (*later, result)
    ]
    return exporter


def asked(token: str, handled: str = "an earlier one") -> dict[str, Any]:
    """An exporter with a request that the operator has taken up, or not."""
    exporter = loaded(ACTIONS / "testdata" / "exporter.yaml")
    exporter["metadata"]["annotations"] = {f"{GROUP}/run-requested-at": token}
    exporter["status"]["lastHandledRunRequest"] = handled
    return exporter


def deleted() -> dict[str, Any]:
    exporter = loaded(ACTIONS / "testdata" / "exporter.yaml")
    exporter["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    return exporter


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (lambda: ended("Succeeded", minutes=9), "mailed people less than ten minutes ago"),
        (lambda: ended("Succeeded", "Skipped", minutes=9), "mailed people less than ten minutes ago"),
        (lambda: ended("Succeeded", minutes=11), None),
        (lambda: ended("Succeeded", days=400), None),
        (lambda: ended("Failed", minutes=1), None),
        (lambda: ended("Held", minutes=1), None),
        (lambda: ended("Unknown", "Succeeded", days=400), "is unknown"),
        (lambda: asked(ago(seconds=5)), "has not begun it yet"),
        (lambda: asked(now := ago(minutes=1), handled=now), None),
        (lambda: asked(ago(minutes=11)), None),
        (lambda: asked("a text of Git's"), None),
        (lambda: asked("2-by-git"), None),
        (deleted, "is being deleted"),
    ],
)
def test_a_second_click_requests_no_second_run_and_discovery_and_action_agree(
    state: Callable[[], dict[str, Any]], why: str | None
) -> None:
    exporter = state()
    assert ("run-now" in actions(exporter)) == (why is None)
    if why is None:
        assert re.fullmatch(TIME, acted("run-now", exporter)["metadata"]["annotations"][f"{GROUP}/run-requested-at"])
    else:
        with pytest.raises(ScriptError, match=why):
            acted("run-now", exporter)


def test_discovery_and_action_refuse_by_the_same_words() -> None:
    discovery, action = ((ACTIONS / name).read_text("utf-8") for name in ("discovery.lua", "run-now/action.lua"))
    guard = re.compile(r"^-- Why no run .*?^end$", re.MULTILINE | re.DOTALL)
    assert guard.findall(discovery) == guard.findall(action) != []


# What Argo CD's Lua is


@pytest.mark.parametrize("script", ["string.format('x')", "math.random()", "os.time()", "io.open('x')"])
def test_a_script_has_no_library_that_argo_cd_does_not_open(script: str) -> None:
    with pytest.raises(ScriptError, match="attempt to index a non-table object"):
        run_script(f"return {{{script}}}", [{}])


def test_a_script_that_does_not_end_is_stopped() -> None:
    with pytest.raises(ScriptError, match="deadline"):
        run_script("while true do end", [{}])


def test_an_object_of_which_hardly_anything_is_known_is_progressing_and_breaks_no_script() -> None:
    bare = {"apiVersion": f"{GROUP}/v1alpha1", "kind": KIND, "metadata": {"name": "x", "generation": 1}}
    odd = [bare, {**bare, "status": {}}, {**bare, "spec": {}, "status": {"observedGeneration": 1, "conditions": []}}]
    assert {judgement.status for judgement in health(odd)} == {"Progressing"}
    assert all(actions(object_) <= {"suspend"} for object_ in odd)


# The ConfigMap for those whose Argo CD does not bring the customization


def test_the_config_map_holds_the_very_scripts() -> None:
    assert (CONFIG_MAP["kind"], CONFIG_MAP["metadata"]["name"]) == ("ConfigMap", "argocd-cm")
    health_key, actions_key = (f"resource.customizations.{what}.{GROUP}_{KIND}" for what in ("health", "actions"))
    assert CONFIG_MAP["data"].keys() == {health_key, actions_key}
    assert CONFIG_MAP["data"][health_key] == (CUSTOMIZATION / "health.lua").read_text("utf-8")
    told = plain_yaml.read(CONFIG_MAP["data"][actions_key])
    assert told["discovery.lua"] == (ACTIONS / "discovery.lua").read_text("utf-8")
    assert {action["name"]: action["action.lua"] for action in told["definitions"]} == {
        path.parent.name: path.read_text("utf-8") for path in ACTIONS.glob("*/action.lua")
    }


# Real exporters


@pytest.fixture(scope="module")
def operated(shared_stage: Stage) -> Stage:
    """The stage of this module with an operator."""
    shared_stage.operator()
    return shared_stage


def press(exporter: AppliedExporter, action: str) -> None:
    """What Argo CD does when somebody presses the button: run the script, send the difference as a merge patch."""
    live = exporter.get()
    assert action in actions(live)
    patch = merge_patch(live, acted(action, live))
    exporter.kubectl("patch", "qex", exporter.name, "--type=merge", "-p", json.dumps(patch))


def test_run_now_makes_one_run(operated: Stage) -> None:
    exporter = operated.exporter("pressed", **{"nexthink.parameters": {}})
    exporter.checked()
    sent = len(operated.sandbox.ledger.distributions)
    press(exporter, "run-now")
    entry = exporter.ended()
    assert (entry["trigger"], entry["result"]) == ("Request", "Succeeded")
    assert len(operated.sandbox.ledger.distributions) == sent + 1


def test_test_mails_nobody_although_an_earlier_test_has_left_deliver_behind(operated: Stage) -> None:
    exporter = operated.exporter("tested")
    exporter.checked()
    exporter.annotate(test_mode="Deliver")
    sent = len(operated.sandbox.ledger.distributions)
    press(exporter, "test")
    token = exporter.get()["metadata"]["annotations"][f"{GROUP}/test-requested-at"]
    assert exporter.tested(token)["reason"] == "TestPassed"
    assert len(operated.sandbox.ledger.distributions) == sent


def test_suspend_and_resume_act_and_leave_nothing_else_changed(operated: Stage) -> None:
    operated.apply(operated.manifest("paused"))  # by kubectl, which leaves an annotation
    exporter = operated.existing("paused")
    exporter.checked()
    before = exporter.get()
    press(exporter, "suspend")
    exporter.until(lambda status: "nextScheduleTime" not in status, "it has no slots")
    assert actions(exporter.get()) == {"test", "resume"}
    press(exporter, "resume")
    exporter.until(lambda status: "nextScheduleTime" in status, "it has slots")
    after = exporter.get()
    assert after["spec"] == {**before["spec"], "suspend": False}
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_what_an_action_did_survives_the_next_sync_unless_git_says_otherwise(operated: Stage) -> None:
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
