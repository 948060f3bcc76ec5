"""What can go wrong with a call to the API server."""


class ClusterError(Exception):
    """A call to the API server did not do what was asked. The text is a sentence without a full stop."""

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):
    """409: another client wrote first, the object exists already, or another object has this name."""


class NotFound(ClusterError):
    """404: the object does not exist."""


class Forbidden(ClusterError):
    """401, 403: the API server does not accept the operator's credentials, or its role lacks a permission."""


class Refused(ClusterError):
    """400, 422 and the like, and a 403 by a policy or a quota: repeating the request changes nothing."""


class Unreachable(ClusterError):
    """No response, a late one, 429, 5xx or garbage: a write may or may not have taken effect."""


class NotConfigured(ClusterError):
    """Neither KUBECONFIG nor a service account leads to a cluster."""


class NoTemporaryFile(NotConfigured):
    """Certificates and keys of a kubeconfig are used as files, and no temporary file can be written."""
