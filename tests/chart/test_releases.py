"""Releases on a real API server: their life, what they know of each other, and what their notes say.

On a control plane of their own: here the CRD comes and goes, as Helm has it.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.helm import CHART, Helm, HelmError
from tests.environment.waiting import eventually

CRD = "qualtricsexporters.qualtrics-exporter.dev"
NO_CRD: dict[str, Any] = {"crds": {"enabled": False}}


@pytest.fixture(scope="module")
def bare(helm: Helm) -> Iterator[ControlPlane]:
    """A control plane with nothing of ours; `helm` sees to it that it has been built."""
    with ControlPlane() as running:
        if not running.owned:
            pytest.skip("the CRD of an existing cluster is not ours to remove")
        for namespace in ("dex", "hr", "system"):
            running.namespace(namespace)
        yield running


@pytest.fixture(scope="module")
def installer(bare: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm as the administrator."""
    return Helm(tmp_path_factory.mktemp("helm"), bare.kubeconfig)


@pytest.fixture
def clean(bare: ControlPlane, installer: Helm) -> Iterator[ControlPlane]:
    """Without a release and without the CRD before and after a test."""
    yield bare
    for release in json.loads(installer.run("list", "--all-namespaces", "--output", "json").stdout):
        installer.uninstall(release["name"], namespace=release["namespace"])
    bare.kubectl("delete", "crd", CRD, "--ignore-not-found")


def refusal(installer: Helm, release: str, namespace: str, **values: Any) -> str:
    """What Helm says of a release that it does not install."""
    with pytest.raises(HelmError) as refused:
        installer.install(release, namespace=namespace, values=values)
    return str(refused.value.stderr)


# The life of a release


def test_a_release_is_installed_upgraded_and_removed_and_the_crd_stays(clean: ControlPlane, installer: Helm) -> None:
    notes = installer.install("surveys", namespace="system")
    assert "kubectl rollout status deployment/surveys-qualtrics-exporter --namespace system" in notes
    assert "WARNING" not in notes
    for command in re.findall(r"^   kubectl ((?:explain|get) .*)$", notes, re.MULTILINE):
        # The CRD is known a moment after it was applied.
        eventually(lambda said=command: clean.kubectl(*said.split(), check=False).returncode == 0, command)
    installer.upgrade("surveys", namespace="system", values={"replicaCount": 3})
    deployment = ("get", "deployment", "surveys-qualtrics-exporter", "--namespace", "system")
    assert clean.kubectl(*deployment, "-o", "jsonpath={.spec.replicas}").stdout == "3"
    assert CRD in installer.uninstall("surveys", namespace="system")
    left = clean.kubectl("get", "all,sa,roles,rolebindings,pdb", "--namespace", "system", "-o", "name").stdout
    assert [line for line in left.splitlines() if "surveys" in line] == []
    assert "surveys" not in clean.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").stdout
    assert clean.kubectl("get", "crd", CRD, "-o", "name").stdout
    installer.install("surveys", namespace="system")


def test_a_crd_that_is_not_kept_goes_with_its_release_and_the_notes_warn_of_it(
    clean: ControlPlane, installer: Helm
) -> None:
    notes = installer.install("surveys", namespace="system", values={"crds": {"keep": False}})
    assert "WARNING: crds.keep is false. When this release is removed, every exporter in the cluster" in notes
    installer.uninstall("surveys", namespace="system")
    clean.kubectl("wait", "--for=delete", "--timeout=60s", f"crd/{CRD}")


def test_no_upgrade_takes_the_crd_away_with_all_exporters(clean: ControlPlane, installer: Helm) -> None:
    installer.install("surveys", namespace="system", values={"crds": {"keep": False}})
    with pytest.raises(HelmError, match="this upgrade would delete the CRD, and with it every exporter in the cluster"):
        installer.upgrade("surveys", namespace="system", values=NO_CRD)
    installer.upgrade("surveys", namespace="system")
    installer.upgrade("surveys", namespace="system", values=NO_CRD)
    assert clean.kubectl("get", "crd", CRD, "-o", "name").stdout


def test_a_crd_of_another_release_is_told_and_can_be_handed_over(clean: ControlPlane, installer: Helm) -> None:
    installer.install("first", namespace="dex", values={"selector": "team=dex"})
    told = refusal(installer, "second", "hr", selector="team=hr")
    assert f"The CRD {CRD} is there already and belongs to the release first in dex: write crds.enabled: false" in told
    installer.upgrade("first", namespace="dex", values={**NO_CRD, "selector": "team=dex"})
    obey(clean, told)
    installer.install("second", namespace="hr", values={"selector": "team=hr"})


def test_a_crd_that_somebody_applied_is_told_and_can_be_handed_over(clean: ControlPlane, installer: Helm) -> None:
    clean.install_crds()
    told = refusal(installer, "surveys", "system")
    assert f"The CRD {CRD} is there already and belongs to no release: write crds.enabled: false" in told
    obey(clean, told)
    installer.install("surveys", "--force-conflicts", namespace="system")


def obey(cluster: ControlPlane, told: str) -> None:
    """Do what a sentence says that one could do."""
    commands = re.search(r"Or hand it over.*?: (kubectl .*)", told)
    assert commands
    for command in commands[1].split(" && "):
        program, *arguments = command.split()
        assert program == "kubectl"
        cluster.kubectl(*arguments)


