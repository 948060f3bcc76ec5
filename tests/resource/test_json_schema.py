"""The JSON Schema for editors: it accepts valid manifests, and rejects invalid ones as far as JSON Schema can."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

from qualtrics_exporter.resource.json_schema import DIALECT, json_schema
from tests.resource.manifests import INVALID, VALID, changed, sample


def match_as_editors_do(_: Any, pattern: str, text: Any, __: Any) -> Iterator[ValidationError]:
    """In editors, $ matches only the end of the text. In Python, it also matches before a final line break."""
    if isinstance(text, str) and not re.search(re.sub(r"\$\Z", lambda _: r"\Z", pattern), text):
        yield ValidationError(f"does not match {pattern}")


VALIDATOR = extend(Draft7Validator, {"pattern": match_as_editors_do})(json_schema())

WITH_NULLS = (
    "optional fields without a value",
    "a parameter without a value",
    "the largest number of groups",
    "no sample",
)
"""Valid for the API server. The schema does not suggest them in editors."""

INVALID_TIME_ZONES = {
    f"time zone {name!r}"
    for name in (
        *("Europe/Zuerich", "europe/zurich", "Local", "localtime", "posix/Europe/Zurich", "right/UTC", "Europe"),
        "CET+1CEST",
    )
}
"""They look like time zones. JSON Schema does not know which time zones exist."""


COMPARISONS = {"a minimum above the maximum"}
"""JSON Schema cannot compare two fields."""


def errors(manifest: dict[str, Any]) -> list[str]:
    """The paths that an editor marks."""
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(manifest)]


def test_the_json_schema_is_valid_and_has_no_kubernetes_extensions() -> None:
    Draft7Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == DIALECT
    assert "x-" not in json.dumps(json_schema()).replace("xn--", "")


@pytest.mark.parametrize("name", [name for name in VALID if name not in WITH_NULLS])
def test_a_valid_manifest_has_no_errors(name: str) -> None:
    assert errors(changed(VALID[name])) == []


@pytest.mark.parametrize("name", [name for name in INVALID if name not in INVALID_TIME_ZONES | COMPARISONS])
def test_an_invalid_manifest_has_an_error_at_the_invalid_field(name: str) -> None:
    invalid = INVALID[name]
    parent = f"spec.{invalid.path}".rpartition(".")[0]  # editors mark the parent of a missing or forbidden field
    assert {f"spec.{invalid.path}", parent} & set(errors(changed(invalid.changes)))


def test_an_unknown_field_is_an_error_at_any_depth() -> None:
    for path in ("suspended", "nexthink.querry", "qualtrics.credentialsSecretRef.namespace"):
        manifest = changed({path: "x"})
        assert errors(manifest) == [".".join(["spec", *path.split(".")[:-1]])]
    assert errors(sample() | {"specs": {}}) == [""]


def test_every_field_has_a_description() -> None:
    def fields(node: dict[str, Any], path: str) -> None:
        for name, field in node.get("properties", {}).items():
            assert field.get("description"), f"{path}.{name}"
            fields(field, f"{path}.{name}")

    fields(json_schema()["properties"]["spec"], "spec")
