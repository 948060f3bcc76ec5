"""What a Secret says about one remote side."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An OAuth client of one remote side, and where that is. Shows nothing of itself but where it comes from."""

    source: str
    """Where it was read, for messages: "Secret dex/nexthink"."""
    url: str
    token_url: str
    client_id: str
    client_secret: str
    scope: str

    @property
    def digest(self) -> bytes:
        """Another one for every change of any field, so that a rotated Secret never meets an old token."""
        fields = [self.source, self.url, self.token_url, self.client_id, self.client_secret, self.scope]
        return hashlib.sha256(json.dumps(fields).encode()).digest()

    def __repr__(self) -> str:
        return f"<Credentials of {self.source}>"
