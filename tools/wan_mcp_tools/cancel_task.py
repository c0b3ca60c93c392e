"""The tool that cancels a task."""

from wan_mcp_tools.arguments import TaskId
from wan_mcp_tools.domain.service import ImageService, ProgressCallback
from wan_mcp_tools.results import TaskResult, task_answer
from wan_mcp_tools.tool import Answer, Arguments, Tool

DESCRIPTION = """\
Cancel a task that is still PENDING; then it is not charged.
PENDING in an older answer may be over: a task that has begun cannot be cancelled; it is finished, charged and
saved."""


class CancelTaskArguments(Arguments):
    """Which task."""

    task_id: TaskId


def cancel_task(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: CancelTaskArguments, report: ProgressCallback | None) -> Answer:
        del report
        return task_answer(await service.cancel(arguments.task_id))

    return Tool(
        name="cancel_task",
        title="Cancel task",
        description=DESCRIPTION,
        search_hint="stop or cancel a picture that is being drawn",
        arguments=CancelTaskArguments,
        run=run,
        result=TaskResult,
        read_only=False,
        destructive=True,
        idempotent=True,
        open_world=True,
    )
