"""A wall clock that is wrong for a minute. Tests that set it at every moment of a run are in tests/faults."""

from datetime import UTC, datetime, timedelta

from tests.support.operator import Operator
from tests.support.stage import Stage
from tests.support.waiting import eventually

HOURLY = {"schedule": {"frequency": "Hourly", "everyHours": 1, "timeZone": "UTC"}}


def set_clock(stage: Stage, operator: Operator, by: timedelta) -> None:
    """Set the wall clock, and let time pass until the operator notices."""
    noticed = operator.log.count("the wall clock was set")
    stage.clock.set_wall(stage.clock.now() + by)
    stage.while_time_passes(
        lambda: eventually(
            lambda: operator.log.count("the wall clock was set") > noticed,
            "the operator notices that its clock was set",
        ),
        seconds=2,
    )


def test_every_slot_runs_after_the_clock_was_a_day_ahead_for_a_minute(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**HOURLY)
    exporter.checked()
    set_clock(stage, operator, timedelta(days=1))
    exporter.until(
        lambda status: status["nextScheduleTime"] > "2026-11-25", "the slots are planned from the wrong time"
    )
    set_clock(stage, operator, timedelta(days=-1))
    exporter.until(lambda status: status["nextScheduleTime"] < "2026-11-25", "the slots of today are planned again")
    for number, hour in enumerate((12, 13, 14), start=1):
        stage.clock.advance_to(datetime(2026, 11, 24, hour, 20, 1, tzinfo=UTC))
        entry = exporter.ended(number)
        assert (entry["result"], entry["scheduledTime"]) == ("Succeeded", f"2026-11-24T{hour}:20:00Z")
    assert len(stage.sandbox.recorder.distributions) == 3


def test_next_check_is_not_delayed_after_the_clock_was_a_year_ahead(stage: Stage) -> None:
    operator = stage.operator()
    stage.sandbox.fault("qualtrics.read_survey", status=404, times=None)
    exporter = stage.exporter()
    eventually(lambda: exporter.condition("Ready").get("status") == "False", "a check has found the error")
    set_clock(stage, operator, timedelta(days=400))

    def checked_ahead() -> bool:
        return bool(exporter.status()["lastCheckTime"] > "2027")

    stage.while_time_passes(lambda: eventually(checked_ahead, "a check runs while the clock is ahead"))
    set_clock(stage, operator, timedelta(days=-400))
    stage.sandbox.clear_faults()
    corrected = stage.clock.now()

    def ready() -> bool:
        return exporter.condition("Ready")["status"] == "True"

    stage.while_time_passes(lambda: eventually(ready, "the exporter is checked again"))
    assert stage.clock.now() - corrected < timedelta(days=1)
