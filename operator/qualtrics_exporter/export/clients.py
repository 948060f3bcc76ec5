"""The clients of one exporter, and the check of its query text."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from qualtrics_exporter.export.query_texts import TenantTexts
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.qualtrics.client import QualtricsClient


@dataclass(frozen=True, slots=True)
class Clients:
    """Nexthink returns the people of the query, and Qualtrics sends the survey."""

    nexthink: NexthinkClient
    qualtrics: QualtricsClient
    texts: TenantTexts = field(default_factory=TenantTexts)

    def nexthink_client(self) -> AbstractAsyncContextManager[NexthinkClient]:
        """The client of Nexthink for a check, without a time limit."""
        return nullcontext(self.nexthink)

    def qualtrics_client(self) -> AbstractAsyncContextManager[QualtricsClient]:
        """The client of Qualtrics for a check, without a time limit."""
        return nullcontext(self.qualtrics)


@dataclass(frozen=True, slots=True)
class LimitedConnections:
    """How a check of the operator gets the clients. Each is available for as long as its check may take."""

    nexthink_client: Callable[[], AbstractAsyncContextManager[NexthinkClient]]
    qualtrics_client: Callable[[], AbstractAsyncContextManager[QualtricsClient]]
    texts: TenantTexts
