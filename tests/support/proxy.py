"""A real forward proxy: tinyproxy, from the Debian packages of the machine's release, extracted below `.tools/`."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from hack import debian
from tests.support import guarded

PACKAGE = "tinyproxy-bin"

CONFIGURATION = """\
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 100
Allow 127.0.0.1
LogFile "{log}"
LogLevel Connect
PidFile "{folder}/pid"
"""


def program() -> Path:
    """Return the path of the program, and download it first if it is missing. It needs only the C library."""
    return debian.extracted("tinyproxy", PACKAGE) / "usr" / "bin" / "tinyproxy"


class TinyProxy:
    """A context manager that runs a proxy on a local port. It requires the user name and the password, if given."""

    def __init__(self, folder: Path, *, user: str = "", password: str = "", more: str = "") -> None:
        self._folder = folder
        self._auth = f"BasicAuth {user} {password}\n" if user else ""
        self._more = more
        self._running = ExitStack()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The log, with a line for each requested connection."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""

    def connected(self) -> list[str]:
        """The host and port of each CONNECT request."""
        return [line.rpartition(" CONNECT ")[2].split()[0] for line in self.log.splitlines() if ": CONNECT " in line]

    def variables(self, *, user: str = "", password: str = "") -> Mapping[str, str]:
        """The environment variables that make a program use the proxy."""
        at = f"{user}:{password}@" if user else ""
        return {"HTTPS_PROXY": f"http://{at}127.0.0.1:{self.port}", "NO_PROXY": ""}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        settings = self._folder / "tinyproxy.conf"
        log = self._folder / "log"
        settings.write_text(
            CONFIGURATION.format(port=self.port, log=log, folder=self._folder) + self._auth + self._more
        )
        command = [program(), "-d", "-c", settings]
        self._running.enter_context(guarded.serving(command, self._folder / "output", "the proxy", self._listens))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0
