"""The sandbox of Nexthink and Qualtrics on real HTTPS sockets, in a thread with its own event loop.

So tests can be synchronous, and a test that waits for kubectl does not block the servers.
"""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trustme

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox import Account, Sandbox
from qualtrics_exporter.sandbox.faults import Fault
from qualtrics_exporter.sandbox.recorder import Recorder
from tests.support.loop_thread import LoopThread, closed
from tests.support.waiting import HANG_SECONDS

T = TypeVar("T")


class Certificates:
    """A certificate authority for the test, and a server certificate for the loopback addresses."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.authority = folder / "remote-ca.pem"
        self._authority.cert_pem.write_to_path(self.authority)
        self.server = self.of("localhost", "127.0.0.1")

    def of(self, *names: str) -> ssl.SSLContext:
        """The TLS context of a server with these names, with a certificate of this authority."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(server)
        return server


class SandboxThread:
    """A context manager that runs the sandbox of both services."""

    def __init__(self, clock: Clock, tls: ssl.SSLContext | None, account: Account | None = None) -> None:
        self._sandbox = Sandbox(account, clock=clock, tls=tls, advertise="localhost")
        self._thread = LoopThread("sandbox")

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._sandbox.start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run(lambda: closed(self._sandbox.stop))
        self._thread.stop()

    @property
    def account(self) -> Account:
        """The data that the services have. It can be changed at any time."""
        return self._sandbox.account

    @property
    def recorder(self) -> Recorder:
        """The record of all requests and their effects."""
        return self.call(lambda: self._sandbox.recorder)

    @property
    def outbox_url(self) -> str:
        """The page that shows all mails."""
        return self._sandbox.outbox_url

    @property
    def url(self) -> str:
        """The URL of Qualtrics."""
        return self._sandbox.qualtrics_url

    def secrets(self) -> dict[str, dict[str, str]]:
        """The keys of the two Secrets with credentials, by the name of the Secret."""
        return self._sandbox.secrets()

    def tokens(self) -> list[str]:
        """All issued access tokens. No log or status must contain one."""
        return self.call(self._sandbox.issued_tokens)

    def fault(self, operation: str, **settings: Any) -> Fault:
        return self.call(lambda: self._sandbox.faults.add(operation, **settings))

    def reached(self, operation: str, *, count: int = 1, timeout: float = HANG_SECONDS) -> None:
        """Wait until this many requests of the operation are held."""
        self._run(lambda: self._sandbox.faults.reached(operation, count=count, timeout=timeout))

    def held(self, operation: str = "*") -> int:
        """The number of requests of the operation that are held."""
        return self.call(lambda: self._sandbox.faults.held(operation))

    def seen(self, operation: str, *, count: int = 1, timeout: float = HANG_SECONDS) -> None:
        """Wait until this many requests of the operation have arrived."""
        self._run(lambda: self._sandbox.recorder.seen(operation, count=count, timeout=timeout))

    def release(self, operation: str = "*", *, drop: bool = False) -> None:
        """Continue the requests that are held, or drop their connections."""
        self.call(lambda: self._sandbox.faults.release(operation, drop=drop))

    def clear_faults(self) -> None:
        """Remove all faults, and continue the requests that are held."""
        self.call(self._sandbox.faults.clear)

    def revoke_tokens(self) -> None:
        self.call(self._sandbox.revoke_tokens)

    def call(self, work: Callable[[], T]) -> T:
        """Call a function in the thread of the servers."""
        return self._thread.call(work)

    def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        return self._thread.run(work)
