"""The documentation site: it builds without warnings, has every page, and reads as on a forge and on every screen."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from markdown_it import MarkdownIt
from playwright.sync_api import Browser

from hack.files import ROOT
from hack.site import PAGES
from qualtrics_exporter.nql.rules import RULES as NQL_RULES
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.telemetry.metric_definitions import EXPORTER_METRICS, OPERATOR_METRICS
from tests.alerts.rules import rules as alerts
from tests.conftest import skip_outside_ci
from tests.repository.site_server import build, path_of, served
from tests.support.browser import DESKTOP, PHONE, browser, unsupported_reason, visit

SOURCES = {
    **{f"docs/{path.relative_to(ROOT / 'docs')}": path for path in sorted((ROOT / "docs").rglob("*.md"))},
    **{name: ROOT / name for name in PAGES},
}
"""All pages of the site, by their paths in the repository."""
TYPICAL = ("README.md", "docs/reliability.md", "docs/reasons/StatusRefused.md")
"""Pages with long paths, wide tables, long lines of code."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    assert build(folder) == ""
    return folder


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with served(site) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if reason := unsupported_reason():
        skip_outside_ci(f"this machine cannot run the browser: {reason}")
    with browser() as started:
        yield started


def html_of(site: Path, source: str) -> str:
    return (site / path_of(source) / "index.html").read_text()


class Structure(HTMLParser):
    """Counts the elements of the content of a page."""

    COUNTED = ("h1", "h2", "h3", "li", "ol", "pre", "table", "tr", "ul", "strong", "em")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts = dict.fromkeys(self.COUNTED, 0)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.counts:
            self.counts[tag] += 1


def on_a_forge(markdown: str) -> dict[str, int]:
    return Structure(MarkdownIt("commonmark").enable("table").render(markdown)).counts


def on_the_site(html: str) -> dict[str, int]:
    content = html.split('<article class="md-content__inner', 1)[1].split("</article>", 1)[0]
    return Structure(content).counts


def test_the_site_builds_without_warnings_and_has_every_page(site: Path) -> None:
    assert [source for source in SOURCES if not (site / path_of(source) / "index.html").is_file()] == []


OWN_PAGES = {
    "reasons": [str(reason) for reason in Reason],
    "nql": [rule.name for rule in NQL_RULES],
    "metrics": [metric.name for metric in (*EXPORTER_METRICS, *OPERATOR_METRICS)],
    "alerts": list(alerts()),
}
"""Everything that has a page with its name, so that a message or a runbook can link to it."""


@pytest.mark.parametrize("folder", OWN_PAGES)
def test_every_reason_rule_metric_and_alert_has_a_page_of_its_own_with_its_name(site: Path, folder: str) -> None:
    """Each is in the navigation: otherwise the build fails."""
    for name in OWN_PAGES[folder]:
        html = (site / folder / name / "index.html").read_text()
        assert re.search(rf"<h1[^>]*>{name}<", html), name


@pytest.mark.parametrize("source", SOURCES)
def test_a_page_of_the_site_has_the_lists_tables_and_code_that_a_forge_shows(site: Path, source: str) -> None:
    assert on_the_site(html_of(site, source)) == on_a_forge(SOURCES[source].read_text())


@pytest.mark.parametrize("source", SOURCES)
def test_a_page_begins_with_its_purpose(source: str) -> None:
    text = re.sub(r"<!--.*?-->\n", "", SOURCES[source].read_text())
    opening = " ".join(text.split("\n", 1)[1].split("\n#")[0].split("\n```")[0].split())
    assert re.match(r"This page |[A-Z]", opening), opening
    if source.startswith("docs/") and not source.startswith("docs/nql/"):
        assert "This page is for " in opening or "This page explains " in opening


PAGES_WITH_MISTAKES = {
    "index.md": "# Start\n\n[missing](missing.md), [no anchor](other.md#nowhere), [own](#nowhere)\n",
    "other.md": "# Other\n\n![missing](missing.png)\n",
    "orphan.md": "# Orphan\n",
}


