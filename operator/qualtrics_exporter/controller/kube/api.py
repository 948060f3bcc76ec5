"""The calls that the operator makes to the API server, and no others. docs/operating.md lists them as permissions.

Nothing here retries. Every call has one short timeout, and returns a plain dictionary or raises a `ClusterError` (see
`errors`). A write that may have taken effect is never repeated here: its caller reads again and compares. aiohttp
repeats a PUT once when its connection breaks. The second one then meets the change of the first, so a `Conflict` may
hide the operator's own write, too.

Bodies are read as JSON and not as the client's models: models cost ten times as much, and reading an object that an
older CRD let in must not raise.
"""

import base64
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from kubernetes.aio import client

from qualtrics_exporter.controller.kube.connection import tls_problem
from qualtrics_exporter.controller.kube.errors import Conflict, NotFound, Unreachable
from qualtrics_exporter.controller.kube.resources import (
    ACCESS_REVIEWS,
    EVENTS,
    EXPORTERS,
    EXPORTERS_STATUS,
    LEASES,
    SECRETS,
    ApiRequest,
    ApiResource,
)
from qualtrics_exporter.controller.kube.responses import (
    TooLarge,
    missing_permission,
    parse_body,
    raise_for_status,
    read_body,
)
from qualtrics_exporter.fair_share import FairSemaphore, Tenant
from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION

