"""Builds kube-score, a third-party program that checks Kubernetes objects, for the tests of the chart.

`tests/linters` is a Go module that pins its version. It is not part of `tests/programs`, because kube-score does not
compile with the version of the Kubernetes modules that is there.

`python -m hack.linters` builds it if it is missing and prints its path.
"""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hack.build import TOOLS, BuildError, call, create_once
from hack.files import ROOT
from hack.limits import HANG_SECONDS
from hack.programs import go, go_environment

SOURCE = ROOT / "tests" / "linters"
COMMAND = (
    *("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"),
    "github.com/zegl/kube-score/cmd/kube-score",
)
KUBERNETES = "v1.30"
"""The oldest version that the chart supports."""
GRADE_OK = 10


class Finding(NamedTuple):
    """Something that kube-score would change, about one object."""

    check: str
    """The id of the check, such as `pod-networkpolicy`."""
    object_: str
    """Kind and name."""
    summary: str


def build() -> Path:
    """Return the path of kube-score, and build it first if it is missing."""
    parts = [*COMMAND, platform.system(), platform.machine(), *((SOURCE / n).read_text() for n in ("go.mod", "go.sum"))]
    path = TOOLS / f"kubescore-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    with create_once(path, "building kube-score") as result:
        if result:
            command = [str(go()), *COMMAND[:-1], "-o", str(result), COMMAND[-1]]
            call(command, "Building kube-score", folder=SOURCE, environment=go_environment())
    return path


def kube_score(objects: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return what kube-score reports about these objects, as warning or as critical."""
    command = [str(build()), "score", "--output-format=json", f"--kubernetes-version={KUBERNETES}", "-"]
    text = "\n---\n".join(json.dumps(object_) for object_ in objects)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
    if done.returncode not in (0, 1) or not done.stdout:  # 1 is a critical finding
        raise BuildError(f"kube-score failed with {done.returncode}:\n{done.stderr}")
    return [
        Finding(
            check["check"]["id"], f"{scored['type_meta']['kind']} {scored['object_meta']['name']}", comment["summary"]
        )
        for scored in json.loads(done.stdout)
        for check in scored["checks"]
        if not check["skipped"] and check["grade"] < GRADE_OK
        for comment in check["comments"] or [{"summary": check["check"]["name"]}]
    ]


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
