"""`status`: the fields that the operator writes. After a crash, the operator resumes a run from them.

- `status.py`: `Status`, all of it.
- `active_run.py`: `status.activeRun`, the journal of the run in progress.
- `history.py`: `status.history` and `status.lastTest`.
- `receipts.py`: the slots and requests that must not run again.
- `recipients.py`: counts of recipients, and the groups that were surveyed.
- `conditions.py`: `status.conditions` and `status.warnings`.
- `credentials_expiry.py`: `status.credentialsExpiry`.
- `followed_delivery.py`: `status.followedDeliveries`.
- `heavy_query.py`: `status.heavyQuery`.
- `values.py`: types of single values, such as times.
"""

from qualtrics_exporter.resource.status.active_run import CERTAIN_REFUSALS, ActiveRun, Step
from qualtrics_exporter.resource.status.conditions import Condition, StatusWarning
from qualtrics_exporter.resource.status.credentials_expiry import CredentialsExpiry, parse_expiry
from qualtrics_exporter.resource.status.followed_delivery import FOLLOWED_DELIVERIES, FollowedDelivery
from qualtrics_exporter.resource.status.heavy_query import HeavyQuery
from qualtrics_exporter.resource.status.history import Delivery, HistoryEntry, Result, entry_of
from qualtrics_exporter.resource.status.receipts import (
    CLAIMED_SLOTS,
    HANDLED_REQUESTS,
    HANDLED_TOKENS,
    SENT_RUNS,
    ClaimedSlot,
    Settlement,
)
from qualtrics_exporter.resource.status.recipients import RecipientCounts, SampledGroup
from qualtrics_exporter.resource.status.status import CONDITIONS, HISTORY_LENGTH, SAMPLED_GROUPS, WARNINGS, Status
from qualtrics_exporter.resource.status.values import MAX_COUNT, Trigger, timestamp

__all__ = [
    "CERTAIN_REFUSALS",
    "CLAIMED_SLOTS",
    "CONDITIONS",
    "FOLLOWED_DELIVERIES",
    "HANDLED_REQUESTS",
    "HANDLED_TOKENS",
    "HISTORY_LENGTH",
    "MAX_COUNT",
    "SAMPLED_GROUPS",
    "SENT_RUNS",
    "WARNINGS",
    "ActiveRun",
    "ClaimedSlot",
    "Condition",
    "CredentialsExpiry",
    "Delivery",
    "FollowedDelivery",
    "HeavyQuery",
    "HistoryEntry",
    "RecipientCounts",
    "Result",
    "SampledGroup",
    "Settlement",
    "Status",
    "StatusWarning",
    "Step",
    "Trigger",
    "entry_of",
    "parse_expiry",
    "timestamp",
]
