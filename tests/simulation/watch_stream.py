"""The watch of a replica, with delays, gaps and replays."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .api_server import ApiServer, Body, matches
from .faults import Faults
from .loop import VirtualLoop


@dataclass
class WatchStream:
    """The watch of one replica, with delays, gaps and replays. It never delivers a deletion during a gap.

    Events of one object keep their order and are merged, as in Kopf. Events of different objects have no order. An
    object that was created again under its name is a different one.
    """

    server: ApiServer
    loop: VirtualLoop
    faults: Faults
    selector: str | None
    deliver: Callable[[str | None, Body], None]
    """Delivers one event to the replica."""
    context: Any
    """The context of the replica, in which events are delivered."""
    broken_until: float = -1.0
    open: bool = False
    pending: dict[str, tuple[str | None, Body]] = field(default_factory=dict)

    def start(self) -> None:
        """List, then watch."""
        if not self.open:
            self.server.listeners.append(self._changed)
            self.open = True
        for body in self.server.select(None, self.selector):
            self._enqueue(None, body)

    def close(self) -> None:
        """Stop: the replica has ended."""
        if self.open:
            self.server.listeners.remove(self._changed)
            self.open = False

    def break_until(self, time: float) -> None:
        """Break the stream. It delivers nothing until this time, and then begins with a list."""
        self.broken_until = time
        self.loop.outside(time - self.loop.time(), self._again)

    def _again(self) -> None:
        if self.open and self.loop.time() >= self.broken_until:
            self.start()

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        if self.loop.time() < self.broken_until:
            return
        is_in = kind != "DELETED" and matches(self.selector, body["metadata"]["labels"])
        was_in = before is not None and matches(self.selector, before["metadata"]["labels"])
        if is_in:
            self._enqueue("MODIFIED" if was_in else "ADDED", body)
        elif was_in:
            self._enqueue("DELETED", body)
        if before is not None and is_in and self.faults.strikes("watch-replay", self.faults.api):
            self.loop.outside(self.faults.api.random() * 300, self._enqueue, "MODIFIED", before)

    def _enqueue(self, kind: str | None, body: Body) -> None:
        uid = body["metadata"]["uid"]
        waiting = uid in self.pending
        self.pending[uid] = kind, body
        if waiting:
            return
        faults = self.faults
        lag = 0.01 + faults.api.random() * 0.1
        # Deletions are rare. What matters is a deletion that arrives after the next object of that name.
        if faults.strikes("watch-lag", faults.api, 30.0 if kind == "DELETED" else 5.0):
            lag = faults.api.choice((1.0, 5.0, 20.0, 90.0))
        self.loop.call_later(lag, self._deliver, uid, context=self.context)

    def _deliver(self, uid: str) -> None:
        kind, body = self.pending.pop(uid)
        self.deliver(kind, body)
