"""What a benchmark runs against: an API server with the CRD, a folder, certificates, and operators."""

import base64
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from benchmarks.operator_process import NotInTime, OperatorProcess
from benchmarks.processes import temporary_folder
from benchmarks.remote_process import Certificates, RemoteProcess, RemoteSettings
from benchmarks.shifted_clock import shift_to_slot
from tests.support.controlplane import ControlPlane

T = TypeVar("T")

MARGIN_SECONDS = 10.0
"""How long before the slot an operator that does not know all exporters ends. A scrape of its metrics takes seconds."""


class Installation:
    """An API server, as a context manager. It ends every process that it started."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder())
            self.cluster = stack.enter_context(ControlPlane())
            if not self.cluster.owned:
                raise RuntimeError("benchmarks create thousands of objects, so they do not run in an existing cluster")
            self.cluster.install_crds()
            self.certificates = Certificates(self.folder)
            self._logs = 0
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def kubeconfig(self) -> Path:
        return self.cluster.kubeconfig

    def log(self) -> Path:
        """A new file for the standard error of a process."""
        self._logs += 1
        return self.folder / f"{self._logs:02d}.log"

    def secret(self, namespace: str, name: str, keys: dict[str, str]) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        self.cluster.put(f"/api/v1/namespaces/{namespace}/secrets/{name}", secret)

    def remote(self, settings: RemoteSettings) -> RemoteProcess:
        """Sandboxes with these settings."""
        return self.until_the_end(RemoteProcess(settings, self.certificates.server, self.log()))

    def operator(self, *arguments: str, shift: float = 0.0) -> OperatorProcess:
        """An operator, for all namespaces unless the arguments say otherwise. It is not ready yet."""
        process = OperatorProcess(self.kubeconfig, self.certificates.authority, self.log(), *arguments, shift=shift)
        return self.until_the_end(process)

    def operator_before_slot(self, exporters: int, *arguments: str, seconds: float) -> tuple[OperatorProcess, float]:
        """An operator that knows all exporters before `SLOT` is due, and when that is, by the monotonic clock.

        The slot is `seconds` after the start of the operator. If the start takes longer, another operator has twice the
        time. An operator that is late ends before the slot, because it would claim runs.
        """
        while True:
            due_at = time.monotonic() + seconds
            operator = self.operator(*arguments, shift=shift_to_slot(seconds))
            try:
                operator.wait_until_seen(exporters, until=due_at - MARGIN_SECONDS)
            except NotInTime:
                operator.end()
            else:
                if time.monotonic() < due_at:
                    return operator, due_at
            if time.monotonic() > due_at:
                raise RuntimeError(f"the slot was due before the operator knew all exporters, after {seconds:.0f} s")
            seconds *= 2

    def until_the_end(self, process: AbstractContextManager[T]) -> T:
        """End the process with the installation, unless it ended before."""
        return self._stack.enter_context(process)
