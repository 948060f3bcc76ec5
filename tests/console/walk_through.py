"""Follows the tutorial `docs/tutorials/survey-on-a-page.md` in the browser, as it is written.

In the tutorial, `Click **text**` names a link or a button, and `shows **text**` a text that appears.
"""

import re
from collections.abc import Callable, Iterator

from playwright.sync_api import Page, expect

from hack.files import ROOT
from tests.support.waiting import HANG_SECONDS

TUTORIAL = ROOT / "docs" / "tutorials" / "survey-on-a-page.md"
_ACTION = re.compile(r"(Click|shows)(?:[\w ]*?) \*\*(.+?)\*\*|!\[.*?\]\(\.\./pictures/(.+?)\)", re.DOTALL)


def actions() -> Iterator[tuple[str, str]]:
    """What the tutorial says, in its order: `Click`, `shows` or `picture`, with the text or the file."""
    for verb, text, picture in _ACTION.findall(TUTORIAL.read_text("utf-8")):
        yield (verb, " ".join(text.split())) if verb else ("picture", picture)


def follow(page: Page, picture: Callable[[Page, str], None] = lambda page, name: None) -> Page:
    """Do what the tutorial says, from the list of exporters. Return the last page, which is the outbox."""
    for kind, text in actions():
        if kind == "picture":
            picture(page, text)
        elif kind == "shows":
            expect(page.get_by_text(text).first).to_be_visible(timeout=HANG_SECONDS * 1000)
        else:
            page = _clicked(page, text)
    return page


def _clicked(page: Page, text: str) -> Page:
    """Click, and return the page that is open then: a link may open another tab."""
    target = page.get_by_role("link", name=text).or_(page.get_by_role("button", name=text))
    if target.get_attribute("target") != "_blank":
        target.click()
        return page
    with page.context.expect_page() as opened:
        target.click()
    return opened.value
