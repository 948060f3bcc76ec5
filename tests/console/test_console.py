"""The list, the page of one exporter, and its buttons."""

import re

from playwright.sync_api import Browser, expect

from tests.console.dashboard import Dashboard
from tests.support.stage import Stage


def sends(stage: Stage) -> int:
    return stage.sandbox.recorder.count("qualtrics.create_distribution")


def test_run_now_asks_names_the_people_and_sends_once(stage: Stage, console: Dashboard, chromium: Browser) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(test_requested_at="count")
    exporter.until(lambda status: "lastTest" in status, "the test has ended")
    with console.opened(chromium) as seen:
        page = seen.page
        page.get_by_role("link", name="teams-rollout").click()
        page.get_by_role("link", name="Run now").click()
        expect(page.get_by_text("about 6 people")).to_be_visible()
        expect(page.get_by_text("test (context test)").first).to_be_visible()
        page.get_by_role("button", name="Send the survey now").click()
        expect(page).to_have_url(re.compile(r"done=[a-z2-7]{20}$"))
        stage.while_time_passes(lambda: exporter.ended(), seconds=1)
        expect(page.get_by_role("status").filter(has_text="Succeeded")).to_be_visible()
        assert seen.errors == []
    assert sends(stage) == 1
