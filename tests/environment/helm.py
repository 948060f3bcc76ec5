"""The real Helm: its own command line, from the program of `build.py`, and the chart of this repository.

It reads and writes nothing of the user's: its folders are below one that the caller gives, and without a kubeconfig it
knows no cluster.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.environment import plain_yaml
from tests.environment.build import ROOT, build, without_collection
from tests.environment.waiting import HANG_SECONDS

CHART = ROOT / "charts" / "qualtrics-exporter"

Values = Mapping[str, Any]


class HelmError(subprocess.CalledProcessError):
    """Helm ended with an error. Unlike its base it says what Helm said."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout}{self.stderr}"


class Helm:
    """Helm with folders of its own, for the cluster of a kubeconfig or, without one, for no cluster.

    `arguments` of all calls are Helm's own flags; `values` are given as a file, over those of the chart.
    """

    def __init__(self, folder: Path, kubeconfig: Path | None = None, *, chart: Path = CHART) -> None:
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._chart = str(chart)

    def template(
        self, release: str, *arguments: str, namespace: str = "default", values: Values | None = None
    ) -> list[dict[str, Any]]:
        """Render the chart: every object, hooks included. No cluster is asked."""
        text = self._chart_command("template", release, *arguments, namespace=namespace, values=values)
        return [document for document in plain_yaml.read_all(text) if document]

    def install(self, release: str, *arguments: str, namespace: str, values: Values | None = None) -> str:
        """Install the chart; returns what Helm prints, NOTES included."""
        return self._chart_command("install", release, *arguments, namespace=namespace, values=values)

    def upgrade(self, release: str, *arguments: str, namespace: str, values: Values | None = None) -> str:
        """Upgrade a release to these values and no others; returns what Helm prints, NOTES included."""
        # Without values Helm would keep the last ones.
        return self._chart_command("upgrade", release, "--reset-values", *arguments, namespace=namespace, values=values)

    def uninstall(self, release: str, *arguments: str, namespace: str) -> str:
        """Remove a release."""
        return self.run("uninstall", release, "--namespace", namespace, *arguments).stdout

    def test(self, release: str, *arguments: str, namespace: str) -> str:
        """`helm test`."""
        return self.run("test", release, "--namespace", namespace, *arguments).stdout

    def run(
        self,
        *arguments: str,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
    ) -> subprocess.CompletedProcess[str]:
        """Run any command of Helm; HelmError if it fails, unless `check` is false."""
        command = [str(build()), "helm", *arguments]
        done = subprocess.run(
            command, input=input, env=self._environment(), capture_output=True, text=True, timeout=HANG_SECONDS
        )
        if check and done.returncode != 0:
            raise HelmError(done.returncode, command, done.stdout, done.stderr)
        return done

    def _chart_command(self, command: str, release: str, *arguments: str, namespace: str, values: Values | None) -> str:
        where = (release, self._chart, "--namespace", namespace)
        return self.run(command, *where, "--values", "-", *arguments, input=json.dumps(values or {})).stdout

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
        homes = {
            f"HELM_{what}_HOME": str(self._folder / f"helm-{what.lower()}") for what in ("CACHE", "CONFIG", "DATA")
        }
        kubeconfig = str(self._kubeconfig or self._folder / "no-kubeconfig")
        return {**without_collection(own), **homes, "KUBECONFIG": kubeconfig}
