"""`kubectl qex` in a terminal: it asks before it e-mails people, and a user can stop waiting."""

import pytest

from tests.cli.qex import CTRL_C, CTRL_D, Qex
from tests.support.stage import Stage


def sends(stage: Stage) -> int:
    return stage.sandbox.recorder.count("qualtrics.create_distribution")


def test_run_sends_only_after_yes(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(test_requested_at="first")
    exporter.tested("first")
    before = exporter.get()["metadata"]["annotations"]

    for refusal in ("n\n", "\n", CTRL_C, CTRL_D):
        with qex.terminal("run", "teams-rollout") as terminal:
            question = terminal.until("[y/N]")
            if refusal != CTRL_C:
                terminal.press(refusal)
            assert (terminal.interrupted() if refusal == CTRL_C else terminal.ended()) == 1
        assert f"Exporter {stage.namespace}/teams-rollout in test (context test)." in question
        assert "to about 6 people (counted" in question
        assert "Aborted!" in terminal.shown
        assert "Traceback" not in terminal.shown
        assert exporter.get()["metadata"]["annotations"] == before
    assert sends(stage) == 0

    with qex.terminal("run", "teams-rollout") as terminal:
        terminal.until("[y/N]")
        terminal.press("y\n")
        assert stage.while_time_passes(terminal.ended, seconds=1) == 0
    assert "6 imported by Qualtrics" in terminal.shown
    assert sends(stage) == 1


@pytest.mark.long
def test_test_with_delivery_asks_for_at_most_20_people(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()

    with qex.terminal("test", "teams-rollout", "--deliver") as terminal:
        assert "to at most 20 people of the query?" in terminal.until("[y/N]")
        terminal.press("n\n")
        assert terminal.ended() == 1
    assert "annotations" not in exporter.get()["metadata"]

    with qex.terminal("test", "teams-rollout", "--deliver") as terminal:
        terminal.until("[y/N]")
        terminal.press("y\n")
        assert stage.while_time_passes(terminal.ended, seconds=1) == 0
    assert sends(stage) == 1


@pytest.mark.long
def test_ctrl_c_stops_only_the_waiting(stage: Stage, qex: Qex) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    operator.stop()

    with qex.terminal("run", "teams-rollout", "--yes") as terminal:
        terminal.until("Requested as run")
        assert terminal.interrupted() == 1
    assert "The request remains" in terminal.until("The request remains")
    assert sends(stage) == 0

    stage.operator()
    exporter.ended()
    assert sends(stage) == 1
