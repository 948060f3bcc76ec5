"""Rules of the object. The CRD, the validation in Python and the reference page use the same definitions.

A `Rule` is beside its field in `spec/`. It has a CEL expression for the CRD, the same condition in Python (for files
without a cluster, and for objects that an older CRD admitted), and a message for users that says what to write. A test
validates the same manifests with a real API server and with Python: the results must be equal.

`violations` turns errors of pydantic into such messages. They never contain values from the manifest, because these may
be e-mail addresses.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Self, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from qualtrics_exporter.resource.reasons import Reason

CEL_RULES = "x-kubernetes-validations"
FOR_EDITORS = "x-for-editors"
"""The keyword for conditions that only the JSON Schema of a manifest gets."""
_BROKEN = "rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition for a value: an annotation of a field, or in `RuledModel.rules` if it involves several fields.

    `field` is the field to which the error of a rule about an object belongs, in camelCase. `missing` means that the
    field must be added, and `unwanted` that it must be removed.
    """

    expression: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""
    missing: bool = False
    unwanted: bool = False
    reason: Reason = Reason.SPEC_INVALID
    json_schema: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    """The same condition for editors, as far as JSON Schema can express it."""

    @classmethod
    def pattern(cls, pattern: str, message: str) -> Self:
        """A rule for a text that contains a match. The pattern works in RE2 and in Python; $ is at its end only."""
        # In Python, $ also matches before a line break, and \w and \s match more than in RE2.
        python = re.compile(re.sub(r"\$\Z", lambda _: r"\Z", pattern), re.ASCII)
        return cls(
            f"self.matches({_cel_text(pattern)})",
            message,
            lambda value: python.search(value) is not None,
            json_schema={"pattern": pattern, "patternErrorMessage": message},  # the second one is the hint in editors
        )

    def for_each_key(self) -> Self:
        """The same rule for every key of a map."""
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
    """The schema with these rules in both forms. The CRD keeps one of them, the JSON Schema the other."""
    rules = tuple(rules)
    cel = [*schema.get(CEL_RULES, []), *(rule.as_cel() for rule in rules)]
    editors = [*schema.get(FOR_EDITORS, []), *(rule.json_schema for rule in rules if rule.json_schema)]
    return {**schema, CEL_RULES: cel, **({FOR_EDITORS: editors} if editors else {})}


def broken(rules: Iterable[Rule]) -> PydanticCustomError:
    """The error that passes broken rules through pydantic to `violations`."""
    rules = tuple(rules)
    sentences = "; ".join(f"{rule.field}: {rule.message}" if rule.field else rule.message for rule in rules)
    return PydanticCustomError(_BROKEN, "{sentences}", {"sentences": sentences, "rules": rules})


@dataclass(frozen=True, slots=True)
class Violation:
    """One mistake in a spec: its place, and what to write."""

    location: tuple[str | int, ...]  # from spec on: to find the place in a file, never shown
    path: str
    message: str
    reason: Reason = Reason.SPEC_INVALID
    of_key: bool = False  # the field itself is the mistake, not its value

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def violations(error: ValidationError, model: type[BaseModel], root: str) -> list[Violation]:
    """The mistakes, in the order of the fields. `root` is the name of the field that was validated."""
    known = _names(model)
    found = []
    for detail in error.errors(include_url=False):
        for field, message, reason, unwanted in _sentences(detail):
            location = (root, *detail["loc"], *field)
            # A part that is not a field is a key of a map. It is text of the user, so it is not shown.
            shown = [str(part) if part in known or part == root else "*" for part in location]
            found.append(Violation(location, ".".join(shown), message, reason, of_key=unwanted))
    return found


def broken_despite_errors(
    raw: Any, model: type[BaseModel], found: Sequence[Violation], location: tuple[str, ...]
) -> Iterator[Violation]:
    """The broken rules about several fields in an object with errors in other fields.

    pydantic evaluates these rules only if all fields are valid. The API server does so, too.
    """
    if not isinstance(raw, Mapping):
        return
    depth = len(location)
    wrong = {each.location[depth] for each in found if len(each.location) > depth and each.location[:depth] == location}
    known = {field.alias or name: (name, field.annotation) for name, field in model.model_fields.items()}
    valid = SimpleNamespace(**{name: raw.get(key) for key, (name, _) in known.items() if key not in wrong})
    for rule in getattr(model, "rules", ()):
        with suppress(AttributeError):  # the rule is about a field that is not valid
            if not rule.holds(valid):
                inner = (*location, rule.field)
                yield Violation(inner, ".".join(inner), rule.message, rule.reason, of_key=rule.unwanted)
    for key, (_, annotation) in known.items():
        for inner_model in _models_in(annotation):
            yield from broken_despite_errors(raw.get(key), inner_model, found, (*location, key))


def _sentences(detail: ErrorDetails) -> list[tuple[tuple[str, ...], str, Reason, bool]]:
    context = detail.get("ctx", {})
    if detail["type"] == _BROKEN:
        rules: tuple[Rule, ...] = context["rules"]
        return [((rule.field,) if rule.field else (), rule.message, rule.reason, rule.unwanted) for rule in rules]
    # A field without a value counts as absent, as in the API server.
    kind = "missing" if detail["input"] is None else detail["type"]
    sentence = _PLAIN.get(kind, "is invalid: see kubectl explain")
    return [((), sentence.format_map(context), Reason.SPEC_INVALID, False)]


_PLAIN = {
    "missing": "is required",
    "literal_error": "must be one of {expected}",
    "string_type": "must be text: quote values that YAML reads as another type",
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
"""Messages for the rules of plain schema, in place of the messages of pydantic, which are for programmers."""


def _names(model: type[BaseModel]) -> set[str]:
    """The names of all fields of a model and of the models in it."""
    names: set[str] = set()
    for field in model.model_fields.values():
        names.add(field.alias or "")
        for inner in _models_in(field.annotation):
            names |= _names(inner)
    return names


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models in the type of a field: itself, or the one that may be absent."""
    parts = (annotation, *get_args(annotation))
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def _cel_text(text: str) -> str:
    """The text as a CEL string literal of printable characters."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in escaped) + "'"
