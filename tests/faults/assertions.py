"""Judges a scenario by what Nexthink and Qualtrics recorded, and by what users can read in the end.

What the operator says about its own work is not evidence. The recorder of the sandbox has what was sent. The objects of
the API server have what was reported. The fault proxy in front of the API server has when it was reported.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qualtrics_exporter.sandbox.recorder import Recorder, SentDistribution


class ViolationKind(StrEnum):
    """A promise that can be broken. The value is its column in the table."""

    UNJOURNALED_SEND = "unwritten sends"
    """Qualtrics was asked for a send that the journal did not name at that moment."""
    WRONG_MAIL = "wrong mails"
    """A person got a mail whom the query did not return, or from an exporter that must not send any more."""
    UNTRUE_ENTRY = "untrue entries"
    """The entry differs from what happened."""
    DOUBLE_SEND = "double sends"
    SILENT_SLOT = "silent slots"
    LEAK = "leaks"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, with a description for the person who fixes it."""

    kind: ViolationKind
    description: str


@dataclass(frozen=True, slots=True)
class JournalWrite:
    """A status that the API server accepted: from `at` on, by the monotonic clock, the journal had `run`."""

    at: float
    run: Mapping[str, Any] | None


def slot_violations(
    recorder: Recorder,
    sent: Sequence[SentDistribution],
    entry: Mapping[str, Any] | None,
    people: Collection[str],
    *,
    may_send: bool = True,
    expects_entry: bool = True,
) -> list[Violation]:
    """The violations of one slot.

    `sent` has all its distributions, `entry` is its result, and `people` are those that the query returned.
    `may_send` is False if the exporter was suspended, deleted or edited before its send. `expects_entry` is False if no
    entry is possible, because the object is gone.
    """
    violations = [*_mail_violations(recorder, sent, people, may_send)]
    if entry is None:
        silent = Violation(ViolationKind.SILENT_SLOT, "no entry reports how it ended")
        return [*violations, silent] if expects_entry else violations
    return [*violations, *_entry_violations(entry, sent)]


def unjournaled_sends(sent: Iterable[SentDistribution], writes: Sequence[JournalWrite]) -> list[Violation]:
    """The sends whose batch the journal did not name as `Sending` when Qualtrics was asked for them."""
    violations = []
    for one in sent:
        before = [write.run for write in writes if write.at <= one.asked]
        run = before[-1] if before else None
        if not run or (run.get("step"), run.get("batchId")) != ("Sending", one.batch_id):
            journal = f"{run.get('step')} {run.get('batchId')}" if run else "no run"
            description = f"{one.batch_id} was sent while the journal had {journal}"
            violations.append(Violation(ViolationKind.UNJOURNALED_SEND, description))
    return violations


def leaks(places: Mapping[str, str], secrets: Mapping[str, Collection[str]]) -> list[Violation]:
    """Each kind of secret that is in the text of a place. `secrets` has lists of them, by kind."""
    violations = []
    for place, text in places.items():
        lower = text.lower()
        for kind, values in secrets.items():
            if any(value.lower() in lower for value in values):
                violations.append(Violation(ViolationKind.LEAK, f"{kind} in {place}"))
    return violations


def _mail_violations(
    recorder: Recorder, sent: Sequence[SentDistribution], people: Collection[str], may_send: bool
) -> Iterable[Violation]:
    if len(sent) > 1:
        ids = ", ".join(one.id for one in sent)
        yield Violation(ViolationKind.DOUBLE_SEND, f"{len(sent)} distributions: {ids}")
    for one in sent:
        if repeated := recorder.batches[one.batch_id or ""].repeated():
            description = f"{len(repeated)} people are twice in {one.batch_id}, which was sent"
            yield Violation(ViolationKind.DOUBLE_SEND, description)
    mailed = Counter(address.lower() for one in sent for address in (*one.recipients, *one.blocked, *one.failed))
    if unexpected := set(mailed) - {person.lower() for person in people}:
        description = f"{len(unexpected)} people got a mail, but the query did not return them"
        yield Violation(ViolationKind.WRONG_MAIL, description)
    if sent and not may_send:
        yield Violation(ViolationKind.WRONG_MAIL, "it was sent although its user had stopped or edited it before")


def _entry_violations(entry: Mapping[str, Any], sent: Sequence[SentDistribution]) -> Iterable[Violation]:
    result, reason = entry["result"], entry["reason"]
    reported = f"{result} ({reason})"
    if result == "Succeeded" and reason != "NoRecipients":
        if entry.get("distributionId") not in [one.id for one in sent]:
            description = f"{reported}, and Qualtrics has no such distribution"
            yield Violation(ViolationKind.UNTRUE_ENTRY, description)
    elif result != "Unknown" and sent:
        yield Violation(ViolationKind.UNTRUE_ENTRY, f"{reported}, and Qualtrics has {len(sent)} distributions")
