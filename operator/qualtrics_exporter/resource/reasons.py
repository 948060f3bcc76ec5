"""Every reason that a user can meet, once: its name, what kind of thing it is, what it means and what to do.

Conditions, Events, history, metrics and `docs/reasons.md` take it from here. A reason is added together with the
code that produces it: a test lists those that nothing can produce.
"""

from enum import Enum, StrEnum
from typing import Self


class Kind(Enum):
    """What a caller may conclude from a reason."""

    NOTE = "note"  # says how things are; nothing is wrong
    WARNING = "warning"  # something was done, but not as a user would expect
    TRANSIENT = "transient"  # may go away by itself: worth another try
    PERMANENT = "permanent"  # stays until somebody changes something
    UNKNOWN = "unknown"  # an effect may or may not have happened: look, do not repeat


class Place(Enum):
    """Where a user meets a reason; the value is the place as `docs/reasons.md` calls it."""

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
        """Whether it is one of `status.conditions`."""
        return self not in _NO_CONDITIONS


_NO_CONDITIONS = frozenset(
    {Place.HISTORY, Place.LAST_TEST, Place.LAST_SETTLEMENT, Place.WARNINGS, Place.EVENT, Place.VALIDATE}
)


_CHECKS = (Place.READY, Place.NEXTHINK_READY, Place.QUALTRICS_READY)
_FIRST_CHECK = (*_CHECKS, Place.RECONCILING)
_FIRST_RUN = (Place.QUERY_IN_SYNC, Place.LAST_RUN_SUCCEEDED)
_QUERY = (Place.QUERY_IN_SYNC,)
_EVENTS = (Place.EVENT,)
_TARGETS = (Place.READY, Place.WARNINGS, Place.EVENT)
_SKIPPED = (Place.HISTORY, Place.EVENT)
_SKIPPED_TESTS = (Place.HISTORY, Place.LAST_TEST, Place.EVENT)
_SWITCH = (Place.READY, *_SKIPPED)
_RUNS = (Place.LAST_RUN_SUCCEEDED, Place.HISTORY, Place.EVENT)
_TESTS = (Place.LAST_TEST, Place.EVENT)
_RUNS_AND_TESTS = (Place.LAST_RUN_SUCCEEDED, Place.HISTORY, *_TESTS)
_DRIFT = (*_QUERY, *_RUNS_AND_TESTS)
_COMPARISON = (Place.READY, *_DRIFT, Place.WARNINGS, Place.VALIDATE)
_SETTLED = (*_RUNS_AND_TESTS, Place.LAST_SETTLEMENT)
_NEXTHINK = (Place.READY, Place.NEXTHINK_READY, *_RUNS_AND_TESTS)
_QUALTRICS = (Place.READY, Place.QUALTRICS_READY, *_RUNS_AND_TESTS)
_SIDES = (*_CHECKS, *_RUNS_AND_TESTS)
_MANIFEST = (*_SIDES, Place.VALIDATE)
_TEXT = (*_NEXTHINK, Place.WARNINGS, Place.VALIDATE)
_TEXT_WARNING = (Place.READY, Place.WARNINGS, Place.EVENT, Place.VALIDATE)