@pytest.mark.parametrize("page", ["docs/operating.md", "charts/qualtrics-exporter/README.md"])
def test_what_the_docs_say_to_install_installs(clean: ControlPlane, installer: Helm, page: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("helm install ")]
    assert commands
    for _, _, release, chart, *arguments in commands:
        done = installer.run("install", release, str(ROOT / chart), *arguments)
        assert "STATUS: deployed" in done.stdout
        installer.uninstall(release, namespace=arguments[arguments.index("--namespace") + 1])


# Releases beside each other

PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "both for all": ({}, {}, False),
    "one for all, one for a namespace": ({}, {"watchNamespaces": ["dex"]}, False),
    "one for all, one for a selector": ({}, {"selector": "team=dex"}, False),
    "the same selector": ({"selector": "team = dex"}, {"selector": "team=dex"}, False),
    "a namespace in common": ({"watchNamespaces": ["dex", "hr"]}, {"watchNamespaces": ["system", "hr"]}, False),
    "a namespace, and all": ({"watchNamespaces": ["dex"]}, {}, False),
    "other namespaces": ({"watchNamespaces": ["dex"]}, {"watchNamespaces": ["hr"]}, True),
    "other selectors": ({"selector": "team=dex"}, {"selector": "team=hr"}, True),
    "the same, knowingly": ({}, {"allowOverlap": True}, True),
}

UNSEEN = ("dex", "one for all, one for a namespace")
"""Who installs for a namespace may have no right to look at others. The notes say so, and it does no harm."""


@pytest.mark.parametrize("pair", PAIRS)
def test_a_release_for_exporters_of_another_one_is_refused_with_a_sentence(
    clean: ControlPlane, installer: Helm, pair: str
) -> None:
    first, second, good = PAIRS[pair]
    installer.install("first", namespace="system", values={**NO_CRD, **first})
    where = ", ".join(first.get("watchNamespaces", ["all namespaces"]))
    if selector := first.get("selector", "").replace(" ", ""):
        where += f", {selector}"
    sentence = (
        f"The Deployment system/first-qualtrics-exporter looks after exporters that this release would look after too "
        f"({where}): give each a selector or watchNamespaces of its own, or remove one. Both at once would send "
        f"nothing twice, but check and report twice; allowOverlap=true takes them side by side."
    )
    for namespace in ("system", "dex"):
        asked = ("install", "second", str(CHART), "--dry-run=server", "--namespace", namespace, "--values", "-")
        told = installer.run(*asked, input=json.dumps({**NO_CRD, **second}), check=False).stderr
        assert (sentence in told) == (not good and (namespace, pair) != UNSEEN), told


def test_two_releases_work_side_by_side_in_one_namespace(clean: ControlPlane, installer: Helm) -> None:
    for team in ("dex", "hr"):
        installer.install(team, namespace="system", values={**NO_CRD, "selector": f"team={team}"})
    listed = clean.kubectl("get", "deployments", "--namespace", "system", "-o", "name").stdout
    assert listed.split() == [f"deployment.apps/{team}-qualtrics-exporter" for team in ("dex", "hr")]


def test_a_release_is_no_neighbour_of_itself_whatever_changes(clean: ControlPlane, installer: Helm) -> None:
    installer.install("surveys", namespace="system", values=NO_CRD)
    installer.upgrade("surveys", namespace="system", values={**NO_CRD, "fullnameOverride": "other"})
    installer.upgrade("surveys", namespace="system", values={**NO_CRD, "watchNamespaces": ["dex"]})


def test_who_may_do_nothing_outside_of_two_namespaces_can_install_for_them(clean: ControlPlane, tmp_path: Path) -> None:
    clean.install_crds()
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    for namespace in ("dex", "hr"):
        kubeconfig = clean.service_account(namespace, "installer", rules=everything)
    subject = ("--serviceaccount=hr:installer", "--role=installer", "--namespace=dex")
    clean.kubectl("create", "rolebinding", "installer-of-hr", *subject)
    installer = Helm(tmp_path, kubeconfig)
    notes = installer.install("surveys", namespace="hr", values={**NO_CRD, "watchNamespaces": ["dex", "hr"]})
    assert "Only the Deployments of dex, hr were looked at" in notes
    assert "WARNING" not in notes
    installer.upgrade("surveys", namespace="hr", values={**NO_CRD, "watchNamespaces": ["dex"]})
    installer.uninstall("surveys", namespace="hr")


# Notes


def test_the_notes_warn_of_what_is_missing_and_of_what_is_dangerous(clean: ControlPlane, installer: Helm) -> None:
    values = {**NO_CRD, "serviceMonitor": {"enabled": True}, "allowHttp": True, "allowOverlap": True}
    notes = installer.install("surveys", namespace="system", values={**values, "rbac": {"create": False}})
    for warning in (
        "the CRD is not in the cluster, and crds.enabled is false.",
        "serviceMonitor.enabled is true, but the cluster knows no ServiceMonitor, so none was made.",
        "allowHttp is true. Secrets and addresses travel in clear",
        "allowOverlap is true. If another release looks after the same exporters nothing is sent twice",
    ):
        assert f"WARNING: {warning}" in notes
    assert "the service account surveys-qualtrics-exporter needs the rights that docs/operating.md lists" in notes


def test_the_notes_name_what_is_looked_after(clean: ControlPlane, installer: Helm) -> None:
    dry = ("--dry-run=server",)
    notes = installer.install(
        "surveys", *dry, namespace="system", values={"watchNamespaces": ["dex"], "selector": "team=dex"}
    )
    assert "looks after the exporters of dex with the labels team=dex." in notes
    assert "kubectl get qualtricsexporters --namespace dex --output wide" in notes
