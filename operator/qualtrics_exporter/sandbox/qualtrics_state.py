"""What Qualtrics does with what it was told: contacts, batches, imports, mails. No HTTP in here.

Time passes only when somebody looks: `settle` finishes what is due by the clock, and every request begins with it.
"""

import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.recorder import Batch, Recorder, SentDistribution

ADDRESS = re.compile(r"[^@\s<>\"',;:]+@[^@\s<>\"',;:.]+(\.[^@\s<>\"',;:.]+)+")

FROM_DOMAINS = frozenset({"qemailserver.com", "qualtrics-survey.com", "qualtrics-research.com"})
"""Work without set-up (Qualtrics §5)."""


def new_id(prefix: str) -> str:
    """An id as the API returns them: to be taken as opaque."""
    return f"{prefix}_{uuid.uuid4().hex[:15]}"


@dataclass
class Contact:
    """A person of a mailing list; the address as it was first spelled."""

    id: str
    lookup_id: str
    address: str
    unsubscribed: bool = False


@dataclass
class Transaction:
    """One entry of a batch."""

    id: str
    contact: Contact
    list_id: str
    created: datetime
    data: dict[str, Any]


@dataclass
class ImportJob:
    """An import. `real` is whether directory, list and batch exist: if not, it completes with nothing done (D)."""

    id: str
    directory_id: str
    list_id: str
    batch_id: str
    contacts: list[dict[str, Any]]
    real: bool
    started_at: float | None = None
    polls: int = 0
    status: str = "inProgress"
    added: int = 0
    updated: int = 0
    failed: int = 0
    created: int = 0
    invalid: list[str] = field(default_factory=list)


