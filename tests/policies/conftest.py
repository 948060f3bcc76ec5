"""The sample policies, each for a namespace of its own, because all tests of a worker share one API server."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from hack.files import ROOT
from tests.policies.users import EDITOR, SENDER, User
from tests.resource.manifests import sample
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

FOLDER = ROOT / "samples" / "policies"
POLICIES = ("send-requests", "send-by-schedule", "max-recipients", "from-addresses")
RESOURCES = {
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
PARAMETERS = {
    "max-recipients": {"_default": "100"},
    "from-addresses": {"": "surveys@example.com\n*@QEMAILSERVER.com\n"},
}
"""The data of the ConfigMaps. The empty key stands for the namespace of the policy."""


@pytest.fixture(scope="module")
def namespaces(cluster: ControlPlane) -> Iterator[Mapping[str, str]]:
    """A namespace for each sample policy, in which it is in force, with its ConfigMap, by the name of the policy.

    The policies get new names, so that those of an existing cluster stay as they are.
    """
    run = secrets.token_hex(3)
    names = {policy: cluster.namespace(f"{policy}-{run}") for policy in POLICIES}
    paths = []
    try:
        for policy, namespace in names.items():
            for item in yaml.safe_load_all((FOLDER / f"{policy}.yaml").read_text()):
                if item["kind"] == "ConfigMap":
                    item["metadata"]["namespace"] = namespace
                    item["data"] = {key or namespace: value for key, value in PARAMETERS[policy].items()}
                    cluster.put(f"/api/v1/namespaces/{namespace}/configmaps/{item['metadata']['name']}", item)
                    continue
                item["metadata"]["name"] = f"{run}.{item['metadata']['name']}"
                if item["kind"] == "ValidatingAdmissionPolicyBinding":
                    item["spec"]["policyName"] = f"{run}.{item['spec']['policyName']}"
                    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
                    item["spec"]["matchResources"] = {"namespaceSelector": selector}
                    if "paramRef" in item["spec"]:
                        item["spec"]["paramRef"]["namespace"] = namespace
                paths.insert(0, f"{RESOURCES[item['kind']]}/{item['metadata']['name']}")
                cluster.put(paths[0], item)
        for policy, namespace in names.items():
            user = User(cluster, namespace, "probe", EDITOR)
            probe = refused_by_every_policy()
            eventually(lambda u=user, p=probe: not u.create(p, dry_run=True).ok, f"{policy} is in force")  # type: ignore[misc]
        yield names
    finally:
        for path in paths:
            cluster.delete(path)


def refused_by_every_policy() -> dict[str, Any]:
    """An exporter that a user without the verb `send` cannot create under any of the policies."""
    manifest = sample()
    manifest["metadata"] = {"name": "probe", "annotations": {"qualtrics-exporter.dev/run-requested-at": "now"}}
    manifest["spec"].pop("maxRecipients", None)
    manifest["spec"]["qualtrics"]["fromEmail"] = "nobody@qualtrics-research.com"
    return manifest


@pytest.fixture
def manifest(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A new exporter that sends at its slots, with the name of the test."""
    new = sample()
    new["metadata"] = {"name": request.node.name.partition("[")[0].replace("_", "-")[-50:].strip("-")}
    new["spec"] |= {"suspend": False, "maxRecipients": 100}
    return new


@pytest.fixture
def editor(cluster: ControlPlane, namespaces: Mapping[str, str], policy: str) -> User:
    """A user who can write exporters and even their status, without the verb `send`."""
    return User(cluster, namespaces[policy], "editor", EDITOR)


@pytest.fixture
def sender(cluster: ControlPlane, namespaces: Mapping[str, str], policy: str) -> User:
    """The same with the verb `send`."""
    return User(cluster, namespaces[policy], "sender", SENDER)
