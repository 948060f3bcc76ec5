"""Runs the pinned kubectl of the Python environment, and writes kubeconfigs."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hack.limits import HANG_SECONDS
from hack.programs import installed, without_collection


class KubectlError(subprocess.CalledProcessError):
    """kubectl failed. The message contains its output, so that a failed test shows it."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout}{self.stderr}"


def run_kubectl(
    arguments: Sequence[str],
    kubeconfig: Path,
    cache: Path,
    *,
    input: str | None = None,  # noqa: A002 - as subprocess.run calls it
    check: bool = True,
    timeout: float = HANG_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run kubectl. Raise KubectlError if it fails, unless `check` is false.

    It does not read or write files in the home of the user.
    """
    variables = {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache), "KUBERC": "off"}
    environment = {**without_collection(os.environ), **variables}
    command = [str(installed("kubectl")), *arguments]
    done = subprocess.run(
        command, input=input, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode != 0:
        raise KubectlError(done.returncode, command, done.stdout, done.stderr)
    return done


def write_kubeconfig(path: Path, cluster: Mapping[str, Any], token: str, namespace: str) -> Path:
    """Write a kubeconfig with one user and one context, as JSON, which is YAML. Only its owner can read it."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": dict(cluster)}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "current-context": "test",
    }
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
