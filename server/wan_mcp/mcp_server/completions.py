"""What a host offers while an argument of a prompt, or an id in a resource's address, is being typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcp import MCPError
from mcp.types import INVALID_PARAMS, Completion, PromptReference, ResourceTemplateReference

from wan_mcp.mcp_server.faults import as_request_error
from wan_mcp.mcp_server.resources import IMAGE, MODEL, TASK
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.description import find_default
from wan_mcp_tools.catalogue.model import Model
from wan_mcp_tools.catalogue.regions import find_region
from wan_mcp_tools.catalogue.sizes import GRADES, RATIOS
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.prompts import Prompt

MOST_VALUES = 100
"""What one answer may hold. Source: https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/completion"""

Chosen = Mapping[str, str]
"""The arguments that are filled in already."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The values that an argument may have; `all_of_them` is False where the ledger has older ones."""

    values: Sequence[str]
    all_of_them: bool = True


class Completer:
    """Completes models, sizes, regions, and the ids of recent tasks and images."""

    def __init__(self, service: ImageService, prompts: Sequence[Prompt]) -> None:
        self._service = service
        self._arguments = {each.name: [argument.name for argument in each.arguments] for each in prompts}

    async def complete(
        self, ref: PromptReference | ResourceTemplateReference, name: str, typed: str, chosen: Chosen
    ) -> Completion:
        """
        Give the values that begin with what was typed, in any case, the likeliest first.

        Raises:
            MCPError: there is no such prompt, template or argument.
        """
        try:
            known = await self._values(ref, name, chosen)
        except AppError as error:
            raise as_request_error(error) from error
        start = typed.strip().lower()
        found = [value for value in known.values if value.lower().startswith(start)]
        return Completion(
            values=found[:MOST_VALUES],
            total=len(found) if known.all_of_them else None,
            has_more=len(found) > MOST_VALUES or not known.all_of_them,
        )

    async def _values(self, ref: PromptReference | ResourceTemplateReference, name: str, chosen: Chosen) -> _Known:
        if isinstance(ref, ResourceTemplateReference):
            return await self._parts_of_address(ref.uri, name)
        if ref.name not in self._arguments:
            raise _unknown("prompt", ref.name, self._arguments)
        if name not in self._arguments[ref.name]:
            raise _unknown(f"argument of {ref.name}", name, self._arguments[ref.name])
        catalogue = self._service.catalogue
        match name:
            case "model":
                return _Known(_list_models(catalogue, chosen))
            case "size":
                return _Known(_list_sizes(catalogue, chosen))
            case "region":
                return _Known(_list_regions(catalogue, chosen))
            case "task_id":
                return await self._list_tasks()
            case _:
                return _Known(())

    async def _parts_of_address(self, template: str, name: str) -> _Known:
        match template, name:
            case (t, "id") if t == MODEL:
                return _Known([model.id for model in self._service.catalogue.models])
            case (t, "task_id") if t == TASK:
                return await self._list_tasks()
            case (t, "id") if t == IMAGE:
                return await self._list_images()
            case _:
                known = [MODEL, TASK, IMAGE]
                raise _unknown("resource template with this argument", f"{template} ({name})", known)

    async def _list_tasks(self) -> _Known:
        page = await self._service.list_tasks(status=None, limit=MOST_VALUES, cursor=None, remote=False)
        return _Known([task.task_id for task in page.tasks], page.cursor is None)

    async def _list_images(self) -> _Known:
        page = await self._service.list_tasks(status=None, limit=MOST_VALUES, cursor=None, remote=False)
        ids = [f"{task.task_id}-{image.index}" for task in page.tasks for image in task.images]
        return _Known(ids, page.cursor is None)


def _list_models(catalogue: Catalogue, chosen: Chosen) -> list[str]:
    """Give the models of the chosen region that draw the chosen size, the default first."""
    region, size = _find_region(chosen), chosen.get("size", "").strip()
    found = [
        model.id
        for model in catalogue.models
        if (region is None or region in model.regions) and (not size or model.sizes.allows(size))
    ]
    default = find_default(catalogue)
    return sorted(found, key=lambda model_id: model_id != default)


def _list_sizes(catalogue: Catalogue, chosen: Chosen) -> list[str]:
    """Give the ratios, grades and common sizes of the chosen model."""
    model = _find_model(catalogue, chosen.get("model", "").strip() or catalogue.default_model)
    if model is None:
        return [*RATIOS, *GRADES]
    grades = [grade for grade in GRADES if model.sizes.allows(grade)]
    ratios = [ratio for ratio, _ in model.sizes.presets]
    return list(dict.fromkeys([*ratios, *grades, model.sizes.default, *model.sizes.recommended]))


def _list_regions(catalogue: Catalogue, chosen: Chosen) -> list[str]:
    """Give the regions of the chosen model: the default first, then those with a key."""
    model = _find_model(catalogue, chosen.get("model", "").strip())
    models = catalogue.models if model is None else (model,)
    regions = dict.fromkeys(region for each in models for region in each.regions)
    return sorted(
        regions, key=lambda region: (region != catalogue.default_region, region not in catalogue.keyed_regions)
    )


def _find_model(catalogue: Catalogue, named: str) -> Model | None:
    try:
        return catalogue.find(named)
    except RequestRefusedError:
        # Half a name is no fault while somebody types.
        return None


def _find_region(chosen: Chosen) -> str | None:
    try:
        return find_region(chosen.get("region", "")).name
    except RequestRefusedError:
        return None


def _unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, object]) -> MCPError:
    return MCPError(INVALID_PARAMS, f"There is no {kind} {name[:200]!r}. There are: {', '.join(known)}.")
