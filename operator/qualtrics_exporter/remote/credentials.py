"""The content of a Secret with the credentials of one service."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason

Data = Mapping[str, str | bytes]
"""The keys and values of a Secret."""


LONGEST_VALUE = 2 * 1024
"""Bytes. A Secret can have a megabyte, but id and secret go into one header line, and servers accept 8 KiB."""


@dataclass(frozen=True, slots=True, repr=False)
class ServiceCredentials:
    """The URL of a service and an OAuth client of it. Its `repr` shows only where it comes from."""

    source: str
    """Where the credentials come from, for messages: "Secret dex/nexthink"."""
    url: str
    token_url: str
    client_id: str
    client_secret: str
    scope: str

    digest: bytes = field(init=False)
    """Changes with every field, so that a rotated Secret never uses an old token."""

    def __post_init__(self) -> None:
        fields = [self.source, self.url, self.token_url, self.client_id, self.client_secret, self.scope]
        object.__setattr__(self, "digest", hashlib.sha256(json.dumps(fields).encode()).digest())

    def __repr__(self) -> str:
        return f"<ServiceCredentials of {self.source}>"


def value(data: Data, key: str, source: str) -> str:
    """The value of a key without the white space around it (`echo` adds a newline); empty if the key is missing.

    Raises Permanent(SecretKeyMissing) with the key's name, never with a value, for a value that is not text on one line
    and for one that is longer than `LONGEST_VALUE`.
    """
    raw = data.get(key, "")
    if len(raw) > LONGEST_VALUE:
        raise unusable(key, source, f"has more than {LONGEST_VALUE:,} bytes")
    try:
        text = (raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw).strip()
    except UnicodeDecodeError as error:
        raise unusable(key, source, "is not UTF-8 text") from error
    if not text.isprintable():
        raise unusable(key, source, "has a line break or an invisible character in it")
    return text


def required(data: Data, key: str, source: str) -> str:
    """The value of a key that must not be missing."""
    if text := value(data, key, source):
        return text
    raise missing(key, source)


def unusable(key: str, source: str, why: str) -> Permanent:
    """The error for an invalid value. `why` follows the key's name."""
    return Permanent(
        Reason.SECRET_KEY_MISSING,
        f"{source}: the key {key} {why}",
        next_step=f"Correct the value of {key} in the Secret.",
    )


def missing(key: str, source: str) -> Permanent:
    return Permanent(Reason.SECRET_KEY_MISSING, f"{source} has no key {key}, or an empty one")
