"""What is rendered of each combination in `ci/`, and what must hold whatever the values are."""

import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from qualtrics_exporter.remote.proxies import PASSWORD, USERNAME
from tests.chart.conftest import COMBINATIONS, NAMESPACE, called
from tests.chart.objects import Object, only, pods
from tests.environment import chart_rules, plain_yaml
from tests.environment.build import ROOT
from tests.environment.helm import CHART, Helm

OURS = {"name", "instance", "component", "version", "managed-by", "part-of"}
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = plain_yaml.read((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (chart["version"], chart["appVersion"]) == (package["version"], package["version"])
    assert chart["name"] == package["name"]
    assert chart["description"] == package["description"]
    assert chart["annotations"]["artifacthub.io/license"] == package["license"]


def test_helm_has_nothing_to_find_fault_with(helm: Helm, tmp_path: Path) -> None:
    """Helm looks at several charts at once, so each combination becomes the values of a copy."""
    defaults = plain_yaml.read((CHART / "values.yaml").read_text())
    copies = [shutil.copytree(CHART, tmp_path / called(combination) / CHART.name) for combination in COMBINATIONS]
    for copy, combination in zip(copies, COMBINATIONS, strict=True):
        values = overlaid(defaults, plain_yaml.read(combination.read_text()))
        (copy / "values.yaml").write_text(yaml.safe_dump(values))
    linted = helm.run("lint", "--strict", *map(str, copies))
    assert f"{len(COMBINATIONS)} chart(s) linted, 0 chart(s) failed" in linted.stdout


def test_each_object_says_what_it_belongs_to(rendered: list[Object], combination: Path) -> None:
    extra = plain_yaml.read(combination.read_text()).get("commonLabels", {})
    for object_ in rendered:
        labels = object_["metadata"].get("labels", {})
        if object_["kind"] == "ConfigMap":
            continue  # of extraObjects, which are as they were written
        assert {f"app.kubernetes.io/{name}" for name in OURS} | {"helm.sh/chart"} <= labels.keys()
        assert extra.items() <= labels.items()


def test_references_from_one_object_to_another_are_right(rendered: list[Object]) -> None:
    deployment = only("Deployment", rendered)
    pod, selector = deployment["spec"]["template"], deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert only("Service", rendered)["spec"]["selector"] == selector
    assert not selector.items() <= only("Pod", rendered, "test")["metadata"]["labels"].items(), "it would be asked too"
    account = {"name": pod["spec"]["serviceAccountName"], "namespace": NAMESPACE, "kind": "ServiceAccount"}
    roles = {(role["kind"], role["metadata"]["name"], role["metadata"].get("namespace")) for role in rendered}
    for binding in rendered:
        if binding["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            assert binding["subjects"] == [account]
            role = binding["roleRef"]
            assert (role["kind"], role["name"], binding["metadata"].get("namespace")) in roles
        if binding["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            spec = binding["spec"]
            assert spec.get("selector", spec.get("podSelector"))["matchLabels"] == selector
        if binding["kind"] == "ServiceAccount":
            assert binding["metadata"]["name"] == account["name"]


def test_pods_are_confined(rendered: list[Object]) -> None:
    for pod in pods(rendered):
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "cpu" not in container.get("resources", {}).get("limits", {}), "a held up leader loses its Lease"
        assert spec["enableServiceLinks"] is False


def test_only_the_operators_pods_get_a_token(rendered: list[Object]) -> None:
    operator, test = pods(rendered)
    assert operator["spec"]["automountServiceAccountToken"] is True
    assert test["spec"]["automountServiceAccountToken"] is False
    assert [o["automountServiceAccountToken"] for o in rendered if o["kind"] == "ServiceAccount"] in ([False], [])


def test_the_user_is_that_of_the_image_unless_the_platform_chooses(helm: Helm) -> None:
    for pod in pods(helm.template("surveys")):
        context = pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (65532, 65532)


@pytest.mark.parametrize("name", ["namespaced", "everything"])
def test_with_watch_namespaces_nothing_concerns_the_whole_cluster(helm: Helm, name: str) -> None:
    objects = helm.template("surveys", "--values", str(CHART / "ci" / f"{name}-values.yaml"), namespace=NAMESPACE)
    assert not CLUSTER_WIDE & kinds(objects)


def test_in_each_namespace_that_is_watched_there_is_a_role_and_only_the_lease_is_elsewhere(helm: Helm) -> None:
    values = {"watchNamespaces": ["dex", "hr", "dex"], "crds": {"enabled": False}}
    objects = helm.template("surveys", namespace=NAMESPACE, values=values)
    roles = [o for o in objects if o["kind"] == "Role"]
    assert sorted(role["metadata"]["namespace"] for role in roles) == ["dex", "hr", NAMESPACE]
    (own,) = [role for role in roles if role["metadata"]["namespace"] == NAMESPACE]
    assert {resource for rule in own["rules"] for resource in rule["resources"]} == {"leases"}
    assert {tuple(rule.get("resourceNames", ())) for rule in own["rules"] if rule["verbs"] != ["create"]} == {
        ("surveys-qualtrics-exporter",)
    }


def test_without_rights_of_the_charts_own_there_is_no_role_of_any_kind(helm: Helm) -> None:
    for scope in ({}, {"watchNamespaces": ["dex"]}):
        made = kinds(helm.template("surveys", values={"rbac": {"create": False}, **scope}))
        assert [kind for kind in made if "Role" in kind] == []


def test_the_crd_is_the_generated_one_and_is_kept(helm: Helm) -> None:
    written = plain_yaml.read((ROOT / "crds/qualtrics-exporter.dev_qualtricsexporters.yaml").read_text())
    for values, kept in (({}, {"helm.sh/resource-policy": "keep"}), ({"crds": {"keep": False}}, {})):
        crd = only("CustomResourceDefinition", helm.template("surveys", values=values), "crd")
        annotations = crd["metadata"].pop("annotations", {})
        crd["metadata"].pop("labels")
        assert (crd, annotations) == (written, kept)
    assert "CustomResourceDefinition" not in kinds(helm.template("surveys", values={"crds": {"enabled": False}}))


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"replicaCount": 1, "leaderElection": {"enabled": False}}, {"type": "Recreate"}),
        # What is left out would be Kubernetes' own, and no upgrade could take it away again.
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0}}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
        ({"strategy": {"type": "Recreate"}}, {"type": "Recreate"}),
    ],
)
def test_without_an_election_no_new_pod_starts_beside_the_old_one(
    helm: Helm, values: dict[str, Any], strategy: dict[str, Any]
) -> None:
    assert only("Deployment", helm.template("surveys", values=values))["spec"].get("strategy") == strategy


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"replicaCount": 1}, None),
        ({"podDisruptionBudget": {"enabled": False}}, None),
        ({"podDisruptionBudget": {"minAvailable": 1}}, {"minAvailable": 1}),
        ({"podDisruptionBudget": {"maxUnavailable": "50%"}}, {"maxUnavailable": "50%"}),
    ],
)
def test_a_budget_is_made_where_there_is_something_to_keep(
    helm: Helm, values: dict[str, Any], budget: dict[str, Any] | None
) -> None:
    objects = helm.template("surveys", values=values)
    if budget is None:
        assert "PodDisruptionBudget" not in kinds(objects)
    else:
        spec = only("PodDisruptionBudget", objects)["spec"]
        assert {key: spec[key] for key in spec.keys() & {"minAvailable", "maxUnavailable"}} == budget


