"""Generates `config/`, the installation for kustomize: the objects that Helm renders from the chart.

Only the chart defines the objects of the operator. This module removes the labels, annotations and hooks of Helm, and
makes the objects work with the fields of a kustomization. `namespace:` does not change the values of environment
variables, so a variable with the namespace gets its value from a field of the pod. `namePrefix:` also changes the name
of the Lease and the instance label, because they are configured as references to the name of the Deployment. Otherwise,
two operators in one namespace (shards) would share them.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

from hack.files import HEADER, ROOT, to_yaml
from hack.helm import Helm
from qualtrics_exporter.resource.crd import crd_yaml
from qualtrics_exporter.resource.names import PLURAL
from qualtrics_exporter.sandbox import Account, Sandbox

Objects = list[dict[str, Any]]

NAME = "qualtrics-exporter"
"""The name of the release and of its namespace, unless a kustomization changes them."""

SANDBOX = "sandbox"
"""The name of the Deployment and the Service of the sandbox, which is also its host name in its namespace."""
SANDBOX_NAMESPACE = f"{NAME}-sandbox"
"""A separate namespace, so that trying and removing the sandbox does not affect an installed operator."""
SANDBOX_PORTS = {"nexthink": 8471, "qualtrics": 8472}
"""The default ports of `qualtrics-exporter sandbox`."""

BASE_COMMENT = """\
The operator for all namespaces, without its CRD and without a namespace.
#
# Apply this only once in a cluster. If you apply it to a second namespace, the ClusterRoleBinding moves there, and the
# first operator loses its permissions. To move the operator, delete it in the old namespace first."""
MONITORING_COMMENT = """\
Metrics and alerts for the Prometheus operator, as a component: docs/monitoring.md"""
MONITORING = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
MONITORING_KINDS = ("PrometheusRule", "ServiceMonitor")
CHART = "charts/qualtrics-exporter"
FILES = {"Role": "rbac", "RoleBinding": "rbac", "ClusterRole": "rbac", "ClusterRoleBinding": "rbac"}
INSTANCE = r"app.kubernetes.io\/instance"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
DEPLOYMENT_NAME_FIELDS = {
    "Deployment": (
        "spec/template/spec/containers/env/value",  # the name of the Lease; no other variable has this value
        f"metadata/labels/{INSTANCE}",
        f"spec/selector/matchLabels/{INSTANCE}",
        f"spec/template/metadata/labels/{INSTANCE}",
        f"spec/template/spec/affinity/podAntiAffinity/{PREFERRED}/podAffinityTerm/labelSelector/matchLabels/{INSTANCE}",
    ),
    "PodDisruptionBudget": (f"spec/selector/matchLabels/{INSTANCE}",),
    "Role": ("rules/resourceNames",),
    "Service": (f"spec/selector/{INSTANCE}",),
    "ServiceMonitor": (f"spec/selector/matchLabels/{INSTANCE}",),  # of config/monitoring
}
"""The fields that must have the name of the Deployment, also if a kustomization changes it."""
HELM_LABELS = {"app.kubernetes.io/managed-by": "Helm"}


def generated() -> dict[str, str]:
    """Return the generated files of `config/`, by their paths in the repository. The other files there are overlays."""
    everywhere, namespaced = rendered(), rendered(watchNamespaces=[NAME])
    monitoring = [object_ for object_ in rendered(**MONITORING) if object_["kind"] in MONITORING_KINDS]
    return {
        f"config/crd/{PLURAL}.yaml": HEADER.format("the models") + crd_yaml(),
        **_base("config/base", everywhere, BASE_COMMENT),
        **_base("config/namespaced", namespaced, "The operator for its own namespace, with no other permissions."),
        **_monitoring("config/monitoring", monitoring),
        "config/sandbox/sandbox.yaml": HEADER.format(CHART) + to_yaml(*sandbox(namespaced)),
        "config/sandbox/secrets.yaml": HEADER.format("the sandbox, whose credentials are public")
        + to_yaml(*sandbox_secrets()),
        "config/sandbox/teams-rollout.yaml": (ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"),
    }


def rendered(**values: Any) -> Objects:
    """Return the objects of the chart, except the CRD, for a kustomization."""
    with tempfile.TemporaryDirectory() as folder:
        served = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in MONITORING_KINDS]
        values = {"crds": {"enabled": False}, **values}
        objects = Helm(Path(folder)).template(NAME, *served, namespace=NAME, values=values)
    return [without_helm(object_) for object_ in objects if not _is_hook(object_)]


