"""A real OCI registry on a local port: crane serves it, from the Go module of the release (`hack/release/tools`)."""

import re
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from hack.node.node import Node
from hack.release import programs
from tests.support import guarded


class LocalRegistry:
    """A context manager that runs a registry on 127.0.0.1, without TLS. Its content is in memory.

    With a node, it runs in the network of the node, which is isolated. Only `node.run` and the node reach it.
    """

    def __init__(self, folder: Path, node: Node | None = None) -> None:
        self._log = folder / "registry.log"
        self._node = node
        self._running = ExitStack()
        self.port = 0

    @property
    def host(self) -> str:
        """The host and port, which are the beginning of the names of images."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The log, with a line for each request."""
        return self._log.read_text()

    def __enter__(self) -> Self:
        command = [str(programs.crane()), "registry", "serve", "--address", "127.0.0.1:0"]
        if self._node:
            command = [*self._node.network_command, *command]
        self.port = self._running.enter_context(guarded.serving(command, self._log, "the registry", self._found_port))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    def _found_port(self) -> int:
        found = re.search(r"serving on port (\d+)", self.log)
        return int(found[1]) if found else 0
