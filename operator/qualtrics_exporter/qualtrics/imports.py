"""The imports of one run into its batch: the next chunk is posted while Qualtrics processes the ones before it.

Qualtrics processes the imports into one mailing list one after the other, and queues up to 100 (docs/facts/qualtrics.md
section 2). All imports of this process share that queue. If Qualtrics refuses an import because another one is in
progress, this process posts one at a time from then on.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import FairSemaphore, Tenant
from qualtrics_exporter.qualtrics import chunks, operations, responses
from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.polling import growing, poll
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.resource.reasons import Reason

MOST_OF_RUN = 4
"""The most imports of one run in progress. With two, Qualtrics always has the next one while this process notices the
end of the one before. More than that helps only if an import ends faster than it is noticed."""
MOST_OF_LIST = 8
"""The most imports into one mailing list in progress. A single tenant gets half of them (`fair_share`)."""
MOST_OF_BRAND = 100
"""The most imports into one brand in progress. Qualtrics processes 25 at once, and queues 100."""
ONE_AT_A_TIME = timedelta(hours=1)
"""How long this process posts one import at a time into each list of a brand that refused a second one."""

FIRST_LOOK = 0.1
FIRST_LOOK_PER_CONTACT = 3e-5
"""Seconds from the start of an import until its status is read: 0.1 for a few people, and 0.4 for 10,000."""
GROWTH = 1.35
"""Of the pauses between two looks. The end of an import is noticed when it has taken a quarter longer, at most."""
LONGEST_PAUSE = 10.0
DEADLINE = timedelta(minutes=30)
"""From the first look at an import until its end. The imports before it have ended by then."""
NOT_YET_THERE = timedelta(minutes=1)
"""How long after the first look a 404 for the status of an import means "not yet"."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of the import of one chunk."""

    created: int
    """The number of contacts that are in the batch now."""
    failed: int
    """The number that Qualtrics refused, such as invalid addresses."""
    unprocessed: int
    """The number that Qualtrics ignored."""
    limited: bool = False
    """Whether Qualtrics first answered with 429. It may have accepted that import too: see `count_batch`."""


class Brand:
    """The imports of this process into the mailing lists of one brand."""

    def __init__(self) -> None:
        self.in_progress = FairSemaphore(MOST_OF_BRAND)
        self._one_at_a_time_until = float("-inf")

    def refused_second(self, clock: Clock) -> None:
        """Qualtrics refused an import while another one into the same list was in progress."""
        self._one_at_a_time_until = clock.monotonic() + ONE_AT_A_TIME.total_seconds()

    def queues(self, clock: Clock) -> bool:
        """Whether Qualtrics accepts an import while another one into the same list is in progress."""
        return clock.monotonic() >= self._one_at_a_time_until

    @property
    def shortest_pause(self) -> float:
        """Seconds between two looks at one import, so that the looks at all imports stay within their rate limit."""
        return self.in_progress.used * operations.IMPORT_STATUS.seconds / operations.IMPORT_STATUS.calls


class _Refused(Exception):
    """Qualtrics answered an import with 429 while others into the same list are in progress."""


@dataclass(slots=True)
class _Started:
    """An import in progress."""

    status: Operation
    contacts: int
    unprocessed: int
    limited: bool
    at: float
    """When Qualtrics accepted it."""
    place: AsyncExitStack
    """What it holds until it has ended."""


