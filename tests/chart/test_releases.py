"""Releases of the chart on a real API server: install, upgrade, uninstall, several releases, and the notes.

These tests have a control plane of their own, because Helm installs and deletes the CRD.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.files import ROOT
from hack.helm import Helm, HelmError
from tests.support.controlplane import ControlPlane
from tests.support.waiting import HANG, eventually

CRD = "qualtricsexporters.qualtrics-exporter.dev"
NO_CRD: dict[str, Any] = {"crds": {"enabled": False}}


@pytest.fixture(scope="module")
def own_cluster(helm: Helm) -> Iterator[ControlPlane]:
    """A control plane without the CRD. The fixture `helm` builds the program that it needs."""
    with ControlPlane() as running:
        if not running.owned:
            pytest.skip("these tests must not delete the CRD of an existing cluster")
        for namespace in ("dex", "hr", "system"):
            running.namespace(namespace)
        yield running


@pytest.fixture(scope="module")
def admin_helm(own_cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm with the permissions of a cluster administrator."""
    return Helm(tmp_path_factory.mktemp("helm"), own_cluster.kubeconfig)


@pytest.fixture
def empty_cluster(own_cluster: ControlPlane, admin_helm: Helm) -> Iterator[ControlPlane]:
    """The cluster without releases and without the CRD. After the test, both are removed again."""
    yield own_cluster
    for release in json.loads(admin_helm.run("list", "--all-namespaces", "--output", "json").stdout):
        admin_helm.uninstall(release["name"], namespace=release["namespace"])
    own_cluster.kubectl("delete", "crd", CRD, "--ignore-not-found")


def install_error(admin_helm: Helm, release: str, namespace: str, **values: Any) -> str:
    """Install a release that Helm rejects; returns the error message."""
    with pytest.raises(HelmError) as failure:
        admin_helm.install(release, namespace=namespace, values=values)
    return str(failure.value.stderr)


# Install, upgrade, uninstall


