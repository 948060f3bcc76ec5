"""Starts `kubectl qex` as users do: kubectl finds the plugin on the PATH."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.programs import installed
from tests.support.waiting import HANG_SECONDS


@dataclass(frozen=True)
class Qex:
    """`kubectl qex` with the kubeconfig of a user, in an empty home directory."""

    kubeconfig: Path
    home: Path
    namespace: str

    def __call__(
        self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in the namespace until it exits, and check its exit code."""
        return self.anywhere(*arguments, "--namespace", self.namespace, code=code, env=env)

    def anywhere(
        self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command without a namespace."""
        done = subprocess.run(
            ["kubectl", "qex", *arguments],
            env=self.environment(env or {}),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self(*arguments).stdout)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of the command, without those of the developer."""
        path = f"{installed('kubectl').parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "KUBERC": "off"}
        return {**own, "TZ": "Europe/Zurich", **more}
