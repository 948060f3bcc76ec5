"""The enumeration of all reasons."""

from enum import StrEnum
from typing import Self

from qualtrics_exporter.resource.reasons import guards, manifest, query, remote, runs, state, survey
from qualtrics_exporter.resource.reasons.definition import Definition, Kind, Place


class Reason(StrEnum):
    """A CamelCase word for status and Events, with its definition.

    `stalls` is True if the exporter cannot work until its user changes something that the operator does not watch:
    kstatus then reports the object as failed. Missing Secrets do not stall, because they are often applied a moment
    later.
    """

    kind: Kind
    places: tuple[Place, ...]
    meaning: str
    next_step: str
    stalls: bool

    def __new__(cls, definition: Definition) -> Self:
        reason = str.__new__(cls, definition.name)
        reason._value_ = definition.name
        reason.kind = definition.kind
        reason.places = definition.places
        reason.meaning = definition.meaning
        reason.next_step = definition.next_step
        reason.stalls = definition.kind is Kind.PERMANENT if definition.stalls is None else definition.stalls
        return reason

    # that describe the state of an exporter
    CHECKED = state.CHECKED
    NOT_YET_CHECKED = state.NOT_YET_CHECKED
    NOT_YET_RUN = state.NOT_YET_RUN
    SUSPENDED = state.SUSPENDED
    RECOVERED = state.RECOVERED

    # about the object and its file
    SPEC_INVALID = manifest.SPEC_INVALID
    STATUS_REFUSED = manifest.STATUS_REFUSED
    MANIFEST_INVALID = manifest.MANIFEST_INVALID
    KEY_REPEATED = manifest.KEY_REPEATED
    VALUE_CUT = manifest.VALUE_CUT

    # about Secrets, credentials and any remote service
    SECRET_NOT_FOUND = remote.SECRET_NOT_FOUND
    SECRET_KEY_MISSING = remote.SECRET_KEY_MISSING
    SECRET_NOT_READABLE = remote.SECRET_NOT_READABLE
    SECRET_EXPIRY_INVALID = remote.SECRET_EXPIRY_INVALID
    HOST_NOT_ALLOWED = remote.HOST_NOT_ALLOWED
    CREDENTIALS_REFUSED = remote.CREDENTIALS_REFUSED
    NOT_PERMITTED = remote.NOT_PERMITTED
    REMOTE_REPLY_TOO_LARGE = remote.REMOTE_REPLY_TOO_LARGE
    REQUEST_REFUSED = remote.REQUEST_REFUSED
    RATE_LIMITED = remote.RATE_LIMITED
    REMOTE_UNAVAILABLE = remote.REMOTE_UNAVAILABLE
    REMOTE_REPLY_INVALID = remote.REMOTE_REPLY_INVALID
    INTERNAL_ERROR = remote.INTERNAL_ERROR

    # about the survey and its objects in Qualtrics
    WRONG_DATACENTER = survey.WRONG_DATACENTER
    REQUESTS_PROXIED = survey.REQUESTS_PROXIED
    SURVEY_NOT_FOUND = survey.SURVEY_NOT_FOUND
    SURVEY_INACTIVE = survey.SURVEY_INACTIVE
    MESSAGE_NOT_FOUND = survey.MESSAGE_NOT_FOUND
    MESSAGE_NOT_INVITATION = survey.MESSAGE_NOT_INVITATION
    DIRECTORY_NOT_FOUND = survey.DIRECTORY_NOT_FOUND
    MAILING_LIST_NOT_FOUND = survey.MAILING_LIST_NOT_FOUND
    FROM_EMAIL_NOT_ALLOWED = survey.FROM_EMAIL_NOT_ALLOWED
    DUPLICATE_TARGET = survey.DUPLICATE_TARGET

    # about the query and its result
    QUERY_IN_SYNC = query.QUERY_IN_SYNC
    QUERY_NOT_FOUND = query.QUERY_NOT_FOUND
    QUERY_NOT_PERMITTED = query.QUERY_NOT_PERMITTED
    QUERY_REFUSED = query.QUERY_REFUSED
    QUERY_RETURNS_SEVERAL_FIELDS = query.QUERY_RETURNS_SEVERAL_FIELDS
    QUERY_RETURNS_NO_EMAIL = query.QUERY_RETURNS_NO_EMAIL
    QUERY_INVALID = query.QUERY_INVALID
    QUERY_FIELD_NOT_USER = query.QUERY_FIELD_NOT_USER
    QUERY_PARAMETER_MISSING = query.QUERY_PARAMETER_MISSING
    QUERY_PARAMETER_UNUSED = query.QUERY_PARAMETER_UNUSED
    QUERY_FIELD_NOT_EMAIL = query.QUERY_FIELD_NOT_EMAIL
    QUERY_WINDOW_MISMATCH = query.QUERY_WINDOW_MISMATCH
    QUERY_LIMITED = query.QUERY_LIMITED
    QUERY_WITHOUT_CONDITION = query.QUERY_WITHOUT_CONDITION
    QUERY_NOT_VERIFIED = query.QUERY_NOT_VERIFIED
    QUERY_DRIFT = query.QUERY_DRIFT
    QUERY_NOT_COMPARED = query.QUERY_NOT_COMPARED
    RESULT_TRUNCATED = query.RESULT_TRUNCATED

    # of slots, requests and audiences that are not run
    RECIPIENT_LIMIT_EXCEEDED = guards.RECIPIENT_LIMIT_EXCEEDED
    TOO_FEW_RECIPIENTS = guards.TOO_FEW_RECIPIENTS
    AUDIENCE_SHRANK = guards.AUDIENCE_SHRANK
    DEADLINE_EXCEEDED = guards.DEADLINE_EXCEEDED
    SLOT_OVERTAKEN = guards.SLOT_OVERTAKEN
    SLOT_ALREADY_RAN = guards.SLOT_ALREADY_RAN
    CLOCK_STEPPED = guards.CLOCK_STEPPED
    STATUS_NOT_UNDERSTOOD = guards.STATUS_NOT_UNDERSTOOD
    ALREADY_SENT = guards.ALREADY_SENT
    SCHEDULE_CHANGED = guards.SCHEDULE_CHANGED
    RUN_ACTIVE = guards.RUN_ACTIVE

    # of runs and tests, from their send to the delivery
    SUCCEEDED = runs.SUCCEEDED
    NO_RECIPIENTS = runs.NO_RECIPIENTS
    DRY_RUN = runs.DRY_RUN
    TEST_PASSED = runs.TEST_PASSED
    TEST_DELIVERED = runs.TEST_DELIVERED
    SEND_REFUSED = runs.SEND_REFUSED
    IMPORT_INCOMPLETE = runs.IMPORT_INCOMPLETE
    RUN_DEADLINE_EXCEEDED = runs.RUN_DEADLINE_EXCEEDED
    ATTEMPTS_EXHAUSTED = runs.ATTEMPTS_EXHAUSTED
    INTERRUPTED = runs.INTERRUPTED
    DELIVERY_UNKNOWN = runs.DELIVERY_UNKNOWN
    FOUND_LATER = runs.FOUND_LATER
    SETTLED_AS_SENT = runs.SETTLED_AS_SENT
    SETTLED_AS_NOT_SENT = runs.SETTLED_AS_NOT_SENT
    SETTLEMENT_REFUSED = runs.SETTLEMENT_REFUSED
    DUPLICATE_SUPPRESSED = runs.DUPLICATE_SUPPRESSED
    PARTLY_DELIVERED = runs.PARTLY_DELIVERED
    DISTRIBUTION_NOT_FOUND = runs.DISTRIBUTION_NOT_FOUND
