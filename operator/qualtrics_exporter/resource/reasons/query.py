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

QUERY_IN_SYNC = Definition("QueryInSync", Kind.NOTE, QUERY, "Nexthink runs the query that is in the spec.")
QUERY_NOT_FOUND = Definition(
    "QueryNotFound", Kind.PERMANENT, NEXTHINK,
    "Nexthink has no saved query with this id, or these credentials cannot see it.",
    "Correct spec.nexthink.queryId, or ask an administrator to create the query in Nexthink (NQL API queries).",
)  # fmt: skip
QUERY_NOT_PERMITTED = Definition(
    "QueryNotPermitted", Kind.PERMANENT, NEXTHINK,
    "These credentials do not have permission to run the query.",
    "Grant the NQL API permission, and the view domain that the query needs, to the Nexthink API credentials.",
)  # fmt: skip
QUERY_REFUSED = Definition(
    "QueryRefused", Kind.PERMANENT, NEXTHINK,
    "Nexthink refused to run the query.",
    "Run the saved query in Nexthink itself, and compare spec.nexthink.parameters with its $names.",
)  # fmt: skip
QUERY_RETURNS_SEVERAL_FIELDS = Definition(
    "QueryReturnsSeveralFields", Kind.PERMANENT, TEXT,
    "The query returns more than one field.",
    "End the query with `| list user.ad.email_address`. In a query of `users`, you can omit `user.`.",
)  # fmt: skip
QUERY_RETURNS_NO_EMAIL = Definition(
    "QueryReturnsNoEmail", Kind.PERMANENT, NEXTHINK,
    "The query returned rows, but none of them has an e-mail address.",
    "List user.ad.email_address, and check that the Entra ID connector fills it.",
)  # fmt: skip
QUERY_INVALID = Definition(
    "QueryInvalid", Kind.PERMANENT, TEXT,
    "The text of the query is not valid NQL.",
    "Correct spec.nexthink.query at the place that the message names.",
)  # fmt: skip
QUERY_FIELD_NOT_USER = Definition(
    "QueryFieldNotUser", Kind.PERMANENT, TEXT,
    "The query returns a field that is not a field of the user.",
    "Return user.ad.email_address.",
)  # fmt: skip
QUERY_PARAMETER_MISSING = Definition(
    "QueryParameterMissing", Kind.PERMANENT, TEXT,
    "A $name of the query has no value.",
    "Add it to spec.nexthink.parameters, without the $.",
)  # fmt: skip
QUERY_PARAMETER_UNUSED = Definition(
    "QueryParameterUnused", Kind.WARNING, TEXT_WARNING,
    "spec.nexthink.parameters has a value for a $name that the query does not use.",
    "Remove it from spec.nexthink.parameters, or correct its name.",
)  # fmt: skip
QUERY_FIELD_NOT_EMAIL = Definition(
    "QueryFieldNotEmail", Kind.WARNING, TEXT_WARNING,
    "The query returns a field of the user that is not the e-mail address.",
    "Return user.ad.email_address, unless your Nexthink keeps the address in this field.",
)  # fmt: skip
QUERY_WINDOW_MISMATCH = Definition(
    "QueryWindowMismatch", Kind.WARNING, TEXT_WARNING,
    "The time range of the query is longer or shorter than the time between two slots, or longer than the cycle of "
    "spec.sample.",
    "With a daily schedule, query the past 1d; with a weekly one, the past 7d. With spec.sample.groups, the time "
    "range can be as long as the cycle.",
)  # fmt: skip
QUERY_LIMITED = Definition(
    "QueryLimited", Kind.WARNING, TEXT_WARNING,
    "A `limit` in the query leaves people out.",
    "Remove it. To hold a run with too many people, set spec.maxRecipients.",
)  # fmt: skip
QUERY_WITHOUT_CONDITION = Definition(
    "QueryWithoutCondition", Kind.WARNING, TEXT_WARNING,
    "The query has no condition, or only conditions that nearly every user meets: each of them gets an e-mail.",
    "Add a `with`, or a `where` that selects people. If you want to survey everyone, set spec.maxRecipients.",
)  # fmt: skip
QUERY_NOT_VERIFIED = Definition(
    "QueryNotVerified", Kind.WARNING, TEXT_WARNING,
    "This version cannot verify a part of the query. It is a typing error or newer NQL.",
    "Check the place that the message names. If Nexthink runs the query as you intend, no action is needed.",
)  # fmt: skip
QUERY_DRIFT = Definition(
    "QueryDrift", Kind.WARNING, DRIFT,
    "Nexthink runs a query that differs from the one in the spec.",
    "Make spec.nexthink.query and the saved query in Nexthink the same.",
)  # fmt: skip
QUERY_NOT_COMPARED = Definition(
    "QueryNotCompared", Kind.WARNING, COMPARISON,
    "It is unknown whether Nexthink ran the query that is in the spec. An export does not say which query ran.",
    "If you set spec.nexthink.driftPolicy to Hold, such a run e-mails nobody. Set it to Warn, or make the query "
    "lighter (a shorter time, fewer tables), so that Nexthink executes it within a few seconds.",
)  # fmt: skip
RESULT_TRUNCATED = Definition(
    "ResultTruncated", Kind.WARNING, RUNS_AND_TESTS,
    "Nexthink truncated the result at the maximum of the licence: people are missing.",
    "Narrow the query, or split it into several exporters.",
)  # fmt: skip
