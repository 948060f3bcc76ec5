"""Reasons about Secrets, credentials and any remote service."""

from qualtrics_exporter.resource.reasons.definition import SIDES, Definition, Kind

SECRET_NOT_FOUND = Definition(
    "SecretNotFound", Kind.PERMANENT, SIDES,
    "A credentials Secret does not exist.",
    "Create the Secret in the namespace of the exporter, or correct credentialsSecretRef.name.", False,
)  # fmt: skip
SECRET_KEY_MISSING = Definition(
    "SecretKeyMissing", Kind.PERMANENT, SIDES,
    "A credentials Secret lacks a key, or the key cannot be used.",
    "Add the key to the Secret, or correct it. The keys are url, tokenUrl, clientId, clientSecret and scope.", False,
)  # fmt: skip
SECRET_NOT_READABLE = Definition(
    "SecretNotReadable", Kind.TRANSIENT, SIDES,
    "The operator cannot read a credentials Secret: it lacks the permission, or the API server returns an error.",
    "For HTTP 403, ask the operator's administrator to add `get` on Secrets in this namespace to its role. For "
    "other errors, ask the cluster's administrator why the API server cannot read the Secret.",
)  # fmt: skip
HOST_NOT_ALLOWED = Definition(
    "HostNotAllowed", Kind.PERMANENT, SIDES,
    "A URL leads to a host, port, scheme or form that the operator does not talk to.",
    "Correct the URL in the Secret, or let the operator's administrator allow the host: --allowed-host for the "
    "APIs, --allowed-download-host for the files of large query results.",
)  # fmt: skip
CREDENTIALS_REFUSED = Definition(
    "CredentialsRefused", Kind.PERMANENT, SIDES,
    "The remote side refused the credentials.",
    "Check clientId, clientSecret, scope and tokenUrl in the Secret, and that the client still exists.",
)  # fmt: skip
NOT_PERMITTED = Definition(
    "NotPermitted", Kind.PERMANENT, SIDES,
    "The credentials are good, but may not do this.",
    "Give the OAuth client the missing scope or the user the missing permission.",
)  # fmt: skip
REMOTE_REPLY_TOO_LARGE = Definition(
    "RemoteReplyTooLarge", Kind.PERMANENT, SIDES,
    "A reply of the remote side exceeds a limit of the operator. The message says which one.",
    "Check that the url in the Secret leads to the API itself, and that the query returns one field for each "
    "person. docs/operating.md lists the limits.", False,
)  # fmt: skip
REQUEST_REFUSED = Definition(
    "RequestRefused", Kind.PERMANENT, SIDES,
    "The remote side refused a request for a reason that the operator has no name for.",
    "Check the url in the Secret and the ids in the spec; if all are right, report it with the remote code.", False,
)  # fmt: skip
RATE_LIMITED = Definition(
    "RateLimited", Kind.TRANSIENT, SIDES,
    "The remote side asks us to slow down, and still did after several tries.",
    "Spread the schedules, or ask the vendor for a higher limit.",
)  # fmt: skip
REMOTE_UNAVAILABLE = Definition(
    "RemoteUnavailable", Kind.TRANSIENT, SIDES,
    "The remote side did not answer, or answered with an error of its own.",
    "Look at the vendor's status page. In a cluster, the next slot tries again.",
)  # fmt: skip
REMOTE_REPLY_INVALID = Definition(
    "RemoteReplyInvalid", Kind.TRANSIENT, SIDES,
    "The remote side's answer could not be understood.",
    "Check that the url in the Secret leads to the API itself; a proxy in between often answers for it.",
)  # fmt: skip
INTERNAL_ERROR = Definition(
    "InternalError", Kind.TRANSIENT, SIDES,
    "The operator met an error that it has no name for.",
    "Report it with the operator's log lines of that time.",
)  # fmt: skip
