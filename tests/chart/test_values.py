"""What may be written as values, what not, and that a refusal says what to write instead."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hack import chart
from hack.files import write
from tests.chart.conftest import COMBINATIONS, together
from tests.environment import plain_yaml
from tests.environment.helm import CHART, Helm, HelmError

VALUES = plain_yaml.read((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DIGEST = "sha256:" + "0" * 64

SENTENCES: dict[str, tuple[dict[str, Any], str]] = {
    "no replica": (
        {"replicaCount": 0},
        "replicaCount is 0, which would stop all exporters silently: set 1 or more. To pause an exporter, set suspend: "
        "true in it. To stop the operator temporarily, use kubectl scale; the next upgrade undoes that.",
    ),
    "fewer than no replica": ({"replicaCount": -1}, "replicaCount is -1, which would stop all exporters"),
    "replicas that all work": (
        {"leaderElection": {"enabled": False}},
        "replicaCount is 2, but with leaderElection.enabled=false all of them would work at the same time: set "
        "replicaCount to 1, or leaderElection.enabled to true.",
    ),
    "a new pod beside the only one that may work": (
        {"replicaCount": 1, "leaderElection": {"enabled": False}, "strategy": {"type": "RollingUpdate"}},
        'strategy is {"type":"RollingUpdate"}, but with leaderElection.enabled=false the new pod and the old',
    ),
    "the same by a strategy without a type": (
        {"replicaCount": 1, "leaderElection": {"enabled": False}, "strategy": {"rollingUpdate": {"maxSurge": 1}}},
        'strategy is {"rollingUpdate":{"maxSurge":1}}, but with leaderElection.enabled=false the new pod and the',
    ),
    "replicas without end": (
        {"replicaCount": 9999999999},
        "replicaCount is 9999999999, but only one pod works and all others wait: set 2 or 3.",
    ),
    "no image": ({"image": {"repository": ""}}, "image.repository is empty: omit it to use the default, or set a"),
    "an image with its tag": (
        {"image": {"repository": "registry.example.com:5000/exporter:1.2"}},
        'image.repository is "registry.example.com:5000/exporter:1.2", which has a tag: set the tag as image.tag.',
    ),
    "an image with a scheme": (
        {"image": {"repository": "https://registry.example.com/exporter"}},
        'image.repository is "https://registry.example.com/exporter", which is not the name of an image: use',
    ),
    "an image in capitals": ({"image": {"repository": "Exporter"}}, 'image.repository is "Exporter", which is not the'),
    "a registry with a scheme": (
        {"image": {"registry": "https://registry.example.com"}},
        'image.registry is "https://registry.example.com", which is not a registry: set its host without a',
    ),
    "a digest for a tag": (
        {"image": {"tag": DIGEST}},
        f'image.tag is "{DIGEST}", which is not a tag: use up to 128 letters, digits, dots, - and _, or leave it empty '
        f"for 0.1.0. Set a digest as image.digest.",
    ),
    "a tag that is too long": ({"image": {"tag": "a" * 129}}, f'image.tag is "{"a" * 129}", which is not a tag'),
    "a digest that is cut": (
        {"image": {"digest": "sha256:0123"}},
        'image.digest is "sha256:0123", which is not a digest: use sha256: and 64 hexadecimal digits.',
    ),
    "a name that is too long": (
        {"nameOverride": "n" * 53},
        f'nameOverride is "{"n" * 53}", which is not a valid name: use at most 52 lower case letters, digits and -, '
        f"beginning with a letter.",
    ),
    "a name with a space": ({"nameOverride": "my exporter"}, 'nameOverride is "my exporter", which is not a valid'),
    "a name that would end with a hyphen": ({"fullnameOverride": "x-"}, 'fullnameOverride is "x-", which is not'),
    "a full name that is too long": (
        {"fullnameOverride": "n" * 53},
        f'fullnameOverride is "{"n" * 53}", which is not a valid name: use at most 52 lower case',
    ),
    "a label of the chart's own, for all": (
        {"commonLabels": {"app.kubernetes.io/name": "x"}},
        "commonLabels has app.kubernetes.io/name, which the chart sets: remove it. To change app.kubernetes.io/name,",
    ),
    "a label of the chart's own, for pods": (
        {"podLabels": {"app.kubernetes.io/instance": "x"}},
        "podLabels has app.kubernetes.io/instance, which the chart sets: remove it.",
    ),
    "the account of everybody": (
        {"serviceAccount": {"create": False}},
        "serviceAccount.create is false, but serviceAccount.name is empty: set the name of an existing account.",
    ),
    "a pattern for namespaces": (
        {"watchNamespaces": ["*"]},
        'watchNamespaces has "*", which is not a namespace: list the name of each, such as dex, or leave the list',
    ),
    "a namespace without a name": ({"watchNamespaces": [""]}, 'watchNamespaces has "", which is not a name'),
    "two namespaces in one": ({"watchNamespaces": ["dex,hr"]}, 'watchNamespaces has "dex,hr", which is not a name'),
    "a selector as YAML": (
        {"selector": "team: dex"},
        'selector is "team: dex", which is not a label selector: use the syntax of kubectl, such as team=dex',
    ),
    "a selector that is not closed": (
        {"selector": "team in (dex"},
        'selector is "team in (dex", which is not a label selector: use the syntax of kubectl, such as team=dex',
    ),
    "a selector for no value": ({"selector": "team=="}, 'selector is "team==", which is not a label selector'),
    "a selector that ends with a comma": ({"selector": "team=dex,"}, 'selector is "team=dex,", which is not a label'),
    "a time zone that is misspelled": (
        {"timeZone": "Europe/Zuerich"},
        'timeZone is "Europe/Zuerich", which is not an IANA time zone: use one such as Europe/Zurich or UTC.',
    ),
    "a time zone by its offset": (
        {"timeZone": "+02:00"},
        'timeZone is "+02:00", which is not an IANA time zone: use one such as Europe/Zurich or UTC.',
    ),
    "no run": ({"maxConcurrentRuns": 0}, "maxConcurrentRuns is 0: set 1 or more. To pause an exporter, set suspend"),
    "a url for a host": (
        {"allowedHosts": ["https://eu.qualtrics.com/"]},
        'allowedHosts has "https://eu.qualtrics.com/", which is not a host: use a host name or *.suffix, with',
    ),
    "a host with any port": (
        {"allowedDownloadHosts": ["localhost:*"]},
        'allowedDownloadHosts has "localhost:*", which is not a host: use a host name or *.suffix, with or without a '
        "port, such as *.qualtrics.com or proxy.example.com:8443, and without scheme and path.",
    ),
    "every host": ({"allowedHosts": ["*"]}, 'allowedHosts has "*", which allows too many hosts: give at least'),
    "every host of a domain": ({"allowedHosts": ["*.com:443"]}, 'allowedHosts has "*.com:443", which allows too many'),
    "a host with two dots": ({"allowedHosts": ["a..b"]}, 'allowedHosts has "a..b", which is not a'),
    "a proxy with a password in its URL": (
        {"proxy": {"url": "http://surveys:s3cret@proxy:3128"}},
        "proxy.url has a user name: put the user name and the password into a Secret, and set "
        "proxy.secretName to its name.",
    ),
    "a proxy without a scheme": (
        {"proxy": {"url": "proxy.example.com:3128"}},
        "proxy.url is not the URL of an HTTP proxy: use one such as http://proxy.example.com:3128.",
    ),
    "a proxy of another kind": ({"proxy": {"url": "socks5://proxy:1080"}}, "proxy.url is not the URL of an HTTP proxy"),
    "a password without a proxy": (
        {"proxy": {"secretName": "company-proxy"}},
        "proxy.secretName is set without proxy.url: set proxy.url too.",
    ),
    "exceptions without a proxy": ({"proxy": {"noProxy": ["a.com"]}}, "proxy.noProxy is set without proxy.url: set"),
    "an exception that is no host": (
        {"proxy": {"url": "http://proxy:3128", "noProxy": ["https://a.com"]}},
        "Entry 1 of proxy.noProxy is not a host: use a name, .suffix, an address, or a range such as",
    ),
    "two places for authorities": (
        {"privateCA": {"configMapName": "a", "secretName": "b"}},
        "privateCA has both configMapName and secretName: remove one of them.",
    ),
    "authorities under no key": (
        {"privateCA": {"secretName": "b", "key": "a/b"}},
        'privateCA.key is "a/b", which is not a valid key of a ConfigMap or Secret: set the key of the certificates',
    ),
    "a variable of the chart's own": (
        {"extraEnv": [{"name": "QUALTRICS_EXPORTER_NAMESPACE", "value": "dex"}]},
        "extraEnv sets QUALTRICS_EXPORTER_NAMESPACE, which the chart sets: use the chart's value for it.",
    ),
    "authorities by a variable": (
        {"extraEnv": [{"name": "SSL_CERT_FILE", "value": "/x"}]},
        "extraEnv sets SSL_CERT_FILE, which the chart sets: use the chart's value for it. There is a value for each "
        "flag, and privateCA for SSL_CERT_FILE.",
    ),
    "a variable without a name": ({"extraEnv": [{"value": "x"}]}, "extraEnv has an entry without a name: use the form"),
    "no port": ({"http": {"port": 0}}, "http.port is 0, which is not a port: use a number from 1 to 65535."),
    "a port that is too large": ({"service": {"port": 70000}}, "service.port is 70000, which is not a port: use"),
    "an address in brackets": ({"http": {"host": "[::]"}}, 'http.host is "[::]", which is not an address: use 0.0'),
    "an address that only the pod itself reaches": (
        {"http": {"host": "localhost"}},
        'http.host is "localhost", which probes cannot reach, so the pods would never be ready: use 0.0.0.0, or',
    ),
    "the same in numbers": ({"http": {"host": "127.0.0.1"}}, 'http.host is "127.0.0.1", which probes cannot reach'),
    "the same with IPv6": ({"http": {"host": "::1"}}, 'http.host is "::1", which probes cannot reach'),
    "less time than a send may take": (
        {"terminationGracePeriodSeconds": 129},
        "terminationGracePeriodSeconds is 129, but a send can take two minutes and would be interrupted: set 130",
    ),
    "fewer than no ReplicaSets": ({"revisionHistoryLimit": -1}, "revisionHistoryLimit is -1: use a number from 0"),
    "too little time to start": (
        {"startupProbe": {"failureThreshold": 37}},
        "startupProbe gives a pod 74 seconds to start, but it waits up to a minute for the API server: periodSeconds "
        "times failureThreshold must be at least 75.",
    ),
    "no startup probe": (
        {"startupProbe": None},
        "startupProbe is empty: omit it to use the default, or set only the keys that you want to change.",
    ),
    "no liveness probe": ({"livenessProbe": None}, "livenessProbe is empty: omit it to use the default"),
    "no readiness probe": ({"readinessProbe": None}, "readinessProbe is empty: omit it to use the default"),
    "a probe without patience": (
        {"livenessProbe": {"timeoutSeconds": None}},
        "livenessProbe.timeoutSeconds is empty: omit it to use the default, or set a value.",
    ),
    "all pods must be left": (
        {"podDisruptionBudget": {"minAvailable": 2}},
        "podDisruptionBudget.minAvailable is 2 of 2 pods, so no node with these pods could be drained: set less",
    ),
    "all pods must be left, in per cent": (
        {"podDisruptionBudget": {"minAvailable": "100%"}},
        "podDisruptionBudget.minAvailable is 100% of 2 pods, so no node with these pods could be drained",
    ),
    "all pods must be left, when per cent are rounded up": (
        {"podDisruptionBudget": {"minAvailable": "51%"}},
        "podDisruptionBudget.minAvailable is 51% of 2 pods, so no node with these pods could be drained",
    ),
    "a word for a number of pods": (
        {"podDisruptionBudget": {"minAvailable": "half"}},
        'podDisruptionBudget.minAvailable is "half", which is not a number of pods: use a number such as 1, or a',
    ),
    "no pod may be missing": (
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "podDisruptionBudget.maxUnavailable is 0%, so no node with these pods could be drained: set 1 or more.",
    ),
}
"""What is more than a wrong type: values, and how their refusal begins."""

TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": ({"replicaCount": "two"}, "at '/replicaCount': got string, want integer"),
    "a fraction": ({"replicaCount": 1.5}, "at '/replicaCount': got number, want integer"),
    "a number for a tag": ({"image": {"tag": 1.0}}, "at '/image/tag': got number, want string"),
    "text for a switch": ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want boolean"),
    "text for a list": ({"watchNamespaces": "dex"}, "at '/watchNamespaces': got string, want array"),
    "text for an object": ({"extraEnv": ["A=b"]}, "at '/extraEnv/0': got string, want object"),
    "a list for a section": ({"image": []}, "at '/image': got array, want object"),
    "a number for a label": ({"podLabels": {"tier": 1}}, "at '/podLabels/tier': got number, want string"),
    "a level that there is not": (
        {"logging": {"level": "loud"}},
        "at '/logging/level': value must be one of 'debug', 'info', 'warning', 'error'",
    ),
    "a key of another chart": ({"replicas": 3}, "at '': additional properties 'replicas' not allowed"),
    "a key that is misspelled": ({"image": {"tags": "1"}}, "at '/image': additional properties 'tags' not allowed"),
    "a probe of one's own": (
        {"livenessProbe": {"httpGet": {"path": "/"}}},
        "at '/livenessProbe': additional properties 'httpGet' not allowed",
    ),
}
"""What the schema refuses. Its words are Helm's."""

