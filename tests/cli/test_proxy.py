"""`run` through a real proxy, as in a company network: with and without a password, and what is said if it refuses."""

from pathlib import Path

import pytest

from tests.cli.conftest import PEOPLE, Local
from tests.environment.proxy import TinyProxy
from tests.environment.sandbox import SandboxThread

pytestmark = pytest.mark.usefixtures("real_proxy")

USER, PASSWORD = "surveys", "s3cretw0rd"


@pytest.fixture
def hosts(sandbox: SandboxThread) -> set[str]:
    """The hosts and ports of both APIs."""
    return {secret["url"].split("/")[2] for secret in sandbox.secrets().values()}


def test_an_export_goes_through_the_proxy_of_the_environment(run: Local, hosts: set[str], tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy") as proxy:
        ended = run("--send", env=proxy.variables())
    assert run.mailed() == PEOPLE
    assert hosts <= set(proxy.connected())
    assert "proxy" not in ended.stdout + ended.stderr


def test_the_file_of_a_large_result_goes_through_it_too(run: Local, hosts: set[str], tmp_path: Path) -> None:
    account = run.sandbox.account
    run.sandbox.call(
        lambda: setattr(account.queries[account.query_id], "rows", account.queries[account.query_id].rows * 200)
    )
    with TinyProxy(tmp_path / "proxy") as proxy:
        run("--send", env=proxy.variables())
    assert run.mailed() == PEOPLE
    assert len(set(proxy.connected()) - hosts) == 1


def test_a_proxy_with_a_password(run: Local, hosts: set[str], tmp_path: Path) -> None:
    run.program.variables["QUALTRICS_EXPORTER_PROXY_USERNAME"] = USER
    run.program.variables["QUALTRICS_EXPORTER_PROXY_PASSWORD"] = f"{PASSWORD}\n"
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        ended = run("--send", "--proxy", proxy.url)
    assert run.mailed() == PEOPLE
    assert hosts <= set(proxy.connected())
    assert PASSWORD not in ended.stdout + ended.stderr + run.journal.read_text()


def test_a_password_in_the_url_of_the_environment(run: Local, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        run("--send", env=proxy.variables(user=USER, password=PASSWORD.replace("w", "%77")))
        assert run.mailed() == PEOPLE
        assert proxy.connected()


def test_a_wrong_password_is_the_reason_and_not_the_vendor(run: Local, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        ended = run("--send", code=1, env=proxy.variables(user=USER, password="wr0ng-0ne"))
    assert (
        "the proxy asks for another user name or password (HTTP 401). Check the proxy of the operator" in ended.stdout
    )
    assert "status page" not in ended.stdout
    assert "wr0ng-0ne" not in ended.stdout + ended.stderr
    assert run.sandbox.ledger.calls == []


def test_a_proxy_that_does_not_let_a_host_through_is_the_reason(run: Local, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", more="ConnectPort 443\n") as proxy:
        ended = run("--test", code=1, env=proxy.variables())
    assert "the proxy does not allow this host (HTTP 403)" in ended.stdout
    assert run.sandbox.ledger.calls == []


@pytest.mark.parametrize(
    "more",
    [["--no-proxy", "localhost"], ["--no-proxy", "*"], ["--no-proxy", ".example.com", "--no-proxy", "localhost"]],
)
def test_a_host_is_reached_without_the_proxy(run: Local, tmp_path: Path, more: list[str]) -> None:
    with TinyProxy(tmp_path / "proxy") as proxy:
        run("--send", "--proxy", proxy.url, *more)
        assert proxy.connected() == []
    assert run.mailed() == PEOPLE


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY"])
def test_a_variable_that_cannot_be_used_is_named_at_the_start(run: Local, variable: str) -> None:
    ended = run("--send", code=2, env={variable: "http://surveys:s3cret@proxy:port"})
    assert f"{variable} is not the URL of a proxy" in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr
    assert not run.journal.exists()


@pytest.mark.parametrize(
    ("given", "variables"),
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
)
def test_a_flag_that_cannot_be_used_is_named_at_the_start(
    run: Local, given: list[str], variables: dict[str, str]
) -> None:
    ended = run("--send", *given, code=2, env=variables)
    assert "PROXY" in ended.stderr.upper()
    assert "s3cret" not in ended.stdout + ended.stderr