def test_release_installs_upgrades_and_uninstalls_but_leaves_the_crd(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    notes = admin_helm.install("surveys", namespace="system")
    assert "kubectl rollout status deployment/surveys-qualtrics-exporter --namespace system" in notes
    assert "WARNING" not in notes
    for command in re.findall(r"^   kubectl ((?:explain|get) .*)$", notes, re.MULTILINE):
        # The API server serves the new kind a moment after the CRD was applied.
        eventually(
            lambda suggested=command: empty_cluster.kubectl(*suggested.split(), check=False).returncode == 0, command
        )
    admin_helm.upgrade("surveys", namespace="system", values={"replicaCount": 3})
    deployment = ("get", "deployment", "surveys-qualtrics-exporter", "--namespace", "system")
    assert empty_cluster.kubectl(*deployment, "-o", "jsonpath={.spec.replicas}").stdout == "3"
    assert CRD in admin_helm.uninstall("surveys", namespace="system")
    left = empty_cluster.kubectl("get", "all,sa,roles,rolebindings,pdb", "--namespace", "system", "-o", "name").stdout
    assert [line for line in left.splitlines() if "surveys" in line] == []
    assert "surveys" not in empty_cluster.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").stdout
    assert empty_cluster.kubectl("get", "crd", CRD, "-o", "name").stdout
    admin_helm.install("surveys", namespace="system")


def test_uninstall_deletes_the_crd_with_keep_false_as_the_notes_warn(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    notes = admin_helm.install("surveys", namespace="system", values={"crds": {"keep": False}})
    warning = "If you uninstall this release, or roll it back to a revision with crds.enabled=false, every exporter in"
    assert f"WARNING: crds.keep is false. {warning} the" in notes
    admin_helm.uninstall("surveys", namespace="system")
    empty_cluster.kubectl("wait", "--for=delete", f"--timeout={HANG}", f"crd/{CRD}")


def test_upgrade_that_would_delete_the_crd_is_rejected_until_the_crd_is_kept(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    admin_helm.install("surveys", namespace="system", values={"crds": {"keep": False}})
    with pytest.raises(HelmError, match="this upgrade would delete the CRD and every exporter in the cluster"):
        admin_helm.upgrade("surveys", namespace="system", values=NO_CRD)
    admin_helm.upgrade("surveys", namespace="system")
    admin_helm.upgrade("surveys", namespace="system", values=NO_CRD)
    assert empty_cluster.kubectl("get", "crd", CRD, "-o", "name").stdout


def test_install_rejects_a_crd_of_another_release_and_says_how_to_transfer_it(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    admin_helm.install("first", namespace="dex", values={"selector": "team=dex"})
    error = install_error(admin_helm, "second", "hr", selector="team=hr")
    assert f"The CRD {CRD} already exists and belongs to the release first in dex: set crds.enabled=false" in error
    admin_helm.upgrade("first", namespace="dex", values={**NO_CRD, "selector": "team=dex"})
    empty_cluster.kubectl("annotate", "crd", CRD, "helm.sh/resource-policy-")
    run_suggested_commands(empty_cluster, error)
    policy = empty_cluster.kubectl(
        "get", "crd", CRD, "-o", r"jsonpath={.metadata.annotations.helm\.sh/resource-policy}"
    ).stdout
    assert policy == "keep", "a rollback of the first release would delete the CRD"
    admin_helm.install("second", namespace="hr", values={"selector": "team=hr"})


def test_install_rejects_a_crd_that_kubectl_applied_and_says_how_to_transfer_it(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    empty_cluster.install_crds()
    error = install_error(admin_helm, "surveys", "system")
    assert f"The CRD {CRD} already exists and belongs to no release: set crds.enabled=false" in error
    run_suggested_commands(empty_cluster, error)
    admin_helm.install("surveys", "--force-conflicts", namespace="system")


def run_suggested_commands(cluster: ControlPlane, error: str) -> None:
    """Run the kubectl commands by which the error message transfers the CRD."""
    commands = re.search(r"Or transfer it to this release.*?: (kubectl .*)", error)
    assert commands
    for command in commands[1].split(" && "):
        program, *arguments = command.split()
        assert program == "kubectl"
        cluster.kubectl(*arguments)


@pytest.mark.parametrize("page", ["docs/operating.md", "charts/qualtrics-exporter/README.md"])
def test_helm_install_commands_of_the_docs_succeed(empty_cluster: ControlPlane, admin_helm: Helm, page: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("helm install ")]
    assert commands
    for _, _, release, chart, *arguments in commands:
        folder, flags = ROOT / chart, list(arguments)
        if chart.startswith("oci://"):  # the published chart, which tests/release installs
            folder, version = ROOT / "charts" / chart.rpartition("/")[2], flags.index("--version")
            del flags[version : version + 2]
        done = admin_helm.run("install", release, str(folder), *flags)
        assert "STATUS: deployed" in done.stdout
        admin_helm.uninstall(release, namespace=arguments[arguments.index("--namespace") + 1])


# Several releases, and changes to one


def test_two_releases_with_different_selectors_install_in_one_namespace(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    for team in ("dex", "hr"):
        admin_helm.install(team, namespace="system", values={**NO_CRD, "selector": f"team={team}"})
    listed = empty_cluster.kubectl("get", "deployments", "--namespace", "system", "-o", "name").stdout
    assert listed.split() == [f"deployment.apps/{team}-qualtrics-exporter" for team in ("dex", "hr")]


def test_upgrade_can_change_the_name_of_the_objects_and_the_watched_namespaces(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    admin_helm.install("surveys", namespace="system", values=NO_CRD)
    admin_helm.upgrade("surveys", namespace="system", values={**NO_CRD, "fullnameOverride": "other"})
    admin_helm.upgrade("surveys", namespace="system", values={**NO_CRD, "watchNamespaces": ["dex"]})


def test_upgrades_can_disable_leader_election_and_enable_it_again(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    one_pod = {"replicaCount": 1, "leaderElection": {"enabled": False}}
    admin_helm.install("surveys", namespace="system", values=NO_CRD)
    strategy = ("get", "deployment", "surveys-qualtrics-exporter", "-n", "system", "-o", "jsonpath={.spec.strategy}")
    for values, expected in (
        (one_pod, {"type": "Recreate"}),
        # No upgrade could remove fields that Kubernetes sets as defaults, so the chart sets all of them.
        ({"strategy": {"type": "RollingUpdate"}}, {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        (one_pod, {}),
    ):
        admin_helm.upgrade("surveys", namespace="system", values={**NO_CRD, **values})
        assert expected.items() <= json.loads(empty_cluster.kubectl(*strategy).stdout).items()


def test_upgrade_that_would_change_the_immutable_pod_labels_is_rejected_and_says_what_to_set(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    values = {**NO_CRD, "fullnameOverride": "surveys"}
    admin_helm.install("surveys", namespace="system", values={**values, "nameOverride": "before"})
    error = (
        r"The Deployment surveys has pods with the label app\.kubernetes\.io/name=before, which cannot be changed to "
        r"after: set nameOverride to before, or change fullnameOverride too"
    )
    with pytest.raises(HelmError, match=error):
        admin_helm.upgrade("surveys", namespace="system", values={**values, "nameOverride": "after"})
    admin_helm.upgrade("surveys", namespace="system", values={**NO_CRD, "nameOverride": "after"})


def test_user_with_permissions_in_two_namespaces_only_can_install_upgrade_and_uninstall(
    empty_cluster: ControlPlane, tmp_path: Path
) -> None:
    empty_cluster.install_crds()
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    for namespace in ("dex", "hr"):
        kubeconfig = empty_cluster.service_account(namespace, "installer", rules=everything)
    subject = ("--serviceaccount=hr:installer", "--role=installer", "--namespace=dex")
    empty_cluster.kubectl("create", "rolebinding", "installer-of-hr", *subject)
    user_helm = Helm(tmp_path, kubeconfig)
    notes = user_helm.install("surveys", namespace="hr", values={**NO_CRD, "watchNamespaces": ["dex", "hr"]})
    assert "WARNING" not in notes
    user_helm.upgrade("surveys", namespace="hr", values={**NO_CRD, "watchNamespaces": ["dex"]})
    user_helm.uninstall("surveys", namespace="hr")


# Notes


def test_notes_warn_about_missing_crds_missing_permissions_and_plain_http(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    values = {**NO_CRD, "serviceMonitor": {"enabled": True}, "allowHttp": True}
    notes = admin_helm.install("surveys", namespace="system", values={**values, "rbac": {"create": False}})
    for warning in (
        "the CRD is not in the cluster, and crds.enabled is false.",
        "serviceMonitor.enabled is true, but the cluster has no CRD for ServiceMonitors, so none was created.",
        "allowHttp is true. Secrets and addresses are sent unencrypted",
    ):
        assert f"WARNING: {warning}" in notes
    assert "the service account surveys-qualtrics-exporter needs the permissions in docs/operating.md." in notes


def test_notes_name_the_namespaces_and_labels_of_the_managed_exporters(
    empty_cluster: ControlPlane, admin_helm: Helm
) -> None:
    dry = ("--dry-run=server",)
    notes = admin_helm.install(
        "surveys", *dry, namespace="system", values={"watchNamespaces": ["dex"], "selector": "team=dex"}
    )
    assert "manages the exporters of dex with the labels team=dex." in notes
    assert "kubectl get qualtricsexporters --namespace dex --output wide" in notes
