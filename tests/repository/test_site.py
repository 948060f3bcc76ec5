"""The documentation site: it builds without warnings, has every page, and reads as on a forge."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from hack.files import ROOT
from hack.site import PAGES

SOURCES = {
    **{f"docs/{path.relative_to(ROOT / 'docs')}": path for path in sorted((ROOT / "docs").rglob("*.md"))},
    **{name: ROOT / name for name in PAGES},
}
"""All pages of the site, by their paths in the repository."""


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder), *options]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return folder


def html_of(site: Path, source: str) -> Path:
    uri = PAGES.get(source, source.removeprefix("docs/")).removesuffix(".md")
    uri = uri.removesuffix("README").removesuffix("index")
    return site / uri / "index.html"


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
    assert [source for source in SOURCES if not html_of(site, source).is_file()] == []


@pytest.mark.parametrize("source", SOURCES)
def test_a_page_of_the_site_has_the_lists_tables_and_code_that_a_forge_shows(site: Path, source: str) -> None:
    assert on_the_site(html_of(site, source).read_text()) == on_a_forge(SOURCES[source].read_text())
