"""A real Prometheus with promtool and amtool, from the Debian packages of the machine's release.

The packages are extracted below `.tools/`. `alertmanager.py` starts the Alertmanager of the same packages.
"""

import json
import os
import subprocess
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from hack import debian
from tests.support import guarded
from tests.support.waiting import HANG_SECONDS, eventually

PACKAGES = ("prometheus", "prometheus-alertmanager")
DATA = b"/usr/share/prometheus/alertmanager"
RELATIVE_DATA = b"usr//share/prometheus/alertmanager"

LISTENING = 'msg="Listening on" address='


class Sample(NamedTuple):
    """One series in the result of a query."""

    labels: dict[str, str]
    value: float


def root() -> Path:
    """Return the folder with the packages. Alertmanager must run in this folder."""
    return debian.extracted("prometheus", *PACKAGES, prepare=_find_data_in_current_folder)


def program(name: str) -> Path:
    """Return the path of prometheus, promtool, prometheus-alertmanager or amtool."""
    return root() / "usr" / "bin" / name


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("amtool"), *arguments], capture_output=True, text=True, cwd=root())


def _find_data_in_current_folder(folder: Path) -> None:
    """Debian's Alertmanager reads its templates from /usr/share. Let it read them from the folder where it runs.

    The new path has the same length as the old one, so nothing else in the programs moves.
    """
    for path in (folder / "usr" / "bin").iterdir():
        path.write_bytes(path.read_bytes().replace(DATA, RELATIVE_DATA))


class Server(ABC):
    """A server of the packages, as a context manager. It writes the address where it listens to its log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._log = folder / "log"
        self._running = ExitStack()
        self.url = ""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that starts the server on a free local port."""

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def __enter__(self) -> Self:
        running = guarded.serving(self.command(), self._log, "the server", self._ready_url, cwd=root())
        self.url = self._running.enter_context(running)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    def get(self, path: str, **parameters: str) -> Any:
        """Return the JSON of a GET request."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=HANG_SECONDS) as reply:
            return json.load(reply)

    def post(self, path: str, body: object = None) -> None:
        """Send JSON."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=HANG_SECONDS):
            pass

    def _ready_url(self) -> str:
        """The URL as soon as the server is ready; empty before."""
        found = [line.partition(LISTENING)[2] for line in self.log.splitlines() if LISTENING in line]
        if not found:
            return ""
        url = f"http://{found[0]}"
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=HANG_SECONDS) as reply:
                return url if reply.status == 200 else ""
        except OSError:
            return ""


class Prometheus(Server):
    """A Prometheus that scrapes the targets of the last call of `scrape`, with the data in a folder.

    `rules` are files with rules. `alertmanager` is the URL of one, without the scheme.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rules: Sequence[Path] = (),
        alertmanager: str = "",
        honor_labels: bool = True,
        interval: str = "500ms",
    ) -> None:
        super().__init__(folder)
        self._targets = self.folder / "targets.json"
        self.scrape({})
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": "operator",
                    "honor_labels": honor_labels,
                    "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": "1s"}],
                }
            ],
        }
        if alertmanager:
            configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        self._configuration = self.folder / "prometheus.json"
        self._configuration.write_text(json.dumps(configuration))  # JSON is YAML

    def command(self) -> Sequence[str | Path]:
        return (
            program("prometheus"),
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--web.enable-lifecycle",
            # Debian's defaults are folders below /etc.
            f"--web.console.templates={self.folder}",
            f"--web.console.libraries={self.folder}",
        )

    def scrape(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        """Scrape exactly these addresses, each with the labels of its target. It follows within a few seconds."""
        groups = [
            {"targets": [address.removeprefix("http://")], "labels": labels} for address, labels in targets.items()
        ]
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps(groups))
        os.replace(fresh, self._targets)

    def reload(self) -> None:
        """Read the configuration and the rules again."""
        self.post("/-/reload")

    def query(self, expression: str) -> list[Sample]:
        """Return the current result of an expression that yields a vector or a scalar."""
        data = self.get("/api/v1/query", query=expression)["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(series["metric"], float(series["value"][1])) for series in data["result"]]

    def until(self, expression: str, what: str = "") -> list[Sample]:
        """Wait until an expression has a result, and return it."""
        return eventually(lambda: self.query(expression), what or expression)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        found: list[dict[str, Any]] = self.get("/api/v1/alerts")["data"]["alerts"]
        return found
