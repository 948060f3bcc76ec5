"""Which people of the audience a run surveys, by `spec.sample`: pure functions of the address and of the run.

No person is stored. A hash of the address and of the exporter's namespace and name gives each person a number, which
stays the same if the object is recreated. With `groups: 4`, the slot with number k surveys the people whose number is k
modulo 4. So the next turn of a person is always four slots later, even if slots in between were missed, and a run that
starts again surveys the same people.

A request, a late run, a wrong clock, or a change of the schedule or of `sample` could bring a turn forward. Therefore
the status records which groups were surveyed and when, as numbers. The number of a person shows whether they were in
such a group. A send without groups counts for everybody. One rule covers all cases: a person who was in a send is left
out until `groups` minus a half intervals have passed since that send. The time counts from the send, not from the slot.
A send in the future counts as recent, because its real time is unknown.

Half an interval is the tolerance: a run sends some time after its slot, and clocks change. Without it, a punctual slot
after a late one would survey nobody.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from math import gcd
from typing import Self

from qualtrics_exporter.export.addresses import identity, plain_identities
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import SAMPLED_GROUPS, ActiveRun, HistoryEntry, SampledGroup, timestamp
from qualtrics_exporter.schedule import Schedule, numbered_slot, slot_number


@dataclass(frozen=True, slots=True)
class Group:
    """One of several groups, without the people who were surveyed in this cycle.

    `known` has the sends of the past. People who were in one of them are left out until `wait` has passed since then.
    """

    exporter: str
    group: SampledGroup
    known: tuple[SampledGroup, ...]
    wait: timedelta
    now: datetime
    surveyed: tuple[SampledGroup, ...] = ()
    """Those of `known` that leave out people of this group now."""

    def includes(self, identity: str) -> bool:
        """Whether the person is in the group, and was not surveyed in this cycle. `identity`: `addresses.identity`."""
        number = person_number(self.exporter, identity)
        return _has(self.group, number) and not any(_has(group, number) for group in self.surveyed)

    @property
    def waiting(self) -> str | None:
        """When the newest send was that leaves out people, and when everybody can be surveyed again."""
        if not self.surveyed:
            return None
        last = max(map(_sent_at, self.surveyed))
        future = " That is in the future: a clock is or was wrong." if last > self.now else ""
        return (
            f"The last survey of people of this group was sent at {timestamp(last)} (UTC).{future} "
            f"They can all be surveyed again from {timestamp(last + self.wait)} (UTC) on."
        )

    def at(self, now: datetime) -> Self:
        """The same group, without the people who were surveyed in the cycle that ends now.

        A run that is resumed can be much later than its start.
        """
        surveyed = (known for known in self.known if now - _sent_at(known) < self.wait)
        return replace(self, now=now, surveyed=tuple(known for known in surveyed if _overlap(known, self.group)))


@dataclass(frozen=True, slots=True)
class Part:
    """A random part, a different one in each run."""

    exporter: str
    percent: int
    run_id: str
    group: None = None
    waiting: None = None

    def includes(self, identity: str) -> bool:
        """Whether the person is chosen. This does not depend on other people."""
        return person_number(f"{self.exporter} {self.run_id}", identity) % 10_000 < self.percent * 100

    def at(self, now: datetime) -> Self:
        """The same part: it does not depend on the time."""
        return self


_SOME = 500
"""The number of people who are looked at in one piece of work, if their addresses are plain."""

Sample = Group | Part
"""A part of the audience."""


def sample_of(
    spec: Spec, exporter: str, schedule: Schedule, run: ActiveRun, surveyed: Iterable[SampledGroup] = ()
) -> Sample | None:
    """The people of the audience that a run surveys; None for everybody. `exporter` is its namespace/name.

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
    wait = schedule.interval() * groups - schedule.interval() / 2
    return Group(exporter, group, tuple(surveyed), wait, run.start_time).at(run.start_time)


