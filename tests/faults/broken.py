"""Builds that are broken on purpose: an attack that finds nothing in one of these is no attack.

Each is a patch of the running code, made by tests only. The first three break the rules that hold the first promise:
the journal is written before its effect, a send is asked for once, and `Sending` is written by a fresh read. The last
two break the other promises.
"""

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

from qualtrics_exporter.controller.actions import run as run_action
from qualtrics_exporter.controller.kube.errors import NotFound
from qualtrics_exporter.controller.plan import next_status, requests, slots
from qualtrics_exporter.controller.plan.requests import Kind, Token
from qualtrics_exporter.controller.status.journal import StatusJournal
from qualtrics_exporter.controller.status.store import _dump
from qualtrics_exporter.export import steps
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.run_ids import slot_run_id
from qualtrics_exporter.qualtrics.client import Imported, QualtricsClient
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Status
from qualtrics_exporter.schedule import Slot

Build = Literal[
    "the journal is written after the send",
    "the send is repeated",
    "the fresh read before the send is left out",
    "the end of a run is not written down",
    "an address is left in a temporary file",
    "receipts are forgotten after 20 others",
    "one list of 20 receipts is all that is known of requests",
    "claimed slots are not recorded",
    "a slot is remembered by the history alone",
    "waiting for a turn counts as lateness",
]
EVERY = get_args(Build)
WRITTEN_LATE, SENT_AGAIN, STALE, WITHOUT_ENTRY, LEAKY = BUILDS = EVERY[:5]
"""Builds that break what every attack looks at."""
FORGETFUL, SHARED_RECEIPTS, UNCLAIMED, HISTORY_ONLY, IMPATIENT = EVERY[5:]
"""Builds that break what tokens, clock steps and queues are about."""


@contextmanager
def build(name: str | None) -> Iterator[None]:
    """The code, broken like that as long as the block lasts; None leaves it whole."""
    if name is None:
        yield
        return
    with _PATCHES[name]():
        yield


@contextmanager
def _written_late() -> Iterator[None]:
    pending: list[Callable[[], Any]] = []
    write, send = RunContext.write_sending, QualtricsClient.send

    async def later(context: RunContext, **changes: Any) -> None:
        pending.append(lambda: write(context, **changes))
        context.run = context.run.model_copy(update={"step": "Sending", **changes})

    async def sent(qualtrics: QualtricsClient, distribution: Distribution) -> str:
        try:
            return await send(qualtrics, distribution)
        finally:
            while pending:
                await pending.pop()()

    with mock.patch.object(RunContext, "write_sending", later), mock.patch.object(QualtricsClient, "send", sent):
        yield


@contextmanager
def _sent_again() -> Iterator[None]:
    look_up = steps.sending

    async def again(context: RunContext) -> Ended | None:
        return await (steps._send(context) if (context.run.send_attempts or 0) < 2 else look_up(context))

    with mock.patch.dict(steps.STEPS, {"Sending": again}):
        yield


@contextmanager
def _stale() -> Iterator[None]:
    async def write(journal: StatusJournal, run: ActiveRun) -> None:
        cluster, key = journal.store.cluster, journal.key
        try:
            there = Exporter.from_object(await cluster.get(key.namespace, key.name))
        except NotFound:
            return
        status = there.status.model_copy(update={"active_run": run})
        await cluster.replace_status(key.namespace, key.name, there.uid, there.resource_version, _dump(status))

    with mock.patch.object(StatusJournal, "write_sending", write):
        yield


@contextmanager
def _without_entry() -> Iterator[None]:
    def finished(exporter: Exporter, *_: Any) -> Status:
        return exporter.status.model_copy(update={"active_run": None})

    with mock.patch.object(run_action, "finished", finished):
        yield


@contextmanager
def _leaky() -> Iterator[None]:
    import_contacts, left = QualtricsClient.import_contacts, Path(tempfile.gettempdir(), "recipients.txt")

    def leaving(qualtrics: QualtricsClient, *args: Any) -> Awaitable[Imported]:
        left.write_text("\n".join(args[-1]))
        return import_contacts(qualtrics, *args)

    try:
        with mock.patch.object(QualtricsClient, "import_contacts", leaving):
            yield
    finally:
        left.unlink(missing_ok=True)


@contextmanager
def _forgetful() -> Iterator[None]:
    """All kinds of requests share a list of 20 receipts, and the token in the annotation is not kept."""

    def with_receipt(kind: Kind, exporter: Exporter, status: Status, token: Token) -> Status:
        handled = [kind.id_of(exporter.uid, token.identity), *(status.handled_requests or [])][:20]
        return status.model_copy(update={kind.last: token.shown, "handled_requests": handled})

    with ExitStack() as stack:
        for module in (requests, next_status):
            stack.enter_context(mock.patch.object(module, "with_receipt", with_receipt))
        stack.enter_context(mock.patch.object(next_status, "with_current_receipts", lambda _, status: status))
        yield


@contextmanager
def _shared_receipts() -> Iterator[None]:
    """The same, and nothing else is remembered of a run that was sent."""
    with _forgetful(), mock.patch.object(next_status, "_sent", return_value=set()):
        yield


@contextmanager
def _unclaimed() -> Iterator[None]:
    with mock.patch.object(slots, "claimed", lambda status, _: status):
        yield


@contextmanager
def _history_only() -> Iterator[None]:
    """A slot that is due runs unless it is in the history, which other slots displace."""

    def not_again(exporter: Exporter, status: Status, slot: Slot) -> Reason | None:
        run_id = slot_run_id(exporter.uid, slot.identity)
        ran = any(entry.id == run_id for entry in status.history or [])
        return Reason.SLOT_ALREADY_RAN if ran else None

    with _unclaimed(), mock.patch.object(slots, "_not_again", not_again):
        yield


@contextmanager
def _impatient() -> Iterator[None]:
    with mock.patch.object(slots.Context, "lateness", lambda context, due: context.now - due):
        yield


_PATCHES = {
    WRITTEN_LATE: _written_late,
    SENT_AGAIN: _sent_again,
    STALE: _stale,
    WITHOUT_ENTRY: _without_entry,
    LEAKY: _leaky,
    FORGETFUL: _forgetful,
    SHARED_RECEIPTS: _shared_receipts,
    UNCLAIMED: _unclaimed,
    HISTORY_ONLY: _history_only,
    IMPATIENT: _impatient,
}
