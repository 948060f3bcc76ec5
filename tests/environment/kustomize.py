"""`config/`, for those who install by kustomize: what the chart renders, by the real Helm, without what is Helm's own.

The chart is the one place where the operator's objects are written. Here they lose Helm's labels, annotations and
hooks, and learn to follow a kustomization: its `namespace:` moves objects, but does not reach into the values of
environment variables, so a variable that is the namespace is asked of the pod instead. Its `namePrefix:` reaches the
Lease and the instance in labels, since they are told to be references to the Deployment's name: two operators in one
namespace, which shards are, would share them otherwise.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

from hack.files import HEADER, to_yaml
from qualtrics_exporter.resource.crd import crd_yaml
from qualtrics_exporter.resource.exporter import PLURAL
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.environment.build import ROOT
from tests.environment.helm import Helm

Objects = list[dict[str, Any]]

NAME = "qualtrics-exporter"
"""Of the release and of its namespace: what `kubectl apply -k` uses, unless a kustomization says otherwise."""

SANDBOX = "sandbox"
"""Of the sandbox's Deployment and Service, and so its host name in that namespace."""
SANDBOX_NAMESPACE = f"{NAME}-sandbox"
"""Of its own, so that a trial and its removal touch nothing of an operator that is there already."""
SANDBOX_PORTS = {"nexthink": 8471, "qualtrics": 8472}
"""The defaults of `qualtrics-exporter sandbox`."""

ONCE = """\
The operator for all namespaces, without its CRD and without a namespace.
#
# Once in a cluster: applied to a second namespace it takes its rights with it, and the first operator has none left. To
# move it, delete it where it is, then apply it where it shall be."""
CHART = "charts/qualtrics-exporter"
FILES = {"Role": "rbac", "RoleBinding": "rbac", "ClusterRole": "rbac", "ClusterRoleBinding": "rbac"}
INSTANCE = r"app.kubernetes.io\/instance"
NAMED_AS_THE_DEPLOYMENT = {
    "Deployment": (
        "spec/template/spec/containers/env/value",  # the Lease's name; nothing else there is called so
        f"metadata/labels/{INSTANCE}",
        f"spec/selector/matchLabels/{INSTANCE}",
        f"spec/template/metadata/labels/{INSTANCE}",
    ),
    "PodDisruptionBudget": (f"spec/selector/matchLabels/{INSTANCE}",),
    "Role": ("rules/resourceNames",),
    "Service": (f"spec/selector/{INSTANCE}",),
}
"""Where the Deployment's name stands besides, and has to stay the same as that when a kustomization changes names."""
HELMS = {"app.kubernetes.io/managed-by": "Helm"}


def config() -> dict[str, str]:
    """The generated files of `config/`, by their paths in the repository. What is not generated there is an overlay."""
    everywhere, namespaced = rendered(), rendered(watchNamespaces=[NAME])
    return {
        f"config/crd/{PLURAL}.yaml": HEADER.format("the models") + crd_yaml(),
        **_base("config/base", everywhere, ONCE),
        **_base("config/namespaced", namespaced, "The operator for its own namespace, with no right anywhere else."),
        "config/sandbox/sandbox.yaml": HEADER.format(CHART) + to_yaml(*sandbox(namespaced)),
        "config/sandbox/secrets.yaml": HEADER.format("the sandbox, whose credentials are known to all")
        + to_yaml(*sandbox_secrets()),
        "config/sandbox/teams-rollout.yaml": (ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8"),
    }


def rendered(**values: Any) -> Objects:
    """What the chart renders, but for its CRD, as a kustomization can use it."""
    with tempfile.TemporaryDirectory() as folder:
        objects = Helm(Path(folder)).template(NAME, namespace=NAME, values={"crds": {"enabled": False}, **values})
    return [without_helm(object_) for object_ in objects if not _is_hook(object_)]


def without_helm(object_: dict[str, Any]) -> dict[str, Any]:
    """The object without Helm's traces, its pods following the namespace that they are in."""
    bare = copy.deepcopy(object_)
    template = bare.get("spec", {}).get("template")
    for metadata in (bare["metadata"], *([template["metadata"]] if template else [])):
        for field in ("labels", "annotations"):
            kept = {k: v for k, v in metadata.pop(field, {}).items() if k.partition("/")[0] != "helm.sh"}
            kept = {k: v for k, v in kept.items() if HELMS.get(k) != v}
            if kept:
                metadata[field] = kept
    for container in template["spec"]["containers"] if template else []:
        for variable in container.get("env", []):
            if variable.get("value") == NAME and variable["name"].endswith("NAMESPACE"):
                del variable["value"]
                variable["valueFrom"] = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return bare


def sandbox(operators: Objects) -> Objects:
    """The sandbox: one pod as the operator's, of the same image, behind a Service."""
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
            "readinessProbe": {"httpGet": {"path": "/_sandbox/outbox", "port": "qualtrics"}, "periodSeconds": 5},
            **{field: container[field] for field in kept},
        }
    ]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SANDBOX, "namespace": SANDBOX_NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,  # it keeps everything in memory
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SANDBOX, "namespace": SANDBOX_NAMESPACE, "labels": labels},
        # Without an address of its own: large query results are fetched from a third port, which is any free one.
        "spec": {
            "clusterIP": "None",
            "selector": labels,
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in SANDBOX_PORTS.items()],
        },
    }
    return [deployment, service]


def sandbox_secrets() -> Objects:
    """The credentials that this sandbox takes."""
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
    fields = [{"kind": kind, "path": path} for kind, paths in NAMED_AS_THE_DEPLOYMENT.items() for path in paths]
    references = {"nameReference": [{"group": "apps", "kind": "Deployment", "fieldSpecs": fields}]}
    comment = HEADER.format(CHART)
    texts = {f"{folder}/{name}.yaml": comment + to_yaml(*bodies) for name, bodies in files.items()}
    texts[f"{folder}/names.yaml"] = (
        f"# What has the Deployment's name, whatever a kustomization makes of it.\n{comment}{to_yaml(references)}"
    )
    return {f"{folder}/kustomization.yaml": f"# {what}\n{comment}{to_yaml(kustomization)}", **texts}


def _is_hook(object_: dict[str, Any]) -> bool:
    return "helm.sh/hook" in object_["metadata"].get("annotations", {})
