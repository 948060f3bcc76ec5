"""What an operator at rest takes: the modules that it has imported, and the memory for each exporter."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.files import ROOT
from qualtrics_exporter.clock import SystemClock, WatchedClock
from qualtrics_exporter.controller.kube import namespace_watch
from tests.controller.exporters import at, body, initial_status
from tests.controller.fake_api import FakeApi, exporter
from tests.controller.test_watch_failures import api, until, watching
from tests.controller.watch_with_queue import WatchWithQueue
from tests.support import chart_rules
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS, eventually

__all__ = ["api"]

NOT_AT_REST = {
    "lark": "the grammar of queries: the thread that checks a query imports it",
    "qualtrics_exporter.nql.parse": "as lark",
    "qualtrics_exporter.nql.compare": "as lark",
    "qualtrics_exporter.sandbox": "only the sandbox, the demo and tests use it",
    "qualtrics_exporter.resource.crd": "only the command crd and generated files use it",
    "qualtrics_exporter.cli.run": "other commands",
    "qualtrics_exporter.cli.validate": "other commands",
    "kubernetes.client.rest": "the client without asyncio",
    "kubernetes.dynamic": "a part of the Kubernetes client that nothing uses",
    "kubernetes.informer": "a part of the Kubernetes client that nothing uses",
    "kubernetes.leaderelection": "a part of the Kubernetes client that nothing uses",
    "kubernetes.stream": "a part of the Kubernetes client that nothing uses",
    "kubernetes.aio.dynamic": "a part of the Kubernetes client that nothing uses",
    "requests": "what the unused parts of the Kubernetes client need",
    "oauthlib": "what the unused parts of the Kubernetes client need",
    "websocket": "what the unused parts of the Kubernetes client need",
    "urllib3": "what the unused parts of the Kubernetes client need",
    "rich": "the command line of httpx, where it is installed",
}
"""Modules that an operator at rest does not import, and why."""

OPERATOR = """
import atexit, json, pathlib, sys
from qualtrics_exporter.cli import main
modules, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: pathlib.Path(modules).write_text(json.dumps(sorted(sys.modules))))
main()
"""
"""The operator, which writes the names of its modules when it ends."""

BYTES_PER_EXPORTER = 1200


@pytest.fixture
def loaded(stage: Stage, tmp_path: Path) -> set[str]:
    """The modules of an operator that leads and watches, and has nothing to do."""
    kubeconfig = stage.cluster.service_account(stage.namespace, "operator", rules=chart_rules.namespaced())
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    flags = ["controller", "--namespace", stage.namespace, "--no-leader-election", "--http-address", "127.0.0.1:0"]
    modules, log = tmp_path / "modules", tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", OPERATOR, modules, *flags], env=environment, stderr=output, cwd=ROOT
        )
        try:
            eventually(lambda: " is watched" in log.read_text(), "the operator watches")
            process.terminate()
            assert process.wait(HANG_SECONDS) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
    return set(json.loads(modules.read_text()))


@pytest.mark.cluster
def test_operator_at_rest_has_not_imported_modules_that_it_does_not_use(loaded: set[str]) -> None:
    assert {"kopf", "kubernetes.aio.client", "qualtrics_exporter.controller.app"} <= loaded
    assert {name: reason for name, reason in NOT_AT_REST.items() if name in loaded} == {}


def test_parts_of_the_kubernetes_client_are_imported_when_they_are_first_used() -> None:
    script = """
import sys
import qualtrics_exporter.controller
import kubernetes
assert not [name for name in sys.modules if name.startswith("kubernetes.client")]
assert kubernetes.client.CoreV1Api
assert kubernetes.aio.client.ApiClient
assert not hasattr(kubernetes, "nothing")
assert "kubernetes.config" not in sys.modules
from kubernetes import config
assert config is kubernetes.config
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=HANG_SECONDS)


def test_kubernetes_client_that_is_imported_already_stays_as_it_is() -> None:
    script = "import kubernetes, qualtrics_exporter.controller as _; assert kubernetes.__version__"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=HANG_SECONDS)


def bodies(number: int) -> Iterator[dict[str, Any]]:
    """Exporters as the API server returns them: each body has its own strings."""
    text = json.dumps(body(initial_status(at("2026-11-24 00:20"))))
    for n in range(number):
        fresh = json.loads(text)
        metadata = fresh["metadata"]
        metadata |= {"name": f"exporter-{n:05d}", "uid": f"{n:08x}-0000-4000-8000-000000000000"}
        metadata["resourceVersion"] = str(100_000 + n)
        yield fresh


async def test_exporter_takes_about_a_kilobyte_of_memory() -> None:
    setup = WatchWithQueue({}, WatchedClock(SystemClock()))
    exporters = bodies(1020)
    for _ in range(20):
        setup.watch.observe(next(exporters))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for one in exporters:
            setup.watch.observe(one)
        del one
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(setup.queue) == 1020
    assert (after - before) / 1000 < BYTES_PER_EXPORTER


async def test_watch_begins_after_all_pages_of_the_list_are_processed(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, requests = namespace_watch.NamespaceWatch._on_page, []

    async def slowly(self: namespace_watch.NamespaceWatch, items: list[Any]) -> None:
        for _ in range(2000):  # so that Kopf can continue meanwhile
            await asyncio.sleep(0)
        await process(self, items)
        requests.append(api.requests.copy())

    monkeypatch.setattr(namespace_watch.NamespaceWatch, "_on_page", slowly)
    for number in range(60):
        api.put(exporter("a", f"exporter-{number}"))
    async with watching(api, "a") as setup:
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        assert len(setup.queue) == 60
    assert requests == [[("list", "a")] * 2, [("list", "a")] * 3, [("list", "a")] * 3], (
        "the next page is requested while a page is processed, and the watch begins after the last page"
    )


async def test_kopf_handles_only_changes_and_remembers_no_exporter(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[str] = []
    memories: list[namespace_watch._NoMemories] = []
    recall = namespace_watch._NoMemories.recall

    async def recorded(self: namespace_watch._NoMemories, raw_body: Any, **options: Any) -> Any:
        memories.append(self)
        handled.append(raw_body["metadata"]["name"])
        return await recall(self, raw_body, **options)

    monkeypatch.setattr(namespace_watch._NoMemories, "recall", recorded)
    api.put(exporter("a", "listed"))
    async with watching(api, "a") as setup:
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        assert setup.names() == {"a/listed"}
        api.put(exporter("a", "changed"))
        await until(lambda: setup.names() == {"a/listed", "a/changed"}, "the change is received")
        assert handled == ["changed"]
        assert [list(memory.iter_all_memories()) for memory in memories] == [[]]
