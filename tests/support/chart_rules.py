"""The permissions of the operator in the chart. The operators of all tests have exactly these permissions.

The chart is the only place that defines them, so a test fails if a permission is missing in the chart.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

from hack.helm import Helm

RELEASE = "qualtrics-exporter"
"""The release has the name of the default Lease."""

Rules = list[dict[str, list[str]]]


def namespaced() -> Rules:
    """All rules of an operator that watches only its own namespace: those of its two Roles."""
    return _rules("Role", "watchNamespaces={default}")


def everywhere() -> Rules:
    """The ClusterRole rules of an operator that watches all namespaces. It also needs the rules of `own_namespace`."""
    return _rules("ClusterRole", "rbac.aggregateClusterRoles=false")


def own_namespace() -> Rules:
    """The rules of such an operator in its own namespace."""
    return _rules("Role", "rbac.aggregateClusterRoles=false")


def _rules(kind: str, setting: str) -> Rules:
    return [rule for object_ in _rendered(setting) if object_["kind"] == kind for rule in object_["rules"]]


@functools.cache
def _rendered(setting: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return Helm(Path(folder)).template(RELEASE, "--set", setting)