GOOD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "what a parent chart hands down": {"global": {"imageRegistry": "registry.example.com", "any": [1, None]}},
    "no requests and limits": {"resources": None},
    "nothing of what may be left out": {
        name: None for name, default in VALUES.items() if default in ({}, [], "") or name.endswith("Context")
    },
    "a tag of 128 characters": {"image": {"tag": "v" * 128}},
    "a registry with a port and a path": {"image": {"registry": "registry.example.com:5000/mirror"}},
    "one pod without a Lease": {"replicaCount": 1, "leaderElection": {"enabled": False}},
    "one pod without a Lease, written in full": {
        "replicaCount": 1,
        "leaderElection": {"enabled": False},
        "strategy": {"type": "Recreate"},
    },
    "as little time as is enough": {
        "terminationGracePeriodSeconds": 130,
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 75},
    },
    "a selector for a label with a prefix": {"selector": "example.com/team notin (dex), a == b, ! c"},
    "a zone that is UTC by another name": {"timeZone": "Etc/UTC"},
    "a zone that is not far from UTC": {"timeZone": "Africa/Abidjan"},
    "a budget of a part that leaves one": {"replicaCount": 3, "podDisruptionBudget": {"minAvailable": "66%"}},
    "a budget that fits a percentage": {"podDisruptionBudget": {"minAvailable": "50%"}},
    "a budget for one pod, which is none": {"replicaCount": 1, "podDisruptionBudget": {"maxUnavailable": 0}},
    "a selector of sets": {"selector": "team in (dex, hr),tier!=test,!legacy"},
    "a zone with digits and signs": {"timeZone": "Etc/GMT+12"},
    "a host that is an IPv6 address": {"allowedHosts": ["[2001:db8::1]"]},
    "hosts with their ports": {"allowedHosts": ["localhost:8443", "*.example.com:8443", "[2001:db8::1]:8443"]},
    "a download host of any region": {"allowedDownloadHosts": ["*.s3.*.amazonaws.com"]},
    "a namespace of digits": {"watchNamespaces": ["2024"]},
}


