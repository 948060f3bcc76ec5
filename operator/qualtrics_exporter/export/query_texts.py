"""Checks and compares the text of a query outside the event loop.

The check of a valid query of 16,000 characters takes up to a second. In the event loop it would block everything else:
a user who edits an exporter twice a second could cost a replica its Lease. So the checks run in a thread, one text at a
time, and tenants take turns. The checker is pure Python; `SWITCH_SECONDS` ensures that the event loop gets the
interpreter in time. Results are cached by text, so an unchanged exporter costs nothing.
"""

import asyncio
import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from qualtrics_exporter.export.guards import CheckWarning, QueryText, check_text
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant
from qualtrics_exporter.nql.limits import LONGEST, TOO_LONG
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NexthinkSpec, Spec

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while another one waits for it. The default is 5 ms, and the event loop
waits several times in one request: up to 84 ms with the default, and up to 22 ms with this (docs/reliability.md)."""

MAX_CACHED = 1024
"""The number of cached results, of about a kilobyte each."""

T = TypeVar("T")

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function, and returns its result."""


async def at_once(function: Callable[[], Any]) -> Any:
    """Run the function here: in simulations, and where nothing else has to run in the meantime."""
    return function()


class InThread:
    """Runs functions in one thread, one after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "query-texts")

    async def __call__(self, function: Callable[[], Any]) -> Any:
        """Run the function in the thread. Raises what the function raises."""
        if sys.getswitchinterval() > SWITCH_SECONDS:
            sys.setswitchinterval(SWITCH_SECONDS)
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


class QueryTexts:
    """The checks in one process. One text is checked at a time, and tenants take turns."""

    def __init__(self, run: Run | None = None, max_cached: int = MAX_CACHED) -> None:
        self._run = run or InThread()
        self._max_cached = max_cached
        self._turns = FairSemaphore(1)
        self._cache: OrderedDict[bytes, Any] = OrderedDict()

    async def check(self, spec: Spec, tenant: Tenant = NOBODY) -> QueryText:
        """As `guards.check_text`."""
        query = spec.nexthink
        times = spec.schedule.interval().total_seconds(), spec.cycle().total_seconds()
        key = _key("check", query.query, query.parameters, query.query_check, *times)
        verdict = await self._once(key, lambda: _CachedText.of(check_text(spec)), tenant)
        return verdict.text

    async def compare(self, spec: NexthinkSpec, executed: str | None, tenant: Tenant = NOBODY) -> QuerySync | None:
        """Whether Nexthink ran the query of the spec; None if it did not return the text that it ran."""
        if executed is None:
            return None
        parameters = spec.parameters or {}
        if len(executed) > LONGEST:  # too long for a hash in the event loop
            different: str | None = TOO_LONG
        else:
            key = _key("compare", spec.query, parameters, executed)
            different = await self._once(key, lambda: _difference(spec.query, executed, parameters), tenant)
        if different is None:
            return QuerySync(True, Reason.QUERY_IN_SYNC.meaning)
        return QuerySync(False, f"{Reason.QUERY_DRIFT.meaning} First at {different}. {Reason.QUERY_DRIFT.next_step}")

    async def _once(self, key: bytes, work: Callable[[], T], tenant: Tenant) -> T:
        """The result of this work, from the cache if it has it. An error is not cached."""
        if key not in self._cache:
            async with self._turns.hold(tenant):
                if key not in self._cache:  # another task may have checked the same text
                    self._cache[key] = await self._run(work)
                    if len(self._cache) > self._max_cached:
                        self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        result: T = self._cache[key]
        return result


@dataclass(frozen=True, slots=True)
class TenantTexts:
    """`QueryTexts` for one tenant."""

    texts: QueryTexts = field(default_factory=lambda: QueryTexts(at_once))
    tenant: Tenant = NOBODY

    async def check(self, spec: Spec) -> QueryText:
        """As `QueryTexts.check`."""
        return await self.texts.check(spec, self.tenant)

    async def compare(self, spec: NexthinkSpec, executed: str | None) -> QuerySync | None:
        """As `QueryTexts.compare`."""
        return await self.texts.compare(spec, executed, self.tenant)


@dataclass(frozen=True, slots=True)
class _CachedText:
    """A `QueryText` without its exception: an exception that is raised repeatedly keeps the frames of each time."""

    error: tuple[Reason, str, str] | None
    warnings: tuple[CheckWarning, ...]

    @classmethod
    def of(cls, text: QueryText) -> "_CachedText":
        error = text.error
        return cls((error.reason, error.what, error.next_step) if error else None, text.warnings)

    @property
    def text(self) -> QueryText:
        if self.error is None:
            return QueryText(None, self.warnings)
        reason, what, next_step = self.error
        return QueryText(Permanent(reason, what, next_step=next_step), self.warnings)


def _difference(query: str, executed: str, parameters: Mapping[str, str]) -> str | None:
    # Imported in the thread that compares the texts, because the grammar takes time and memory.
    from qualtrics_exporter.nql.compare import difference

    return difference(query, executed, parameters)


def _key(*parts: object) -> bytes:
    return hashlib.sha256(json.dumps(parts).encode()).digest()
