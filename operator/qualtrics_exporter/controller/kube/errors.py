"""What can go wrong with a call to the API server.

ClusterError            the call did not do what was asked
├── Conflict            409: another client wrote first, or another object has this name
├── NotFound            404: the object does not exist
├── Forbidden           401, 403: the credentials are not accepted, or the role lacks a verb on a resource
├── Refused             400, 422 and the like, and a 403 by a policy or a quota: repeating the call changes nothing
├── Unreachable         no response, a late one, 429, 5xx or garbage: a write may or may not have taken effect
└── NotConfigured       neither KUBECONFIG nor a service account leads to a cluster
    └── NoTemporaryFile the kubeconfig needs temporary files, and this machine has no folder for them
"""


class ClusterError(Exception):
    """A call to the API server did not do what was asked. The text is a sentence without a full stop."""

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):
    """Another client wrote first, the object exists already, or another object has this name."""


class NotFound(ClusterError):
    """The object does not exist."""


class Forbidden(ClusterError):
    """The API server does not accept the operator's credentials, or its role lacks a permission."""


class Refused(ClusterError):
    """The API server does not accept the content of the request: repeating it changes nothing."""


class Unreachable(ClusterError):
    """There is no usable response: a write may or may not have taken effect."""


class NotConfigured(ClusterError):
    """No usable configuration of a cluster was found."""


class NoTemporaryFile(NotConfigured):
    """Certificates and keys of a kubeconfig are used as files, and no temporary file can be written."""
