"""The bodies of requests: they arrive complete, and take memory only until they are sent."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from qualtrics_exporter.remote.bodies import RequestBody
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from tests.remote.servers import Server, answer


@pytest.fixture
def without_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class People(list[str]):
    """A list that can be referred to weakly."""


@pytest.mark.parametrize("size", [1, 64 * 1024, 64 * 1024 + 1, 900_000])
async def test_body_of_any_size_arrives_complete_and_with_its_length(
    session: Session, server: Server, size: int
) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    operation = Operation(
        name="post", task="post", method="POST", path="/thing", body=lambda: body, retry=RetryPolicy.REFUSED
    )
    await session.call(operation, lambda response: response.status)
    (request,) = server.received_requests
    assert request.body == body
    assert request.headers["content-length"] == str(size)
    assert "transfer-encoding" not in request.headers


async def test_body_is_one_piece_so_that_an_early_response_is_read() -> None:
    """A service that answers before the end of a body closes the connection. Sending more of it loses the response."""
    assert [piece async for piece in RequestBody(b"x" * 900_000)] == [b"x" * 900_000]


@pytest.mark.usefixtures("without_garbage_collector")
@pytest.mark.parametrize("first", [answer(), answer(401)])
async def test_body_is_freed_after_the_request_without_the_garbage_collector(
    session: Session, server: Server, monkeypatch: pytest.MonkeyPatch, first: object
) -> None:
    sent: list[RequestBody] = []
    make = RequestBody.__init__

    def record(body: RequestBody, content: bytes) -> None:
        sent.append(body)
        make(body, content)

    monkeypatch.setattr(RequestBody, "__init__", record)
    server.script(first, answer())  # type: ignore[arg-type]
    people = People(["ana@example.com"])
    alive = weakref.ref(people)
    operation = Operation(
        name="post",
        task="post",
        method="POST",
        path="/thing",
        body=lambda people=people: "".join(people).encode() * 1000,  # type: ignore[misc]
        retry=RetryPolicy.READ,
    )
    del people
    await session.call(operation, lambda response: response.status)
    assert sent
    assert not any(body._body for body in sent)
    assert alive()
    del operation
    assert not alive()
