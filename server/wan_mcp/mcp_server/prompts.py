"""Our prompts as prompts of the MCP SDK, and the completion of their arguments and of ids in resource templates."""

from collections.abc import Mapping, Sequence
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts import Prompt as SdkPrompt
from mcp.server.mcpserver.prompts.base import Message, PromptArgument, UserMessage
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import Field, SkipValidation

from wan_mcp.mcp_server.arguments import is_bookkeeping
from wan_mcp.mcp_server.resources import CALLER_ERRORS, IMAGE, MODEL, TASK
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.description import find_default
from wan_mcp_tools.catalogue.model import Model
from wan_mcp_tools.catalogue.regions import find_region
from wan_mcp_tools.catalogue.sizes import GRADES, RATIOS
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.prompt_values import read_values
from wan_mcp_tools.prompts import Prompt
from wan_mcp_tools.results import describe_error

MOST_VALUES = 100
"""What one completion may hold. Source: https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/completion"""


class BoundPrompt(SdkPrompt):
    """One of our prompts, as the SDK lists and renders it."""

    prompt: SkipValidation[Prompt] = Field(exclude=True)

    async def render(self, arguments: dict[str, Any] | None, context: Context[Any, Any]) -> list[Message]:
        """Write the prompt's text, whatever was filled in."""
        del context
        names = [each.name for each in self.prompt.arguments]
        given = {name: value for name, value in (arguments or {}).items() if not is_bookkeeping(name, names)}
        return [UserMessage(await self.prompt.write(read_values(names, given, words=self.prompt.words)))]


def bind_prompt(prompt: Prompt) -> BoundPrompt:
    """Make one of our prompts known to the SDK."""
    return BoundPrompt(
        prompt=prompt,
        fn=prompt.write,
        name=prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=[
            PromptArgument(name=each.name, description=each.description, required=each.required)
            for each in prompt.arguments
        ],
        context_kwarg=None,
    )


class _Values(Record):
    """The values that an argument may have; `is_complete` is False where the ledger has older ones."""

    values: Sequence[str]
    is_complete: bool = True


async def complete(
    service: ImageService,
    prompts: Sequence[Prompt],
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion:
    """
    Give the values of an argument that begin with what was typed, in any case, the likeliest first.

    Completes models, sizes, regions, and the ids of recent tasks and images.

    Raises:
        MCPError: there is no such prompt, template or argument.
    """
    filled_in = (context.arguments if context else None) or {}
    try:
        if isinstance(ref, ResourceTemplateReference):
            known = await _complete_template(service, ref.uri, argument.name)
        else:
            known = await _complete_prompt(service, prompts, ref.name, argument.name, filled_in)
    except AppError as error:
        raise _as_protocol_error(error) from error
    start = argument.value.strip().lower()
    found = [value for value in known.values if value.lower().startswith(start)]
    return Completion(
        values=found[:MOST_VALUES],
        total=len(found) if known.is_complete else None,
        has_more=len(found) > MOST_VALUES or not known.is_complete,
    )


async def _complete_prompt(
    service: ImageService, prompts: Sequence[Prompt], prompt: str, name: str, filled_in: Mapping[str, str]
) -> _Values:
    arguments = {each.name: [argument.name for argument in each.arguments] for each in prompts}
    if prompt not in arguments:
        raise _unknown("prompt", prompt, arguments)
    if name not in arguments[prompt]:
        raise _unknown(f"argument of {prompt}", name, arguments[prompt])
    match name:
        case "model":
            return _Values(_list_models(service.catalogue, filled_in))
        case "size":
            return _Values(_list_sizes(service.catalogue, filled_in))
        case "region":
            return _Values(_list_regions(service.catalogue, filled_in))
        case "task_id":
            return await _list_task_ids(service)
        case _:
            return _Values(())


async def _complete_template(service: ImageService, template: str, name: str) -> _Values:
    match template, name:
        case (t, "id") if t == MODEL:
            return _Values([model.id for model in service.catalogue.models])
        case (t, "task_id") if t == TASK:
            return await _list_task_ids(service)
        case (t, "id") if t == IMAGE:
            return await _list_image_ids(service)
        case _:
            raise _unknown("resource template with this argument", f"{template} ({name})", [MODEL, TASK, IMAGE])


async def _list_task_ids(service: ImageService) -> _Values:
    page = await service.list_tasks(status=None, limit=MOST_VALUES, cursor=None, remote=False)
    return _Values([task.task_id for task in page.tasks], page.cursor is None)


async def _list_image_ids(service: ImageService) -> _Values:
    page = await service.list_tasks(status=None, limit=MOST_VALUES, cursor=None, remote=False)
    ids = [f"{task.task_id}-{image.index}" for task in page.tasks for image in task.images]
    return _Values(ids, page.cursor is None)


def _list_models(catalogue: Catalogue, filled_in: Mapping[str, str]) -> list[str]:
    """Give the models of the chosen region that draw the chosen size, the default first."""
    region, size = _find_region(filled_in), filled_in.get("size", "").strip()
    found = [
        model.id
        for model in catalogue.models
        if model.draws_from_words
        and (region is None or region in model.region_names)
        and (not size or (model.sizes is not None and model.sizes.allows(size)))
    ]
    default = find_default(catalogue)
    return sorted(found, key=lambda model_id: model_id != default)


def _list_sizes(catalogue: Catalogue, filled_in: Mapping[str, str]) -> list[str]:
    """Give the ratios, grades and common sizes of the chosen model."""
    model = _find_model(catalogue, filled_in.get("model", "").strip() or catalogue.default_model)
    if model is None:
        return [*RATIOS, *GRADES]
    if model.sizes is None:
        return []
    grades = [grade for grade in GRADES if model.sizes.allows(grade)]
    ratios = [ratio for ratio, _ in model.sizes.presets]
    return list(dict.fromkeys([*ratios, *grades, model.sizes.default, *model.sizes.recommended]))


def _list_regions(catalogue: Catalogue, filled_in: Mapping[str, str]) -> list[str]:
    """Give the regions of the chosen model: the default first, then those with a key."""
    model = _find_model(catalogue, filled_in.get("model", "").strip())
    models = catalogue.models if model is None else (model,)
    regions = dict.fromkeys(region for each in models for region in each.region_names)
    return sorted(
        regions, key=lambda region: (region != catalogue.default_region, region not in catalogue.keyed_regions)
    )


def _find_model(catalogue: Catalogue, name: str) -> Model | None:
    try:
        return catalogue.find(name)
    except RequestRefusedError:
        # Half a name is no mistake while somebody types.
        return None


def _find_region(filled_in: Mapping[str, str]) -> str | None:
    try:
        return find_region(filled_in.get("region", "")).name
    except RequestRefusedError:
        return None


def _unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, object]) -> MCPError:
    return MCPError(INVALID_PARAMS, f"There is no {kind} {name[:200]!r}. There are: {', '.join(known)}.")


def _as_protocol_error(error: AppError) -> MCPError:
    """Give an error of a completion: -32602 where the caller can correct it, else -32603."""
    code = INVALID_PARAMS if isinstance(error, CALLER_ERRORS) else INTERNAL_ERROR
    return MCPError(code, describe_error(error), {"code": error.code, "retryable": error.retryable})