def person_number(exporter: str, identity: str) -> int:
    """The number of a person, of 64 bits: the same in each run, and independent between exporters."""
    whole = f"{len(exporter)}:{exporter}{identity}".encode()
    return int.from_bytes(hashlib.sha256(whole).digest()[:8])


async def draw(sample: Sample, audience: Recipients, pause: Callable[[], Awaitable[None]]) -> Recipients:
    """The people of the audience that a run surveys. Empties the audience, because both would take too much memory."""
    audience.freeze()
    people = audience.sampling()
    rest = audience.hand_over()
    while addresses := list(islice(rest, _SOME)):
        for address, known in zip(addresses, plain_identities(addresses), strict=True):
            if sample.includes(known or identity(address) or ""):
                people.choose(address)
            else:
                people.leave_out()
            if not known:
                await pause()
        await pause()
    return people


def with_group(surveyed: Sequence[SampledGroup] | None, group: SampledGroup) -> list[SampledGroup]:
    """The surveyed groups with one more."""
    others = [known for known in surveyed or () if known.run_id != group.run_id]
    return [group, *others][:SAMPLED_GROUPS]


def with_send(
    surveyed: Sequence[SampledGroup] | None, run: ActiveRun | None, entry: HistoryEntry
) -> list[SampledGroup] | None:
    """The surveyed groups after a run, with the group that it mailed, or may have mailed.

    A refused send has a time as well, but mailed nobody.
    """
    if (sent := _mailed(entry)) is None or entry.send_time is None:
        return None if surveyed is None else list(surveyed)
    if run and run.sampled_group:
        sent = run.sampled_group.model_copy(update={"send_time": entry.send_time})
    if entry.result == "Succeeded":
        # Every later decision about these people follows from this send alone.
        surveyed = [known for known in surveyed or () if _sent_at(known) > entry.send_time or not _within(known, sent)]
    return with_group(surveyed, sent)


def _within(group: SampledGroup, other: SampledGroup) -> bool:
    """Whether everybody in a group is in the other one too."""
    return group.groups % other.groups == 0 and (group.group - other.group) % other.groups == 0


def everybody(run_id: str, slot_time: datetime) -> SampledGroup:
    """The one group that has everybody: of a run without `groups`. A random part counts as everybody, too."""
    return SampledGroup(run_id=run_id, groups=1, group=1, slot_time=slot_time)


def surveyed_groups(
    surveyed: Iterable[SampledGroup] | None, history: Iterable[HistoryEntry] | None
) -> list[SampledGroup]:
    """The groups that were mailed, or may have been. A person can report that nothing was sent to a group.

    A run that was sent and has no group in the list counts as everybody: an earlier version did not record it, or an
    older CRD dropped the list. Such a CRD also drops the time of the send, which the entry still has.
    """
    entries, groups = list(history or ()), list(surveyed or ())
    not_sent = {entry.id for entry in entries if (entry.result, entry.reason) == ("Failed", Reason.SETTLED_AS_NOT_SENT)}
    recorded = {group.run_id for group in groups}
    missing = [group for entry in entries if entry.id not in recorded and (group := _mailed(entry))]
    times = {entry.id: entry.send_time for entry in entries}
    timed = [group.model_copy(update={"send_time": group.send_time or times.get(group.run_id)}) for group in groups]
    return [*(group for group in timed if group.run_id not in not_sent), *missing]


def _mailed(entry: HistoryEntry) -> SampledGroup | None:
    """Everybody, if the run mailed people, or may have."""
    if entry.trigger == "Test" or entry.send_time is None or entry.result not in ("Succeeded", "Unknown"):
        return None
    group = everybody(entry.id, entry.scheduled_time or entry.start_time or entry.send_time)
    return group.model_copy(update={"send_time": entry.send_time})


def _sent_at(group: SampledGroup) -> datetime:
    return group.send_time or group.slot_time


def _overlap(one: SampledGroup, other: SampledGroup) -> bool:
    """Whether somebody can be in both groups."""
    return (one.group - other.group) % gcd(one.groups, other.groups) == 0


def _has(group: SampledGroup, number: int) -> bool:
    return number % group.groups == group.group - 1
