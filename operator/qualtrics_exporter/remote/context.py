"""What all sessions of one process share: connections, tokens, rate limits, queues and the allowed hosts."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar, cast
from weakref import WeakValueDictionary

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import FairSemaphore
from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS, HostRules, local_entries
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.proxies import Proxies
from qualtrics_exporter.remote.rate_limits import Limiter
from qualtrics_exporter.remote.tokens import Tokens
from qualtrics_exporter.remote.transport import CallRecord, Timeouts, Transport
from qualtrics_exporter.remote.waits import Waits

T = TypeVar("T")

MAX_CONCURRENT_REQUESTS = 100
MOST_IDLE = 1000
"""How many shared objects are kept although nobody uses them. Users choose their names, in Secrets and specs."""


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
        self.waits = Waits(clock)
        self.requests = FairSemaphore(max_concurrent_requests)
        self.tokens = Tokens(self.transport, self.hosts, clock)
        self._shared: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._recent: OrderedDict[str, Any] = OrderedDict()

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """The object of that name. It exists as long as it is in use, and as long as it is among the last thousand."""
        if (found := self._shared.get(name)) is None:
            found = self._shared[name] = make()
        self._recent[name] = found
        self._recent.move_to_end(name)
        if len(self._recent) > MOST_IDLE:
            self._recent.popitem(last=False)
        return cast("T", found)

    async def aclose(self) -> None:
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
