"""Who acts on each reason, and an example of how it looks: for the pages in `docs/reasons/`.

An example is where the reason appears and its message. In a message, `{next}` and `{meaning}` stand for the text in
`resource/reasons`. A test compares the rest with the sentences in the code.

The place is the result of an entry in `status.history` (`test` before it: in `status.lastTest`), a condition with its
status, `warning` (an element of `status.warnings`), `settlement`, `Event`, or a severity of `qualtrics-exporter
validate`.
"""

from typing import NamedTuple

OWNER = "the owner of the exporter"
NEXTHINK = "a Nexthink administrator"
QUALTRICS = "the owner of the Qualtrics credentials, or a Qualtrics administrator"
OPERATOR = "the administrator of the operator"
NOBODY = "nobody has to act"


class Example(NamedTuple):
    """Who acts on a reason, and how it looks."""

    who: str
    place: str
    message: str


EXAMPLES = {
    "AlreadySent": Example(
        OWNER, "Skipped", "The requested run did not start, nobody was mailed. {meaning} {next}"
    ),
    "AttemptsExhausted": Example(
        OPERATOR, "Failed", "The run was started 10 times. The limit is 10. {next} Nobody was mailed."
    ),
    "AudienceShrank": Example(
        OWNER, "Succeeded", "The survey was sent, as one distribution, to 31 people. {meaning} {next}"
    ),
    "Checked": Example(NOBODY, "Ready=True", "{meaning}"),
    "ClockStepped": Example(
        OPERATOR, "Skipped", "The slot of 2026-11-30T00:00:00Z will not run any more. {meaning} {next}"
    ),
    "CredentialsRefused": Example(
        OWNER, "Ready=False", "Nexthink refused the credentials of Secret dex/nexthink (HTTP 401). {next}"
    ),
    "DeadlineExceeded": Example(
        OPERATOR, "Missed", "The slot of 2026-11-30T00:00:00Z did not run, nobody was mailed. {meaning} {next}"
    ),
    "DeliveryUnknown": Example(
        OWNER, "Unknown",
        "Qualtrics was asked at 2026-11-30T00:03:12Z (UTC) to send survey SV_teamsRollout01 to the 412 people of "
        "batch BT_5c2f; then the run was interrupted repeatedly. The send will not be repeated. {next} In a cluster, "
        "the operator looks for it again 10 minutes, 1 hour and 6 hours after the send, or once if these times have "
        "passed.",
    ),
    "DirectoryNotFound": Example(
        OWNER, "Ready=False",
        "Qualtrics lists no directory POOL_employees0001 for the credentials of Secret dex/qualtrics. {next}",
    ),
    "DistributionNotFound": Example(OWNER, "Event Warning", "{meaning} {next}"),
    "DryRun": Example(NOBODY, "DryRun", "{meaning} The query returned 418 rows: 412 people, 6 without an address."),
    "DuplicateSuppressed": Example(
        OWNER, "Succeeded", "{meaning} Delivery: sent 412, failed 0, bounced 0, blocked 412, skipped 0. {next}"
    ),
    "DuplicateTarget": Example(
        OWNER, "warning", "the same survey and message go to the same list by dex/teams-rollout-copy"
    ),
    "FoundLater": Example(
        NOBODY, "Succeeded",
        "{meaning} It was asked for at 2026-11-30T00:03:12Z (UTC), for batch BT_5c2f. It is distribution EMD_8d1e.",
    ),
    "FromEmailNotAllowed": Example(
        OWNER, "validate error",
        "spec.qualtrics.fromEmail must be at qemailserver.com, qualtrics-survey.com or qualtrics-research.com (one of "
        "these, depending on your brand); for a domain registered in your Qualtrics brand, set allowCustomFromDomain: "
        "true",
    ),
    "HostNotAllowed": Example(
        OWNER, "Ready=False",
        "The url of Secret dex/nexthink has a host that is not one of *.nexthink.cloud, *.qualtrics.com. {next}",
    ),
    "ImportIncomplete": Example(
        OWNER, "Succeeded",
        "The survey was sent, as one distribution, to 400 people. Qualtrics imported 400 of 412 people into the batch, "
        "and did not say why. {next}",
    ),
    "InternalError": Example(OPERATOR, "Ready=Unknown", "{meaning} It is tried again (KeyError). {next}"),
    "Interrupted": Example(OWNER, "test Failed", "{meaning} {next}"),
    "KeyRepeated": Example(
        OWNER, "validate warning",
        "this key is a duplicate: kubectl uses the last one, and other tools reject the file",
    ),
    "MailingListNotFound": Example(
        OWNER, "Ready=False",
        "Qualtrics refused to return mailing list CG_everybody0001 of directory POOL_employees00001 with the "
        "credentials of Secret dex/qualtrics (HTTP 404). {next}",
    ),
    "ManifestInvalid": Example(
        OWNER, "validate error", "this is a list of manifests: write one object per document"
    ),
    "MessageNotFound": Example(
        OWNER, "Ready=False",
        "Qualtrics refused to return message MS_invitation0001 of library UR_library000001 with the credentials of "
        "Secret dex/qualtrics (HTTP 404). {next}",
    ),
    "MessageNotInvitation": Example(
        OWNER, "Ready=False", "Message MS_invitation0001 of library UR_library000001 has no link to the survey. {next}"
    ),
    "NoRecipients": Example(NOBODY, "Succeeded", "The query returned nobody: nothing was created in Qualtrics."),
    "NotPermitted": Example(
        QUALTRICS, "Ready=False",
        "Qualtrics refused to return survey SV_teamsRollout01: the credentials of Secret dex/qualtrics do not have "
        "permission (HTTP 403). {next}",
    ),
    "NotYetChecked": Example(NOBODY, "Ready=Unknown", "{meaning}"),
    "NotYetRun": Example(NOBODY, "LastRunSucceeded=Unknown", "{meaning}"),
    "PartlyDelivered": Example(
        OWNER, "Succeeded", "{meaning} Delivery: sent 412, failed 0, bounced 9, blocked 0, skipped 0. {next}"
    ),
    "QueryDrift": Example(
        f"{OWNER}, with {NEXTHINK}", "QueryInSync=False",
        "{meaning} First at line 2, column 26: the spec has `7d`, Nexthink runs `30d`. {next}",
    ),
    "QueryFieldNotEmail": Example(
        OWNER, "validate warning",
        "'upn' is not known to contain an e-mail address; by default, Nexthink has it in `ad.email_address`",
    ),
    "QueryFieldNotUser": Example(
        OWNER, "validate error", "'device.name' is not a field of the user: return `user.ad.email_address`"
    ),
    "QueryInSync": Example(NOBODY, "QueryInSync=True", "{meaning}"),
    "QueryInvalid": Example(OWNER, "validate error", "this quote is not closed"),
    "QueryLimited": Example(
        OWNER, "validate warning",
        "this returns at most 100 people, and the others are never surveyed: remove it, and set spec.maxRecipients to "
        "stop runs with too many people",
    ),
    "QueryNotCompared": Example(
        f"{OWNER}, if driftPolicy is Hold", "QueryInSync=Unknown",
        "Nexthink failed to execute the query (HTTP 504), so the result comes from an export. {meaning} {next}",
    ),
    "QueryNotFound": Example(
        f"{OWNER}, with {NEXTHINK}", "Ready=False",
        "Nexthink refused to run query #teams_rollout with the credentials of Secret dex/nexthink (HTTP 404). {next}",
    ),
    "QueryNotPermitted": Example(
        NEXTHINK, "Ready=False",
        "Nexthink refused to run query #teams_rollout with the credentials of Secret dex/nexthink (HTTP 403). {next}",
    ),
    "QueryNotVerified": Example(
        OWNER, "validate warning", "'lst' is not a known clause; did you mean `list`?"
    ),
    "QueryParameterMissing": Example(OWNER, "validate error", "'$department' has no value in spec.nexthink.parameters"),
    "QueryParameterUnused": Example(
        OWNER, "validate warning",
        "spec.nexthink.parameters has a value for '$department', but the query does not use it",
    ),
    "QueryRefused": Example(
        f"{OWNER}, with {NEXTHINK}", "Ready=False", "Nexthink refused to run query #teams_rollout (HTTP 422). {next}"
    ),
    "QueryReturnsNoEmail": Example(
        f"{OWNER}, with {NEXTHINK}", "Failed",
        "The query returned 418 rows, but no e-mail address among them: 418 are empty, and 0 are not addresses. {next} "
        "Nobody was mailed.",
    ),
    "QueryReturnsSeveralFields": Example(
        OWNER, "validate error",
        "the query returns 2 fields, but must return only the e-mail address: end the query with `| list "
        "ad.email_address`",
    ),
    "QueryWindowMismatch": Example(
        OWNER, "validate warning",
        "the query covers 30 days and runs every 7 days: it can return the same people 5 times; use `past 7d`",
    ),
    "QueryWithoutCondition": Example(
        OWNER, "validate warning", "this query has no condition and returns every user: add `with` or `where`"
    ),
    "RateLimited": Example(
        f"{OWNER}, or {OPERATOR}", "Failed",
        "Qualtrics rate-limited the request to import 412 contacts into batch BT_5c2f (HTTP 429). {next} Nobody was "
        "mailed.",
    ),
    "RecipientLimitExceeded": Example(
        OWNER, "Held", "The query names 8212 people, spec.maxRecipients is 5000: nobody was mailed. {next}"
    ),
    "Recovered": Example(NOBODY, "Event Normal", "The spec, the credentials and the remote services passed the check."),
    "RemoteReplyInvalid": Example(
        f"{OWNER}, or {OPERATOR} if a proxy is in between", "Ready=False",
        "Qualtrics answered the request to return survey SV_teamsRollout01 with a redirect (HTTP 302). {next}",
    ),
    "RemoteReplyTooLarge": Example(
        OWNER, "Failed",
        "The export of query #teams_rollout is too large: it has more than 524,288 KiB. {next} Nobody was mailed.",
    ),
    "RemoteUnavailable": Example(
        NOBODY, "Failed", "Nexthink failed to run query #teams_rollout (HTTP 503). {next} Nobody was mailed."
    ),
    "RequestRefused": Example(
        OWNER, "Failed", "Qualtrics refused to create a batch in directory POOL_employees00001 (HTTP 400). {next} "
        "Nobody was mailed.",
    ),
    "RequestsProxied": Example(
        OWNER, "warning",
        "Qualtrics forwards each request to another datacenter; for faster responses, set url in the Secret to "
        "https://fra1.qualtrics.com",
    ),
    "ResultTruncated": Example(
        OWNER, "Succeeded", "The survey was sent, as one distribution, to 5000 people. {meaning} {next}"
    ),
    "RunActive": Example(
        NOBODY, "Skipped", "The slot of 2026-11-30T00:20:00Z did not run, nobody was mailed. {meaning} {next}"
    ),
    "RunDeadlineExceeded": Example(
        f"{OWNER}, or {OPERATOR} if it happens to many exporters", "Failed",
        "The run did not reach its send within the 120 minutes that it had left. {next} Nobody was mailed.",
    ),
    "ScheduleChanged": Example(
        OWNER, "Missed", "The slot of 2026-11-30T00:00:00Z did not run, nobody was mailed. {meaning} {next}"
    ),
    "SecretExpiryInvalid": Example(OWNER, "warning", "{meaning} {next}"),
    "SecretKeyMissing": Example(
        OWNER, "Ready=False", "Secret dex/nexthink has no key clientSecret, or an empty one. {next}"
    ),
    "SecretNotFound": Example(OWNER, "Ready=False", "Secret dex/nexthink does not exist. {next}"),
    "SecretNotReadable": Example(
        OPERATOR, "Ready=False", "Secret dex/nexthink cannot be read: get secrets dex/nexthink was refused (HTTP 403). "
        "{next}",
    ),
    "SendRefused": Example(
        OWNER, "Failed", "Qualtrics refused to send survey SV_teamsRollout01 to batch BT_5c2f (HTTP 400). {next} "
        "Nobody was mailed.",
    ),
    "SettledAsNotSent": Example(
        OWNER, "Failed", "{meaning} It was asked for at 2026-11-30T00:03:12Z (UTC), for batch BT_5c2f. {next}"
    ),
    "SettledAsSent": Example(
        NOBODY, "Succeeded",
        "{meaning} It was asked for at 2026-11-30T00:03:12Z (UTC), for batch BT_5c2f. It is distribution EMD_8d1e.",
    ),
    "SettlementRefused": Example(
        OWNER, "settlement", "{meaning} Run 3f9c2a7d41b08e65 ended as Succeeded, not as Unknown. {next}"
    ),
    "SlotAlreadyRan": Example(
        OWNER, "Skipped", "The slot of 2026-11-30T08:20:00Z did not run, nobody was mailed. {meaning} {next}"
    ),
    "SlotOvertaken": Example(
        OPERATOR, "Missed",
        "The slot of 2026-11-30T00:20:00Z did not run, nobody was mailed. {meaning} It had been due for 3601 s. Of all "
        "exporters, 2140 wait for their turn and 1000 are in progress. {next}",
    ),
    "SpecInvalid": Example(
        f"{OWNER}, or {OPERATOR} if the CRD is older", "validate error",
        "spec.minRecipients must not be more than maxRecipients",
    ),
    "StatusNotUnderstood": Example(
        f"{OWNER}, with {OPERATOR}", "Skipped",
        "The slot of 2026-11-30T00:00:00Z did not run, nobody was mailed. {meaning} {next}",
    ),
    "StatusRefused": Example(
        OPERATOR, "Event Warning",
        "{meaning} {next} What happened: update qualtricsexporters.qualtrics-exporter.dev/status dex/teams-rollout was "
        "refused (HTTP 403).",
    ),
    "Succeeded": Example(NOBODY, "Succeeded", "The survey was sent, as one distribution, to 412 people."),
    "SurveyInactive": Example(OWNER, "Ready=False", "Survey SV_teamsRollout01 is not active. {next}"),
    "SurveyNotFound": Example(
        OWNER, "Ready=False",
        "Qualtrics refused to return survey SV_teamsRollout01 with the credentials of Secret dex/qualtrics (HTTP 404). "
        "{next}",
    ),
    "Suspended": Example(NOBODY, "Ready=True", "{meaning}"),
    "TestDelivered": Example(NOBODY, "test Succeeded", "The test was delivered to 20 people."),
    "TestPassed": Example(
        NOBODY, "test Succeeded",
        "{meaning} Both services were checked in full. The query returned 418 rows: 412 people, 6 without an address.",
    ),
    "TooFewRecipients": Example(
        f"{OWNER}, with {NEXTHINK}", "Held",
        "The query names 3 people, spec.minRecipients is 100: nobody was mailed. {next}",
    ),
    "ValueCut": Example(
        OWNER, "validate warning",
        "spec.nexthink.queryId is empty: in YAML, an unquoted # starts a comment; put the value in quotes",
    ),
    "WrongDatacenter": Example(
        OWNER, "Ready=False",
        "Qualtrics rejected the credentials of Secret dex/qualtrics for the request to return survey SV_teamsRollout01 "
        "(HTTP 401). {next}",
    ),
}  # fmt: skip
