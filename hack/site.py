"""A hook of MkDocs: makes the documentation site from the same Markdown that people read on a forge.

- README.md and other pages outside of docs/ become pages of the site: `PAGES`.
- A link to another file of the repository leads to a page that shows this file.
- An entry of the navigation that ends with `/*` stands for all pages of a folder, its README first.
- Lists are indented as Python-Markdown requires it. Forges accept less indentation.
"""

import logging
import posixpath
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "charts/qualtrics-exporter/README.md": "chart.md",
    "samples/README.md": "samples.md",
    "samples/gitops/README.md": "samples-gitops.md",
}
"""The pages outside of docs/: their paths on the site, by their paths in the repository."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".lua": "lua", "": "text"}
"""How files are highlighted, by the ending of their names."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
"""A relative link. It does not match URLs, and anchors on the same page."""
_FENCE = re.compile(r"\s*(```+|~~~+)")
_MARKER = re.compile(r"(?P<indentation> *)(?P<marker>[-*+]|\d+\.) +(?=\S)")
_log = logging.getLogger("mkdocs.hooks.site")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Expand the entries of the navigation that end with `/*`."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/, and a page for each other file of the repository that a page links to."""
    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    shown = {
        target
        for file in files.documentation_pages()
        for target, _ in _links(file.content_string, _source(file.src_uri))
        if not _page_of(target)
    }
    for target in sorted(shown):
        page = File.generated(config, f"files/{target}.md", content=_shown(target))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Adapt the links and the lists of a page."""
    if page.file.src_uri.startswith("files/"):
        return markdown
    source = _source(page.file.src_uri)

    def on_site(link: re.Match[str]) -> str:
        target = _repository_path(link[1], source)
        uri = _page_of(target) or f"files/{target}.md"
        return posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".") + (link[2] or "")

    return indented(_outside_of_code(markdown, lambda line: _LINK.sub(on_site, line)))


def indented(markdown: str) -> str:
    """Indent what belongs to an item of a list by four spaces for each level, and put an empty line before a list."""
    lines: list[str] = []
    contents: list[int] = []  # of the open items: the column where their text begins
    fence = ""
    for line in markdown.splitlines():
        text = line.lstrip(" ")
        indentation = len(line) - len(text)
        if not text:
            lines.append("")
            continue
        marker = None if fence else _MARKER.match(line)
        after_empty = not lines or not lines[-1]
        if not fence and (after_empty or marker or _FENCE.match(line)):
            while contents and indentation < contents[-1]:
                contents.pop()
        offset = contents[-1] if contents else 0
        if marker and not after_empty and not _MARKER.match(lines[-1]) and not contents:
            lines.append("")
        lines.append(" " * (4 * len(contents) + max(0, indentation - offset)) + text)
        if marker:
            contents.append(marker.end())
        if found := _FENCE.match(line):
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]
    return "\n".join(lines) + "\n"


def _outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    fence = ""
    lines = []
    for line in markdown.split("\n"):
        if found := _FENCE.match(line):
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]
        lines.append(line if fence or found else change(line))
    return "\n".join(lines)


def _expanded(entry: Any, docs: Path) -> Any:
    if isinstance(entry, list):
        return [expanded for part in entry if (expanded := _expanded(part, docs))]
    if isinstance(entry, dict):
        return {title: expanded for title, part in entry.items() if (expanded := _expanded(part, docs))}
    if isinstance(entry, str) and entry.endswith("/*"):
        names = sorted(
            (path.name for path in (docs / entry[:-2]).glob("*.md")), key=lambda name: (name != "README.md", name)
        )
        return [f"{entry[:-1]}{name}" for name in names]
    return entry


def _source(uri: str) -> str:
    """The path in the repository of a page."""
    return next((path for path, page in PAGES.items() if page == uri), f"docs/{uri}")


def _links(markdown: str, source: str) -> Iterator[tuple[str, str]]:
    """The relative links of a page: their paths in the repository, and their anchors."""
    found: list[tuple[str, str]] = []

    def note(line: str) -> str:
        found.extend((_repository_path(link[1], source), link[2] or "") for link in _LINK.finditer(line))
        return line

    _outside_of_code(markdown, note)
    yield from found


def _repository_path(link: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(link)))


def _page_of(target: str) -> str | None:
    """The page or picture of the site for a path in the repository, or None."""
    if (ROOT / target).is_dir():
        target = f"{target}/README.md"
    if target in PAGES:
        return PAGES[target]
    return target.removeprefix("docs/") if target.startswith("docs/") else None


def _shown(target: str) -> str:
    """A page that shows a file of the repository, or the files of a folder."""
    listed = subprocess.run(["git", "ls-files", target], cwd=ROOT, capture_output=True, text=True, check=True)
    names = listed.stdout.splitlines()
    if not names:
        _log.warning("A page links to %s, which is not a file of the repository", target)
    lines = ["---", "search: {exclude: true}", "---", "", f"# {target}", ""]
    lines += [f"This page shows {'the files of ' if names != [target] else ''}`{target}` in the repository.", ""]
    for name in names:
        if names != [target]:
            lines += [f"## {name.removeprefix(f'{target}/')}", ""]
        language = LANGUAGES.get(Path(name).suffix, "text")
        lines += [f"````{language}", (ROOT / name).read_text("utf-8").rstrip("\n"), "````", ""]
    return "\n".join(lines)
