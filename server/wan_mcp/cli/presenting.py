"""A task as a person or a script reads it."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from wan_mcp.cli.console import Console
from wan_mcp.cli.exits import Exit, exit_of_task
from wan_mcp_tools.domain.tasks import Task, TaskStatus


def show_task(
    console: Console, task: Task, *, as_json: bool, pictures: Mapping[int, str] = MappingProxyType({})
) -> None:
    """
    Write a task: its saved paths to stdout, one a line, and the rest to stderr; or all of it as JSON.

    `pictures` are the terminal's codes for images by their index; each comes after its path.
    """
    if as_json:
        console.say(to_json(result_of(task)))
        return
    for image in task.images:
        console.say(image.path)
        if image.index in pictures:
            console.draw(pictures[image.index])
    for failed in task.failed_images:
        console.note(f"Image {failed.index} is no file: {failed.message} ({failed.code})")
    if task.joined:
        console.note("An identical order was there already, and this is its task; --fresh orders anew.")
    if task.elsewhere:
        console.note("Its files lie where that order wanted them.")
    for text in task.notes:
        console.note(text)
    state = _describe_state(task)
    if state:
        console.note(state)
    step = result_of(task).get("next_step")
    if step and exit_of_task(task) is Exit.FAILED:
        console.note(str(step))


def result_of(task: Task) -> dict[str, object]:
    """Give the tool's result for a task as plain data."""
    from wan_mcp_tools.results import task_result  # noqa: PLC0415 - only for JSON

    return task_result(task).model_dump(mode="json", exclude_none=True)


def to_json(data: object) -> str:
    """Write data as JSON that passes through any terminal and any pipe."""
    return json.dumps(data, indent=2)


def _describe_state(task: Task) -> str | None:
    known = f"task {task.task_id} is {task.status}"
    why = f": {task.problem.message} ({task.problem.code})" if task.problem is not None else "."
    if exit_of_task(task) is Exit.RUNNING:
        return f"wan-mcp: {known}{why} It goes on without you; see it with: wan-mcp get {task.task_id}"
    if task.problem is not None or task.status is not TaskStatus.SUCCEEDED:
        return f"wan-mcp: {known}{why}"
    return None