def test_build_fails_for_a_broken_link_anchor_or_picture_and_for_a_page_outside_of_the_navigation(
    tmp_path: Path,
) -> None:
    settings = {"INHERIT": str(ROOT / "mkdocs.yml"), "docs_dir": "pages", "nav": ["index.md", "other.md"], "hooks": []}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump({**settings, "extra_css": [], "extra_javascript": []}))
    (tmp_path / "pages").mkdir()
    for name, text in PAGES_WITH_MISTAKES.items():
        (tmp_path / "pages" / name).write_text(text)
    report = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
    for part in ("missing.md", "missing.png", "no such anchor", "an anchor '#nowhere'", "orphan.md", "exit code 1"):
        assert part in report


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|link(?! rel="canonical"))[^>]* (?:href|src)="(?:https?:)?//[^"]+"')
    assert {str(page): found for page in site.rglob("*.html") if (found := loaded.findall(page.read_text()))} == {}


def problems(chromium: Browser, url: str, path: str, size: tuple[int, int], *, dark: bool = False) -> list[str]:
    """What is wrong with a page in the browser."""
    with visit(chromium, url + path, size, dark=dark) as seen:
        others = seen.hosts() - {urlsplit(url).netloc}
        # Material for MkDocs makes code that scrolls focusable only where there can be a keyboard.
        rules = [rule for rule in seen.violations() if size != PHONE or "scrollable-region-focusable" not in rule]
        return [*seen.errors, *seen.overflow(), *rules, *(f"request to {host}" for host in others)]


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("source", TYPICAL)
def test_a_typical_page_fits_the_screen_and_is_accessible(
    chromium: Browser, url: str, source: str, size: tuple[int, int]
) -> None:
    assert problems(chromium, url, path_of(source), size, dark=size == PHONE) == []


@pytest.mark.long
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_fits_the_screen_and_is_accessible(
    chromium: Browser, site: Path, url: str, size: tuple[int, int], dark: bool
) -> None:
    paths = [str(page.parent.relative_to(site)) + "/" for page in sorted(site.rglob("index.html"))]
    found = {path: problems(chromium, url, path.removeprefix("./"), size, dark=dark) for path in paths}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_search_finds_the_page_of_a_reason_without_another_host(
    chromium: Browser, url: str, size: tuple[int, int]
) -> None:
    with visit(chromium, url, size) as seen:
        if size == PHONE:
            seen.page.locator("label.md-header__button[for=__search]").click()
        seen.page.get_by_role("textbox", name="Search").press_sequentially("SlotOvertaken")
        seen.page.locator(".md-search-result__link", has_text="SlotOvertaken").first.click()
        seen.page.wait_for_url("**/reasons/SlotOvertaken/**")
        assert seen.hosts() == {urlsplit(url).netloc}
        assert seen.errors == []


def test_the_navigation_leads_from_the_start_to_a_page_on_a_phone(chromium: Browser, url: str) -> None:
    with visit(chromium, url, PHONE) as seen:
        menu, drawer = (
            seen.page.locator("label.md-header__button[for=__drawer]"),
            seen.page.locator(".md-sidebar--primary"),
        )
        menu.click()
        drawer.locator("label.md-nav__title", has_text="Start").click()  # back to all sections
        drawer.get_by_role("link", name="Operate", exact=True).click()
        seen.page.wait_for_url("**/operating/")
        menu.click()
        drawer.get_by_role("link", name="GitOps", exact=True).click()
        seen.page.wait_for_url("**/gitops/")
        assert seen.page.get_by_role("heading", level=1).inner_text().startswith("GitOps")
        assert seen.errors == []


def test_a_page_that_is_too_wide_requests_another_host_and_has_poor_contrast_is_found(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(
        '<!doctype html><html lang="en"><title>t</title><main><div style="width: 3000px">wide</div>'
        '<p style="color: #ccc; background: #fff">pale</p><img alt="" src="http://example.com/x.png"></main></html>'
    )
    with served(tmp_path) as url:
        found = "\n".join(problems(chromium, url, "", PHONE))
    assert "scrolls horizontally" in found
    assert "color-contrast" in found
    assert "request to example.com" in found
