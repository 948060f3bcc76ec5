"""Reasons of runs and tests, from their send to the delivery."""

from qualtrics_exporter.resource.reasons.definition import RUNS, RUNS_AND_TESTS, SETTLED, TESTS, Definition, Kind, Place

SUCCEEDED = Definition(
    "Succeeded", Kind.NOTE, RUNS,
    "The survey was sent to the people of the query, as one distribution.",
)  # fmt: skip
NO_RECIPIENTS = Definition(
    "NoRecipients", Kind.NOTE, RUNS_AND_TESTS,
    "There is nobody to survey: the query returned nobody, or spec.sample left out everybody. Nothing was created "
    "in Qualtrics.",
)  # fmt: skip
DRY_RUN = Definition(
    "DryRun", Kind.NOTE, RUNS_AND_TESTS,
    "It was a dry run: the people were counted, nothing was created in Qualtrics, and nobody was e-mailed.",
)  # fmt: skip
TEST_PASSED = Definition("TestPassed", Kind.NOTE, TESTS, "The test found nothing wrong; it mailed nobody.")
TEST_DELIVERED = Definition(
    "TestDelivered", Kind.NOTE, TESTS,
    "The test was delivered to at most 20 people of the query.",
)  # fmt: skip
SEND_REFUSED = Definition(
    "SendRefused", Kind.PERMANENT, RUNS_AND_TESTS,
    "Qualtrics refused the distribution: nothing was sent.",
    "Read the remote code in the message; `test-requested-at` checks every id.",
)  # fmt: skip
IMPORT_INCOMPLETE = Definition(
    "ImportIncomplete", Kind.WARNING, RUNS,
    "Qualtrics did not take everybody into the batch.",
    "Compare accepted and imported in the history entry; nobody in means a wrong directory or list id.",
)  # fmt: skip
RUN_DEADLINE_EXCEEDED = Definition(
    "RunDeadlineExceeded", Kind.TRANSIENT, RUNS_AND_TESTS,
    "The run did not reach its send before its deadline, so nobody was mailed.",
    "Check the operator's log to see which step took too long. Request a run if the survey should still go out.",
)  # fmt: skip
ATTEMPTS_EXHAUSTED = Definition(
    "AttemptsExhausted", Kind.PERMANENT, RUNS_AND_TESTS,
    "The run was interrupted too many times before its send, so nobody was mailed.",
    "Find out what interrupts it, such as an operator that keeps restarting or two tools that overwrite each "
    "other's spec. Then request a run.", False,
)  # fmt: skip
INTERRUPTED = Definition(
    "Interrupted", Kind.WARNING, TESTS,
    "The operator stopped before the test was sent; it is not resumed.",
    "Request the test again with a new token.",
)  # fmt: skip
DELIVERY_UNKNOWN = Definition(
    "DeliveryUnknown", Kind.UNKNOWN, RUNS_AND_TESTS,
    "Whether Qualtrics took the send cannot be told.",
    "Look at the survey's distributions in Qualtrics at the send time: is there one to that many people? Then "
    "settle the run by the annotation qualtrics-exporter.dev/settle-run: <run id>=Sent or <run id>=NotSent. Only "
    "if none is there, request a run. The next slot is not held up.",
)  # fmt: skip
FOUND_LATER = Definition(
    "FoundLater", Kind.NOTE, RUNS_AND_TESTS,
    "The outcome was unknown at first; Qualtrics' list of distributions showed later that the survey was sent.",
)  # fmt: skip
SETTLED_AS_SENT = Definition(
    "SettledAsSent", Kind.NOTE, SETTLED,
    "The outcome was unknown; a person says that the survey was sent.",
)  # fmt: skip
SETTLED_AS_NOT_SENT = Definition(
    "SettledAsNotSent", Kind.WARNING, SETTLED,
    "The outcome was unknown; a person says that the survey was not sent.",
    "Request a run if the survey should still go out.",
)  # fmt: skip
SETTLEMENT_REFUSED = Definition(
    "SettlementRefused", Kind.WARNING, (Place.LAST_SETTLEMENT, Place.EVENT),
    "The annotation qualtrics-exporter.dev/settle-run could not be acted on; no run was changed.",
    "Set it to <run id>=Sent, <run id>=NotSent or <run id>=EMD_…, with the id of an entry of status.history, or of "
    "status.lastTest, whose result is Unknown.",
)  # fmt: skip
DUPLICATE_SUPPRESSED = Definition(
    "DuplicateSuppressed", Kind.WARNING, RUNS,
    "Qualtrics blocked (nearly) everyone: the same mail went to them before.",
    "Send less often, or let the message differ, for example by a date piped into the subject.",
)  # fmt: skip
PARTLY_DELIVERED = Definition(
    "PartlyDelivered", Kind.WARNING, RUNS,
    "Qualtrics did not deliver to everybody.",
    "Look at delivery in the history entry: failed, bounced, blocked and skipped.",
)  # fmt: skip
DISTRIBUTION_NOT_FOUND = Definition(
    "DistributionNotFound", Kind.WARNING, (Place.HISTORY, Place.EVENT),
    "Qualtrics does not know the distribution. Its delivery figures are not read again.",
    "Look at the distributions of the survey in Qualtrics. Somebody may have deleted this one, or the credentials "
    "cannot see it any more.",
)  # fmt: skip
