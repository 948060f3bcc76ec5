"""Plays the events of `invalid_input_events`: invalid objects, unusual metadata and misleading hosts."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from .damage import damaged, invalid_spec, meaningless_metadata
from .tenants import files_host
from .world import Event

if TYPE_CHECKING:
    from .simulation import Simulation


class InvalidInputActors:
    """Plays the events. `namespace_of` returns the namespace of an exporter, and `later` plans another event."""

    def __init__(
        self, simulation: "Simulation", namespace_of: Callable[[str], str], later: Callable[[float, Event], None]
    ) -> None:
        self._simulation = simulation
        self._namespace_of = namespace_of
        self._later = later
        self.good: dict[str, dict[str, Any]] = {}
        """The valid spec of each exporter whose spec is invalid now."""

    def damage_status(self, name: str, how: str, draw: int) -> None:
        """A tool with the permission to do so writes an invalid status."""
        if (body := self._body(name)) is None:
            return
        status, what = damaged(body.get("status"), how, Random(f"damage {draw}"))
        self._simulation.trace("  ", what)
        new = {key: value for key, value in body.items() if key != "status"}
        if status is not None:
            new["status"] = status
        self._simulation.invariants.damages.damaged(body, new, surely_lost=how in ("parts", "wiped"))
        self._put(body, new)

    def damage_spec(self, name: str, number: int, seconds: float) -> None:
        """The CRD of another version accepts an invalid spec."""
        if (body := self._body(name)) is None or name in self.good:
            return
        self.good[name] = body["spec"]
        self._put(body, {**body, "spec": invalid_spec(body["spec"], number)})
        self._later(seconds, Event(0.0, "correct_spec", name, {}))

    def correct_spec(self, name: str) -> None:
        """The user sees the condition and writes a valid spec again."""
        spec = self.good.pop(name, None)
        if spec is not None and (body := self._body(name)) is not None:
            self._put(body, {**body, "spec": spec})

    def damage_metadata(self, name: str, draw: int) -> None:
        """A tool writes metadata that mean nothing to the operator."""
        if (body := self._body(name)) is not None:
            self._put(
                body, {**body, "metadata": {**body["metadata"], **meaningless_metadata(Random(f"metadata {draw}"))}}
            )

    def finalize(self, name: str, seconds: float) -> None:
        """A user deletes the exporter, and a finalizer keeps it for a while."""
        if (body := self._body(name)) is not None and not body["metadata"].get("deletionTimestamp"):
            when = {"deletionTimestamp": body["metadata"]["creationTimestamp"], "finalizers": ["example.com/keep"]}
            self._put(body, {**body, "metadata": {**body["metadata"], **when}})
            self._later(seconds, Event(0.0, "recreate", name, {"after": 0.0}))

    def mislead(self, host: str, seconds: float, manner: str) -> None:
        """A host and the store of its files send misleading replies."""
        for one in (host, files_host(host)):
            self._simulation.faults.manner[one] = manner
            self._simulation.faults.hanging[one] = self._simulation.now + seconds
        self._simulation.invariants.disturb(seconds + 1800.0, host)

    def deleting(self, name: str) -> bool:
        """Whether the exporter is deleted, and only a finalizer keeps it."""
        body = self._body(name)
        return body is not None and bool(body["metadata"].get("deletionTimestamp"))

    def _body(self, name: str) -> dict[str, Any] | None:
        return self._simulation.server.exporters.get((self._namespace_of(name), name))

    def _put(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Write any part of an object, without the rules of the API server, like with a CRD of another version."""
        server = self._simulation.server
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": server.next_version()}}
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        server.exporters[old["metadata"]["namespace"], old["metadata"]["name"]] = new
        server._notify("MODIFIED", new, old)


KINDS = frozenset({"damage_status", "damage_spec", "correct_spec", "damage_metadata", "finalize", "mislead"})
