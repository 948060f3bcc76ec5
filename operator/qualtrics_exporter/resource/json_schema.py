"""The JSON Schema of a manifest, for editors and for tools without CEL. It is generated from the models, like the CRD.

With it, editors complete fields, show descriptions and mark mistakes. It checks less than the API server: JSON Schema
cannot express every rule. `qualtrics-exporter validate` checks the text of a query.
"""

import json
from typing import Any

from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from qualtrics_exporter.resource.crd import QualtricsExporter, Structural, resolved
from qualtrics_exporter.resource.model import SpecModel
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION
from qualtrics_exporter.resource.rules import CEL_RULES, FOR_EDITORS

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that common editors support."""


class _ForEditors(Structural):
    """As in the CRD, but without unknown fields, so that editors mark misspelled names."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        closed = isinstance(schema["cls"], type) and issubclass(schema["cls"], SpecModel)
        return {**made, "additionalProperties": False} if closed else made


def json_schema() -> dict[str, Any]:
    """The schema as a new dictionary."""
    root = QualtricsExporter.model_json_schema(schema_generator=_ForEditors)
    definitions = root.pop("$defs")
    spec = _plain(root["properties"]["spec"], definitions)
    return {
        "$schema": DIALECT,
        "title": KIND,
        "description": " ".join(root["description"].split()),
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": f"{GROUP}/{VERSION}"},
            "kind": {"const": KIND},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
                    "namespace": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "spec": spec,
            "status": {"type": "object", "description": "Only the operator writes it."},
        },
        "additionalProperties": False,
    }


def json_schema_text() -> str:
    """The schema as a file, the same bytes for the same models."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=True) + "\n"


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    """A copy without references, titles and CEL, but with the conditions for editors."""
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = resolved(node, definitions)
    made = {k: _plain(v, definitions) for k, v in node.items() if k not in (CEL_RULES, FOR_EDITORS)}
    return made | ({"allOf": node[FOR_EDITORS]} if FOR_EDITORS in node else {})
