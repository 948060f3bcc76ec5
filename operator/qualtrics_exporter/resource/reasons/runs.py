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
    "This was a dry run: the people were counted, nothing was created in Qualtrics, and nobody was e-mailed.",
)  # fmt: skip
TEST_PASSED = Definition("TestPassed", Kind.NOTE, TESTS, "The test found no problem. It e-mailed nobody.")
TEST_DELIVERED = Definition(
    "TestDelivered", Kind.NOTE, TESTS,
    "The test was delivered to at most 20 people of the query.",
)  # fmt: skip
SEND_REFUSED = Definition(
    "SendRefused", Kind.PERMANENT, RUNS_AND_TESTS,
    "Qualtrics rejected the distribution. Nothing was sent.",
    "Check the remote code in the message. A test (annotation test-requested-at) checks every id.",
)  # fmt: skip
IMPORT_INCOMPLETE = Definition(
    "ImportIncomplete", Kind.WARNING, RUNS,
    "Qualtrics did not import everybody into the batch.",
    "Compare accepted and imported in the history entry. If nobody was imported, the id of the directory or of the "
    "mailing list is wrong.",
)  # fmt: skip
RUN_DEADLINE_EXCEEDED = Definition(
    "RunDeadlineExceeded", Kind.TRANSIENT, RUNS_AND_TESTS,
    "The run did not reach its send before its deadline, so nobody was e-mailed.",
    "Check the operator's log to see which step took too long. Request a run if the survey should still go out.",
)  # fmt: skip
ATTEMPTS_EXHAUSTED = Definition(
    "AttemptsExhausted", Kind.PERMANENT, RUNS_AND_TESTS,
    "The run was interrupted too many times before its send, so nobody was e-mailed.",
    "Find out what interrupts it, such as an operator that keeps restarting or two tools that overwrite each other's "
    "spec. Then request a run.", False,
)  # fmt: skip
INTERRUPTED = Definition(
    "Interrupted", Kind.WARNING, TESTS,
    "The operator stopped before the test was sent. Tests are not resumed.",
    "Request the test again with a new token.",
)  # fmt: skip
DELIVERY_UNKNOWN = Definition(
    "DeliveryUnknown", Kind.UNKNOWN, RUNS_AND_TESTS,
    "It is unknown whether Qualtrics accepted the send.",
    "In Qualtrics, look at the survey's distributions at the send time: is there one to this number of people? "
    "Report the result with the annotation qualtrics-exporter.dev/settle-run: <run id>=Sent or <run id>=NotSent. "
    "Only if there is none, request a run. The next slot is not delayed.",
)  # fmt: skip
FOUND_LATER = Definition(
    "FoundLater", Kind.NOTE, RUNS_AND_TESTS,
    "The outcome was unknown at first; Qualtrics' list of distributions showed later that the survey was sent.",
)  # fmt: skip
SETTLED_AS_SENT = Definition(
    "SettledAsSent", Kind.NOTE, SETTLED,
    "The outcome was unknown. A user reported that the survey was sent.",
)  # fmt: skip
SETTLED_AS_NOT_SENT = Definition(
    "SettledAsNotSent", Kind.WARNING, SETTLED,
    "The outcome was unknown. A user reported that the survey was not sent.",
    "Request a run if the survey should still go out.",
)  # fmt: skip
SETTLEMENT_REFUSED = Definition(
    "SettlementRefused", Kind.WARNING, (Place.LAST_SETTLEMENT, Place.EVENT),
    "The annotation qualtrics-exporter.dev/settle-run was rejected. No run was changed.",
    "Set it to <run id>=Sent, <run id>=NotSent or <run id>=EMD_…, with the id of an entry of status.history, or of "
    "status.lastTest, whose result is Unknown or was reported by a user before.",
)  # fmt: skip
DUPLICATE_SUPPRESSED = Definition(
    "DuplicateSuppressed", Kind.WARNING, RUNS,
    "Qualtrics blocked all or nearly all e-mails, because the same e-mail was sent to these people before.",
    "Send less often, or make the messages differ, for example with a date piped into the subject.",
)  # fmt: skip
PARTLY_DELIVERED = Definition(
    "PartlyDelivered", Kind.WARNING, RUNS,
    "Qualtrics did not deliver to everybody.",
    "Check delivery in the history entry: failed, bounced, blocked and skipped.",
)  # fmt: skip
DISTRIBUTION_NOT_FOUND = Definition(
    "DistributionNotFound", Kind.WARNING, (Place.HISTORY, Place.EVENT),
    "Qualtrics does not have this distribution for the run. Its delivery figures are not read again.",
    "Check the distributions of the survey in Qualtrics. If a user reported the id, it may be wrong: report the right "
    "one with qualtrics-exporter.dev/settle-run. Otherwise, somebody may have deleted the distribution, or the "
    "credentials can no longer see it.",
)  # fmt: skip
