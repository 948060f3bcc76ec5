"""What tools do to an object that this version of the operator would never do, and which host misleads."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from .damage import damaged, odd_metadata, odd_spec
from .tenants import files_host
from .world import Event

if TYPE_CHECKING:
    from .simulation import Simulation


class OddActors:
    """Plays the events of `odd_events`. `place` tells the namespace of an exporter, `later` plans another event."""

    def __init__(
        self, simulation: "Simulation", place: Callable[[str], str], later: Callable[[float, Event], None]
    ) -> None:
        self._simulation = simulation
        self._place = place
        self._later = later
        self.good: dict[str, dict[str, Any]] = {}
        """The spec of each exporter whose spec is invalid at present, as its user wrote it."""

    def damage_status(self, name: str, how: str, draw: int) -> None:
        """A tool with the rights to it writes a status that cannot be."""
        if (body := self._body(name)) is None:
            return
        status, what = damaged(body.get("status"), how, Random(f"damage {draw}"))
        self._simulation.trace("  ", what)
        new = {key: value for key, value in body.items() if key != "status"}
        if status is not None:
            new["status"] = status
        self._simulation.oracle.damages.damaged(body, new, surely_lost=how in ("parts", "wiped"))
        self._put(body, new)

    def damage_spec(self, name: str, number: int, seconds: float) -> None:
        """The CRD of another version let in a spec that cannot be used."""
        if (body := self._body(name)) is None or name in self.good:
            return
        self.good[name] = body["spec"]
        self._put(body, {**body, "spec": odd_spec(body["spec"], number)})
        self._later(seconds, Event(0.0, "correct_spec", name, {}))

    def correct_spec(self, name: str) -> None:
        """The user sees the condition and writes a valid spec again."""
        spec = self.good.pop(name, None)
        if spec is not None and (body := self._body(name)) is not None:
            self._put(body, {**body, "spec": spec})

    def damage_metadata(self, name: str, draw: int) -> None:
        """A tool writes metadata that mean nothing to the operator."""
        if (body := self._body(name)) is not None:
            self._put(body, {**body, "metadata": {**body["metadata"], **odd_metadata(Random(f"metadata {draw}"))}})

    def finalize(self, name: str, seconds: float) -> None:
        """Somebody deletes the exporter, and a finalizer keeps it for a while."""
        if (body := self._body(name)) is not None and not body["metadata"].get("deletionTimestamp"):
            when = {"deletionTimestamp": body["metadata"]["creationTimestamp"], "finalizers": ["example.com/keep"]}
            self._put(body, {**body, "metadata": {**body["metadata"], **when}})
            self._later(seconds, Event(0.0, "recreate", name, {"after": 0.0}))

    def mislead(self, host: str, seconds: float, manner: str) -> None:
        """A remote side misleads, and so does the store of its files."""
        for one in (host, files_host(host)):
            self._simulation.faults.manner[one] = manner
            self._simulation.faults.hanging[one] = self._simulation.now + seconds
        self._simulation.oracle.disturb(seconds + 1800.0, host)

    def deleting(self, name: str) -> bool:
        """Whether only a finalizer keeps the exporter."""
        body = self._body(name)
        return body is not None and bool(body["metadata"].get("deletionTimestamp"))

    def _body(self, name: str) -> dict[str, Any] | None:
        return self._simulation.server.exporters.get((self._place(name), name))

    def _put(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Write any part of an object, past the rules of the API server, as a CRD of another version allows it."""
        server = self._simulation.server
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": server.next_version()}}
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        server.exporters[old["metadata"]["namespace"], old["metadata"]["name"]] = new
        server._tell("MODIFIED", new, old)


KINDS = frozenset({"damage_status", "damage_spec", "correct_spec", "damage_metadata", "finalize", "mislead"})
