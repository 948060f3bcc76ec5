"""What status shows of a token, and that a token that an earlier version wrote there never acts again."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.controller.plan.requests import RUN, TEST, requested, with_receipt
from qualtrics_exporter.resource.status import Status
from tests.controller.exporters import at, exporter, planned, seen

NOON = at("2026-11-23 12:00")

PLAIN = [
    "2026-11-23T12:00:00Z",
    "2026-11-23T12:00:00.123+01:00",
    "2026-11-23 12:00:00+01:00",
    "1795435200",
    "Mon Nov 23 12:00:00 UTC 2026",
    "Mon Nov 23 12:00:00 PM CET 2026",
    "Mon 23 Nov 12:00:00 GMT 2026",
    "Sun Nov  1 12:00:00 UTC 2026",
    "Mon, 23 Nov 2026 12:00:00 +0000",
    "from-git",
    "release_1.2.3",
    "3b241101-e2bb-4255-8caf-4136c566a962",
    "a" * 63,
]

OTHERS = [
    "asked by alice@example.com",
    "alice@example.com",
    "alice%40example.com",
    "alice\uff20example.com",
    "asked by Alice Smith",
    "Mon Nov 23, Alice",
    "https://tickets.example.com/?user=alice",
    "größer",
    "two\nlines",
    "-",
    " ",
    "a" * 64,
    "a" * 300,
    "sha256:" + "0" * 64,
]


def digest(text: str) -> str:
    """As `printf %s "$TEXT" | sha256sum` shows it."""
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def written(status: Status) -> str:
    return status.model_dump_json(by_alias=True)


def test_the_token_of_a_dry_test_is_shown() -> None:
    found = exporter(seen(NOON), annotations={"test-requested-at": "dry-2026-11-23T12:00:00Z"})
    token = requested(TEST, found)
    assert token
    assert with_receipt(TEST, found, found.status, token).last_handled_test_request == "dry-2026-11-23T12:00:00Z"


def after_request(token: str) -> Status:
    """The status after a run and a test were requested with this token, the run is over and the test in progress."""
    annotations = {"run-requested-at": token, "test-requested-at": token, "test-mode": "Deliver"}
    first = planned(exporter(seen(NOON), annotations=annotations), NOON)
    assert first.claimed
    over = first.status.model_copy(update={"active_run": None})
    second = planned(exporter(over, annotations=annotations), NOON)
    assert second.claimed
    return second.status.model_copy(update={"active_run": None})


@pytest.mark.parametrize("token", PLAIN)
def test_a_time_or_an_identifier_is_shown(token: str) -> None:
    status = after_request(token)
    assert (status.last_handled_run_request, status.last_handled_test_request) == (token, token)


@pytest.mark.parametrize("token", OTHERS)
def test_any_other_text_is_shown_as_its_digest(token: str) -> None:
    status = after_request(token)
    assert (status.last_handled_run_request, status.last_handled_test_request) == (digest(token), digest(token))


@pytest.mark.parametrize("token", OTHERS)
def test_a_token_that_is_shown_as_its_digest_acts_once(token: str) -> None:
    status = after_request(token)
    again = exporter(status, annotations={"run-requested-at": token, "test-requested-at": token})
    assert requested(RUN, again) is None
    assert requested(TEST, again) is None


def test_a_token_that_is_there_at_first_sight_is_shown_as_its_digest() -> None:
    status = planned(exporter(annotations={"run-requested-at": "asked by alice@example.com"}), NOON).status
    assert "alice" not in written(status)
    assert status.last_handled_run_request == digest("asked by alice@example.com")


def test_a_request_that_is_refused_shows_its_token_as_a_digest() -> None:
    asked = exporter(seen(NOON), annotations={"run-requested-at": "asked by alice@example.com"}, suspend=True)
    status = planned(asked, NOON).status
    assert [entry.reason for entry in status.history or []] == ["Suspended"]
    assert "alice" not in written(status)


@given(st.text(min_size=1, max_size=300))
def test_whatever_a_token_is_only_a_plain_one_is_in_the_status(token: str) -> None:
    status = after_request(token)
    assert status.last_handled_run_request in (token, digest(token))
    if status.last_handled_run_request == token:
        assert token.isascii()
        assert "@" not in token
    again = exporter(status, annotations={"run-requested-at": token})
    assert requested(RUN, again) is None


# What the version before this one wrote, for the tokens below.
RUN_TOKEN, TEST_TOKEN = "asked by alice@example.com", "for bob@example.com"
OLDER: dict[str, Any] = {
    "lastHandledRunRequest": RUN_TOKEN,
    "lastHandledTestRequest": TEST_TOKEN,
    "handledRequests": ["e2tsc5qbb2l4q4oygrun", "cu4oxaqxv3q5n2kpvxo2"],
    "handledRunRequests": ["cu4oxaqxv3"],
    "handledTestRequests": ["e2tsc5qbb2", "cu4oxaqxv3"],
    "handledSettlements": ["cu4oxaqxv3"],
}
WAYS = {
    "as it was written": [],
    "without receipts, which an older CRD removes": ["handledRunRequests", "handledTestRequests"],
    "without ids": ["handledRequests"],
    "with the last tokens alone": ["handledRequests", "handledRunRequests", "handledTestRequests"],
}


def older(*removed: str, **changed: Any) -> Status:
    """A status of that version."""
    body = seen(NOON).model_dump(by_alias=True, exclude_none=True, mode="json")
    body |= OLDER | changed
    return Status.model_validate({key: value for key, value in body.items() if key not in removed})


@pytest.mark.parametrize("removed", WAYS.values(), ids=WAYS)
def test_a_token_that_an_earlier_version_handled_does_not_act_again(removed: list[str]) -> None:
    annotations = {"run-requested-at": RUN_TOKEN, "test-requested-at": TEST_TOKEN, "test-mode": "Deliver"}
    status = older(*removed)
    for hours in range(3):  # the status is written anew, and read again
        found = exporter(status, annotations=annotations)
        assert requested(RUN, found) is None
        assert requested(TEST, found) is None
        plan = planned(found, NOON + timedelta(hours=hours))
        assert plan.claimed is None
        status = plan.status


def test_a_token_in_the_status_of_an_earlier_version_becomes_its_digest() -> None:
    status = planned(exporter(older()), NOON).status
    assert status.last_handled_run_request == digest(RUN_TOKEN)
    assert status.last_handled_test_request == digest(TEST_TOKEN)
    assert planned(exporter(status), NOON).status == status


@pytest.mark.parametrize("token", ["from-git", digest("a" * 300)])
def test_a_plain_token_or_a_digest_in_the_status_of_an_earlier_version_stays(token: str) -> None:
    status = planned(exporter(older(lastHandledRunRequest=token)), NOON).status
    assert status.last_handled_run_request == token


def test_a_long_token_that_an_earlier_version_handled_does_not_act_again() -> None:
    status = older("handledRequests", "handledRunRequests", lastHandledRunRequest=digest("a" * 300))
    assert requested(RUN, exporter(status, annotations={"run-requested-at": "a" * 300})) is None


def test_the_receipts_are_those_that_an_earlier_version_looks_for() -> None:
    annotations = {"run-requested-at": RUN_TOKEN, "test-requested-at": TEST_TOKEN, "test-mode": "Deliver"}
    status = planned(exporter(annotations=annotations), NOON).status
    assert status.handled_requests == OLDER["handledRequests"]
    assert status.handled_run_requests == OLDER["handledRunRequests"]
    assert status.handled_test_requests == OLDER["handledTestRequests"]


def test_a_token_that_reads_like_the_digest_of_another_one_acts() -> None:
    status = after_request("asked by alice@example.com")
    found = exporter(status, annotations={"run-requested-at": digest("asked by alice@example.com")})
    plan = planned(found, NOON)
    assert plan.claimed
    over = plan.status.model_copy(update={"active_run": None})
    again = exporter(over, annotations={"run-requested-at": digest("asked by alice@example.com")})
    assert requested(RUN, again) is None
