"""The warning about an audience that suddenly shrinks, as a user sees it."""

from tests.support.stage import Stage


def test_audience_that_shrinks_is_reported_once_in_condition_event_and_history(shared_stage: Stage) -> None:
    query = "#shrinks"
    shared_stage.people(query, [f"shrinks{n}@example.com" for n in range(30)])
    exporter = shared_stage.exporter("shrinks", **{"nexthink.queryId": query})
    exporter.checked()
    results = []
    for number, people in enumerate((30, 0, 0), 1):
        shared_stage.people(query, [f"shrinks{n}@example.com" for n in range(people)])
        exporter.annotate(test_requested_at=f"test-{number}")
        test = exporter.tested(f"test-{number}")
        assert (test["reason"], "less than a tenth" in test["message"]) == ("TestPassed", number == 2)
        exporter.annotate(run_requested_at=f"run-{number}")
        entry = exporter.ended(number)
        results.append((entry["result"], entry["reason"]))
        condition = exporter.condition("LastRunSucceeded")
        assert (condition["status"], condition["reason"]) == ("True", entry["reason"])
    assert results == [("Succeeded", "Succeeded"), ("Succeeded", "AudienceShrank"), ("Succeeded", "NoRecipients")]
    (event,) = [event for event in exporter.wait_for_event("AudienceShrank") if event["reason"] == "AudienceShrank"]
    assert event["type"] == "Warning"
    exporter.delete()
