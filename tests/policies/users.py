"""Users of the API server that are not administrators, and how it responds to them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from hack.api_calls import APPLY, MERGE
from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION
from tests.support.controlplane import ControlPlane

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
DRY_RUN = "?dryRun=All"

EDITOR = [
    {
        "apiGroups": [GROUP],
        "resources": [PLURAL],
        "verbs": ["get", "list", "create", "update", "patch", "delete", "deletecollection"],
    },
    {"apiGroups": [GROUP], "resources": [f"{PLURAL}/status"], "verbs": ["get", "update", "patch"]},
]
"""What the role `edit` allows, and even to write the status."""
SENDER = [*EDITOR, {"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["send"]}]


class Response(NamedTuple):
    """The response of the API server: HTTP status, and its message if it is an error."""

    status: int
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.status < 300


class User:
    """A user who writes exporters in one namespace."""

    def __init__(self, cluster: ControlPlane, namespace: str, name: str, rules: list[dict[str, list[str]]]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.kubeconfig: Path = cluster.service_account(namespace, name, rules=rules)

    def create(self, manifest: dict[str, Any], *, dry_run: bool = False) -> Response:
        """`kubectl create`."""
        return self._send("POST", DRY_RUN if dry_run else "", manifest, JSON)

    def replace(self, manifest: dict[str, Any]) -> Response:
        """`kubectl replace`."""
        return self._send("PUT", f"/{manifest['metadata']['name']}", manifest, JSON)

    def replace_status(self, manifest: dict[str, Any]) -> Response:
        """`kubectl replace --subresource=status`."""
        return self._send("PUT", f"/{manifest['metadata']['name']}/status", manifest, JSON)

    def apply(self, manifest: dict[str, Any]) -> Response:
        """`kubectl apply --server-side --force-conflicts`."""
        path = f"/{manifest['metadata']['name']}?fieldManager=user&force=true"
        return self._send("PATCH", path, manifest, APPLY)

    def merge(self, name: str, patch: dict[str, Any], subresource: str = "", *, dry_run: bool = False) -> Response:
        """`kubectl patch --type=merge`."""
        return self._send("PATCH", f"/{name}{subresource}{DRY_RUN if dry_run else ''}", patch, MERGE)

    def json_patch(self, name: str, *operations: dict[str, Any]) -> Response:
        """`kubectl patch --type=json`."""
        return self._send("PATCH", f"/{name}", list(operations), JSON_PATCH)

    def annotate(self, exporter: str, **annotations: str | None) -> Response:
        """`kubectl annotate --overwrite`, such as `run_requested_at="now"`. None removes an annotation."""
        return self.merge(exporter, {"metadata": {"annotations": named(annotations)}})

    def _send(self, method: str, path: str, body: Any, content_type: str) -> Response:
        collection = f"/apis/{GROUP}/{VERSION}/namespaces/{self._namespace}/{PLURAL}"
        status, content = self._cluster.send_as(self.kubeconfig, method, f"{collection}{path}", body, content_type)
        return Response(status, json.loads(content)["message"] if status >= 300 else "")


def named(annotations: dict[str, str | None]) -> dict[str, str | None]:
    """The annotations with their complete names."""
    return {f"{GROUP}/{name.replace('_', '-')}": value for name, value in annotations.items()}