MAX_CONCURRENT_CALLS = 32
"""Of one client. A thousand exporters that are due at once must not time out because they wait for each other."""

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "update": "PUT"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The identity and version of an exporter in a list: enough to see whether it is new or changed."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret. `repr` does not show the content."""

    data: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Limits of single calls."""

    timeout: float = 5.0
    """Seconds for one call: a healthy API server answers in milliseconds."""
    lease_timeout: float = 60.0
    """Seconds for a call about the Lease: the last resort, because the leader election has limits of its own."""
    page: int = 100
    metadata_page: int = 500
    largest_page: int = 8 * 1024 * 1024
    """Bytes of a page with more than one object. An object can have 1.5 MB, most of it annotations and managed fields,
    which are part of the metadata too. A larger page is requested again with fewer objects.
    """


LIMITS = CallLimits()


class ClusterApi:
    """The calls of one replica."""

    def __init__(self, api: client.ApiClient, limits: CallLimits = LIMITS) -> None:
        self._api = api
        self.limits = limits
        self._calls = FairSemaphore(MAX_CONCURRENT_CALLS)

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """The current exporter."""
        return await self._call(ApiRequest("get", EXPORTERS, namespace, name))

    async def list(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Every exporter, of all namespaces if `namespace` is None. At most one page is in memory."""
        async for item in self._pages(EXPORTERS, namespace, selector, self.limits.page, _JSON):
            yield item

    async def list_metadata(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[ObjectKey]:
        """The identity and version of every exporter: far cheaper than `list`."""
        async for item in self._pages(EXPORTERS, namespace, selector, self.limits.metadata_page, _METADATA_LIST):
            metadata = item["metadata"]
            yield ObjectKey(
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                generation=metadata.get("generation", 0),
            )

    async def check_list(self, namespace: str | None, selector: str | None = None) -> None:
        """Raise `ClusterError` if exporters cannot be listed. Requests only one of them."""
        async for _ in self._pages(EXPORTERS, namespace, selector, 1, _METADATA_LIST):
            break

    async def check_watch(self, namespace: str | None) -> None:
        """Raise `Forbidden` if the operator may not watch exporters.

        Kopf reports that only after nine attempts, and less clearly. By default every user may ask for their own
        permissions. If an administrator withdrew that, or the API server cannot decide, this raises nothing.
        """
        asked = {"verb": "watch", "group": GROUP, "version": VERSION, "resource": PLURAL, "namespace": namespace or ""}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        status, review = await self._send(ApiRequest("create", ACCESS_REVIEWS), body=body)
        answer = review.get("status") or {}
        if status == 201 and not answer.get("allowed") and not answer.get("evaluationError"):
            raise missing_permission(ApiRequest("watch", EXPORTERS, namespace))

    async def replace_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Compare-and-set of the whole status: fails unless the object has this uid and this version.

        A write that changes nothing succeeds for every writer, so it protects against none. Always change something.
        """
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": resource_version},
            "status": dict(status),
        }
        return await self._call(ApiRequest("update", EXPORTERS_STATUS, namespace, name), body=body)

    async def get_secret(self, namespace: str, name: str) -> Secret:
        """A Secret with its content."""
        body = await self._call(ApiRequest("get", SECRETS, namespace, name))
        try:
            data = {key: base64.b64decode(value, validate=True) for key, value in (body.get("data") or {}).items()}
        except ValueError as error:  # the API server accepts no such Secret
            raise Unreachable(f"the data of Secret {namespace}/{name} is not base64") from error
        return Secret(data)

    async def secret_version(self, namespace: str, name: str) -> str | None:
        """Changes whenever the content of a Secret may have changed; None if the Secret does not exist."""
        try:
            body = await self._call(ApiRequest("get", SECRETS, namespace, name), accept=_METADATA)
        except NotFound:
            return None
        return f"{body['metadata']['uid']}/{body['metadata']['resourceVersion']}"

    async def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event of events.k8s.io/v1, unless it exists already."""
        try:
            await self._call(ApiRequest("create", EVENTS, event["metadata"]["namespace"]), body=event)
        except Conflict:
            return

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any]:
        return await self._call(ApiRequest("get", LEASES, namespace, name))

    async def create_lease(self, namespace: str, lease: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call(ApiRequest("create", LEASES, namespace), body=lease)

    async def replace_lease(self, namespace: str, name: str, lease: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call(ApiRequest("update", LEASES, namespace, name), body=lease)

    async def _pages(
        self, resource: ApiResource, namespace: str | None, selector: str | None, page_size: int, accept: str
    ) -> AsyncIterator[dict[str, Any]]:
        """The items of a list. If its snapshot expires between two pages, the list continues with a newer one."""
        request = ApiRequest("list", resource, namespace)
        query = [("labelSelector", selector)] if selector else []
        token, limit = "", page_size
        while True:
            page_query = [*query, ("limit", str(limit)), *([("continue", token)] if token else [])]
            try:
                status, page = await self._send(
                    request, query=page_query, accept=accept, max_bytes=self.limits.largest_page if limit > 1 else None
                )
            except TooLarge:
                limit = max(1, limit // 4)
                continue
            limit = min(page_size, 2 * limit)
            if status == 410 and (newer := (page.get("metadata") or {}).get("continue")):
                token = newer
                continue
            raise_for_status(status, page, request)
            for item in page.get("items") or []:
                yield item
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def _call(
        self, request: ApiRequest, *, accept: str = _JSON, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The body of a successful response. Raises `ClusterError` for any other one."""
        if request.name is not None and not _NAME.fullmatch(request.name):  # it must not become another path
            raise NotFound(f"no object in {request.resource} can have that name")
        status, response = await self._send(request, accept=accept, body=body)
        raise_for_status(status, response, request)
        return response

    async def _send(
        self,
        request: ApiRequest,
        *,
        query: Iterable[tuple[str, str]] = (),
        accept: str = _JSON,
        body: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """The status and the body of the response. Raises `TooLarge` if the body has more than `max_bytes`."""
        # Calls about the Lease do not wait: a leader must renew it in time. Namespaces share the other calls, because
        # an admission webhook may hang for one namespace only.
        about_lease = request.resource is LEASES
        turn = contextlib.nullcontext() if about_lease else self._calls.hold(Tenant(request.namespace or "", ""))
        timeout = aiohttp.ClientTimeout(total=self.limits.lease_timeout if about_lease else self.limits.timeout)
        try:
            async with turn:
                method, url, headers, content, form = await self._api.param_serialize(
                    _METHODS[request.verb],
                    request.path,
                    query_params=list(query),
                    header_params={"Accept": accept},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(method, url, headers, content, form, _request_timeout=timeout)
                raw = await read_body(response.response, max_bytes)
            return response.status, parse_body(raw, response.status)
        except TimeoutError as error:
            raise Unreachable(f"{request} timed out") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{request} failed: {tls_problem(error) or type(error).__name__}") from error
