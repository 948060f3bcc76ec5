"""Connections pass received data on in small pieces, and limit headers. httpx has no setting for either."""

import pytest

from qualtrics_exporter.fair_share import NOBODY, Tenant
from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.paced import MAX_HEADERS, PIECE
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, answer

ANA = Tenant("ana", "nexthink")
READ = Operation(name="read", task="show the thing", path="/thing", retry=RetryPolicy.READ)


class CountingLoopTime(LoopTime):
    """Counts the pauses of each tenant."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[Tenant] = []

    async def pause(self, tenant: Tenant = NOBODY) -> None:
        self.pauses.append(tenant)
        await super().pause(tenant)


async def test_a_connection_pauses_for_other_tenants_after_every_16_kilobytes_of_a_response(
    server: Server, credentials: ServiceCredentials
) -> None:
    document = {"text": "x" * (20 * PIECE)}
    server.script(answer(200, document))
    loop_time = CountingLoopTime()
    async with ApiContext(
        clock=RecordingClock(), allowed_hosts=["127.0.0.1"], allow_http=True, loop_time=loop_time
    ) as api_context:
        reply = await Session(api_context, credentials, QUALTRICS, ANA).call(READ, lambda reply: reply.document())
    assert loop_time.pauses.count(ANA) >= 2 * 20  # once when it is received, and once when the body is read
    assert set(loop_time.pauses) <= {ANA, NOBODY}  # requests for tokens belong to no tenant
    assert reply == document


async def test_a_response_with_too_many_headers_is_an_error(server: Server, session: Session) -> None:
    def headers(size: int) -> bytes:
        lines = b"a:\r\n" * (size // 4)
        return b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"

    server.script(headers(MAX_HEADERS // 2))
    assert await session.call(READ, lambda reply: reply.document()) == {}
    server.script(headers(3 * MAX_HEADERS))
    with pytest.raises(Transient):
        await session.call(READ, lambda reply: reply)
