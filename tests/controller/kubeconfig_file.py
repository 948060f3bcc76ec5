"""Writes a kubeconfig with one cluster and one user."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
