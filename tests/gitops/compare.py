"""Compare manifests with objects of the cluster, as Argo CD does."""

from typing import Any


def differences(manifest: Any, live: Any, path: str = "") -> list[str]:
    """The fields of a manifest that have another value in the cluster. Other fields of the live object do not count."""
    if isinstance(manifest, dict) and isinstance(live, dict):
        return [
            found
            for key, value in manifest.items()
            for found in (differences(value, live[key], f"{path}.{key}") if key in live else [f"{path}.{key} is gone"])
        ]
    if isinstance(manifest, list) and isinstance(live, list) and len(manifest) == len(live):
        return [
            found
            for number, (value, other) in enumerate(zip(manifest, live, strict=True))
            for found in differences(value, other, f"{path}[{number}]")
        ]
    return [] if type(manifest) is type(live) and manifest == live else [f"{path}: {manifest!r} became {live!r}"]
