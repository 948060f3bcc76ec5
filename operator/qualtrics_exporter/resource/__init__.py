"""The QualtricsExporter: its fields, rules, reasons and schemas.

- `spec/`: the fields that users write.
- `status/`: the fields that the operator writes.
- `reasons/`: every reason, with its meaning and the next step.
- `exporter.py`: an object of the API server, as the operator reads it.
- `names.py`: the names of the resource and of its annotations.
- `lenient.py`: reads a status with invalid values.
- `manifest.py`: finds all mistakes in a manifest, without an API server.
- `rules.py`: rules of fields, in CEL and in Python.
- `model.py`: the base classes of the models.
- `crd.py`: generates the CustomResourceDefinition.
- `json_schema.py`: generates the JSON Schema for editors.
"""
