"""What happened: every call that came in, every batch, every distribution and who was mailed.

Tests take it as the oracle, so it records effects, not what the API chooses to show.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from qualtrics_exporter.sandbox.condition import ConditionVariable

ServiceName = Literal["nexthink", "qualtrics"]


@dataclass
class RecordedCall:
    """One request. `status` is 0 while it is under way and stays 0 when the connection was dropped."""

    service: ServiceName
    operation: str
    method: str
    path: str
    at: datetime
    moment: float = 0
    """The same by the clock that nobody sets: what came first."""
    status: int = 0
    bytes: int = 0
    """Size of the request's body."""
    contacts: int | None = None
    """How many contacts an import carried."""
    dropped: bool = False


@dataclass
class Batch:
    """A transaction batch. One entry for every transaction: a person imported twice stands here twice."""

    id: str
    directory_id: str
    created: datetime
    addresses: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    """Values of the transaction field `runId`, each once, in the order of their first appearance."""

    def repeated(self) -> dict[str, int]:
        """Who stands in this batch more than once, without case."""
        return {address: n for address, n in Counter(map(str.lower, self.addresses)).items() if n > 1}


@dataclass
class SentDistribution:
    """One accepted `POST /distributions`, and what became of it.

    The lists hold one address for every mail: `recipients` went out (those in `bounced` came back), `blocked` were
    duplicates within the window, `skipped` opted out, `failed` could not be sent.
    """

    id: str
    survey_id: str
    message_id: str
    library_id: str
    subject: str
    asked: float
    """When the request came in, by the clock that nobody sets."""
    created: datetime
    """When it had its effect."""
    send_date: datetime
    request: dict[str, Any]
    """The body as it came."""
    batch_id: str | None = None
    mailing_list_id: str | None = None
    contact_id: str | None = None
    sample_id: str | None = None
    run_ids: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    bounced: list[str] = field(default_factory=list)
    opened: int = 0
    started: int = 0
    finished: int = 0
    complaints: int = 0
    mailed: bool = False
    """False only while `send_date` lies ahead."""
    links_read: int = 0
    """How often somebody asked for `/links`, which resets the dates: must stay 0."""

    @property
    def stats(self) -> dict[str, int]:
        """The numbers, in the API's own names."""
        return {
            "sent": len(self.recipients),
            "failed": len(self.failed),
            "started": self.started,
            "bounced": len(self.bounced),
            "opened": self.opened,
            "skipped": len(self.skipped),
            "finished": self.finished,
            "complaints": self.complaints,
            "blocked": len(self.blocked),
        }


@dataclass
class Recorder:
    """Everything, in the order in which it happened."""

    calls: list[RecordedCall] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)
    distributions: list[SentDistribution] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Tracebacks of the sandbox's own mistakes: must stay empty."""
    changed: ConditionVariable = field(default_factory=ConditionVariable, repr=False, compare=False)

    def mails(self) -> Counter[str]:
        """How many mails each address got, without case."""
        return Counter(address.lower() for sent in self.distributions for address in sent.recipients)

    def count(self, operation: str) -> int:
        """How many requests of that operation came in, whatever became of them."""
        return sum(call.operation == operation for call in self.calls)

    def of(self, operation: str) -> list[RecordedCall]:
        """The requests of that operation."""
        return [call for call in self.calls if call.operation == operation]

    def operations(self) -> list[str]:
        """The names of all calls, in order."""
        return [call.operation for call in self.calls]

    async def seen(self, operation: str, *, count: int = 1, timeout: float = 30) -> None:
        """Wait until so many requests of that operation have come in; TimeoutError otherwise."""
        await self.changed.wait_for(lambda: self.count(operation) >= count, timeout=timeout)

    async def answered(self, operation: str, *, count: int = 1, timeout: float = 30) -> None:
        """Wait until so many requests of that operation were answered (or dropped)."""

        def enough() -> bool:
            return sum(call.status > 0 or call.dropped for call in self.of(operation)) >= count

        await self.changed.wait_for(enough, timeout=timeout)

    def clear(self) -> None:
        """Forget the calls; what was imported and sent remains."""
        self.calls.clear()
