"""Mutants: known bugs that tests put into the running code, to show that the attacks find them.

Each mutant is a patch of the running code. The first three break the rules behind the first promise: the journal is
written before its effect, a send is requested once, and `Sending` is written after a fresh read. The last two of
`GENERAL` break the other promises.
"""

import tempfile
from collections.abc import Callable, Iterator
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
from qualtrics_exporter.qualtrics import chunks
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Status
from qualtrics_exporter.schedule import Slot

Mutant = Literal[
    "the journal is written after the send",
    "the send is repeated",
    "the fresh read before the send is missing",
    "the end of a run is not recorded",
    "a temporary file keeps addresses",
    "receipts are forgotten after 20 more",
    "a list of 20 receipts is the only memory of requests",
    "claimed slots are not recorded",
    "only the history remembers slots",
    "waiting in the queue counts as lateness",
]
ALL = get_args(Mutant)
JOURNAL_AFTER_SEND, REPEATED_SEND, NO_FRESH_READ, NO_ENTRY, LEAKED_ADDRESSES = GENERAL = ALL[:5]
"""Mutants that every attack on a run must catch."""
FEW_RECEIPTS, SHARED_RECEIPTS, UNCLAIMED_SLOTS, HISTORY_ONLY, QUEUE_IS_LATENESS = ALL[5:]
"""Mutants for the attacks with tokens, clock steps and queues."""


@contextmanager
def applied(name: str | None) -> Iterator[None]:
    """Apply this mutant as long as the block lasts. With None, the code stays as it is."""
    if name is None:
        yield
        return
    with _PATCHES[name]():
        yield


@contextmanager
def _journal_after_send() -> Iterator[None]:
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
def _repeated_send() -> Iterator[None]:
    look_up = steps.sending

    async def again(context: RunContext) -> Ended | None:
        return await (steps._send(context) if (context.run.send_attempts or 0) < 2 else look_up(context))

    with mock.patch.dict(steps.STEPS, {"Sending": again}):
        yield


@contextmanager
def _no_fresh_read() -> Iterator[None]:
    async def write(journal: StatusJournal, run: ActiveRun) -> None:
        cluster, key = journal.store.cluster, journal.key
        try:
            current = Exporter.from_object(await cluster.get(key.namespace, key.name))
        except NotFound:
            return
        status = current.status.model_copy(update={"active_run": run})
        await cluster.replace_status(key.namespace, key.name, current.uid, current.resource_version, _dump(status))

    with mock.patch.object(StatusJournal, "write_sending", write):
        yield


@contextmanager
def _no_entry() -> Iterator[None]:
    def finished(exporter: Exporter, *_: Any) -> Status:
        return exporter.status.model_copy(update={"active_run": None})

    with mock.patch.object(run_action, "finished", finished):
        yield


@contextmanager
def _leaked_addresses() -> Iterator[None]:
    body, file = chunks.body, Path(tempfile.gettempdir(), "recipients.txt")

    def leaking(batch_id: str, run_id: str, addresses: list[str]) -> bytes:
        file.write_text("\n".join(addresses))
        return body(batch_id, run_id, addresses)

    try:
        with mock.patch.object(chunks, "body", leaking):
            yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def _few_receipts() -> Iterator[None]:
    """All kinds of requests share a list of 20 receipts, and the receipt of the token in the annotation is not kept."""

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
    """As `_few_receipts`, and the ids of runs that sent are not kept either."""
    with _few_receipts(), mock.patch.object(next_status, "_sent", return_value=set()):
        yield


@contextmanager
def _unclaimed_slots() -> Iterator[None]:
    with mock.patch.object(slots, "claimed", lambda status, _: status):
        yield


@contextmanager
def _history_only() -> Iterator[None]:
    """A slot runs unless it is in the history, from which newer slots displace it."""

    def not_again(exporter: Exporter, status: Status, slot: Slot) -> Reason | None:
        run_id = slot_run_id(exporter.uid, slot.identity)
        ran = any(entry.id == run_id for entry in status.history or [])
        return Reason.SLOT_ALREADY_RAN if ran else None

    with _unclaimed_slots(), mock.patch.object(slots, "_not_again", not_again):
        yield


@contextmanager
def _queue_is_lateness() -> Iterator[None]:
    with mock.patch.object(slots.Context, "lateness", lambda context, due: context.now - due):
        yield


_PATCHES = {
    JOURNAL_AFTER_SEND: _journal_after_send,
    REPEATED_SEND: _repeated_send,
    NO_FRESH_READ: _no_fresh_read,
    NO_ENTRY: _no_entry,
    LEAKED_ADDRESSES: _leaked_addresses,
    FEW_RECEIPTS: _few_receipts,
    SHARED_RECEIPTS: _shared_receipts,
    UNCLAIMED_SLOTS: _unclaimed_slots,
    HISTORY_ONLY: _history_only,
    QUEUE_IS_LATENESS: _queue_is_lateness,
}
