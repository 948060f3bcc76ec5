"""The classes of faults, and the decision for each call whether a fault occurs.

Each world enables only some classes, because other faults would prevent rare combinations ("swarm testing"). Options
of the command disable further classes, to shrink a seed. The names of the classes are part of the seeds.
"""

from dataclasses import dataclass, field
from random import Random

CLASSES = (
    "api-slow",
    "api-lost",
    "api-outage",
    "api-forbidden",
    "api-conflict",
    "watch-lag",
    "watch-gap",
    "watch-replay",
    "remote-lost",
    "remote-error",
    "remote-limited",
    "remote-slow",
    "remote-hang",
    "list-lag",
    "batch-echo",
    "slow-import",
    "rush",
    "crash",
    "pause",
    "clock",
    "zone",
    "edit",
    "flip",
    "suspend",
    "delete",
    "recreate",
    "restore",
    "token",
    "test",
    "settle",
    "relabel",
    "restart",
    "secret",
    "people",
    "drift",
)

OF_TENANTS = ("remote-flood", "remote-lie", "namespace")
"""Faults that a tenant causes for the others. Drawn separately, so that the other draws of a seed stay the same."""

INVALID_INPUT = ("odd-status", "odd-spec", "odd-metadata", "remote-mixup", "remote-endless")
"""Invalid objects, and misleading replies of Nexthink and Qualtrics. Drawn separately too."""


@dataclass
class Faults:
    """The decisions about single calls. `plan` has the faults at planned times."""

    enabled: frozenset[str]
    api: Random
    remote: Random
    rate: float = 0.01
    """The probability of a fault at one call."""
    over: bool = False
    """True in the last phase of a world, in which everything works."""
    outages: dict[str, float] = field(default_factory=dict)
    """Zones, or `*`, to which the API server does not reply, and until when."""
    forbidden: dict[str, float] = field(default_factory=dict)
    """Namespaces in which the operator may not write a status, and until when."""
    conflicts: dict[str, float] = field(default_factory=dict)
    """Namespaces in which every write of a status conflicts, and until when."""
    unreadable: dict[tuple[str, str], float] = field(default_factory=dict)
    """Secrets that cannot be read, and until when."""
    hanging: dict[str, float] = field(default_factory=dict)
    """Hosts that accept requests and give no usable reply, and until when."""
    manner: dict[str, str] = field(default_factory=dict)
    """What those hosts do: they `hang` and never reply, `flood` with endless replies, `lie` with values of wrong types,
    or mislead with correct types (`mixup`, `endless`)."""

    def strikes(self, name: str, random: Random, factor: float = 1.0) -> bool:
        """Whether a fault of this class occurs at this call."""
        return not self.over and name in self.enabled and random.random() < self.rate * factor

    def end(self) -> None:
        """From now on everything works."""
        self.over = True
        for windows in (self.outages, self.forbidden, self.conflicts, self.unreadable, self.hanging):
            windows.clear()
