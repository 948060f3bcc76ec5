"""How much memory a run reserves for the recipients of a large result."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.qualtrics.chunks import MAX_BYTES, MAX_CONTACTS

HoldMemory = Callable[[int], AbstractAsyncContextManager[Callable[[int], None]]]
"""A context that holds this number of bytes of the process's memory for recipients. It yields a function that reduces
the number and frees the rest."""

RECIPIENT_BYTES = 80
"""The memory for a recipient while the result is read, if addresses have up to `ADDRESS_BYTES` on average."""
ADDRESS_BYTES = 48
LONGEST_RECIPIENT_BYTES = 1200
"""The most memory for a recipient: 254 characters of four bytes (tests/export/test_recipients.py)."""
CHUNK_BYTES = 150
"""The additional memory for a recipient in the chunk that is imported, without the address: half for a string, and half
for the text around the address in the body of the request. The address is in both. Letters outside of ASCII
take three times their bytes in the body: up to a megabyte more for a chunk of such addresses, which is not reserved."""
LARGE_RESULT = 1_000_000
"""The assumed number of people in a large result if `spec.maxRecipients` is not set."""
LARGEST_RESULT_BYTES = LARGE_RESULT * RECIPIENT_BYTES
"""The most memory for the people of one result, however long their addresses are."""


def bytes_to_reserve(max_recipients: int | None, *, longest: bool) -> tuple[int, int]:
    """The bytes for the people of a result, and those for the chunk that is imported.

    `longest` reserves for the longest possible addresses.
    """
    number = max_recipients or LARGE_RESULT
    each, address = (LONGEST_RECIPIENT_BYTES,) * 2 if longest else (RECIPIENT_BYTES, ADDRESS_BYTES)
    return min(number * each, LARGEST_RESULT_BYTES), _chunk_bytes(number, address)


def bytes_in_use(recipients: Recipients) -> int:
    """The bytes that these recipients and the chunk that is imported need."""
    number = len(recipients)
    return recipients.size + _chunk_bytes(number, recipients.size // max(1, number))


def _chunk_bytes(number: int, address: int) -> int:
    imported = min(number, MAX_CONTACTS)
    return imported * (CHUNK_BYTES + address) + min(imported * address, MAX_BYTES)
