"""The cluster, as far as the operator needs it: one small class, plain dictionaries in and out.

Nothing here retries. Every call has one short timeout and ends in a value or in one of these:

    ClusterError            a call to the API server did not do what was asked
    ├── Conflict            409: somebody else wrote first (or it is another object of the same name)
    ├── Gone                404: there is no such object
    ├── Forbidden           401, 403: says which verb on which resource is missing
    ├── Refused             400, 422 and the like, and a 403 by a policy or a quota: what was sent is not accepted
    ├── Unreachable         no reply, a late one, 429, 5xx or garbage: whether a write took effect is not known
    └── NotConfigured       neither KUBECONFIG nor a service account leads to a cluster
        └── NoTemporaryFile a kubeconfig would, but this machine has no folder for the files that it needs

A write that may have taken effect is never repeated from here: who wrote it reads again and compares. Mind that aiohttp
itself repeats a PUT once when its connection breaks; the second one then meets the change of the first, so a `Conflict`
too may hide a write of our own.

Bodies are read as JSON and not as the client's models: those cost ten times as much, and an object that an older CRD
let in must not raise.
"""

import asyncio
import base64
import binascii
import contextlib
import copy
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from kubernetes.aio import client, config

from qualtrics_exporter.controller import temporary_files
from qualtrics_exporter.controller.kube import refusals
from qualtrics_exporter.controller.kube.connection import BadConnection, Connection, headers_of, tls_problem
from qualtrics_exporter.fair_share import FairSemaphore, Tenant
from qualtrics_exporter.remote.transport import USER_AGENT
from qualtrics_exporter.resource.exporter import GROUP, KIND, PLURAL, VERSION

log = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds for one call: the API server answers in milliseconds or is in trouble."""

LEASE_TIMEOUT = 60.0
"""Seconds for a call about the Lease: a limit of the last resort. The election has limits of its own."""

REFRESH = 60.0
"""Seconds after which a kubeconfig is read again, because its token may have been rotated."""

REFRESH_EXPIRED = 5.0
"""The same if its token has expired, which a command (exec) says."""

MAX_CONCURRENT_CALLS = 32
"""Calls of one client at once. A thousand exporters that are due must not time out for waiting on each other."""

PAGE = 100
METADATA_PAGE = 500
LARGEST_PAGE = 8 * 1024 * 1024
"""Bytes of a page, unless it has one object only. An object can have 1.5 MB, most of it annotations and the names of
their fields, which come with the metadata too. A page that is larger is asked for again with fewer objects.
"""

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_AUTH_PROVIDERS = {"gcp", "oidc"}
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "update": "PUT"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class ClusterError(Exception):
    """A call to the API server did not do what was asked. The text is a sentence without a full stop."""

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):
    """Somebody else wrote first, the object exists already, or it is another one of the same name."""


class Gone(ClusterError):
    """There is no such object."""


class Forbidden(ClusterError):
    """The operator is not known to the API server, or lacks a right."""


class Refused(ClusterError):
    """The API server does not accept what was sent: asking again changes nothing."""


class Unreachable(ClusterError):
    """No usable reply: a write may or may not have taken effect."""


class NotConfigured(ClusterError):
    """Nothing says which cluster."""


class NoTemporaryFile(NotConfigured):
    """Certificates and keys in a kubeconfig are used as files, and no temporary file can be written."""


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """One exporter in a list, by what tells whether it is new or changed."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret that was read. `version` changes whenever its content may have; the content shows up in no repr."""

    version: str
    data: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where objects of one kind live."""

    root: str
    plural: str
    subresource: str = ""

    def path(self, namespace: str | None, name: str | None = None) -> str:
        parts = [self.root]
        parts += ["namespaces", quote(namespace, safe="")] if namespace else []
        parts += [self.plural]
        parts += [quote(name, safe="")] if name else []
        parts += [self.subresource] if name and self.subresource else []
        return "/".join(parts)

    def __str__(self) -> str:
        group = self.root.split("/")[2] if self.root.startswith("/apis/") else ""
        named = f"{self.plural}.{group}" if group else self.plural
        return f"{named}/{self.subresource}" if self.subresource else named


_EXPORTERS = _Kind(f"/apis/{GROUP}/{VERSION}", PLURAL)
_EXPORTERS_STATUS = _Kind(f"/apis/{GROUP}/{VERSION}", PLURAL, "status")
_SECRETS = _Kind("/api/v1", "secrets")
_EVENTS = _Kind("/apis/events.k8s.io/v1", "events")
_LEASES = _Kind("/apis/coordination.k8s.io/v1", "leases")
_OWN_RIGHTS = _Kind("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")


# Which cluster


async def connection() -> Connection:
    """How to reach the cluster: `KUBECONFIG` where it is set, else the service account, else `~/.kube/config`.

    What somebody set on purpose comes first: in a pod of one cluster it leads to another. Credentials stay fresh: a
    service account's token is read again each minute by the client, that of a kubeconfig by `_reread`.
    """
    path = os.environ.get("KUBECONFIG", "")
    if not path and "KUBERNETES_SERVICE_HOST" in os.environ:
        loaded = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise NotConfigured(f"the service account of this pod cannot be used: {error}") from error
        return Connection(loaded, {})
    path = path or "~/.kube/config"
    loaded, headers, expires = await _kubeconfig(path)
    loaded.refresh_api_key_hook = _reread(path, expires)
    try:
        return Connection(loaded, headers)
    except BadConnection as error:
        raise NotConfigured(f"the kubeconfig at {path} cannot be used: {error}") from None


async def connect() -> client.ApiClient:
    """A client of the cluster; its user closes it."""
    made = await connection()
    try:
        session = made.session()
    except BadConnection as error:
        raise NotConfigured(f"the cluster cannot be reached: {error}") from None
    # The client would make a TLS context of its own, and take proxies from the environment.
    used = copy.copy(made.configuration)
    used.ssl_ca_cert = used.cert_file = used.key_file = used.tls_server_name = used.proxy = None
    api = client.ApiClient(used)
    api.rest_client.pool_manager = session
    api.user_agent = USER_AGENT  # also the manager of the fields that it writes, which users see in managedFields
    return api


async def login(**_kwargs: Any) -> Connection:
    """For Kopf: the same cluster and credentials as `connect`, read anew each time Kopf asks."""
    return await connection()


async def _kubeconfig(path: str) -> tuple[client.Configuration, dict[str, str | list[str]], datetime | None]:
    """What a kubeconfig says: the settings, the headers of each request, and when the token expires, if that is known.

    Raises `NotConfigured`.
    """
    loaded = client.Configuration()
    try:
        loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, client_configuration=loaded, persist_config=False
        )
        cluster, user = (node.value if node else {} for node in (loader._cluster, loader._user))
        if user.get("tokenFile") and user.get("token") and not user.keys() & {"exec", "auth-provider"}:
            # The file comes first for kubectl, and last for the client.
            loaded.api_key["BearerToken"] = f"Bearer {_beside(loader._user.path or path, user['tokenFile'])}"
        _check_credentials(loaded, user)
        headers = headers_of(cluster, user)
    except BadConnection as error:
        raise NotConfigured(f"the kubeconfig at {path} cannot be used: {error}") from None
    except (config.ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and (problem := temporary_files.problem()):
            what = f"the kubeconfig at {path} has certificates or keys that are used as temporary files, but {problem}"
            raise NoTemporaryFile(what) from error
        raise NotConfigured(f"no cluster: no service account, and no usable kubeconfig at {path}") from error
    if token := loaded.api_key.get("BearerToken"):
        loaded.api_key["BearerToken"] = token.strip()  # a tokenFile ends in a newline, no header may
    return loaded, headers, getattr(loader, "exec_plugin_expiry", None)


def _check_credentials(loaded: client.Configuration, user: Mapping[str, Any]) -> None:
    """Raise `BadConnection` if a user has no credentials although its kubeconfig says where to get them.

    The client only logs it. As nobody, the operator would be refused everything, and would not know why.
    """
    if loaded.api_key.get("BearerToken") or loaded.cert_file:
        return
    if "auth-provider" in user and (name := str(user["auth-provider"].get("name"))) not in _AUTH_PROVIDERS:
        raise BadConnection(f"the auth-provider {name} of its user is not supported. Use exec")
    if "exec" in user:
        command = user["exec"].get("command")
        raise BadConnection(f"the command {command} of its user (exec) did not return credentials")


def _beside(kubeconfig: str, file: str) -> str:
    """The text of a file that a kubeconfig names, possibly relative to its own place."""
    return (Path(kubeconfig).expanduser().parent / file).read_text("utf-8")


def _reread(path: str, expires: datetime | None) -> Any:
    """A hook that the client calls before each request: takes the credentials from the file again, at times.

    A request that is given up does not end the reading: a command (exec) may take longer than a request.
    """
    loop = asyncio.get_running_loop()
    read_at = loop.time()
    reading: asyncio.Task[None] | None = None

    def expired() -> bool:
        return expires is not None and expires <= datetime.now(UTC)

    async def read(used: client.Configuration) -> None:
        nonlocal read_at, expires
        try:
            loaded, _, expires = await _kubeconfig(path)
            used.api_key.update(loaded.api_key)
        except NotConfigured as error:  # somebody may be writing it
            log.warning("%s: going on with the credentials read before", error)
        finally:
            read_at = loop.time()

    async def hook(used: client.Configuration) -> None:
        nonlocal reading
        if reading is None or reading.done():
            if loop.time() - read_at < (min(REFRESH, REFRESH_EXPIRED) if expired() else REFRESH):
                return
            reading = asyncio.create_task(read(used))
        elif not expired():
            return  # with the token of before
        await asyncio.shield(reading)

    return hook


# What is in it


class Cluster:
    """The calls that the operator makes, and no others: docs/operating.md lists them as rights."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._calls = FairSemaphore(MAX_CONCURRENT_CALLS)

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """The exporter as it is now."""
        return await self._call("get", _EXPORTERS, namespace, name)

    async def list(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Every exporter, in pages: no more than one page is in memory. None is every namespace."""
        async for item in self._pages(_EXPORTERS, namespace, selector, PAGE, _JSON):
            yield item

    async def list_metadata(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[ObjectKey]:
        """Every exporter by what tells whether it changed: far cheaper than `list`."""
        async for item in self._pages(_EXPORTERS, namespace, selector, METADATA_PAGE, _METADATA_LIST):
            metadata = item["metadata"]
            yield ObjectKey(
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                generation=metadata.get("generation", 0),
            )

    async def check_watch(self, namespace: str | None) -> None:
        """Raise `Forbidden` if exporters may not be watched.

        Kopf finds that out by itself, but only after nine tries, and in words of its own. Everybody may ask for their
        own rights, unless the cluster's administrator took that away: then, or where the API server cannot decide,
        nothing is known, and nothing raised.
        """
        asked = {"verb": "watch", "group": GROUP, "version": VERSION, "resource": PLURAL, "namespace": namespace or ""}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        status, reply = await self._send("create", _OWN_RIGHTS, None, None, [], _JSON, body)
        answer = reply.get("status") or {}
        if status == 201 and not answer.get("allowed") and not answer.get("evaluationError"):
            raise Forbidden(_lacks("watch", _EXPORTERS, namespace), 403)

    async def replace_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Compare-and-set of the whole status: fails unless it is this object at this version.

        A write that changes nothing succeeds for everybody and fences nobody: let it change bytes.
        """
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": resource_version},
            "status": dict(status),
        }
        return await self._call("update", _EXPORTERS_STATUS, namespace, name, body=body)

    async def get_secret(self, namespace: str, name: str) -> Secret:
        """A Secret with its content."""
        body = await self._call("get", _SECRETS, namespace, name)
        try:
            data = {key: base64.b64decode(value, validate=True) for key, value in (body.get("data") or {}).items()}
        except (binascii.Error, ValueError) as error:  # the API server lets no such thing in
            raise Unreachable(f"Secret {namespace}/{name} came back garbled") from error
        return Secret(_version(body), data)

    async def secret_version(self, namespace: str, name: str) -> str | None:
        """The version of a Secret, without a byte of its content; None when it does not exist."""
        try:
            return _version(await self._call("get", _SECRETS, namespace, name, accept=_METADATA))
        except Gone:
            return None

    async def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event of events.k8s.io/v1; one that is there already is fine."""
        try:
            await self._call("create", _EVENTS, event["metadata"]["namespace"], body=event)
        except Conflict:
            return

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any]:
        return await self._call("get", _LEASES, namespace, name)

    async def create_lease(self, namespace: str, lease: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("create", _LEASES, namespace, body=lease)

    async def replace_lease(self, namespace: str, name: str, lease: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("update", _LEASES, namespace, name, body=lease)

    # How

    async def _pages(
        self, kind: _Kind, namespace: str | None, selector: str | None, size: int, accept: str
    ) -> AsyncIterator[dict[str, Any]]:
        """The items of a list. Where a list is so slow that its snapshot is dropped, it goes on with a newer one."""
        query = [("labelSelector", selector)] if selector else []
        token, number = "", size
        while True:
            following = [*query, ("limit", str(number)), *([("continue", token)] if token else [])]
            most = LARGEST_PAGE if number > 1 else None
            try:
                status, page = await self._send("list", kind, namespace, None, following, accept, None, most)
            except _TooLarge:
                number = max(1, number // 4)
                continue
            number = min(size, 2 * number)
            if status == 410 and (newer := (page.get("metadata") or {}).get("continue")):
                token = newer
                continue
            _raise_for(status, page, "list", kind, namespace, None)
            for item in page.get("items") or []:
                yield item
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def _call(
        self,
        verb: str,
        kind: _Kind,
        namespace: str | None,
        name: str | None = None,
        *,
        accept: str = _JSON,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        if name is not None and not _NAME.fullmatch(name):  # a name from a spec must not become another path
            raise Gone(f"there can be no object of that name in {kind}")
        status, reply = await self._send(verb, kind, namespace, name, [], accept, body)
        _raise_for(status, reply, verb, kind, namespace, name)
        return reply

    async def _send(
        self,
        verb: str,
        kind: _Kind,
        namespace: str | None,
        name: str | None,
        query: Iterable[tuple[str, str]],
        accept: str,
        body: Mapping[str, Any] | None,
        most: int | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """One request and its reply, whatever its status. Raises `_TooLarge` for a reply of more than `most` bytes."""
        # The Lease waits for nobody: a leader must renew it in time. Namespaces share, because an admission webhook may
        # hang for one of them only.
        turn = contextlib.nullcontext() if kind is _LEASES else self._calls.hold(Tenant(namespace or "", ""))
        seconds = LEASE_TIMEOUT if kind is _LEASES else TIMEOUT
        try:
            async with turn:
                method, url, headers, content, form = await self._api.param_serialize(
                    _METHODS[verb],
                    kind.path(namespace, name),
                    query_params=list(query),
                    header_params={"Accept": accept},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(
                    method, url, headers, content, form, _request_timeout=aiohttp.ClientTimeout(total=seconds)
                )
                raw = await _read(response.response, most)
            reply = _object(raw, response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = (
                "timed out"
                if isinstance(error, TimeoutError)
                else f"failed: {tls_problem(error) or type(error).__name__}"
            )
            raise Unreachable(f"{_what(verb, kind, namespace, name)} {why}") from error
        return response.status, reply


class _TooLarge(Exception):
    """The reply has more bytes than were asked for."""


async def _read(response: aiohttp.ClientResponse, most: int | None) -> bytes:
    if most is None:
        return await response.read()
    raw = bytearray()
    async for piece in response.content.iter_any():
        raw += piece
        if len(raw) > most:
            response.close()
            raise _TooLarge
    return bytes(raw)


def _object(raw: bytes, status: int) -> dict[str, Any]:
    """The body of a reply; ValueError when a good reply has none. Errors may come as text ("404 page not found")."""
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    if 200 <= status < 300:
        raise ValueError("the reply is no object")
    return {}


def _raise_for(
    status: int, reply: Mapping[str, Any], verb: str, kind: _Kind, namespace: str | None, name: str | None
) -> None:
    """Nothing for a good reply, else the fitting error."""
    if 200 <= status < 300:
        return
    what = _what(verb, kind, namespace, name)
    if status == 403 and refusals.lacks_permission(reply):
        raise Forbidden(_lacks(verb, kind, namespace, refusals.authorizer_reason(reply)), status)
    if status == 403:
        why = refusals.stated_reason(reply) or "the API server does not say why"
        raise Refused(f"{what} was refused (HTTP 403): {why}", status)
    if status == 401:
        raise Forbidden(f"{what}: the API server does not accept the operator's credentials (HTTP 401)", status)
    if status == 404 and not name:
        raise Gone(f"{what}: the cluster has no such resource or namespace (HTTP 404)", status)
    if status == 404:
        raise Gone(f"{what}: not found (HTTP 404)", status)
    if status == 409:
        raise Conflict(f"{what}: conflict (HTTP 409)", status)
    if refusals.is_too_large(reply):
        raise Refused(f"{what} was refused (HTTP {status}): the object is too large", status)
    if status == 410 or status == 429 or status >= 500 or status < 400:
        webhook = refusals.failed_webhook(reply)
        raise Unreachable(f"{what} failed (HTTP {status})" + (f": {webhook}" if webhook else ""), status)
    why = refusals.admission_reason(reply) or refusals.named_fields(reply)
    raise Refused(f"{what} was refused (HTTP {status}): {why}", status)


def _lacks(verb: str, kind: _Kind, namespace: str | None, why: str = "") -> str:
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    lacks = f"the operator may not {verb} {kind} {where} (HTTP 403): its role lacks that rule"
    return f"{lacks} ({why})" if why else lacks


def _what(verb: str, kind: _Kind, namespace: str | None, name: str | None) -> str:
    return " ".join(part for part in (verb, str(kind), "/".join(p for p in (namespace, name) if p)) if part)


def _version(body: Mapping[str, Any]) -> str:
    metadata = body["metadata"]
    return f"{metadata['uid']}/{metadata['resourceVersion']}"
