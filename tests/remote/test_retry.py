"""Patience: how often, how long, and how long at most."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.retry import RetryPolicy, retry, retry_after
from qualtrics_exporter.resource.reasons import Reason
from tests.remote.clock import HastyClock

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
def test_retry_after_is_read_in_both_forms(text: str | None, seconds: int | None) -> None:
    assert retry_after(text, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=60))
def test_no_retry_after_is_too_strange(text: str) -> None:
    wait = retry_after(text, NOW)
    assert wait is None or wait >= timedelta(0)


class Attempts:
    """Fails with these errors, one after the other, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def limited(wait: float | None = None) -> RateLimited:
    error = RateLimited(Reason.RATE_LIMITED, "Slower")
    error.retry_after = None if wait is None else timedelta(seconds=wait)
    return error


def down() -> Transient:
    return Transient(Reason.REMOTE_UNAVAILABLE, "Down")


def unreadable() -> Transient:
    return Transient(Reason.SECRET_NOT_READABLE, "Key server down")


def nonsense() -> Transient:
    return Transient(Reason.REMOTE_REPLY_INVALID, "Nonsense")


@pytest.mark.parametrize(
    ("error", "tries", "least", "most"),
    [(down, 5, 7, 15), (limited, 7, 90, 215), (nonsense, 2, 0.5, 1), (unreadable, 9, 150, 320)],
)
async def test_each_trouble_has_its_patience(error: type, tries: int, least: float, most: float) -> None:
    clock = HastyClock()
    attempts = Attempts(*(error() for _ in range(20)))
    with pytest.raises(Transient):
        await retry(RetryPolicy.READ, clock, attempts)
    assert attempts.made == tries
    assert least <= sum(clock.slept) <= most
    assert clock.slept == sorted(clock.slept) or error in (limited, unreadable)  # at its longest, only jitter is left


async def test_the_pauses_grow_and_are_never_the_same() -> None:
    clocks = [HastyClock() for _ in range(20)]
    for clock in clocks:
        await retry(RetryPolicy.READ, clock, Attempts(down(), down(), down()))
    for number, longest in enumerate((1, 2, 4)):
        pauses = {clock.slept[number] for clock in clocks}
        assert len(pauses) > 10
        assert all(longest / 2 <= pause <= longest for pause in pauses)


async def test_who_is_told_when_to_come_back_does_not_come_earlier() -> None:
    clock = HastyClock()
    assert await retry(RetryPolicy.REFUSED, clock, Attempts(limited(42))) == "done"
    assert 42 < clock.slept[0] <= 43


async def test_who_is_told_to_come_back_much_later_gives_up_at_once() -> None:
    clock = HastyClock()
    attempts = Attempts(limited(301), limited(1))
    with pytest.raises(RateLimited) as error:
        await retry(RetryPolicy.READ, clock, attempts)
    assert error.value.retry_after == timedelta(seconds=301)
    assert attempts.made == 1


async def test_all_pauses_together_have_an_end() -> None:
    clock = HastyClock()
    attempts = Attempts(*(limited(290) for _ in range(9)))
    with pytest.raises(RateLimited):
        await retry(RetryPolicy.READ, clock, attempts)
    assert attempts.made == 3
    assert sum(clock.slept) <= 600


@pytest.mark.parametrize(
    "error",
    [
        Permanent(Reason.NOT_PERMITTED, "No"),
        OutcomeUnknown(Reason.DELIVERY_UNKNOWN, "Perhaps"),
        ValueError("a mistake of our own"),
    ],
)
@pytest.mark.parametrize("repeat", RetryPolicy)
async def test_only_what_may_go_away_is_tried_again(repeat: RetryPolicy, error: Exception) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        await retry(repeat, HastyClock(), attempts)
    assert attempts.made == 1


async def test_what_must_never_be_repeated_is_not_even_after_a_certain_refusal() -> None:
    attempts = Attempts(limited(1))
    with pytest.raises(RateLimited):
        await retry(RetryPolicy.NEVER, HastyClock(), attempts)
    assert attempts.made == 1
