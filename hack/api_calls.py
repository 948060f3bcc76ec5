"""Reads and writes objects through the API server without kubectl: starting kubectl takes longer than the call."""

import json
from abc import ABC, abstractmethod
from typing import Any

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiCallError(Exception):
    """The API server rejected a call, or the path does not exist. The message contains the response."""


class ApiCalls(ABC):
    """Calls to paths such as /api/v1/nodes, as the administrator."""

    def read(self, path: str) -> Any:
        """Return an object or a list, or None if it does not exist."""
        return self._call("GET", path)

    def put(self, path: str, manifest: dict[str, Any]) -> None:
        """Apply a manifest at the path of its object, as `kubectl apply --server-side --force-conflicts` does."""
        self._found(path, self._call("PATCH", f"{path}?fieldManager=tests&force=true", manifest, APPLY))

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        """Change an object with a merge patch, as `kubectl patch --type=merge` does."""
        self._found(path, self._call("PATCH", path, patch, MERGE))

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        self._call("DELETE", path)

    @abstractmethod
    def _send(self, method: str, path: str, body: dict[str, Any] | None, content_type: str) -> tuple[int, bytes]:
        """Send one request, and return the HTTP status and the body of the response."""

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, content_type: str = "") -> Any:
        status, content = self._send(method, path, body, content_type)
        if status == 404:
            return None
        if status >= 300:
            raise ApiCallError(f"{method} {path}: {status} {content.decode(errors='replace')}")
        return json.loads(content)

    def _found(self, path: str, response: Any) -> None:
        if response is None:
            raise ApiCallError(f"{path} does not exist")
