"""Names and labels of the objects: valid for Kubernetes, and different for each release."""

import json
import re

import pytest

from hack.helm import CHART, Helm
from tests.chart.objects import only, variables

LABEL_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
LONG = "a-release-whose-name-is-as-long-as-helm-lets-it-be-00"


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("qualtrics-exporter", {}, "qualtrics-exporter"),
        ("my-qualtrics-exporter-2", {}, "my-qualtrics-exporter-2"),
        ("surveys", {}, "surveys-qualtrics-exporter"),
        ("surveys", {"nameOverride": "exporter"}, "surveys-exporter"),
        ("surveys", {"nameOverride": "surveys"}, "surveys"),
        ("surveys", {"fullnameOverride": "exporter"}, "exporter"),
        # YAML reads these as a number and a boolean unless they are quoted.
        ("1", {"fullnameOverride": "true"}, "true"),
    ],
    ids=[
        "release with the name of the chart",
        "release with the name of the chart in it",
        "other release",
        "nameOverride",
        "nameOverride with the name of the release",
        "fullnameOverride",
        "number and boolean as names",
    ],
)
def test_objects_and_lease_get_their_name_from_the_release_and_the_overrides(
    helm: Helm, release: str, values: dict[str, str], name: str
) -> None:
    objects = helm.template(release, namespace="1e3", values=values)
    named = ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget")
    assert {only(kind, objects)["metadata"]["name"] for kind in named} == {name}
    assert variables(objects)["QUALTRICS_EXPORTER_LEASE_NAME"] == name
    labels = only("Deployment", objects)["spec"]["selector"]["matchLabels"]
    assert labels["app.kubernetes.io/instance"] == release
    assert {object_["metadata"].get("namespace", "1e3") for object_ in objects} == {"1e3"}


def test_invalid_and_too_long_names_become_valid_and_stay_unique(helm: Helm) -> None:
    releases = [f"{LONG[:-1]}{n}" for n in range(2)] + ["a.b", "a-b", "9-lives", "a--b"]
    # One template prints the name of the objects for each release.
    context = '(merge (dict "Release" (dict "Name" .)) $)'
    fullname = f'{{{{ include "qualtrics-exporter.fullname" {context} }}}}'
    template = f"{{{{ range list {' '.join(json.dumps(r) for r in releases)} }}}}{fullname} {{{{ end }}}}"
    extra = {"kind": "ConfigMap", "data": {"names": template}}
    objects = helm.template("surveys", values={"extraObjects": [extra]})
    names = next(o for o in objects if o["kind"] == "ConfigMap")["data"]["names"].split()
    assert len(set(names)) == len(releases)
    for name in names:
        assert LABEL_NAME.fullmatch(name), name
        assert len(name) <= 52
    assert names[3] == "a-b-qualtrics-exporter", "a valid name does not change"


def test_all_objects_of_a_release_with_the_longest_name_have_valid_names(helm: Helm) -> None:
    for object_ in helm.template(LONG, namespace="n" * 63):
        if object_["kind"] not in ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"):
            assert len(object_["metadata"]["name"]) <= 253
        if object_["kind"] in ("Service", "Pod", "Deployment"):
            assert len(object_["metadata"]["name"]) <= 63, "it is used as a host name"


@pytest.mark.parametrize(
    ("image", "version", "reference"),
    [
        ({}, None, "qualtrics-exporter/qualtrics-exporter:{}"),
        ({"tag": ""}, None, "qualtrics-exporter/qualtrics-exporter:{}"),
        ({"tag": "v1.2_3-rc"}, "v1.2_3-rc", "qualtrics-exporter/qualtrics-exporter:v1.2_3-rc"),
        ({"tag": "_" + "x" * 70 + "."}, "x" * 62, "qualtrics-exporter/qualtrics-exporter:_" + "x" * 70 + "."),
        ({"tag": "___"}, None, "qualtrics-exporter/qualtrics-exporter:___"),
        ({"tag": "1.0"}, "1.0", "qualtrics-exporter/qualtrics-exporter:1.0"),
        (
            {"registry": "registry.example.com:5000", "repository": "e", "digest": "sha256:" + "a" * 64},
            None,
            "registry.example.com:5000/e@sha256:" + "a" * 64,
        ),
        (
            {"tag": "1", "digest": "sha256:" + "a" * 64},
            "1",
            "qualtrics-exporter/qualtrics-exporter:1@sha256:" + "a" * 64,
        ),
    ],
    ids=[
        "no tag",
        "empty tag",
        "tag with special characters",
        "tag of 72 characters",
        "tag of underscores",
        "tag like a number",
        "registry and digest",
        "tag and digest",
    ],
)
def test_pods_use_the_full_image_reference_and_objects_have_a_valid_version_label(
    helm: Helm, image: dict[str, str], version: str | None, reference: str
) -> None:
    chart_version = re.search(r"^appVersion: (.*)$", (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert chart_version
    objects = helm.template("surveys", values={"image": image})
    pods = [only("Deployment", objects)["spec"]["template"]["spec"], only("Pod", objects, "test")["spec"]]
    assert {pod["containers"][0]["image"] for pod in pods} == {reference.format(chart_version[1])}
    labels = only("Deployment", objects)["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == (version or chart_version[1])
    assert all(LABEL_VALUE.fullmatch(value) and len(value) <= 63 for value in labels.values())


def test_releases_with_the_same_name_in_two_namespaces_share_no_object(helm: Helm) -> None:
    values = {"crds": {"enabled": False}, "watchNamespaces": ["dex"]}
    here, there = (helm.template("surveys", namespace=namespace, values=values) for namespace in ("here", "there"))
    assert identities(here).isdisjoint(identities(there))
    values = {"crds": {"enabled": False}}
    here, there = (helm.template("surveys", namespace=namespace, values=values) for namespace in ("here", "there"))
    assert identities(here).isdisjoint(identities(there))


def test_two_releases_in_one_namespace_have_different_objects_pod_labels_and_leases(helm: Helm) -> None:
    values = {"crds": {"enabled": False}}
    one, other = (helm.template(release, namespace="dex", values=values) for release in ("one", "other"))
    assert identities(one).isdisjoint(identities(other))
    labels = [only("Deployment", objects)["spec"]["selector"]["matchLabels"] for objects in (one, other)]
    assert labels[0] != labels[1]
    leases = [variables(objects)["QUALTRICS_EXPORTER_LEASE_NAME"] for objects in (one, other)]
    assert leases[0] != leases[1]


def identities(objects: list[dict[str, object]]) -> set[tuple[str, str, str]]:
    """Kind, namespace and name of each object."""
    metadata = [(object_["kind"], object_["metadata"]) for object_ in objects]
    return {(str(kind), of.get("namespace", ""), of["name"]) for kind, of in metadata}  # type: ignore[attr-defined, index]
