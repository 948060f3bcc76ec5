"""`make pictures`: writes the pictures of the documentation, from the pages of the console in the real browser.

The exporters are those of `examples`, and the console has a clock that stands still, so these pictures change only if
the pages do. To add one, add it to `PICTURES`. The pictures of the tutorial come from the demo, so their times change.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Browser, Page

from hack.files import ROOT
from qualtrics_exporter.cli.console.rows import row_of
from qualtrics_exporter.cli.console.server import serve
from qualtrics_exporter.cli.console.snapshot import Snapshot
from qualtrics_exporter.cli.console.source import Event, Object
from qualtrics_exporter.cli.demo import exporter_manifest
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.sandbox import Account
from tests.cli.conftest import PROGRAM, Program
from tests.console import examples
from tests.console.dashboard import started
from tests.console.walk_through import follow
from tests.support.browser import browser
from tests.support.loop_thread import LoopThread
from tests.support.stage import changed
from tests.support.waiting import HANG_SECONDS

FOLDER = ROOT / "docs" / "pictures"
NOW = datetime(2026, 12, 1, 20, tzinfo=UTC)
"""So that the next slots of `examples` are at the times of their schedule."""
ZONE = "Europe/Zurich"
WIDTH = 1120
TUTORIAL_HEIGHT = 760
NAMESPACE = "dex"
NAME = "teams-rollout"


@dataclass(frozen=True)
class Picture:
    """A part of a page: its path, its height, and what to do there first."""

    path: str
    height: int
    prepare: Callable[[Page], None] = lambda page: None


PICTURES = {
    "console-list.png": Picture("", 640),
    "console-exporter.png": Picture(f"exporters/{NAMESPACE}/{NAME}", 1000),
    "console-confirmation.png": Picture(f"exporters/{NAMESPACE}/{NAME}/run", 400),
}
"""The pictures of the documentation, by the names of their files."""


class StillClock:
    """A clock that always shows `NOW`."""

    def now(self) -> datetime:
        return NOW


@dataclass
class Examples:
    """A `Source` with the exporters of `examples`. They are applied to it as to a stage."""

    where: str = "production (context production)"
    outbox: str = ""
    namespace: str = NAMESPACE
    snapshot: Snapshot = field(default_factory=Snapshot)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cluster = SimpleNamespace(put=self._put, merge=self._merge)
        examples.create_all(self, NOW)  # type: ignore[arg-type]
        self.snapshot.put(row_of(Exporter.from_object(found)) for found in self.objects.values())
        self.snapshot.mark_complete()

    def manifest(self, name: str, /, **changes: Any) -> dict[str, Any]:
        manifest = exporter_manifest(Account.default())
        manifest["metadata"].update(name=name, uid=name, generation=1, resourceVersion="1")
        return changed(manifest, changes)

    async def get(self, namespace: str, name: str) -> Object:
        return self.objects[name]

    async def events(self, exporter: Object) -> Sequence[Event]:
        return [
            Event(NOW - timedelta(days=2), "Normal", "Succeeded", "The survey was sent to 412 people."),
            Event(NOW - timedelta(days=3), "Normal", "Checked", "Both services accept the credentials."),
        ]

    async def refusal(self, namespace: str) -> str | None:
        return None

    def unavailable(self, action: str) -> str | None:
        return None

    def _put(self, path: str, manifest: dict[str, Any]) -> None:
        self.objects[path.rpartition("/")[2]] = manifest

    def _merge(self, path: str, change: dict[str, Any]) -> None:
        self.objects[path.split("/")[-2]].update(change)


@contextmanager
def console(source: Any) -> Iterator[str]:
    """Serve the console of this source, and return its address."""
    thread = LoopThread("console")
    thread.start()
    try:
        serving = serve(source, StillClock())  # type: ignore[arg-type]
        session = thread.run(serving.__aenter__)
        yield thread.call(session.new_address)
        thread.run(lambda: serving.__aexit__(None, None, None))
    finally:
        thread.stop()


@contextmanager
def window(chromium: Browser, address: str) -> Iterator[Page]:
    """The console in a window of the size of the pictures."""
    context = chromium.new_context(viewport={"width": WIDTH, "height": 700}, timezone_id=ZONE, reduced_motion="reduce")
    context.set_default_timeout(HANG_SECONDS * 1000)
    page = context.new_page()
    page.goto(address)
    page.wait_for_url(lambda url: "token" not in url)
    page.wait_for_function("document.body.dataset.zone !== ''")
    yield page
    context.close()


def take(page: Page, name: str, height: int) -> None:
    """Write a picture of the upper part of the page."""
    FOLDER.mkdir(exist_ok=True)
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.screenshot(path=FOLDER / name, animations="disabled", caret="hide")


def of_examples(chromium: Browser) -> None:
    """Write the pictures of `PICTURES`."""
    with console(Examples()) as address, window(chromium, address) as page:
        base = page.url
        for name, picture in PICTURES.items():
            page.goto(f"{base}{picture.path}")
            picture.prepare(page)
            take(page, name, picture.height)


def of_the_tutorial(chromium: Browser) -> None:
    """Write the pictures of the tutorial."""
    with TemporaryDirectory() as home:
        command = [str(PROGRAM), "demo", "--dashboard", "--no-browser"]
        environment = Program(Path(home), {}).environment({})
        with started(command, environment, Path(home)) as demo, window(chromium, demo.address) as page:
            follow(page, lambda page, name: take(page, name, TUTORIAL_HEIGHT))


def main() -> None:
    """Write all pictures."""
    with browser() as chromium:
        of_examples(chromium)
        of_the_tutorial(chromium)


if __name__ == "__main__":
    main()
