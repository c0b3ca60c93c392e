"""The tool that tells how a task is doing."""

from wan_mcp_tools.arguments import TaskId, WaitSeconds
from wan_mcp_tools.domain.service import ImageService, ProgressCallback
from wan_mcp_tools.results import TaskResult, check_wait, task_answer
from wan_mcp_tools.tool import Answer, Arguments, Tool

DESCRIPTION = """\
Tell how a task is doing; a finished one answers with the paths of its saved images. Free of charge.
Use wait_seconds=45 to wait for the end, and repeat that while the status is PENDING or RUNNING; stop at any other.
Knows the tasks of earlier sessions, and asks the service for ids it has never seen."""


class GetTaskArguments(Arguments):
    """Which task, and how long to wait for its end."""

    task_id: TaskId
    wait_seconds: WaitSeconds = 0


def get_task(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: GetTaskArguments, report: ProgressCallback | None) -> Answer:
        seconds = check_wait(arguments.wait_seconds, 0.0)
        return task_answer(await service.get(arguments.task_id, wait_seconds=seconds, report=report))

    return Tool(
        name="get_task",
        title="Get task",
        description=DESCRIPTION,
        search_hint="wait for a picture that was ordered; is the drawing done; where is its file",
        arguments=GetTaskArguments,
        run=run,
        result=TaskResult,
        read_only=True,
        destructive=False,
        idempotent=True,
        open_world=True,
    )
