"""The prompts: what a person may pick from a host's menu, and the text that the model is then given."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import estimate, format_cost
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.prompt_values import PromptValues, find_placeholders, sort_words
from wan_mcp_tools.tool import is_nothing


class PromptArgument(Record):
    """One field of a prompt's form."""

    name: str
    description: str
    required: bool = False


class Prompt(Record):
    """
    One entry of a host's menu: its words, its form, and the function that writes the text for the model.

    `write` never refuses: what a person has to correct or to add, the model is told to ask for. `words` is the
    argument that takes any words.
    """

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]
    words: str
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
_FOUR = 4
_ID = re.compile(r"(?:local-)?[0-9a-f-]{8,}")
"""What the id of a task looks like, unlike any word."""
_LIST = "List the paths with their numbers"
_INHERITED = (
    "images",
    "model",
    "size",
    "region",
    "negative_prompt",
    "prompt_extend",
    "watermark",
    "options",
    "output_dir",
)
"""Arguments of an order that its variations share."""
_CHECKED = ("images", "model", "size", "region", "options")
"""Those of them that do not fit every model."""

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

_COMMAND_LINE = "If I typed a command line, and it has more words than stand above, those words count as well."
"""Hosts that split a command line pass on as many words as there are arguments."""
_WORDS_OF_PICTURE = (
    "The subject above is all that I typed. A size in it (such as 16:9 or 1280*1280), a model (such as wan2.7-image) "
    "or a region (such as singapore or sandbox) is no part of the subject: pass it as the argument size, model or "
    "region of the call below. If nothing is left, ask me what it shall show, before anything is ordered."
)
_WORDS_OF_VARIATIONS = (
    "My words above are all that I typed. If the first of them is the task_id of an earlier picture, vary that one, "
    "and the rest says what shall differ; if there are none, vary the newest picture of list_tasks; otherwise they "
    "are the prompt to vary. A size in them (such as 16:9), a model (such as wan2.7-image) or a region (such as "
    "sandbox) is an argument of the order."
)

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
        return _write_one(
            service.catalogue, values, "Make a picture with the tools of the server wan.", _WRITE_PICTURE
        )

    return Prompt(
        name="picture",
        title="Make a picture",
        description="Describe a picture; it is drawn, saved as a file, and you get its path.",
        arguments=(_SUBJECT, _STYLE, _SIZE, _MODEL, _REGION),
        words="subject",
        write=write,
    )


def variations(service: ImageService) -> Prompt:
    """Build the prompt on a service."""

    async def write(values: PromptValues) -> str:
        catalogue = service.catalogue
        title = "Make four variations of a picture with the tools of the server wan."
        if (line := find_placeholders(values)) is not None:
            cost = _tell_cost(catalogue, _check_choices(catalogue, {})[0], 4)
            return _write_steps(title, {"My words": line}, [_WORDS_OF_VARIATIONS, *_draw_again({}, cost)])
        chosen, original, problem = await _choose_original(service, values)
        choices = _inherit(original) | _pick_order_arguments(chosen)
        request, misfit = _check_choices(catalogue, choices)
        if misfit:
            choices = _inherit(original)
        cost = _tell_cost(catalogue, request, 4)
        words = original.prompt if original else chosen.get("prompt")
        most = catalogue.find(request.model).max_n if request else _FOUR
        steps = _vary_words(choices, cost) if "change" in chosen else _draw_again(choices, cost, most=most)
        facts = {"Its prompt": words, "What shall differ": chosen.get("change")}
        return _write_steps(title, facts, [*_ask_first(problem, misfit), *steps])

    return Prompt(
        name="variations",
        title="Four variations of a picture",
        description="Four pictures in the manner of one that you have, or of your words, to choose from.",
        arguments=(_TASK_ID, _PROMPT, _CHANGE, _ORIGINAL_SIZE, _ORIGINAL_MODEL, _ORIGINAL_REGION),
        words="prompt",
        write=write,
    )


def wallpaper(service: ImageService) -> Prompt:
    """Build the prompt on a service."""

    async def write(values: PromptValues) -> str:
        title = "Make a wallpaper for a screen with the tools of the server wan."
        return _write_one(service.catalogue, values, title, _WRITE_WALLPAPER, usual={"size": _PHONE})

    return Prompt(
        name="wallpaper",
        title="Wallpaper for a screen",
        description="A picture in the shape of your screen, with calm room for icons, saved as a file.",
        arguments=(_SUBJECT, _SCREEN, _STYLE, _MODEL, _REGION),
        words="subject",
        write=write,
    )


PROMPTS: tuple[Callable[[ImageService], Prompt], ...] = (picture, variations, wallpaper)
"""Every prompt, in the order of the menu."""


def _draw_again(choices: dict[str, object], cost: str, *, most: int = 4) -> list[str]:
    """Say how the same is drawn four times; the model draws at most so many at once."""
    if most < _FOUR:
        call = _write_call("submit_task", choices | {"fresh": True})
        return [
            f"Call {call}, four times; the prompt is the one above, word for word. {cost}",
            f"Collect each of the four. {_COLLECT}",
            f"{_LIST}, and ask which one I like. To see one, call view_image with its task_id.",
        ]
    call = _write_call("generate_image", choices | {"n": _FOUR})
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


