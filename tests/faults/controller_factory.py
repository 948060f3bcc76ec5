"""Creates controllers in the process of a test, each with a sandbox, and reuses them for several scenarios."""

import io
import itertools
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubernetes.aio import client

from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.transport import Timeouts
from qualtrics_exporter.sandbox import Sandbox
from qualtrics_exporter.telemetry import logs
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.faults.in_process_controller import MAX_RUNS, InProcessController
from tests.faults.scripted_clock import ScriptedClock
from tests.remote.servers import Server
from tests.support import log_settings
from tests.support.sandbox import Certificates
from tests.support.waiting import HANG_SECONDS

TIMEOUTS = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
"""On a busy machine, the sandbox replies slowly. `TransportFaults.give_up` makes a reply too late."""

_NUMBERS = itertools.count(1)


@dataclass
class ControllerFactory:
    """What the controllers of one module share."""

    api: client.ApiClient
    namespace: str
    folder: Path
    """For temporary files."""
    certificates: Certificates
    """The clients of the product trust them."""

    @asynccontextmanager
    async def create(
        self,
        *,
        people: int | None = None,
        allowed_hosts: Collection[str] = ("127.0.0.1",),
        allow_http: bool = True,
        canary: Server | None = None,
        **sandbox: Any,
    ) -> AsyncIterator[InProcessController]:
        """A controller for one scenario. Its exporter is not applied yet."""
        clock, log, metrics = ScriptedClock(), io.StringIO(), Metrics()
        metrics.leading(True)
        context = ApiContext(
            clock=clock,
            allowed_hosts=list(allowed_hosts),
            allow_http=allow_http,
            observe=metrics.observe,
            timeouts=TIMEOUTS,
        )
        async with AsyncExitStack() as stack:
            # The two formats of the log alternate.
            stack.enter_context(logged(log, "json" if next(_NUMBERS) % 2 else "console"))
            running = await stack.enter_async_context(Sandbox(clock=clock, **sandbox))
            listening = await stack.enter_async_context(canary or Server())
            await stack.enter_async_context(context)
            stack.callback(running.faults.clear)
            controller = InProcessController(
                self.api,
                self.namespace,
                self.folder,
                sandbox=running,
                clock=clock,
                context=context,
                metrics=metrics,
                canary=listening,
                log=log,
            )
            if people is not None:
                controller.set_people(people)
            yield controller
            assert running.recorder.errors == []


class ReusedController:
    """A controller for one scenario after the other: the same one, as long as its exporter is ready."""

    def __init__(self, factory: ControllerFactory) -> None:
        self._factory = factory
        self._stack = AsyncExitStack()
        self._controller: InProcessController | None = None
        self._people: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ready(self, *, people: int | None = None, fresh: bool = False) -> InProcessController:
        """A controller with a ready exporter and without faults. With `fresh`, it has not sent anything yet."""
        current = self._controller
        if not fresh and current and self._people == people and current.runs < MAX_RUNS:
            await current.begin_scenario()
            if (await current.condition("Ready"))["status"] == "True":
                return current
        await self._stack.aclose()
        controller = await self._stack.enter_async_context(self._factory.create(people=people))
        self._controller, self._people = controller, people
        await controller.apply_ready()
        return controller


@contextmanager
def logged(stream: io.StringIO, form: logs.Format) -> Iterator[None]:
    """Log as the product does, at level `debug`, to this stream only."""
    with log_settings.restored():
        logging.getLogger().handlers[:] = []
        logs.configure(form, "debug", stream=stream)
        yield
