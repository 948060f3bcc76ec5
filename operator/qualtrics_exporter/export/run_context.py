"""One run in one process: what its journal says, and what only this process knows."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.journal import Abandoned, Ended, Journal, NotWritten, QuerySync, ResultSource
from qualtrics_exporter.export.messages import (
    ABOUT_PEOPLE,
    describe_counts,
    describe_sample,
    explain_warnings,
    heaviest,
    nobody_sampled_message,
    sent_message,
    unknown_message,
)
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.result_memory import HoldMemory, bytes_in_use, bytes_to_reserve
from qualtrics_exporter.export.sample import Sample
from qualtrics_exporter.export.unexpected import internal_error, log_unexpected
from qualtrics_exporter.remote.errors import ExportError, Transient
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, Result, entry_of

logger = logging.getLogger(__name__)

UNSURE_PAUSE_SECONDS = 10.0

MAX_WRITE_SECONDS = 10.0
"""The limit on the time from the write of `Sending` to the send. It is less than another replica needs to take over the
run, look up the send and report that nothing was sent."""


@dataclass(slots=True)
class RunContext:
    """One run while a process works on it. `run` is the journal; everything else is lost in a crash."""

    run: ActiveRun
    spec: Spec
    clients: Clients
    journal: Journal
    clock: Clock
    check_first: bool = False
    """Whether to check both services in full before anything else. A test that delivers always does."""
    deadline: timedelta | None = None
    """How long the run may take until its send, from the creation of this context. If it passes earlier, the run ends
    as `Failed` (RunDeadlineExceeded). A send whose outcome is unknown is still looked up, and not repeated."""
    memory: HoldMemory | None = None
    """Reserves memory for the people of a large result."""
    sample: Sample | None = None
    """The people of the query that the run surveys; None for everybody."""
    previous: int | None = None
    """How many people the query returned in the previous run; None if that is unknown."""
    export_first: bool = False
    """Use an export immediately, because Nexthink failed to execute the query before (`heavy_query`)."""
    clock_unsure: Callable[[], bool] = lambda: False
    """Whether the wall clock was recently set forward, and may be wrong. Nothing is sent in that time."""
    max_write_seconds: float = MAX_WRITE_SECONDS
    recipients: Recipients | None = field(default=None, init=False)
    query: QuerySync | None = field(default=None, init=False)
    batches: int = field(default=0, init=False)
    begin_with: ResultSource | None = field(default=None, init=False)
    """The source of the result with which the next run begins: see `Ended.begin_with`."""
    refusal: Transient | None = field(default=None, init=False)
    """The last refusal that this process met, and when it met it by the monotonic clock."""
    refused_at: float | None = field(default=None, init=False)
    confirmed_not_sent: bool = field(default=False, init=False)
    """Whether a complete look, after the time by which the list lags, showed that a refused send had no effect."""
    resumed: bool = field(init=False)
    """Whether another process had the run before, or this one with another spec."""
    _began: float = field(init=False)
    _shrink: Callable[[int], None] | None = field(default=None, init=False)
    _limit: TimeLimit | None = field(default=None, init=False)
    _held: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()
        self.resumed = self.run.attempt > 1

    @property
    def test(self) -> bool:
        """Whether this is a test that delivers."""
        return self.run.trigger == "Test"

    @property
    def before_send(self) -> bool:
        """Whether it is certain that nothing was sent."""
        return self.run.before_send or (self.confirmed_not_sent and self.run.refused_until is not None)

    # Time

    async def wait_for_clock(self) -> None:
        """Wait while the wall clock may be wrong: Qualtrics sends at the time in the request, even in a year."""
        self.clock.now()  # notices that the clock was set
        while self.clock_unsure():
            await self.clock.sleep(UNSURE_PAUSE_SECONDS)
            self.clock.now()

    def is_late(self) -> bool:
        left = self._seconds_left
        return left is not None and left <= 0

    @property
    def _seconds_left(self) -> float | None:
        if self.deadline is None:
            return None
        return self._began + self.deadline.total_seconds() - self.clock.monotonic()

    @asynccontextmanager
    async def before_deadline(self) -> AsyncIterator[None]:
        """Cancel the block when the deadline passes, and raise `deadline_error`.

        For work before the send only. The deadline never interrupts a send or a look-up.
        """
        try:
            async with TimeLimit(self.clock, self._seconds_left) as self._limit:
                yield
        except OutOfTime:
            raise self.deadline_error() from None
        finally:
            self._limit = None

    def deadline_error(self) -> Transient:
        """The error of a run whose deadline passes before its send."""
        minutes = (self.deadline or timedelta()).total_seconds() / 60
        what = f"The run did not reach its send within the {max(0.0, minutes):.0f} minutes that it had left"
        return Transient(Reason.RUN_DEADLINE_EXCEEDED, what)

    # Recipients and their memory

    async def reserve_memory(self, longest: bool = False) -> int | None:
        """Wait for memory for the people of a large result. Returns its size in bytes; None if there is no limit.

        `longest` reserves for the longest possible addresses.
        """
        if not self.memory:
            return None
        people, chunk = bytes_to_reserve(self.spec.max_recipients, longest=longest)
        # Other runs have the memory. The time until they free it does not count towards the deadline of this run.
        began = self.clock.monotonic()
        if self._limit:
            self._limit.restart(None)
        await self.release_recipients()  # two runs that hold a part and wait for more would wait forever
        self._shrink = await self._held.enter_async_context(self.memory(people + chunk))
        self._began += self.clock.monotonic() - began
        if self._limit:
            self._limit.restart(self._seconds_left)
        return people

    def keep_recipients(self, recipients: Recipients) -> None:
        """Keep the recipients, and only as much memory as they need."""
        self.recipients = recipients
        recipients.freeze()
        if self._shrink:
            self._shrink(bytes_in_use(recipients))

    async def release_recipients(self) -> None:
        """Forget the recipients, and free their memory."""
        self.recipients = self._shrink = None
        await self._held.aclose()

    # The journal

    def note(self, **changes: Any) -> None:
        """Change the run in memory. The next write of the journal includes the change."""
        self.run = self.run.model_copy(update=changes)

    async def write_step(self, **changes: Any) -> None:
        """Write the next recovery point. It is durable when this returns."""
        run = self.run.model_copy(update=changes)
        await self.journal.write(run)
        self.run = run

    async def write_sending(self, **changes: Any) -> None:
        """Write `Sending`, after a fresh read of the exporter."""
        run = self.run.model_copy(update={"step": "Sending", "refused_until": None, "refused_reason": None, **changes})
        await self.journal.write_sending(run)
        self.run = run
        self.confirmed_not_sent = False

    async def write_refused(self, refusal: Transient, until: datetime) -> None:
        """Write that the send was refused, and why. The next process decides by the reason.

        If the write fails, this process continues. To the next process, the run may have sent.
        """
        changes = {"refused_until": until, "refused_reason": str(refusal.reason)}
        await self._write_known("that the send was refused", **changes)

    async def write_sent(self, distribution_id: str) -> None:
        """Write that the survey was sent. If the write fails, this process continues: the final write includes it."""
        changes = {"step": "Sent", "distribution_id": distribution_id, "refused_until": None, "refused_reason": None}
        await self._write_known("that the survey was sent", **changes)

    async def _write_known(self, fact: str, **changes: Any) -> None:
        run = self.run.model_copy(update=changes)
        try:
            await self.journal.write(run)
        except Abandoned:
            raise
        except NotWritten as error:
            logger.warning("run %s: could not write to the journal %s: %s", run.id, fact, error)
        except Exception as error:  # noqa: BLE001
            log_unexpected(f"writing {fact}, in run {self.run.id}", error)
        self.run = run

    # How the run ends

    def end(self, result: Result, reason: Reason, message: str) -> Ended:
        """End the run with this result."""
        return Ended(entry_of(self.run, result, reason, message, self.clock.now()), self.query, self.begin_with)

    def sent(self) -> Ended:
        """The survey was sent. The message depends on the journal alone, so each process writes the same one."""
        expected = Reason.TEST_DELIVERED if self.test else Reason.SUCCEEDED
        return self.end("Succeeded", heaviest(self.run.warnings) or expected, sent_message(self.run))

    def dry(self) -> Ended:
        """The run only counted the people."""
        run = self.run
        sentences = [Reason.DRY_RUN.meaning, *describe_counts(run.counts), *describe_sample(run)]
        return self.end("DryRun", Reason.DRY_RUN, " ".join([*sentences, *explain_warnings(run.warnings or [])]))

    def nobody_sampled(self) -> Ended:
        """The query returned people, and none of them is in the sample of this run."""
        reason = heaviest(self.run.warnings, ABOUT_PEOPLE) or Reason.NO_RECIPIENTS
        waiting = self.sample.waiting if self.sample else None
        return self.end("Succeeded", reason, nobody_sampled_message(self.run, waiting))

    def failed(self, error: Exception) -> Ended:
        """The run ends with this error, before anything was sent."""
        if not isinstance(error, ExportError):
            log_unexpected(f"executing run {self.run.id}", error)
            error = internal_error(error)
        return self.end("Failed", error.reason, f"{error.message} Nobody was mailed.")

    def interrupted(self) -> Ended:
        """A test that delivers was interrupted before its send. It is not resumed: its user can request another one."""
        return self.end("Failed", Reason.INTERRUPTED, f"{Reason.INTERRUPTED.meaning} {Reason.INTERRUPTED.next_step}")

    def unknown(self, why: str) -> Ended:
        """It is unknown whether the survey was sent."""
        return self.end("Unknown", Reason.DELIVERY_UNKNOWN, unknown_message(self.run, why))
