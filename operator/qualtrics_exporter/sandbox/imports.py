"""Batches and imports (Qualtrics §2).

Unknown, and decided here: a directory that does not exist gives a batch that nothing gets into; a key of a contact that
does not exist refuses the whole request; a null is a value of a wrong type; `embeddedData` holds texts only.
"""

from typing import Any

from aiohttp import web

from qualtrics_exporter.sandbox.middleware import CALL, Reply
from qualtrics_exporter.sandbox.qualtrics_api import API, QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_state import ImportJob, Transaction
from qualtrics_exporter.sandbox.strict import document, keys, refusal, result, text, written

MOST_CONTACTS = 10_000
MOST_BYTES = 5_000_000
CONTACT = {
    "firstName",
    "lastName",
    "email",
    "extRef",
    "language",
    "unsubscribed",
    "embeddedData",
    "transactionData",
}
DICTIONARIES: dict[str, tuple[type, ...]] = {"embeddedData": (str,), "transactionData": (str, int, float, bool)}
"""What their values are (D)."""


class Imports:
    """Bringing recipients in."""

    def __init__(self, qualtrics: QualtricsApi) -> None:
        self._api = qualtrics
        self._state = qualtrics.state

    def mount(self, app: web.Application) -> None:
        route = self._api.route
        batches = "/directories/{directory_id}/transactionbatches"
        route(app, "POST", batches, "create_batch", self.create_batch)
        route(app, "GET", batches + "/{batch_id}/transactions", "list_transactions", self.list_transactions)
        route(app, "POST", batches + "/{batch_id}/transactions", "add_transactions", self.add_transactions)
        imports = "/directories/{directory_id}/mailinglists/{list_id}/transactioncontacts"
        route(app, "POST", imports, "import_contacts", self.import_contacts)
        route(app, "GET", imports + "/{import_id}", "import_status", self.import_status)

    # Batches.

    async def create_batch(self, request: web.Request) -> Reply:
        body = keys(await document(request), {"transactionIds"})
        wanted = self._transactions(body["transactionIds"])
        batch_id = self._state.create_batch(request.match_info["directory_id"])
        for transaction in wanted:
            self._state.enter(batch_id, transaction)
        return result({"id": batch_id})

    async def list_transactions(self, request: web.Request) -> Reply:
        elements = [
            {
                "transactionId": transaction.id,
                "contactId": transaction.contact.id,
                "mailingListId": transaction.list_id,
                "transactionDate": written(transaction.created),
                "data": transaction.data,
            }
            for transaction in self._state.batches[self._batch(request)]
        ]
        return self._api.page(request, elements, self._api.account.rows_page_size)

    async def add_transactions(self, request: web.Request) -> Reply:
        batch_id = self._batch(request)
        body = keys(await document(request), {"transactionIds"})
        for transaction in self._transactions(body["transactionIds"]):
            self._state.enter(batch_id, transaction)
        return result({})

    def _batch(self, request: web.Request) -> str:
        batch_id = request.match_info["batch_id"]
        if batch_id not in self._state.batches:
            raise refusal(404, "The requested batch does not exist.")
        return batch_id

    def _transactions(self, ids: object) -> list[Transaction]:
        if not isinstance(ids, list):
            raise refusal(400, "transactionIds is a list.", "QVAL_1")
        if not ids:
            return []
        known = {entry.id: entry for batch in self._state.batches.values() for entry in batch}
        if any(not isinstance(one, str) or one not in known for one in ids):
            raise refusal(404, "A transaction does not exist.")
        return [known[one] for one in ids]

    # Imports.

    async def import_contacts(self, request: web.Request) -> Reply:
        call = CALL.get()
        if call.bytes > MOST_BYTES:
            raise refusal(413, "The body is larger than 5 MB.")
        body = keys(await document(request), {"transactionMeta", "contacts"})
        contacts = body["contacts"]
        if not isinstance(contacts, list) or not contacts:
            raise refusal(400, "contacts is a list with at least one item.", "QVAL_1")
        call.contacts = len(contacts)
        if len(contacts) > MOST_CONTACTS:
            raise refusal(400, "contacts holds more than 10000 items.", "QVAL_1")
        meta = keys(body["transactionMeta"], {"batchId", "fields"})
        batch_id = text(meta, "batchId", "BT_")
        fields = meta["fields"]
        if not isinstance(fields, list) or not fields or not all(isinstance(field, str) and field for field in fields):
            raise refusal(400, "fields is a list of names with at least one item.", "QVAL_1")
        for contact in contacts:
            keys(contact, set(), CONTACT)
        directory_id, list_id = request.match_info["directory_id"], request.match_info["list_id"]
        self._admit(list_id)
        names = set(fields)
        unprocessed = [n for n, contact in enumerate(contacts) if not (_typed(contact) and _fits(contact, names))]
        left = set(unprocessed)
        processed = [contact for n, contact in enumerate(contacts) if n not in left]
        job = self._state.start_import(directory_id, list_id, batch_id, processed)
        tracking = (
            f"{self._api.url}{API}/directories/{directory_id}/mailinglists/{list_id}/transactioncontacts/{job.id}"
        )
        answer = {
            "id": job.id,
            "contacts": {"unprocessed": unprocessed},
            "tracking": {"url": tracking},
            "status": "inProgress",
        }
        return result(answer, 202)

    def _admit(self, list_id: str) -> None:
        """One job at a time for a mailing list, 25 at once and 100 queued (D/S): too many at once is a 429 (§4)."""
        account = self._api.account
        most = account.limits.qualtrics_jobs
        if most is not None and self._state.jobs_under_way >= most:
            raise refusal(429, "Too many imports at once.")
        if account.busy_list == "refuse" and self._state.busy(list_id):
            raise refusal(429, "An import for this mailing list is under way.")

    async def import_status(self, request: web.Request) -> Reply:
        job = self._job(request)
        job.polls += 1
        self._state.settle()
        return result(_progress(job))

    def _job(self, request: web.Request) -> ImportJob:
        job = self._state.jobs.get(request.match_info["import_id"])
        place = (request.match_info["directory_id"], request.match_info["list_id"])
        if job is None or place != (job.directory_id, job.list_id):
            raise refusal(404, "The requested import does not exist.")
        return job


def _progress(job: ImportJob) -> dict[str, Any]:
    return {
        "percentComplete": 0 if job.started_at is None else 50 if job.status == "inProgress" else 100,
        "contacts": {"count": {"added": job.added, "updated": job.updated, "failed": job.failed}},
        "transactions": {"count": {"created": job.created}},
        "invalidEmails": job.invalid,
        "status": job.status,
    }


def _typed(contact: dict[str, Any]) -> bool:
    """Whether every value is of its type: one that is not makes its contact unprocessed (D)."""
    return all(
        isinstance(value, dict) and all(isinstance(one, DICTIONARIES[key]) for one in value.values())
        if key in DICTIONARIES
        else isinstance(value, bool if key == "unsubscribed" else str)
        for key, value in contact.items()
    )


def _fits(contact: dict[str, Any], fields: set[str]) -> bool:
    """`transactionData` has keys from `fields` only, `embeddedData` none of them (D)."""
    return set(contact.get("transactionData", {})) <= fields and not fields & set(contact.get("embeddedData", {}))