def refusal(helm: Helm, values: dict[str, Any], *arguments: str) -> str:
    """What Helm says of values that it does not take."""
    with pytest.raises(HelmError) as refused:
        helm.template("surveys", *arguments, values=values)
    return str(refused.value.stderr)


EMPTIES = " is empty: omit it"
TOGETHER = together({name: values for name, (values, _) in SENTENCES.items() if EMPTIES not in SENTENCES[name][1]})
EMPTY = together({name: values for name, (values, _) in SENTENCES.items() if EMPTIES in SENTENCES[name][1]})
TYPES_TOGETHER = together({name: values for name, (values, _) in TYPES.items()})
GOOD_TOGETHER = together(GOOD)
"""The same tables, each row with the values of all that Helm is asked about at once: what is wrong is told at once."""


@pytest.mark.parametrize("name", SENTENCES)
def test_what_cannot_be_is_refused_with_a_sentence_that_says_what_to_write(helm: Helm, name: str) -> None:
    # What is empty is told before all else, since the other checks rely on it.
    told = refusal(helm, {**TOGETHER, **EMPTY}[name])
    sentences = [line for line in told.splitlines() if line.startswith(SENTENCES[name][1])]
    assert len(sentences) == 1, told
    assert sentences[0].endswith("."), "a sentence ends"


