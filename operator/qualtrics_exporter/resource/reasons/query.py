"""Reasons about the query and its result."""

from qualtrics_exporter.resource.reasons.definition import (
    COMPARISON,
    DRIFT,
    NEXTHINK,
    QUERY,
    RUNS_AND_TESTS,
    TEXT,
    TEXT_WARNING,
    Definition,
    Kind,
)

QUERY_IN_SYNC = Definition("QueryInSync", Kind.NOTE, QUERY, "Nexthink runs the query that the spec shows.")
QUERY_NOT_FOUND = Definition(
    "QueryNotFound", Kind.PERMANENT, NEXTHINK,
    "Nexthink has no saved query of that id, or hides it from these credentials.",
    "Correct spec.nexthink.queryId, or let an administrator create the query in Nexthink (NQL API queries).",
)  # fmt: skip
QUERY_NOT_PERMITTED = Definition(
    "QueryNotPermitted", Kind.PERMANENT, NEXTHINK,
    "These credentials may not run the query.",
    "Give the Nexthink API credentials the NQL API permission and the view domain that the query needs.",
)  # fmt: skip
QUERY_REFUSED = Definition(
    "QueryRefused", Kind.PERMANENT, NEXTHINK,
    "Nexthink refused to run the query.",
    "Run the saved query in Nexthink itself, and compare spec.nexthink.parameters with its $names.",
)  # fmt: skip
QUERY_RETURNS_SEVERAL_FIELDS = Definition(
    "QueryReturnsSeveralFields", Kind.PERMANENT, TEXT,
    "The query returns more than one field.",
    "End the query with `| list user.ad.email_address`; on `users`, `user.` may be left out.",
)  # fmt: skip
QUERY_RETURNS_NO_EMAIL = Definition(
    "QueryReturnsNoEmail", Kind.PERMANENT, NEXTHINK,
    "The query returned rows, but no e-mail address among them.",
    "List user.ad.email_address, and check that the Entra ID connector fills it.",
)  # fmt: skip
QUERY_INVALID = Definition(
    "QueryInvalid", Kind.PERMANENT, TEXT,
    "The text of the query is no NQL that Nexthink could run.",
    "Correct spec.nexthink.query at the place that the message names.",
)  # fmt: skip
QUERY_FIELD_NOT_USER = Definition(
    "QueryFieldNotUser", Kind.PERMANENT, TEXT,
    "The field that the query returns is none of the user.",
    "Return user.ad.email_address.",
)  # fmt: skip
QUERY_PARAMETER_MISSING = Definition(
    "QueryParameterMissing", Kind.PERMANENT, TEXT,
    "A $name of the query has no value.",
    "Add it to spec.nexthink.parameters, without the $.",
)  # fmt: skip
QUERY_PARAMETER_UNUSED = Definition(
    "QueryParameterUnused", Kind.WARNING, TEXT_WARNING,
    "A value is given for a $name that the query does not have.",
    "Remove it from spec.nexthink.parameters, or correct its name.",
)  # fmt: skip
QUERY_FIELD_NOT_EMAIL = Definition(
    "QueryFieldNotEmail", Kind.WARNING, TEXT_WARNING,
    "The query returns another field of the user than the e-mail address.",
    "Return user.ad.email_address, unless your Nexthink keeps the address in this field.",
)  # fmt: skip
QUERY_WINDOW_MISMATCH = Definition(
    "QueryWindowMismatch", Kind.WARNING, TEXT_WARNING,
    "The query looks at a longer or shorter time than there is from one slot to the next, or at a longer time than "
    "the cycle of spec.sample has.",
    "Let a daily schedule look at the past 1d, a weekly one at the past 7d. With spec.sample.groups, the time can "
    "be as long as the cycle.",
)  # fmt: skip
QUERY_LIMITED = Definition(
    "QueryLimited", Kind.WARNING, TEXT_WARNING,
    "A `limit` cuts people off.",
    "Remove it; spec.maxRecipients holds a run that has too many people.",
)  # fmt: skip
QUERY_WITHOUT_CONDITION = Definition(
    "QueryWithoutCondition", Kind.WARNING, TEXT_WARNING,
    "The query has no condition, or only conditions that nearly every user meets: each of them gets an e-mail.",
    "Add a `with`, or a `where` that selects, to the query. If you mean everyone, set spec.maxRecipients.",
)  # fmt: skip
QUERY_NOT_VERIFIED = Definition(
    "QueryNotVerified", Kind.WARNING, TEXT_WARNING,
    "The query says something that this version cannot verify: a typing error, or NQL that is newer.",
    "Look at the place that the message names; if Nexthink runs it as it is meant, nothing.",
)  # fmt: skip
QUERY_DRIFT = Definition(
    "QueryDrift", Kind.WARNING, DRIFT,
    "Nexthink runs another query than the spec shows.",
    "Bring spec.nexthink.query and the saved query together again.",
)  # fmt: skip
QUERY_NOT_COMPARED = Definition(
    "QueryNotCompared", Kind.WARNING, COMPARISON,
    "It is unknown whether Nexthink ran the query that the spec shows. An export does not say which query ran.",
    "If you set spec.nexthink.driftPolicy to Hold, such a run e-mails nobody. Set it to Warn, or make the query "
    "lighter (a shorter time, fewer tables), so that Nexthink executes it within a few seconds.",
)  # fmt: skip
RESULT_TRUNCATED = Definition(
    "ResultTruncated", Kind.WARNING, RUNS_AND_TESTS,
    "Nexthink cut the result at the maximum of the licence: people are missing.",
    "Narrow the query, or split it over several exporters.",
)  # fmt: skip
