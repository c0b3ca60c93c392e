"""The prompts: what a person may pick from a host's menu, and the text that the model is then given."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.description import format_price
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task, TaskStatus

PromptValues = Mapping[str, str]
"""What a person filled in, by argument; what was left empty is absent."""


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """One field of a prompt's form."""

    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    One entry of a host's menu: its words, its form, and the function that writes the text for the model.

    `write` raises `AppError` for what the person can correct.
    """

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]
    write: Callable[[PromptValues], Awaitable[str]]


_SUBJECT = PromptArgument("subject", "What it shows, e.g. a flower shop in spring, morning light.", required=True)
_MODEL = PromptArgument("model", "Which model draws, e.g. wan2.7-image. Empty: the usual one.")
_SIZE = PromptArgument("size", "A ratio such as 16:9, or pixels such as 1280*1280. Empty: a square.")
_REGION = PromptArgument("region", "Where it is ordered, e.g. singapore; sandbox is free. Empty: the usual one.")
_STYLE = PromptArgument("style", "How it looks, e.g. watercolour, product photograph, flat vector.")
_TASK_ID = PromptArgument("task_id", "The task of the picture, from an earlier answer. Empty: the newest picture.")
_PROMPT = PromptArgument("prompt", "Words to vary in place of an earlier picture, e.g. a red fox in the snow.")
_CHANGE = PromptArgument("change", "What shall differ, e.g. the time of day. Empty: nothing but the drawing.")
_ORIGINAL_SIZE = replace(_SIZE, description="Another size than that of the picture, e.g. 16:9.")
_ORIGINAL_MODEL = replace(_MODEL, description="Another model than that of the picture, e.g. wan2.7-image.")
_ORIGINAL_REGION = replace(_REGION, description="Another region than that of the picture, e.g. singapore.")
_SCREEN = replace(_SIZE, description="9:16 for a phone, 16:9 for a desktop, 3:4 or 4:3 for a tablet. Empty: 9:16.")

_PHONE = "9:16"
_LIST = "List the paths with their numbers"
_INHERITED = ("model", "size", "region", "negative_prompt", "prompt_extend", "watermark", "output_dir")
"""Arguments of an order that its variations share."""

_COLLECT = (
    "While the status is PENDING or RUNNING, call get_task with the task_id and wait_seconds=45, again and again. "
    "Never order a second time because of waiting: that would be paid for as well, and the picture is saved in any "
    "case. If it fails, say why in the words of the answer, and ask before ordering again."
)
"""What to do until a picture is there."""

_HAND_OVER = (
    "Tell me the path of the file, its size in pixels and the model. If I ask to see it, call view_image with the "
    "task_id."
)
"""What to do once it is."""

_WRITE_PICTURE = (
    "Write the prompt: one paragraph in the language of the subject, with every detail given above, and with "
    "setting, light, composition and style where they were left open."
)
_WRITE_WALLPAPER = (
    "Write the prompt: one paragraph in the language of the subject, with every detail given above. Let the motif "
    "fill the picture to its edges, with a calm area where clock and icons lie (the upper third of an upright "
    "screen, the left third of a wide one), and without text, frame or border."
)


def picture(service: ImageService) -> Prompt:
    """Build the prompt on a service."""

    async def write(values: PromptValues) -> str:
        request = _check_values(service.catalogue, values, values["subject"])
        call = _write_call("generate_image", _pick_order_arguments(values))
        cost = _tell_cost(service.catalogue, request, 1)
        return _write_steps(
            "Make a picture with the tools of the server wan.",
            {"Subject": values["subject"], "Style": values.get("style")},
            [
                _WRITE_PICTURE,
                f"Call {call}. Leave every other argument out. {cost}",
                _COLLECT,
                _HAND_OVER,
            ],
        )

    return Prompt(
        name="picture",
        title="Make a picture",
        description="Describe a picture; it is drawn, saved as a file, and you get its path.",
        arguments=(_SUBJECT, _STYLE, _SIZE, _MODEL, _REGION),
        write=write,
    )


def variations(service: ImageService) -> Prompt:
    """Build the prompt on a service."""

    async def write(values: PromptValues) -> str:
        original = None if "prompt" in values else await _find_original(service, values.get("task_id"))
        words = original.prompt if original else values["prompt"]
        choices = _inherit(original) | _pick_order_arguments(values)
        request = _check_values(service.catalogue, {name: str(value) for name, value in choices.items()}, words)
        cost = _tell_cost(service.catalogue, request, 4)
        title = "Make four variations of a picture with the tools of the server wan."
        facts = {"Its prompt": words, "What shall differ": values.get("change")}
        if "change" in values:
            return _write_steps(title, facts, _vary_words(choices, cost))
        return _write_steps(title, facts, _draw_again(choices, cost))

    return Prompt(
        name="variations",
        title="Four variations of a picture",
        description="Four pictures in the manner of one that you have, or of your words, to choose from.",
        arguments=(_TASK_ID, _PROMPT, _CHANGE, _ORIGINAL_SIZE, _ORIGINAL_MODEL, _ORIGINAL_REGION),
        write=write,
    )


def wallpaper(service: ImageService) -> Prompt:
    """Build the prompt on a service."""

    async def write(values: PromptValues) -> str:
        chosen = {"size": _PHONE} | dict(values)
        request = _check_values(service.catalogue, chosen, values["subject"])
        call = _write_call("generate_image", _pick_order_arguments(chosen))
        cost = _tell_cost(service.catalogue, request, 1)
        return _write_steps(
            "Make a wallpaper for a screen with the tools of the server wan.",
            {"Subject": values["subject"], "Style": values.get("style"), "Screen": chosen["size"]},
            [
                _WRITE_WALLPAPER,
                f"Call {call}. Leave every other argument out. {cost}",
                _COLLECT,
                _HAND_OVER,
            ],
        )

    return Prompt(
        name="wallpaper",
        title="Wallpaper for a screen",
        description="A picture in the shape of your screen, with calm room for icons, saved as a file.",
        arguments=(_SUBJECT, _SCREEN, _STYLE, _MODEL, _REGION),
        write=write,
    )


PROMPTS: tuple[Callable[[ImageService], Prompt], ...] = (picture, variations, wallpaper)
"""Every prompt, in the order of the menu."""


def _draw_again(choices: dict[str, object], cost: str) -> list[str]:
    call = _write_call("generate_image", choices | {"n": 4})
    return [
        f"Call {call}. The prompt is the one above, word for word; leave seed out, so that the four differ. {cost}",
        _COLLECT,
        f"{_LIST}, and ask which one I like. To see them, call view_image with the task_id and index 1 to 4.",
    ]


def _vary_words(choices: dict[str, object], cost: str) -> list[str]:
    call = _write_call("submit_task", choices)
    return [
        "Write four versions of the prompt that differ in what shall differ, and in nothing else.",
        f"Call {call}, once for each version, one after the other. {cost}",
        f"Collect each of the four. {_COLLECT}",
        f"{_LIST}, say how each differs, and ask which one I like. To see one, call view_image with its task_id.",
    ]


async def _find_original(service: ImageService, task_id: str | None) -> ImageRequest:
    if task_id:
        task = await service.peek(task_id)
        if task is None:
            raise NotFoundError(f"No task {task_id[:80]} is known here.", "Fill in prompt instead.")
    else:
        task = await _find_newest(service)
    if task.request is None:
        raise RequestRefusedError(
            f"The words of the task {task.task_id} are not known here: it was ordered elsewhere.",
            "Fill in prompt instead.",
        )
    return task.request


async def _find_newest(service: ImageService) -> Task:
    page = await service.list_tasks(status=TaskStatus.SUCCEEDED, limit=1, cursor=None, remote=False)
    if not page.tasks:
        raise RequestRefusedError("There is no picture yet that could be varied.", "Fill in prompt.")
    return page.tasks[0]


def _inherit(original: ImageRequest | None) -> dict[str, object]:
    """Give the arguments of the original that its variations share, without those that are the default."""
    if original is None:
        return {}
    values = original.to_dict()
    usual = {"prompt_extend": True, "watermark": False}
    return {name: values[name] for name in _INHERITED if name in values and values[name] != usual.get(name)}


def _check_values(catalogue: Catalogue, values: PromptValues, prompt: str) -> ImageRequest:
    """
    Check the model, size and region that a person chose as an order would be checked.

    Raises:
        RequestRefusedError: one of them does not exist, or does not go with the others.
        SettingsError: the operator's default model does not exist.
    """
    return catalogue.request(
        prompt=prompt, model=values.get("model"), size=values.get("size"), region=values.get("region")
    )


def _write_call(tool: str, arguments: Mapping[str, object]) -> str:
    """Say how to call a tool: `generate_image with the prompt, size="16:9" and n=4`."""
    given = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items()]
    return f"{tool} with {_join(['the prompt', *given])}"


def _pick_order_arguments(values: PromptValues) -> dict[str, object]:
    """Give the model, size and region that a person chose, as arguments of an order."""
    return {name: values[name] for name in ("model", "size", "region") if name in values}


def _tell_cost(catalogue: Catalogue, request: ImageRequest, images: int) -> str:
    """Say in a sentence what the images cost."""
    price = catalogue.find(request.model).price(request.region)
    if price is None:
        return f"In {request.region} that costs nothing." if format_price(price, request.region) == "free" else ""
    each = " each" if images > 1 else ""
    return f"That costs about {format_price(price, request.region)}{each}."


def _write_steps(title: str, facts: Mapping[str, str | None], steps: list[str]) -> str:
    """
    Lay a prompt out: what is wanted, the facts that are known, and numbered steps.

    Each fact is one line, so that no words of somebody else can pass for a step.
    """
    known = [f"{name}: {' '.join(value.split())}" for name, value in facts.items() if value]
    numbered = [f"{number}. {step.strip()}" for number, step in enumerate(steps, start=1)]
    return "\n\n".join(part for part in (title, "\n".join(known), "\n".join(numbered)) if part)


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
