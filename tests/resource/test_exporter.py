"""Reading an object never raises an error. An invalid spec is reported in `spec_error`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.resource.exporter import Exporter, read_spec
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Status
from tests.resource.manifests import HOURLY, INVALID, REMOVED, VALID, changed, sample

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in inner for found in paths(value, (*path, key)))]


def with_value(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a JSON value with another value at a path."""
    if not path:
        return value
    copy = node.copy()
    copy[path[0]] = with_value(node[path[0]], path[1:], value)
    return copy


ENTRY = {
    "id": "run",
    "trigger": "Schedule",
    "completionTime": "2026-01-05T00:01:00Z",
    "result": "Succeeded",
    "reason": "Succeeded",
    "message": "Sent.",
    "recipients": {"accepted": 6},
    "delivery": {"sent": 6, "observedTime": "2026-01-05T00:03:00Z"},
}
OBJECT = sample() | {
    "metadata": {
        "name": "teams-rollout",
        "namespace": "dex",
        "uid": "u",
        "generation": 3,
        "resourceVersion": "7",
        "annotations": {"qualtrics-exporter.dev/run-requested-at": "now"},
        "deletionTimestamp": None,
    },
    "status": {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2026-01-05T00:00:00Z",
                "reason": "Checked",
                "message": "Well.",
            }
        ],
        "warnings": [{"reason": "QueryLimited", "message": "At most 50 people get through."}],
        "credentialsExpiry": {"nexthink": "2027-01-31T00:00:00Z"},
        "activeRun": {"id": "run", "trigger": "Request", "startTime": "2026-01-05T00:00:00Z", "step": "Sending"},
        "history": [ENTRY],
        "lastTest": ENTRY,
    },
}


CLAIMED = {"dueTime": "2026-01-05T00:00:00Z", "identity": "2026-01-05"}


def assert_readable(exporter: Exporter) -> None:
    assert isinstance(exporter.status, Status)
    assert isinstance(exporter.spec, Spec | None)
    assert (exporter.spec is None) == bool(exporter.spec_error)
    assert isinstance(exporter.generation, int)
    assert all(isinstance(text, str) for text in (exporter.namespace, exporter.name, exporter.uid, exporter.spec_error))
    assert isinstance(exporter.resource_version, str)
    assert all(isinstance(text, str) for pair in exporter.annotations.items() for text in pair)
    assert isinstance(exporter.suspended, bool)


@given(JSON)
def test_any_json_is_read_without_an_error(body: Any) -> None:
    assert_readable(Exporter.from_object(body))


@given(st.fixed_dictionaries({}, optional={"metadata": JSON, "spec": JSON, "status": JSON}))
def test_an_object_with_any_metadata_spec_and_status_is_read_without_an_error(body: Any) -> None:
    assert_readable(Exporter.from_object(body))


@given(st.sampled_from(paths(OBJECT)), JSON)
def test_an_object_with_any_value_in_one_field_is_read_without_an_error(path: tuple[Any, ...], value: Any) -> None:
    assert_readable(Exporter.from_object(with_value(OBJECT, path, value)))


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", 1e300, -1, float("nan"), True,
        "2026-01-05T00:00:60Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1999-12-31T23:59:59Z", {}, [],
    ],
)  # fmt: skip
def test_an_invalid_time_in_the_status_is_ignored_and_other_fields_are_read(time: Any) -> None:
    exporter = Exporter.from_object({"status": {"observedGeneration": 4, "scheduleSince": time, "schedule": "x"}})
    assert (exporter.status.observed_generation, exporter.status.schedule) == (4, "x")
    assert exporter.status.schedule_since is None
    assert exporter.ignored == ("status.scheduleSince",)