async def _choose_original(
    service: ImageService, values: PromptValues
) -> tuple[dict[str, str], ImageRequest | None, str | None]:
    """Give the values with each word where it belongs, what is varied if it is a known picture, and what is amiss."""
    try:
        return await _find_original(service, values)
    except AppError as error:
        others = {name: value for name, value in values.items() if name != "task_id"}
        return sort_words(others, service.catalogue, words="prompt"), None, str(error)


async def _find_original(
    service: ImageService, values: PromptValues
) -> tuple[dict[str, str], ImageRequest | None, str | None]:
    catalogue, named = service.catalogue, values.get("task_id", "")
    if is_nothing(named):
        named = ""
    others = {name: value for name, value in values.items() if name != "task_id"}
    task = await service.peek(named) if named else None
    if task is not None:
        # Behind an id a single word says what shall differ, or is the first of those that do.
        misfits = ["prompt"] if " " not in others.get("prompt", " ") else []
        chosen = sort_words(others, catalogue, words="change", misfits=misfits)
        if "prompt" in chosen or task.request is not None:
            return chosen, None if "prompt" in chosen else task.request, None
        return chosen, None, f"The words of the task {named} are not known here: it was ordered elsewhere."
    if named and not _ID.fullmatch(named):
        return sort_words(values, catalogue, words="prompt", misfits=["task_id"]), None, None
    chosen = sort_words(others, catalogue, words="prompt")
    if "prompt" in chosen:
        return chosen, None, None
    if named:
        return chosen, None, f"No task {named[:80]} is known here."
    page = await service.list_tasks(status=TaskStatus.SUCCEEDED, limit=1, cursor=None, remote=False)
    newest = page.tasks[0].request if page.tasks else None
    return chosen, newest, None if newest else "There is no picture yet that could be varied."


def _inherit(original: ImageRequest | None) -> dict[str, object]:
    """Give the arguments of the original that its variations share, without those that are the default."""
    if original is None:
        return {}
    values = original.to_arguments()
    usual = {"prompt_extend": True, "watermark": False}
    return {name: values[name] for name in _INHERITED if name in values and values[name] != usual.get(name)}


def _check_choices(catalogue: Catalogue, choices: Mapping[str, object]) -> tuple[ImageRequest | None, str | None]:
    """Check what was chosen as an order would be checked: give the order, or why there can be none."""
    chosen = cast("dict[str, Any]", {name: choices[name] for name in _CHECKED if name in choices})
    try:
        return catalogue.make_request(prompt="A picture", **chosen), None
    except AppError as error:
        return None, str(error)


def _write_call(tool: str, arguments: Mapping[str, object]) -> str:
    """Say how to call a tool: `generate_image with the prompt, size="16:9" and n=4`."""
    given = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items()]
    return f"{tool} with {_join(['the prompt', *given])}"


def _pick_order_arguments(values: PromptValues) -> dict[str, object]:
    """Give the model, size and region that a person chose, as arguments of an order."""
    return {name: values[name] for name in ("model", "size", "region") if name in values}


def _tell_cost(catalogue: Catalogue, request: ImageRequest | None, images: int) -> str:
    """Say in a sentence what the images cost, if that is known."""
    if request is None:
        return ""
    cost = estimate([replace(request, n=1)], catalogue)
    if cost.free:
        return f"In {request.region} that costs nothing."
    each = " each" if images > 1 else ""
    return f"That costs about {format_cost(cost)}{each}." if cost.amounts else ""


def _ask_first(*problems: str | None) -> list[str]:
    """Give the step that comes before all others where something is amiss."""
    told = " ".join(" ".join(problem.split()) for problem in problems if problem)
    return [f"{told} Tell me so, and ask me what you shall do instead, before anything is ordered."] if told else []


def _write_one(
    catalogue: Catalogue, values: PromptValues, title: str, how: str, *, usual: Mapping[str, str] | None = None
) -> str:
    """Write the text for one picture; `usual` are values where nothing else was chosen."""
    line = find_placeholders(values)
    chosen = {**(usual or {}), **({} if line is not None else sort_words(values, catalogue, words="subject"))}
    choices = _pick_order_arguments(chosen)
    request, misfit = _check_choices(catalogue, choices)
    call = _write_call("generate_image", {} if misfit else choices)
    missing = None if line is not None or "subject" in chosen else "I have not said what it shall show."
    order = f"Call {call}. Leave every other argument out. {_tell_cost(catalogue, request, 1)}"
    steps = [how, order, _COLLECT, _HAND_OVER]
    if line is not None:
        return _write_steps(title, {"Subject": line}, [_WORDS_OF_PICTURE, *steps])
    facts = {"Subject": chosen.get("subject"), "Style": chosen.get("style")}
    if usual:
        facts["Screen"] = chosen["size"]
    return _write_steps(title, facts, [*_ask_first(missing, misfit), *steps])


def _write_steps(title: str, facts: Mapping[str, str | None], steps: list[str]) -> str:
    """
    Lay a prompt out: what is wanted, the facts that are known, and numbered steps.

    Each fact is one line, so that no words of somebody else can pass for a step.
    """
    known = [f"{name}: {' '.join(value.split())}" for name, value in facts.items() if value]
    numbered = [f"{number}. {step.strip()}" for number, step in enumerate(steps, start=1)]
    return "\n\n".join(part for part in (title, "\n".join(known), _COMMAND_LINE, "\n".join(numbered)) if part)


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
