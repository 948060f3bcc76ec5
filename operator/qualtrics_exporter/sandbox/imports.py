"""The API of batches and imports (Qualtrics §2).

Unknown, and decided here: in a directory that does not exist, you can create a batch, but imports into it have no
effect. An unknown key of a contact refuses the whole request. A null is a value of a wrong type. `embeddedData` has
texts only.
"""

from typing import Any

from aiohttp import web

from qualtrics_exporter.sandbox.middleware import CALL, Reply
from qualtrics_exporter.sandbox.qualtrics_api import API, QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_json import check_keys, check_text, format_time, read_object, refusal, result
from qualtrics_exporter.sandbox.qualtrics_state import ImportJob, Transaction

MAX_CONTACTS = 10_000
MAX_BYTES = 5_000_000
CONTACT_KEYS = {
    "firstName",
    "lastName",
    "email",
    "extRef",
    "language",
    "unsubscribed",
    "embeddedData",
    "transactionData",
}
VALUE_TYPES: dict[str, tuple[type, ...]] = {"embeddedData": (str,), "transactionData": (str, int, float, bool)}
"""The types of the values in these objects of a contact (Qualtrics §2, D and I)."""


class Imports:
    """The operations on batches and imports."""

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
        body = check_keys(await read_object(request), {"transactionIds"})
        transactions = self._transactions(body["transactionIds"])
        batch_id = self._state.create_batch(request.match_info["directory_id"])
        for transaction in transactions:
            self._state.add_to_batch(batch_id, transaction)
        return result({"id": batch_id})

    async def list_transactions(self, request: web.Request) -> Reply:
        elements = [
            {
                "transactionId": transaction.id,
                "contactId": transaction.contact.id,
                "mailingListId": transaction.list_id,
                "transactionDate": format_time(transaction.created),
                "data": transaction.data,
            }
            for transaction in self._state.batches[self._batch(request)]
        ]
        return self._api.page(request, elements, self._api.account.rows_page_size)

    async def add_transactions(self, request: web.Request) -> Reply:
        batch_id = self._batch(request)
        body = check_keys(await read_object(request), {"transactionIds"})
        for transaction in self._transactions(body["transactionIds"]):
            self._state.add_to_batch(batch_id, transaction)
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
        if call.bytes > MAX_BYTES:
            raise refusal(413, "The body is larger than 5 MB.")
        body = check_keys(await read_object(request), {"transactionMeta", "contacts"})
        contacts = body["contacts"]
        if not isinstance(contacts, list) or not contacts:
            raise refusal(400, "contacts is a list with at least one item.", "QVAL_1")
        call.contacts = len(contacts)
        if len(contacts) > MAX_CONTACTS:
            raise refusal(400, "contacts has more than 10000 items.", "QVAL_1")
        meta = check_keys(body["transactionMeta"], {"batchId", "fields"})
        batch_id = check_text(meta, "batchId", "BT_")
        fields = meta["fields"]
        if not isinstance(fields, list) or not fields or not all(isinstance(field, str) and field for field in fields):
            raise refusal(400, "fields is a list of names with at least one item.", "QVAL_1")
        for contact in contacts:
            check_keys(contact, set(), CONTACT_KEYS)
        directory_id, list_id = request.match_info["directory_id"], request.match_info["list_id"]
        self._check_limits(list_id)
        names = set(fields)
        unprocessed: list[int] = []
        processed: list[dict[str, Any]] = []
        for n, contact in enumerate(contacts):
            if _has_valid_types(contact) and _has_valid_fields(contact, names):
                processed.append(contact)
            else:
                unprocessed.append(n)
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

    def _check_limits(self, list_id: str) -> None:
        """Refuse too many imports at once with a 429 (Qualtrics §2, D/S, and §4)."""
        account = self._api.account
        limit = account.limits.qualtrics_jobs
        if limit is not None and self._state.running_imports >= limit:
            raise refusal(429, "Too many imports at once.")
        if account.busy_list == "refuse" and self._state.is_importing(list_id):
            raise refusal(429, "An import for this mailing list is in progress.")

    async def import_status(self, request: web.Request) -> Reply:
        job = self._job(request)
        job.polls += 1
        self._state.process_due()
        return result(_progress(job))

    def _job(self, request: web.Request) -> ImportJob:
        job = self._state.jobs.get(request.match_info["import_id"])
        mailing_list = (request.match_info["directory_id"], request.match_info["list_id"])
        if job is None or mailing_list != (job.directory_id, job.list_id):
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


def _has_valid_types(contact: dict[str, Any]) -> bool:
    """Whether all values have their types. Otherwise the contact is unprocessed (D)."""
    return all(
        isinstance(value, dict) and all(isinstance(one, VALUE_TYPES[key]) for one in value.values())
        if key in VALUE_TYPES
        else isinstance(value, bool if key == "unsubscribed" else str)
        for key, value in contact.items()
    )


def _has_valid_fields(contact: dict[str, Any], fields: set[str]) -> bool:
    """Whether `transactionData` has only keys from `fields`, and `embeddedData` none of them (D)."""
    return set(contact.get("transactionData", {})) <= fields and not fields & set(contact.get("embeddedData", {}))
