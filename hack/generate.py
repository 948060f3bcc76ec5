"""Writes all generated files of the repository: `make generate`.

- the CRD, a copy of it for the chart, and the JSON Schema of a manifest, all from `resource/`
- `docs/reference.md`, `docs/reasons.md` and `docs/reasons/` (`pages.py`)
- `docs/metrics.md` and `docs/metrics/` (`metrics_page.py`)
- the JSON Schema and the README of the chart (`chart.py`)
- `argocd/argocd-cm.yaml` (`argocd.py`)
- the dashboard of the chart for Grafana (`dashboard.py`)
- `config/` for kustomize (`kustomize.py`), which it renders from the chart with the Helm of `programs.py`

With `--check`, it writes nothing and exits with 1 if a file is stale. CI runs this as `make check-generated`.
"""

import argparse
import sys

from hack import argocd, chart, dashboard, kustomize, metrics_page, pages
from hack.build import BuildError
from hack.files import ROOT, write
from qualtrics_exporter.resource.crd import crd_yaml
from qualtrics_exporter.resource.json_schema import json_schema_text
from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION

CRD_PATH = f"crds/{GROUP}_{PLURAL}.yaml"
CHART_CRD_PATH = "charts/qualtrics-exporter/files/crd.yaml"
"""A copy, because a chart can read only files in its own folder."""
JSON_SCHEMA_PATH = f"schemas/{GROUP}/{KIND.lower()}_{VERSION}.json"
"""The layout in which tools such as kubeconform look for schemas."""


def from_models() -> dict[str, str]:
    """The files that are generated from the models and tables of the package: their texts by path in the repository."""
    return {
        CRD_PATH: crd_yaml(),
        CHART_CRD_PATH: crd_yaml(),
        JSON_SCHEMA_PATH: json_schema_text(),
        **pages.generated(),
        **metrics_page.generated(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or check them. Returns 1 if `--check` finds a stale file."""
    parser = argparse.ArgumentParser(prog="python -m hack.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and exit with 1 if a file is stale")
    check = parser.parse_args(arguments).check
    up_to_date = write({**from_models(), **argocd.generated(), **dashboard.generated()}, ROOT, check=check)
    up_to_date &= write(chart.generated(ROOT / chart.FOLDER), ROOT / chart.FOLDER, check=check)
    # The last, because it renders the chart with the files that were just written.
    up_to_date &= write(kustomize.generated(), ROOT, check=check)
    return 0 if up_to_date else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as error:
        sys.exit(str(error))
