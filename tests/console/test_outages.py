"""What the console shows when the API server is away, a login has expired, or an answer is lost."""

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.cli.qex import Qex
from tests.console import examples
from tests.console.dashboard import Dashboard, dashboard
from tests.support.fault_proxy import FaultProxy
from tests.support.stage import Stage


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def proxy(stage: Stage) -> FaultProxy:
    return stage.fault_proxy(tls=True)


@pytest.fixture
def console(stage: Stage, proxy: FaultProxy, tmp_path: Path) -> Iterator[Dashboard]:
    """A console that reaches the API server through the fault proxy."""
    qex = Qex(proxy.kubeconfig(stage.cluster.kubeconfig), tmp_path, stage.namespace)
    with dashboard(qex, "--namespace", stage.namespace) as started:
        yield started


def test_list_survives_an_api_server_that_goes_away_and_returns(
    stage: Stage, proxy: FaultProxy, console: Dashboard, chromium: Browser
) -> None:
    examples.create(stage, "first", examples.status(now()))
    with console.opened(chromium) as seen:
        names = seen.page.locator("tbody th a")
        expect(names).to_have_text(["first"])
        proxy.partition()
        expect(seen.page.get_by_text("kubectl cannot reach the API server")).to_be_visible()
        expect(seen.page.get_by_text(re.compile("The list is from .*The console tries again"))).to_be_visible()
        expect(names).to_have_text(["first"])
        examples.create(stage, "second", examples.status(now()))
        stage.existing("first").delete()
        proxy.end_partition()
        expect(names).to_have_text(["second"])
        expect(seen.page.get_by_text("kubectl cannot reach")).to_have_count(0)


def test_page_of_an_exporter_keeps_what_it_shows_while_the_api_server_is_away(
    stage: Stage, proxy: FaultProxy, console: Dashboard, chromium: Browser
) -> None:
    examples.create(stage, "first", examples.status(now()))
    with console.opened(chromium) as seen:
        seen.page.get_by_role("link", name="first").click()
        proxy.partition()
        expect(seen.page.locator("#connection")).to_contain_text("kubectl cannot reach the API server")
        expect(seen.page.get_by_role("heading", name="first")).to_be_visible()
        proxy.end_partition()
        examples.create(stage, "first", examples.status(now()), description="Changed meanwhile")
        expect(seen.page.get_by_text("Changed meanwhile")).to_be_visible()
        expect(seen.page.locator("#connection")).to_be_hidden()


def test_expired_login_says_to_log_in_again(
    stage: Stage, proxy: FaultProxy, console: Dashboard, chromium: Browser
) -> None:
    examples.create(stage, "first", examples.status(now()))
    with console.opened(chromium) as seen:
        expect(seen.page.locator("tbody th a")).to_have_text(["first"])
        for operation in ("api.list", "api.get", "api.watch"):
            proxy.fault(operation, status=401, times=None)
        proxy.drop_watches()
        expect(seen.page.get_by_text("Your login may have expired: log in again")).to_be_visible()
        proxy.clear_faults()
        expect(seen.page.get_by_text("Your login may have expired")).to_have_count(0)


def test_watch_that_expires_lists_again(stage: Stage, proxy: FaultProxy, console: Dashboard, chromium: Browser) -> None:
    with console.opened(chromium) as seen:
        proxy.fault("api.watch", status=410)
        proxy.drop_watches()
        examples.create(stage, "first", examples.status(now()))
        expect(seen.page.locator("tbody th a")).to_have_text(["first"])


def test_request_whose_answer_was_lost_is_made_once(
    stage: Stage, proxy: FaultProxy, console: Dashboard, chromium: Browser
) -> None:
    """The reader sees an error, and then reads that the request was made."""
    examples.create(stage, "first", examples.status(now()))
    with console.opened(chromium) as seen:
        page = seen.page
        page.get_by_role("link", name="first").click()
        page.get_by_role("link", name="Run now").click()
        expect(page.get_by_role("button", name="Send the survey now")).to_be_visible()
        confirmation = page.url
        proxy.fault("api.get", after=2, drop="after")  # the patch, after the two reads before it
        page.get_by_role("button", name="Send the survey now").click()
        expect(page.get_by_role("alert")).to_contain_text("kubectl cannot reach the API server")
        requested = stage.existing("first").get()["metadata"]["annotations"]
        page.goto(confirmation)
        expect(page.get_by_role("alert")).to_contain_text("A run is requested already")
        assert stage.existing("first").get()["metadata"]["annotations"] == requested


def test_first_exporters_are_shown_before_the_list_is_complete(
    stage: Stage, proxy: FaultProxy, tmp_path: Path, chromium: Browser
) -> None:
    for number in range(105):
        examples.create(stage, f"exporter-{number:03}", None)
    proxy.fault("api.list", after=1, hold=True)
    qex = Qex(proxy.kubeconfig(stage.cluster.kubeconfig), tmp_path, stage.namespace)
    with dashboard(qex, "--namespace", stage.namespace) as console, console.opened(chromium) as seen:
        names = seen.page.locator("tbody th a")
        expect(names).to_have_count(50)
        expect(seen.page.get_by_text("Reading the exporters: 100 of about 105")).to_be_visible()
        proxy.release()
        expect(seen.page.get_by_text("105 exporters, page 1 of 3")).to_be_visible()
        seen.page.get_by_role("link", name="Next").click()
        seen.page.get_by_role("link", name="Next").click()
        expect(names).to_have_text([f"exporter-{number}" for number in range(100, 105)])


def fails(qex: Qex, *arguments: str) -> str:
    """The error of a console that does not start."""
    return qex.anywhere("dashboard", "--no-browser", *arguments, code=1).stderr


def test_kubeconfig_without_a_current_context_ends_with_a_sentence(stage: Stage, tmp_path: Path) -> None:
    content = json.loads(stage.cluster.kubeconfig.read_text())
    content["current-context"] = ""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    assert "the kubeconfig has no current context" in fails(Qex(path, tmp_path, stage.namespace))


def test_port_that_is_not_free_ends_with_a_sentence(stage: Stage, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"Port {port} cannot be used" in fails(Qex(stage.cluster.kubeconfig, tmp_path, ""), "--port", port)


def test_namespace_and_all_namespaces_exclude_each_other(stage: Stage, tmp_path: Path) -> None:
    qex = Qex(stage.cluster.kubeconfig, tmp_path, "")
    assert "either" in qex.anywhere("dashboard", "-A", "-n", "dex", code=2).stderr
