"""Reasons about Secrets, credentials and any remote service."""

from qualtrics_exporter.resource.reasons.definition import SIDES, TARGETS, Definition, Kind

SECRET_NOT_FOUND = Definition(
    "SecretNotFound", Kind.PERMANENT, SIDES,
    "A credentials Secret does not exist.",
    "Create the Secret in the namespace of the exporter, or correct credentialsSecretRef.name.", False,
)  # fmt: skip
SECRET_KEY_MISSING = Definition(
    "SecretKeyMissing", Kind.PERMANENT, SIDES,
    "A credentials Secret lacks a key, or the value of a key is invalid.",
    "Add the key to the Secret, or correct its value. The keys are url, tokenUrl, clientId, clientSecret and scope.",
    False,
)  # fmt: skip
SECRET_NOT_READABLE = Definition(
    "SecretNotReadable", Kind.TRANSIENT, SIDES,
    "The operator cannot read a credentials Secret: it lacks the permission, or the API server returns an error.",
    "For HTTP 403, ask the operator's administrator to add `get` on Secrets in this namespace to its role. For "
    "other errors, ask the cluster's administrator why the API server cannot read the Secret.",
)  # fmt: skip
SECRET_EXPIRY_INVALID = Definition(
    "SecretExpiryInvalid", Kind.WARNING, TARGETS,
    "The annotation qualtrics-exporter.dev/expires-at of a credentials Secret is not a date or a date-time of RFC "
    "3339. The operator ignores it.",
    "Write the annotation as 2027-01-31 or 2027-01-31T12:00:00Z, or remove it.",
)  # fmt: skip
HOST_NOT_ALLOWED = Definition(
    "HostNotAllowed", Kind.PERMANENT, SIDES,
    "A URL has a host, port, scheme or form that the operator does not allow.",
    "Correct the URL in the Secret, or ask the operator's administrator to allow the host: --allowed-host for the "
    "APIs, --allowed-download-host for the files of large query results.",
)  # fmt: skip
CREDENTIALS_REFUSED = Definition(
    "CredentialsRefused", Kind.PERMANENT, SIDES,
    "The remote service rejected the credentials.",
    "Check clientId, clientSecret, scope and tokenUrl in the Secret, and check that the client still exists.",
)  # fmt: skip
NOT_PERMITTED = Definition(
    "NotPermitted", Kind.PERMANENT, SIDES,
    "The credentials are valid, but do not permit this request.",
    "Grant the missing scope to the OAuth client, or the missing permission to the user.",
)  # fmt: skip
REMOTE_REPLY_TOO_LARGE = Definition(
    "RemoteReplyTooLarge", Kind.PERMANENT, SIDES,
    "A response of the remote service exceeds a limit of the operator. The message names the limit.",
    "Check that the url in the Secret points to the API itself, and that the query returns one field for each "
    "person. docs/operating.md lists the limits.", False,
)  # fmt: skip
REQUEST_REFUSED = Definition(
    "RequestRefused", Kind.PERMANENT, SIDES,
    "The remote service rejected a request for an unknown reason.",
    "Check the url in the Secret and the ids in the spec. If they are correct, report the problem with the remote "
    "code.", False,
)  # fmt: skip
RATE_LIMITED = Definition(
    "RateLimited", Kind.TRANSIENT, SIDES,
    "The remote service limits the rate of requests, and still does after several retries.",
    "Spread the schedules over more time, or ask the vendor for a higher limit.",
)  # fmt: skip
REMOTE_UNAVAILABLE = Definition(
    "RemoteUnavailable", Kind.TRANSIENT, SIDES,
    "The remote service did not respond, or responded with a server error.",
    "Check the vendor's status page. In a cluster, the operator tries again at the next slot.",
)  # fmt: skip
REMOTE_REPLY_INVALID = Definition(
    "RemoteReplyInvalid", Kind.TRANSIENT, SIDES,
    "The response of the remote service is invalid.",
    "Check that the url in the Secret points to the API itself. A proxy in between may respond in place of the API.",
)  # fmt: skip
INTERNAL_ERROR = Definition(
    "InternalError", Kind.TRANSIENT, SIDES,
    "Unexpected internal error.",
    "Report it with the operator's log lines of that time.",
)  # fmt: skip
