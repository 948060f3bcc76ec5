"""The state of Qualtrics, without HTTP: contacts, batches, imports and mails (Qualtrics §2, §3 and §5).

Imports and delayed sends end by the clock. `process_due` completes those that are due, at the start of each request.
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
"""Sender domains that work without registration (Qualtrics §5)."""


def new_id(prefix: str) -> str:
    """An id in the form that the API returns. Clients must treat it as opaque."""
    return f"{prefix}_{uuid.uuid4().hex[:15]}"


@dataclass
class Contact:
    """A person on a mailing list, with the first spelling of the address."""

    id: str
    lookup_id: str
    address: str
    unsubscribed: bool = False


@dataclass
class Transaction:
    """An entry of a batch: one mail to one person."""

    id: str
    contact: Contact
    list_id: str
    created: datetime
    data: dict[str, Any]


@dataclass
class ImportJob:
    """An import. If its directory, list or batch does not exist, it completes without any effect (Qualtrics §2, D)."""

    id: str
    directory_id: str
    list_id: str
    batch_id: str
    contacts: list[dict[str, Any]]
    target_exists: bool
    posted_at: float
    started_at: float | None = None
    polls: int = 0
    status: str = "inProgress"
    added: int = 0
    updated: int = 0
    failed: int = 0
    created: int = 0
    invalid: list[str] = field(default_factory=list)


MAX_RUNNING_IMPORTS = 25
"""How many imports of a brand are done at once; the others are queued (Qualtrics §2, D/S)."""


class QualtricsState:
    """The state of one brand."""

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
        """The contacts of a mailing list, by their address in lower case."""
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

    def is_importing(self, list_id: str) -> bool:
        """Whether an import for this mailing list is in progress."""
        return any(job.list_id == list_id for job in self._unfinished)

    @property
    def running_imports(self) -> int:
        return len(self._unfinished)

    def start_import(self, directory_id: str, list_id: str, batch_id: str, contacts: list[dict[str, Any]]) -> ImportJob:
        batch = self._recorder.batches.get(batch_id)
        batch_exists = batch is not None and batch.directory_id == directory_id
        target_exists = batch_exists and self._account.has_list(directory_id, list_id)
        job = ImportJob(
            new_id("PGRS"), directory_id, list_id, batch_id, contacts, target_exists, self._clock.monotonic()
        )
        self.jobs[job.id] = job
        self._unfinished.append(job)
        self.process_due()
        return job

    def process_due(self) -> None:
        """Complete what is due by the clock: imports, then sends whose date has come."""
        now, since = self._clock.monotonic(), float("-inf")
        while ended := self._next_end(since, now):
            job, since = ended
            self._finish(job)
            self._unfinished.remove(job)
        for sent in tuple(self._waiting):
            if sent.send_date <= self._clock.now():
                self._waiting.remove(sent)
                self._mail(sent)

    def _next_end(self, since: float, now: float) -> tuple[ImportJob, float] | None:
        """The import that ends next, and when; None if none has ended by now.

        Starts the imports that can start at `since`, when the one before ended: one for each mailing list, and so many
        at once (Qualtrics §2, D/S). So an import starts on time even if nobody looks.
        """
        running = sum(job.started_at is not None for job in self._unfinished)
        busy: set[tuple[str, str]] = set()
        ends: list[tuple[float, int]] = []
        for n, job in enumerate(self._unfinished):
            mailing_list = (job.directory_id, job.list_id)
            if mailing_list in busy:
                continue
            if job.started_at is None:
                if running >= MAX_RUNNING_IMPORTS:
                    continue
                job.started_at = max(job.posted_at, since)
                running += 1
            busy.add(mailing_list)
            if (end := self._end(job, job.started_at, now)) <= now:
                ends.append((end, n))
        if not ends:
            return None
        end, n = min(ends)
        return self._unfinished[n], end

    def _end(self, job: ImportJob, started_at: float, now: float) -> float:
        """When the import ends."""
        account = self._account
        end = started_at + account.import_seconds
        if more := account.import_seconds_per_thousand * len(job.contacts) / 1000:
            return end + more
        return min(now, end) if job.polls > account.import_polls else end

    def _finish(self, job: ImportJob) -> None:
        job.status = self._account.import_ends
        if job.target_exists and job.status == "complete":
            for entry in job.contacts:
                self._import_contact(job, entry)
        job.contacts = []

    def _import_contact(self, job: ImportJob, entry: dict[str, Any]) -> None:
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
            return  # such a contact is not added to the batch (Qualtrics §2, I)
        data = entry["transactionData"]
        transaction = Transaction(new_id("CTR"), contact, job.list_id, self._clock.now(), data)
        job.created += 1
        self.add_to_batch(job.batch_id, transaction)

    def add_to_batch(self, batch_id: str, transaction: Transaction) -> None:
        """Add a transaction to a batch. A person with two transactions gets two mails (I)."""
        self.batches[batch_id].append(transaction)
        batch = self._recorder.batches[batch_id]
        batch.addresses.append(transaction.contact.address)
        run_id = transaction.data.get("runId")
        if isinstance(run_id, str) and run_id not in batch.run_ids:
            batch.run_ids.append(run_id)

    # Distributions.

    def send(self, sent: SentDistribution) -> None:
        """Accept a distribution. Its mails are sent now, or at its send date if that is in the future."""
        self._distributions[sent.id] = sent
        self._recorder.distributions.append(sent)
        self._waiting.append(sent)
        self.process_due()

    def distribution(self, distribution_id: str) -> SentDistribution | None:
        return self._distributions.get(distribution_id)

    def has_stats(self, sent: SentDistribution) -> bool:
        """Whether the API shows the statistics of the distribution."""
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
        # After the loop: nothing is suppressed within one distribution, so a test sees a doubled transaction.
        self._last_mail.update(dict.fromkeys(fresh, now))

    def _can_send(self, sent: SentDistribution) -> bool:
        """The send fails if the survey is not active, or the message or sender domain is unknown (Qualtrics §5, I)."""
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
            return []  # the sandbox has no samples
        people = list(self.contacts(mailing_list.directory_id, mailing_list.id).values())
        if sent.contact_id is not None:
            return [contact for contact in people if contact.lookup_id == sent.contact_id]
        return people
