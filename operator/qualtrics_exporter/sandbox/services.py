"""The two services and their data, without sockets: what `Control` and tests look at and change."""

from qualtrics_exporter.clock import Clock, SystemClock
from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.condition import ConditionVariable
from qualtrics_exporter.sandbox.faults import Faults
from qualtrics_exporter.sandbox.limits import Use
from qualtrics_exporter.sandbox.middleware import Middleware
from qualtrics_exporter.sandbox.nexthink_api import NexthinkApi
from qualtrics_exporter.sandbox.object_store import ObjectStore
from qualtrics_exporter.sandbox.qualtrics_api import QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_state import QualtricsState
from qualtrics_exporter.sandbox.recorder import Recorder


class Services:
    """Nexthink, its object store and Qualtrics. The URLs are empty until they are served."""

    def __init__(self, account: Account | None = None, clock: Clock | None = None) -> None:
        self.account = account or Account.default()
        self.clock: Clock = clock or SystemClock()
        self.changed = ConditionVariable()
        """Notified of each change that the pages of the sandbox show, except for those that only time makes."""
        self.faults = Faults(self.clock, ConditionVariable(outer=self.changed))
        self._recorder = Recorder(changed=ConditionVariable(outer=self.changed))
        middleware = Middleware(self.clock, self._recorder, self.faults)
        self._qualtrics_state = QualtricsState(self.account, self.clock, self._recorder)
        self._object_store = ObjectStore(self.account, self.clock, middleware)
        self._nexthink_api = NexthinkApi(self.account, self.clock, middleware, self._object_store)
        self._qualtrics_api = QualtricsApi(self.account, self.clock, middleware, self._qualtrics_state)
        self.nexthink_url = self.qualtrics_url = self.store_url = ""

    @property
    def recorder(self) -> Recorder:
        """The record of what happened until now."""
        self._qualtrics_state.process_due()
        return self._recorder

    @property
    def nexthink_token_url(self) -> str:
        return f"{self.nexthink_url}/oauth2/default/v1/token"

    @property
    def qualtrics_token_url(self) -> str:
        return f"{self.qualtrics_url}/oauth2/token"

    @property
    def outbox_url(self) -> str:
        return f"{self.qualtrics_url}/_sandbox/outbox"

    @property
    def operations(self) -> list[str]:
        """All operations that are served."""
        return sorted(self.faults.operations)

    def uses(self) -> list[Use]:
        """How much of the limits is used now."""
        self._qualtrics_state.process_due()
        return self._nexthink_api.uses() + self._qualtrics_api.uses()

    def secrets(self) -> dict[str, dict[str, str]]:
        """The keys of the two credentials Secrets."""
        nexthink, qualtrics = self.account.nexthink_credentials[0], self.account.qualtrics_credentials[0]
        return {
            "nexthink": {
                "url": self.nexthink_url,
                "tokenUrl": self.nexthink_token_url,
                "clientId": nexthink.client_id,
                "clientSecret": nexthink.client_secret,
                "scope": " ".join(sorted(nexthink.scopes)),
            },
            "qualtrics": {
                "url": self.qualtrics_url,
                "tokenUrl": self.qualtrics_token_url,
                "clientId": qualtrics.client_id,
                "clientSecret": qualtrics.client_secret,
                "scope": " ".join(sorted(qualtrics.scopes)),
            },
        }

    def revoke_tokens(self) -> None:
        """Make every token of both services invalid that was issued until now."""
        self._nexthink_api.tokens.revoke()
        self._qualtrics_api.tokens.revoke()

    def issued_tokens(self) -> list[str]:
        """Every access token that was issued. Tests check that no log, status or Event contains one."""
        return self._nexthink_api.tokens.issued + self._qualtrics_api.tokens.issued
