"""Two clients of the API server: that of the operator, which records its writes, and that of a user."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kubernetes.aio import client

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION
from tests.faults.assertions import JournalWrite
from tests.faults.scripted_clock import ScriptedClock


class RecordingClusterApi(ClusterApi):
    """The operator's client. It records the statuses that the API server accepts, and lets others write first."""

    def __init__(self, api: client.ApiClient, clock: ScriptedClock) -> None:
        super().__init__(api)
        self._clock = clock
        self.journal_writes: list[JournalWrite] = []
        self.statuses: list[Mapping[str, Any]] = []
        """Every status that was accepted, oldest first."""
        self.before_write: Callable[[], Awaitable[None]] | None = None

    async def replace_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self.before_write:
            await self.before_write()
        accepted = await super().replace_status(namespace, name, uid, resource_version, status)
        self.journal_writes.append(JournalWrite(self._clock.monotonic(), status.get("activeRun")))
        self.statuses.append(status)
        return accepted


class User:
    """A user who writes the objects, with calls that the operator never makes."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api = api
        self._exporters = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"

    async def create_exporter(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}, "spec": dict(spec)}
        return await self._call("POST", self._exporters, body)

    async def put_secret(self, name: str, data: Mapping[str, str]) -> None:
        """Create or replace a Secret. The values are in Base64 already."""
        metadata = {"name": name}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": dict(data)}
        try:
            await self._call("POST", self._secrets, body)
        except ApiError as error:
            if error.status != 409:
                raise
            await self._call("PUT", f"{self._secrets}/{name}", body)

    async def exporter(self, name: str) -> dict[str, Any]:
        return await self._call("GET", f"{self._exporters}/{name}")

    async def patch(self, name: str, *, subresource: str = "", **parts: Any) -> None:
        """As `kubectl patch --type merge`: `metadata=…`, `spec=…`."""
        path = f"{self._exporters}/{name}/{subresource}".rstrip("/")
        await self._call("PATCH", path, parts, content="application/merge-patch+json")

    async def events(self, name: str) -> list[dict[str, Any]]:
        listed = await self._call("GET", self._events, query=[("fieldSelector", f"regarding.name={name}")])
        return list(listed["items"])

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: str = "application/json",
        query: list[tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        request = await self._api.param_serialize(
            method,
            path,
            query_params=query or [],
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(*request)
        reply: dict[str, Any] = json.loads(await response.read())
        if not 200 <= response.status < 300:
            raise ApiError(response.status, str(reply.get("message")))
        return reply


class ApiError(Exception):
    """The API server refuses a call of a user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
