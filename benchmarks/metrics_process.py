"""A process that serves the metrics of many exporters as the operator does, and measures how its event loop is delayed.

    python -m benchmarks.metrics_process EXPORTERS

It prints its address. For each line that it reads, it prints the longest delay of the event loop since the last one.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

from benchmarks.exporters import NOT_DUE, checked_status, manifest
from qualtrics_exporter.controller import probes
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.telemetry.metrics import Metrics

NAP_SECONDS = 0.001
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


class LoopDelay:
    """The longest delay of a task that wants to continue every millisecond."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + NAP_SECONDS
            await asyncio.sleep(NAP_SECONDS)
            self._longest = max(self._longest, time.monotonic() - due)

    def take(self) -> float:
        """The longest delay since the last call."""
        longest, self._longest = self._longest, 0.0
        return longest


def metrics_of(exporters: int) -> Metrics:
    """The metrics of a leader with so many exporters, each with all its series."""
    body = manifest("exporter", NOT_DUE)
    body["metadata"] |= {"namespace": "benchmark", "uid": "uid", "resourceVersion": "1", "generation": 1}
    status = checked_status(body, NOW, history=10)
    status["credentialsExpiry"] = {"nexthink": "2027-01-01T00:00:00Z", "qualtrics": "2027-01-01T00:00:00Z"}
    delivery = dict.fromkeys(("failed", "bounced", "blocked", "skipped", "opened", "started", "finished"), 7)
    status["history"][0]["delivery"] |= delivery
    body["status"] = status
    metrics = Metrics()
    for number in range(exporters):
        body["metadata"] |= {"name": f"exporter-{number:05d}", "namespace": f"team-{number % 100}"}
        metrics.exporter(Exporter.from_object(body), ready=True)
    metrics.leading(True)
    return metrics


async def serve(exporters: int) -> None:
    """Serve until standard input ends."""
    metrics, delay = metrics_of(exporters), LoopDelay()
    async with probes.serve("127.0.0.1:0", metrics=metrics.text) as (host, port):
        print(json.dumps({"address": f"http://{host}:{port}"}), flush=True)
        measuring = asyncio.create_task(delay.run())
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps({"delay": delay.take()}), flush=True)
        measuring.cancel()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
