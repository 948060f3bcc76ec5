"""What a reason consists of, and the places where users meet it."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The kind of a reason: what a caller can conclude from it."""

    NOTE = "note"  # describes a state without a problem
    WARNING = "warning"  # something was done, but not as a user expects
    TRANSIENT = "transient"  # may be temporary: worth a retry
    PERMANENT = "permanent"  # stays until somebody changes something
    UNKNOWN = "unknown"  # an effect may or may not have happened: check, do not repeat


class Place(Enum):
    """Where a reason appears. The value is its name in `docs/reasons.md`."""

    READY = "`Ready`"
    NEXTHINK_READY = "`NexthinkReady`"
    QUALTRICS_READY = "`QualtricsReady`"
    QUERY_IN_SYNC = "`QueryInSync`"
    LAST_RUN_SUCCEEDED = "`LastRunSucceeded`"
    STALLED = "`Stalled`"
    RECONCILING = "`Reconciling`"
    HISTORY = "`status.history`"
    LAST_TEST = "`status.lastTest`"
    LAST_SETTLEMENT = "`status.lastSettlement`"
    WARNINGS = "`status.warnings`"
    EVENT = "an Event"
    VALIDATE = "`qualtrics-exporter validate`"

    @property
    def is_condition(self) -> bool:
        """Whether the place is one of `status.conditions`."""
        return self not in _NO_CONDITIONS


_NO_CONDITIONS = frozenset(
    {Place.HISTORY, Place.LAST_TEST, Place.LAST_SETTLEMENT, Place.WARNINGS, Place.EVENT, Place.VALIDATE}
)


CHECKS = (Place.READY, Place.NEXTHINK_READY, Place.QUALTRICS_READY)
FIRST_CHECK = (*CHECKS, Place.RECONCILING)
FIRST_RUN = (Place.QUERY_IN_SYNC, Place.LAST_RUN_SUCCEEDED)
QUERY = (Place.QUERY_IN_SYNC,)
EVENTS = (Place.EVENT,)
TARGETS = (Place.READY, Place.WARNINGS, Place.EVENT)
SKIPPED = (Place.HISTORY, Place.EVENT)
SKIPPED_TESTS = (Place.HISTORY, Place.LAST_TEST, Place.EVENT)
SWITCH = (Place.READY, *SKIPPED)
RUNS = (Place.LAST_RUN_SUCCEEDED, Place.HISTORY, Place.EVENT)
TESTS = (Place.LAST_TEST, Place.EVENT)
RUNS_AND_TESTS = (Place.LAST_RUN_SUCCEEDED, Place.HISTORY, *TESTS)
DRIFT = (*QUERY, *RUNS_AND_TESTS)
COMPARISON = (Place.READY, *DRIFT, Place.WARNINGS, Place.VALIDATE)
SETTLED = (*RUNS_AND_TESTS, Place.LAST_SETTLEMENT)
NEXTHINK = (Place.READY, Place.NEXTHINK_READY, *RUNS_AND_TESTS)
QUALTRICS = (Place.READY, Place.QUALTRICS_READY, *RUNS_AND_TESTS)
SIDES = (*CHECKS, *RUNS_AND_TESTS)
MANIFEST = (*SIDES, Place.VALIDATE)
TEXT = (*NEXTHINK, Place.WARNINGS, Place.VALIDATE)
TEXT_WARNING = (Place.READY, Place.WARNINGS, Place.EVENT, Place.VALIDATE)


@dataclass(frozen=True, slots=True)
class Definition:
    """A reason with its explanation."""

    name: str
    kind: Kind
    places: tuple[Place, ...]
    meaning: str
    next_step: str = ""
    stalls: bool | None = None
    """See `Reason.stalls`. Without a value, a permanent error stalls."""
