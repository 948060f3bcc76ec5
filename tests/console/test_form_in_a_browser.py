"""The form in a real browser: by keyboard, with findings while typing, and for screen readers."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from hack import plain_yaml
from qualtrics_exporter.cli.console.form_fields import tabs
from tests.cli.conftest import SAMPLE
from tests.console.form_server import served
from tests.console.forms import NEW
from tests.resource.manifests import changed, sample
from tests.support.browser import DESKTOP, PHONE, Visit, visit
from tests.support.waiting import HANG_SECONDS

WRONG, RIGHT = "limit 1.5", 'where binary.name == "teams.exe"'
WRONG_QUERY = f"users\n| with execution.events during past 7d\n| {WRONG}\n| list ad.email_address"
DATA = [
    each.name for section in tabs()[1].sections for each in section.fields if each.name in NEW and each.kind != "query"
]
"""The other required fields of the second tab, in the order of the form."""
TABS_BETWEEN_FIELDS = 60
"""More than there are fields, links and buttons on the page."""


@pytest.fixture(scope="module", autouse=True)
def patient() -> None:
    expect.set_options(timeout=HANG_SECONDS * 1000)


@contextmanager
def opened(chromium: Browser, path: str, size: tuple[int, int], *, dark: bool = False) -> Iterator[Visit]:
    """A page of the console in a new browser window. At the end, no request went elsewhere, and none failed."""
    with served(sample()) as session, visit(chromium, session.new_address(), size, dark=dark) as visited:
        # The list loads again when it knows the time zone of the browser.
        visited.page.wait_for_selector("body:not([data-zone=''])")
        visited.page.goto(f"http://{session.host}{session.base}{path}")
        visited.errors.clear()
        yield visited
        # A download aborts the navigation that requests it.
        assert [error for error in visited.errors if "/new/download: net::ERR_ABORTED" not in error] == []
        assert visited.hosts() == {session.host}


def tab_to(page: Page, field: str, key: str = "Tab") -> None:
    """Press Tab until this element has the focus."""
    for _ in range(TABS_BETWEEN_FIELDS):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.id") == field:
            return
    raise AssertionError(f"Tab does not reach {field}")


def test_an_exporter_is_described_by_keyboard_with_findings_while_typing(chromium: Browser) -> None:
    with opened(chromium, "new", DESKTOP) as visited:
        page = visited.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        assert visited.violations() == []
        tab_to(page, "metadata.name")
        page.keyboard.type("teams-rollout")
        tab_to(page, "spec.schedule.frequency")
        for key in ("ArrowUp", "ArrowUp"):  # from Weekly to Hourly
            page.keyboard.press(key)
        expect(page.get_by_label("Hours between two slots")).to_be_visible()
        expect(page.get_by_label("Day of the week")).to_be_hidden()
        for key in ("ArrowDown", "ArrowDown"):
            page.keyboard.press(key)
        expect(page.get_by_label("Day of the week")).to_be_visible()
        tab_to(page, "part-1-tab", "Shift+Tab")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Data")).to_be_focused()
        query = page.get_by_label("Query (NQL)")
        tab_to(page, "spec.nexthink.query")
        page.keyboard.type(WRONG_QUERY)
        for name in DATA:
            tab_to(page, name)
            page.keyboard.type(NEW[name])
        findings = page.locator("[id='spec.nexthink.query-findings']")
        expect(findings).to_contain_text("line 3, column 3")
        expect(findings.locator("mark").first).to_be_visible()
        expect(query).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_role("tab", name="Data")).to_contain_text("1")
        assert visited.violations() == []
        # The link selects the place, so typing replaces it.
        tab_to(page, "spec.nexthink.query", "Shift+Tab")
        page.keyboard.press("Tab")
        expect(findings.get_by_role("link").first).to_be_focused()
        page.keyboard.press("Enter")
        expect(query).to_be_focused()
        page.keyboard.type(RIGHT)
        expect(page.locator("#summary")).to_contain_text("The manifest is ready")
        expect(page.locator("#announcement")).to_contain_text("The manifest is ready")
        tab_to(page, "copy")
        page.keyboard.press("Enter")
        expect(page.locator("#copy")).to_have_text("Copied")
        manifest = plain_yaml.read(page.evaluate("navigator.clipboard.readText()"))
        assert manifest["spec"]["nexthink"]["query"] == WRONG_QUERY.replace(WRONG, RIGHT)
        assert manifest["spec"]["schedule"] == {
            "frequency": "Weekly",
            "dayOfWeek": "Monday",
            "timeZone": page.evaluate("document.body.dataset.zone"),
        }


def test_going_back_and_reloading_keeps_what_was_entered(chromium: Browser) -> None:
    with opened(chromium, "new/open", DESKTOP) as visited:
        page = visited.page
        page.get_by_label("Manifest, in YAML or JSON").fill(SAMPLE.read_text())
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("heading", name="Edit dex/teams-rollout")).to_be_visible()
        page.get_by_label("Most recipients of a run").fill("123")
        page.get_by_label("Dry run").check()
        page.get_by_text("More settings").nth(1).click()
        page.get_by_label("Sample: groups in turn").fill("4")
        page.get_by_role("tab", name="Data").click()
        for number, (name, value) in enumerate((("days", "7d"), ("x", ""), ("app", "teams"))):
            page.locator(".pair").nth(number).get_by_label("Name").fill(name)
            page.locator(".pair").nth(number).get_by_label("Value").fill(value)
        page.locator(".pair").nth(1).get_by_label("Name").fill("")
        page.get_by_label("Subject").fill("Not checked yet")

        def leave_and_return() -> None:
            page.go_back()
            expect(page.get_by_role("heading", name="Open a manifest")).to_be_visible()
            page.go_forward()

        for again in (page.reload, leave_and_return, page.reload):
            again()
            expect(page.get_by_role("heading", name="Edit dex/teams-rollout")).to_be_visible()
            expect(page.get_by_label("Most recipients of a run")).to_have_value("123")
            expect(page.get_by_label("Dry run")).to_be_checked()
            expect(page.get_by_label("Sample: groups in turn")).to_be_visible()
            page.get_by_role("tab", name="Data").click()
            expect(page.get_by_label("Subject")).to_have_value("Not checked yet")
            values = [each.input_value() for each in page.locator(".pair input").all()]
            assert values == ["days", "7d", "", "", "app", "teams", "", ""]
            expect(page.locator("#manifest")).to_contain_text("subject: Not checked yet")
            expect(page.locator("#manifest")).to_contain_text("maxRecipients: 123")
        # Another form is empty.
        page.get_by_role("link", name="New exporter").click()
        expect(page.get_by_role("heading", name="New exporter")).to_be_visible()
        expect(page.get_by_label("Most recipients of a run")).to_have_value("")


def test_an_existing_manifest_is_changed_in_one_field_on_a_phone(chromium: Browser) -> None:
    body = changed({}, labels={"team": "dex"})
    text = SAMPLE.read_text().replace("metadata:\n", "metadata:\n  labels: {team: dex}\n")
    with opened(chromium, "new/open", PHONE, dark=True) as visited:
        page = visited.page
        assert (visited.violations(), visited.overflow()) == ([], [])
        page.get_by_label("Manifest, in YAML or JSON").fill(text)
        page.get_by_role("button", name="Open").click()
        page.get_by_label("Most recipients of a run").fill("many")
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_label("Most recipients of a run")).to_be_focused()
        expect(page.locator("[id='spec.maxRecipients-findings']")).to_contain_text("must be a whole number")
        assert (visited.violations(), visited.overflow()) == ([], [])
        page.get_by_role("tab", name="Data").click()
        assert (visited.violations(), visited.overflow()) == ([], [])
        page.locator("#result").get_by_role("link", name="Most recipients of a run").click()
        page.get_by_label("Most recipients of a run").fill("300")
        expect(page.locator("#summary")).to_contain_text("The manifest is ready")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == "teams-rollout.yaml"
        body["spec"]["maxRecipients"] = 300
        assert plain_yaml.read(download.value.path().read_text()) == body
        assert visited.overflow() == []
        # A manifest that is older than the form cannot be copied.
        expect(page.locator("#copy")).to_be_enabled()
        page.route("**/new/check", lambda route: route.abort())
        page.get_by_label("Most recipients of a run").fill("400")
        expect(page.locator("#summary")).to_contain_text("The form cannot be checked")
        expect(page.locator("#copy")).to_be_disabled()
        visited.errors.clear()
