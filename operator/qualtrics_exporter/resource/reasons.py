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


class Reason(StrEnum):
    """A CamelCase word for status and Events, with its explanation.

    `stalls` tells whether the exporter cannot work until its user changes something that the operator does not watch
    for: kstatus then reports the object as failed. Missing Secrets do not stall: they are often applied a moment later.
    """

    kind: Kind
    meaning: str
    next_step: str
    stalls: bool

    def __new__(cls, name: str, kind: Kind, meaning: str, next_step: str = "", stalls: bool | None = None) -> Self:
        reason = str.__new__(cls, name)
        reason._value_ = name
        reason.kind = kind
        reason.meaning = meaning
        reason.next_step = next_step
        reason.stalls = kind is Kind.PERMANENT if stalls is None else stalls
        return reason

    # How things are
    CHECKED = "Checked", Kind.NOTE, "The spec, the credentials and both remote sides were checked."
    NOT_YET_CHECKED = "NotYetChecked", Kind.NOTE, "The operator has not finished its first check."
    NOT_YET_RUN = "NotYetRun", Kind.NOTE, "No run has ended yet."
    SUSPENDED = "Suspended", Kind.NOTE, "The exporter is suspended: it has no slots.", "Set spec.suspend to false."
    SUCCEEDED = "Succeeded", Kind.NOTE, "The survey was sent to the people of the query, as one distribution."
    NO_RECIPIENTS = "NoRecipients", Kind.NOTE, "The query returned nobody: nothing was created in Qualtrics."
    DRY_RUN = "DryRun", Kind.NOTE, "Everything but the send was done, because spec.dryRun is true."
    TEST_PASSED = "TestPassed", Kind.NOTE, "The test found nothing wrong; it mailed nobody."
    TEST_DELIVERED = "TestDelivered", Kind.NOTE, "The test was delivered to at most 20 people of the query."
    QUERY_IN_SYNC = "QueryInSync", Kind.NOTE, "Nexthink runs the query that the spec shows."
    RUN_STARTED = "RunStarted", Kind.NOTE, "A run was claimed and has begun."
    RECOVERED = "Recovered", Kind.NOTE, "What was wrong before is well again."

    # Spec and Secrets
    SPEC_INVALID = (
        "SpecInvalid", Kind.PERMANENT, "The spec cannot be used: an older CRD let it in.",
        "Apply the CRD of this version, then correct the field that the message names.",
    )  # fmt: skip
    SECRET_NOT_FOUND = (
        "SecretNotFound", Kind.PERMANENT, "A credentials Secret does not exist.",
        "Create the Secret in the namespace of the exporter, or correct credentialsSecretRef.name.", False,
    )  # fmt: skip
    SECRET_KEY_MISSING = (
        "SecretKeyMissing", Kind.PERMANENT, "A credentials Secret lacks a key, or the key cannot be used.",
        "Add the key to the Secret; the keys are url, tokenUrl, clientId, clientSecret and scope.", False,
    )  # fmt: skip
    HOST_NOT_ALLOWED = (
        "HostNotAllowed", Kind.PERMANENT, "A URL leads to a host, scheme or form that the operator does not talk to.",
        "Correct the URL in the Secret, or let the operator's administrator allow the host (--allowed-host).",
    )  # fmt: skip
    CREDENTIALS_REFUSED = (
        "CredentialsRefused", Kind.PERMANENT, "The remote side refused the credentials.",
        "Check clientId, clientSecret, scope and tokenUrl in the Secret, and that the client still exists.",
    )  # fmt: skip
    WRONG_DATACENTER = (
        "WrongDatacenter", Kind.PERMANENT, "The Qualtrics credentials belong to another datacenter.",
        "Use the datacenter of Account Settings > Qualtrics IDs in the Secret's url.",
    )  # fmt: skip
    NOT_PERMITTED = (
        "NotPermitted", Kind.PERMANENT, "The credentials are good, but may not do this.",
        "Give the OAuth client the missing scope or the user the missing permission.",
    )  # fmt: skip

    # Qualtrics
    SURVEY_NOT_FOUND = (
        "SurveyNotFound", Kind.PERMANENT, "The survey does not exist, or these credentials cannot see it.",
        "Correct spec.qualtrics.surveyId, or share the survey with the owner of the credentials.",
    )  # fmt: skip
    SURVEY_INACTIVE = (
        "SurveyInactive", Kind.PERMANENT, "The survey does not take answers: not published, paused or expired.",
        "Activate the survey in Qualtrics.",
    )  # fmt: skip
    MESSAGE_NOT_FOUND = (
        "MessageNotFound", Kind.PERMANENT, "The library has no such message.",
        "Correct spec.qualtrics.messageId and libraryId.",
    )  # fmt: skip
    MESSAGE_NOT_INVITATION = (
        "MessageNotInvitation", Kind.PERMANENT, "The message is no invitation, or has no link to the survey.",
        "Use a message of the category Email Invites whose text holds ${l://SurveyLink} or ${l://SurveyURL}.",
    )  # fmt: skip
    DIRECTORY_NOT_FOUND = (
        "DirectoryNotFound", Kind.PERMANENT, "The brand has no such directory, or these credentials cannot see it.",
        "Correct spec.qualtrics.directoryId.",
    )  # fmt: skip
    MAILING_LIST_NOT_FOUND = (
        "MailingListNotFound", Kind.PERMANENT, "The directory has no such mailing list.",
        "Correct spec.qualtrics.mailingListId, or make the list in that directory.",
    )  # fmt: skip
    FROM_EMAIL_NOT_ALLOWED = (
        "FromEmailNotAllowed", Kind.PERMANENT, "The sender's domain is none that Qualtrics always allows.",
        "Use qemailserver.com, qualtrics-survey.com or qualtrics-research.com, or set allowCustomFromDomain.",
    )  # fmt: skip
    SEND_REFUSED = (
        "SendRefused", Kind.PERMANENT, "Qualtrics refused the distribution: nothing was sent.",
        "Read the remote code in the message; `test-requested-at` checks every id.",
    )  # fmt: skip
    IMPORT_INCOMPLETE = (
        "ImportIncomplete", Kind.WARNING, "Qualtrics did not take everybody into the batch.",
        "Compare accepted and imported in the history entry; nobody in means a wrong directory or list id.",
    )  # fmt: skip

    # Nexthink
    QUERY_NOT_FOUND = (
        "QueryNotFound", Kind.PERMANENT, "Nexthink has no saved query of that id, or hides it from these credentials.",
        "Correct spec.nexthink.queryId, or let an administrator create the query in Nexthink (NQL API queries).",
    )  # fmt: skip
    QUERY_NOT_PERMITTED = (
        "QueryNotPermitted", Kind.PERMANENT, "These credentials may not run the query.",
        "Give the Nexthink API credentials the NQL API permission and the view domain that the query needs.",
    )  # fmt: skip
    QUERY_REFUSED = (
        "QueryRefused", Kind.PERMANENT, "Nexthink refused to run the query.",
        "Run the saved query in Nexthink itself, and compare spec.nexthink.parameters with its $names.",
    )  # fmt: skip
    QUERY_RETURNS_SEVERAL_FIELDS = (
        "QueryReturnsSeveralFields", Kind.PERMANENT, "The query returns more than one field.",
        "End the query with `| list ad.email_address`.",
    )  # fmt: skip
    QUERY_RETURNS_NO_EMAIL = (
        "QueryReturnsNoEmail", Kind.PERMANENT, "The query returned rows, but no e-mail address among them.",
        "List user.ad.email_address, and check that the Entra ID connector fills it.",
    )  # fmt: skip
    QUERY_DRIFT = (
        "QueryDrift", Kind.WARNING, "Nexthink runs another query than the spec shows.",
        "Bring spec.nexthink.query and the saved query together again.",
    )  # fmt: skip
    RESULT_TRUNCATED = (
        "ResultTruncated", Kind.WARNING, "Nexthink cut the result at the maximum of the licence: people are missing.",
        "Narrow the query, or split it over several exporters.",
    )  # fmt: skip

    # Guards, slots and requests
    RECIPIENT_LIMIT_EXCEEDED = (
        "RecipientLimitExceeded", Kind.PERMANENT, "More people than spec.maxRecipients: nobody was mailed.",
        "Check the query; if it is right, raise spec.maxRecipients and request a run.", False,
    )  # fmt: skip
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded", Kind.WARNING, "The slot could not start within spec.schedule.startingDeadlineSeconds.",
        "Request a run if the survey should still go out; see that the operator was up.",
    )  # fmt: skip
    RUN_ACTIVE = (
        "RunActive", Kind.WARNING, "Another run of this exporter was still active.",
        "Nothing, if it happens once; a longer interval if it happens often.",
    )  # fmt: skip
    INTERRUPTED = (
        "Interrupted", Kind.WARNING, "The operator stopped before the test was sent; it is not resumed.",
        "Request the test again with a new token.",
    )  # fmt: skip
    DUPLICATE_TARGET = (
        "DuplicateTarget", Kind.WARNING, "Another exporter sends the same survey and message to the same list.",
        "Delete or change one of the two, unless both are meant.",
    )  # fmt: skip

    # Remote sides and delivery
    RATE_LIMITED = (
        "RateLimited", Kind.TRANSIENT, "The remote side asks us to slow down, and still did after several tries.",
        "Spread the schedules, or ask the vendor for a higher limit.",
    )  # fmt: skip
    REMOTE_UNAVAILABLE = (
        "RemoteUnavailable", Kind.TRANSIENT, "The remote side did not answer, or answered with an error of its own.",
        "Look at the vendor's status page; the next slot tries again.",
    )  # fmt: skip
    REMOTE_REPLY_INVALID = (
        "RemoteReplyInvalid", Kind.TRANSIENT, "The remote side's answer could not be understood, or was far too large.",
        "Check that the url in the Secret leads to the API itself; a proxy in between often answers for it.",
    )  # fmt: skip
    INTERNAL_ERROR = (
        "InternalError", Kind.TRANSIENT, "The operator met an error that it has no name for.",
        "Report it with the operator's log lines of that time.",
    )  # fmt: skip
    DELIVERY_UNKNOWN = (
        "DeliveryUnknown", Kind.UNKNOWN, "Whether Qualtrics took the send cannot be told.",
        "Look at the survey's distributions in Qualtrics at the send time; only if none is there, request a run.",
    )  # fmt: skip
    DUPLICATE_SUPPRESSED = (
        "DuplicateSuppressed", Kind.WARNING, "Qualtrics blocked (nearly) everyone: the same mail went to them before.",
        "Send less often, or let the message differ, for example by a date piped into the subject.",
    )  # fmt: skip
    PARTLY_DELIVERED = (
        "PartlyDelivered", Kind.WARNING, "Qualtrics did not deliver to everybody.",
        "Look at delivery in the history entry: failed, bounced, blocked and skipped.",
    )  # fmt: skip