def without_helm(object_: dict[str, Any]) -> dict[str, Any]:
    """Return the object without the metadata of Helm. Its pods read their namespace from their own fields."""
    bare = copy.deepcopy(object_)
    template = bare.get("spec", {}).get("template")
    for metadata in (bare["metadata"], *([template["metadata"]] if template else [])):
        for field in ("labels", "annotations"):
            kept = {k: v for k, v in metadata.pop(field, {}).items() if k.partition("/")[0] != "helm.sh"}
            kept = {k: v for k, v in kept.items() if HELM_LABELS.get(k) != v}
            if kept:
                metadata[field] = kept
    for container in template["spec"]["containers"] if template else []:
        for variable in container.get("env", []):
            if variable.get("value") == NAME and variable["name"].endswith("NAMESPACE"):
                del variable["value"]
                variable["valueFrom"] = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return bare


def sandbox(operators: Objects) -> Objects:
    """Return the Deployment and the Service of the sandbox. Its pod is like that of the operator."""
    (operator,) = (object_ for object_ in operators if object_["kind"] == "Deployment")
    labels = {"app.kubernetes.io/name": SANDBOX, "app.kubernetes.io/part-of": NAME}
    pod = copy.deepcopy(operator["spec"]["template"]["spec"])
    (container,) = pod["containers"]
    pod.pop("serviceAccountName")
    pod |= {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5}
    kept = ("image", "imagePullPolicy", "resources", "securityContext")
    pod["containers"] = [
        {
            "name": SANDBOX,
            "args": ["sandbox", "--host=0.0.0.0", f"--advertise={SANDBOX}"],
            "ports": [{"name": name, "containerPort": port} for name, port in SANDBOX_PORTS.items()],
            # Not a request: the sandbox answers requests for `/_sandbox/` only from its own pod.
            "readinessProbe": {"tcpSocket": {"port": "qualtrics"}, "periodSeconds": 5},
            **{field: container[field] for field in kept},
        }
    ]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SANDBOX, "namespace": SANDBOX_NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,  # the sandbox keeps its data in memory
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SANDBOX, "namespace": SANDBOX_NAMESPACE, "labels": labels},
        # The Service is headless: large query results are downloaded from a third port, which is a random free port.
        "spec": {
            "clusterIP": "None",
            "selector": labels,
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in SANDBOX_PORTS.items()],
        },
    }
    return [deployment, service]


def sandbox_secrets() -> Objects:
    """Return the Secrets with the credentials of the sandbox."""
    served = Sandbox(Account.default())
    served.nexthink_url, served.qualtrics_url = (f"http://{SANDBOX}:{port}" for port in SANDBOX_PORTS.values())
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": SANDBOX_NAMESPACE},
            "type": "Opaque",
            "stringData": keys,
        }
        for name, keys in served.secrets().items()
    ]


def _base(folder: str, objects: Objects, what: str) -> dict[str, str]:
    files: dict[str, Objects] = {}
    for object_ in objects:
        files.setdefault(FILES.get(object_["kind"], object_["kind"].lower()), []).append(object_)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{name}.yaml" for name in sorted(files)],
        "configurations": ["names.yaml"],
    }
    fields = [{"kind": kind, "path": path} for kind, paths in DEPLOYMENT_NAME_FIELDS.items() for path in paths]
    references = {"nameReference": [{"group": "apps", "kind": "Deployment", "fieldSpecs": fields}]}
    comment = HEADER.format(CHART)
    texts = {f"{folder}/{name}.yaml": comment + to_yaml(*bodies) for name, bodies in files.items()}
    texts[f"{folder}/names.yaml"] = (
        f"# These fields have the name of the Deployment, also if it is changed.\n{comment}{to_yaml(references)}"
    )
    return {f"{folder}/kustomization.yaml": f"# {what}\n{comment}{to_yaml(kustomization)}", **texts}


def _monitoring(folder: str, objects: Objects) -> dict[str, str]:
    comment = HEADER.format(CHART)
    files = {f"{object_['kind'].lower()}.yaml": object_ for object_ in objects}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": sorted(files),
    }
    texts = {f"{folder}/{name}": comment + to_yaml(object_) for name, object_ in files.items()}
    return {f"{folder}/kustomization.yaml": f"# {MONITORING_COMMENT}\n{comment}{to_yaml(kustomization)}", **texts}


def _is_hook(object_: dict[str, Any]) -> bool:
    return "helm.sh/hook" in object_["metadata"].get("annotations", {})
