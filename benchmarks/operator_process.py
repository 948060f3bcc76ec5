"""The operator as a process of its own, as users run it, with a shifted wall clock.

Run as a module, it is the `controller` command. It prints the address of its probes as JSON.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.processes import HANG_SECONDS, Child, ProcessFailed, cpu_seconds

_AFTER = "# HELP qualtrics_exporter_ready "
"""The first line after the metrics of the operator."""


class NotInTime(Exception):
    """The operator does not know all exporters yet."""


class OperatorProcess(Child):
    """An operator, from its start on."""

    def __init__(self, kubeconfig: Path, authority: Path, log: Path, *arguments: str, shift: float = 0.0) -> None:
        self.started = time.monotonic()
        fixed = ("--allowed-host", "localhost", "--allowed-download-host", "localhost", "--no-leader-election")
        super().__init__(
            __name__,
            str(shift),
            *("--http-address", "127.0.0.1:0", *fixed, *arguments),
            log=log,
            environment={
                "KUBECONFIG": str(kubeconfig),
                "SSL_CERT_FILE": str(authority),
                "POD_NAME": "operator",
                "HOME": str(log.parent),
            },
        )
        self.address = self.receive()["address"]

    def wait_until_ready(self, until: float | None = None) -> float:
        """Wait until all exporters were listed. Returns the seconds since the start of the process.

        Raises `NotInTime` at the time `until`, by the monotonic clock.
        """
        self._poll(lambda: self._status("/readyz") == 200, "ready", until, pause=0.05)
        return time.monotonic() - self.started

    def wait_until_seen(self, exporters: int, until: float | None = None) -> float:
        """Wait until the operator knows that many exporters. Returns the seconds since the start of the process.

        A scrape with thousands of exporters costs the operator CPU time, so there is one after `wait_until_ready`, and
        more only if that one is too early.
        """
        took = self.wait_until_ready(until)
        wanted = f"qualtrics_exporter_exporters {float(exporters)}"
        if wanted not in self.own_metrics():
            self._poll(lambda: wanted in self.own_metrics(), f"ready with {exporters} exporters", until, pause=1)
            took = time.monotonic() - self.started
        return took

    def own_metrics(self) -> str:
        """The metrics of the operator. They come before those of the exporters, which are not read."""
        page = ""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=HANG_SECONDS) as reply:  # noqa: S310
            while _AFTER not in page and (chunk := reply.read1()):
                page += chunk.decode(errors="replace")
        return page

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def _poll(self, condition: Callable[[], bool], what: str, until: float | None, *, pause: float) -> None:
        deadline = time.monotonic() + HANG_SECONDS
        while not condition():
            if until is not None and time.monotonic() > until:
                raise NotInTime(f"the operator is not {what}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"the operator is not {what} after {HANG_SECONDS:g} s\n{self.errors()}")
            time.sleep(pause)

    def _status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"{self.address}{path}", timeout=HANG_SECONDS) as reply:  # noqa: S310
                return int(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


def main() -> None:
    """The `controller` command. The first argument is the shift of the wall clock, in seconds."""
    from benchmarks.shifted_clock import ShiftedClock
    from qualtrics_exporter.cli import main as command
    from qualtrics_exporter.controller import app

    shift = float(sys.argv.pop(1))
    parts = app.Parts(on_listening=_print_address)
    app.run = partial(app.run, clock=ShiftedClock(shift), parts=parts)
    sys.argv[0:1] = ["qualtrics-exporter", "controller"]
    command()


def _print_address(host: str, port: int) -> None:
    print(json.dumps({"address": f"http://{host}:{port}"}), flush=True)


if __name__ == "__main__":
    main()
