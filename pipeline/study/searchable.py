"""The mark of keys that may hold a range, and what the JSON Schema says of them."""

from pydantic import GetJsonSchemaHandler
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
