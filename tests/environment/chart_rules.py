"""The operator's rights, as the chart gives them: what the operators of all tests run with.

The chart is the one place where they are written down, so a right that is missing there is missed by a test here.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

from tests.environment.helm import Helm

RELEASE = "qualtrics-exporter"
"""Its Lease is called as the default of the flag."""

Rules = list[dict[str, list[str]]]


def namespaced() -> Rules:
    """All rules of an operator that watches its own namespace only: those of its two Roles."""
    return _rules("Role", "watchNamespaces={default}")


def everywhere() -> Rules:
    """The rules of the ClusterRole of an operator that watches all namespaces; besides it needs `own_namespace`."""
    return _rules("ClusterRole", "rbac.aggregateClusterRoles=false")


def own_namespace() -> Rules:
    """The rules that such an operator has in its own namespace."""
    return _rules("Role", "rbac.aggregateClusterRoles=false")


def _rules(kind: str, setting: str) -> Rules:
    return [rule for object_ in _rendered(setting) if object_["kind"] == kind for rule in object_["rules"]]


@functools.cache
def _rendered(setting: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return Helm(Path(folder)).template(RELEASE, "--set", setting)