class QualtricsState:
    """One brand's data, and its clockwork."""

    def __init__(self, account: Account, clock: Clock, recorder: Recorder) -> None:
        self._account = account
        self._clock = clock
        self._recorder = recorder
        self._numbers = count(1)
        self._contacts: dict[tuple[str, str], dict[str, Contact]] = {}
        self.batches: dict[str, list[Transaction]] = {}
        self.jobs: dict[str, ImportJob] = {}
        self._unfinished: list[ImportJob] = []
        self._distributions: dict[str, SentDistribution] = {}
        self._waiting: list[SentDistribution] = []
        self._last_mail: dict[tuple[str, str, str, str], datetime] = {}

    def contacts(self, directory_id: str, list_id: str) -> dict[str, Contact]:
        """Who is on a list, by address without case."""
        key = (directory_id, list_id)
        if key not in self._contacts:
            bystanders = self._account.mailing_lists[list_id].bystanders
            self._contacts[key] = {address.lower(): self._contact(address) for address in bystanders}
        return self._contacts[key]

    def _contact(self, address: str) -> Contact:
        number = next(self._numbers)
        return Contact(f"CID_{number:015d}", f"CGC_{number:015d}", address)

    # Batches and imports.

    def create_batch(self, directory_id: str) -> str:
        batch_id = new_id("BT")
        self.batches[batch_id] = []
        self._recorder.batches[batch_id] = Batch(batch_id, directory_id, self._clock.now())
        return batch_id

    def busy(self, list_id: str) -> bool:
        """Whether an import for this list is under way."""
        return any(job.list_id == list_id for job in self._unfinished)

    @property
    def jobs_under_way(self) -> int:
        return len(self._unfinished)

    def start_import(self, directory_id: str, list_id: str, batch_id: str, contacts: list[dict[str, Any]]) -> ImportJob:
        batch = self._recorder.batches.get(batch_id)
        in_place = batch is not None and batch.directory_id == directory_id
        real = in_place and self._account.has_list(directory_id, list_id)
        job = ImportJob(new_id("PGRS"), directory_id, list_id, batch_id, contacts, real)
        self.jobs[job.id] = job
        self._unfinished.append(job)
        self.settle()
        return job

    def settle(self) -> None:
        """Finish what is due: imports, then mails whose send date has come."""
        busy: set[tuple[str, str]] = set()
        now = self._clock.monotonic()
        for job in tuple(self._unfinished):
            place = (job.directory_id, job.list_id)
            if place in busy:
                continue
            if job.started_at is None:
                job.started_at = now
            if self._is_over(job, now - job.started_at):
                self._finish(job)
                self._unfinished.remove(job)
            else:
                busy.add(place)
        for sent in tuple(self._waiting):
            if sent.send_date <= self._clock.now():
                self._waiting.remove(sent)
                self._mail(sent)

    def _is_over(self, job: ImportJob, seconds: float) -> bool:
        """Whether an import that began so long ago is over."""
        account = self._account
        if more := account.import_seconds_per_thousand * len(job.contacts) / 1000:
            return seconds >= account.import_seconds + more
        return job.polls > account.import_polls or seconds >= account.import_seconds

    def _finish(self, job: ImportJob) -> None:
        job.status = self._account.import_ends
        if job.real and job.status == "complete":
            for entry in job.contacts:
                self._take_in(job, entry)
        job.contacts = []

    def _take_in(self, job: ImportJob, entry: dict[str, Any]) -> None:
        address = entry.get("email", "")
        if not ADDRESS.fullmatch(address) or address.lower() in self._account.refused_addresses:
            job.failed += 1
            job.invalid.append(address)
            return
        if address.lower() in self._account.vanishing_addresses:
            return
        people = self.contacts(job.directory_id, job.list_id)
        if (contact := people.get(address.lower())) is None:
            contact = people[address.lower()] = self._contact(address)
            job.added += 1
        else:
            job.updated += 1
        contact.unsubscribed = entry.get("unsubscribed", contact.unsubscribed)
        if "transactionData" not in entry:
            return  # most likely does not enter the batch (Qualtrics §2, I)
        data = entry["transactionData"]
        transaction = Transaction(new_id("CTR"), contact, job.list_id, self._clock.now(), data)
        job.created += 1
        self.enter(job.batch_id, transaction)

    def enter(self, batch_id: str, transaction: Transaction) -> None:
        """Put a transaction in a batch. A person with two of them gets two mails (I)."""
        self.batches[batch_id].append(transaction)
        batch = self._recorder.batches[batch_id]
        batch.addresses.append(transaction.contact.address)
        run_id = transaction.data.get("runId")
        if isinstance(run_id, str) and run_id not in batch.run_ids:
            batch.run_ids.append(run_id)

    # Distributions.

    def send(self, sent: SentDistribution) -> None:
        """Accept a distribution: mailed at once when its date is now or past, else when it comes."""
        self._distributions[sent.id] = sent
        self._recorder.distributions.append(sent)
        self._waiting.append(sent)
        self.settle()

    def distribution(self, distribution_id: str) -> SentDistribution | None:
        return self._distributions.get(distribution_id)

    def done(self, sent: SentDistribution) -> bool:
        """Whether its stats show."""
        due = max(sent.send_date, sent.created)
        return sent.mailed and self._clock.now() >= due + timedelta(seconds=self._account.delivery_seconds)

    def _mail(self, sent: SentDistribution) -> None:
        sent.mailed = True
        fails = not self._can_send(sent)
        window = timedelta(hours=self._account.suppression_hours)
        now = self._clock.now()
        fresh: list[tuple[str, str, str, str]] = []
        for contact in self._recipients(sent):
            key = (sent.survey_id, sent.message_id, sent.subject, contact.address.lower())
            if fails:
                sent.failed.append(contact.address)
            elif contact.unsubscribed or key[3] in self._account.opted_out_addresses:
                sent.skipped.append(contact.address)
            elif (last := self._last_mail.get(key)) is not None and now - last < window:
                sent.blocked.append(contact.address)
            else:
                sent.recipients.append(contact.address)
                fresh.append(key)
                if key[3] in self._account.bouncing_addresses:
                    sent.bounced.append(contact.address)
        # Only now: within one distribution nothing is suppressed, so that a doubled transaction shows.
        self._last_mail.update(dict.fromkeys(fresh, now))

    def _can_send(self, sent: SentDistribution) -> bool:
        """An inactive survey, a missing message or a foreign from domain fails late (Qualtrics §5, I)."""
        survey = self._account.surveys.get(sent.survey_id)
        message = self._account.messages.get(sent.message_id)
        now = self._clock.now()
        open_survey = (
            survey is not None
            and survey.active
            and (survey.starts is None or survey.starts <= now)
            and (survey.ends is None or now < survey.ends)
        )
        domain = sent.request["header"]["fromEmail"].rpartition("@")[2].lower()
        return (
            open_survey
            and message is not None
            and message.library_id == sent.library_id
            and domain in FROM_DOMAINS | self._account.own_domains
        )

    def _recipients(self, sent: SentDistribution) -> list[Contact]:
        if sent.batch_id is not None:
            transactions = self.batches.get(sent.batch_id, [])
            if sent.batch_id in self._recorder.batches:
                sent.run_ids = list(self._recorder.batches[sent.batch_id].run_ids)
            return [transaction.contact for transaction in transactions]
        mailing_list = self._account.mailing_lists.get(sent.mailing_list_id or "")
        if mailing_list is None:
            return []  # a sample is never found here
        people = list(self.contacts(mailing_list.directory_id, mailing_list.id).values())
        if sent.contact_id is not None:
            return [contact for contact in people if contact.lookup_id == sent.contact_id]
        return people
