"""The mark of keys that may hold a range, and what the JSON Schema says of them."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class _Searchable:
    """Marks a key that may hold a range in place of a value."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), RANGE_SCHEMA]}


RANGE_SCHEMA: JsonSchemaValue = {
    "description": "A range that the study searches.",
    "oneOf": [
        {
            "type": "object",
            "properties": {
                "low": {"type": "number"},
                "high": {"type": "number"},
                "log": {"type": "boolean", "default": False},
                "step": {"type": "number", "exclusiveMinimum": 0},
            },
            "required": ["low", "high"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"choices": {"type": "array", "minItems": 1}},
            "required": ["choices"],
            "additionalProperties": False,
        },
    ],
}


SEARCHABLE = _Searchable()

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
StudyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Label = bool | int | float | str
Options = dict[str, Annotated[Any, SEARCHABLE]]
