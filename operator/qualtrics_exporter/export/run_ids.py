"""Ids of runs, and tokens of processes.

The id of a run is a function of the exporter and of what started the run. So two replicas that claim one slot write the
same run. An id consists of lower-case letters and digits, which are valid in JSON, labels and Qualtrics' transaction
data. It has 100 bits: two runs share an id in about 10^15 runs.
"""

import base64
import hashlib
import secrets

_LENGTH = 20


def slot_run_id(uid: str, slot: str) -> str:
    """The id of the run of a slot. `slot` is the identity of the slot, not its due time."""
    return _id("slot", uid, slot)


def request_run_id(uid: str, token: str) -> str:
    return _id("request", uid, token)


def test_run_id(uid: str, token: str) -> str:
    return _id("test", uid, token)


def settlement_id(uid: str, value: str) -> str:
    return _id("settlement", uid, value)


def new_holder() -> str:
    """A unique token for each process and attempt."""
    return secrets.token_hex(8)


def _id(*parts: str) -> str:
    # With the lengths, ("a", "bc") and ("ab", "c") have different ids.
    whole = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().lower()[:_LENGTH]