def test_an_invalid_part_of_a_status_does_not_lose_receipts_and_other_parts() -> None:
    status = {
        "handledRunRequests": ["aaaaaaaaaa", 7, "bbbbbbbbbb", None],
        "sentRuns": ["run"] * 200,
        "claimedSlots": [{"dueTime": "2026-01-05T00:00:60Z", "identity": "a"}, CLAIMED, {"identity": "b"}],
        "activeRun": {"id": "run", "trigger": "Request", "startTime": "2026-01-05T00:00:00Z", "step": "Finalizing"},
        "history": [{**ENTRY, "result": "Postponed"}, ENTRY, "nothing"],
        "lastTest": {**ENTRY, "completionTime": "9999-12-31T23:59:59Z"},
        "observedGeneration": 10**30,
        "conditions": 7,
    }
    exporter = Exporter.from_object({"status": status})
    assert exporter.status.handled_run_requests == ["aaaaaaaaaa", "bbbbbbbbbb"]
    assert exporter.status.sent_runs == ["run"] * 100
    assert [slot.identity for slot in exporter.status.claimed_slots or []] == ["2026-01-05"]
    assert exporter.status.active_run is None
    assert exporter.unreadable_run == status["activeRun"]
    assert [entry.result for entry in exporter.status.history or []] == [ENTRY["result"]]
    assert exporter.status.last_test is None
    assert exporter.status.observed_generation == -1
    assert exporter.status.conditions is None
    assert "status.activeRun.step" in exporter.ignored


def test_a_valid_object_is_read_completely() -> None:
    exporter = Exporter.from_object(OBJECT)
    assert exporter.spec_error == ""
    assert (exporter.namespace, exporter.name, exporter.uid, exporter.generation) == ("dex", "teams-rollout", "u", 3)
    assert exporter.resource_version == "7"
    assert not exporter.deleting
    assert exporter.annotations == {"qualtrics-exporter.dev/run-requested-at": "now"}
    assert exporter.spec
    assert exporter.spec.qualtrics.survey_id == "SV_teamsRollout01"
    assert exporter.status.active_run
    assert exporter.status.active_run.step == "Sending"


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    newer = changed({"qualtrics.brandNew": {"a": 1}, "priority": 7})
    exporter = Exporter.from_object(newer | {"status": {"observedGeneration": 2, "brandNew": []}})
    assert exporter.spec_error == ""
    assert exporter.status.observed_generation == 2


