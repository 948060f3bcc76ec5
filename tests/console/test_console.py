"""The list, the page of one exporter, and its buttons."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.qex import Qex
from tests.console import examples
from tests.console.dashboard import Dashboard, dashboard
from tests.support.browser import DESKTOP, PHONE, Visit
from tests.support.stage import Stage
from tests.support.waiting import eventually

GROUP = "qualtrics-exporter.dev"
READ_ONLY = [{"apiGroups": [GROUP], "resources": ["qualtricsexporters"], "verbs": ["get", "list", "watch"]}]
BUTTONS = ("do-test", "do-test-with-delivery", "do-run", "do-suspend")


def sends(stage: Stage) -> int:
    return stage.sandbox.recorder.count("qualtrics.create_distribution")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def seen(console: Dashboard, chromium: Browser) -> Iterator[Visit]:
    """The list in a browser. Its console has no error at the end, and no request went elsewhere."""
    with console.opened(chromium) as visit:
        yield visit
        assert visit.errors == []
        assert len(visit.hosts()) == 1


def open_exporter(page: Page, name: str = "teams-rollout") -> None:
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_run_now_names_the_people_and_sends_once(stage: Stage, seen: Visit) -> None:
    """Also if the form is sent twice: with the page as it was before, and after the run has ended."""
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(test_requested_at="count")
    exporter.until(lambda status: "lastTest" in status, "the test has ended")
    page = seen.page
    open_exporter(page)
    page.get_by_role("link", name="Run now").click()
    expect(page.get_by_text("about 6 people")).to_be_visible()
    expect(page.get_by_role("definition").filter(has_text="test (context test)")).to_be_visible()
    confirmation = page.url
    form = {field.get_attribute("name"): field.input_value() for field in page.locator("form input").all()}
    page.get_by_role("button", name="Send the survey now").dblclick()
    expect(page).to_have_url(re.compile(r"done=[a-z2-7]{20}$"))
    stage.while_time_passes(exporter.ended, seconds=1)
    expect(page.get_by_role("status").filter(has_text="Succeeded")).to_be_visible()
    result = page.url

    origin = confirmation.split("/exporters")[0].rsplit("/", 1)[0]
    again = page.request.post(confirmation, form=form, headers={"Origin": origin}, max_redirects=0)
    assert again.status == 303
    assert result.endswith(again.headers["location"])
    exporter.annotate(test_requested_at="another")
    exporter.tested("another")
    assert sends(stage) == 1
    assert len(exporter.history()) == 1


def test_test_counts_the_people_and_sends_nothing(stage: Stage, seen: Visit) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    open_exporter(seen.page)
    seen.page.get_by_role("button", name="Test: count the people").click()
    stage.while_time_passes(lambda: exporter.until(lambda s: "lastTest" in s, "the test has ended"), seconds=1)
    expect(seen.page.get_by_role("definition").filter(has_text="6, counted")).to_be_visible()
    assert sends(stage) == 0


def test_test_with_delivery_asks_first(stage: Stage, seen: Visit) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    open_exporter(seen.page)
    seen.page.get_by_role("link", name="Test with delivery").click()
    expect(seen.page.get_by_text("at most 20 people")).to_be_visible()
    assert sends(stage) == 0
    seen.page.get_by_role("button", name="Send the test now").click()
    stage.while_time_passes(lambda: exporter.until(lambda s: "lastTest" in s, "the test has ended"), seconds=1)
    expect(seen.page.get_by_role("status").filter(has_text="Succeeded")).to_be_visible()
    assert sends(stage) == 1


def test_suspend_and_resume(stage: Stage, seen: Visit) -> None:
    exporter = stage.exporter()
    open_exporter(seen.page)
    seen.page.get_by_role("button", name="Suspend").click()
    expect(seen.page.get_by_text("The exporter is suspended now")).to_be_visible()
    assert exporter.get()["spec"]["suspend"] is True
    seen.page.get_by_role("button", name="Resume").click()
    expect(seen.page.get_by_text("The exporter is active now")).to_be_visible()
    assert exporter.get()["spec"]["suspend"] is False


def test_run_of_a_suspended_exporter_is_refused_with_a_sentence(stage: Stage, seen: Visit) -> None:
    examples.create(stage, "teams-rollout", examples.status(now()), suspend=True)
    open_exporter(seen.page)
    seen.page.get_by_role("link", name="Run now").click()
    expect(seen.page.get_by_role("alert")).to_contain_text("Resume it first")
    seen.errors.clear()  # the browser reports status 409


def test_unknown_run_is_resolved_on_its_page(stage: Stage, seen: Visit) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop="before", times=None)
    exporter.annotate(run_requested_at="first")
    assert exporter.ended()["result"] == "Unknown"
    open_exporter(seen.page)
    seen.page.get_by_role("link", name="report whether it was sent").click()
    assert seen.violations() == []
    seen.page.get_by_label("is not there").check()
    seen.page.get_by_role("button", name="Report").click()
    expect(seen.page.get_by_text("The outcome was reported")).to_be_visible()
    stage.while_time_passes(lambda: exporter.until(lambda s: s["history"][0]["result"] == "Failed", "it is resolved"))
    expect(seen.page.get_by_text("It is unknown whether run")).to_have_count(0)


def test_user_who_may_only_read_sees_disabled_buttons_and_why(stage: Stage, chromium: Browser, tmp_path: Path) -> None:
    examples.create(stage, "teams-rollout", examples.status(now()))
    reader = Qex(stage.cluster.service_account(stage.namespace, "reader", rules=READ_ONLY), tmp_path, stage.namespace)
    with dashboard(reader) as console, console.opened(chromium) as seen:
        page = seen.page
        open_exporter(page)  # without -n, and without the permission to list all namespaces
        for button in BUTTONS:
            expect(page.locator(f"#{button}")).to_be_disabled()
            expect(page.locator(f"#{button}")).to_have_attribute("aria-describedby", "refusal")
        expect(page.locator("#refusal")).to_contain_text("Ask an administrator of the namespace for the verb patch")
        expect(page.get_by_text("cannot list resource")).to_be_visible()  # Events need a permission of their own
        base = page.url
        page.goto(f"{base}/run")
        expect(page.get_by_role("alert")).to_contain_text("but not change them")
    assert "annotations" not in stage.existing("teams-rollout").get()["metadata"]


def test_list_finds_filters_and_follows_changes(stage: Stage, seen: Visit) -> None:
    examples.create_all(stage, now())
    page = seen.page
    names = page.locator("tbody th a")
    expect(names).to_have_count(8)
    expect(page.get_by_role("row", name="printer-survey")).to_contain_text("Create it, or correct credentialsSecretRef")
    expect(page.get_by_role("row", name="teams-rollout")).to_contain_text("406 sent → 247 opened → 164 started")
    page.get_by_label("Show").select_option("needs attention")
    expect(names).to_have_text(["outlook-crashes", "printer-survey", "slow-logons"])
    page.get_by_label("Search").fill("PRINTER how")
    page.get_by_label("Search").press("Enter")
    expect(names).to_have_text(["printer-survey"])
    page.get_by_label("Search").fill("")
    page.get_by_label("Show").select_option("suspended")
    expect(names).to_have_text(["laptop-refresh"])
    names.focus()
    examples.create(stage, "another", examples.status(now()), suspend=True)
    expect(names).to_have_text(["another", "laptop-refresh"])
    assert page.evaluate("document.activeElement.textContent") == "laptop-refresh"
    stage.existing("another").delete()
    expect(names).to_have_text(["laptop-refresh"])


def test_button_that_is_pressed_stays_until_it_is_released(stage: Stage, seen: Visit) -> None:
    exporter = stage.exporter()
    open_exporter(seen.page)
    button = seen.page.get_by_role("button", name="Suspend")
    button.hover()
    seen.page.mouse.down()
    examples.create(stage, "teams-rollout", examples.status(now()), description="Changed meanwhile")
    eventually(lambda: seen.page.evaluate("again"), "the change has arrived")
    seen.page.mouse.up()
    expect(seen.page.get_by_text("The exporter is suspended now")).to_be_visible()
    assert exporter.get()["spec"]["suspend"] is True
    expect(seen.page.get_by_text("Changed meanwhile")).to_be_visible()


def test_exporter_that_is_deleted_while_its_page_is_open(stage: Stage, seen: Visit) -> None:
    examples.create(stage, "teams-rollout", examples.status(now()))
    open_exporter(seen.page)
    stage.existing("teams-rollout").delete()
    expect(seen.page.get_by_text("This exporter does not exist")).to_be_visible()
    expect(seen.page.get_by_role("button")).to_have_count(0)
    examples.create(stage, "teams-rollout", examples.status(now()))
    expect(seen.page.get_by_role("button", name="Test: count the people")).to_be_visible()
    seen.errors.clear()  # the browser reports status 404


def test_another_exporter_of_the_same_name_is_not_run(stage: Stage, seen: Visit) -> None:
    """The reader has confirmed for the object that the page showed."""
    examples.create(stage, "teams-rollout", examples.status(now()))
    open_exporter(seen.page)
    seen.page.get_by_role("link", name="Run now").click()
    expect(seen.page.get_by_role("button", name="Send the survey now")).to_be_visible()
    stage.existing("teams-rollout").delete()
    examples.create(stage, "teams-rollout", examples.status(now()))
    seen.page.get_by_role("button", name="Send the survey now").click()
    expect(seen.page.get_by_role("alert")).to_contain_text("another one has its name now")
    assert "annotations" not in stage.existing("teams-rollout").get()["metadata"]
    seen.errors.clear()  # the browser reports status 409


def test_changed_exporter_is_not_run(stage: Stage, seen: Visit) -> None:
    examples.create(stage, "teams-rollout", examples.status(now()))
    open_exporter(seen.page)
    seen.page.get_by_role("link", name="Run now").click()
    expect(seen.page.get_by_role("button", name="Send the survey now")).to_be_visible()
    examples.create(stage, "teams-rollout", None, **{"nexthink.queryId": "#everybody"})
    seen.page.get_by_role("button", name="Send the survey now").click()
    expect(seen.page.get_by_role("alert")).to_contain_text("Somebody has changed the exporter in the meantime")
    assert "annotations" not in stage.existing("teams-rollout").get()["metadata"]
    seen.errors.clear()  # the browser reports status 409


def test_markup_in_texts_is_shown_as_text(stage: Stage, seen: Visit) -> None:
    hostile = examples.HOSTILE
    condition = ("False", "SecretNotFound", hostile)
    found = examples.status(now(), ready=condition, history=[examples.entry(0, now(), message=hostile)])
    changes = {"qualtrics.subject": hostile, "nexthink.query": f"{hostile}\n| list ad.email_address"}
    examples.create(stage, "teams-rollout", found, description=hostile, **changes)
    expect(seen.page.get_by_role("row", name="teams-rollout")).to_contain_text(hostile[:40])
    open_exporter(seen.page)
    expect(seen.page.get_by_role("definition").filter(has_text=hostile)).to_be_visible()
    expect(seen.page.locator("#query-text")).to_contain_text(hostile)
    expect(seen.page.locator("main img")).to_have_count(0)
    assert seen.page.title() == "teams-rollout · Qualtrics exporters"


def test_confirmation_names_an_unknown_run_and_the_last_send(stage: Stage, seen: Visit) -> None:
    unknown = examples.entry(0, now(), result="Unknown", reason="SendUnknown", delivery=None)
    examples.create(stage, "teams-rollout", examples.status(now(), history=[unknown, examples.entry(1, now())]))
    open_exporter(seen.page)
    seen.page.get_by_role("link", name="Run now").click()
    expect(seen.page.get_by_text(f"It is unknown whether run {unknown['id']} was sent")).to_be_visible()
    expect(seen.page.get_by_role("link", name="report whether it was sent")).to_be_visible()
    expect(seen.page.get_by_text("The survey was last sent")).to_be_visible()
    assert seen.violations() == []


def test_findings_are_marked_in_the_query(stage: Stage, seen: Visit) -> None:
    query = "users\n| list ad.email_adress, name"
    examples.create(stage, "teams-rollout", examples.status(now()), **{"nexthink.query": query})
    open_exporter(seen.page)
    place = seen.page.locator("#query-text mark").first
    expect(place).to_be_visible()
    expect(seen.page.get_by_text(re.compile("Line 2, column [0-9]+:")).first).to_be_visible()


@pytest.mark.parametrize(
    ("size", "dark"),
    [
        (DESKTOP, False),
        (PHONE, True),
        pytest.param(DESKTOP, True, marks=pytest.mark.long),
        pytest.param(PHONE, False, marks=pytest.mark.long),
    ],
)
def test_pages_are_accessible_and_fit(
    stage: Stage, console: Dashboard, chromium: Browser, size: tuple[int, int], dark: bool
) -> None:
    examples.create_all(stage, now())
    with console.opened(chromium, size, dark=dark) as seen:
        page = seen.page
        expect(page.locator("tbody th a")).to_have_count(8)
        base = page.url
        for path in ("", *(f"exporters/{stage.namespace}/{name}" for name in ("teams-rollout", "new-joiners"))):
            page.goto(f"{base}{path}")
            assert seen.violations() == []
            assert seen.overflow() == []
        page.goto(f"{base}exporters/{stage.namespace}/teams-rollout/run")
        assert seen.violations() == []
        assert seen.overflow() == []


def test_times_are_in_the_zone_of_the_browser(stage: Stage, console: Dashboard, chromium: Browser) -> None:
    next_slot = {"nextScheduleTime": "2030-01-07T23:00:00Z"}
    examples.create(stage, "teams-rollout", {**examples.status(now()), **next_slot})
    context = chromium.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto(console.address)
    expect(page.get_by_text("Tue 8 Jan 2030 08:00 JST")).to_be_visible()
    context.close()
