"""How the status shows the tokens of requests, and that tokens handled by an earlier version never act again."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.controller.plan.requests import RUN, TEST, requested, with_receipt
from qualtrics_exporter.resource.status import Status
from tests.controller.exporters import at, exporter, initial_status, planned

NOON = at("2026-11-23 12:00")

PLAIN_TOKENS = [
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

OTHER_TOKENS = [
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
    """The digest that `printf %s "$TEXT" | sha256sum` prints."""
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def as_json(status: Status) -> str:
    return status.model_dump_json(by_alias=True)


def test_token_of_a_dry_test_is_shown_unchanged() -> None:
    found = exporter(initial_status(NOON), annotations={"test-requested-at": "dry-2026-11-23T12:00:00Z"})
    token = requested(TEST, found)
    assert token
    assert with_receipt(TEST, found, found.status, token).last_handled_test_request == "dry-2026-11-23T12:00:00Z"


def after_request(token: str) -> Status:
    """The status after a run and a test were requested with this token, and both were claimed and have ended."""
    annotations = {"run-requested-at": token, "test-requested-at": token, "test-mode": "Deliver"}
    first = planned(exporter(initial_status(NOON), annotations=annotations), NOON)
    assert first.claimed
    ended = first.status.model_copy(update={"active_run": None})
    second = planned(exporter(ended, annotations=annotations), NOON)
    assert second.claimed
    return second.status.model_copy(update={"active_run": None})


@pytest.mark.parametrize("token", PLAIN_TOKENS)
def test_time_or_identifier_is_shown_unchanged(token: str) -> None:
    status = after_request(token)
    assert (status.last_handled_run_request, status.last_handled_test_request) == (token, token)


@pytest.mark.parametrize("token", OTHER_TOKENS)
def test_other_text_is_shown_as_its_digest(token: str) -> None:
    status = after_request(token)
    assert (status.last_handled_run_request, status.last_handled_test_request) == (digest(token), digest(token))


@pytest.mark.parametrize("token", OTHER_TOKENS)
def test_token_that_is_shown_as_its_digest_acts_once(token: str) -> None:
    status = after_request(token)
    again = exporter(status, annotations={"run-requested-at": token, "test-requested-at": token})
    assert requested(RUN, again) is None
    assert requested(TEST, again) is None


def test_token_on_a_new_exporter_is_shown_as_its_digest() -> None:
    status = planned(exporter(annotations={"run-requested-at": "asked by alice@example.com"}), NOON).status
    assert "alice" not in as_json(status)
    assert status.last_handled_run_request == digest("asked by alice@example.com")


def test_token_of_a_skipped_request_is_shown_as_its_digest() -> None:
    requested_run = exporter(
        initial_status(NOON), annotations={"run-requested-at": "asked by alice@example.com"}, suspend=True
    )
    status = planned(requested_run, NOON).status
    assert [entry.reason for entry in status.history or []] == ["Suspended"]
    assert "alice" not in as_json(status)


@given(st.text(min_size=1, max_size=300))
def test_random_token_is_shown_unchanged_only_if_it_is_plain(token: str) -> None:
    status = after_request(token)
    assert status.last_handled_run_request in (token, digest(token))
    if status.last_handled_run_request == token:
        assert token.isascii()
        assert "@" not in token
    again = exporter(status, annotations={"run-requested-at": token})
    assert requested(RUN, again) is None


# The fields that the previous version wrote for these tokens.
RUN_TOKEN, TEST_TOKEN = "asked by alice@example.com", "for bob@example.com"
OLDER_STATUS: dict[str, Any] = {
    "lastHandledRunRequest": RUN_TOKEN,
    "lastHandledTestRequest": TEST_TOKEN,
    "handledRequests": ["e2tsc5qbb2l4q4oygrun", "cu4oxaqxv3q5n2kpvxo2"],
    "handledRunRequests": ["cu4oxaqxv3"],
    "handledTestRequests": ["e2tsc5qbb2", "cu4oxaqxv3"],
    "handledSettlements": ["cu4oxaqxv3"],
}
REMOVED_FIELDS = {
    "complete": [],
    "receipts pruned by an older CRD": ["handledRunRequests", "handledTestRequests"],
    "ids removed": ["handledRequests"],
    "only the last tokens left": ["handledRequests", "handledRunRequests", "handledTestRequests"],
}


def older_status(*removed: str, **changed: Any) -> Status:
    """A status of the previous version, without some fields."""
    body = initial_status(NOON).model_dump(by_alias=True, exclude_none=True, mode="json")
    body |= OLDER_STATUS | changed
    return Status.model_validate({key: value for key, value in body.items() if key not in removed})


@pytest.mark.parametrize("removed", REMOVED_FIELDS.values(), ids=REMOVED_FIELDS)
def test_token_that_an_earlier_version_handled_does_not_act_again(removed: list[str]) -> None:
    annotations = {"run-requested-at": RUN_TOKEN, "test-requested-at": TEST_TOKEN, "test-mode": "Deliver"}
    status = older_status(*removed)
    for hours in range(3):  # each plan rewrites the status
        found = exporter(status, annotations=annotations)
        assert requested(RUN, found) is None
        assert requested(TEST, found) is None
        plan = planned(found, NOON + timedelta(hours=hours))
        assert plan.claimed is None
        status = plan.status


def test_token_in_the_status_of_an_earlier_version_is_replaced_with_its_digest() -> None:
    status = planned(exporter(older_status()), NOON).status
    assert status.last_handled_run_request == digest(RUN_TOKEN)
    assert status.last_handled_test_request == digest(TEST_TOKEN)
    assert planned(exporter(status), NOON).status == status


@pytest.mark.parametrize("token", ["from-git", digest("a" * 300)], ids=["plain token", "digest"])
def test_plain_token_or_digest_in_the_status_of_an_earlier_version_stays(token: str) -> None:
    status = planned(exporter(older_status(lastHandledRunRequest=token)), NOON).status
    assert status.last_handled_run_request == token


def test_long_token_that_an_earlier_version_handled_does_not_act_again() -> None:
    status = older_status("handledRequests", "handledRunRequests", lastHandledRunRequest=digest("a" * 300))
    assert requested(RUN, exporter(status, annotations={"run-requested-at": "a" * 300})) is None


def test_receipts_have_the_values_that_an_earlier_version_expects() -> None:
    annotations = {"run-requested-at": RUN_TOKEN, "test-requested-at": TEST_TOKEN, "test-mode": "Deliver"}
    status = planned(exporter(annotations=annotations), NOON).status
    assert status.handled_requests == OLDER_STATUS["handledRequests"]
    assert status.handled_run_requests == OLDER_STATUS["handledRunRequests"]
    assert status.handled_test_requests == OLDER_STATUS["handledTestRequests"]


def test_token_that_equals_the_digest_of_another_token_acts() -> None:
    status = after_request("asked by alice@example.com")
    found = exporter(status, annotations={"run-requested-at": digest("asked by alice@example.com")})
    plan = planned(found, NOON)
    assert plan.claimed
    ended = plan.status.model_copy(update={"active_run": None})
    again = exporter(ended, annotations={"run-requested-at": digest("asked by alice@example.com")})
    assert requested(RUN, again) is None
