"""The outbox: every distribution and its recipients, for its page and as JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from qualtrics_exporter.sandbox.recorder import Recorder, SentDistribution

PER_PAGE = 20
"""How many distributions a page of the outbox has."""
FEW_ADDRESSES = 12
"""How many addresses of a list the outbox shows."""
MAX_ADDRESSES = 200
"""How many addresses of a list the page of a distribution shows. The search and the JSON have all of them."""
MAX_FOUND = 20
"""How many addresses a search shows."""

LISTS = {
    "recipients": ("Mailed", "Qualtrics sent the mail."),
    "bounced": ("Bounced", "The mail was sent and came back."),
    "blocked": ("Blocked", "No mail: they got the same survey, message and subject a short time before."),
    "skipped": ("Skipped", "No mail: they opted out."),
    "failed": (
        "Failed",
        "No mail: the survey is not active, or the message or the domain of the sender is unknown.",
    ),
}
"""The lists of a distribution, with their names and meanings."""


@dataclass(frozen=True)
class Person:
    """An address in a list. `mails`: how many mails it got in the same run; `times`: how often it is in the list."""

    address: str
    times: int
    mails: int


@dataclass(frozen=True)
class AddressList:
    """A list of a distribution, with its first addresses."""

    name: str
    meaning: str
    number: int
    people: list[Person]
    more: int


@dataclass(frozen=True)
class Entry:
    """A distribution as the pages show it."""

    sent: SentDistribution
    lists: list[AddressList]
    twice: dict[str, int]
    """The people who got more than one mail in the run of this distribution, with their number of mails."""
    same_run: list[str]
    """The ids of the other distributions of the same run that mailed these people."""

    @property
    def due(self) -> datetime:
        """When the mails are sent."""
        return max(self.sent.created, self.sent.send_date)

    @property
    def header(self) -> Mapping[str, str]:
        header: Mapping[str, str] = self.sent.request["header"]
        return header


@dataclass(frozen=True)
class Found:
    """An address that a search found: the distributions that have it, each with the names of its lists."""

    address: str
    mails: int
    where: list[tuple[SentDistribution, list[str]]]


class Outbox:
    """What the pages show of the record. It counts the people of a distribution once, when its mails are sent."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._repeated: dict[str, dict[str, int]] = {}

    def page(self, recorder: Recorder, number: int) -> list[Entry]:
        """One page of the distributions, the newest first. The first page has the number 1."""
        newest_first = recorder.distributions[::-1]
        wanted = newest_first[(number - 1) * PER_PAGE : number * PER_PAGE]
        return [self.entry(recorder, sent, FEW_ADDRESSES) for sent in wanted]

    def entry(self, recorder: Recorder, sent: SentDistribution, limit: int = MAX_ADDRESSES) -> Entry:
        """A distribution, with the first addresses of each list."""
        run = [
            other
            for other in recorder.distributions
            if other is sent or not set(sent.run_ids).isdisjoint(other.run_ids)
        ]
        twice = {address: mails for address, mails in self._twice(run).items() if address in self._count(sent)}
        lists = [
            _first(name, meaning, addresses, twice if field == "recipients" else {}, limit)
            for field, (name, meaning) in LISTS.items()
            if (addresses := getattr(sent, field)) or field == "recipients"
        ]
        others = [
            other.id for other in run if other is not sent and not twice.keys().isdisjoint(self._count(other).keys())
        ]
        return Entry(sent, lists, twice, others)

    def mailed_twice(self, recorder: Recorder) -> int:
        """How many people got more than one mail in the same run."""
        runs: dict[str, list[SentDistribution]] = {}
        for sent in recorder.distributions:
            for run in sent.run_ids or [sent.id]:
                runs.setdefault(run, []).append(sent)
        return len({address for run in runs.values() for address in self._twice(run)})

    def _twice(self, run: list[SentDistribution]) -> dict[str, int]:
        """The people who got more than one mail from these distributions, with their number of mails."""
        if len(run) == 1:
            self._count(run[0])
            return self._repeated.get(run[0].id, {})
        mails: Counter[str] = Counter()
        for sent in run:
            mails.update(self._count(sent))
        return {address: number for address, number in mails.items() if number > 1}

    def _count(self, sent: SentDistribution) -> Counter[str]:
        """How many mails each address got, in lower case."""
        if not sent.mailed:
            return Counter()
        if sent.id not in self._counts:
            counted = self._counts[sent.id] = Counter(map(str.lower, sent.recipients))
            self._repeated[sent.id] = {address: number for address, number in counted.items() if number > 1}
        return self._counts[sent.id]


def _first(name: str, meaning: str, addresses: list[str], twice: Mapping[str, int], limit: int) -> AddressList:
    """The first addresses of a list. Those that got more than one mail come first, each of them once."""
    people: list[Person] = []
    if twice:
        times = Counter(map(str.lower, addresses))
        spellings = {address.lower(): address for address in reversed(addresses)}
        people = [Person(spellings[address], times[address], mails) for address, mails in twice.items()][:limit]
    for address in addresses:
        if len(people) == limit:
            break
        if address.lower() not in twice:
            people.append(Person(address, 1, 1))
    return AddressList(name, meaning, len(addresses), people, len(addresses) - sum(person.times for person in people))


def search(recorder: Recorder, text: str) -> list[Found]:
    """The addresses that contain the text, in the order of the alphabet. One that equals the text is the only one."""
    wanted = text.strip().lower()
    found: dict[str, dict[str, list[str]]] = {}
    for sent in recorder.distributions:
        for field, (name, _) in LISTS.items():
            for address in getattr(sent, field):
                if wanted in address.lower():
                    found.setdefault(address.lower(), {}).setdefault(sent.id, []).append(name)
    by_id = {sent.id: sent for sent in recorder.distributions}
    addresses = [wanted] if wanted in found else sorted(found)
    return [
        Found(
            address,
            sum(names.count("Mailed") for names in found[address].values()),
            [(by_id[id_], _with_numbers(names)) for id_, names in reversed(found[address].items())],
        )
        for address in addresses[: MAX_FOUND + 1]
    ]


def _with_numbers(names: Iterable[str]) -> list[str]:
    return [name if number == 1 else f"{name} {number} times" for name, number in Counter(names).items()]


def batches_with(recorder: Recorder, text: str) -> list[str]:
    """The ids of the batches that have this address and were not sent."""
    sent = {distribution.batch_id for distribution in recorder.distributions}
    wanted = text.strip().lower()
    return [
        batch.id
        for batch in recorder.batches.values()
        if batch.id not in sent and any(address.lower() == wanted for address in batch.addresses)
    ]


def as_json(sent: SentDistribution) -> dict[str, Any]:
    """A distribution, with all of its record."""
    document = asdict(sent)
    times = {name: getattr(sent, name).isoformat() for name in ("created", "send_date")}
    return {**document, **times, "stats": sent.stats}


def record_json(recorder: Recorder) -> dict[str, Any]:
    """The whole record."""
    return {
        "calls": [{**asdict(call), "at": call.at.isoformat()} for call in recorder.calls],
        "batches": [
            {**asdict(batch), "created": batch.created.isoformat(), "repeated": batch.repeated()}
            for batch in recorder.batches.values()
        ],
        "distributions": [as_json(sent) for sent in recorder.distributions],
        "mails": dict(recorder.mails()),
        "errors": recorder.errors,
    }
