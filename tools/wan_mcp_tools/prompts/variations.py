"""The prompt for four variations of a picture that exists, or of words."""

from dataclasses import replace

from wan_mcp_tools.shared import prompt as p
from wan_mcp_tools.shared.errors import NotFoundError, RequestRefusedError
from wan_mcp_tools.shared.ports import Studio
from wan_mcp_tools.shared.requests import ImageRequest
from wan_mcp_tools.shared.tasks import Task, TaskStatus

TASK_ID = p.PromptArgument("task_id", "The task of the picture, from an earlier answer. Empty: the newest picture.")
PROMPT = p.PromptArgument("prompt", "Words to vary in place of an earlier picture, e.g. a red fox in the snow.")
CHANGE = p.PromptArgument("change", "What shall differ, e.g. the time of day. Empty: nothing but the drawing.")
SIZE = replace(p.SIZE, description="Another size than that of the picture, e.g. 16:9.")
MODEL = replace(p.MODEL, description="Another model than that of the picture, e.g. wan2.7-image.")
REGION = replace(p.REGION, description="Another region than that of the picture, e.g. singapore.")

_LIST = "List the paths with their numbers"
_KEPT = ("model", "size", "region", "negative_prompt", "prompt_extend", "watermark", "output_dir")


def variations(studio: Studio) -> p.Prompt:
    """Build the prompt on a studio."""

    async def write(wishes: p.Wishes) -> str:
        original = None if "prompt" in wishes else await _find_original(studio, wishes.get("task_id"))
        words = original.prompt if original else wishes["prompt"]
        choices = _inherit(original) | p.keep_choices(wishes)
        request = p.check_wishes(studio.offer, {name: str(value) for name, value in choices.items()}, words)
        cost = p.tell_cost(studio.offer, request, 4)
        title = "Make four variations of a picture with the tools of the server wan."
        facts = {"Its prompt": words, "What shall differ": wishes.get("change")}
        if "change" in wishes:
            return p.write_steps(title, facts, _vary_words(choices, cost))
        return p.write_steps(title, facts, _draw_again(choices, cost))

    return p.Prompt(
        name="variations",
        title="Four variations of a picture",
        description="Four pictures in the manner of one that you have, or of your words, to choose from.",
        arguments=(TASK_ID, PROMPT, CHANGE, SIZE, MODEL, REGION),
        write=write,
    )


def _draw_again(choices: dict[str, object], cost: str) -> list[str]:
    call = p.write_call("generate_image", choices | {"n": 4})
    return [
        f"Call {call}. The prompt is the one above, word for word; leave seed out, so that the four differ. {cost}",
        p.COLLECT,
        f"{_LIST}, and ask which one I like. To see them, call view_image with the task_id and index 1 to 4.",
    ]


def _vary_words(choices: dict[str, object], cost: str) -> list[str]:
    call = p.write_call("submit_task", choices)
    return [
        "Write four versions of the prompt that differ in what shall differ, and in nothing else.",
        f"Call {call}, once for each version, one after the other. {cost}",
        f"Collect each of the four. {p.COLLECT}",
        f"{_LIST}, say how each differs, and ask which one I like. To see one, call view_image with its task_id.",
    ]


async def _find_original(studio: Studio, task_id: str | None) -> ImageRequest:
    if task_id:
        task = await studio.peek(task_id)
        if task is None:
            raise NotFoundError(f"No task {task_id[:80]} is known here.", "Fill in prompt instead.")
    else:
        task = await _find_newest(studio)
    if task.request is None:
        raise RequestRefusedError(
            f"The words of the task {task.task_id} are not known here: it was ordered elsewhere.",
            "Fill in prompt instead.",
        )
    return task.request


async def _find_newest(studio: Studio) -> Task:
    page = await studio.list_tasks(status=TaskStatus.SUCCEEDED, limit=1, cursor=None, remote=False)
    if not page.tasks:
        raise RequestRefusedError("There is no picture yet that could be varied.", "Fill in prompt.")
    return page.tasks[0]


def _inherit(original: ImageRequest | None) -> dict[str, object]:
    """Give the arguments of the original that its variations share, without those that are the default."""
    if original is None:
        return {}
    values = original.to_dict()
    usual = {"prompt_extend": True, "watermark": False}
    return {name: values[name] for name in _KEPT if name in values and values[name] != usual.get(name)}
