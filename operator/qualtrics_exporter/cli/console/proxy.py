"""Runs `kubectl proxy` on a socket that only this user can open.

So the console reaches the API server with every kubeconfig that works for kubectl: several files, certificates, tokens,
plugins for credentials, impersonation. The proxy accepts only the paths that the console needs.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qualtrics_exporter.cli.qex.kubectl import Failed, Kubectl, failure
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.resource.names import GROUP, PLURAL

PATHS = (
    rf"^/apis/{re.escape(GROUP)}/[a-z0-9]+/(namespaces/[a-z0-9.-]+/)?{PLURAL}(/[a-z0-9.-]+)?$",
    r"^/apis/events[.]k8s[.]io/v1/namespaces/[a-z0-9.-]+/events$",
    r"^/apis/authorization[.]k8s[.]io/v1/selfsubjectaccessreviews$",
)
_GUARD = 'read -r _; kill -s TERM -- "-$1"'
"""Ends a process group when the input of this shell ends: so also if this process is killed."""
LOG_LINE = re.compile(r"[IWEF][0-9]{4} |[0-9]{4}/[0-9]{2}/[0-9]{2} |httputil: ")
"""How a line of kubectl's log begins. Other lines are for the user, for example from a plugin that asks for a login."""


@asynccontextmanager
async def kubectl_proxy(kubectl: Kubectl) -> AsyncIterator[Path]:
    """The path of the socket, while the proxy runs. Raises `Failed` if it does not start."""
    program = shutil.which("kubectl")
    if program is None:
        raise Failed("kubectl is not on the PATH. Install it: https://kubernetes.io/docs/tasks/tools/")
    with tempfile.TemporaryDirectory(prefix="qex-") as folder:  # only this user can enter it
        socket = Path(folder) / "api"
        arguments = ("proxy", "--unix-socket", str(socket), "--accept-paths", ",".join(PATHS), *kubectl.flags)
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
        )
        guarding = asyncio.create_task(_guard(process))
        errors: deque[str] = deque(maxlen=20)
        reading = asyncio.create_task(_read_errors(process.stderr, errors))
        try:
            assert process.stdout  # noqa: S101
            if not await process.stdout.readline():  # it writes a line when it serves
                await reading
                raise failure("\n".join(errors))
            yield socket
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # also a plugin that waits for a login
            await guarding
            await reading


async def _guard(process: Process) -> None:
    """Guard the process until it has ended. Then the guard ends, because another process may get its number."""
    guard = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", _GUARD, "sh", str(process.pid)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        await process.wait()
    finally:
        guard.kill()
        await guard.wait()


async def _read_errors(stream: asyncio.StreamReader | None, errors: deque[str]) -> None:
    """Keep the last lines of kubectl, and show those that are for the user."""
    assert stream  # noqa: S101
    async for line in stream:
        text = line.decode(errors="replace").rstrip()
        errors.append(text)
        if not LOG_LINE.match(text):
            say(text)
