"""The exporters of an API server, through `kubectl proxy`, with the permissions of the user."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from qualtrics_exporter.cli.console.proxy import kubectl_proxy
from qualtrics_exporter.cli.console.rows import row_of
from qualtrics_exporter.cli.console.snapshot import Key, Snapshot
from qualtrics_exporter.cli.console.source import Event, Object
from qualtrics_exporter.cli.qex import events
from qualtrics_exporter.cli.qex.kubectl import MANAGER, Failed, Kubectl, patch_of, refusal
from qualtrics_exporter.clock import Clock
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION

FIRST_PAGE, NEXT_PAGES = 100, 500
"""How many exporters a page of the list has. The reader sees the first page at once."""
WATCH_SECONDS = 300
"""The API server ends a watch after this time, and the next one begins."""
RETRY_SECONDS = (1, 2, 5, 10)
PERMISSION_SECONDS = 60
"""How long an answer about permissions is used."""
READ_TIMEOUT = httpx.Timeout(30)
UNKNOWN_OUTCOMES = frozenset({"", "InternalError", "ServerTimeout", "Timeout"})
"""The causes of failures after which a change may have been made. Without an answer, the cause is empty."""
EXPIRED = 410
"""The status of a list or watch that continues from a version that the API server does not have any more."""


class Cluster:
    """A `Source`. Without `namespace`, it has the exporters of all namespaces."""

    outbox = ""

    def __init__(self, socket: Path, *, where: str, namespace: str | None, clock: Clock) -> None:
        self.where = where
        self.snapshot = Snapshot()
        self._namespace = namespace
        self._clock = clock
        self._permissions: dict[str, tuple[float, str | None]] = {}
        # kubectl's proxy accepts only the host name localhost.
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._http = httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=READ_TIMEOUT, trust_env=False
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, namespace: str, name: str) -> Object:
        return await self._call("GET", _path(namespace, name))

    async def events(self, exporter: Object) -> Sequence[Event]:
        path = f"/apis/events.k8s.io/v1/namespaces/{exporter['metadata']['namespace']}/events"
        selector = events.selector_of(exporter)
        found = await self._call("GET", path, params={"fieldSelector": selector, "limit": 200})
        return [
            Event(events.time_of(item), item.get("type", ""), item.get("reason", ""), item.get("note", ""))
            for item in sorted(found.get("items") or [], key=events.order_of, reverse=True)
        ]

    async def patch(self, exporter: Object, change: Object) -> None:
        metadata = exporter["metadata"]
        try:
            await self._call(
                "PATCH",
                _path(metadata["namespace"], metadata["name"]),
                params={"fieldManager": MANAGER},
                content=patch_of(exporter, change),
                headers={"Content-Type": "application/merge-patch+json"},
            )
        except Failed as failed:
            if failed.cause in UNKNOWN_OUTCOMES:
                text = f"{failed} The change may have been made. Look before you try again."
                raise Failed(text, failed.cause) from None
            raise

    async def refusal(self, namespace: str) -> str | None:
        asked, answer = self._permissions.get(namespace, (float("-inf"), None))
        now = asyncio.get_running_loop().time()
        if now - asked > PERMISSION_SECONDS:
            answer = await self._ask_permission(namespace)
            self._permissions[namespace] = now, answer
        return answer

    def unavailable(self, action: str) -> str | None:
        return None

    async def _ask_permission(self, namespace: str) -> str | None:
        attributes = {"namespace": namespace, "verb": "patch", "group": GROUP, "resource": PLURAL}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        body = {**review, "spec": {"resourceAttributes": attributes}}
        found = await self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body)
        if (found.get("status") or {}).get("allowed"):
            return None
        return (
            f"Your login may read exporters in the namespace {namespace}, but not change them. "
            f"Ask an administrator of the namespace for the verb patch on {PLURAL}."
        )

    async def follow(self) -> None:
        """Keep the snapshot up to date until cancelled."""
        failures = 0
        while True:
            try:
                version = await self._list()
                while version and (version := await self._watch(version)):
                    failures = 0
                    await self._clock.sleep(RETRY_SECONDS[0])
                problem = ""  # the version has expired
            except Failed as failed:
                problem = str(failed)
            except Exception as error:  # noqa: BLE001 - a bug must not end the updates without a word
                problem = f"The console has an internal error ({type(error).__name__}). Please report it."
            self.snapshot.report(problem, self._clock.now())
            await self._clock.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _list(self) -> str:
        """Read all exporters, page by page. Return the version of the list, or an empty text to list again."""
        keys: set[Key] = set()
        parameters: dict[str, Any] = {"limit": FIRST_PAGE}
        while True:
            try:
                page = await self._call("GET", _path(self._namespace), params=parameters)
            except Failed as failed:
                if failed.cause == "Expired" and "continue" in parameters:
                    return ""
                if failed.cause == "Forbidden" and self._namespace is None:
                    raise Failed(f"{failed} Or choose a namespace with -n.", failed.cause) from None
                raise
            metadata, items = page.get("metadata") or {}, page.get("items") or []
            rows = await asyncio.to_thread(lambda: [row_of(Exporter.from_object(item)) for item in items])  # noqa: B023
            keys.update((row.namespace, row.name) for row in rows)
            self.snapshot.expected = len(keys) + (metadata.get("remainingItemCount") or 0)
            self.snapshot.put(rows)
            self.snapshot.report("", self._clock.now())
            if not metadata.get("continue"):
                self.snapshot.keep_only(keys)
                self.snapshot.mark_complete()
                return str(metadata.get("resourceVersion") or "")
            parameters = {"limit": NEXT_PAGES, "continue": metadata["continue"]}

    async def _watch(self, version: str) -> str:
        """Apply changes after this version. Return the newest version, or an empty text to list again."""
        parameters: dict[str, str | int] = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_SECONDS,
        }
        timeout = httpx.Timeout(30, read=WATCH_SECONDS + 30)
        try:
            async with self._http.stream("GET", _path(self._namespace), params=parameters, timeout=timeout) as response:
                if response.status_code != 200:
                    await response.aread()
                    _check(response)
                async for line in response.aiter_lines():
                    event = json.loads(line)
                    item = event.get("object") or {}
                    if event.get("type") == "ERROR":
                        return ""
                    version = str((item.get("metadata") or {}).get("resourceVersion") or version)
                    self._apply(event.get("type"), item)
        except (httpx.HTTPError, ValueError) as error:
            raise _unreachable(error) from None
        except Failed as failed:
            if failed.cause == "Expired":
                return ""
            raise
        return version

    def _apply(self, kind: str, item: Object) -> None:
        if kind in ("ADDED", "MODIFIED"):
            self.snapshot.put([row_of(Exporter.from_object(item))])
        elif kind == "DELETED":
            metadata = item.get("metadata") or {}
            self.snapshot.remove((metadata.get("namespace", ""), metadata.get("name", "")))

    async def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """The JSON of a successful answer. Raises `Failed`."""
        try:
            response = await self._http.request(method, path, **arguments)
            _check(response)
            found = await asyncio.to_thread(response.json)
        except (httpx.HTTPError, ValueError) as error:
            raise _unreachable(error) from None
        return found if isinstance(found, dict) else {}


def _path(namespace: str | None, name: str | None = None) -> str:
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{inside}/{PLURAL}{f'/{name}' if name else ''}"


def _check(response: httpx.Response) -> None:
    """Raise `Failed` if the API server refused the request, or kubectl could not reach it."""
    if response.is_success:
        return
    try:
        status = response.json()
    except ValueError:
        # kubectl itself answers in plain text, for example if it has no connection or its login failed.
        raise Failed(f"kubectl cannot reach the API server: {response.text.strip()[:500]}.") from None
    if not isinstance(status, dict):
        status = {}
    if response.status_code == 404 and not (status.get("details") or {}).get("name"):
        raise Failed("The CRD of qualtrics-exporter is not installed in this cluster.", "NoCrd")
    cause = "Expired" if response.status_code == EXPIRED else str(status.get("reason") or "")
    raise refusal(cause or "Unauthorized" if response.status_code == 401 else cause, str(status.get("message") or ""))


def _unreachable(error: Exception) -> Failed:
    if isinstance(error, httpx.ConnectError):
        return Failed("`kubectl proxy` has ended. Start `kubectl qex dashboard` again.")
    if isinstance(error, httpx.TimeoutException):
        return Failed("The API server does not answer. Check your network connection and VPN.")
    return Failed(f"The connection to the API server ended ({type(error).__name__}).")


@asynccontextmanager
async def cluster(kubectl: Kubectl, clock: Clock, *, everywhere: bool) -> AsyncIterator[Cluster]:
    """The exporters of a cluster, kept up to date. Raises `Failed` if kubectl has no connection to it.

    Unless the user chose a namespace, they are those of all namespaces, or, if the user may not list them, those of the
    namespace of the context.
    """
    where = await asyncio.to_thread(kubectl.cluster)
    namespace = kubectl.namespace
    async with kubectl_proxy(kubectl) as socket:
        if namespace is None and not everywhere:
            namespace = await _only_namespace(socket, kubectl, clock)
        found = Cluster(socket, where=where, namespace=namespace, clock=clock)
        following = asyncio.create_task(found.follow())
        try:
            yield found
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await found.close()


async def _only_namespace(socket: Path, kubectl: Kubectl, clock: Clock) -> str | None:
    """The namespace of the context, if the user may not list the exporters of all namespaces."""
    probe = Cluster(socket, where="", namespace=None, clock=clock)
    try:
        await probe._call("GET", _path(None), params={"limit": 1})
    except Failed as failed:
        if failed.cause == "Forbidden":
            return await asyncio.to_thread(kubectl.context_namespace)
    finally:
        await probe.close()
    return None
