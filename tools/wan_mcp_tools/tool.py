"""The record that each tool fills in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from wan_mcp_tools.domain.service import Preview, ReportProgress


class Arguments(BaseModel):
    """The arguments of a tool. Unknown ones are an error: a misspelt name must not be ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(BaseModel):
    """The answer of a tool: facts only, absent values left out."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A tool's answer: a result, and whether it tells of a failure.

    `facts` are for a program that shows the result to a person; no model reads them.
    """

    result: Result
    is_error: bool = False
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Tool:
    """
    One tool: its words, its hints, and the function behind it.

    `run` takes validated arguments and a reporter of progress (None where nobody listens). It answers with
    facts (`Answer`) or with pixels (`Preview`), never with both, because hosts show the model only the facts
    when both are there. It raises `AppError` for what the caller can act on.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Any, ReportProgress | None], Awaitable[Answer | Preview]]
    result: type[Result] | None
    reads_only: bool
    destroys: bool
    repeats_safely: bool
    reaches_out: bool
