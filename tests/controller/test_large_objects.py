"""Exporters with huge annotations: no page of a list takes much memory, and the list is whole all the same."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from qualtrics_exporter.controller.kube import api as api_module
from qualtrics_exporter.controller.kube.api import LARGEST_PAGE, ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from tests.controller.fake_api import FakeApi, exporter

SMALL, LARGE = 1000, 1_400_000


class Pages:
    """A list of objects of these sizes."""

    def __init__(self, sizes: list[int]) -> None:
        self.items = [exporter("team", f"e{n:03d}") for n in range(len(sizes))]
        for item, size in zip(self.items, sizes, strict=True):
            item["metadata"]["annotations"] = {"note": "x" * size}
        self.limits: list[int] = []
        self.read: list[int] = []
        """Bytes of each page, as far as somebody read it."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        first, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        self.limits.append(limit)
        self.read.append(0)
        following = {"continue": str(first + limit)} if first + limit < len(self.items) else {}
        body = json.dumps({"items": self.items[first : first + limit], "metadata": following}).encode()
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(body), 65536):
            await response.write(body[at : at + 65536])
            self.read[-1] += 65536
        return response


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[FakeApi, ClusterApi]]:
    async with FakeApi() as fake:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": fake.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        async with await connect() as client:
            yield fake, ClusterApi(client)


async def test_a_page_of_large_objects_is_asked_for_again_with_fewer(api: tuple[FakeApi, ClusterApi]) -> None:
    fake, cluster = api
    pages = Pages([SMALL] * 700 + [LARGE] * 40 + [SMALL] * 700)
    fake.lasting["list", ""] = pages.answer
    found = [key.name async for key in cluster.list_metadata(None)]
    assert found == [item["metadata"]["name"] for item in pages.items]
    # The page has 56 MB. Linux keeps up to 10 MB of it in the buffers of the two sockets.
    assert max(pages.read) < 3 * LARGEST_PAGE
    assert pages.limits[0] == api_module.METADATA_PAGE
    assert max(pages.limits[-3:]) > 100, "small objects come in large pages again"


async def test_one_object_may_have_any_size(api: tuple[FakeApi, ClusterApi], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "LARGEST_PAGE", 100)
    fake, cluster = api
    pages = Pages([SMALL, LARGE, SMALL])
    fake.lasting["list", ""] = pages.answer
    assert [body["metadata"]["name"] async for body in cluster.list(None)] == ["e000", "e001", "e002"]