class Imports:
    """The imports of one run into one batch."""

    def __init__(
        self, session: Session, tenant: Tenant, directory_id: str, mailing_list_id: str, batch_id: str, run_id: str
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._target = (directory_id, mailing_list_id, batch_id)
        self._run_id = run_id
        self._brand = session.shared("brand", Brand)
        self._list = session.shared(f"list {directory_id} {mailing_list_id}", lambda: FairSemaphore(MOST_OF_LIST))
        self._limited = False

    async def all(self, parts: Iterable[list[str]]) -> AsyncGenerator[Imported, None]:
        """Import each chunk, and yield the results in the same order. Close the generator (`aclosing`).

        Raises `OutcomeUnknown` if people may be in the batch, now or later: never import them into this batch again.
        """
        started: deque[_Started] = deque()
        try:
            for addresses in parts:
                while len(started) == MOST_OF_RUN or (begun := await self._start(addresses, wait=not started)) is None:
                    yield await self._end(started)
                started.append(begun)
            while started:
                yield await self._end(started)
        finally:
            for begun in started:
                await begun.place.aclose()

    async def _start(self, addresses: list[str], *, wait: bool) -> _Started | None:
        """Post a chunk. None if there is no place for it; with `wait`, wait for a place.

        A run that has imports in progress never waits for a place: two such runs could wait for each other.
        """
        directory_id, mailing_list_id, batch_id = self._target
        clock = self._session.clock
        await self._session.token()  # before the place: a token endpoint that hangs must not block other imports
        while True:
            operation = operations.import_contacts(
                directory_id,
                mailing_list_id,
                batch_id,
                len(addresses),
                lambda: chunks.body(batch_id, self._run_id, addresses),
            )
            async with AsyncExitStack() as stack:
                weight = 1 if self._brand.queues(clock) else MOST_OF_LIST
                for semaphore, units in ((self._list, weight), (self._brand.in_progress, 1)):
                    if wait:
                        await stack.enter_async_context(semaphore.hold(self._tenant, units))
                    elif release := semaphore.take(self._tenant, units):
                        stack.callback(release)
                    else:
                        return None
                try:
                    import_id, unprocessed = await self._session.call(
                        operation, responses.import_started, on_rate_limited=partial(self._on_rate_limited, weight)
                    )
                except _Refused:
                    self._brand.refused_second(clock)
                    continue
                status = operations.import_status(operation, import_id, batch_id)
                limited, self._limited = self._limited, False
                return _Started(status, len(addresses), unprocessed, limited, clock.monotonic(), stack.pop_all())

    def _on_rate_limited(self, held: int) -> None:
        """Do not repeat a refused import while others are in progress: they may be why it was refused."""
        self._limited = True
        if self._list.used > held:
            raise _Refused

    async def _end(self, started: deque[_Started]) -> Imported:
        """The result of the first of these imports, when it has ended."""
        first = started[0]
        created, failed = await self._wait(first)
        await started.popleft().place.aclose()
        if created > first.contacts:
            what = f"Qualtrics reports {created} people in the batch after an import of {first.contacts} people"
            raise Transient(Reason.REMOTE_REPLY_INVALID, f"{what}; somebody may be in it twice")
        return Imported(created, failed, first.unprocessed, first.limited)

    async def _wait(self, begun: _Started) -> tuple[int, int]:
        """The numbers of created and failed contacts, when the import has ended."""
        clock, batch_id = self._session.clock, self._target[2]
        looked_at: float | None = None

        async def counts_when_done() -> tuple[int, int] | None:
            nonlocal looked_at
            looked_at = clock.monotonic() if looked_at is None else looked_at
            try:
                failed, counts = await self._session.call(begun.status, responses.import_progress)
            except Transient as error:
                raise OutcomeUnknown.of(error) from error
            except Permanent as error:
                if error.status != 404:
                    raise
                if clock.monotonic() - looked_at > NOT_YET_THERE.total_seconds():
                    raise OutcomeUnknown.of(error, Reason.REMOTE_REPLY_INVALID) from error
                return None
            if failed:
                # Some contacts may be in the batch, and their number is not certain.
                what = f"The import into batch {batch_id} failed in Qualtrics"
                raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
            return counts

        most = DEADLINE.total_seconds()
        counts = await poll(clock, counts_when_done, pauses=self._pauses(begun), most=most)
        if counts is None:
            what = f"Qualtrics did not finish the import into batch {batch_id} within {most / 60:g} minutes"
            raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
        return counts

    def _pauses(self, begun: _Started) -> Iterator[float]:
        first = FIRST_LOOK + FIRST_LOOK_PER_CONTACT * begun.contacts
        yield max(0.0, begun.at + first - self._session.clock.monotonic())
        for pause in growing(first, LONGEST_PAUSE, GROWTH):
            yield max(pause, self._brand.shortest_pause)
