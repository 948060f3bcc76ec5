"""A real browser, Chromium, and what a page did in it: requests, errors, the width of its content.

The browser comes from the Debian packages of the machine's release, extracted below `.tools/`. Playwright drives it and
downloads nothing. The libraries of the C compiler and the C library are those of the machine.
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from hack import debian
from hack.build import TOOLS, BuildError, call, create_once
from hack.limits import HANG_SECONDS

PACKAGES = ("chromium-headless-shell", "fontconfig-config", "fonts-dejavu-core")
OF_THE_MACHINE = ("libc6_", "libgcc-s1_", "libstdc++6_", "gcc-", "libc-bin_", "dash_", "coreutils_", "bash_", "perl")
"""Packages that every Debian has. Their libraries must fit the programs of the machine, so they are not extracted."""
PHONE = (390, 844)
DESKTOP = (1280, 800)


def unsupported_reason() -> str | None:
    """Return why this machine cannot run the browser, or None if it can."""
    return debian.download_unsupported_reason()


def chromium() -> Path:
    """Return the root of the extracted packages, and download them first if they are missing."""
    if reason := unsupported_reason():
        raise BuildError(f"This machine cannot run the browser: {reason}.")
    recipe = hashlib.sha256("\0".join([*PACKAGES, *OF_THE_MACHINE]).encode()).hexdigest()[:8]
    place = TOOLS / f"chromium-{debian.release()[1]}-{platform.machine()}-{recipe}"
    with create_once(place, "downloading the browser") as root:
        if root:
            apt = debian.Apt(root.parent)
            apt.get("update", "Updating the package lists", "--error-on=any")
            apt.get("install", "Downloading the browser", "--yes", "--download-only", *PACKAGES)
            root.mkdir(exist_ok=True)
            for package in sorted(apt.archives.glob("*.deb")):
                if not package.name.startswith(OF_THE_MACHINE):
                    call(["dpkg-deb", "--extract", str(package), str(root)], "Extracting the browser")
    return place


def executable(root: Path) -> Path:
    """The browser in the extracted packages."""
    return root / "usr" / "lib" / "chromium" / "chromium-headless-shell"


def environment(root: Path) -> dict[str, str]:
    """The environment in which the browser finds the libraries and fonts of the extracted packages."""
    libraries = root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'nss'}:{libraries / 'pulseaudio'}",
        "FONTCONFIG_SYSROOT": str(root),
    }


@dataclass
class Visit:
    """A page in the browser, and what happened in it since it was opened."""

    page: Page
    requested: list[str] = field(default_factory=list)
    """The URLs of all requests, including those that were blocked."""
    errors: list[str] = field(default_factory=list)
    """Messages of the console at level error, exceptions, and requests that failed."""

    def hosts(self) -> set[str]:
        """The hosts and ports of all requests."""
        return {urlsplit(url).netloc for url in self.requested if urlsplit(url).scheme not in ("data", "blob")}

    def overflow(self) -> list[str]:
        """What is wider than the window, so that the page scrolls horizontally. Empty if it does not scroll."""
        return list(self.page.evaluate(_OVERFLOW))

    def violations(self, *rules: str) -> list[str]:
        """The violations of these rules of axe, or without names of all rules for WCAG 2 AA, with the elements."""
        chosen = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": ["wcag2a", "wcag2aa"]}
        found = Axe().run(self.page, options={"runOnly": chosen, "resultTypes": ["violations"]}).response["violations"]
        return [f"{rule['id']}: {' '.join(node['target'])}" for rule in found for node in rule["nodes"]]


_OVERFLOW = """() => {
  const width = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= width) return []
  const wide = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > width + 1)
  return ["the page scrolls horizontally", ...wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120))]
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Run the browser. It reaches only this machine: its proxy for all other hosts does not exist."""
    root = chromium()
    expect.set_options(timeout=HANG_SECONDS * 1000)  # the default of 5 s would be an expectation about speed
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=executable(root),
            env=dict(environment(root)),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            proxy={"server": "http://127.0.0.1:9", "bypass": "127.0.0.1,localhost"},
            timeout=HANG_SECONDS * 1000,
        )
        try:
            yield started
        finally:
            started.close()


@contextmanager
def visit(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> Iterator[Visit]:
    """Open a page in a new window, without cookies or storage of other windows."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        has_touch=size == PHONE,
        is_mobile=size == PHONE,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(HANG_SECONDS * 1000)
    try:
        seen = Visit(context.new_page())

        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                seen.errors.append(message.text)

        def on_failure(request: Request) -> None:
            # A page that is left ends the requests of its script, and those for its images.
            of_page = request.resource_type in ("eventsource", "fetch", "image")
            if not of_page or "ERR_ABORTED" not in (request.failure or ""):
                seen.errors.append(f"{request.url}: {request.failure}")

        seen.page.on("request", lambda request: seen.requested.append(request.url))
        seen.page.on("requestfailed", on_failure)
        seen.page.on("console", on_console)
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.goto(url)
        yield seen
    finally:
        context.close()
