"""How often which fault strikes, and when none may strike any more.

Each world enables some classes of faults and leaves others out, because rare combinations need quiet surroundings to
get anywhere ("swarm testing"). Every class can also be disabled from the command line, which helps to shrink a seed.
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
"""What a tenant does to the others. Drawn apart, so that the other draws of a seed stay as they are."""

ODD = ("odd-status", "odd-spec", "odd-metadata", "remote-mixup", "remote-endless")
"""Objects that cannot be, and remote sides that mislead. Drawn apart too."""


@dataclass
class Faults:
    """The decisions about single calls. What happens at a planned time is in `plan`."""

    enabled: frozenset[str]
    api: Random
    remote: Random
    rate: float = 0.01
    """How likely a fault strikes one call."""
    over: bool = False
    """True in the drain phase: everything works."""
    outages: dict[str, float] = field(default_factory=dict)
    """Replicas, or `*`, that the API server does not answer, and until when."""
    forbidden: dict[str, float] = field(default_factory=dict)
    """Namespaces in which status must not be written, and until when."""
    conflicts: dict[str, float] = field(default_factory=dict)
    """Namespaces in which every write of a status meets a conflict, and until when."""
    unreadable: dict[tuple[str, str], float] = field(default_factory=dict)
    """Secrets that cannot be read, and until when."""
    hanging: dict[str, float] = field(default_factory=dict)
    """Hosts that accept requests and give no usable answer, and until when."""
    manner: dict[str, str] = field(default_factory=dict)
    """What those hosts do: they `hang` and never answer, `flood` with a reply without end, `lie` in the wrong form, or
    mislead in the right one (`mixup`, `endless`)."""

    def strikes(self, name: str, random: Random, factor: float = 1.0) -> bool:
        """Whether a fault of this class strikes this call."""
        return not self.over and name in self.enabled and random.random() < self.rate * factor

    def end(self) -> None:
        """From now on everything works."""
        self.over = True
        for windows in (self.outages, self.forbidden, self.conflicts, self.unreadable, self.hanging):
            windows.clear()
