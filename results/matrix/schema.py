"""The JSON Schemas (2020-12) of what is published, and the texts that follow them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pydantic.json_schema import GenerateJsonSchema

from results.matrix.evidence import PublishedCurve, PublishedTrial
from results.matrix.model import Matrix

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

SCHEMAS: Final[dict[str, type[BaseModel]]] = {
    "matrix.schema.json": Matrix,
    "evidence.schema.json": PublishedTrial,
    "memory.schema.json": PublishedCurve,
}
"""The file of each schema, and what it describes."""


class _AnyNumber(GenerateJsonSchema):
    """JSON has no infinity: where a number need not be finite, it is written as a word."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        number = super().float_schema(schema)
        return {"anyOf": [number, {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def schema_of(model: type[BaseModel]) -> dict[str, JsonValue]:
    """The schema of what is written, with the descriptions of the classes."""
    # The figures of a matrix are finite; what a trial measured is published as it was.
    numbers = GenerateJsonSchema if model is Matrix else _AnyNumber
    schema = model.model_json_schema(mode="serialization", by_alias=True, schema_generator=numbers)
    return {"$schema": DIALECT, **schema}


def schema_text(model: type[BaseModel]) -> str:
    """The schema as a file holds it."""
    return json.dumps(schema_of(model), indent=2, ensure_ascii=False) + "\n"


def to_json(model: BaseModel) -> str:
    """The model as a file holds it, with the names that the schema knows."""
    return model.model_dump_json(by_alias=True) + "\n"
