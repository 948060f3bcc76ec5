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

from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.helm import CHART, Helm, HelmError
from tests.environment.waiting import HANG, eventually

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
    told = "If you uninstall this release, or roll it back to a revision with crds.enabled=false, every exporter in the"
    assert f"WARNING: crds.keep is false. {told}" in notes
    installer.uninstall("surveys", namespace="system")
    clean.kubectl("wait", "--for=delete", f"--timeout={HANG}", f"crd/{CRD}")


def test_no_upgrade_takes_the_crd_away_with_all_exporters(clean: ControlPlane, installer: Helm) -> None:
    installer.install("surveys", namespace="system", values={"crds": {"keep": False}})
    with pytest.raises(HelmError, match="this upgrade would delete the CRD and every exporter in the cluster"):
        installer.upgrade("surveys", namespace="system", values=NO_CRD)
    installer.upgrade("surveys", namespace="system")
    installer.upgrade("surveys", namespace="system", values=NO_CRD)
    assert clean.kubectl("get", "crd", CRD, "-o", "name").stdout


def test_a_crd_of_another_release_is_told_and_can_be_handed_over(clean: ControlPlane, installer: Helm) -> None:
    installer.install("first", namespace="dex", values={"selector": "team=dex"})
    told = refusal(installer, "second", "hr", selector="team=hr")
    assert f"The CRD {CRD} already exists and belongs to the release first in dex: set crds.enabled=false" in told
    installer.upgrade("first", namespace="dex", values={**NO_CRD, "selector": "team=dex"})
    clean.kubectl("annotate", "crd", CRD, "helm.sh/resource-policy-")
    obey(clean, told)
    kept = clean.kubectl("get", "crd", CRD, "-o", r"jsonpath={.metadata.annotations.helm\.sh/resource-policy}").stdout
    assert kept == "keep", "or a rollback of the other release would delete it"
    installer.install("second", namespace="hr", values={"selector": "team=hr"})


def test_a_crd_that_somebody_applied_is_told_and_can_be_handed_over(clean: ControlPlane, installer: Helm) -> None:
    clean.install_crds()
    told = refusal(installer, "surveys", "system")
    assert f"The CRD {CRD} already exists and belongs to no release: set crds.enabled=false" in told
    obey(clean, told)
    installer.install("surveys", "--force-conflicts", namespace="system")


def obey(cluster: ControlPlane, told: str) -> None:
    """Do what a sentence says that one could do."""
    commands = re.search(r"Or transfer it to this release.*?: (kubectl .*)", told)
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

FIRST: dict[str, dict[str, Any]] = {
    "all": {},
    "dex": {"watchNamespaces": ["dex"]},
    "dex-and-hr": {"watchNamespaces": ["dex", "hr"]},
    "team": {"selector": "team = dex"},
}
"""Releases that are there already."""

SECOND: dict[str, tuple[dict[str, Any], set[str]]] = {
    "for all": ({}, {"all", "dex", "dex-and-hr", "team", "kustomized"}),
    "for a namespace": ({"watchNamespaces": ["dex"]}, {"all", "dex", "dex-and-hr", "team"}),
    "with a namespace in common": ({"watchNamespaces": ["system", "hr"]}, {"all", "dex-and-hr", "team", "kustomized"}),
    "for another namespace": ({"watchNamespaces": ["elsewhere"]}, {"all", "team"}),
    "for the same selector": ({"selector": "team=dex"}, {"all", "dex", "dex-and-hr", "team", "kustomized"}),
    "for another selector": ({"selector": "team=hr"}, {"all", "dex", "dex-and-hr", "kustomized"}),
    "for all, knowingly": ({"allowOverlap": True}, set()),
}
"""Those that come to them, and which of the first look after some of the same exporters."""


@pytest.fixture(scope="class")
def first(bare: ControlPlane, installer: Helm) -> Iterator[dict[str, str]]:
    """What is said of each of the first: where it is, and whom it looks after."""
    for name, values in FIRST.items():
        installer.install(name, namespace="system", values={**NO_CRD, "allowOverlap": True, **values})
    # Its namespace is no text, but a field of the pod.
    kustomized = plain_yaml.read((ROOT / "config/namespaced/deployment.yaml").read_text())
    kustomized["metadata"]["namespace"] = "hr"
    bare.kubectl("apply", "-f", "-", input=json.dumps(kustomized))
    told = dict.fromkeys(FIRST, "all namespaces") | {"dex": "dex", "dex-and-hr": "dex, hr"}
    told["team"] += ", team=dex"
    sentences = {name: f"system/{name}-qualtrics-exporter|{where}" for name, where in told.items()}
    yield {**sentences, "kustomized": "hr/qualtrics-exporter|hr"}
    for name in FIRST:
        installer.uninstall(name, namespace="system")
    bare.kubectl("delete", "-n", "hr", "deployment", "qualtrics-exporter")


