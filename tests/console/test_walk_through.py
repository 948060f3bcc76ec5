"""The tutorial about the page works as it is written, and the pictures of the documentation exist and are shown."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from hack.files import ROOT
from tests.cli.conftest import PEOPLE, PROGRAM, Program
from tests.console import pictures
from tests.console.dashboard import started
from tests.console.walk_through import TUTORIAL, actions, follow

LARGEST = 150_000
"""In bytes. Readers of the README load all of its pictures."""
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]*pictures/[^)]+)\)")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.long
def test_tutorial_leads_from_the_command_to_a_survey_in_the_outbox(program: Program, chromium: Browser) -> None:
    command = re.findall(r"^\.venv/bin/(qualtrics-exporter .+)$", TUTORIAL.read_text("utf-8"), re.MULTILINE)
    assert command == ["qualtrics-exporter demo --dashboard"]
    assert [kind for kind, _ in actions()].count("Click") >= 5
    arguments = [str(PROGRAM), *command[0].split()[1:], "--no-browser"]
    with started(arguments, program.environment({}), program.home) as demo, demo.opened(chromium) as seen:
        outbox = follow(seen.page)
        with urllib.request.urlopen(f"{outbox.url}.json") as reply:
            sent = json.load(reply)
    assert [sorted(each["recipients"]) for each in sent] == [sorted(PEOPLE)]


def shown() -> dict[Path, list[str]]:
    """The alternative texts of each picture in the documentation, by the file of the picture."""
    found: dict[Path, list[str]] = {}
    for page in PAGES:
        for text, link in SHOWN.findall(page.read_text("utf-8")):
            found.setdefault((page.parent / link).resolve(), []).append(text)
    return found


def test_each_picture_is_made_shown_and_described() -> None:
    made = {pictures.FOLDER / name for name in pictures.PICTURES}
    made |= {pictures.FOLDER / name for kind, name in actions() if kind == "picture"}
    files = set(pictures.FOLDER.iterdir())
    assert files == made == set(shown())
    assert [texts for texts in shown().values() if not all(len(text) > 20 for text in texts)] == []
    assert [(path.name, path.stat().st_size) for path in files if path.stat().st_size > LARGEST] == []


def test_page_of_each_picture_is_there(chromium: Browser) -> None:
    """So that `make pictures` does not write the picture of an error."""
    with pictures.console(pictures.Examples()) as address, pictures.window(chromium, address) as page:
        base = page.url
        for name, picture in pictures.PICTURES.items():
            reply = page.goto(f"{base}{picture.path}")
            assert reply, name
            assert reply.status == 200, name
