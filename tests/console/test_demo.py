"""`qualtrics-exporter demo --dashboard`: the page over a local journal and the sandbox, without a cluster."""

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.conftest import PEOPLE, PROGRAM, Program
from tests.console.dashboard import Dashboard, started
from tests.support.browser import Visit
from tests.support.waiting import HANG_SECONDS


@pytest.fixture
def demo(program: Program) -> Iterator[Dashboard]:
    """The running demo. It leaves no files."""
    environment = program.environment({"TMPDIR": str(program.home), "TZ": "Europe/Zurich"})
    with started([str(PROGRAM), "demo", "--dashboard", "--no-browser"], environment, program.home) as running:
        yield running
    assert list(program.home.iterdir()) == []


@pytest.fixture
def seen(demo: Dashboard, chromium: Browser) -> Iterator[Visit]:
    """The page of the exporter in a browser, after the first check."""
    expect.set_options(timeout=HANG_SECONDS * 1000)
    with demo.opened(chromium) as visit:
        visit.page.get_by_role("link", name="teams-rollout").click()
        expect(visit.page.get_by_role("heading", name="teams-rollout")).to_contain_text("ready")
        yield visit
        assert visit.errors == []
        assert len(visit.hosts()) == 1


def outbox(page: Page) -> list[dict[str, Any]]:
    """The distributions in the outbox to which the page links."""
    address = page.locator("#outbox").get_attribute("href")
    with urllib.request.urlopen(f"{address}.json") as reply:
        found: list[dict[str, Any]] = json.load(reply)
    return found


def test_run_now_sends_one_distribution_into_the_sandbox(seen: Visit) -> None:
    page = seen.page
    page.get_by_role("button", name="Test: count the people").click()
    expect(page.get_by_role("definition").filter(has_text="6, counted")).to_be_visible()
    assert outbox(page) == []
    page.get_by_role("link", name="Run now").click()
    expect(page.get_by_text("about 6 people")).to_be_visible()
    assert seen.violations() == []
    confirmation = page.url
    form = {field.get_attribute("name"): field.input_value() for field in page.locator("form input").all()}
    page.get_by_role("button", name="Send the survey now").dblclick()
    expect(page).to_have_url(re.compile(r"done=[a-z2-7]{20}$"))
    expect(page.get_by_role("status").filter(has_text="Succeeded")).to_be_visible()
    expect(page.locator("#runs tbody tr").first).to_contain_text("Succeeded")
    expect(page.locator("#runs tbody tr").first.get_by_role("cell").nth(4)).to_have_text("6")  # sent
    expect(page.get_by_text("LastRunSucceeded: True")).to_be_visible()

    # The form of the same page again, after the run has ended.
    origin = re.match(r"http://[^/]+", confirmation)
    assert origin
    again = page.request.post(confirmation, form=form, headers={"Origin": origin[0]}, max_redirects=0)
    assert (again.status, again.headers["location"].partition("done=")[2]) == (303, page.url.partition("done=")[2])
    page.get_by_role("button", name="Test: count the people").click()  # it comes after whatever was requested before
    expect(page.get_by_role("status").filter(has_text="It e-mailed nobody")).to_be_visible()
    (sent,) = outbox(page)
    assert sorted(sent["recipients"]) == sorted(PEOPLE)
    assert seen.violations() == []


@pytest.mark.long
def test_test_with_delivery_sends_to_the_people_of_the_sandbox(seen: Visit) -> None:
    page = seen.page
    page.get_by_role("link", name="Test with delivery").click()
    page.get_by_role("button", name="Send the test now").click()
    expect(page.get_by_role("status").filter(has_text="Succeeded")).to_be_visible()
    (sent,) = outbox(page)
    assert sorted(sent["recipients"]) == sorted(PEOPLE)


@pytest.mark.long
def test_suspended_exporter_of_the_demo_does_not_run(seen: Visit) -> None:
    page = seen.page
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("The exporter is suspended now")).to_be_visible()
    page.get_by_role("link", name="Run now").click()
    expect(page.get_by_role("alert")).to_contain_text("Resume it first")
    seen.errors.clear()  # the browser reports status 409
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The exporter is active now")).to_be_visible()
    assert outbox(page) == []


@pytest.mark.long
def test_lost_reply_to_a_send_ends_in_one_mail_to_each_person(seen: Visit) -> None:
    page = seen.page
    address = page.locator("#outbox").get_attribute("href") or ""
    fault = json.dumps({"operation": "qualtrics.create_distribution", "drop": "after"}).encode()
    faults = urllib.request.Request(address.replace("outbox", "faults"), fault, {"Content-Type": "application/json"})
    with urllib.request.urlopen(faults):
        pass
    page.get_by_role("link", name="Run now").click()
    page.get_by_role("button", name="Send the survey now").click()
    expect(page.get_by_role("status").filter(has_text="Succeeded")).to_be_visible()
    assert [sorted(sent["recipients"]) for sent in outbox(page)] == [sorted(PEOPLE)]


def test_options_of_the_page_are_refused_without_it(program: Program) -> None:
    assert "with --dashboard" in program("demo", "--port", "0", code=2).stderr
    assert "with --dashboard" in program("demo", "--no-browser", code=2).stderr
