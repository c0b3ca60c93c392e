"""The record that each tool fills in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, model_validator

from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import Preview, ProgressCallback

_NOTHING = frozenset({"", "null", "none", "undefined"})
"""What models and programs write where they mean nothing, in any case of letters and between blanks."""


class Arguments(BaseModel):
    """
    The arguments of a tool. Unknown ones are an error: a misspelt name must not be ignored silently.

    How they are checked is worked out with the first call or listing, to keep the start short.

    Some clients fill in every argument: an optional one that is null, blank, "null", "None" or "undefined" is absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nothing(cls, given: Any) -> Any:  # noqa: ANN401 - whatever pydantic is given
        if not isinstance(given, Mapping):
            return given
        values = cast("Mapping[str, object]", given)
        optional = {name for name, shape in cls.model_fields.items() if not shape.is_required()}
        return {name: value for name, value in values.items() if not (name in optional and is_nothing(value))}


def is_nothing(value: object) -> bool:
    """Say whether a value stands for one that is absent."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING)


class Result(BaseModel):
    """The answer of a tool: facts only, absent values left out."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Answer(Record):
    """
    A tool's answer: a result, and whether it tells of a failure.

    `facts` are for a program that shows the result to a person; no model reads them.
    """

    result: Result
    is_error: bool = False
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


class Tool(Record):
    """
    One tool: its words, its hints, and the function behind it.

    `run` takes validated arguments and a reporter of progress (None where nobody listens). It answers with
    facts (`Answer`) or with pixels (`Preview`), never with both, because hosts show the model only the facts
    when both are there. It raises `AppError` for what the caller can act on. `search_hint` has the words that people
    use for what it does, for hosts that hide tools until somebody searches for them. The last four are the hints of
    MCP: https://modelcontextprotocol.io/specification/2025-11-25/schema#toolannotations
    """

    name: str
    title: str
    description: str
    search_hint: str
    arguments: type[Arguments]
    run: Callable[[Any, ProgressCallback | None], Awaitable[Answer | Preview]]
    result: type[Result] | None
    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool
