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
    """As the API server, it takes no text for a number and no word for true."""

    model_config = ConfigDict(strict=True)


class RuledModel(SpecModel):
    """A model whose `rules` are those between its fields.

    A class of its own, because a check in Python takes longer than the rest of a model, and a status has many models.
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
    # To JSON, 5.0 is a whole number and true is no number; Python has it the other way round.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if isinstance(value, bool) else value


WHOLE_NUMBER = BeforeValidator(_as_json_number)
