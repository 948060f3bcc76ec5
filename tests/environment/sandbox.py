"""Nexthink and Qualtrics beside a test: the real sandbox on real HTTPS sockets, in a thread with a loop of its own.

So tests can be plain functions, and a test that waits for kubectl does not hold up the servers.
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
from tests.environment.loop_thread import LoopThread, closed
from tests.environment.waiting import HANG_SECONDS

T = TypeVar("T")


class Certificates:
    """An authority for this test run, and a server certificate of it for the loopback addresses."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.authority = folder / "remote-ca.pem"
        self._authority.cert_pem.write_to_path(self.authority)
        self.server = self.of("localhost", "127.0.0.1")

    def of(self, *names: str) -> ssl.SSLContext:
        """What a server of these names has to show to be trusted."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(server)
        return server


class SandboxThread:
    """Both remote sides, running as long as the block lasts."""

    def __init__(self, clock: Clock, tls: ssl.SSLContext | None, account: Account | None = None) -> None:
        self._sandbox = Sandbox(account, clock=clock, tls=tls, advertise="localhost")
        self._there = LoopThread("sandbox")

    def __enter__(self) -> Self:
        self._there.start()
        self._await(self._sandbox.start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._await(lambda: closed(self._sandbox.stop))
        self._there.stop()

    @property
    def account(self) -> Account:
        """What exists; may be changed at any time."""
        return self._sandbox.account

    @property
    def ledger(self) -> Recorder:
        """What happened: the oracle."""
        return self.call(lambda: self._sandbox.ledger)

    @property
    def outbox_url(self) -> str:
        """A page for people."""
        return self._sandbox.outbox_url

    @property
    def url(self) -> str:
        """Where Qualtrics is."""
        return self._sandbox.qualtrics_url

    def secrets(self) -> dict[str, dict[str, str]]:
        """The two credentials Secrets, key by key."""
        return self._sandbox.secrets()

    def tokens(self) -> list[str]:
        """Every access token that was given out: what must be found nowhere."""
        return self.call(self._sandbox.issued_tokens)

    def fault(self, operation: str, **order: Any) -> Fault:
        """Order something to go wrong."""
        return self.call(lambda: self._sandbox.faults.add(operation, **order))

    def reached(self, operation: str, *, count: int = 1, timeout: float = HANG_SECONDS) -> None:
        """Wait until so many requests of that operation stand held."""
        self._await(lambda: self._sandbox.faults.reached(operation, count=count, timeout=timeout))

    def held(self, operation: str = "*") -> int:
        """How many requests of that operation stand held."""
        return self.call(lambda: self._sandbox.faults.held(operation))

    def seen(self, operation: str, *, count: int = 1, timeout: float = HANG_SECONDS) -> None:
        """Wait until so many requests of that operation have come in."""
        self._await(lambda: self._sandbox.ledger.seen(operation, count=count, timeout=timeout))

    def release(self, operation: str = "*", *, drop: bool = False) -> None:
        """Let what is held go on, or end its connection."""
        self.call(lambda: self._sandbox.faults.release(operation, drop=drop))

    def clear_faults(self) -> None:
        """Forget what was ordered and let go of what is held."""
        self.call(self._sandbox.faults.clear)

    def revoke_tokens(self) -> None:
        """No token given out so far is good any more."""
        self.call(self._sandbox.revoke_tokens)

    def call(self, work: Callable[[], T]) -> T:
        """Do something in the servers' own thread."""
        return self._there.call(work)

    def _await(self, work: Callable[[], Awaitable[T]]) -> T:
        return self._there.run(work)
