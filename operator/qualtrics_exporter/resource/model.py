"""The base classes of all models of the object."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from qualtrics_exporter.resource.rules import Rule, broken, with_rules


class Model(BaseModel):
    """camelCase outside, snake_case inside; unknown fields are tolerated."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )


class SpecModel(Model):
    """Strict types, as in the API server: a text is not a number, and not a boolean."""

    model_config = ConfigDict(strict=True)


class RuledModel(SpecModel):
    """A model with `rules` that involve several of its fields.

    Other models are without this check, because it takes longer than the rest of the validation.
    """

    rules: ClassVar[tuple[Rule, ...]]

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Self:
        if wrong := [rule for rule in self.rules if not rule.holds(self)]:
            raise broken(wrong)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(schema)
        resolved = handler.resolve_ref_schema(reference)
        resolved |= with_rules(resolved, cls.rules)
        return reference


def _as_json_number(value: Any) -> Any:
    # In JSON, 5.0 is a whole number and true is not a number. In Python, it is the other way round.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if isinstance(value, bool) else value


WHOLE_NUMBER = BeforeValidator(_as_json_number)
