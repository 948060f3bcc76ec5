"""What `status` remembers so that nothing runs twice: slots, and requests with their resolution."""

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Message, ReasonName, Time

HANDLED_REQUESTS = 20
HANDLED_TOKENS = 5000
CLAIMED_SLOTS = 16
SENT_RUNS = 100

RECEIPTS = (
    "Newest first. Each entry is the first ten characters of the id of a request. A token with a receipt has no effect "
    "again. If the annotation has such a token, and its receipt is not among the newest 100, it moves to the front."
)


SHOWN_TOKENS = (
    "A time, or an identifier of at most 63 letters, digits and -_.:+, is shown as it is. For any other value, its "
    "digest is shown: sha256: and the SHA-256 hash of the value in hexadecimal."
)


class Settlement(Model):
    """The result of the annotation settle-run, with which a user reports the outcome of a run that ended Unknown."""

    handled_time: Time = Field(description="When the operator handled the annotation.")
    reason: ReasonName = Field(
        description="SettledAsSent, SettledAsNotSent or SettlementRefused. docs/reasons.md explains each."
    )
    message: Message = Field(description="The run, or why the annotation was rejected, with the next step.")


class ClaimedSlot(Model):
    """A slot that had a run."""

    due_time: Time = Field(description="When the slot was due.")
    identity: str = Field(
        max_length=64,
        description="The identity of the slot: its start in UTC for Hourly schedules, its local date for Daily and "
        "Weekly.",
    )
