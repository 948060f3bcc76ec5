"""Cutting recipients into requests that Qualtrics takes: at most 10,000 contacts and 5 MB each."""

import json
from collections.abc import Iterable, Iterator

MOST_CONTACTS = 10_000
MOST_BYTES = 4_900_000
"""Of 5 MB, for which the smaller of its two meanings is taken, less a margin for what stands around the contacts."""

RUN_ID = "runId"
"""The one transaction field: a contact without any most likely does not enter the batch."""


def portions(addresses: Iterable[str], run_id: str) -> Iterator[list[str]]:
    """The addresses in order, a request's worth at a time."""
    around = len(contact("", run_id)) + 1
    portion: list[str] = []
    size = 0
    for address in addresses:
        more = around + len(json.dumps(address)) - 2
        if portion and (len(portion) == MOST_CONTACTS or size + more > MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(address)
        size += more
    if portion:
        yield portion


def body(batch_id: str, run_id: str, addresses: Iterable[str]) -> bytes:
    """The request for one portion."""
    meta = json.dumps({"batchId": batch_id, "fields": [RUN_ID]}, separators=(",", ":"))
    contacts = ",".join(contact(address, run_id) for address in addresses)
    return f'{{"transactionMeta":{meta},"contacts":[{contacts}]}}'.encode()


def contact(address: str, run_id: str) -> str:
    """One contact, as it stands in the request."""
    return json.dumps({"email": address, "transactionData": {RUN_ID: run_id}}, separators=(",", ":"))
