"""The client of Nexthink's NQL API."""

from collections.abc import Mapping

from qualtrics_exporter.fair_share import NOBODY, Tenant
from qualtrics_exporter.nexthink import operations
from qualtrics_exporter.nexthink.execution import Executed, read_execution
from qualtrics_exporter.nexthink.export import ResultExport
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.time_limit import TimeLimit


class NexthinkClient:
    """Nexthink with the credentials of one Secret."""

    def __init__(
        self,
        context: ApiContext,
        credentials: ServiceCredentials,
        tenant: Tenant = NOBODY,
        limit: TimeLimit | None = None,
    ) -> None:
        self._session = Session(context, credentials, operations.NEXTHINK, tenant, limit)

    async def check_credentials(self) -> None:
        """Get a token, and check that the URL of the API is allowed. Raises `ExportError`."""
        self._session.base_url()
        await self._session.token()

    async def pause(self) -> None:
        """Let other tasks run if this one has used its time. Call it between rows."""
        await self._session.pause()

    async def execute(self, query_id: str, parameters: Mapping[str, str], *, patient: bool = True) -> Executed:
        """Run a saved query and return its first rows, 1,000 at most.

        A caller that is not `patient` has an alternative if Nexthink does not answer. It gets a `Transient` that was
        `received` after few short tries.
        """
        return await self._session.call(operations.execute(query_id, parameters, patient=patient), read_execution)

    async def start_export(self, query_id: str, parameters: Mapping[str, str]) -> ResultExport:
        """Start an export of the complete result. Nexthink refuses a query that it cannot run."""
        return await ResultExport.start(self._session, query_id, parameters)

    async def export(self, query_id: str, parameters: Mapping[str, str]) -> ResultExport:
        """Export the complete result, and wait until its file exists."""
        export = await self.start_export(query_id, parameters)
        await export.wait()
        return export
