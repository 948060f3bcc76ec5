"""All benchmarks at tiny sizes, so that they keep working. Their figures are of no use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.command import BENCHMARKS
from benchmarks.processes import ROOT
from hack.limits import HANG_SECONDS


@pytest.mark.cluster
@pytest.mark.long
def test_every_benchmark_measures_something_and_ends_its_processes(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--json", str(file)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=6 * HANG_SECONDS)
    document = json.loads(file.read_text())
    assert document["failures"] == [], done.stderr
    assert done.returncode == 0
    assert {figure["benchmark"] for figure in document["figures"]} == set(BENCHMARKS)
    assert {figure["name"] for figure in document["figures"] if "429" in figure["name"] and figure["median"]} == set()
    assert list(tmp_path.iterdir()) == [file]
    left = [path.read_text().split("\0") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert [arguments for arguments in left if str(tmp_path) in "".join(arguments)] == []
