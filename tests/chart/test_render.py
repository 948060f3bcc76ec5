"""The objects that the chart renders: with each values file in `ci/`, and with single values."""

import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack import plain_yaml
from hack.files import ROOT
from hack.helm import CHART, Helm
from qualtrics_exporter.remote.proxies import PASSWORD, USERNAME
from tests.chart.conftest import COMBINATIONS, NAMESPACE, combination_name
from tests.chart.objects import Object, only, pods
from tests.support import chart_rules

STANDARD_LABELS = {"name", "instance", "component", "version", "managed-by", "part-of"}
CLUSTER_ROLES = {"ClusterRole", "ClusterRoleBinding"}


def test_chart_has_the_version_and_description_of_the_package() -> None:
    chart = plain_yaml.read((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (chart["version"], chart["appVersion"]) == (package["version"], package["version"])
    assert chart["name"] == package["name"]
    assert chart["description"] == package["description"]
    assert chart["annotations"]["artifacthub.io/license"] == package["license"]


def test_helm_lint_finds_nothing_in_any_combination(helm: Helm, tmp_path: Path) -> None:
    """Helm can lint several charts at once, so each combination becomes the values of a copy."""
    defaults = plain_yaml.read((CHART / "values.yaml").read_text())
    copies = [
        shutil.copytree(CHART, tmp_path / combination_name(combination) / CHART.name) for combination in COMBINATIONS
    ]
    for copy, combination in zip(copies, COMBINATIONS, strict=True):
        values = merged(defaults, plain_yaml.read(combination.read_text()))
        (copy / "values.yaml").write_text(yaml.safe_dump(values))
    done = helm.run("lint", "--strict", *map(str, copies))
    assert f"{len(COMBINATIONS)} chart(s) linted, 0 chart(s) failed" in done.stdout


def test_each_object_has_the_standard_labels_and_the_common_labels(rendered: list[Object], combination: Path) -> None:
    extra = plain_yaml.read(combination.read_text()).get("commonLabels", {})
    for object_ in rendered:
        labels = object_["metadata"].get("labels", {})
        if object_["kind"] == "ConfigMap":
            continue  # from extraObjects, which the chart does not label
        assert {f"app.kubernetes.io/{name}" for name in STANDARD_LABELS} | {"helm.sh/chart"} <= labels.keys()
        assert extra.items() <= labels.items()


def test_objects_refer_to_existing_pods_accounts_and_roles(rendered: list[Object]) -> None:
    deployment = only("Deployment", rendered)
    pod, selector = deployment["spec"]["template"], deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert only("Service", rendered)["spec"]["selector"] == selector
    assert not selector.items() <= only("Pod", rendered, "test")["metadata"]["labels"].items(), (
        "the Service would select the test pod"
    )
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


def test_pods_run_with_a_restricted_security_context_and_without_cpu_limit(rendered: list[Object]) -> None:
    for pod in pods(rendered):
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "cpu" not in container.get("resources", {}).get("limits", {}), "a throttled leader loses its Lease"
        assert spec["enableServiceLinks"] is False


def test_only_pods_of_the_operator_mount_a_service_account_token(rendered: list[Object]) -> None:
    operator, test = pods(rendered)
    assert operator["spec"]["automountServiceAccountToken"] is True
    assert test["spec"]["automountServiceAccountToken"] is False
    assert [o["automountServiceAccountToken"] for o in rendered if o["kind"] == "ServiceAccount"] in ([False], [])


def test_pods_run_as_the_user_of_the_image_by_default(helm: Helm) -> None:
    for pod in pods(helm.template("surveys")):
        context = pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (65532, 65532)


@pytest.mark.parametrize("name", ["namespaced", "everything"])
def test_watch_namespaces_creates_no_cluster_roles(helm: Helm, name: str) -> None:
    objects = helm.template("surveys", "--values", str(CHART / "ci" / f"{name}-values.yaml"), namespace=NAMESPACE)
    assert not CLUSTER_ROLES & kinds(objects)


def test_watch_namespaces_creates_a_role_in_each_namespace_and_one_for_the_lease_in_its_own(helm: Helm) -> None:
    values = {"watchNamespaces": ["dex", "hr", "dex"], "crds": {"enabled": False}}
    objects = helm.template("surveys", namespace=NAMESPACE, values=values)
    roles = [o for o in objects if o["kind"] == "Role"]
    assert sorted(role["metadata"]["namespace"] for role in roles) == ["dex", "hr", NAMESPACE]
    (own,) = [role for role in roles if role["metadata"]["namespace"] == NAMESPACE]
    assert {resource for rule in own["rules"] for resource in rule["resources"]} == {"leases"}
    assert {tuple(rule.get("resourceNames", ())) for rule in own["rules"] if rule["verbs"] != ["create"]} == {
        ("surveys-qualtrics-exporter",)
    }


def test_rbac_create_false_creates_no_roles_and_no_bindings(helm: Helm) -> None:
    for scope in ({}, {"watchNamespaces": ["dex"]}):
        rendered = kinds(helm.template("surveys", values={"rbac": {"create": False}, **scope}))
        assert [kind for kind in rendered if "Role" in kind] == []


def test_chart_installs_the_generated_crd_and_keeps_it_by_default(helm: Helm) -> None:
    generated = plain_yaml.read((ROOT / "crds/qualtrics-exporter.dev_qualtricsexporters.yaml").read_text())
    for values, expected in (({}, {"helm.sh/resource-policy": "keep"}), ({"crds": {"keep": False}}, {})):
        crd = only("CustomResourceDefinition", helm.template("surveys", values=values), "crd")
        annotations = crd["metadata"].pop("annotations", {})
        crd["metadata"].pop("labels")
        assert (crd, annotations) == (generated, expected)
    assert "CustomResourceDefinition" not in kinds(helm.template("surveys", values={"crds": {"enabled": False}}))


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"replicaCount": 1, "leaderElection": {"enabled": False}}, {"type": "Recreate"}),
        # No upgrade could remove fields that Kubernetes sets as defaults, so the chart sets all of them.
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0}}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
        ({"strategy": {"type": "Recreate"}}, {"type": "Recreate"}),
    ],
    ids=["default", "no leader election", "incomplete strategy", "own strategy"],
)
def test_deployment_is_recreated_without_leader_election_and_rolled_otherwise(
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
    ids=["default", "one replica", "disabled", "minAvailable", "percentage"],
)
def test_pod_disruption_budget_exists_only_for_two_or_more_replicas(
    helm: Helm, values: dict[str, Any], budget: dict[str, Any] | None
) -> None:
    objects = helm.template("surveys", values=values)
    if budget is None:
        assert "PodDisruptionBudget" not in kinds(objects)
    else:
        spec = only("PodDisruptionBudget", objects)["spec"]
        assert {key: spec[key] for key in spec.keys() & {"minAvailable", "maxUnavailable"}} == budget


