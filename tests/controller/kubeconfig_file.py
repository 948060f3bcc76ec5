"""Writes kubeconfigs, and connects the client of the operator with them."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from tests.controller.patient_api import patient_api


def write_kubeconfig(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    """Write a kubeconfig whose only context has this cluster and this user."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    path.write_text(json.dumps(content))


@asynccontextmanager
async def client_of(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterApi]:
    """A client that uses this kubeconfig."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with await connect() as connection:
        yield patient_api(connection)
