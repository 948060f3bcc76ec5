"""A rule of the object, said once: the API server, Python and the reference page all take it from here.

A `Rule` stands beside its field in `spec.py` and is three things at a time: a CEL expression for the CRD, the same as a
Python predicate for objects that an older CRD let in (and for files that never saw a cluster), and the sentence that
the user reads from either, which says what to write instead. A test asks a real API server and Python about the same
manifests: they must never disagree.

`violations` turns what pydantic found into such sentences. They never repeat what the user wrote: it may be an address.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from qualtrics_exporter.resource.reasons import Reason

CEL_RULES = "x-kubernetes-validations"
FOR_EDITORS = "x-for-editors"
"""Where a schema carries what only the JSON Schema of a manifest gets: conditions in words that JSON Schema has."""
_BROKEN = "rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be like. Used as an annotation of a field, or in `RuledModel.rules` for what fields agree on.

    `field` is the field that a rule about an object points at, in camelCase. `missing` tells that the field has to be
    added, not corrected, and `unwanted` that it has to go.
    """

    expression: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""
    missing: bool = False
    unwanted: bool = False
    reason: Reason = Reason.SPEC_INVALID
    json_schema: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    """The same for editors, as far as JSON Schema can say it."""

    @classmethod
    def pattern(cls, pattern: str, message: str) -> Self:
        """A text in which the pattern is found: what RE2 and Python both understand, with $ at the very end only."""
        # In Python, $ would also match before a line break, and \w or \s would mean more than in RE2.
        python = re.compile(re.sub(r"\$\Z", lambda _: r"\Z", pattern), re.ASCII)
        return cls(
            f"self.matches({_cel_text(pattern)})",
            message,
            lambda value: python.search(value) is not None,
            json_schema={"pattern": pattern, "patternErrorMessage": message},  # the second is for the editor's hint
        )

    def for_each_key(self) -> Self:
        """The same rule for all keys of a map."""
        expression = f"self.all(key, {self.expression.replace('self.', 'key.')})"
        for_keys = {"propertyNames": self.json_schema} if self.json_schema else None
        return replace(self, expression=expression, holds=lambda keys: all(map(self.holds, keys)), json_schema=for_keys)

    def as_cel(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.expression, "message": self.message}
        if self.field:
            entry["fieldPath"] = f".{self.field}"
        if self.missing or self.unwanted:
            entry["reason"] = "FieldValueRequired" if self.missing else "FieldValueForbidden"
        return entry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return with_rules(handler(schema), (self,))

    def _check(self, value: Any) -> Any:
        if not self.holds(value):
            raise broken([self])
        return value


def with_rules(schema: JsonSchemaValue, rules: Iterable[Rule]) -> JsonSchemaValue:
    """The schema with these rules in both languages; who makes a schema takes the one and leaves the other."""
    rules = tuple(rules)
    cel = [*schema.get(CEL_RULES, []), *(rule.as_cel() for rule in rules)]
    editors = [*schema.get(FOR_EDITORS, []), *(rule.json_schema for rule in rules if rule.json_schema)]
    return {**schema, CEL_RULES: cel, **({FOR_EDITORS: editors} if editors else {})}


def broken(rules: Iterable[Rule]) -> PydanticCustomError:
    """The error that carries broken rules through pydantic to `violations`."""
    rules = tuple(rules)
    sentences = "; ".join(f"{rule.field}: {rule.message}" if rule.field else rule.message for rule in rules)
    return PydanticCustomError(_BROKEN, "{sentences}", {"sentences": sentences, "rules": rules})


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a spec: where, and what to write instead."""

    location: tuple[str | int, ...]  # as the user wrote it, from spec on: to find the place in a file, not to show
    path: str
    message: str
    reason: Reason = Reason.SPEC_INVALID
    of_key: bool = False  # the field itself has to go, whatever its value is

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def violations(error: ValidationError, model: type[BaseModel], root: str) -> list[Violation]:
    """What is wrong, in the order of the fields; `root` is the name of the field that was validated."""
    known = _names(model)
    found = []
    for detail in error.errors(include_url=False):
        for field, message, reason, unwanted in _sentences(detail):
            location = (root, *detail["loc"], *field)
            # A part that is no field is a key of a map: the user's own text, and not to be shown.
            shown = [str(part) if part in known or part == root else "*" for part in location]
            found.append(Violation(location, ".".join(shown), message, reason, of_key=unwanted))
    return found


def _sentences(detail: ErrorDetails) -> list[tuple[tuple[str, ...], str, Reason, bool]]:
    context = detail.get("ctx", {})
    if detail["type"] == _BROKEN:
        rules: tuple[Rule, ...] = context["rules"]
        return [((rule.field,) if rule.field else (), rule.message, rule.reason, rule.unwanted) for rule in rules]
    # A field without a value is as good as absent, as in the API server.
    kind = "missing" if detail["input"] is None else detail["type"]
    sentence = _PLAIN.get(kind, "cannot be used: see kubectl explain")
    return [((), sentence.format_map(context), Reason.SPEC_INVALID, False)]


_PLAIN = {
    "missing": "is required",
    "literal_error": "must be one of {expected}",
    "string_type": "must be text; quote what YAML takes for something else",
    "string_unicode": "must be text that can be written as UTF-8",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number, without quotes",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "bool_type": "must be true or false, without quotes",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}
"""What plain schema says, in our words: the sentences of pydantic speak to programmers."""


def _names(model: type[BaseModel]) -> set[str]:
    """The names of all fields of a model and of the models in it."""
    names: set[str] = set()
    for field in model.model_fields.values():
        names.add(field.alias or "")
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                names |= _names(inner)
    return names


def _cel_text(text: str) -> str:
    """A CEL string literal, printable whatever is in the text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in escaped) + "'"