@pytest.mark.parametrize("name", VALID)
def test_a_valid_spec_is_accepted(name: str) -> None:
    assert Exporter.from_object(changed(VALID[name])).spec_error == ""


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_spec_is_rejected_with_its_path_and_a_message_that_says_what_to_write(name: str) -> None:
    invalid = INVALID[name]
    exporter = Exporter.from_object(changed(invalid.changes))
    assert exporter.spec is None
    assert exporter.spec_error.startswith(f"spec.{invalid.path.replace('parameters.days', 'parameters.*')}: ")
    if invalid.has_own_message:
        assert invalid.message in exporter.spec_error
    assert "cannot be used" not in exporter.spec_error, "this kind of error has no message yet"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"qualtrics.subject": REMOVED}, "spec.qualtrics.subject: is required"),
        ({"schedule.frequency": "Monthly"}, "spec.schedule.frequency: must be one of 'Hourly', 'Daily' or 'Weekly'"),
        ({**HOURLY, "schedule.everyHours": 5}, "spec.schedule.everyHours: must be one of 1, 2, 3, 4, 6 or 12"),
        ({"maxRecipients": 0}, "spec.maxRecipients: must be 1 or more"),
        ({"qualtrics.linkExpirationDays": 366}, "spec.qualtrics.linkExpirationDays: must be 365 or less"),
        ({"maxRecipients": "5"}, "spec.maxRecipients: must be a whole number, without quotes"),
        ({"suspend": "yes"}, "spec.suspend: must be true or false, without quotes"),
        ({"nexthink.query": 5}, "spec.nexthink.query: must be text: quote values that YAML reads as another type"),
        ({"nexthink.query": "\ud800"}, "spec.nexthink.query: must be text that can be written as UTF-8"),
        ({"qualtrics": None}, "spec.qualtrics: is required"),
        ({"nexthink.parameters": {"a": 1}}, "spec.nexthink.parameters.*: must be text: quote values that YAML reads"),
        ({"description": "d" * 1025}, "spec.description: must have at most 1024 characters"),
    ],
)
def test_a_schema_error_is_reported_in_a_plain_sentence(changes: dict[str, Any], error: str) -> None:
    assert Exporter.from_object(changed(changes)).spec_error.startswith(error)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"minRecipients": 11, "maxRecipients": 10, "qualtrics.surveyId": "x"}, "minRecipients"),
        ({"minRecipients": 11, "maxRecipients": 10.0, "schedule": REMOVED}, "minRecipients"),
        ({"schedule.dayOfWeek": REMOVED, "schedule.timeZone": "x"}, "schedule.dayOfWeek"),
        ({"schedule.everyHours": 4, "schedule.startingDeadlineSeconds": 0}, "schedule.everyHours"),
        ({"qualtrics.fromEmail": "dex@example.com", "qualtrics.subject": ""}, "qualtrics.fromEmail"),
    ],
)
def test_a_rule_about_valid_fields_is_reported_despite_other_errors(changes: dict[str, Any], path: str) -> None:
    errors = read_spec(changed(changes)["spec"])[1]
    assert [error.path for error in errors].count(f"spec.{path}") == 1
    assert len(errors) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"minRecipients": 11, "maxRecipients": "10"},
        {"minRecipients": -1, "maxRecipients": 10},
        {**HOURLY, "schedule.everyHours": 5},
        {"schedule.dayOfWeek": "monday"},
        {"qualtrics.fromEmail": "dex"},
        {"sample": {"groups": 4, "percent": 0}},
        {"sample": {"groups": 1}, "maxRecipients": 5},
    ],
)
def test_a_rule_about_an_invalid_field_is_not_reported(changes: dict[str, Any]) -> None:
    assert len(read_spec(changed(changes)["spec"])[1]) == 1


def test_the_first_three_errors_are_reported_with_the_number_of_further_ones() -> None:
    exporter = Exporter.from_object({"spec": {"schedule": {"frequency": "Hourly", "dayOfWeek": "Monday"}}})
    assert exporter.spec_error == (
        "spec.schedule.everyHours: must be set with frequency Hourly: one of 1, 2, 3, 4, 6, 12; "
        "spec.schedule.dayOfWeek: must be set with frequency Weekly only: remove it; "
        "spec.nexthink: is required; and 1 more"
    )


def test_a_sender_of_another_domain_is_rejected_with_from_email_not_allowed() -> None:
    exporter = Exporter.from_object(changed({"qualtrics.fromEmail": "dex@example.com"}))
    assert exporter.spec_reason is Reason.FROM_EMAIL_NOT_ALLOWED
    assert Exporter.from_object(changed({"qualtrics.surveyId": "SV_"})).spec_reason is Reason.SPEC_INVALID


SECRET = "eva.example@example.com"


@given(st.sampled_from(paths(sample()["spec"])), st.sampled_from([SECRET, [SECRET], {SECRET: SECRET}, {SECRET: 1}]))
def test_an_error_does_not_contain_the_invalid_value(path: tuple[Any, ...], value: Any) -> None:
    exporter = Exporter.from_object({"spec": with_value(sample()["spec"], path, value)})
    assert "eva" not in exporter.spec_error


@pytest.mark.parametrize("value", [7, "x", "x" * 2000])
def test_a_spec_with_50000_invalid_parameters_returns_at_most_21_errors(value: Any) -> None:
    spec = changed({"nexthink.parameters": {f"p{number}": value for number in range(50_000)}})["spec"]
    found, errors = read_spec(spec)
    assert found is None
    assert 1 <= len(errors) <= 21
