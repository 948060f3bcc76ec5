"""The documentation site, built, and served on this machine."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hack.files import ROOT
from hack.site import PAGES


def build(folder: Path, *options: str) -> str:
    """Build the site into a folder, as `make site` does. Return what the build reports: nothing if all is well."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder), *options]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    # With --quiet, MkDocs would not see its own warnings, and --strict would have no effect.
    reported = [line for line in (built.stdout + built.stderr).splitlines() if line and not line.startswith("INFO ")]
    return "\n".join([*reported, f"exit code {built.returncode}"] if built.returncode else reported)


def path_of(source: str) -> str:
    """The path on the site of a page, by its path in the repository: empty for the start page, or with a / at the end.

    Forges call the first page of a folder README.md, and the site calls it index.
    """
    uri = PAGES.get(source, source.removeprefix("docs/")).removesuffix(".md")
    name = uri.rpartition("/")[2]
    return uri.removesuffix(name) if name in ("README", "index") else f"{uri}/"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a local port. The value is the URL, which ends with a slash."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
