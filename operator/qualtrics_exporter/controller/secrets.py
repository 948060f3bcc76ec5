"""Credentials as the cluster keeps them: read by name, with the version by which a rotation is noticed."""

from qualtrics_exporter.controller.kube.api import ClusterApi, Secret
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.resource.reasons import Reason


async def nexthink_credentials(cluster: ClusterApi, namespace: str, name: str) -> tuple[ServiceCredentials, str]:
    """The credentials and their version. Permanent(SecretNotFound | SecretKeyMissing), Transient(SecretNotReadable)."""
    secret = await _read(cluster, namespace, name)
    return nexthink_from(secret.data, source(namespace, name)), secret.version


async def qualtrics_credentials(cluster: ClusterApi, namespace: str, name: str) -> tuple[ServiceCredentials, str]:
    """The credentials and their version. Permanent(SecretNotFound | SecretKeyMissing), Transient(SecretNotReadable)."""
    secret = await _read(cluster, namespace, name)
    return qualtrics_from(secret.data, source(namespace, name)), secret.version


def source(namespace: str, name: str) -> str:
    """What messages call the place that credentials come from."""
    return f"Secret {namespace}/{name}"


async def _read(cluster: ClusterApi, namespace: str, name: str) -> Secret:
    try:
        return await cluster.get_secret(namespace, name)
    except NotFound as error:
        raise Permanent(Reason.SECRET_NOT_FOUND, f"{source(namespace, name)} does not exist") from error
    except ClusterError as error:  # nothing that the author of the exporter can change
        raise Transient(Reason.SECRET_NOT_READABLE, f"{source(namespace, name)} cannot be read: {error}") from error
