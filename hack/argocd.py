"""Generates `argocd/argocd-cm.yaml`, which adds the scripts in `argocd/resource_customizations` to Argo CD."""

from hack.files import HEADER, ROOT, to_yaml
from qualtrics_exporter.resource.names import GROUP, KIND

SCRIPTS = ROOT / "argocd" / "resource_customizations" / GROUP / KIND
PATH = "argocd/argocd-cm.yaml"
_COMMENT = f"""\
{HEADER.format(SCRIPTS.relative_to(ROOT))}#
# The health check and the actions of exporters, for Argo CD versions that do not include them. To add them to your
# argocd-cm without changing its other settings:
#
#   kubectl apply --server-side --field-manager=qualtrics-exporter -n argocd -f argocd/argocd-cm.yaml
"""


def generated() -> dict[str, str]:
    """The text of the file, by its path in the repository."""
    actions = {
        "discovery.lua": (SCRIPTS / "actions" / "discovery.lua").read_text("utf-8"),
        "definitions": [
            {"name": path.parent.name, "action.lua": path.read_text("utf-8")}
            for path in sorted((SCRIPTS / "actions").glob("*/action.lua"))
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
            f"resource.customizations.health.{GROUP}_{KIND}": (SCRIPTS / "health.lua").read_text("utf-8"),
            f"resource.customizations.actions.{GROUP}_{KIND}": to_yaml(actions),
        },
    }
    return {PATH: _COMMENT + to_yaml(settings)}
