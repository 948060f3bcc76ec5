"""The CustomResourceDefinition, generated from the models of spec and status.

Kubernetes requires a *structural* schema, a small part of JSON Schema: no references, no null, no alternatives.
`schema` creates it, and rejects keywords that the API server rejects with misleading errors
(docs/facts/kubernetes.md section 5).
"""

from typing import Any

import yaml
from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION
from qualtrics_exporter.resource.rules import FOR_EDITORS
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Status

ACCEPTED = {
    *("type", "format", "description", "default", "enum"),
    *("properties", "required", "additionalProperties", "items"),
    *("minimum", "maximum", "maxLength", "maxItems", "maxProperties", "x-kubernetes-validations"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
}
"""Not `pattern` and `minLength`, because their errors do not help users. Write a `Rule` instead."""

_HEADER = f"""\
# Generated from operator/qualtrics_exporter/resource by `make generate`: change the models instead.
# kubectl explain {KIND.lower()}.spec shows what every field means.
"""


class QualtricsExporter(Model):
    """Sends a Qualtrics survey on a schedule to the people that a Nexthink query returns, and to nobody else.

    For each slot of the schedule, at most one distribution is sent. Every slot ends with an entry in status.history
    that has a result, a reason and the next step. To run now, set the annotation
    qualtrics-exporter.dev/run-requested-at to any new text. To test without sending e-mails, set
    qualtrics-exporter.dev/test-requested-at. To report the outcome of a run that ended Unknown, set
    qualtrics-exporter.dev/settle-run.
    """

    spec: Spec = Field(
        description="The desired state: when to send (schedule), to whom (nexthink) and what (qualtrics). Only users "
        "write it; the operator never changes it."
    )
    status: Status | None = Field(
        None,
        description="The observed state: conditions, slots, the run in progress and the last runs. Only the operator "
        "writes it. The condition Ready says whether the spec, the credentials and both remote services passed the "
        "check, LastRunSucceeded whether the last run succeeded.",
        # Without it, kstatus would report a new object as ready.
        json_schema_extra={"default": {"observedGeneration": -1}},
    )


class Structural(GenerateJsonSchema):
    """In Kubernetes, a field without a value is absent, so the schema has no null, and only one default."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # keep the order of the models, which is for readers

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def schema(model: type[BaseModel] = QualtricsExporter) -> dict[str, Any]:
    """The structural schema of a model. Raises TypeError for keywords that a structural schema cannot have."""
    root = model.model_json_schema(schema_generator=Structural)
    definitions = root.pop("$defs", {})

    def walk(node: dict[str, Any], path: str) -> dict[str, Any]:
        node = resolved(node, definitions)
        node.pop(FOR_EDITORS, None)
        if refused := node.keys() - ACCEPTED:
            raise TypeError(f"{path}: {sorted(refused)} has no place in the schema of a CRD")
        if "properties" in node:
            node["properties"] = {name: walk(field, f"{path}.{name}") for name, field in node["properties"].items()}
        if "additionalProperties" in node:
            node["additionalProperties"] = walk(node["additionalProperties"], f"{path}.*")
        if "items" in node:
            node["items"] = walk(node["items"], f"{path}[]")
        return {keyword: node[keyword] for keyword in ("type", "description") if keyword in node} | node

    return walk(root, model.__name__)


def resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A copy of a part of a schema, without reference and title. Its description is one line."""
    if reference := node.get("$ref"):  # the description of the field takes precedence over that of its type
        node = definitions[reference.removeprefix("#/$defs/")] | {k: v for k, v in node.items() if k != "$ref"}
    node = {keyword: value for keyword, value in node.items() if keyword != "title"}
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(node["description"].split())
    return node


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition that this version of the operator requires, as a new dictionary."""
    root = schema()
    root["properties"] = {
        "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"{KIND}."},
        "metadata": {"type": "object"},
    } | root["properties"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["qex"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": root},
                }
            ],
        },
    }


def crd_yaml() -> str:
    """The CustomResourceDefinition as a manifest, the same bytes for the same models."""
    body = yaml.dump(crd(), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)
    return _HEADER + body


class _PlainDumper(yaml.SafeDumper):
    """Without anchors, like `kubectl get --output yaml`."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _columns() -> list[dict[str, Any]]:
    def column(name: str, path: str, description: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
        return {
            "name": name,
            "type": kind,
            "jsonPath": path,
            "description": description,
            **({"priority": 1} if wide else {}),  # the API server drops a 0, and Argo CD reports that
        }

    ready = '.status.conditions[?(@.type=="Ready")]'
    last = ".status.history[0]"
    return [
        column("Frequency", ".spec.schedule.frequency", "How often the survey is sent."),
        column("Suspended", ".spec.suspend", "Whether the exporter is suspended.", "boolean"),
        column("Ready", f"{ready}.status", "Whether spec, credentials and both remote services passed the check."),
        column("Last Result", f"{last}.result", "How the last run or slot ended."),
        column("Recipients", f"{last}.recipients.accepted", "The number of recipients of the last run.", "integer"),
        column("Last Success", ".status.lastSuccessfulTime", "When the last successful run ended.", "date"),
        # Not a date: kubectl shows a future time as <invalid>.
        column("Next", ".status.nextScheduleTime", "When the next slot is due."),
        column("Age", ".metadata.creationTimestamp", "When the exporter was created.", "date"),
        column("Survey", ".spec.qualtrics.surveyId", "The survey.", wide=True),
        column("Query", ".spec.nexthink.queryId", "The saved query in Nexthink.", wide=True),
        column("Message", f"{ready}.message", "Why it is ready or not, with the next step.", wide=True),
    ]
