"""Query texts are checked in a thread, one at a time, with a fair share for each tenant, and each text once."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from qualtrics_exporter.export import query_texts
from qualtrics_exporter.export.query_texts import QueryTexts, at_once
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.nql.limits import LONGEST
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.sandbox import Account

ANA, BEN = Tenant("ana", "nexthink"), Tenant("ben", "nexthink")


def spec(query: str = "users | list ad.email_address") -> Spec:
    document: dict[str, Any] = {**Account.default().exporter_spec(), "schedule": {"frequency": "Daily"}}
    whole = Spec.model_validate(document)
    return whole.model_copy(update={"nexthink": whole.nexthink.model_copy(update={"query": query})})


class ManualExecutor:
    """Runs each function only after the test calls `run_next`."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.done = 0

    async def __call__(self, function: Callable[[], Any]) -> Any:
        released = asyncio.get_running_loop().create_future()
        self.waiting.append(released)
        await released
        self.done += 1
        return function()

    async def run_next(self) -> None:
        self.waiting.pop(0).set_result(None)
        await run_tasks()


async def run_tasks() -> None:
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_check_and_comparison_run_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    check = query_texts.check_text
    monkeypatch.setattr(query_texts, "check_text", lambda one: (threads.append(threading.get_ident()), check(one))[1])
    monkeypatch.setattr(query_texts, "_difference", lambda *_: threads.append(threading.get_ident()))
    texts = QueryTexts()
    assert (await texts.check(spec())).error is None
    assert (await texts.compare(spec().nexthink, "users | list ad.email_address")) is not None
    assert len(threads) == 2
    assert threading.get_ident() not in threads


async def test_text_is_checked_once_and_each_caller_gets_its_own_error() -> None:
    executor = ManualExecutor()
    texts = QueryTexts(executor)
    both = [asyncio.create_task(texts.check(spec("users | list"))) for _ in range(2)]
    await run_tasks()
    await executor.run_next()
    first, second = await asyncio.gather(*both)
    third = await texts.check(spec("users | list"))
    assert executor.done == 1
    assert first.error
    assert second.error
    assert first.error.message == second.error.message
    assert first.error is not second.error  # an exception that is raised keeps the frames of its caller
    assert third.warnings == first.warnings


async def test_specs_with_different_parameters_schedules_or_check_modes_share_no_check() -> None:
    executor = ManualExecutor()
    texts = QueryTexts(executor)
    one = spec("users | where a == $b | list ad.email_address")
    parameters = one.nexthink.model_copy(update={"parameters": {"b": "c"}})
    weekly = Spec.model_validate({**Account.default().exporter_spec(),
                                  "schedule": {"frequency": "Weekly", "dayOfWeek": "Monday"}})  # fmt: skip
    weekly = weekly.model_copy(update={"nexthink": one.nexthink})
    warn = one.model_copy(update={"nexthink": one.nexthink.model_copy(update={"query_check": "Warn"})})
    others = [one, one.model_copy(update={"nexthink": parameters}), weekly, warn]
    for number, other in enumerate(others, 1):
        task = asyncio.create_task(texts.check(other))
        await run_tasks()
        await executor.run_next()
        await task
        assert executor.done == number


async def test_tenant_with_many_edits_does_not_delay_another_tenant() -> None:
    executor = ManualExecutor()
    texts = QueryTexts(executor)
    edits = [asyncio.create_task(texts.check(spec(f"users | limit {n}"), ANA)) for n in range(50)]
    await run_tasks()
    other = asyncio.create_task(texts.check(spec("devices"), BEN))
    await run_tasks()
    assert len(executor.waiting) == 1, "several texts are checked at once"
    for _ in range(3):
        await executor.run_next()
    assert other.done(), "after the check in progress, the other tenant was not next"
    for edit in edits:
        edit.cancel()


async def test_check_that_raised_an_exception_is_repeated() -> None:
    attempts = []

    async def failing(function: Callable[[], Any]) -> Any:
        attempts.append(function)
        if len(attempts) == 1:
            raise RuntimeError("no thread could be started")
        return function()

    texts = QueryTexts(failing)
    with pytest.raises(RuntimeError):
        await texts.check(spec())
    assert (await texts.check(spec())).error is None
    assert len(attempts) == 2


async def test_cancelled_check_does_not_block_the_next_check() -> None:
    executor = ManualExecutor()
    texts = QueryTexts(executor)
    cancelled, waiting = (asyncio.create_task(texts.check(spec(query), ANA)) for query in ("users", "devices"))
    await run_tasks()
    cancelled.cancel()
    await run_tasks()
    await executor.run_next() if executor.waiting[0].cancelled() is False else executor.waiting.pop(0)
    while not waiting.done():
        await executor.run_next()
    assert waiting.result().error


async def test_number_of_cached_verdicts_is_limited() -> None:
    texts = QueryTexts(at_once, max_cached=3)
    for number in range(10):
        await texts.check(spec(f"users | limit {number}"))
    assert len(texts._cache) == 3


async def test_executed_query_is_compared_with_the_spec() -> None:
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
async def test_executed_query_that_is_too_long_is_drift_without_a_comparison(characters: int) -> None:
    async def reject(function: Callable[[], Any]) -> Any:
        raise AssertionError("the texts were compared")

    sync = await QueryTexts(reject).compare(spec().nexthink, "x" * characters)
    assert sync
    assert not sync.in_sync
    assert "First at its length: Nexthink runs a text of more than 40,000 characters." in sync.message
