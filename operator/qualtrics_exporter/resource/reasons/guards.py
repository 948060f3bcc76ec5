"""Reasons of slots, requests and audiences that are not run."""

from qualtrics_exporter.resource.reasons.definition import (
    RUNS,
    RUNS_AND_TESTS,
    SKIPPED,
    SKIPPED_TESTS,
    Definition,
    Kind,
)

RECIPIENT_LIMIT_EXCEEDED = Definition(
    "RecipientLimitExceeded", Kind.PERMANENT, RUNS_AND_TESTS,
    "The query returned more people than spec.maxRecipients allows. Nobody was e-mailed.",
    "Check the query. If it is correct, raise spec.maxRecipients and request a run.", False,
)  # fmt: skip
TOO_FEW_RECIPIENTS = Definition(
    "TooFewRecipients", Kind.PERMANENT, RUNS_AND_TESTS,
    "The query returned fewer people than spec.minRecipients requires. Nobody was e-mailed.",
    "Check in Nexthink that the query returns the people you expect, and that the connector that fills their "
    "addresses works. Then request a run. If the number is correct, lower spec.minRecipients.", False,
)  # fmt: skip
AUDIENCE_SHRANK = Definition(
    "AudienceShrank", Kind.WARNING, RUNS,
    "The query returned less than a tenth of the people of the previous run.",
    "Check in Nexthink that the query returns the people you expect, and that the connector that fills their "
    "addresses works. Set spec.minRecipients to hold such runs, or to 0 to turn this warning off.",
)  # fmt: skip
DEADLINE_EXCEEDED = Definition(
    "DeadlineExceeded", Kind.WARNING, RUNS,
    "The slot could not start in time: no operator was running for longer than "
    "spec.schedule.startingDeadlineSeconds after it was due, or the clock was set forward by more than that.",
    "Request a run if the survey should still go out. Find out why no operator was running.",
)  # fmt: skip
SLOT_OVERTAKEN = Definition(
    "SlotOvertaken", Kind.WARNING, RUNS,
    "The slot did not start before the next one was due, although an operator was running.",
    "Look at the metrics qualtrics_exporter_due_exporters and qualtrics_exporter_schedule_lag_seconds. If they are "
    "high, spread the schedules over more time or raise --max-concurrent-runs. Request a run if the survey should "
    "still go out.",
)  # fmt: skip
SLOT_ALREADY_RAN = Definition(
    "SlotAlreadyRan", Kind.WARNING, SKIPPED,
    "The slot of this local date or hour already had a run, before the time zone of the schedule changed.",
    "Request a run if the survey should go out again.",
)  # fmt: skip
CLOCK_STEPPED = Definition(
    "ClockStepped", Kind.WARNING, SKIPPED,
    "The operator's clock jumped, and it is no longer known whether this slot had a run.",
    "Check the clock of the node. Request a run if the survey should go out.",
)  # fmt: skip
STATUS_NOT_UNDERSTOOD = Definition(
    "StatusNotUnderstood", Kind.WARNING, SKIPPED_TESTS,
    "A part of the status that records past runs is invalid. It is unknown whether this slot or request already had "
    "a run.",
    "Find out what else writes the status. Request a run or test with a new token if the survey should go out.",
)  # fmt: skip
ALREADY_SENT = Definition(
    "AlreadySent", Kind.WARNING, SKIPPED_TESTS,
    "The run with this token already sent its survey, or may have sent it. Its receipt is missing in the status.",
    "Request a run or test with a new token if the survey should go out again.",
)  # fmt: skip
SCHEDULE_CHANGED = Definition(
    "ScheduleChanged", Kind.WARNING, RUNS,
    "The schedule was changed before the slot that was due could start.",
    "Request a run if the survey should still go out.",
)  # fmt: skip
RUN_ACTIVE = Definition(
    "RunActive", Kind.WARNING, SKIPPED,
    "Another run of this exporter was still active.",
    "If it happens once, no action is needed. If it happens often, use a longer interval.",
)  # fmt: skip
