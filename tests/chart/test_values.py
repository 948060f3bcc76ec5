"""The chart accepts valid values, and rejects invalid ones with a message that says what to set instead."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hack import chart, plain_yaml
from hack.files import write
from hack.helm import CHART, Helm, HelmError
from tests.chart.conftest import COMBINATIONS, batched

VALUES = plain_yaml.read((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DIGEST = "sha256:" + "0" * 64

PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "zero replicas": (
        {"replicaCount": 0},
        "replicaCount is 0, which would stop all exporters silently: set 1 or more. To pause an exporter, set suspend: "
        "true in it. To stop the operator temporarily, use kubectl scale; the next upgrade undoes that.",
    ),
    "negative replicas": ({"replicaCount": -1}, "replicaCount is -1, which would stop all exporters"),
    "two replicas without leader election": (
        {"leaderElection": {"enabled": False}},
        "replicaCount is 2, but with leaderElection.enabled=false all of them would work at the same time: set "
        "replicaCount to 1, or leaderElection.enabled to true.",
    ),
    "rolling update without leader election": (
        {"replicaCount": 1, "leaderElection": {"enabled": False}, "strategy": {"type": "RollingUpdate"}},
        'strategy is {"type":"RollingUpdate"}, but with leaderElection.enabled=false the new pod and the old',
    ),
    "rolling update by default without leader election": (
        {"replicaCount": 1, "leaderElection": {"enabled": False}, "strategy": {"rollingUpdate": {"maxSurge": 1}}},
        'strategy is {"rollingUpdate":{"maxSurge":1}}, but with leaderElection.enabled=false the new pod and the',
    ),
    "billions of replicas": (
        {"replicaCount": 9999999999},
        "replicaCount is 9999999999, but only one pod works and all others wait: set 2 or 3.",
    ),
    "empty image repository": (
        {"image": {"repository": ""}},
        "image.repository is empty: omit it to use the default, or set a",
    ),
    "image repository with a tag": (
        {"image": {"repository": "registry.example.com:5000/exporter:1.2"}},
        'image.repository is "registry.example.com:5000/exporter:1.2", which has a tag: set the tag as image.tag.',
    ),
    "image repository with a scheme": (
        {"image": {"repository": "https://registry.example.com/exporter"}},
        'image.repository is "https://registry.example.com/exporter", which is not the name of an image: use',
    ),
    "image repository in upper case": (
        {"image": {"repository": "Exporter"}},
        'image.repository is "Exporter", which is not the',
    ),
    "registry with a scheme": (
        {"image": {"registry": "https://registry.example.com"}},
        'image.registry is "https://registry.example.com", which is not a registry: set its host without a',
    ),
    "digest as a tag": (
        {"image": {"tag": DIGEST}},
        f'image.tag is "{DIGEST}", which is not a tag: use up to 128 letters, digits, dots, - and _, or leave it empty '
        f"for 0.1.0. Set a digest as image.digest.",
    ),
    "tag of 129 characters": ({"image": {"tag": "a" * 129}}, f'image.tag is "{"a" * 129}", which is not a tag'),
    "digest that is too short": (
        {"image": {"digest": "sha256:0123"}},
        'image.digest is "sha256:0123", which is not a digest: use sha256: and 64 hexadecimal digits.',
    ),
    "nameOverride of 53 characters": (
        {"nameOverride": "n" * 53},
        f'nameOverride is "{"n" * 53}", which is not a valid name: use at most 52 lower case letters, digits and -, '
        f"beginning with a letter.",
    ),
    "nameOverride with a space": (
        {"nameOverride": "my exporter"},
        'nameOverride is "my exporter", which is not a valid',
    ),
    "fullnameOverride that ends with a hyphen": ({"fullnameOverride": "x-"}, 'fullnameOverride is "x-", which is not'),
    "fullnameOverride of 53 characters": (
        {"fullnameOverride": "n" * 53},
        f'fullnameOverride is "{"n" * 53}", which is not a valid name: use at most 52 lower case',
    ),
    "label of the chart in commonLabels": (
        {"commonLabels": {"app.kubernetes.io/name": "x"}},
        "commonLabels has app.kubernetes.io/name, which the chart sets: remove it. To change app.kubernetes.io/name,",
    ),
    "label of the chart in podLabels": (
        {"podLabels": {"app.kubernetes.io/instance": "x"}},
        "podLabels has app.kubernetes.io/instance, which the chart sets: remove it.",
    ),
    "default service account": (
        {"serviceAccount": {"create": False}},
        "serviceAccount.create is false, but serviceAccount.name is empty: set the name of an existing account.",
    ),
    "namespace pattern": (
        {"watchNamespaces": ["*"]},
        'watchNamespaces has "*", which is not a namespace: list the name of each, such as dex, or leave the list',
    ),
    "empty namespace": ({"watchNamespaces": [""]}, 'watchNamespaces has "", which is not a name'),
    "two namespaces in one entry": (
        {"watchNamespaces": ["dex,hr"]},
        'watchNamespaces has "dex,hr", which is not a name',
    ),
    "selector in YAML": (
        {"selector": "team: dex"},
        'selector is "team: dex", which is not a label selector: use the syntax of kubectl, such as team=dex',
    ),
    "selector with an open bracket": (
        {"selector": "team in (dex"},
        'selector is "team in (dex", which is not a label selector: use the syntax of kubectl, such as team=dex',
    ),
    "selector without a value": ({"selector": "team=="}, 'selector is "team==", which is not a label selector'),
    "selector that ends with a comma": ({"selector": "team=dex,"}, 'selector is "team=dex,", which is not a label'),
    "misspelled time zone": (
        {"timeZone": "Europe/Zuerich"},
        'timeZone is "Europe/Zuerich", which is not an IANA time zone: use one such as Europe/Zurich or UTC.',
    ),
    "offset as a time zone": (
        {"timeZone": "+02:00"},
        'timeZone is "+02:00", which is not an IANA time zone: use one such as Europe/Zurich or UTC.',
    ),
    "zero concurrent runs": (
        {"maxConcurrentRuns": 0},
        "maxConcurrentRuns is 0: set 1 or more. To pause an exporter, set suspend",
    ),
    "URL as a host": (
        {"allowedHosts": ["https://eu.qualtrics.com/"]},
        'allowedHosts has "https://eu.qualtrics.com/", which is not a host: use a host name or *.suffix, with',
    ),
    "host with a port pattern": (
        {"allowedDownloadHosts": ["localhost:*"]},
        'allowedDownloadHosts has "localhost:*", which is not a host: use a host name or *.suffix, with or without a '
        "port, such as *.qualtrics.com or proxy.example.com:8443, and without scheme and path.",
    ),
    "pattern for all hosts": (
        {"allowedHosts": ["*"]},
        'allowedHosts has "*", which allows too many hosts: give at least',
    ),
    "pattern for a top-level domain": (
        {"allowedHosts": ["*.com:443"]},
        'allowedHosts has "*.com:443", which allows too many',
    ),
    "host with two dots in a row": ({"allowedHosts": ["a..b"]}, 'allowedHosts has "a..b", which is not a'),
    "password in the URL of the proxy": (
        {"proxy": {"url": "http://surveys:s3cret@proxy:3128"}},
        "proxy.url has a user name: put the user name and the password into a Secret, and set "
        "proxy.secretName to its name.",
    ),
    "proxy without a scheme": (
        {"proxy": {"url": "proxy.example.com:3128"}},
        "proxy.url is not the URL of an HTTP proxy: use one such as http://proxy.example.com:3128.",
    ),
    "SOCKS proxy": ({"proxy": {"url": "socks5://proxy:1080"}}, "proxy.url is not the URL of an HTTP proxy"),
    "password without a proxy": (
        {"proxy": {"secretName": "company-proxy"}},
        "proxy.secretName is set without proxy.url: set proxy.url too.",
    ),
    "exceptions without a proxy": ({"proxy": {"noProxy": ["a.com"]}}, "proxy.noProxy is set without proxy.url: set"),
    "URL as an exception of the proxy": (
        {"proxy": {"url": "http://proxy:3128", "noProxy": ["https://a.com"]}},
        "Entry 1 of proxy.noProxy is not a host: use a name, .suffix, an address, or a range such as",
    ),
    "two sources of certificate authorities": (
        {"privateCA": {"configMapName": "a", "secretName": "b"}},
        "privateCA has both configMapName and secretName: remove one of them.",
    ),
    "invalid key of certificate authorities": (
        {"privateCA": {"secretName": "b", "key": "a/b"}},
        'privateCA.key is "a/b", which is not a valid key of a ConfigMap or Secret: set the key of the certificates',
    ),
    "variable of a flag in extraEnv": (
        {"extraEnv": [{"name": "QUALTRICS_EXPORTER_NAMESPACE", "value": "dex"}]},
        "extraEnv sets QUALTRICS_EXPORTER_NAMESPACE, which the chart sets: use the chart's value for it.",
    ),
    "SSL_CERT_FILE in extraEnv": (
        {"extraEnv": [{"name": "SSL_CERT_FILE", "value": "/x"}]},
        "extraEnv sets SSL_CERT_FILE, which the chart sets: use the chart's value for it. There is a value for each "
        "flag, and privateCA for SSL_CERT_FILE.",
    ),
    "variable without a name": ({"extraEnv": [{"value": "x"}]}, "extraEnv has an entry without a name: use the form"),
    "port 0": ({"http": {"port": 0}}, "http.port is 0, which is not a port: use a number from 1 to 65535."),
    "port above 65535": ({"service": {"port": 70000}}, "service.port is 70000, which is not a port: use"),
    "address in brackets": ({"http": {"host": "[::]"}}, 'http.host is "[::]", which is not an address: use 0.0'),
    "localhost as the address": (
        {"http": {"host": "localhost"}},
        'http.host is "localhost", which probes cannot reach, so the pods would never be ready: use 0.0.0.0, or',
    ),
    "IPv4 loopback address": ({"http": {"host": "127.0.0.1"}}, 'http.host is "127.0.0.1", which probes cannot reach'),
    "IPv6 loopback address": ({"http": {"host": "::1"}}, 'http.host is "::1", which probes cannot reach'),
    "grace period shorter than a send": (
        {"terminationGracePeriodSeconds": 129},
        "terminationGracePeriodSeconds is 129, but a send can take two minutes and would be interrupted: set 130",
    ),
    "negative revision history": ({"revisionHistoryLimit": -1}, "revisionHistoryLimit is -1: use a number from 0"),
    "startup probe that is too short": (
        {"startupProbe": {"failureThreshold": 37}},
        "startupProbe gives a pod 74 seconds to start, but it waits up to a minute for the API server: periodSeconds "
        "times failureThreshold must be at least 75.",
    ),
    "startup probe null": (
        {"startupProbe": None},
        "startupProbe is empty: omit it to use the default, or set only the keys that you want to change.",
    ),
    "liveness probe null": ({"livenessProbe": None}, "livenessProbe is empty: omit it to use the default"),
    "readiness probe null": ({"readinessProbe": None}, "readinessProbe is empty: omit it to use the default"),
    "timeout of a probe null": (
        {"livenessProbe": {"timeoutSeconds": None}},
        "livenessProbe.timeoutSeconds is empty: omit it to use the default, or set a value.",
    ),
    "budget for all pods": (
        {"podDisruptionBudget": {"minAvailable": 2}},
        "podDisruptionBudget.minAvailable is 2 of 2 pods, so no node with these pods could be drained: set less",
    ),
    "budget for 100% of the pods": (
        {"podDisruptionBudget": {"minAvailable": "100%"}},
        "podDisruptionBudget.minAvailable is 100% of 2 pods, so no node with these pods could be drained",
    ),
    "budget that rounds up to all pods": (
        {"podDisruptionBudget": {"minAvailable": "51%"}},
        "podDisruptionBudget.minAvailable is 51% of 2 pods, so no node with these pods could be drained",
    ),
    "word as a number of pods": (
        {"podDisruptionBudget": {"minAvailable": "half"}},
        'podDisruptionBudget.minAvailable is "half", which is not a number of pods: use a number such as 1, or a',
    ),
    "budget that allows no unavailable pod": (
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "podDisruptionBudget.maxUnavailable is 0%, so no node with these pods could be drained: set 1 or more.",
    ),
}
"""Invalid values of valid types, and the beginning of the sentence that rejects them."""

SCHEMA_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "string for an integer": ({"replicaCount": "two"}, "at '/replicaCount': got string, want integer"),
    "fraction for an integer": ({"replicaCount": 1.5}, "at '/replicaCount': got number, want integer"),
    "number for a tag": ({"image": {"tag": 1.0}}, "at '/image/tag': got number, want string"),
    "string for a boolean": ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want boolean"),
    "string for a list": ({"watchNamespaces": "dex"}, "at '/watchNamespaces': got string, want array"),
    "string for an object": ({"extraEnv": ["A=b"]}, "at '/extraEnv/0': got string, want object"),
    "list for a section": ({"image": []}, "at '/image': got array, want object"),
    "number for a label": ({"podLabels": {"tier": 1}}, "at '/podLabels/tier': got number, want string"),
    "unknown log level": (
        {"logging": {"level": "loud"}},
        "at '/logging/level': value must be one of 'debug', 'info', 'warning', 'error'",
    ),
    "unknown key": ({"replicas": 3}, "at '': additional properties 'replicas' not allowed"),
    "misspelled key in a section": ({"image": {"tags": "1"}}, "at '/image': additional properties 'tags' not allowed"),
    "unknown key in a probe": (
        {"livenessProbe": {"httpGet": {"path": "/"}}},
        "at '/livenessProbe': additional properties 'httpGet' not allowed",
    ),
}
"""Values that the schema rejects, and the message of Helm."""

VALID: dict[str, dict[str, Any]] = {
    "no values": {},
    "global values of a parent chart": {"global": {"imageRegistry": "registry.example.com", "any": [1, None]}},
    "resources null": {"resources": None},
    "all optional values null": {
        name: None for name, default in VALUES.items() if default in ({}, [], "") or name.endswith("Context")
    },
    "tag of 128 characters": {"image": {"tag": "v" * 128}},
    "registry with a port and a path": {"image": {"registry": "registry.example.com:5000/mirror"}},
    "one pod without leader election": {"replicaCount": 1, "leaderElection": {"enabled": False}},
    "one pod without leader election with its strategy": {
        "replicaCount": 1,
        "leaderElection": {"enabled": False},
        "strategy": {"type": "Recreate"},
    },
    "shortest allowed times": {
        "terminationGracePeriodSeconds": 130,
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 75},
    },
    "selector with a label prefix": {"selector": "example.com/team notin (dex), a == b, ! c"},
    "alias of UTC": {"timeZone": "Etc/UTC"},
    "zone with the offset of UTC": {"timeZone": "Africa/Abidjan"},
    "budget of 66% of three pods": {"replicaCount": 3, "podDisruptionBudget": {"minAvailable": "66%"}},
    "budget of 50% of two pods": {"podDisruptionBudget": {"minAvailable": "50%"}},
    "budget for a single pod, which is ignored": {"replicaCount": 1, "podDisruptionBudget": {"maxUnavailable": 0}},
    "set-based selector": {"selector": "team in (dex, hr),tier!=test,!legacy"},
    "zone with digits and signs": {"timeZone": "Etc/GMT+12"},
    "IPv6 address as a host": {"allowedHosts": ["[2001:db8::1]"]},
    "hosts with ports": {"allowedHosts": ["localhost:8443", "*.example.com:8443", "[2001:db8::1]:8443"]},
    "download host of any region": {"allowedDownloadHosts": ["*.s3.*.amazonaws.com"]},
    "namespace of digits": {"watchNamespaces": ["2024"]},
}


def template_error(helm: Helm, values: dict[str, Any]) -> str:
    """Render the chart with values that Helm rejects; returns the error message."""
    with pytest.raises(HelmError) as failure:
        helm.template("surveys", values=values)
    return str(failure.value.stderr)


IS_EMPTY = " is empty: omit it"
BATCHED_EMPTY = batched({name: values for name, (values, sentence) in PROBLEMS.items() if IS_EMPTY in sentence})
BATCHED_INVALID = batched({name: values for name, (values, sentence) in PROBLEMS.items() if IS_EMPTY not in sentence})
# The chart reports empty values before all other problems, because the other checks rely on these values.
BATCHED_PROBLEMS = BATCHED_EMPTY | BATCHED_INVALID
BATCHED_SCHEMA_ERRORS = batched({name: values for name, (values, _) in SCHEMA_ERRORS.items()})
BATCHED_VALID = batched(VALID)
"""The values of each row, together with the values of other rows: Helm reports all problems at once."""


@pytest.mark.parametrize("name", PROBLEMS)
def test_chart_rejects_invalid_values_with_one_sentence_that_says_what_to_set(helm: Helm, name: str) -> None:
    error = template_error(helm, BATCHED_PROBLEMS[name])
    sentences = [line for line in error.splitlines() if line.startswith(PROBLEMS[name][1])]
    assert len(sentences) == 1, error
    assert sentences[0].endswith("."), "a sentence ends with a full stop"


@pytest.mark.parametrize("name", SCHEMA_ERRORS)
def test_schema_rejects_wrong_types_and_unknown_keys_with_their_path(helm: Helm, name: str) -> None:
    assert SCHEMA_ERRORS[name][1] in template_error(helm, BATCHED_SCHEMA_ERRORS[name])


@pytest.mark.parametrize("name", VALID)
def test_chart_accepts_valid_values(helm: Helm, name: str) -> None:
    assert helm.template("surveys", values=BATCHED_VALID[name])


def test_chart_reports_several_problems_at_once(helm: Helm) -> None:
    error = template_error(helm, {"replicaCount": 0, "timeZone": "+2", "image": {"digest": "x"}})
    assert "replicaCount is 0" in error
    assert 'timeZone is "+2"' in error
    assert 'image.digest is "x"' in error


def test_chart_reports_each_required_value_that_is_null(helm: Helm) -> None:
    required = {
        ".".join(path)
        for path, default in leaves(VALUES)
        if default not in ("", [], {}) and (path[0].endswith("Probe") or not free(path))
    }
    nulls: dict[str, Any] = {}
    for path in required:
        section = nulls
        *parents, last = path.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = None
    error = template_error(helm, nulls)
    reported = {line.partition(" ")[0] for line in error.splitlines() if "is empty: omit it to use the default" in line}
    # These may be empty, or another sentence reports them when they are used.
    assert required - reported == {"podDisruptionBudget.maxUnavailable", "privateCA.key", "http.host"}


def test_chart_reports_each_section_that_is_null(helm: Helm) -> None:
    sections = [
        name
        for name, default in VALUES.items()
        if isinstance(default, dict) and default and (name.endswith("Probe") or not free((name,)))
    ]
    error = template_error(helm, dict.fromkeys(sections))
    assert [name for name in sections if f"\n{name} is empty: omit it to use the default, or" not in error] == []


def test_schema_allows_unknown_keys_only_in_global_and_in_objects_of_kubernetes() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    open_objects = {path for path, node in objects(SCHEMA) if node.get("additionalProperties", True) is True}
    kubernetes = {"resources", "podSecurityContext", "securityContext", "affinity", "strategy", "dnsConfig"}
    assert open_objects == {"global", *kubernetes}


def test_schema_accepts_the_defaults_and_describes_every_value() -> None:
    jsonschema.validate(VALUES, SCHEMA, cls=jsonschema.Draft7Validator)
    described = {path for path, node in objects(SCHEMA, every=True) if node.get("description")}
    assert {".".join(path) for path, _ in leaves(VALUES) if not free(path)} - described == set()


def test_values_files_in_ci_set_every_value() -> None:
    paths_in_ci = {path for file in COMBINATIONS for path, _ in leaves(plain_yaml.read(file.read_text()) or {})}
    all_values = {".".join(path) for path, _ in leaves(VALUES)}
    set_in_ci = {".".join(path[: n + 1]) for path in paths_in_ci for n in range(len(path))}
    unset = {path for path in all_values if not free(tuple(path.split("."))) and path not in set_in_ci}
    assert unset == {"fullnameOverride"}, "test_names.py sets it"


def test_make_generate_derives_schema_and_table_from_values_yaml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    """Each value that contains no other values, with its path."""
    if isinstance(node, dict) and node:
        for key, inner in node.items():
            yield from leaves(inner, (*path, key))
    elif path:
        yield path, node


def free(path: tuple[str, ...]) -> bool:
    """Whether the value is in an object whose keys the chart does not define."""
    open_sections = ("global", "resources", "podSecurityContext", "securityContext")
    return path[0] in open_sections or path[0].endswith("Probe") or path[:2] == ("grafanaDashboard", "labels")


def objects(node: dict[str, Any], path: str = "", *, every: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of a schema, or each node if `every` is set, with its path."""
    if path and (every or node.get("type") == "object"):
        yield path, node
    for key, inner in node.get("properties", {}).items():
        yield from objects(inner, f"{path}.{key}" if path else key, every=every)
