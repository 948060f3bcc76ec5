"""A run in the hands of one process: what its journal says, and what only this process knows."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.journal import Abandoned, Ended, Journal, NotWritten, QuerySync, ResultSource
from qualtrics_exporter.export.messages import (
    ABOUT_PEOPLE,
    BY_WEIGHT,
    advice,
    counted,
    number_of,
    sampled,
    unknown_message,
)
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.sample import Sample
from qualtrics_exporter.qualtrics.chunks import MOST_BYTES, MOST_CONTACTS
from qualtrics_exporter.remote.errors import ExportError, Transient
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, Result, entry_of

logger = logging.getLogger(__name__)

HoldMemory = Callable[[int], AbstractAsyncContextManager[Callable[[int], None]]]
"""A context that holds so many bytes of the process's memory for recipients; it yields what gives all but so many back.
"""

RECIPIENT_BYTES = 80
"""What a recipient takes while the result is read, if addresses have up to 48 characters on average."""
LONGEST_RECIPIENT_BYTES = 1200
"""What a recipient takes at most: 254 characters of four bytes (tests/export/test_recipients.py)."""
CHUNK_BYTES = 60
"""What a recipient of the chunk that is imported takes in addition, besides the address."""
LARGE_RESULT = 1_000_000
"""How many people a large result is taken to have where spec.maxRecipients does not limit it."""
LARGEST_RESULT_BYTES = LARGE_RESULT * RECIPIENT_BYTES
"""What the people of one result take at most, however long their addresses are."""


UNSURE_PAUSE_SECONDS = 10.0


@dataclass(slots=True)
class RunContext:
    """One run while somebody works on it. `run` is what the journal says; the rest is gone after a crash."""

    run: ActiveRun
    spec: Spec
    sides: Clients
    journal: Journal
    clock: Clock
    recipients: Recipients | None = None
    query: QuerySync | None = None
    batches: int = 0
    memory: HoldMemory | None = None
    sample: Sample | None = None
    """Whom of the people of the query the run surveys; None: everybody."""
    previous: int | None = None
    """How many people the query named in the run before, if that is known."""
    export_first: bool = False
    """Whether an earlier run found that Nexthink fails to execute the query."""
    begin_with: ResultSource | None = None
    """What this run learnt about that."""
    unsure: Callable[[], bool] = lambda: False
    """Whether the wall clock was set forward a moment ago, and may be wrong."""
    deadline: timedelta | None = None
    """How long the run may take until its send, from when this process took it up."""
    refusal: Transient | None = None
    """The refusal that this process met last, and when it met it, by the monotonic clock."""
    refused_at: float | None = None
    seen_absent: bool = False
    """Whether a complete look, later than the list lags, showed that a refused send did not take place."""
    taken_up_again: bool = field(init=False)
    """Whether another process had the run before, or this one with another spec."""
    _began: float = field(init=False)
    _shrink: Callable[[int], None] | None = None
    _limit: TimeLimit | None = None
    _held: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()
        self.taken_up_again = self.run.attempt > 1

    async def wait_for_clock(self) -> None:
        """Wait while the wall clock may be wrong: Qualtrics sends at the time that a request names, even in a year."""
        self.clock.now()  # which notices that it was set
        while self.unsure():
            await self.clock.sleep(UNSURE_PAUSE_SECONDS)
            self.clock.now()

    async def reserve_memory(self, again: bool = False) -> int | None:
        """Wait for the memory that the people of a large result take; tells how much that is."""
        if not self.memory:
            return None
        number = self.spec.max_recipients or LARGE_RESULT
        each = LONGEST_RECIPIENT_BYTES if again else RECIPIENT_BYTES
        people = min(number * each, LARGEST_RESULT_BYTES)
        # Meanwhile other runs have the memory: that is not this run's time.
        began = self.clock.monotonic()
        if self._limit:
            self._limit.restart(None)
        await self.forget_people()  # two runs that hold a part and wait for more would wait for ever
        self._shrink = await self._held.enter_async_context(self.memory(people + _chunk(number, each)))
        self._began += self.clock.monotonic() - began
        if self._limit:
            self._limit.restart(self._seconds_left)
        return people

    def take_people(self, recipients: Recipients) -> None:
        """Keep the people, and only the memory that they take."""
        self.recipients = recipients
        recipients.freeze()
        if self._shrink:
            number = len(recipients)
            self._shrink(recipients.size + _chunk(number, recipients.size // max(1, number)))

    async def forget_people(self) -> None:
        """Let go of the people, and of their memory."""
        self.recipients = self._shrink = None
        await self._held.aclose()

    @property
    def test(self) -> bool:
        """Whether this is a test that delivers."""
        return self.run.trigger == "Test"

    @property
    def before_send(self) -> bool:
        """Whether it is certain that nothing was sent."""
        return self.run.before_send or (self.seen_absent and self.run.refused_until is not None)

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        left = self._seconds_left
        return left is not None and left <= 0

    @property
    def _seconds_left(self) -> float | None:
        if self.deadline is None:
            return None
        return self._began + self.deadline.total_seconds() - self.clock.monotonic()

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Cancel what happens in here when the deadline passes, and raise the error with which the run then ends.

        For work before the send only: a send, and the search for one, are never cut short by it.
        """
        try:
            async with TimeLimit(self.clock, self._seconds_left) as self._limit:
                yield
        except OutOfTime:
            raise self.too_late() from None
        finally:
            self._limit = None

    def too_late(self) -> Transient:
        """The error of a run whose deadline passes before its send."""
        minutes = (self.deadline or timedelta()).total_seconds() / 60
        what = f"The run did not reach its send within the {max(0.0, minutes):.0f} minutes that it had left"
        return Transient(Reason.RUN_DEADLINE_EXCEEDED, what)

    async def journalled(self, **changes: Any) -> None:
        """Write the next recovery point down; durable when this returns."""
        run = self.run.model_copy(update=changes)
        await self.journal.write(run)
        self.run = run

    async def journalled_sending(self, **changes: Any) -> None:
        """As `journalled`, by a fresh read of the exporter."""
        run = self.run.model_copy(update={"step": "Sending", "refused_until": None, "refused_reason": None, **changes})
        await self.journal.write_sending(run)
        self.run = run
        self.seen_absent = False

    async def journalled_refused(self, why: Transient, until: datetime) -> None:
        """Write down that the send was refused, and why: the next process reads from it what it may conclude.

        If this write fails, this process knows it all the same; to the next one the run may have been sent.
        """
        changes = {"refused_until": until, "refused_reason": str(why.reason)}
        await self._journalled_known("that the send was refused", **changes)

    async def journalled_sent(self, distribution_id: str) -> None:
        """Write down that the survey is out. What is known stays known if this write fails: the last one has it too."""
        changes = {"step": "Sent", "distribution_id": distribution_id, "refused_until": None, "refused_reason": None}
        await self._journalled_known("that the survey was sent", **changes)

    async def _journalled_known(self, what: str, **changes: Any) -> None:
        run = self.run.model_copy(update=changes)
        try:
            await self.journal.write(run)
        except Abandoned:
            raise
        except NotWritten as error:
            logger.warning("run %s: it is known %s, and that could not be written: %s", run.id, what, error)
        except Exception as error:  # noqa: BLE001
            report(f"writing down {what}", self.run, error)
        self.run = run

    def note(self, **changes: Any) -> None:
        """Learn something that the next recovery point writes down."""
        self.run = self.run.model_copy(update=changes)

    def end(self, result: Result, reason: Reason, message: str) -> Ended:
        """The run ends like this."""
        return Ended(entry_of(self.run, result, reason, message, self.clock.now()), self.query, self.begin_with)

    def sent(self) -> Ended:
        """The survey is out, as far as the journal knows: the same words whoever finishes the run."""
        told = self.run.warnings or []
        fine = Reason.TEST_DELIVERED if self.test else Reason.SUCCEEDED
        what = "The test was delivered to" if self.test else "The survey was sent, as one distribution, to"
        return self.end("Succeeded", next((r for r in BY_WEIGHT if r in told), fine), self._told(what))

    def dry(self) -> Ended:
        """The people were counted, and that is all."""
        run = self.run
        sentences = [Reason.DRY_RUN.meaning, *counted(run.counts), *sampled(run), *advice(run.warnings or [])]
        return self.end("DryRun", Reason.DRY_RUN, " ".join(sentences))

    def nobody_sampled(self) -> Ended:
        """The query names people, and none of them is in this run's sample."""
        told = self.run.warnings or []
        meaning = "Nobody is to be surveyed in this run: nothing was created in Qualtrics."
        reason = next((r for r in ABOUT_PEOPLE if r in told), Reason.NO_RECIPIENTS)
        waiting = self.sample.waiting if self.sample else None
        why = [*sampled(self.run), *([waiting] if waiting else [])]
        return self.end("Succeeded", reason, " ".join([meaning, *why, *advice(told)]))

    def failed(self, error: Exception) -> Ended:
        """The run ends because of this, before anything was sent."""
        if not isinstance(error, ExportError):
            report("a run", self.run, error)
            error = internal(error)
        return self.end("Failed", error.reason, f"{error.message} Nobody was mailed.")

    def interrupted(self) -> Ended:
        """A delivering test that was interrupted before its send is not resumed: its user asks for another one."""
        return self.end("Failed", Reason.INTERRUPTED, f"{Reason.INTERRUPTED.meaning} {Reason.INTERRUPTED.next_step}")

    def unknown(self, why: str) -> Ended:
        """Nobody knows whether the survey was sent: how to find out, and what happens next."""
        return self.end("Unknown", Reason.DELIVERY_UNKNOWN, unknown_message(self.run, why))

    def _told(self, what: str) -> str:
        counts, told = self.run.counts, self.run.warnings or []
        imported = self.run.recipients or 0
        accepted = (counts and counts.accepted) or imported
        incomplete = f"Qualtrics took {imported} of {accepted} people into the batch, and did not say why."
        sentences = [f"{what} {number_of(imported)}.", *sampled(self.run)]
        sentences += advice(told, {Reason.IMPORT_INCOMPLETE: incomplete})
        if accepted > imported and Reason.IMPORT_INCOMPLETE not in told:
            sentences.append(f"Qualtrics refused the other {accepted - imported} of {accepted} addresses.")
        return " ".join(sentences)


def _chunk(people: int, each: int) -> int:
    """What the people of one request take in addition, if the address of each takes so many bytes."""
    number = min(people, MOST_CONTACTS)
    return number * CHUNK_BYTES + min(number * each, MOST_BYTES)


def internal(error: Exception) -> Transient:
    """An error without a name, for people: its kind only, for its text may hold anything."""
    return Transient(Reason.INTERNAL_ERROR, f"The operator met an error that it has no name for ({_kind(error)})")


def report(doing: str, run: ActiveRun, error: Exception) -> None:
    """Tell the log where it happened, without the error's text."""
    at, places = error.__traceback__, []
    while at:
        places.append(f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}")
        at = at.tb_next
    logger.error("unexpected error while %s %s: %s at %s", doing, run.id, _kind(error), " ".join(places[-8:]))


def _kind(error: Exception) -> str:
    return type(error).__name__
