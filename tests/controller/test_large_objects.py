"""Lists of exporters with huge annotations are complete, and no page takes much memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from qualtrics_exporter.controller.kube.api import LIMITS, ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from tests.controller.fake_api import FakeApi, exporter
from tests.controller.kubeconfig_file import write_kubeconfig
from tests.controller.patient_api import patient_api

SMALL, LARGE = 1000, 1_400_000


class Pages:
    """A list of objects of these sizes."""

    def __init__(self, sizes: list[int]) -> None:
        self.items = [exporter("team", f"e{n:03d}") for n in range(len(sizes))]
        for item, size in zip(self.items, sizes, strict=True):
            item["metadata"]["annotations"] = {"note": "x" * size}
        self.limits: list[int] = []
        self.abandoned = 0
        """The number of pages that the client did not read to their end."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        first, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        self.limits.append(limit)
        following = {"continue": str(first + limit)} if first + limit < len(self.items) else {}
        body = json.dumps({"items": self.items[first : first + limit], "metadata": following}).encode()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body[: LIMITS.largest_page + 1])
        if len(body) > LIMITS.largest_page:
            self.abandoned += 1
            await asyncio.get_running_loop().create_future()  # until the client closes the connection
        return response


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[FakeApi, ClusterApi]]:
    async with FakeApi() as fake:
        path = tmp_path / "kubeconfig"
        write_kubeconfig(path, {"server": fake.url}, {})
        monkeypatch.setenv("KUBECONFIG", str(path))
        async with await connect() as client:
            yield fake, patient_api(client)


async def test_list_requests_a_page_of_large_objects_again_with_a_smaller_limit(
    api: tuple[FakeApi, ClusterApi],
) -> None:
    fake, cluster = api
    pages = Pages([SMALL] * 700 + [LARGE] * 40 + [SMALL] * 700)
    fake.handlers["list", ""] = pages.answer
    found = [key.name async for key in cluster.list_metadata(None)]
    assert found == [item["metadata"]["name"] for item in pages.items]
    assert pages.abandoned > 0
    assert pages.limits[0] == LIMITS.metadata_page
    assert max(pages.limits[-3:]) > 100, "pages of small objects are large again"


async def test_check_of_the_list_requests_one_object(api: tuple[FakeApi, ClusterApi]) -> None:
    fake, cluster = api
    pages = Pages([SMALL] * 700)
    fake.handlers["list", ""] = pages.answer
    await cluster.check_list(None)
    assert pages.limits == [1]


async def test_list_returns_an_object_that_is_larger_than_the_largest_page(
    api: tuple[FakeApi, ClusterApi],
) -> None:
    fake, cluster = api
    cluster.limits = replace(cluster.limits, largest_page=100)
    pages = Pages([SMALL, LARGE, SMALL])
    fake.handlers["list", ""] = pages.answer
    assert [body["metadata"]["name"] async for body in cluster.list(None)] == ["e000", "e001", "e002"]
