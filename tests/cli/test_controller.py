"""The flags and environment variables of `controller`, and the settings that they produce."""

from dataclasses import fields, replace

import pytest
from click.testing import CliRunner, Result

from qualtrics_exporter.cli import program as commands
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.remote.proxies import NoProxy, Proxies, Proxy
from tests.cli.conftest import Program

PROXY = Proxy("http", "proxy", 3128)

FLAGS: list[tuple[list[str], str, object]] = [
    (["--namespace", "dex", "--namespace", "hr"], "dex,hr", ("dex", "hr")),
    (["--selector", "team=dex,env!=test"], "team=dex,env!=test", "team=dex,env!=test"),
    (["--time-zone", "Europe/Zurich"], "Europe/Zurich", "Europe/Zurich"),
    (["--max-concurrent-runs", "3"], "3", 3),
    (["--allowed-host", "localhost", "--allowed-host", "*.example.com"], "localhost, *.example.com,",
     ("localhost", "*.example.com")),
    (["--allowed-download-host", "s3.example.com:9000"], "s3.example.com:9000", ("s3.example.com:9000",)),
    (["--allow-http"], "true", True),
    (["--proxy", "http://proxy:3128"], "http://proxy:3128", Proxies(PROXY, PROXY)),
    (["--no-leader-election"], "false", False),
    (["--lease-namespace", "dex"], "dex", "dex"),
    (["--lease-name", "mine"], "mine", "mine"),
    (["--http-address", "127.0.0.1:0"], "127.0.0.1:0", "127.0.0.1:0"),
    (["--no-exporter-metrics"], "false", False),
    (["--log-format", "console"], "console", "console"),
    (["--log-level", "debug"], "debug", "debug"),
]  # fmt: skip
NAMES = ["namespaces", "selector", "time_zone", "max_concurrent_runs", "allowed_hosts", "allowed_download_hosts",
         "allow_http", "proxies", "leader_election", "lease_namespace", "lease_name", "http_address",
         "exporter_metrics", "log_format", "log_level"]  # fmt: skip


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of each start of the operator, without the proxies of this machine."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    return []


def start(settings: list[Settings], *arguments: str, **variables: str) -> Result:
    """Call the command with something in the place of the operator that only notes its settings."""

    def run(chosen: Settings) -> int:
        settings.append(chosen)
        return 0

    result = CliRunner().invoke(commands, ["controller", *arguments], env=variables, obj=run)
    assert result.exit_code == 0, result.output
    return result


def test_controller_without_flags_starts_with_the_default_settings(settings: list[Settings]) -> None:
    start(settings)
    assert settings == [Settings()]


def test_every_setting_has_a_flag_in_this_module() -> None:
    assert [field.name for field in fields(Settings)] == NAMES


@pytest.mark.parametrize(("name", "case"), list(zip(NAMES, FLAGS, strict=True)), ids=NAMES)
def test_a_flag_and_its_environment_variable_set_the_same_setting(
    settings: list[Settings], name: str, case: tuple[list[str], str, object]
) -> None:
    arguments, text, value = case
    flag = arguments[0].removeprefix("--").removeprefix("no-")
    start(settings, *arguments)
    start(settings, **{f"QUALTRICS_EXPORTER_{flag.replace('-', '_').upper()}": text})
    assert settings[0] == settings[1]
    assert getattr(settings[0], name) == value != getattr(Settings(), name)


def test_a_flag_takes_precedence_over_its_environment_variable(settings: list[Settings]) -> None:
    start(settings, "--namespace", "hr", QUALTRICS_EXPORTER_NAMESPACE="dex", QUALTRICS_EXPORTER_LOG_LEVEL="debug")
    assert settings == [Settings(namespaces=("hr",), log_level="debug")]


def test_an_empty_environment_variable_counts_as_unset(settings: list[Settings]) -> None:
    start(
        settings, QUALTRICS_EXPORTER_NAMESPACE="", QUALTRICS_EXPORTER_SELECTOR="", QUALTRICS_EXPORTER_ALLOWED_HOST=" , "
    )
    assert settings == [Settings()]


def test_proxy_flags_take_precedence_over_the_proxy_variables_of_the_environment(settings: list[Settings]) -> None:
    variables = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a.com"}
    start(settings, **variables)
    start(settings, "--no-proxy", "b.com", "--no-proxy", "10.0.0.0/8", **variables)
    start(settings, "--proxy", "http://else:3128", QUALTRICS_EXPORTER_NO_PROXY="b.com, 10.0.0.0/8", **variables)
    assert [each.proxies for each in settings] == [
        Proxies(PROXY, None, NoProxy(["a.com"])),
        Proxies(PROXY, None, NoProxy(["b.com", "10.0.0.0/8"])),
        Proxies(replace(PROXY, host="else"), replace(PROXY, host="else"), NoProxy(["b.com", "10.0.0.0/8"])),
    ]


def test_controller_warns_about_an_invalid_entry_of_no_proxy_and_ignores_it(settings: list[Settings]) -> None:
    variables = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "<local>,a.com"}
    result = start(settings, **variables)
    assert "Entry 1 of NO_PROXY is not a host name" in result.stderr
    assert settings[0].proxies.without == NoProxy(["a.com"])


def test_an_invalid_environment_variable_is_named_in_the_error() -> None:
    result = CliRunner().invoke(commands, ["controller"], env={"QUALTRICS_EXPORTER_TIME_ZONE": "Mars"})
    assert result.exit_code == 2
    assert "QUALTRICS_EXPORTER_TIME_ZONE" in result.stderr


@pytest.mark.parametrize("flag", ["--namespace", "--lease-namespace", "--lease-name"])
def test_a_name_that_kubernetes_does_not_allow_is_wrong_usage(flag: str) -> None:
    result = CliRunner().invoke(commands, ["controller", flag, "Bad_Name"])
    assert result.exit_code == 2
    assert "'Bad_Name' is not a valid name" in result.stderr


def test_controller_ignores_the_variables_that_kubernetes_sets_for_its_service(settings: list[Settings]) -> None:
    start(
        settings,
        QUALTRICS_EXPORTER_SERVICE_HOST="10.0.0.1",
        QUALTRICS_EXPORTER_SERVICE_PORT="8080",
        QUALTRICS_EXPORTER_SERVICE_PORT_HTTP="8080",
        QUALTRICS_EXPORTER_PORT="tcp://10.0.0.1:8080",
        QUALTRICS_EXPORTER_PORT_8080_TCP_PROTO="tcp",
    )
    assert settings == [Settings()]


def test_controller_without_a_cluster_prints_one_line_and_exits_with_1(program: Program) -> None:
    result = program("controller", "--log-format", "console", code=1)
    assert "no cluster: no service account, and no usable kubeconfig" in result.stderr
    assert result.stdout == ""
