"""The text of a query is checked outside the event loop: in a thread, one at a time, fairly, and each text once."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from qualtrics_exporter.export import query_texts
from qualtrics_exporter.export.query_texts import QueryTexts, at_once
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.nql.compare import LONGEST
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.sandbox import Account

ANA, BEN = Tenant("ana", "nexthink"), Tenant("ben", "nexthink")


def spec(query: str = "users | list ad.email_address") -> Spec:
    document: dict[str, Any] = {**Account.default().exporter_spec(), "schedule": {"frequency": "Daily"}}
    whole = Spec.model_validate(document)
    return whole.model_copy(update={"nexthink": whole.nexthink.model_copy(update={"query": query})})


class Steered:
    """Runs work when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.done = 0

    async def __call__(self, function: Callable[[], Any]) -> Any:
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn
        self.done += 1
        return function()

    async def let_one(self) -> None:
        self.waiting.pop(0).set_result(None)
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_work_is_done_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    check = query_texts.check_text
    monkeypatch.setattr(query_texts, "check_text", lambda one: (threads.append(threading.get_ident()), check(one))[1])
    monkeypatch.setattr(query_texts, "difference", lambda *_: threads.append(threading.get_ident()))
    texts = QueryTexts()
    assert (await texts.check(spec())).error is None
    assert (await texts.compare(spec().nexthink, "users | list ad.email_address")) is not None
    assert len(threads) == 2
    assert threading.get_ident() not in threads


async def test_a_text_is_checked_once_and_every_user_of_it_gets_an_error_of_its_own() -> None:
    run = Steered()
    texts = QueryTexts(run)
    both = [asyncio.create_task(texts.check(spec("users | list"))) for _ in range(2)]
    await settled()
    await run.let_one()
    first, second = await asyncio.gather(*both)
    third = await texts.check(spec("users | list"))
    assert run.done == 1
    assert first.error
    assert second.error
    assert first.error.message == second.error.message
    assert first.error is not second.error  # raised, it keeps the frames of whoever raised it
    assert third.warnings == first.warnings


async def test_another_text_parameter_or_schedule_is_another_check() -> None:
    run = Steered()
    texts = QueryTexts(run)
    one = spec("users | where a == $b | list ad.email_address")
    parameters = one.nexthink.model_copy(update={"parameters": {"b": "c"}})
    weekly = Spec.model_validate({**Account.default().exporter_spec(),
                                  "schedule": {"frequency": "Weekly", "dayOfWeek": "Monday"}})  # fmt: skip
    weekly = weekly.model_copy(update={"nexthink": one.nexthink})
    warn = one.model_copy(update={"nexthink": one.nexthink.model_copy(update={"query_check": "Warn"})})
    others = [one, one.model_copy(update={"nexthink": parameters}), weekly, warn]
    for number, other in enumerate(others, 1):
        task = asyncio.create_task(texts.check(other))
        await settled()
        await run.let_one()
        await task
        assert run.done == number


async def test_a_tenant_with_many_edits_does_not_delay_another_one() -> None:
    run = Steered()
    texts = QueryTexts(run)
    edits = [asyncio.create_task(texts.check(spec(f"users | limit {n}"), ANA)) for n in range(50)]
    await settled()
    other = asyncio.create_task(texts.check(spec("devices"), BEN))
    await settled()
    assert len(run.waiting) == 1, "one text at a time"
    for _ in range(3):
        await run.let_one()
    assert other.done(), "after the check that was in progress, each tenant has one turn"
    for edit in edits:
        edit.cancel()


async def test_a_check_that_failed_is_done_again() -> None:
    tries = []

    async def failing(function: Callable[[], Any]) -> Any:
        tries.append(function)
        if len(tries) == 1:
            raise RuntimeError("no thread could be started")
        return function()

    texts = QueryTexts(failing)
    with pytest.raises(RuntimeError):
        await texts.check(spec())
    assert (await texts.check(spec())).error is None
    assert len(tries) == 2


async def test_a_check_that_nobody_waits_for_any_more_stops_nobody() -> None:
    run = Steered()
    texts = QueryTexts(run)
    gone, waits = (asyncio.create_task(texts.check(spec(query), ANA)) for query in ("users", "devices"))
    await settled()
    gone.cancel()
    await settled()
    await run.let_one() if run.waiting[0].cancelled() is False else run.waiting.pop(0)
    while not waits.done():
        await run.let_one()
    assert waits.result().error


async def test_so_many_verdicts_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_texts, "MAX_CACHED", 3)
    texts = QueryTexts(at_once)
    for number in range(10):
        await texts.check(spec(f"users | limit {number}"))
    assert len(texts._cache) == 3


async def test_what_ran_is_compared_with_the_query() -> None:
    texts = QueryTexts(at_once)
    query = spec().nexthink
    assert await texts.compare(query, None) is None
    same = await texts.compare(query, "users|list  ad.email_address")
    assert same
    assert same.in_sync
    other = await texts.compare(query, "devices | list name")
    assert other
    assert not other.in_sync
    assert Reason.QUERY_DRIFT.meaning in other.message


@pytest.mark.parametrize("characters", [LONGEST + 1, 3_000_000])
async def test_an_executed_query_that_is_too_long_is_drift_and_costs_nothing(characters: int) -> None:
    async def compared(function: Callable[[], Any]) -> Any:
        raise AssertionError("there is nothing to compare")

    sync = await QueryTexts(compared).compare(spec().nexthink, "x" * characters)
    assert sync
    assert not sync.in_sync
    assert "First at its length: Nexthink runs a text of more than 40,000 characters." in sync.message
