"""The console of a cluster with one exporter, without the cluster: for tests of the form, which writes nothing."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from qualtrics_exporter.cli.console.server import serve
from qualtrics_exporter.cli.console.session import Session
from qualtrics_exporter.cli.console.snapshot import Snapshot
from qualtrics_exporter.cli.console.source import Event, Object
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.clock import SystemClock
from tests.support.loop_thread import LoopThread


class OneExporter:
    """A source with this exporter. Every write fails the test."""

    where = "the test"

    def __init__(self, exporter: Object) -> None:
        self._exporter = exporter
        self.snapshot = Snapshot()

    async def get(self, namespace: str, name: str) -> Object:
        if (namespace, name) != ("dex", "teams-rollout"):
            raise Failed("There is no such exporter.", "NotFound")
        return self._exporter

    async def events(self, exporter: Object) -> Sequence[Event]:
        return ()

    async def patch(self, exporter: Object, change: Object) -> None:
        raise AssertionError("the form writes nothing")

    async def refusal(self, namespace: str) -> str | None:
        return None

    def unavailable(self, action: str) -> str | None:
        return None


@contextmanager
def served(exporter: Object) -> Iterator[Session]:
    """Serve the console in a thread."""
    thread, stack = LoopThread("console"), AsyncExitStack()
    thread.start()
    try:
        yield thread.run(lambda: stack.enter_async_context(serve(OneExporter(exporter), SystemClock())))
    finally:
        thread.run(stack.aclose)
        thread.stop()
