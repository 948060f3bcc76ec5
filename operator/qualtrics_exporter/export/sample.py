"""Who of the audience is surveyed in a run, by `spec.sample`: pure functions of the address and of the run.

Nobody is stored. A hash of the address and of the exporter's namespace and name gives each person a number, which stays
the same if the object is recreated. With `groups: 4`, the slot with number k surveys the people whose number is k
modulo 4. So the next turn of a person is always four slots later, whatever happened to the slots between: they may have
been missed, and a run that starts again surveys the same people.

Two things could bring a turn forward: a request, and a change of the schedule or of `groups`. Therefore the status
keeps which groups were surveyed, as numbers. From the number of a person follows whether they were in such a group, and
then they are left out until the cycle is over.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import SAMPLED_GROUPS, ActiveRun, HistoryEntry, SampledGroup
from qualtrics_exporter.schedule import Schedule, numbered_slot, slot_number

from .addresses import identity
from .recipients import Recipients


class Sample(Protocol):
    """A part of the audience."""

    def includes(self, identity: str) -> bool:
        """Whether the person with this address is in it. It takes what `addresses.identity` returns."""
        ...

    @property
    def group(self) -> SampledGroup | None:
        """The group, if it is one."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """One of several groups, without the people who were surveyed in this cycle."""

    exporter: str
    group: SampledGroup
    surveyed: tuple[SampledGroup, ...] = ()

    def includes(self, identity: str) -> bool:
        """Whether the person is in the group, and was not surveyed in this cycle."""
        number = person_number(self.exporter, identity)
        return _has(self.group, number) and not any(_has(group, number) for group in self.surveyed)


@dataclass(frozen=True, slots=True)
class Part:
    """A random part, another one in each run."""

    exporter: str
    percent: int
    run_id: str
    group: None = None

    def includes(self, identity: str) -> bool:
        """Whether the person is chosen. It does not depend on who else there is."""
        return person_number(f"{self.exporter} {self.run_id}", identity) % 10_000 < self.percent * 100


def sample_of(
    spec: Spec, exporter: str, schedule: Schedule, run: ActiveRun, surveyed: Iterable[SampledGroup] = ()
) -> Sample | None:
    """Whom of the audience a run surveys; None for everybody. `exporter` is its namespace/name.

    A requested run surveys the group of the newest slot that was due when it started.
    """
    if spec.sample is None or run.trigger == "Test":
        return None
    if spec.sample.percent is not None:
        return Part(exporter, spec.sample.percent, run.id)
    groups = spec.sample.groups or 1
    number = slot_number(schedule, run.scheduled_time or run.start_time)
    slot = numbered_slot(schedule, number)
    group = SampledGroup(run_id=run.id, groups=groups, group=number % groups + 1, slot_time=slot.due)
    turn_before = numbered_slot(schedule, number - groups).due
    return Group(exporter, group, _in_cycle(surveyed, turn_before, slot.due))


def person_number(exporter: str, identity: str) -> int:
    """The number of a person, of 64 bits: the same in each run, and independent between exporters."""
    whole = f"{len(exporter)}:{exporter}{identity}".encode()
    return int.from_bytes(hashlib.sha256(whole).digest()[:8])


async def draw(sample: Sample, audience: Recipients, pause: Callable[[], Awaitable[None]]) -> Recipients:
    """The people of the audience whom a run surveys. The audience is handed over: both would take too much memory."""
    audience.freeze()
    people = audience.sampling()
    for address in audience.hand_over():
        if sample.includes(identity(address) or ""):
            people.choose(address)
        else:
            people.leave_out()
        await pause()
    return people


def with_group(surveyed: Sequence[SampledGroup] | None, group: SampledGroup) -> list[SampledGroup]:
    """The surveyed groups with one more."""
    others = [known for known in surveyed or () if known.run_id != group.run_id]
    return [group, *others][:SAMPLED_GROUPS]


def surveyed_groups(
    surveyed: Iterable[SampledGroup] | None, history: Iterable[HistoryEntry] | None
) -> list[SampledGroup]:
    """Those groups of which it is not known that nothing was sent: a person who looked may have reported that."""
    not_sent = {
        entry.id for entry in history or () if (entry.result, entry.reason) == ("Failed", Reason.SETTLED_AS_NOT_SENT)
    }
    return [group for group in surveyed or () if group.run_id not in not_sent]


def _in_cycle(surveyed: Iterable[SampledGroup], after: datetime, now: datetime) -> tuple[SampledGroup, ...]:
    # A clock that was ahead may have written later times: those of more than a cycle ahead say nothing.
    return tuple(group for group in surveyed if after < group.slot_time < now + (now - after))


def _has(group: SampledGroup, number: int) -> bool:
    return number % group.groups == group.group - 1
