"""Writes what is generated from other files of the repository, after the models have had their turn: `make generate`.

- `argocd/argocd-cm.yaml`: the scripts for Argo CD, for those whose Argo CD does not bring them.
- `config/`: what the chart renders, for kustomize.

`--check` writes nothing and fails when a file is not what would be written.
"""

import argparse
import sys
from pathlib import Path

from qualtrics_exporter.resource.exporter import GROUP, KIND
from qualtrics_exporter.resource.generate import written
from tests.environment.build import ROOT
from tests.environment.kustomize import COMMENT, config, dumped

CUSTOMIZATION = ROOT / "argocd" / "resource_customizations" / GROUP / KIND
ARGOCD_CM_PATH = "argocd/argocd-cm.yaml"
ARGOCD_CM_COMMENT = f"""\
{COMMENT.format(CUSTOMIZATION.relative_to(ROOT))}#
# For an Argo CD that does not bring these scripts: how an exporter does, and what can be done with it.
# Add it to the argocd-cm that is there, of which it changes nothing else:
#   kubectl apply --server-side --field-manager=qualtrics-exporter -n argocd -f argocd/argocd-cm.yaml
"""


def generated() -> dict[str, str]:
    """The text of each generated file, by its path in the repository."""
    return {ARGOCD_CM_PATH: argocd_cm(), **config()}


def argocd_cm() -> str:
    """The scripts as settings of Argo CD."""
    scripts = CUSTOMIZATION / "actions"
    actions = {
        "discovery.lua": (scripts / "discovery.lua").read_text("utf-8"),
        "definitions": [
            {"name": path.parent.name, "action.lua": path.read_text("utf-8")}
            for path in sorted(scripts.glob("*/action.lua"))
        ],
    }
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "argocd-cm",
            "labels": {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"},
        },
        "data": {
            f"resource.customizations.health.{GROUP}_{KIND}": (CUSTOMIZATION / "health.lua").read_text("utf-8"),
            f"resource.customizations.actions.{GROUP}_{KIND}": dumped(actions),
        },
    }
    return ARGOCD_CM_COMMENT + dumped(settings)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write the files, or with --check compare them. 0: good, 1: something is stale."""
    parser = argparse.ArgumentParser(prog="python -m tests.environment.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    return 0 if written(generated(), root, check=parser.parse_args(arguments).check) else 1


if __name__ == "__main__":
    sys.exit(main())
