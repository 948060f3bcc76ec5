"""Where the console gets exporters from, and what it writes: an API server, or the journal of a local demo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from qualtrics_exporter.cli.console.snapshot import Snapshot

Object = Mapping[str, Any]
"""An exporter as the API server returns it."""


@dataclass(frozen=True, slots=True)
class Event:
    """An Event of an exporter."""

    time: datetime | None
    type: str
    reason: str
    message: str


class Source(Protocol):
    """The asynchronous methods raise `qex.kubectl.Failed`, with a sentence for the user."""

    @property
    def where(self) -> str:
        """The cluster, as the user knows it."""

    @property
    def outbox(self) -> str:
        """The address of the page with all mails, if this is a demo; otherwise empty."""

    @property
    def snapshot(self) -> Snapshot:
        """The exporters, which the source keeps up to date."""

    async def get(self, namespace: str, name: str) -> Object:
        """The exporter as it is now."""

    async def events(self, exporter: Object) -> Sequence[Event]:
        """Its Events, newest first."""

    async def patch(self, exporter: Object, change: Object) -> None:
        """Change the exporter as it was read, with a merge patch. Fails with the cause Conflict if it has changed."""

    async def refusal(self, namespace: str) -> str | None:
        """Why the user may not change exporters in this namespace; None if the user may."""

    def unavailable(self, action: str) -> str | None:
        """Why the source does not have this action at all; None if it does."""
