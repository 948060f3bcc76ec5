"""Writes every generated file of the repository: `make generate`.

- the CRD, with copies for the chart and for kustomize, and the JSON Schema of a manifest (from `resource/`)
- `docs/reference.md` and `docs/reasons.md` (`pages.py`)
- the JSON Schema and the README of the chart (`chart.py`)
- `argocd/argocd-cm.yaml` (`argocd.py`)
- `config/` for kustomize (`tests/environment/generate.py`, a separate program: it renders the chart with the Helm that
  the tests build)

With `--check` it writes nothing, and exits with 1 if a file is stale. `make check-generated` does that in CI.
"""

import argparse
import subprocess
import sys

from hack import argocd, chart, pages
from hack.files import ROOT, write
from qualtrics_exporter.resource.crd import crd_yaml
from qualtrics_exporter.resource.exporter import GROUP, KIND, PLURAL, VERSION
from qualtrics_exporter.resource.json_schema import json_schema_text

CRD_PATH = f"crds/{GROUP}_{PLURAL}.yaml"
CHART_CRD_PATH = "charts/qualtrics-exporter/files/crd.yaml"
"""A chart can only read files in its own folder."""
JSON_SCHEMA_PATH = f"schemas/{GROUP}/{KIND.lower()}_{VERSION}.json"
"""Where tools look for the schema of a custom resource below a folder of schemas."""


def from_models() -> dict[str, str]:
    """The text of each file that is generated from `resource/`, by its path in the repository."""
    return {
        CRD_PATH: crd_yaml(),
        CHART_CRD_PATH: crd_yaml(),
        JSON_SCHEMA_PATH: json_schema_text(),
        **pages.generated(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check compare them. 0: success, 1: a file is stale."""
    parser = argparse.ArgumentParser(prog="python -m hack.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    check = parser.parse_args(arguments).check
    current = write({**from_models(), **argocd.generated()}, ROOT, check=check)
    current &= write(chart.generated(ROOT / chart.FOLDER), ROOT / chart.FOLDER, check=check)
    config = [sys.executable, "-m", "tests.environment.generate", *(["--check"] if check else [])]
    current &= subprocess.run(config, cwd=ROOT, check=False).returncode == 0
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
