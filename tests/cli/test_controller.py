"""From flags and variables to the settings of the operator."""

from dataclasses import fields, replace

import pytest
from click.testing import CliRunner

from qualtrics_exporter.cli import program as commands
from qualtrics_exporter.controller import app
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
    (["--log-format", "console"], "console", "console"),
    (["--log-level", "debug"], "debug", "debug"),
]  # fmt: skip
NAMES = ["namespaces", "selector", "time_zone", "max_concurrent_runs", "allowed_hosts", "allowed_download_hosts",
         "allow_http", "proxies", "leader_election", "lease_namespace", "lease_name", "http_address", "log_format",
         "log_level"]  # fmt: skip


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the operator would have been started with."""
    given: list[Settings] = []
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def run(settings: Settings) -> int:
        given.append(settings)
        return 0

    monkeypatch.setattr(app, "run", run)
    return given


def start(*arguments: str, **variables: str) -> None:
    ended = CliRunner().invoke(commands, ["controller", *arguments], env=variables)
    assert ended.exit_code == 0, ended.output


def test_without_flags_the_settings_are_the_defaults(settings: list[Settings]) -> None:
    start()
    assert settings == [Settings()]


def test_every_setting_has_a_flag_here() -> None:
    assert [field.name for field in fields(Settings)] == NAMES


@pytest.mark.parametrize(("name", "case"), list(zip(NAMES, FLAGS, strict=True)), ids=NAMES)
def test_a_flag_and_its_variable_make_the_same_setting(
    settings: list[Settings], name: str, case: tuple[list[str], str, object]
) -> None:
    arguments, text, value = case
    flag = arguments[0].removeprefix("--").removeprefix("no-")
    start(*arguments)
    start(**{f"QUALTRICS_EXPORTER_{flag.replace('-', '_').upper()}": text})
    assert settings[0] == settings[1]
    assert getattr(settings[0], name) == value != getattr(Settings(), name)


def test_a_flag_wins_over_its_variable(settings: list[Settings]) -> None:
    start("--namespace", "hr", QUALTRICS_EXPORTER_NAMESPACE="dex", QUALTRICS_EXPORTER_LOG_LEVEL="debug")
    assert settings == [Settings(namespaces=("hr",), log_level="debug")]


def test_an_empty_variable_is_none(settings: list[Settings]) -> None:
    start(QUALTRICS_EXPORTER_NAMESPACE="", QUALTRICS_EXPORTER_SELECTOR="", QUALTRICS_EXPORTER_ALLOWED_HOST=" , ")
    assert settings == [Settings()]


def test_proxies_of_the_environment_are_taken_unless_flags_say_otherwise(settings: list[Settings]) -> None:
    variables = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a.com"}
    start(**variables)
    start("--no-proxy", "b.com", "--no-proxy", "10.0.0.0/8", **variables)
    start("--proxy", "http://else:3128", QUALTRICS_EXPORTER_NO_PROXY="b.com, 10.0.0.0/8", **variables)
    assert [made.proxies for made in settings] == [
        Proxies(PROXY, None, NoProxy(["a.com"])),
        Proxies(PROXY, None, NoProxy(["b.com", "10.0.0.0/8"])),
        Proxies(replace(PROXY, host="else"), replace(PROXY, host="else"), NoProxy(["b.com", "10.0.0.0/8"])),
    ]


def test_an_entry_of_no_proxy_that_cannot_be_read_is_told(settings: list[Settings]) -> None:
    variables = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "<local>,a.com"}
    ended = CliRunner().invoke(commands, ["controller"], env=variables)
    assert ended.exit_code == 0
    assert "Entry 1 of NO_PROXY is not a host name" in ended.stderr
    assert settings[0].proxies.without == NoProxy(["a.com"])


def test_a_wrong_variable_is_named() -> None:
    ended = CliRunner().invoke(commands, ["controller"], env={"QUALTRICS_EXPORTER_TIME_ZONE": "Mars"})
    assert ended.exit_code == 2
    assert "QUALTRICS_EXPORTER_TIME_ZONE" in ended.stderr


@pytest.mark.parametrize("flag", ["--namespace", "--lease-namespace", "--lease-name"])
def test_a_name_that_kubernetes_would_not_take_is_wrong_usage(flag: str) -> None:
    ended = CliRunner().invoke(commands, ["controller", flag, "Bad_Name"])
    assert ended.exit_code == 2
    assert "'Bad_Name' is not a valid name" in ended.stderr


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_flag(settings: list[Settings]) -> None:
    start(
        QUALTRICS_EXPORTER_SERVICE_HOST="10.0.0.1",
        QUALTRICS_EXPORTER_SERVICE_PORT="8080",
        QUALTRICS_EXPORTER_SERVICE_PORT_HTTP="8080",
        QUALTRICS_EXPORTER_PORT="tcp://10.0.0.1:8080",
        QUALTRICS_EXPORTER_PORT_8080_TCP_PROTO="tcp",
    )
    assert settings == [Settings()]


def test_a_cluster_that_is_not_configured_is_told_in_a_line_and_exit_code_1(program: Program) -> None:
    ended = program("controller", "--log-format", "console", code=1)
    assert "no cluster: no service account, and no usable kubeconfig" in ended.stderr
    assert ended.stdout == ""
