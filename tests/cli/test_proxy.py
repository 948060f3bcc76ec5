"""`run` through a real proxy, as in a company network: with and without a password, and the errors if it refuses."""

from pathlib import Path

import pytest

from tests.cli.conftest import PEOPLE, LocalRun
from tests.support.proxy import TinyProxy
from tests.support.sandbox import SandboxThread

pytestmark = pytest.mark.usefixtures("real_proxy")

USER, PASSWORD = "surveys", "s3cretw0rd"


@pytest.fixture
def hosts(sandbox: SandboxThread) -> set[str]:
    """The hosts and ports of both APIs."""
    return {secret["url"].split("/")[2] for secret in sandbox.secrets().values()}


def test_a_run_connects_through_the_proxy_of_the_environment(run: LocalRun, hosts: set[str], tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy") as proxy:
        result = run("--send", env=proxy.variables())
    assert run.mailed() == PEOPLE
    assert hosts <= set(proxy.connected())
    assert "proxy" not in result.stdout + result.stderr


def test_a_run_downloads_a_large_result_through_the_proxy(run: LocalRun, hosts: set[str], tmp_path: Path) -> None:
    account = run.sandbox.account
    run.sandbox.call(
        lambda: setattr(account.queries[account.query_id], "rows", account.queries[account.query_id].rows * 200)
    )
    with TinyProxy(tmp_path / "proxy") as proxy:
        run("--send", env=proxy.variables())
    assert run.mailed() == PEOPLE
    assert len(set(proxy.connected()) - hosts) == 1


def test_a_run_authenticates_to_the_proxy_and_does_not_print_the_password(
    run: LocalRun, hosts: set[str], tmp_path: Path
) -> None:
    run.program.variables["QUALTRICS_EXPORTER_PROXY_USERNAME"] = USER
    run.program.variables["QUALTRICS_EXPORTER_PROXY_PASSWORD"] = f"{PASSWORD}\n"
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        result = run("--send", "--proxy", proxy.url)
    assert run.mailed() == PEOPLE
    assert hosts <= set(proxy.connected())
    assert PASSWORD not in result.stdout + result.stderr + run.journal.read_text()


def test_a_run_authenticates_with_the_password_in_the_proxy_url(run: LocalRun, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        run("--send", env=proxy.variables(user=USER, password=PASSWORD.replace("w", "%77")))
        assert run.mailed() == PEOPLE
        assert proxy.connected()


def test_a_run_with_a_wrong_proxy_password_reports_the_proxy_as_the_cause(run: LocalRun, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        result = run("--send", code=1, env=proxy.variables(user=USER, password="wr0ng-0ne"))
    assert (
        "the proxy asks for another user name or password (HTTP 401). Check the proxy of the operator" in result.stdout
    )
    assert "status page" not in result.stdout
    assert "wr0ng-0ne" not in result.stdout + result.stderr
    assert run.sandbox.recorder.calls == []


def test_a_host_that_the_proxy_forbids_is_reported_with_the_proxy_as_the_cause(run: LocalRun, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", more="ConnectPort 443\n") as proxy:
        result = run("--test", code=1, env=proxy.variables())
    assert "the proxy does not allow this host (HTTP 403)" in result.stdout
    assert run.sandbox.recorder.calls == []


@pytest.mark.parametrize(
    "flags",
    [["--no-proxy", "localhost"], ["--no-proxy", "*"], ["--no-proxy", ".example.com", "--no-proxy", "localhost"]],
    ids=["the host", "all hosts", "a list with the host"],
)
def test_a_run_connects_to_hosts_in_no_proxy_directly(run: LocalRun, tmp_path: Path, flags: list[str]) -> None:
    with TinyProxy(tmp_path / "proxy") as proxy:
        run("--send", "--proxy", proxy.url, *flags)
        assert proxy.connected() == []
    assert run.mailed() == PEOPLE


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY"])
def test_an_invalid_proxy_variable_ends_the_run_at_its_start_and_is_named(run: LocalRun, variable: str) -> None:
    result = run("--send", code=2, env={variable: "http://surveys:s3cret@proxy:port"})
    assert f"{variable} is not the URL of a proxy" in result.stderr
    assert "s3cret" not in result.stdout + result.stderr
    assert not run.journal.exists()


@pytest.mark.parametrize(
    ("flags", "variables"),
    [
        (["--proxy", "http://surveys:s3cret@proxy/path"], {}),
        ([], {"QUALTRICS_EXPORTER_PROXY": "http://surveys:s3cret@:3128"}),
        ([], {"QUALTRICS_EXPORTER_PROXY_PASSWORD": "s3cret"}),
        (
            ["--proxy", "http://surveys:s3cret@proxy:3128"],
            {"QUALTRICS_EXPORTER_PROXY_USERNAME": "else", "QUALTRICS_EXPORTER_PROXY_PASSWORD": "s3cret"},
        ),
        (["--proxy", "socks5://surveys:s3cret@proxy:1080"], {}),
        (["--no-proxy", "10.0.0.0/33"], {}),
        (["--no-proxy", "http://surveys:s3cret@proxy:3128"], {}),
        ([], {"QUALTRICS_EXPORTER_NO_PROXY": "localhost,http://surveys:s3cret@proxy:3128"}),
    ],
    ids=[
        "a path in the URL",
        "a URL without a host",
        "a password without a user",
        "another user than in the URL",
        "an unsupported scheme",
        "an invalid network",
        "a URL in --no-proxy",
        "a URL in the variable of --no-proxy",
    ],
)
def test_an_invalid_proxy_setting_ends_the_run_at_its_start_and_is_named(
    run: LocalRun, flags: list[str], variables: dict[str, str]
) -> None:
    result = run("--send", *flags, code=2, env=variables)
    assert "PROXY" in result.stderr.upper()
    assert "s3cret" not in result.stdout + result.stderr