class Reason(StrEnum):
    """A CamelCase word for status and Events, with its explanation.

    `stalls` tells whether the exporter cannot work until its user changes something that the operator does not watch
    for: kstatus then reports the object as failed. Missing Secrets do not stall: they are often applied a moment later.
    """

    kind: Kind
    places: tuple[Place, ...]
    meaning: str
    next_step: str
    stalls: bool

    def __new__(
        cls,
        name: str,
        kind: Kind,
        places: tuple[Place, ...],
        meaning: str,
        next_step: str = "",
        stalls: bool | None = None,
    ) -> Self:
        if not isinstance(places, tuple):
            raise TypeError(f"{name}: say where it shows, after its kind")
        reason = str.__new__(cls, name)
        reason._value_ = name
        reason.kind = kind
        reason.meaning = meaning
        reason.next_step = next_step
        reason.stalls = kind is Kind.PERMANENT if stalls is None else stalls
        reason.places = places
        return reason

    # How things are
    CHECKED = "Checked", Kind.NOTE, _CHECKS, "The spec, the credentials and both remote sides were checked."
    NOT_YET_CHECKED = "NotYetChecked", Kind.NOTE, _FIRST_CHECK, "The operator has not finished its first check."
    NOT_YET_RUN = "NotYetRun", Kind.NOTE, _FIRST_RUN, "No run has ended yet."
    SUSPENDED = (
        "Suspended", Kind.NOTE, _SWITCH,
        "The exporter is suspended: it has no slots.", "Set spec.suspend to false.",
    )  # fmt: skip
    SUCCEEDED = "Succeeded", Kind.NOTE, _RUNS, "The survey was sent to the people of the query, as one distribution."
    NO_RECIPIENTS = (
        "NoRecipients", Kind.NOTE, _RUNS_AND_TESTS,
        "There is nobody to survey: the query returned nobody, or spec.sample left out everybody. Nothing was created "
        "in Qualtrics.",
    )  # fmt: skip
    DRY_RUN = (
        "DryRun", Kind.NOTE, _RUNS_AND_TESTS,
        "It was a dry run: the people were counted, nothing was created in Qualtrics, and nobody was e-mailed.",
    )  # fmt: skip
    TEST_PASSED = "TestPassed", Kind.NOTE, _TESTS, "The test found nothing wrong; it mailed nobody."
    TEST_DELIVERED = "TestDelivered", Kind.NOTE, _TESTS, "The test was delivered to at most 20 people of the query."
    QUERY_IN_SYNC = "QueryInSync", Kind.NOTE, _QUERY, "Nexthink runs the query that the spec shows."
    RECOVERED = "Recovered", Kind.NOTE, _EVENTS, "What was wrong before is well again."

    # Spec and Secrets
    SPEC_INVALID = (
        "SpecInvalid", Kind.PERMANENT, _MANIFEST,
        "The spec cannot be used: in a cluster, an older CRD let it in.",
        "Apply the CRD of this version, then correct the field that the message names.",
    )  # fmt: skip
    STATUS_REFUSED = (
        "StatusRefused", Kind.PERMANENT, _EVENTS,
        "The API server refuses to store the status of this exporter. No run begins, and what the status shows may be "
        "old. The message has the cause: an admission policy or webhook, a quota, a permission that the operator "
        "lacks, or a spec that breaks a rule of the CRD in force because another CRD let it in.",
        "If the message names a policy, a webhook or a quota, ask its owner to allow the operator's writes to "
        "qualtricsexporters/status, or change the exporter so that the policy accepts it. If the operator's role lacks "
        "a rule, add `update` on qualtricsexporters/status to it. If the message names a field, apply the CRD of this "
        "version and correct the spec.",
    )  # fmt: skip
    MANIFEST_INVALID = (
        "ManifestInvalid", Kind.PERMANENT, (Place.VALIDATE,),
        "The file holds something that kubectl or the API server would not take.",
        "Correct the place that the message names.",
    )  # fmt: skip
    SECRET_NOT_FOUND = (
        "SecretNotFound", Kind.PERMANENT, _SIDES,
        "A credentials Secret does not exist.",
        "Create the Secret in the namespace of the exporter, or correct credentialsSecretRef.name.", False,
    )  # fmt: skip
    SECRET_KEY_MISSING = (
        "SecretKeyMissing", Kind.PERMANENT, _SIDES,
        "A credentials Secret lacks a key, or the key cannot be used.",
        "Add the key to the Secret, or correct it. The keys are url, tokenUrl, clientId, clientSecret and scope.",
        False,
    )  # fmt: skip
    SECRET_NOT_READABLE = (
        "SecretNotReadable", Kind.TRANSIENT, _SIDES,
        "The operator cannot read a credentials Secret: it lacks the permission, or the API server returns an error.",
        "For HTTP 403, ask the operator's administrator to add `get` on Secrets in this namespace to its role. For "
        "other errors, ask the cluster's administrator why the API server cannot read the Secret.",
    )  # fmt: skip
    HOST_NOT_ALLOWED = (
        "HostNotAllowed", Kind.PERMANENT, _SIDES,
        "A URL leads to a host, port, scheme or form that the operator does not talk to.",
        "Correct the URL in the Secret, or let the operator's administrator allow the host: --allowed-host for the "
        "APIs, --allowed-download-host for the files of large query results.",
    )  # fmt: skip
    CREDENTIALS_REFUSED = (
        "CredentialsRefused", Kind.PERMANENT, _SIDES,
        "The remote side refused the credentials.",
        "Check clientId, clientSecret, scope and tokenUrl in the Secret, and that the client still exists.",
    )  # fmt: skip
    WRONG_DATACENTER = (
        "WrongDatacenter", Kind.PERMANENT, _QUALTRICS,
        "The Qualtrics credentials belong to another datacenter.",
        "Use the datacenter of Account Settings > Qualtrics IDs in the Secret's url.",
    )  # fmt: skip
    REQUESTS_PROXIED = (
        "RequestsProxied", Kind.WARNING, _TARGETS,
        "Qualtrics passes each request on to another datacenter, which makes it slower.",
        "Set url in the Secret to the host that the message names, or to the datacenter of Account Settings > "
        "Qualtrics IDs.",
    )  # fmt: skip
    NOT_PERMITTED = (
        "NotPermitted", Kind.PERMANENT, _SIDES,
        "The credentials are good, but may not do this.",
        "Give the OAuth client the missing scope or the user the missing permission.",
    )  # fmt: skip
    REMOTE_REPLY_TOO_LARGE = (
        "RemoteReplyTooLarge", Kind.PERMANENT, _SIDES,
        "A reply of the remote side exceeds a limit of the operator. The message says which one.",
        "Check that the url in the Secret leads to the API itself, and that the query returns one field for each "
        "person. docs/operating.md lists the limits.", False,
    )  # fmt: skip
    REQUEST_REFUSED = (
        "RequestRefused", Kind.PERMANENT, _SIDES,
        "The remote side refused a request for a reason that the operator has no name for.",
        "Check the url in the Secret and the ids in the spec; if all are right, report it with the remote code.", False,
    )  # fmt: skip

    KEY_REPEATED = (
        "KeyRepeated", Kind.WARNING, (Place.VALIDATE,),
        "A key stands twice in one object: kubectl takes the last one, other tools refuse the file.",
        "Remove one of the two.",
    )  # fmt: skip

    VALUE_CUT = (
        "ValueCut", Kind.WARNING, (Place.VALIDATE,),
        "YAML reads a part of a value as something else: an unquoted # starts a comment, ! a tag and & an anchor.",
        "Put the value in quotes. If it is a comment, put a space after the #.",
    )  # fmt: skip

    # Qualtrics
    SURVEY_NOT_FOUND = (
        "SurveyNotFound", Kind.PERMANENT, _QUALTRICS,
        "The survey does not exist, or these credentials cannot see it.",
        "Correct spec.qualtrics.surveyId, or share the survey with the owner of the credentials.",
    )  # fmt: skip
    SURVEY_INACTIVE = (
        "SurveyInactive", Kind.PERMANENT, _QUALTRICS,
        "The survey does not take answers: not published, paused or expired.",
        "Activate the survey in Qualtrics.",
    )  # fmt: skip
    MESSAGE_NOT_FOUND = (
        "MessageNotFound", Kind.PERMANENT, _QUALTRICS,
        "The library has no such message.",
        "Correct spec.qualtrics.messageId and libraryId.",
    )  # fmt: skip
    MESSAGE_NOT_INVITATION = (
        "MessageNotInvitation", Kind.PERMANENT, _QUALTRICS,
        "The message is no invitation, or has no link to the survey.",
        "Use a message of the category Email Invites whose text holds ${l://SurveyLink} or ${l://SurveyURL}.",
    )  # fmt: skip
    DIRECTORY_NOT_FOUND = (
        "DirectoryNotFound", Kind.PERMANENT, _QUALTRICS,
        "The brand has no such directory, or these credentials cannot see it.",
        "Correct spec.qualtrics.directoryId.",
    )  # fmt: skip
    MAILING_LIST_NOT_FOUND = (
        "MailingListNotFound", Kind.PERMANENT, _QUALTRICS,
        "The directory has no such mailing list.",
        "Correct spec.qualtrics.mailingListId, or make the list in that directory.",
    )  # fmt: skip
    FROM_EMAIL_NOT_ALLOWED = (
        "FromEmailNotAllowed", Kind.PERMANENT, (*_QUALTRICS, Place.VALIDATE),
        "Qualtrics does not allow this sender domain by default.",
        "Use the one of qemailserver.com, qualtrics-survey.com and qualtrics-research.com that your brand allows. For "
        "a domain that is registered in your brand, set allowCustomFromDomain.",
    )  # fmt: skip
    SEND_REFUSED = (
        "SendRefused", Kind.PERMANENT, _RUNS_AND_TESTS,
        "Qualtrics refused the distribution: nothing was sent.",
        "Read the remote code in the message; `test-requested-at` checks every id.",
    )  # fmt: skip
    IMPORT_INCOMPLETE = (
        "ImportIncomplete", Kind.WARNING, _RUNS,
        "Qualtrics did not take everybody into the batch.",
        "Compare accepted and imported in the history entry; nobody in means a wrong directory or list id.",
    )  # fmt: skip

    # Nexthink
    QUERY_NOT_FOUND = (
        "QueryNotFound", Kind.PERMANENT, _NEXTHINK,
        "Nexthink has no saved query of that id, or hides it from these credentials.",
        "Correct spec.nexthink.queryId, or let an administrator create the query in Nexthink (NQL API queries).",
    )  # fmt: skip
    QUERY_NOT_PERMITTED = (
        "QueryNotPermitted", Kind.PERMANENT, _NEXTHINK,
        "These credentials may not run the query.",
        "Give the Nexthink API credentials the NQL API permission and the view domain that the query needs.",
    )  # fmt: skip
    QUERY_REFUSED = (
        "QueryRefused", Kind.PERMANENT, _NEXTHINK,
        "Nexthink refused to run the query.",
        "Run the saved query in Nexthink itself, and compare spec.nexthink.parameters with its $names.",
    )  # fmt: skip
    QUERY_RETURNS_SEVERAL_FIELDS = (
        "QueryReturnsSeveralFields", Kind.PERMANENT, _TEXT,
        "The query returns more than one field.",
        "End the query with `| list user.ad.email_address`; on `users`, `user.` may be left out.",
    )  # fmt: skip
    QUERY_RETURNS_NO_EMAIL = (
        "QueryReturnsNoEmail", Kind.PERMANENT, _NEXTHINK,
        "The query returned rows, but no e-mail address among them.",
        "List user.ad.email_address, and check that the Entra ID connector fills it.",
    )  # fmt: skip
    QUERY_INVALID = (
        "QueryInvalid", Kind.PERMANENT, _TEXT,
        "The text of the query is no NQL that Nexthink could run.",
        "Correct spec.nexthink.query at the place that the message names.",
    )  # fmt: skip
    QUERY_FIELD_NOT_USER = (
        "QueryFieldNotUser", Kind.PERMANENT, _TEXT,
        "The field that the query returns is none of the user.",
        "Return user.ad.email_address.",
    )  # fmt: skip
    QUERY_PARAMETER_MISSING = (
        "QueryParameterMissing", Kind.PERMANENT, _TEXT,
        "A $name of the query has no value.",
        "Add it to spec.nexthink.parameters, without the $.",
    )  # fmt: skip
    QUERY_PARAMETER_UNUSED = (
        "QueryParameterUnused", Kind.WARNING, _TEXT_WARNING,
        "A value is given for a $name that the query does not have.",
        "Remove it from spec.nexthink.parameters, or correct its name.",
    )  # fmt: skip
    QUERY_FIELD_NOT_EMAIL = (
        "QueryFieldNotEmail", Kind.WARNING, _TEXT_WARNING,
        "The query returns another field of the user than the e-mail address.",
        "Return user.ad.email_address, unless your Nexthink keeps the address in this field.",
    )  # fmt: skip
    QUERY_WINDOW_MISMATCH = (
        "QueryWindowMismatch", Kind.WARNING, _TEXT_WARNING,
        "The query looks at a longer or shorter time than there is from one slot to the next, or at a longer time than "
        "the cycle of spec.sample has.",
        "Let a daily schedule look at the past 1d, a weekly one at the past 7d. With spec.sample.groups, the time can "
        "be as long as the cycle.",
    )  # fmt: skip
    QUERY_LIMITED = (
        "QueryLimited", Kind.WARNING, _TEXT_WARNING,
        "A `limit` cuts people off.",
        "Remove it; spec.maxRecipients holds a run that has too many people.",
    )  # fmt: skip
    QUERY_WITHOUT_CONDITION = (
        "QueryWithoutCondition", Kind.WARNING, _TEXT_WARNING,
        "The query has no condition, or only conditions that nearly every user meets: each of them gets an e-mail.",
        "Add a `with`, or a `where` that selects, to the query. If you mean everyone, set spec.maxRecipients.",
    )  # fmt: skip
    QUERY_NOT_VERIFIED = (
        "QueryNotVerified", Kind.WARNING, _TEXT_WARNING,
        "The query says something that this version cannot verify: a typing error, or NQL that is newer.",
        "Look at the place that the message names; if Nexthink runs it as it is meant, nothing.",
    )  # fmt: skip
    QUERY_DRIFT = (
        "QueryDrift", Kind.WARNING, _DRIFT,
        "Nexthink runs another query than the spec shows.",
        "Bring spec.nexthink.query and the saved query together again.",
    )  # fmt: skip
    QUERY_NOT_COMPARED = (
        "QueryNotCompared", Kind.WARNING, _COMPARISON,
        "It is unknown whether Nexthink ran the query that the spec shows. An export does not say which query ran.",
        "If you set spec.nexthink.driftPolicy to Hold, such a run e-mails nobody. Set it to Warn, or make the query "
        "lighter (a shorter time, fewer tables), so that Nexthink executes it within a few seconds.",
    )  # fmt: skip
    RESULT_TRUNCATED = (
        "ResultTruncated", Kind.WARNING, _RUNS_AND_TESTS,
        "Nexthink cut the result at the maximum of the licence: people are missing.",
        "Narrow the query, or split it over several exporters.",
    )  # fmt: skip

    # Guards, slots and requests
    RECIPIENT_LIMIT_EXCEEDED = (
        "RecipientLimitExceeded", Kind.PERMANENT, _RUNS_AND_TESTS,
        "More people than spec.maxRecipients: nobody was mailed.",
        "Check the query; if it is right, raise spec.maxRecipients and request a run.", False,
    )  # fmt: skip
    TOO_FEW_RECIPIENTS = (
        "TooFewRecipients", Kind.PERMANENT, _RUNS_AND_TESTS,
        "The query names fewer people than spec.minRecipients: nobody was mailed.",
        "Check in Nexthink that the query returns the people you expect, and that the connector that fills their "
        "addresses works. Then request a run. If so few people are right, lower spec.minRecipients.", False,
    )  # fmt: skip
    AUDIENCE_SHRANK = (
        "AudienceShrank", Kind.WARNING, _RUNS,
        "The query names less than a tenth of the people of the previous run.",
        "Check in Nexthink that the query returns the people you expect, and that the connector that fills their "
        "addresses works. Set spec.minRecipients to hold such runs, or to 0 to turn this warning off.",
    )  # fmt: skip
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded", Kind.WARNING, _RUNS,
        "The slot could not start in time: no operator was running for longer than "
        "spec.schedule.startingDeadlineSeconds after it was due, or the clock was set forward by more than that.",
        "Request a run if the survey should still go out. Find out why no operator was running.",
    )  # fmt: skip
    SLOT_OVERTAKEN = (
        "SlotOvertaken", Kind.WARNING, _RUNS,
        "The slot did not start before the next one was due, although an operator was running.",
        "Look at the metrics qualtrics_exporter_due_exporters and qualtrics_exporter_schedule_lag_seconds. If they are "
        "high, spread the schedules over more time or raise --max-concurrent-runs. Request a run if the survey should "
        "still go out.",
    )  # fmt: skip
    SLOT_ALREADY_RAN = (
        "SlotAlreadyRan", Kind.WARNING, _SKIPPED,
        "The slot of this local date or hour already had a run, before the time zone of the schedule changed.",
        "Request a run if the survey should go out again.",
    )  # fmt: skip
    CLOCK_STEPPED = (
        "ClockStepped", Kind.WARNING, _SKIPPED,
        "The operator's clock jumped, and it is no longer known whether this slot had a run.",
        "Check the clock of the node. Request a run if the survey should go out.",
    )  # fmt: skip
    STATUS_NOT_UNDERSTOOD = (
        "StatusNotUnderstood", Kind.WARNING, _SKIPPED_TESTS,
        "A part of the status that remembers past runs cannot be understood. It is not known whether this had a run.",
        "Find out what else writes the status. Request a run or test with a new token if the survey should go out.",
    )  # fmt: skip
    ALREADY_SENT = (
        "AlreadySent", Kind.WARNING, _SKIPPED_TESTS,
        "The run with this token already sent its survey, or may have sent it. Its receipt in the status is gone.",
        "Request a run or test with a new token if the survey should go out again.",
    )  # fmt: skip
    RUN_DEADLINE_EXCEEDED = (
        "RunDeadlineExceeded", Kind.TRANSIENT, _RUNS_AND_TESTS,
        "The run did not reach its send before its deadline, so nobody was mailed.",
        "Check the operator's log to see which step took too long. Request a run if the survey should still go out.",
    )  # fmt: skip
    ATTEMPTS_EXHAUSTED = (
        "AttemptsExhausted", Kind.PERMANENT, _RUNS_AND_TESTS,
        "The run was interrupted too many times before its send, so nobody was mailed.",
        "Find out what interrupts it, such as an operator that keeps restarting or two tools that overwrite each "
        "other's spec. Then request a run.", False,
    )  # fmt: skip
    SCHEDULE_CHANGED = (
        "ScheduleChanged", Kind.WARNING, _RUNS,
        "The schedule was changed before the slot that was due could start.",
        "Request a run if the survey should still go out.",
    )  # fmt: skip
    RUN_ACTIVE = (
        "RunActive", Kind.WARNING, _SKIPPED,
        "Another run of this exporter was still active.",
        "Nothing, if it happens once; a longer interval if it happens often.",
    )  # fmt: skip
    INTERRUPTED = (
        "Interrupted", Kind.WARNING, _TESTS,
        "The operator stopped before the test was sent; it is not resumed.",
        "Request the test again with a new token.",
    )  # fmt: skip
    DUPLICATE_TARGET = (
        "DuplicateTarget", Kind.WARNING, _TARGETS,
        "Another exporter sends the same survey and message to the same list.",
        "Delete or change one of the two, unless both are meant.",
    )  # fmt: skip

    # Remote sides and delivery
    RATE_LIMITED = (
        "RateLimited", Kind.TRANSIENT, _SIDES,
        "The remote side asks us to slow down, and still did after several tries.",
        "Spread the schedules, or ask the vendor for a higher limit.",
    )  # fmt: skip
    REMOTE_UNAVAILABLE = (
        "RemoteUnavailable", Kind.TRANSIENT, _SIDES,
        "The remote side did not answer, or answered with an error of its own.",
        "Look at the vendor's status page. In a cluster, the next slot tries again.",
    )  # fmt: skip
    REMOTE_REPLY_INVALID = (
        "RemoteReplyInvalid", Kind.TRANSIENT, _SIDES,
        "The remote side's answer could not be understood.",
        "Check that the url in the Secret leads to the API itself; a proxy in between often answers for it.",
    )  # fmt: skip
    INTERNAL_ERROR = (
        "InternalError", Kind.TRANSIENT, _SIDES,
        "The operator met an error that it has no name for.",
        "Report it with the operator's log lines of that time.",
    )  # fmt: skip
    DELIVERY_UNKNOWN = (
        "DeliveryUnknown", Kind.UNKNOWN, _RUNS_AND_TESTS,
        "Whether Qualtrics took the send cannot be told.",
        "Look at the survey's distributions in Qualtrics at the send time: is there one to that many people? Then "
        "settle the run by the annotation qualtrics-exporter.dev/settle-run: <run id>=Sent or <run id>=NotSent. Only "
        "if none is there, request a run. The next slot is not held up.",
    )  # fmt: skip
    FOUND_LATER = (
        "FoundLater", Kind.NOTE, _RUNS_AND_TESTS,
        "The outcome was unknown at first; Qualtrics' list of distributions showed later that the survey was sent.",
    )  # fmt: skip
    SETTLED_AS_SENT = (
        "SettledAsSent", Kind.NOTE, _SETTLED,
        "The outcome was unknown; a person says that the survey was sent.",
    )  # fmt: skip
    SETTLED_AS_NOT_SENT = (
        "SettledAsNotSent", Kind.WARNING, _SETTLED,
        "The outcome was unknown; a person says that the survey was not sent.",
        "Request a run if the survey should still go out.",
    )  # fmt: skip
    SETTLEMENT_REFUSED = (
        "SettlementRefused", Kind.WARNING, (Place.LAST_SETTLEMENT, Place.EVENT),
        "The annotation qualtrics-exporter.dev/settle-run could not be acted on; no run was changed.",
        "Set it to <run id>=Sent, <run id>=NotSent or <run id>=EMD_…, with the id of an entry of status.history, or of "
        "status.lastTest, whose result is Unknown.",
    )  # fmt: skip
    DUPLICATE_SUPPRESSED = (
        "DuplicateSuppressed", Kind.WARNING, _RUNS,
        "Qualtrics blocked (nearly) everyone: the same mail went to them before.",
        "Send less often, or let the message differ, for example by a date piped into the subject.",
    )  # fmt: skip
    PARTLY_DELIVERED = (
        "PartlyDelivered", Kind.WARNING, _RUNS,
        "Qualtrics did not deliver to everybody.",
        "Look at delivery in the history entry: failed, bounced, blocked and skipped.",
    )  # fmt: skip
    DISTRIBUTION_NOT_FOUND = (
        "DistributionNotFound", Kind.WARNING, (Place.HISTORY, Place.EVENT),
        "Qualtrics does not know the distribution. Its delivery figures are not read again.",
        "Look at the distributions of the survey in Qualtrics. Somebody may have deleted this one, or the credentials "
        "cannot see it any more.",
    )  # fmt: skip