@pytest.mark.parametrize("name", TYPES)
def test_wrong_types_and_unknown_keys_are_refused_by_the_place_where_they_stand(helm: Helm, name: str) -> None:
    assert TYPES[name][1] in refusal(helm, TYPES_TOGETHER[name])


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_taken(helm: Helm, name: str) -> None:
    assert helm.template("surveys", values=GOOD_TOGETHER[name])


def test_several_mistakes_are_told_at_once(helm: Helm) -> None:
    told = refusal(helm, {"replicaCount": 0, "timeZone": "+2", "image": {"digest": "x"}})
    assert "replicaCount is 0" in told
    assert 'timeZone is "+2"' in told
    assert 'image.digest is "x"' in told


def test_a_value_that_null_takes_away_is_told_in_a_sentence_unless_it_may_be_empty(helm: Helm) -> None:
    needed = {
        ".".join(path)
        for path, default in leaves(VALUES)
        if default not in ("", [], {}) and (path[0].endswith("Probe") or not free(path))
    }
    nothing: dict[str, Any] = {}
    for path in needed:
        place = nothing
        *parents, last = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = None
    told = refusal(helm, nothing)
    said = {line.partition(" ")[0] for line in told.splitlines() if "is empty: omit it to use the default" in line}
    # These have a sentence of their own when they are used, or are no matter.
    assert needed - said == {"podDisruptionBudget.maxUnavailable", "privateCA.key", "http.host"}


