"""The text of a query, checked and compared outside the event loop.

To check a legal query of 16,000 characters takes up to a second. In the event loop, nothing else happens in the
meantime: somebody who edits an exporter twice a second could cost a replica its Lease. So the work is done in a thread,
one text at a time, and tenants take turns. The checker is pure Python: with `SWITCH_SECONDS` the event loop gets the
interpreter back in time. Verdicts are kept by text, so that an exporter that did not change costs nothing.
"""

import asyncio
import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from qualtrics_exporter.export.guards import CheckWarning, QueryText, check_text
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant
from qualtrics_exporter.nql.compare import LONGEST, TOO_LONG, difference
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import NexthinkSpec, Spec

SWITCH_SECONDS = 0.0005
"""How long one thread may keep the interpreter while another one wants it. By default 5 ms, and the loop waits for it
several times in one request: it was held up for 84 ms at most, and with this for 22 ms (docs/reliability.md)."""

KEPT = 1024
"""Verdicts, of about a kilobyte each."""

T = TypeVar("T")

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""What runs a function somewhere and gives its result."""


async def at_once(function: Callable[[], Any]) -> Any:
    """Run it here and now: where nothing else has to happen in the meantime, and in simulations."""
    return function()


class InThread:
    """Runs functions in a thread of its own, one after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "query-texts")

    async def __call__(self, function: Callable[[], Any]) -> Any:
        """Run it there. Raises what it raises."""
        if sys.getswitchinterval() > SWITCH_SECONDS:
            sys.setswitchinterval(SWITCH_SECONDS)
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


class QueryTexts:
    """The checks of one process. One text is checked at a time; tenants take turns."""

    def __init__(self, run: Run | None = None) -> None:
        self._run = run or InThread()
        self._turns = FairSemaphore(1)
        self._known: OrderedDict[bytes, Any] = OrderedDict()

    async def check(self, spec: Spec, tenant: Tenant = NOBODY) -> QueryText:
        """As `guards.check_text`."""
        query = spec.nexthink
        times = spec.schedule.interval().total_seconds(), spec.cycle().total_seconds()
        key = _key("check", query.query, query.parameters, query.query_check, *times)
        verdict = await self._once(key, lambda: _Verdict.of(check_text(spec)), tenant)
        return verdict.text

    async def compare(self, spec: NexthinkSpec, executed: str | None, tenant: Tenant = NOBODY) -> QuerySync | None:
        """Whether Nexthink ran the query of the spec; None if it did not say what it ran."""
        if executed is None:
            return None
        parameters = spec.parameters or {}
        if len(executed) > LONGEST:  # not even a hash is made of it in the event loop
            different: str | None = TOO_LONG
        else:
            key = _key("compare", spec.query, parameters, executed)
            different = await self._once(key, lambda: difference(spec.query, executed, parameters), tenant)
        if different is None:
            return QuerySync(True, Reason.QUERY_IN_SYNC.meaning)
        return QuerySync(False, f"{Reason.QUERY_DRIFT.meaning} First at {different}. {Reason.QUERY_DRIFT.next_step}")

    async def _once(self, key: bytes, work: Callable[[], T], tenant: Tenant) -> T:
        """The result of this work, or the one of the same work before. An error is not kept."""
        if key not in self._known:
            async with self._turns.hold(tenant):
                if key not in self._known:  # somebody else may have had the same text
                    self._known[key] = await self._run(work)
                    if len(self._known) > KEPT:
                        self._known.popitem(last=False)
        self._known.move_to_end(key)
        result: T = self._known[key]
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
class _Verdict:
    """A `QueryText` without its exception: one that is raised again and again keeps the frames of each time."""

    error: tuple[Reason, str, str] | None
    warnings: tuple[CheckWarning, ...]

    @classmethod
    def of(cls, text: QueryText) -> "_Verdict":
        error = text.error
        return cls((error.reason, error.what, error.next_step) if error else None, text.warnings)

    @property
    def text(self) -> QueryText:
        if self.error is None:
            return QueryText(None, self.warnings)
        reason, what, next_step = self.error
        return QueryText(Permanent(reason, what, next_step=next_step), self.warnings)


def _key(*parts: object) -> bytes:
    return hashlib.sha256(json.dumps(parts).encode()).digest()