def test_service_monitor_is_created_only_if_enabled_and_served_by_the_cluster(helm: Helm) -> None:
    enabled = ("--set", "serviceMonitor.enabled=true")
    assert "ServiceMonitor" not in kinds(helm.template("surveys", *enabled))
    served = ("--api-versions", "monitoring.coreos.com/v1/ServiceMonitor")
    monitor = only("ServiceMonitor", helm.template("surveys", *enabled, *served))
    assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "honorLabels": True}]
    assert "ServiceMonitor" not in kinds(helm.template("surveys", *served))


def test_network_policy_allows_only_probes_metrics_dns_and_https(helm: Helm) -> None:
    assert "NetworkPolicy" not in kinds(helm.template("surveys"))
    values = {"networkPolicy": {"enabled": True, "ingressFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}]}}
    objects = helm.template("surveys", values=values)
    spec = only("NetworkPolicy", objects)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["http"]
    peers = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert peers[0] == {"a": "b"}
    assert peers[1].items() <= only("Pod", objects, "test")["metadata"]["labels"].items(), (
        "helm test can reach the operator"
    )
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 5353, 443, 6443}


@pytest.mark.parametrize("place", ["configMapName", "secretName"])
def test_private_ca_is_mounted_where_ssl_cert_file_points(helm: Helm, place: str) -> None:
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


def test_user_name_and_password_of_the_proxy_come_from_its_secret(helm: Helm) -> None:
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
def test_network_policy_allows_the_port_of_the_proxy(helm: Helm, url: str, port: int | None) -> None:
    objects = helm.template("surveys", values={"proxy": {"url": url}, "networkPolicy": {"enabled": True}})
    (_, remote) = only("NetworkPolicy", objects)["spec"]["egress"]
    assert [rule["port"] for rule in remote["ports"]] == [443, 6443, *([port] if port else [])]


def test_aggregated_roles_let_view_only_read_and_let_nobody_write_the_status(helm: Helm) -> None:
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


def test_permissions_table_in_the_docs_matches_the_roles_of_the_chart() -> None:
    section = (ROOT / "docs/operating.md").read_text().partition("\n## Permissions\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    documented = []
    for group, resource, verb_list in rows:
        api_group = group.strip().strip("`").replace("core", "")
        name, _, which = resource.partition(",")
        rule = {
            "apiGroups": [api_group],
            "resources": [name.strip().strip("`")],
            "verbs": verb_list.strip().split(", "),
        }
        documented.append(rule | ({"resourceNames": ["qualtrics-exporter"]} if which.strip() else {}))
    assert as_sorted_json(documented) == as_sorted_json(chart_rules.namespaced())
    assert as_sorted_json([*chart_rules.everywhere(), *chart_rules.own_namespace()]) == as_sorted_json(documented)


def test_pods_have_the_common_labels_and_pod_labels_take_precedence(helm: Helm) -> None:
    values = {"commonLabels": {"team": "dex", "tier": "batch"}, "podLabels": {"team": "surveys"}}
    template = only("Deployment", helm.template("surveys", values=values))["spec"]["template"]
    assert {"team": "surveys", "tier": "batch"}.items() <= template["metadata"]["labels"].items()


def test_pods_prefer_a_node_without_another_pod_of_the_release_unless_the_values_say_otherwise(helm: Helm) -> None:
    def affinity(values: dict[str, Any]) -> tuple[Any, Any]:
        spec = only("Deployment", helm.template("surveys", values=values))["spec"]
        return spec["template"]["spec"]["affinity"], spec["selector"]

    default, selector = affinity({})
    (preferred,) = default["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"] == {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": selector,
        "matchLabelKeys": ["pod-template-hash"],
    }
    node = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    assert affinity({"affinity": node})[0] == default | node
    assert affinity({"affinity": {"podAntiAffinity": {}}})[0] == {"podAntiAffinity": {}}


def test_topology_spread_without_a_selector_selects_the_pods_of_the_operator(helm: Helm) -> None:
    combination = CHART / "ci" / "everything-values.yaml"
    spec = only("Deployment", helm.template("surveys", "--values", str(combination)))["spec"]
    first, second = spec["template"]["spec"]["topologySpreadConstraints"]
    assert first["labelSelector"] == spec["selector"]
    assert second["labelSelector"] == {"matchLabels": {"team": "surveys"}}


def test_extra_objects_are_rendered_as_objects_and_as_text(helm: Helm) -> None:
    combination = CHART / "ci" / "everything-values.yaml"
    extra = [o for o in helm.template("qex", "--values", str(combination), namespace="dex") if o["kind"] == "ConfigMap"]
    assert [(o["metadata"]["name"], o["data"]) for o in extra] == [
        ("qex-surveys-extra", {"namespace": "dex"}),
        ("as-text", {"release": "qex"}),
    ]


def merged(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does: key by key, and null removes a key."""
    result = dict(values)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return {key: value for key, value in result.items() if value is not None}


def kinds(objects: Sequence[Object]) -> set[str]:
    """The kinds of the objects."""
    return {object_["kind"] for object_ in objects}


def verbs(role: Object) -> set[tuple[str, str]]:
    """The permissions of a role, as pairs of resource and verb."""
    return {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def as_sorted_json(rules: Sequence[dict[str, list[str]]]) -> list[str]:
    """The rules as sorted texts, so that their order does not matter in a comparison."""
    return sorted(json.dumps(rule, sort_keys=True) for rule in rules)
