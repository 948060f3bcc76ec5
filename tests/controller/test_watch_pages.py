"""A page of a list that is still processed never overwrites what a newer list or the watch has reported."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from qualtrics_exporter.controller.kube import auth, namespace_watch
from qualtrics_exporter.controller.kube.connection import Connection
from tests.controller.fake_api import FakeApi, exporter, status
from tests.controller.test_watch_failures import api, until, watching

__all__ = ["api"]

PAGE = 25


@pytest.fixture
def slow_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process a page as slowly as in an event loop that has much else to do."""
    process = namespace_watch.NamespaceWatch._on_page

    async def slowly(self: namespace_watch.NamespaceWatch, items: list[Any]) -> None:
        while items:
            await asyncio.sleep(0.01)
            await process(self, [items.pop(0)])

    monkeypatch.setattr(namespace_watch.NamespaceWatch, "_on_page", slowly)


@pytest.mark.usefixtures("slow_pages")
async def test_watch_begins_after_the_pages_of_an_earlier_session(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = ["old"]

    async def login(**_: Any) -> Connection:
        return Connection(client.Configuration(host=api.url, api_key={"BearerToken": f"Bearer {tokens[-1]}"}), {})

    def refuse(request: web.Request) -> Any:
        tokens.append("new")
        return status(401, "Unauthorized")(request)

    monkeypatch.setattr(auth, "login", login)
    for number in range(PAGE + 1):
        api.put(exporter("a", f"exporter-{number:02}"))
    api.handle_next("list", "a", lambda request: api._list(request, "a"), refuse)
    async with watching(api, "a") as setup:
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        assert len(setup.queue) == PAGE + 1


@pytest.mark.usefixtures("slow_pages")
async def test_page_of_an_attempt_that_failed_is_not_processed_any_further(api: FakeApi) -> None:
    for number in range(PAGE + 1):
        api.put(exporter("a", f"exporter-{number:02}"))

    def expire(request: web.Request) -> Any:
        for number in range(PAGE):
            api.put(exporter("a", f"exporter-{number:02}"), "DELETED")
        return status(410, "Expired")(request)

    api.handle_next("list", "a", lambda request: api._list(request, "a"), expire)
    async with watching(api, "a") as setup:
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        assert "page" not in {task.get_name() for task in asyncio.all_tasks()}
        await until(lambda: setup.names() == {"a/exporter-25"}, "deleted exporters are forgotten")
