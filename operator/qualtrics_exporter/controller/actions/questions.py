"""Questions to Qualtrics about runs that have ended: which one is due, and when to ask it again without an answer."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar, cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.memory import Memories, Retry
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.plan.wake import FOLLOWED, NEVER, About, Question, open_questions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError, Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry, Status

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY = timedelta(minutes=5)
RETRY_SHARE = 0.1
"""A question without an answer is asked again after this part of the time since the send, but not before `RETRY`."""
ANSWER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Questions:
    """Which questions had no answer, and when to ask them again."""

    memories: Memories
    clock: Clock

    def retries(self, key: Key, status: Status) -> Mapping[Question, datetime]:
        """Until when questions are not asked again. Forgets the questions about entries that are gone."""
        memory = self.memories.of(key)
        if not memory.retries:
            return {}
        entries = {entry.id for entry in status.entries} | ({FOLLOWED.run} if status.followed_deliveries else set())
        memory.retries = {question: retry for question, retry in memory.retries.items() if question.run in entries}
        now, monotonic = self.clock.now(), self.clock.monotonic()
        return {question: _later(now, retry.after - monotonic) for question, retry in memory.retries.items()}

    def ask_later(self, key: Key, question: Question, sent: datetime, give_up_after: timedelta) -> bool:
        """Ask a question without an answer again, after longer and longer pauses. Returns False to give it up.

        If the clock was ahead, `sent` may be years away. So the time since the first failure counts as well.
        """
        retries, now = self.memories.of(key).retries, self.clock.monotonic()
        since = retries[question].since if question in retries else now
        age = max(self.clock.now() - sent, timedelta(seconds=now - since))
        if age >= give_up_after:
            return False
        pause = max(RETRY, RETRY_SHARE * age)
        retries[question] = Retry(now + pause.total_seconds(), since)
        return True

    def answered(self, key: Key, question: Question) -> None:
        """The question has its answer, or is given up."""
        self.memories.of(key).retries.pop(question, None)

    def not_before(self, key: Key, question: Question, at: datetime | None) -> None:
        """Do not ask the question before that time; None means never again.

        This is for an API server with an older CRD, which does not keep the time of the last answer.
        """
        now = self.clock.monotonic()
        seconds = ((at or NEVER.at) - self.clock.now()).total_seconds()
        self.memories.of(key).retries[question] = Retry(now + seconds, now)


@dataclass(frozen=True)
class Asker(ABC, Generic[T]):
    """An action: asks Qualtrics one question about each run that has ended, until it has the answer or gives up."""

    store: StatusStore
    clients: ClientFactory
    questions: Questions
    default_zone: str
    about: ClassVar[About]
    give_up_after: ClassVar[timedelta]
    failure: ClassVar[str]
    """What the log says about a question without an answer: the run, its exporter and the reason."""
    ends_turn: ClassVar[bool] = True

    async def due(self, now: Situation) -> HistoryEntry | None:
        """The first entry about which the question is due."""
        if not now.at_rest or spec_problem(now.exporter, self.default_zone):  # without a spec, there are no credentials
            return None
        time, status = self.questions.clock.now(), now.exporter.status
        questions = open_questions(status, time, self.questions.retries(now.key, status))
        return next((q.entry for q in questions if q.question.about == self.about and q.at <= time), None)

    async def do(self, now: Situation, entry: HistoryEntry) -> Exporter:
        """Ask, and write the answer into the status."""
        key, question, clock = now.key, Question.of(self.about, entry), self.questions.clock
        answer: T | ExportError
        try:
            answer = await self._answer(now.exporter, entry)
        except ExportError as error:
            log.info(self.failure, entry.id, key, error.reason)
            sent = entry.send_time or entry.completion_time
            if not self._is_final(error) and self.questions.ask_later(key, question, sent, self.give_up_after):
                return now.exporter
            answer = error
        self.questions.answered(key, question)
        self._answered(now.exporter, entry, answer, clock.now())
        after = await self.store.change(key, lambda fresh: self._changed(fresh, entry, answer, clock.now()))
        time = clock.now()
        open_again = (q for q in open_questions(after.status, time) if q.question == question)
        again = next((q for q in open_again if is_same(q.entry, entry)), None)
        if again and again.at <= time:
            # The API server did not keep the time of this answer: the question would be repeated at once.
            self.questions.not_before(key, question, self._next_time(again.entry, answer, time))
        return after

    async def _answer(self, exporter: Exporter, entry: HistoryEntry) -> T:
        """The answer of Qualtrics. Raises `ExportError`, also if the answer takes too long."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(await self.clients.qualtrics(exporter, cast("Spec", exporter.spec)), entry)
        except TimeoutError as error:
            raise Transient(Reason.REMOTE_UNAVAILABLE, "Qualtrics did not answer in time") from error

    @abstractmethod
    async def _ask(self, qualtrics: QualtricsClient, entry: HistoryEntry) -> T:
        """The answer to the question."""

    def _is_final(self, error: ExportError) -> bool:
        """Whether asking again is useless."""
        return False

    def _answered(self, exporter: Exporter, entry: HistoryEntry, answer: T | ExportError, now: datetime) -> None:
        """Called once for each answer, and when the question is given up."""
        return

    @abstractmethod
    def _changed(self, fresh: Exporter, entry: HistoryEntry, answer: T | ExportError, now: datetime) -> Status | None:
        """The status with the answer, or with the error if the question is given up."""

    @abstractmethod
    def _next_time(self, entry: HistoryEntry, answer: T | ExportError, now: datetime) -> datetime | None:
        """When to ask again after an answer now; None means never again."""


def is_same(one: HistoryEntry, other: HistoryEntry) -> bool:
    """Whether an answer about one is an answer about the other: the same run and the same distribution."""
    return (one.id, one.completion_time, one.distribution_id) == (
        other.id,
        other.completion_time,
        other.distribution_id,
    )


def _later(now: datetime, seconds: float) -> datetime:
    """That many seconds from now; the end of the calendar if there is no such time."""
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return NEVER.at
