"""Which cluster the operator uses, with credentials that stay fresh.

`KUBECONFIG` comes first, then the pod's service account, then `~/.kube/config`. An administrator sets `KUBECONFIG` on
purpose: in a pod of one cluster it leads to another cluster.

The client library reads the token of a service account again each minute. `_Refresh` does the same for a kubeconfig,
whose token may be rotated in its file, or returned by a command (exec).
"""

import asyncio
import copy
import logging
import os
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio import client, config

from qualtrics_exporter.controller.kube.connection import Connection, UnusableConnection
from qualtrics_exporter.controller.kube.errors import NotConfigured
from qualtrics_exporter.controller.kube.kubeconfig import read_kubeconfig
from qualtrics_exporter.remote.transport import USER_AGENT

log = logging.getLogger(__name__)

REFRESH = 60.0
"""Seconds after which a kubeconfig is read again, because its token may have been rotated."""

REFRESH_EXPIRED = 5.0
"""Seconds after which a kubeconfig is read again if its token has expired."""


async def login(**_kwargs: Any) -> Connection:
    """The cluster and the credentials, read anew. Kopf calls this as its login handler. Raises `NotConfigured`."""
    path = os.environ.get("KUBECONFIG", "")
    if not path and "KUBERNETES_SERVICE_HOST" in os.environ:
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise NotConfigured(f"the service account of this pod cannot be used: {error}") from error
        return Connection(configuration, {})
    path = path or "~/.kube/config"
    kubeconfig = await read_kubeconfig(path)
    refresh: Any = _Refresh(path, kubeconfig.expires)
    kubeconfig.configuration.refresh_api_key_hook = refresh
    try:
        return Connection(kubeconfig.configuration, kubeconfig.headers)
    except UnusableConnection as error:
        raise NotConfigured(f"the kubeconfig at {path} cannot be used: {error}") from None


async def connect() -> client.ApiClient:
    """A client of the cluster; the caller closes it. Raises `NotConfigured`."""
    connection = await login()
    try:
        session = connection.session()
    except UnusableConnection as error:
        raise NotConfigured(f"the cluster cannot be reached: {error}") from None
    # Without these changes the client makes a TLS context of its own, and takes proxies from the environment.
    configuration = copy.copy(connection.configuration)
    configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
    configuration.tls_server_name = configuration.proxy = None
    api = client.ApiClient(configuration)
    api.rest_client.pool_manager = session
    api.user_agent = USER_AGENT  # also the manager of the fields that the operator writes, as shown in managedFields
    return api


class _Refresh:
    """A hook that the client library awaits before each request: reads the credentials of a kubeconfig again.

    Cancelling a request does not end the reading: a command (exec) may take longer than a request.
    """

    def __init__(self, path: str, expires: datetime | None) -> None:
        self._path = path
        self._expires = expires
        self._loop = asyncio.get_running_loop()
        self._read_at = self._loop.time()
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, configuration: client.Configuration) -> None:
        if self._reading is None or self._reading.done():
            if self._loop.time() - self._read_at < (min(REFRESH, REFRESH_EXPIRED) if self._expired else REFRESH):
                return
            self._reading = asyncio.create_task(self._read(configuration))
        elif not self._expired:
            return  # the token from before still works
        await asyncio.shield(self._reading)

    @property
    def _expired(self) -> bool:
        return self._expires is not None and self._expires <= datetime.now(UTC)

    async def _read(self, configuration: client.Configuration) -> None:
        try:
            kubeconfig = await read_kubeconfig(self._path)
            self._expires = kubeconfig.expires
            configuration.api_key.update(kubeconfig.configuration.api_key)
        except NotConfigured as error:  # another process may be writing the file
            log.warning("%s: the operator continues with the credentials that it read before", error)
        finally:
            self._read_at = self._loop.time()
