"""Records what happened: every request, every batch, every distribution and the people who got a mail.

Tests compare the operator's status with this record. So it has the real effects, not what the API shows of them.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from qualtrics_exporter.sandbox.condition import ConditionVariable

ServiceName = Literal["nexthink", "qualtrics"]


@dataclass
class RecordedCall:
    """One request. `status` is 0 until the reply is sent, and stays 0 if a fault closed the connection."""

    service: ServiceName
    operation: str
    method: str
    path: str
    at: datetime
    monotonic: float = 0
    """The same time by the monotonic clock, to compare what came first."""
    status: int = 0
    bytes: int = 0
    """Size of the body of the request."""
    contacts: int | None = None
    """How many contacts an import request has."""
    dropped: bool = False


@dataclass
class Batch:
    """A transaction batch, with one address for each transaction: a person who was imported twice is listed twice."""

    id: str
    directory_id: str
    created: datetime
    addresses: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    """The distinct values of the transaction field `runId`, in the order in which they were first imported."""

    def repeated(self) -> dict[str, int]:
        """The addresses that are in this batch more than once, in lower case, with their numbers."""
        return {address: n for address, n in Counter(map(str.lower, self.addresses)).items() if n > 1}


@dataclass
class SentDistribution:
    """An accepted `POST /distributions`, and its result.

    The lists have one address for each mail. `recipients`: sent, and `bounced` are those of them that came back.
    `blocked`: duplicates within the suppression window. `skipped`: people who opted out. `failed`: could not be sent.
    """

    id: str
    survey_id: str
    message_id: str
    library_id: str
    subject: str
    asked: float
    """When the request came in, by the monotonic clock."""
    created: datetime
    """When the request had its effect."""
    send_date: datetime
    request: dict[str, Any]
    """The body of the request."""
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
    """False until `send_date`."""
    links_read: int = 0
    """The number of requests for `/links`, which resets the dates (Qualtrics §3, D). Clients must not make any."""

    @property
    def stats(self) -> dict[str, int]:
        """The numbers as the API returns them."""
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
    """All events, in their order."""

    calls: list[RecordedCall] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)
    distributions: list[SentDistribution] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Tracebacks of bugs in the sandbox. Tests check that there are none."""
    changed: ConditionVariable = field(default_factory=ConditionVariable, repr=False, compare=False)
    """Notified of each request, and of its reply."""

    def mails(self) -> Counter[str]:
        """The number of mails to each address, in lower case."""
        return Counter(address.lower() for sent in self.distributions for address in sent.recipients)

    def count(self, operation: str) -> int:
        """The number of requests of the operation, with any result."""
        return sum(call.operation == operation for call in self.calls)

    def of(self, operation: str) -> list[RecordedCall]:
        """The requests of the operation."""
        return [call for call in self.calls if call.operation == operation]

    def operations(self) -> list[str]:
        """The operations of all requests, in their order."""
        return [call.operation for call in self.calls]

    async def seen(self, operation: str, *, count: int = 1, timeout: float = 30) -> None:
        """Wait until that many requests of the operation have come in. Raises TimeoutError otherwise."""
        await self.changed.wait_for(lambda: self.count(operation) >= count, timeout=timeout)

    async def answered(self, operation: str, *, count: int = 1, timeout: float = 30) -> None:
        """Wait until that many requests of the operation were answered or dropped. Raises TimeoutError otherwise."""

        def enough() -> bool:
            return sum(call.status > 0 or call.dropped for call in self.of(operation)) >= count

        await self.changed.wait_for(enough, timeout=timeout)

    def clear(self) -> None:
        """Delete the record of requests. Batches and distributions stay."""
        self.calls.clear()