class TestReleasesBesideEachOther:
    """The first are installed once for all that come to them.

    Who installs for some namespaces may have no right to look at others: one elsewhere is not seen. The notes say so.
    """

    @pytest.mark.parametrize("namespace", ["system", "dex"])
    @pytest.mark.parametrize("second", SECOND)
    def test_a_release_for_exporters_of_another_one_is_refused_with_a_sentence(
        self, installer: Helm, first: dict[str, str], second: str, namespace: str
    ) -> None:
        values, met = SECOND[second]
        asked = ("install", "second", str(CHART), "--dry-run=server", "--namespace", namespace, "--values", "-")
        done = installer.run(*asked, input=json.dumps({**NO_CRD, **values}), check=False)
        looked_at = {*values["watchNamespaces"], namespace} if "watchNamespaces" in values else {"system", "dex", "hr"}
        sentences = {
            f"The Deployment {place} already manages some of the exporters that this release would manage ({whom}): "
            f"give each release its own selector or watchNamespaces, or remove one of them. With both, no survey is "
            f"sent twice, but a run fails if the release that runs it does not allow what the run needs, for example "
            f"a host. To allow both, set allowOverlap=true."
            for place, _, whom in (first[name].partition("|") for name in met)
            if place.partition("/")[0] in looked_at
        }
        assert {line for line in done.stderr.splitlines() if line.startswith("The Deployment")} == sentences
        assert (done.returncode == 0) == (not sentences)


def test_two_releases_work_side_by_side_in_one_namespace(clean: ControlPlane, installer: Helm) -> None:
    for team in ("dex", "hr"):
        installer.install(team, namespace="system", values={**NO_CRD, "selector": f"team={team}"})
    listed = clean.kubectl("get", "deployments", "--namespace", "system", "-o", "name").stdout
    assert listed.split() == [f"deployment.apps/{team}-qualtrics-exporter" for team in ("dex", "hr")]


def test_a_release_is_no_neighbour_of_itself_whatever_changes(clean: ControlPlane, installer: Helm) -> None:
    installer.install("surveys", namespace="system", values=NO_CRD)
    installer.upgrade("surveys", namespace="system", values={**NO_CRD, "fullnameOverride": "other"})
    installer.upgrade("surveys", namespace="system", values={**NO_CRD, "watchNamespaces": ["dex"]})


def test_an_upgrade_may_leave_the_election_and_come_back_to_it(clean: ControlPlane, installer: Helm) -> None:
    alone = {"replicaCount": 1, "leaderElection": {"enabled": False}}
    installer.install("surveys", namespace="system", values=NO_CRD)
    strategy = ("get", "deployment", "surveys-qualtrics-exporter", "-n", "system", "-o", "jsonpath={.spec.strategy}")
    for values, wanted in (
        (alone, {"type": "Recreate"}),
        # What Kubernetes fills in is nobody's, and would stand in the way of the next.
        ({"strategy": {"type": "RollingUpdate"}}, {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        (alone, {}),
    ):
        installer.upgrade("surveys", namespace="system", values={**NO_CRD, **values})
        assert wanted.items() <= json.loads(clean.kubectl(*strategy).stdout).items()


def test_another_label_for_the_pods_of_a_deployment_that_stays_is_told(clean: ControlPlane, installer: Helm) -> None:
    values = {**NO_CRD, "fullnameOverride": "surveys"}
    installer.install("surveys", namespace="system", values={**values, "nameOverride": "before"})
    told = (
        r"The Deployment surveys has pods with the label app\.kubernetes\.io/name=before, which cannot be changed to "
        r"after: set nameOverride to before, or change fullnameOverride too"
    )
    with pytest.raises(HelmError, match=told):
        installer.upgrade("surveys", namespace="system", values={**values, "nameOverride": "after"})
    installer.upgrade("surveys", namespace="system", values={**NO_CRD, "nameOverride": "after"})


def test_who_may_do_nothing_outside_of_two_namespaces_can_install_for_them(clean: ControlPlane, tmp_path: Path) -> None:
    clean.install_crds()
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    for namespace in ("dex", "hr"):
        kubeconfig = clean.service_account(namespace, "installer", rules=everything)
    subject = ("--serviceaccount=hr:installer", "--role=installer", "--namespace=dex")
    clean.kubectl("create", "rolebinding", "installer-of-hr", *subject)
    installer = Helm(tmp_path, kubeconfig)
    notes = installer.install("surveys", namespace="hr", values={**NO_CRD, "watchNamespaces": ["dex", "hr"]})
    assert "Helm looked for other releases that manage the same exporters only in the namespaces dex, hr." in notes
    assert "WARNING" not in notes
    installer.upgrade("surveys", namespace="hr", values={**NO_CRD, "watchNamespaces": ["dex"]})
    installer.uninstall("surveys", namespace="hr")


# Notes


def test_the_notes_warn_of_what_is_missing_and_of_what_is_dangerous(clean: ControlPlane, installer: Helm) -> None:
    values = {**NO_CRD, "serviceMonitor": {"enabled": True}, "allowHttp": True, "allowOverlap": True}
    notes = installer.install("surveys", namespace="system", values={**values, "rbac": {"create": False}})
    for warning in (
        "the CRD is not in the cluster, and crds.enabled is false.",
        "serviceMonitor.enabled is true, but the cluster has no CRD for ServiceMonitors, so none was created.",
        "allowHttp is true. Secrets and addresses are sent unencrypted",
        "allowOverlap is true. If another release manages the same exporters, no survey is sent twice",
    ):
        assert f"WARNING: {warning}" in notes
    assert "the service account surveys-qualtrics-exporter needs the permissions in docs/operating.md." in notes


def test_the_notes_name_what_is_looked_after(clean: ControlPlane, installer: Helm) -> None:
    dry = ("--dry-run=server",)
    notes = installer.install(
        "surveys", *dry, namespace="system", values={"watchNamespaces": ["dex"], "selector": "team=dex"}
    )
    assert "manages the exporters of dex with the labels team=dex." in notes
    assert "kubectl get qualtricsexporters --namespace dex --output wide" in notes
