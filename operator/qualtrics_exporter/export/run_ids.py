"""Names that cannot be taken twice.

The id of a run is a function of the exporter and of what started the run, so that two replicas that claim one slot
write down the same run. It is lower case letters and digits: fit for JSON, labels and Qualtrics' transaction data.
100 bits: two different runs share an id in about 10^15 runs.
"""

import base64
import hashlib
import secrets

_LENGTH = 20


def slot_run_id(uid: str, slot: str) -> str:
    """The run of a slot; `slot` is the slot's identity, not its due time."""
    return _id("slot", uid, slot)


def request_run_id(uid: str, token: str) -> str:
    """The run that somebody asked for with this token."""
    return _id("request", uid, token)


def test_run_id(uid: str, token: str) -> str:
    """The test that somebody asked for with this token."""
    return _id("test", uid, token)


def settlement_id(uid: str, value: str) -> str:
    """The settlement of a run that somebody asked for with this value."""
    return _id("settlement", uid, value)


def new_holder() -> str:
    """Who works on a run: one process, one attempt. Never the same again."""
    return secrets.token_hex(8)


def _id(*parts: str) -> str:
    # The lengths are part of it: ("a", "bc") is not ("ab", "c").
    whole = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().lower()[:_LENGTH]
