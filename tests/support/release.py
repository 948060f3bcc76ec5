"""A release of the chart on an API server without nodes, and operators that run like its pods.

Such an operator is a local process. It has the token and the permissions of the service account of the release, and the
environment of the Deployment. The tests on a node cover the rest of a pod, such as its image and security context.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.helm import CHART, Helm
from tests.support.controlplane import ControlPlane
from tests.support.operator import Operator
from tests.support.stage import Stage
from tests.support.waiting import eventually

AGGREGATED = "rbac.authorization.k8s.io/aggregate-to-"


@dataclass(frozen=True, order=True)
class Permission:
    """A verb on a resource, as in the rules of a role."""

    verb: str
    resource: str
    group: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class Release:
    """A release of the chart. Creating this object installs nothing."""

    def __init__(self, cluster: ControlPlane, folder: Path, namespace: str, name: str = "qualtrics-exporter") -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        self._folder = folder

    def install(self, *arguments: str, chart: Path = CHART, **values: Any) -> str:
        """`helm install` with these values. Returns the output of Helm."""
        return self.helm(chart).install(self.name, *arguments, namespace=self.namespace, values=values)

    def upgrade(self, *arguments: str, chart: Path = CHART, **values: Any) -> str:
        """`helm upgrade` with exactly these values. Returns the output of Helm."""
        return self.helm(chart).upgrade(self.name, *arguments, namespace=self.namespace, values=values)

    def uninstall(self, *arguments: str) -> str:
        """`helm uninstall`. Returns the output of Helm."""
        return self.helm().uninstall(self.name, *arguments, namespace=self.namespace)

    def helm(self, chart: Path = CHART) -> Helm:
        return Helm(self._folder, self.cluster.kubeconfig, chart=chart)

    def operator(self, stage: Stage, pod: str = "pod-0") -> Operator:
        """An operator like a pod of the Deployment, with its environment and service account. It is not started yet."""
        pod_spec = self._get("deployment", self.name)["spec"]["template"]["spec"]
        (container,) = pod_spec["containers"]
        assert container["args"][0] == "controller"
        kubeconfig = self.cluster.credentials(self.namespace, pod_spec["serviceAccountName"])
        # A variable without a value has the name of the pod, from its fields.
        environment = {variable["name"]: variable.get("value", pod) for variable in container["env"]}
        return stage.process(kubeconfig, *container["args"][1:], environment=environment)

    def permissions(self) -> set[Permission]:
        """All permissions that the release gives to the operator."""
        return {
            Permission(verb, resource, group)
            for role in self._roles()
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    @contextmanager
    def revoked(self, permission: Permission, namespace: str) -> Iterator[None]:
        """Revoke a permission during the block, in all roles of the release."""
        roles = self._roles()
        reduced = [{**role, "rules": [_rule_without(rule, permission) for rule in role["rules"]]} for role in roles]
        assert reduced != roles, f"no role of the release has the permission to {permission}"
        self._replace(reduced)
        # The API server applies a changed role a moment later.
        eventually(lambda: not self.is_allowed(permission, namespace), f"the operator cannot {permission} any more")
        try:
            yield
        finally:
            self._replace(roles)
            eventually(lambda: self.is_allowed(permission, namespace), f"the operator can {permission} again")

    def is_allowed(self, permission: Permission, namespace: str) -> bool:
        """Return whether the operator has a permission in a namespace now. For Leases, check the Lease of the
        release."""
        resource, _, subresource = permission.resource.partition("/")
        kind = f"{resource}.{permission.group}" if permission.group else resource
        named = resource == "leases" and permission.verb != "create"
        result = self.cluster.kubectl(
            *("auth", "can-i", permission.verb, f"{kind}/{self.name}" if named else kind),
            f"--subresource={subresource}",
            *("--namespace", namespace, f"--as=system:serviceaccount:{self.namespace}:{self.name}"),
            check=False,
        )
        return result.stdout.strip() == "yes"

    def _roles(self) -> list[dict[str, Any]]:
        """The roles of the release, without those that are aggregated to view, edit and admin."""
        label = f"--selector=app.kubernetes.io/instance={self.name}"
        result = self.cluster.kubectl("get", "roles,clusterroles", "--all-namespaces", label, "-o", "json")
        roles = []
        for role in json.loads(result.stdout)["items"]:
            metadata = role["metadata"]
            release = metadata["annotations"]["meta.helm.sh/release-namespace"]
            if release == self.namespace and not any(key.startswith(AGGREGATED) for key in metadata["labels"]):
                metadata.pop("resourceVersion")
                roles.append(role)
        return roles

    def _replace(self, roles: list[dict[str, Any]]) -> None:
        objects = {"apiVersion": "v1", "kind": "List", "items": roles}
        self.cluster.kubectl("replace", "-f", "-", input=json.dumps(objects))

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        result = self.cluster.kubectl("get", kind, name, "--namespace", self.namespace, "-o", "json")
        loaded: dict[str, Any] = json.loads(result.stdout)
        return loaded


def _rule_without(rule: dict[str, Any], permission: Permission) -> dict[str, Any]:
    """Return the rule without the permission. Each rule of the chart has one resource."""
    if (rule["apiGroups"], rule["resources"]) != ([permission.group], [permission.resource]):
        return rule
    # A rule must have a verb.
    return {**rule, "verbs": [verb for verb in rule["verbs"] if verb != permission.verb] or ["nothing"]}
