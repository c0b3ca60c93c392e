"""Schemas that every client can read."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


@cache
def plain_schema(model: type[BaseModel]) -> Schema:
    """
    Give a model's schema without titles, docstrings, `$ref` and null: some clients read none of these.

    The tools that answer alike share one, which is not for changing.
    """
    schema = model.model_json_schema()
    definitions: Mapping[str, Schema] = schema.pop("$defs", {})
    plain = _plain(schema, definitions)
    plain.pop("description", None)
    return plain


def _plain(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" in schema:
        named = definitions[str(schema["$ref"]).rpartition("/")[2]]
        return _plain({key: value for key, value in named.items() if key != "description"}, definitions)
    choices: list[Schema] = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return _plain(choices[0] | rest, definitions)
    plain = {key: value for key, value in schema.items() if key != "title"}
    if "properties" in plain:
        named_parts: dict[str, Schema] = plain["properties"]
        plain["properties"] = {name: _plain(part, definitions) for name, part in named_parts.items()}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    return plain
