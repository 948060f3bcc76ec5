"""The clients of an exporter, with the credentials from its Secrets.

A Secret is read by its name whenever it is needed. The version of a Secret shows that its credentials were rotated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.controller.status.key import tenant_of
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.query_texts import QueryTexts, TenantTexts
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.remote.retry import RetryPolicy, retry
from qualtrics_exporter.remote.time_limit import TimeLimit
from qualtrics_exporter.remote.waits import Waits
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import EXPIRES_AT
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec

NOT_READABLE = "not readable"
"""In place of the version of a Secret that cannot be read."""


@dataclass(frozen=True, slots=True)
class SecretState:
    """A Secret as its metadata shows it."""

    name: str
    version: str | None
    """None if the Secret does not exist. An unreadable Secret has `NOT_READABLE`: when it can be read again, the
    version changes."""
    expires_at: str | None = field(default=None, repr=False)
    """The annotation `EXPIRES_AT`. It may contain anything."""


class ClientFactory:
    """Makes the clients of one exporter from its current Secrets, and what checks its query."""

    def __init__(self, cluster: ClusterApi, context: ApiContext, texts: QueryTexts | None = None) -> None:
        self._cluster = cluster
        self._context = context
        self._texts = texts or QueryTexts()

    @property
    def waits(self) -> Waits:
        """What waits now for a limit of this process."""
        return self._context.waits

    def texts(self, exporter: Exporter) -> TenantTexts:
        """Checks and compares the texts of queries."""
        return TenantTexts(self._texts, tenant_of(exporter))

    async def nexthink(self, exporter: Exporter, spec: Spec, limit: TimeLimit | None = None) -> NexthinkClient:
        """The client of Nexthink. Raises `Permanent` if the Secret is missing or incomplete."""
        name = spec.nexthink.credentials_secret_ref.name
        credentials = nexthink_from(*await read_secret(self._cluster, exporter.namespace, name))
        return NexthinkClient(self._context, credentials, tenant_of(exporter), limit)

    async def qualtrics(self, exporter: Exporter, spec: Spec, limit: TimeLimit | None = None) -> QualtricsClient:
        """The client of Qualtrics. Raises `Permanent` if the Secret is missing or incomplete."""
        name = spec.qualtrics.credentials_secret_ref.name
        credentials = qualtrics_from(*await read_secret(self._cluster, exporter.namespace, name))
        return QualtricsClient(self._context, credentials, tenant_of(exporter), limit)

    async def both(self, exporter: Exporter, spec: Spec) -> Clients:
        """Both clients. If the API server cannot return a Secret now, it is read again for some minutes.

        Raises `Permanent` and `Transient`.
        """

        async def read() -> Clients:
            clients = await self.nexthink(exporter, spec), await self.qualtrics(exporter, spec)
            return Clients(*clients, self.texts(exporter))

        return await retry(RetryPolicy.READ, self._context.clock, read)

    async def secrets(self, exporter: Exporter, spec: Spec) -> tuple[SecretState, SecretState]:
        """Both Secrets, for Nexthink and for Qualtrics, without reading their data."""
        return (
            await self._state(exporter.namespace, spec.nexthink.credentials_secret_ref.name),
            await self._state(exporter.namespace, spec.qualtrics.credentials_secret_ref.name),
        )

    async def versions(self, exporter: Exporter, spec: Spec) -> tuple[str | None, str | None]:
        """The versions of both Secrets."""
        nexthink, qualtrics = await self.secrets(exporter, spec)
        return nexthink.version, qualtrics.version

    async def _state(self, namespace: str, name: str) -> SecretState:
        try:
            metadata = await self._cluster.secret_metadata(namespace, name)
        except ClusterError:
            return SecretState(name, NOT_READABLE)
        if metadata is None:
            return SecretState(name, None)
        return SecretState(name, metadata.version, metadata.annotations.get(EXPIRES_AT))


async def read_secret(cluster: ClusterApi, namespace: str, name: str) -> tuple[Mapping[str, bytes], str]:
    """The keys of a Secret, and its name for messages. Permanent(SecretNotFound), Transient(SecretNotReadable)."""
    source = f"Secret {namespace}/{name}"
    try:
        return (await cluster.get_secret(namespace, name)).data, source
    except NotFound as error:
        raise Permanent(Reason.SECRET_NOT_FOUND, f"{source} does not exist") from error
    except ClusterError as error:  # the author of the exporter cannot change anything about this
        raise Transient(Reason.SECRET_NOT_READABLE, f"{source} cannot be read: {error}") from error
