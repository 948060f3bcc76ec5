"""What changes in an open page while the reader uses it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from qualtrics_exporter.cli.console.server import serve
from tests.console.in_memory import PATH, START, InMemory
from tests.support.browser import Visit, visit
from tests.support.clock import SteeredClock
from tests.support.loop_thread import LoopThread

TABS = 8
"""More than the connections that a browser has to one server, which are six."""
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true })
  document.dispatchEvent(new Event("visibilitychange"))
}"""


class Console:
    """A console in a thread, so that the test can use the browser."""

    def __init__(self, thread: LoopThread) -> None:
        self.thread = thread
        self.source = InMemory()
        self._serving = serve(self.source, SteeredClock(start=START))
        self._session = thread.run(self._serving.__aenter__)

    @property
    def address(self) -> str:
        return self._session.new_address()

    def change(self, **status: object) -> None:
        self.thread.call(lambda: self.source.change(**status))

    def stop(self) -> None:
        self.thread.run(lambda: self._serving.__aexit__(None, None, None))


@pytest.fixture
def console() -> Iterator[Console]:
    thread = LoopThread("console")
    thread.start()
    started = Console(thread)
    yield started
    started.stop()
    thread.stop()


@pytest.fixture
def seen(console: Console, chromium: Browser) -> Iterator[Visit]:
    with visit(chromium, console.address) as opened:
        opened.page.wait_for_url(lambda url: "token" not in url)
        opened.page.goto(f"{opened.page.url}{PATH}?done={'a' * 20}")
        yield opened
        assert opened.errors == []


def test_update_keeps_selected_text_and_repeats_no_message(console: Console, seen: Visit) -> None:
    """A screen reader reads a status again if its element is replaced."""
    page = seen.page
    page.evaluate("""() => {
      getSelection().selectAllChildren(document.querySelector("h1"))
      window.message = document.querySelector("main [role=status]")
    }""")
    for number in (1, 2):
        console.change(schedule=f"every day at 0{number}:00, UTC")
        expect(page.get_by_text(f"every day at 0{number}:00, UTC")).to_be_visible()
    assert "teams-rollout" in page.evaluate("getSelection().toString()")
    assert page.evaluate("window.message.isConnected")
    console.source.object["metadata"]["annotations"]["qualtrics-exporter.dev/run-requested-at"] = "now"
    console.change(observedGeneration=1)
    expect(page.get_by_role("status").filter(has_text="Waiting for the operator")).to_be_visible()


def test_many_tabs_do_not_block_each_other(console: Console, seen: Visit) -> None:
    """A tab that is not visible needs no connection, and shows what has changed when the reader returns to it."""
    tabs = [seen.page]
    for _ in range(TABS):
        tabs[-1].evaluate(HIDE, True)
        tabs.append(seen.page.context.new_page())
        tabs[-1].goto(seen.page.url)
    console.change(schedule="every day at 07:00, UTC")
    expect(tabs[-1].get_by_text("every day at 07:00, UTC")).to_be_visible()
    tabs[-1].evaluate(HIDE, True)
    seen.page.evaluate(HIDE, False)
    expect(seen.page.get_by_text("every day at 07:00, UTC")).to_be_visible()
    seen.errors.clear()  # a stream that is closed counts as a failed request
