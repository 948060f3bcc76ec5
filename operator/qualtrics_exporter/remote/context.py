"""What all sessions of one process share: connections, tokens, rate limits, locks and the allowed hosts."""

from collections.abc import Callable, Sequence
from typing import Self
from weakref import WeakValueDictionary

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import FairSemaphore
from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS, HostRules, local_entries
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.proxies import Proxies
from qualtrics_exporter.remote.rate_limits import Limiter
from qualtrics_exporter.remote.tokens import Tokens
from qualtrics_exporter.remote.transport import CallRecord, Timeouts, Transport

MAX_CONCURRENT_REQUESTS = 100


class ApiContext:
    """What all sessions of one process share. A connection opens when it is first needed.

    `allowed_hosts` are the hosts of APIs and token endpoints, `download_hosts` the hosts of exported files. An entry
    for this machine in `allowed_hosts` (a sandbox) also applies to downloads. `proxies` apply to all requests.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        allowed_hosts: Sequence[str] = DEFAULT_ALLOWED_HOSTS,
        download_hosts: Sequence[str] = DEFAULT_DOWNLOAD_HOSTS,
        allow_http: bool = False,
        observe: Callable[[CallRecord], None] | None = None,
        timeouts: Timeouts | None = None,
        transport: Transport | None = None,
        max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
        loop_time: LoopTime | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self.clock = clock
        self.hosts = HostRules(allowed_hosts, allow_http=allow_http)
        self.download_hosts = HostRules((*download_hosts, *local_entries(allowed_hosts)), allow_http=allow_http)
        self.loop_time = loop_time or LoopTime()
        self.transport = transport or Transport(clock, timeouts or Timeouts(), observe, self.loop_time, proxies)
        self.limiter = Limiter(clock)
        self.requests = FairSemaphore(max_concurrent_requests)
        self.tokens = Tokens(self.transport, self.hosts, clock)
        self._locks: WeakValueDictionary[str, FairSemaphore] = WeakValueDictionary()

    def lock(self, name: str) -> FairSemaphore:
        """The lock of that name. It exists as long as it is in use."""
        if (lock := self._locks.get(name)) is None:
            lock = self._locks[name] = FairSemaphore(1)
        return lock

    async def aclose(self) -> None:
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