def test_a_section_that_null_takes_away_is_told_in_a_sentence(helm: Helm) -> None:
    sections = [
        name
        for name, default in VALUES.items()
        if isinstance(default, dict) and default and (name.endswith("Probe") or not free((name,)))
    ]
    told = refusal(helm, dict.fromkeys(sections))
    assert [name for name in sections if f"\n{name} is empty: omit it to use the default, or" not in told] == []


def test_the_schema_is_one_and_refuses_unknown_keys_everywhere_but_in_global_and_where_kubernetes_has_its_say() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    open_objects = {path for path, node in objects(SCHEMA) if node.get("additionalProperties", True) is True}
    kubernetes = {"resources", "podSecurityContext", "securityContext", "affinity", "strategy", "dnsConfig"}
    assert open_objects == {"global", *kubernetes}


def test_the_defaults_fit_the_schema_and_each_value_is_described() -> None:
    jsonschema.validate(VALUES, SCHEMA, cls=jsonschema.Draft7Validator)
    described = {path for path, node in objects(SCHEMA, every=True) if node.get("description")}
    assert {".".join(path) for path, _ in leaves(VALUES) if not free(path)} - described == set()


def test_each_value_is_tried_by_a_combination_of_ci() -> None:
    tried = {path for file in COMBINATIONS for path, _ in leaves(plain_yaml.read(file.read_text()) or {})}
    written = {".".join(path) for path, _ in leaves(VALUES)}
    prefixes = {".".join(path[: n + 1]) for path in tried for n in range(len(path))}
    untried = {path for path in written if not free(tuple(path.split("."))) and path not in prefixes}
    assert untried == {"fullnameOverride"}, "test_names.py has that"


def test_schema_and_table_are_what_values_yaml_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(chart.generated(CHART), CHART, check=True), "run `make generate`"

    copy = tmp_path / "charts" / "copy"
    shutil.copytree(CHART, copy)
    values = copy / "values.yaml"
    values.write_text(values.read_text().replace("# Number of pods.", "# The number of pods."))
    assert not write(chart.generated(copy), copy, check=True)
    assert "README.md is stale: run `make generate`" in capsys.readouterr().err
    assert write(chart.generated(copy), copy, check=False)
    assert "The number of pods." in (copy / "README.md").read_text()
    assert write(chart.generated(copy), copy, check=True)

    values.write_text(values.read_text() + "undescribed: 1\n")
    with pytest.raises(chart.Undescribed, match=r"^undescribed in values\.yaml has no comment"):
        chart.generated(copy)


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that holds no further ones, by its path."""
    if isinstance(node, dict) and node:
        for key, inner in node.items():
            yield from leaves(inner, (*path, key))
    elif path:
        yield path, node


def free(path: tuple[str, ...]) -> bool:
    """Whether a value lies in one whose keys are no business of the chart."""
    return path[0] in ("global", "resources", "podSecurityContext", "securityContext") or path[0].endswith("Probe")


def objects(node: dict[str, Any], path: str = "", *, every: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object in a schema, or each node, by its path."""
    if path and (every or node.get("type") == "object"):
        yield path, node
    for key, inner in node.get("properties", {}).items():
        yield from objects(inner, f"{path}.{key}" if path else key, every=every)
