"""The pages of the sandbox in a real browser: they update themselves, their forms work, they fit and are accessible."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from qualtrics_exporter.sandbox import Sandbox
from tests.conftest import skip_outside_ci
from tests.sandbox.caller import QualtricsCaller
from tests.support.browser import DESKTOP, PHONE, Visit, browser, unsupported_reason, visit
from tests.support.loop_thread import LoopThread, closed
from tests.support.waiting import HANG_SECONDS

HOSTILE = {
    "fromName": "<i>HR</i>",
    "fromEmail": "noreply@qemailserver.com",
    "subject": "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">" + "x" * 120,
}


@dataclass
class Running:
    """A sandbox in a thread, and a client in the same thread."""

    thread: LoopThread
    sandbox: Sandbox

    @property
    def url(self) -> str:
        return f"{self.sandbox.qualtrics_url}/_sandbox/"

    def client(self, work: Callable[[QualtricsCaller], Awaitable[Any]]) -> Any:
        """What a client with an access token does, and its result."""

        async def call() -> Any:
            async with httpx.AsyncClient(trust_env=False, timeout=HANG_SECONDS) as http:
                caller = QualtricsCaller(self.sandbox, http)
                await caller.log_in("qualtrics")
                return await work(caller)

        return self.thread.run(call)

    def send(self, *addresses: str, **changes: Any) -> str:
        async def work(caller: QualtricsCaller) -> str:
            return await caller.send(await caller.batch_with(*addresses), **changes)

        return str(self.client(work))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if reason := unsupported_reason():
        skip_outside_ci(f"this machine cannot run the browser: {reason}")
    with browser() as started:
        yield started


@pytest.fixture
def running() -> Iterator[Running]:
    thread = LoopThread("sandbox")
    thread.start()
    sandbox = Sandbox()
    thread.run(sandbox.start)
    yield Running(thread, sandbox)
    thread.run(lambda: closed(sandbox.stop))
    thread.stop()


def problems(seen: Visit) -> list[str]:
    """What is wrong with the page that the browser shows."""
    # Each window first learns the time zone of the reader, and then loads the page again.
    seen.page.wait_for_function("document.body.dataset.zone !== ''")
    others = seen.hosts() - {urlsplit(seen.page.url).netloc}
    return [*seen.errors, *seen.overflow(), *seen.violations(), *(f"request to {host}" for host in others)]


def test_outbox_shows_a_new_distribution_without_a_reload_and_markup_as_text(
    running: Running, chromium: Browser
) -> None:
    with visit(chromium, f"{running.url}outbox", DESKTOP) as seen:
        expect(seen.page.get_by_role("heading", name="Nothing was sent yet")).to_be_visible()
        sent = running.send("ana@example.com", "ANA@example.com", header=HOSTILE)
        expect(seen.page.get_by_text(sent)).to_be_visible()
        assert HOSTILE["subject"][:60] in seen.page.get_by_role("article").inner_text()
        assert "ana@example.com 2 mails" in seen.page.get_by_role("article").inner_text()
        assert problems(seen) == []
        assert seen.page.title() == "Outbox · Sandbox"


def test_fault_that_the_reader_adds_changes_the_next_request(running: Running, chromium: Browser) -> None:
    with visit(chromium, f"{running.url}pages/faults", PHONE, dark=True) as seen:
        assert problems(seen) == []
        seen.page.get_by_label("Qualtrics accepts the send, and the reply is lost").check()
        seen.page.get_by_role("button", name="Add the fault").first.click()
        expect(seen.page.get_by_text("The fault was added.")).to_be_visible()
        with pytest.raises(httpx.RemoteProtocolError):
            running.send("ana@example.com")
        expect(seen.page.get_by_text("Hit 1 request of 1.")).to_be_visible()
        assert running.thread.call(running.sandbox.recorder.mails) == {"ana@example.com": 1}
        assert problems(seen) == []


@pytest.mark.long
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_fits_the_screen_and_is_accessible(
    running: Running, chromium: Browser, size: tuple[int, int], dark: bool
) -> None:
    running.sandbox.account.bouncing_addresses = {"ben@example.com"}
    running.send("ben@example.com")
    sent = running.send("ana@example.com", "Ana@example.com", "ben@example.com", header=HOSTILE)
    running.thread.call(lambda: running.sandbox.faults.add("qualtrics.*", status=429, headers={"Retry-After": "5"}))
    running.thread.call(lambda: running.sandbox.faults.add("nexthink.*", hold="before"))
    paths = (
        *("outbox", "outbox?address=an", "outbox?address=nobody", f"outbox/{sent}"),
        *("pages/faults?done=added", "pages/limits", "pages/queries"),
    )
    found = {}
    for path in paths:
        with visit(chromium, running.url + path, size, dark=dark) as seen:
            for summary in seen.page.locator("summary").all():
                summary.click()
            found[path] = problems(seen)
    with visit(chromium, f"{running.url}pages/faults", size, dark=dark) as seen:
        seen.page.locator("#advanced > summary").click()
        seen.page.get_by_role("button", name="Add the fault").last.click()
        expect(seen.page.get_by_text("Choose an operation.")).to_be_visible()
        # The browser reports the status 400 in its console.
        found["invalid form"] = [problem for problem in problems(seen) if "400" not in problem]
    with visit(chromium, f"{running.url}outbox/EMD_x", size, dark=dark) as seen:
        expect(seen.page.get_by_role("heading", level=1)).to_be_visible()
        found["not found"] = [problem for problem in problems(seen) if "404" not in problem]
    assert {path: wrong for path, wrong in found.items() if wrong} == {}