def test_a_service_monitor_is_made_where_the_cluster_knows_it(helm: Helm) -> None:
    asked = ("--set", "serviceMonitor.enabled=true")
    assert "ServiceMonitor" not in kinds(helm.template("surveys", *asked))
    known = ("--api-versions", "monitoring.coreos.com/v1/ServiceMonitor")
    monitor = only("ServiceMonitor", helm.template("surveys", *asked, *known))
    assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "honorLabels": True}]
    assert "ServiceMonitor" not in kinds(helm.template("surveys", *known))


def test_the_network_is_closed_but_for_what_is_needed(helm: Helm) -> None:
    assert "NetworkPolicy" not in kinds(helm.template("surveys"))
    values = {"networkPolicy": {"enabled": True, "ingressFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}]}}
    objects = helm.template("surveys", values=values)
    spec = only("NetworkPolicy", objects)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["http"]
    peers = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert peers[0] == {"a": "b"}
    assert peers[1].items() <= only("Pod", objects, "test")["metadata"]["labels"].items(), "helm test may ask"
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 5353, 443, 6443}


@pytest.mark.parametrize("place", ["configMapName", "secretName"])
def test_authorities_of_ones_own_are_where_the_operator_looks(helm: Helm, place: str) -> None:
    objects = helm.template("surveys", values={"privateCA": {place: "company", "key": "bundle.pem"}})
    spec = only("Deployment", objects)["spec"]["template"]["spec"]
    (container,), (volume,) = spec["containers"], spec["volumes"]
    (mount,) = container["volumeMounts"]
    source = volume.get("configMap") or volume.get("secret")
    assert source.get("name", source.get("secretName")) == "company"
    assert mount["name"] == volume["name"]
    (item,) = source["items"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert item["key"] == "bundle.pem"
    assert variables["SSL_CERT_FILE"] == f"{mount['mountPath']}/{item['path']}"


def test_the_password_of_the_proxy_comes_from_its_secret(helm: Helm) -> None:
    objects = helm.template("surveys", values={"proxy": {"url": "http://proxy:3128", "secretName": "company-proxy"}})
    (container,) = only("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    from_secret = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container["env"] if "secretKeyRef" in str(v)}
    assert from_secret == {
        USERNAME: {"name": "company-proxy", "key": "username"},
        PASSWORD: {"name": "company-proxy", "key": "password"},
    }


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://proxy.example.com:3128", 3128),
        ("http://proxy.example.com:3128/", 3128),
        ("http://proxy.example.com", 80),
        ("http://[2001:db8::1]", 80),
        ("http://[2001:db8::1]:3128", 3128),
        ("https://proxy.example.com", None),
        ("http://proxy.example.com:6443", None),
        ("", None),
    ],
)
def test_a_network_policy_lets_the_operator_reach_its_proxy(helm: Helm, url: str, port: int | None) -> None:
    objects = helm.template("surveys", values={"proxy": {"url": url}, "networkPolicy": {"enabled": True}})
    (_, remote) = only("NetworkPolicy", objects)["spec"]["egress"]
    assert [rule["port"] for rule in remote["ports"]] == [443, 6443, *([port] if port else [])]


def test_readers_get_no_verb_that_changes_and_nobody_one_for_status(helm: Helm) -> None:
    objects = helm.template("surveys")
    aggregated = {
        tuple(
            sorted(label.rpartition("-")[2] for label in role["metadata"]["labels"] if "aggregate-to-" in label)
        ): role
        for role in objects
        if role["kind"] == "ClusterRole" and role["metadata"]["name"].endswith((".view", ".edit"))
    }
    assert aggregated.keys() == {("admin", "edit", "view"), ("admin", "edit")}
    assert verbs(aggregated["admin", "edit", "view"]) == {
        ("qualtricsexporters", verb) for verb in ("get", "list", "watch")
    } | {("qualtricsexporters/status", verb) for verb in ("get", "list", "watch")}
    assert {resource for resource, _ in verbs(aggregated["admin", "edit"])} == {"qualtricsexporters"}


def test_the_table_of_rights_in_the_docs_is_what_the_chart_gives() -> None:
    section = (ROOT / "docs/operating.md").read_text().partition("\n## Permissions\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    written = []
    for group, resource, named in rows:
        api_group = group.strip().strip("`").replace("core", "")
        name, _, which = resource.partition(",")
        rule = {"apiGroups": [api_group], "resources": [name.strip().strip("`")], "verbs": named.strip().split(", ")}
        written.append(rule | ({"resourceNames": ["qualtrics-exporter"]} if which.strip() else {}))
    assert in_order(written) == in_order(chart_rules.namespaced())
    assert in_order([*chart_rules.everywhere(), *chart_rules.own_namespace()]) == in_order(written)


def test_what_is_common_to_all_stands_on_pods_and_is_overruled_by_what_is_special(helm: Helm) -> None:
    values = {"commonLabels": {"team": "dex", "tier": "batch"}, "podLabels": {"team": "surveys"}}
    template = only("Deployment", helm.template("surveys", values=values))["spec"]["template"]
    assert {"team": "surveys", "tier": "batch"}.items() <= template["metadata"]["labels"].items()


def test_a_spread_without_a_selector_gets_that_of_the_pods(helm: Helm) -> None:
    combination = CHART / "ci" / "everything-values.yaml"
    spec = only("Deployment", helm.template("surveys", "--values", str(combination)))["spec"]
    first, second = spec["template"]["spec"]["topologySpreadConstraints"]
    assert first["labelSelector"] == spec["selector"]
    assert second["labelSelector"] == {"matchLabels": {"team": "surveys"}}


def test_objects_of_ones_own_are_rendered(helm: Helm) -> None:
    combination = CHART / "ci" / "everything-values.yaml"
    extra = [o for o in helm.template("qex", "--values", str(combination), namespace="dex") if o["kind"] == "ConfigMap"]
    assert [(o["metadata"]["name"], o["data"]) for o in extra] == [
        ("qex-surveys-extra", {"namespace": "dex"}),
        ("as-text", {"release": "qex"}),
    ]


def overlaid(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Values with others over them, as Helm does it: key by key, and null takes a key away."""
    both = dict(values)
    for key, value in others.items():
        nested = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = overlaid(both[key], value) if nested else value
    return {key: value for key, value in both.items() if value is not None}


def kinds(objects: Sequence[Object]) -> set[str]:
    """The kinds that there are."""
    return {object_["kind"] for object_ in objects}


def verbs(role: Object) -> set[tuple[str, str]]:
    """What a role lets do, as resource and verb."""
    return {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def in_order(rules: Sequence[dict[str, list[str]]]) -> list[str]:
    """Rules that can be compared, in whatever order they are given."""
    return sorted(json.dumps(rule, sort_keys=True) for rule in rules)
