"""Runs the real Helm command line, from the program of `programs.py`, with the chart of this repository.

Helm does not read or write the user's files: its folders are below a folder that the caller chooses. Without a
kubeconfig, it does not connect to a cluster.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hack import plain_yaml
from hack.files import ROOT
from hack.limits import HANG_SECONDS
from hack.programs import build, without_collection

CHART = ROOT / "charts" / "qualtrics-exporter"

Values = Mapping[str, Any]


class HelmError(subprocess.CalledProcessError):
    """Helm failed. The message contains its output."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout}{self.stderr}"


class Helm:
    """Helm with its own folders, for the cluster of a kubeconfig, or for no cluster.

    In all methods, `arguments` are flags of Helm, and `values` override the values of the chart.
    """

    def __init__(self, folder: Path, kubeconfig: Path | None = None, *, chart: Path = CHART) -> None:
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._chart = str(chart)

    def template(
        self, release: str, *arguments: str, namespace: str = "default", values: Values | None = None
    ) -> list[dict[str, Any]]:
        """Render the chart without a cluster, and return every object, including hooks."""
        text = self._chart_command("template", release, *arguments, namespace=namespace, values=values)
        return [document for document in plain_yaml.read_all(text) if document]

    def install(self, release: str, *arguments: str, namespace: str, values: Values | None = None) -> str:
        """Install the chart, and return the output of Helm, including NOTES."""
        return self._chart_command("install", release, *arguments, namespace=namespace, values=values)

    def upgrade(self, release: str, *arguments: str, namespace: str, values: Values | None = None) -> str:
        """Upgrade a release to exactly these values, and return the output of Helm, including NOTES."""
        # Without this flag and without values, Helm reuses the previous values.
        return self._chart_command("upgrade", release, "--reset-values", *arguments, namespace=namespace, values=values)

    def uninstall(self, release: str, *arguments: str, namespace: str) -> str:
        return self.run("uninstall", release, "--namespace", namespace, *arguments).stdout

    def test(self, release: str, *arguments: str, namespace: str) -> str:
        return self.run("test", release, "--namespace", namespace, *arguments).stdout

    def run(
        self,
        *arguments: str,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
    ) -> subprocess.CompletedProcess[str]:
        """Run any Helm command. Raise HelmError if it fails, unless `check` is false."""
        command = [str(build()), "helm", *arguments]
        done = subprocess.run(
            command,
            input=input,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
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
