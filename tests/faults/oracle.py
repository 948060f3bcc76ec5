"""What is believed of a scenario: what the remote side recorded, and what a user can read in the end. Nothing else.

The operator's own account is never evidence: what it sent stands in the sandbox's ledger, what it told stands in the
objects of the API server, and when it told it stands in what passed the gate in front of the API server.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qualtrics_exporter.sandbox.recorder import Recorder, SentDistribution


class Finding(StrEnum):
    """A promise that was broken; the value is its column in the table."""

    UNWRITTEN = "unwritten sends"
    """Qualtrics was asked to send what the journal did not name at that moment."""
    WRONG_MAIL = "wrong mails"
    """Somebody was mailed whom the query did not return, or for an exporter that was not to send any more."""
    UNTRUE = "untrue entries"
    """The entry says something else than what happened."""
    DOUBLE = "double sends"
    SILENT = "silent slots"
    LEAK = "leaks"


@dataclass(frozen=True, slots=True)
class Found:
    """One finding, in words for whoever repairs it."""

    kind: Finding
    what: str


@dataclass(frozen=True, slots=True)
class Written:
    """A status that the API server took: from `at` on, by the clock that nobody sets, the journal said `run`."""

    at: float
    run: Mapping[str, Any] | None


def judged(
    ledger: Recorder,
    sent: Sequence[SentDistribution],
    entry: Mapping[str, Any] | None,
    people: Collection[str],
    *,
    may_send: bool = True,
    told: bool = True,
) -> list[Found]:
    """What is wrong with one slot: `sent` is all that went out for it, `entry` how it ended, `people` the result.

    `may_send` is False where the exporter was suspended, deleted or edited before its send; `told` is False where no
    entry can be, because its object is gone.
    """
    found = [*_mails(ledger, sent, people, may_send)]
    if entry is None:
        return [*found, Found(Finding.SILENT, "no entry tells how it ended")] if told else found
    return [*found, *_entry(entry, sent)]


def unwritten(sent: Iterable[SentDistribution], written: Sequence[Written]) -> list[Found]:
    """The sends whose batch the journal did not name as `Sending` when Qualtrics was asked for them."""
    found = []
    for one in sent:
        before = [w.run for w in written if w.at <= one.asked]
        run = before[-1] if before else None
        if not run or (run.get("step"), run.get("batchId")) != ("Sending", one.batch_id):
            stood = f"{run.get('step')} {run.get('batchId')}" if run else "no run"
            found.append(Found(Finding.UNWRITTEN, f"{one.batch_id} was sent while the journal said {stood}"))
    return found


def leaks(places: Mapping[str, str], needles: Mapping[str, Collection[str]]) -> list[Found]:
    """Where something that must stay inside stands in a text; `needles` are lists by what they are."""
    found = []
    for place, text in places.items():
        lower = text.lower()
        for kind, words in needles.items():
            if any(word.lower() in lower for word in words):
                found.append(Found(Finding.LEAK, f"{kind} in {place}"))
    return found


def _mails(
    ledger: Recorder, sent: Sequence[SentDistribution], people: Collection[str], may_send: bool
) -> Iterable[Found]:
    if len(sent) > 1:
        yield Found(Finding.DOUBLE, f"{len(sent)} distributions: {', '.join(one.id for one in sent)}")
    for one in sent:
        if repeated := ledger.batches[one.batch_id or ""].repeated():
            yield Found(Finding.DOUBLE, f"{len(repeated)} people stand twice in {one.batch_id}, which was sent")
    mailed = Counter(address.lower() for one in sent for address in (*one.recipients, *one.blocked, *one.failed))
    if strangers := set(mailed) - {person.lower() for person in people}:
        yield Found(Finding.WRONG_MAIL, f"{len(strangers)} people were mailed whom the query did not return")
    if sent and not may_send:
        yield Found(Finding.WRONG_MAIL, "it was sent although its user had stopped or changed it before")


def _entry(entry: Mapping[str, Any], sent: Sequence[SentDistribution]) -> Iterable[Found]:
    result, reason = entry["result"], entry["reason"]
    told = f"{result} ({reason})"
    if result == "Succeeded" and reason != "NoRecipients":
        if entry.get("distributionId") not in [one.id for one in sent]:
            yield Found(Finding.UNTRUE, f"{told}, and no such distribution was taken")
    elif result != "Unknown" and sent:
        yield Found(Finding.UNTRUE, f"{told}, and {len(sent)} distributions were taken")
