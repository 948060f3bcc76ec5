"""Watches the exporters of a namespace, and records when runs are claimed, when they end, and how often they write."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.exporters import ApiConnection, path_of
from benchmarks.processes import HANG_SECONDS


class StatusWatch:
    """A watch in a thread, as a context manager. Times are of the monotonic clock of the machine."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._connection = ApiConnection(kubeconfig)
        version = self._connection.call("GET", f"{path_of(namespace)}?limit=1")["metadata"]["resourceVersion"]
        self._lines = self._connection.watch(f"{path_of(namespace)}?watch=1&resourceVersion={version}")
        self._problem = ""
        self._changed = threading.Condition()
        self.claimed: dict[str, float] = {}
        """When the last run of an exporter was first seen in its status."""
        self.ended: dict[str, dict[str, float]] = defaultdict(dict)
        """When the entry of a run was first seen, by exporter and run."""
        self.entries: dict[str, dict[str, Any]] = {}
        """The newest entry of each exporter."""
        self.changes: dict[str, int] = defaultdict(int)
        """How often each exporter changed. A write that changes nothing is not an event of the watch."""
        self._runs: dict[str, str] = {}
        self._is_closed = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._read, name="watch of statuses", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._connection.shut_down()  # ends the read in the thread

    def wait_for_entry(self, name: str, before: int) -> tuple[float, dict[str, Any]]:
        """Wait until the exporter has more than `before` entries. Returns when it was seen, and the entry."""
        with self._changed:
            self._wait_for(lambda: len(self.ended[name]) > before, f"the run of {name} did not end")
            entry = self.entries[name]
            return self.ended[name][entry["id"]], entry

    def wait_for_claims(self, number: int) -> list[float]:
        """Wait until that many exporters have claimed a run. Returns when each claim was seen."""
        with self._changed:
            self._wait_for(lambda: len(self.claimed) >= number, f"fewer than {number} runs were claimed")
            return list(self.claimed.values())

    def _wait_for(self, condition: Callable[[], bool], otherwise: str) -> None:
        if not self._changed.wait_for(lambda: condition() or self._problem, HANG_SECONDS):
            raise RuntimeError(f"{otherwise} in {HANG_SECONDS:g} s")
        if self._problem:
            raise RuntimeError(f"the watch of the benchmark broke: {self._problem}")

    def _read(self) -> None:
        try:
            for line in self._lines:
                now = time.monotonic()
                event = json.loads(line)
                with self._changed:
                    self._take(event["object"], now)
                    self._changed.notify_all()
            problem = "it ended"
        except Exception as error:  # noqa: BLE001  the benchmark reports it
            problem = f"{type(error).__name__}: {error}"
        with self._changed:
            self._problem = "" if self._is_closed else problem
            self._changed.notify_all()

    def _take(self, body: dict[str, Any], now: float) -> None:
        name, status = body["metadata"]["name"], body.get("status", {})
        self.changes[name] += 1
        run = status.get("activeRun", {}).get("id")
        if run and self._runs.get(name) != run:
            self._runs[name], self.claimed[name] = run, now
        for entry in status.get("history", ())[:1]:
            self.ended[name].setdefault(entry["id"], now)
            self.entries[name] = entry
