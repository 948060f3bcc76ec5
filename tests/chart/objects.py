"""Find objects among those that the chart renders."""

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]


def only(kind: str, objects: Iterable[Object], component: str = "controller") -> Object:
    """The object of a kind and component. Raises ValueError if there is none, or more than one."""
    found = [
        object_
        for object_ in objects
        if object_["kind"] == kind and object_["metadata"]["labels"].get("app.kubernetes.io/component") == component
    ]
    (one,) = found
    return one


def variables(objects: Iterable[Object]) -> dict[str, str]:
    """The environment variables of the operator's container that have a value."""
    (container,) = only("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def pods(objects: Iterable[Object]) -> list[Object]:
    """The pod of the Deployment and the pod of `helm test`, each as a Pod."""
    template = only("Deployment", objects)["spec"]["template"]
    labels, annotations = template["metadata"]["labels"], template["metadata"]["annotations"]
    operator = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
    metadata = {"name": "operator", "labels": labels, "annotations": annotations}
    return [{**operator, "metadata": metadata}, only("Pod", objects, "test")]
