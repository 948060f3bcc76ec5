"""What Argo CD compares: whether everything that Git says is in the cluster, as Git says it."""

from typing import Any


def missing(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Where the cluster has something else than what was written; what it has besides is nobody's business."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [
            found
            for key, value in wanted.items()
            for found in (missing(value, live[key], f"{path}.{key}") if key in live else [f"{path}.{key} is gone"])
        ]
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        return [
            found
            for number, (value, other) in enumerate(zip(wanted, live, strict=True))
            for found in missing(value, other, f"{path}[{number}]")
        ]
    return [] if type(wanted) is type(live) and wanted == live else [f"{path}: {wanted!r} became {live!r}"]
