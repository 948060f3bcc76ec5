"""Retries: which errors, how often, how long between attempts, and how long in total."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.retry import RetryPolicy, retry, retry_after
from qualtrics_exporter.resource.reasons import Reason
from tests.remote.clock import RecordingClock

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("Mon, 05 Jan 2026 10:02:00 GMT", 120),
        ("Monday, 05-Jan-26 10:02:00 GMT", 120),
        ("Mon Jan  5 10:02:00 2026", 120),
        ("2026-01-05T10:02:00Z", 120),
        ("2026-01-05T11:02:00+01:00", 120),
        ("2026-01-05 10:02:00", 120),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 0),
        ("99999999999999999999", 10**8),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("Mon, 99 Jan 2026 10:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(text: str | None, seconds: int | None) -> None:
    assert retry_after(text, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=60))
def test_any_retry_after_header_gives_no_wait_or_one_that_is_not_negative(text: str) -> None:
    wait = retry_after(text, NOW)
    assert wait is None or wait >= timedelta(0)


class Attempts:
    """Fails with these errors, one for each attempt, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def rate_limited(wait: float | None = None) -> RateLimited:
    error = RateLimited(Reason.RATE_LIMITED, "Slower")
    error.retry_after = None if wait is None else timedelta(seconds=wait)
    return error


def unavailable() -> Transient:
    return Transient(Reason.REMOTE_UNAVAILABLE, "Down")


def secret_unreadable() -> Transient:
    return Transient(Reason.SECRET_NOT_READABLE, "Key server down")


def invalid_response() -> Transient:
    return Transient(Reason.REMOTE_REPLY_INVALID, "Nonsense")


@pytest.mark.parametrize(
    ("error", "attempt_count", "min_wait", "max_wait"),
    [
        (unavailable, 5, 7, 15),
        (rate_limited, 7, 90, 215),
        (invalid_response, 2, 0.5, 1),
        (secret_unreadable, 9, 150, 320),
    ],
)
async def test_each_error_is_retried_for_its_own_number_of_attempts_and_time(
    error: type, attempt_count: int, min_wait: float, max_wait: float
) -> None:
    clock = RecordingClock()
    attempts = Attempts(*(error() for _ in range(20)))
    with pytest.raises(Transient):
        await retry(RetryPolicy.READ, clock, attempts)
    assert attempts.made == attempt_count
    assert min_wait <= sum(clock.slept) <= max_wait
    # Pauses of the maximum length differ only by jitter.
    assert clock.slept == sorted(clock.slept) or error in (rate_limited, secret_unreadable)


async def test_pauses_between_attempts_grow_and_have_jitter() -> None:
    clocks = [RecordingClock() for _ in range(20)]
    for clock in clocks:
        await retry(RetryPolicy.READ, clock, Attempts(unavailable(), unavailable(), unavailable()))
    for number, longest in enumerate((1, 2, 4)):
        pauses = {clock.slept[number] for clock in clocks}
        assert len(pauses) > 10
        assert all(longest / 2 <= pause <= longest for pause in pauses)


async def test_a_retry_waits_at_least_as_long_as_retry_after() -> None:
    clock = RecordingClock()
    assert await retry(RetryPolicy.REFUSED, clock, Attempts(rate_limited(42))) == "done"
    assert 42 < clock.slept[0] <= 43


async def test_a_retry_after_of_more_than_five_minutes_ends_the_retries() -> None:
    clock = RecordingClock()
    attempts = Attempts(rate_limited(301), rate_limited(1))
    with pytest.raises(RateLimited) as error:
        await retry(RetryPolicy.READ, clock, attempts)
    assert error.value.retry_after == timedelta(seconds=301)
    assert attempts.made == 1


async def test_the_sum_of_all_pauses_is_limited() -> None:
    clock = RecordingClock()
    attempts = Attempts(*(rate_limited(290) for _ in range(9)))
    with pytest.raises(RateLimited):
        await retry(RetryPolicy.READ, clock, attempts)
    assert attempts.made == 3
    assert sum(clock.slept) <= 600


@pytest.mark.parametrize(
    "error",
    [
        Permanent(Reason.NOT_PERMITTED, "No"),
        OutcomeUnknown(Reason.DELIVERY_UNKNOWN, "Perhaps"),
        ValueError("a bug"),
    ],
    ids=["a permanent error", "an unknown outcome", "a bug"],
)
@pytest.mark.parametrize("policy", RetryPolicy)
async def test_only_transient_errors_are_retried(policy: RetryPolicy, error: Exception) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        await retry(policy, RecordingClock(), attempts)
    assert attempts.made == 1


async def test_policy_never_does_not_retry_after_a_certain_refusal() -> None:
    attempts = Attempts(rate_limited(1))
    with pytest.raises(RateLimited):
        await retry(RetryPolicy.NEVER, RecordingClock(), attempts)
    assert attempts.made == 1
