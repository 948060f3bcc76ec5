"""The JSON Schema for editors: it marks what it can say, and nothing that is right."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

from qualtrics_exporter.resource.json_schema import DIALECT, json_schema
from tests.resource.manifests import BAD, GOOD, changed, sample


def as_in_editors(_: Any, pattern: str, text: Any, __: Any) -> Iterator[ValidationError]:
    """There, $ is the very end; in Python it is also before a line break."""
    if isinstance(text, str) and not re.search(re.sub(r"\$\Z", lambda _: r"\Z", pattern), text):
        yield ValidationError(f"does not match {pattern}")


VALIDATOR = extend(Draft7Validator, {"pattern": as_in_editors})(json_schema())

NULLS = ("no value where none is needed", "a parameter without a value", "a group a day", "no sample")
"""The API server takes them, an editor shall not tempt anybody to write them."""

NO_ZONES = {
    f"time zone {name!r}"
    for name in (
        *("Europe/Zuerich", "europe/zurich", "Local", "localtime", "posix/Europe/Zurich", "right/UTC", "Europe"),
        "CET+1CEST",
    )
}
"""They look like zones: JSON Schema does not know which ones there are."""


NO_COMPARISONS = {"a minimum above the maximum"}
"""JSON Schema cannot compare two fields."""


def errors(manifest: dict[str, Any]) -> list[str]:
    """The places that an editor would mark."""
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(manifest)]


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == DIALECT
    assert "x-" not in json.dumps(json_schema()).replace("xn--", "")


@pytest.mark.parametrize("name", [name for name in GOOD if name not in NULLS])
def test_what_is_right_is_not_marked(name: str) -> None:
    assert errors(changed(GOOD[name])) == []


@pytest.mark.parametrize("name", [name for name in BAD if name not in NO_ZONES | NO_COMPARISONS])
def test_what_is_wrong_is_marked_where_it_is(name: str) -> None:
    bad = BAD[name]
    parent = f"spec.{bad.path}".rpartition(".")[0]  # of what is missing or must go
    assert {f"spec.{bad.path}", parent} & set(errors(changed(bad.changes)))


def test_unknown_fields_are_marked_at_any_depth() -> None:
    for path in ("suspended", "nexthink.querry", "qualtrics.credentialsSecretRef.namespace"):
        manifest = changed({path: "x"})
        assert errors(manifest) == [".".join(["spec", *path.split(".")[:-1]])]
    assert errors(sample() | {"specs": {}}) == [""]


def test_every_field_has_a_description_to_show() -> None:
    def fields(node: dict[str, Any], path: str) -> None:
        for name, field in node.get("properties", {}).items():
            assert field.get("description"), f"{path}.{name}"
            fields(field, f"{path}.{name}")

    fields(json_schema()["properties"]["spec"], "spec")
