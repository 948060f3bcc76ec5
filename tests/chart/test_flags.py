"""The chart can set every flag of `qualtrics-exporter controller`, in the form that the command reads."""

from typing import Any

import pytest

from hack.helm import Helm
from qualtrics_exporter.cli.controller import DEFAULTS, controller
from qualtrics_exporter.cli.flags import PREFIX
from tests.chart.conftest import batched
from tests.chart.objects import only, variables

NO_PROXY = ["a.com:8443", ".example.com", "*.a", "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "[2001:db8::1]:1", "*"]

FLAGS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "NAMESPACE": ({"watchNamespaces": ["dex", "hr", "dex"]}, "namespaces", ("dex", "hr")),
    "SELECTOR": ({"selector": "team in (dex,hr)"}, "selector", "team in (dex,hr)"),
    "TIME_ZONE": ({"timeZone": "Europe/Zurich"}, "time_zone", "Europe/Zurich"),
    "MAX_CONCURRENT_RUNS": ({"maxConcurrentRuns": 1000000}, "max_concurrent_runs", 1000000),
    "ALLOWED_HOST": (
        {"allowedHosts": ["*.example.com", "localhost", "[2001:db8::1]"]},
        "allowed_hosts",
        ("*.example.com", "localhost", "[2001:db8::1]"),
    ),
    "ALLOWED_DOWNLOAD_HOST": (
        {"allowedDownloadHosts": ["*.s3.*.example.com", "localhost:9000"]},
        "allowed_download_hosts",
        ("*.s3.*.example.com", "localhost:9000"),
    ),
    "ALLOW_HTTP": ({"allowHttp": True}, "allow_http", True),
    "PROXY": ({"proxy": {"url": "http://proxy.example.com:3128"}}, "proxy", "http://proxy.example.com:3128"),
    "NO_PROXY": (
        {"proxy": {"url": "http://[2001:db8::1]:3128/", "noProxy": NO_PROXY}},
        "no_proxy",
        tuple(NO_PROXY),
    ),
    "LEADER_ELECTION": ({"replicaCount": 1, "leaderElection": {"enabled": False}}, "leader_election", False),
    "LEASE_NAMESPACE": ({}, "lease_namespace", "system"),
    "LEASE_NAME": ({}, "lease_name", "surveys-qualtrics-exporter"),
    "HTTP_ADDRESS": ({"http": {"host": "::", "port": 9090}}, "http_address", "[::]:9090"),
    "EXPORTER_METRICS": ({"metrics": {"perExporter": False}}, "exporter_metrics", False),
    "LOG_FORMAT": ({"logging": {"format": "console"}}, "log_format", "console"),
    "LOG_LEVEL": ({"logging": {"level": "debug"}}, "log_level", "debug"),
}
"""By the variable of each flag: the values that set it, the parameter of the command, and its expected value."""

# Without leader election, the chart sets no Lease, so that flag needs values of its own.
WITH_LEASE = batched({flag: values for flag, (values, _, _) in FLAGS.items() if flag != "LEADER_ELECTION"})
VALUES = {**WITH_LEASE, "LEADER_ELECTION": FLAGS["LEADER_ELECTION"][0]}
"""The values of each flag, together with the values of other flags."""


def parsed(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> dict[str, Any]:
    """The parameters that the command reads from environment variables."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    parameters: dict[str, Any] = controller.make_context("controller", []).params
    return parameters


def test_chart_has_a_value_for_each_flag() -> None:
    flags = {
        parameter.envvar.removeprefix(PREFIX): parameter.name for parameter in controller.params if parameter.envvar
    }
    assert {name: parameter for name, (_, parameter, _) in FLAGS.items()} == flags


@pytest.mark.parametrize("flag", FLAGS)
def test_value_of_the_chart_reaches_its_flag(helm: Helm, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    _, parameter, expected = FLAGS[flag]
    rendered = variables(helm.template("surveys", namespace="system", values=VALUES[flag]))
    assert parsed(monkeypatch, rendered)[parameter] == expected


def test_default_values_set_every_flag_except_the_lease_to_its_default(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = parsed(monkeypatch, variables(helm.template("qualtrics-exporter", namespace="system")))
    assert parameters.pop("lease_namespace") == "system"
    assert (parameters.pop("proxy"), parameters.pop("no_proxy")) == (None, ())
    assert parameters == {name: getattr(DEFAULTS, name) for name in parameters}


def test_empty_http_host_serves_probes_and_metrics_on_ipv4_and_ipv6(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = variables(helm.template("surveys", values={"http": {"host": ""}}))
    assert parsed(monkeypatch, rendered)["http_address"] == ":8080"


def test_probes_service_and_helm_test_use_the_configured_ports(helm: Helm) -> None:
    objects = helm.template("surveys", values={"http": {"port": 9090}, "service": {"port": 80}})
    (container,) = only("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 9090}]
    assert {container[f"{which}Probe"]["httpGet"]["port"] for which in ("startup", "liveness", "readiness")} == {"http"}
    assert [(port["port"], port["targetPort"]) for port in only("Service", objects)["spec"]["ports"]] == [(80, "http")]
    assert only("Pod", objects, "test")["spec"]["containers"][0]["command"][-1] == "80"
