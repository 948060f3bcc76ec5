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
from qualtrics_exporter.fair_share import FairSemaphore
from qualtrics_exporter.qualtrics import chunks, operations, responses
from qualtrics_exporter.remote.errors import OutcomeUnknown, Permanent, Transient
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.polling import growing
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.resource.reasons import Reason

MAX_OF_RUN = 4
"""The most imports of one run in progress. With two, Qualtrics always has the next one while this process notices the
end of the one before. More than that helps only if an import ends faster than it is noticed."""
MAX_OF_LIST = 8
"""The most imports into one mailing list in progress. A single tenant gets half of them (`fair_share`)."""
MAX_OF_BRAND = 100
"""The most imports into one brand in progress. Qualtrics processes 25 at once, and queues 100."""
ONE_AT_A_TIME = timedelta(hours=1)
"""How long this process posts one import at a time into each list of a brand that refused a second one."""

FIRST_LOOK = 0.1
FIRST_LOOK_PER_CONTACT = 1e-5
"""Seconds from the start of an import until its status is read: 0.1 for a few people, and 0.2 for 10,000."""
GROWTH = 1.35
"""Of the pauses between two looks. After the first few looks, the end of an import is noticed when it has taken a third
longer, at most."""
LONGEST_PAUSE = 10.0
DEADLINE = timedelta(minutes=30)
"""From the first look at an import until its end. It begins anew when another import into the list ends: that one was
before it."""
NOT_YET_THERE = timedelta(minutes=1)
"""How long a 404 for the status of an import means "not yet", in the same way."""


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
        self.in_progress = FairSemaphore(MAX_OF_BRAND)
        self.looked_at = 0
        """How many runs look at an import. A run looks only at the first one of its imports in progress."""

    @property
    def shortest_pause(self) -> float:
        """Seconds between two looks at one import, so that the looks of all runs stay within their rate limit."""
        return self.looked_at * operations.IMPORT_STATUS.seconds / operations.IMPORT_STATUS.calls


class MailingList:
    """The imports of this process into one mailing list."""

    def __init__(self) -> None:
        self.in_progress = FairSemaphore(MAX_OF_LIST)
        self.last_end = float("-inf")
        """When an import last ended. Until the next one ends, the others may be queued behind it."""
        self._one_at_a_time_until = float("-inf")

    def refused_second(self, clock: Clock) -> None:
        """Qualtrics refused an import while another one was in progress."""
        self._one_at_a_time_until = clock.monotonic() + ONE_AT_A_TIME.total_seconds()

    def units(self, clock: Clock) -> int:
        """How many units of `in_progress` an import takes: all of them if Qualtrics accepts one at a time."""
        return MAX_OF_LIST if clock.monotonic() < self._one_at_a_time_until else 1


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

    def __init__(self, session: Session, directory_id: str, mailing_list_id: str, batch_id: str, run_id: str) -> None:
        self._session = session
        self._target = (directory_id, mailing_list_id, batch_id)
        self._run_id = run_id
        self._brand = session.shared("brand", Brand)
        self._list = session.shared(f"list {directory_id} {mailing_list_id}", MailingList)
        self._limited = False

    async def all(self, parts: Iterable[list[str]]) -> AsyncGenerator[Imported, None]:
        """Import each chunk, and yield the results in the same order. Close the generator (`aclosing`).

        Raises `OutcomeUnknown` if people may be in the batch, now or later: never import them into this batch again.
        """
        started: deque[_Started] = deque()
        try:
            for addresses in parts:
                while len(started) == MAX_OF_RUN or (begun := await self._start(addresses, wait=not started)) is None:
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
                units = self._list.units(clock)
                for semaphore, number in ((self._list.in_progress, units), (self._brand.in_progress, 1)):
                    if wait:
                        await stack.enter_async_context(semaphore.hold(self._session.tenant, number))
                    elif release := semaphore.take(self._session.tenant, number):
                        stack.callback(release)
                    else:
                        return None
                if units != self._list.units(clock):
                    continue  # an import was refused during the wait
                try:
                    import_id, unprocessed = await self._session.call(
                        operation, responses.import_started, on_rate_limited=partial(self._on_rate_limited, units)
                    )
                except _Refused:
                    self._list.refused_second(clock)
                    continue
                status = operations.import_status(operation, import_id, batch_id)
                limited, self._limited = self._limited, False
                return _Started(status, len(addresses), unprocessed, limited, clock.monotonic(), stack.pop_all())

    def _on_rate_limited(self, held: int) -> None:
        """Do not repeat a refused import while others are in progress: they may be why it was refused."""
        self._limited = True
        if self._list.in_progress.used > held:
            raise _Refused

    async def _end(self, started: deque[_Started]) -> Imported:
        """The result of the first of these imports, when it has ended."""
        first = started[0]
        self._brand.looked_at += 1
        try:
            created, failed = await self._wait(first)
        finally:
            self._brand.looked_at -= 1
        self._list.last_end = self._session.clock.monotonic()
        await started.popleft().place.aclose()
        if created > first.contacts:
            what = f"Qualtrics reports {created} people in the batch after an import of {first.contacts} people"
            raise Transient(Reason.REMOTE_REPLY_INVALID, f"{what}; somebody may be in it twice")
        return Imported(created, failed, first.unprocessed, first.limited)

    async def _wait(self, begun: _Started) -> tuple[int, int]:
        """The numbers of created and failed contacts, when the import has ended."""
        pauses = self._pauses(begun)
        await self._session.clock.sleep(next(pauses))
        first_look = self._session.clock.monotonic()
        while (counts := await self._counts(begun, first_look)) is None:
            await self._session.clock.sleep(next(pauses))
        return counts

    async def _counts(self, begun: _Started, first_look: float) -> tuple[int, int] | None:
        """The numbers of created and failed contacts; None while the import is in progress."""
        batch_id = self._target[2]

        def waited() -> float:
            """How long the import can have been in progress, and not one before it."""
            return self._session.clock.monotonic() - max(first_look, self._list.last_end)

        try:
            failed, counts = await self._session.call(begun.status, responses.import_progress)
        except Transient as error:
            raise OutcomeUnknown.of(error) from error
        except Permanent as error:
            if error.status != 404:
                raise
            if waited() > NOT_YET_THERE.total_seconds():
                raise OutcomeUnknown.of(error, Reason.REMOTE_REPLY_INVALID) from error
            return None
        if failed:
            # Some contacts may be in the batch, and their number is not certain.
            what = f"The import into batch {batch_id} failed in Qualtrics"
            raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
        if counts is None and waited() >= DEADLINE.total_seconds():
            minutes = DEADLINE.total_seconds() / 60
            what = f"Qualtrics did not finish the import into batch {batch_id} within {minutes:g} minutes"
            raise OutcomeUnknown(Reason.REMOTE_UNAVAILABLE, what)
        return counts

    def _pauses(self, begun: _Started) -> Iterator[float]:
        first = FIRST_LOOK + FIRST_LOOK_PER_CONTACT * begun.contacts
        yield max(0.0, begun.at + first - self._session.clock.monotonic())
        for pause in growing(first, LONGEST_PAUSE, GROWTH):
            yield max(pause, self._brand.shortest_pause)
