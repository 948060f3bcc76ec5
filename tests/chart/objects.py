"""Finding one's way in what a chart renders."""

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]


def only(kind: str, objects: Iterable[Object], component: str = "controller") -> Object:
    """The one object of a kind that belongs to a part of the product; an error if there is none, or more."""
    found = [
        object_
        for object_ in objects
        if object_["kind"] == kind and object_["metadata"]["labels"].get("app.kubernetes.io/component") == component
    ]
    (one,) = found
    return one


def variables(objects: Iterable[Object]) -> dict[str, str]:
    """The variables that the operator's container gets as text."""
    (container,) = only("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def pods(objects: Iterable[Object]) -> list[Object]:
    """Every pod that comes of it, as a Pod: the operator's and that of `helm test`."""
    template = only("Deployment", objects)["spec"]["template"]
    labels, annotations = template["metadata"]["labels"], template["metadata"]["annotations"]
    operator = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
    metadata = {"name": "operator", "labels": labels, "annotations": annotations}
    return [{**operator, "metadata": metadata}, only("Pod", objects, "test")]
