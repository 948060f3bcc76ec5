"""Questions to Qualtrics about runs that have ended: which one is due, and when to ask it again without an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar, cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.memory import Memories, Retry
from qualtrics_exporter.controller.plan.wake import NEVER, About, Question, open_questions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry, Status

T = TypeVar("T")

RETRY = timedelta(minutes=5)
RETRY_SHARE = 0.1
"""A question without an answer is asked again after this part of the time since the send, but not before `RETRY`."""
ANSWER_SECONDS = 300.0


class Questions:
    """Asks Qualtrics, and remembers which questions had no answer."""

    def __init__(self, clients: ClientFactory, memories: Memories, clock: Clock) -> None:
        self._clients = clients
        self._memories = memories
        self.clock = clock

    def due(self, key: Key, status: Status, about: About) -> HistoryEntry | None:
        """The first entry about which that question is due."""
        now = self.clock.now()
        questions = open_questions(status, now, self.retries(key, status))
        return next((q.entry for q in questions if q.question.about == about and q.at <= now), None)

    def retries(self, key: Key, status: Status) -> Mapping[Question, datetime]:
        """Until when questions are not asked again. Forgets the questions about entries that are gone."""
        memory = self._memories.of(key)
        if not memory.retries:
            return {}
        entries = {entry.id for entry in (*(status.history or []), status.last_test) if entry}
        memory.retries = {question: retry for question, retry in memory.retries.items() if question.run in entries}
        now, monotonic = self.clock.now(), self.clock.monotonic()
        return {question: _later(now, retry.after - monotonic) for question, retry in memory.retries.items()}

    async def ask(self, exporter: Exporter, ask: Callable[[QualtricsClient], Awaitable[T]]) -> T:
        """The answer of Qualtrics. Raises `ExportError`, also if the answer takes too long."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await ask(await self._clients.qualtrics(exporter, cast("Spec", exporter.spec)))
        except TimeoutError as error:
            raise Transient(Reason.REMOTE_UNAVAILABLE, "Qualtrics did not answer in time") from error

    def ask_later(self, key: Key, question: Question, sent: datetime, give_up_after: timedelta) -> bool:
        """Ask a question without an answer again, after longer and longer pauses. Returns False to give it up.

        If the clock was ahead, `sent` may be years away. So the time since the first failure counts as well.
        """
        retries, now = self._memories.of(key).retries, self.clock.monotonic()
        since = retries[question].since if question in retries else now
        age = max(self.clock.now() - sent, timedelta(seconds=now - since))
        if age >= give_up_after:
            return False
        pause = max(RETRY, RETRY_SHARE * age)
        retries[question] = Retry(now + pause.total_seconds(), since)
        return True

    def answered(self, key: Key, question: Question) -> None:
        """The question has its answer, or is given up."""
        self._memories.of(key).retries.pop(question, None)

    def not_before(self, key: Key, question: Question, at: datetime | None) -> None:
        """Do not ask the question before that time; None means never again.

        This is for an API server with an older CRD, which does not keep the time of the last answer.
        """
        now = self.clock.monotonic()
        seconds = ((at or NEVER.at) - self.clock.now()).total_seconds()
        self._memories.of(key).retries[question] = Retry(now + seconds, now)


def _later(now: datetime, seconds: float) -> datetime:
    """That many seconds from now; the end of the calendar if there is no such time."""
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return NEVER.at
