"""The tool that lists recent tasks."""

from wan_mcp_tools.arguments import Cursor, Limit, Remote, Status
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import ImageService, ReportProgress, TaskPage
from wan_mcp_tools.domain.tasks import Task
from wan_mcp_tools.domain.text import one_line
from wan_mcp_tools.tool import Answer, Arguments, Result, Tool

DESCRIPTION = """\
List recent tasks, newest first.
Use it when a task_id was lost or, without status, to see what is still running; get_task gives the paths.
remote=true also asks the service for tasks of the last 24 hours that this ledger lacks, and saves their images."""

_PROMPT_LENGTH = 60
_MOST = 100


class ListTasksArguments(Arguments):
    """Which tasks, and how many."""

    status: Status = None
    limit: Limit = 10
    cursor: Cursor = None
    remote: Remote = False


class ListedTaskResult(Result):
    """One task in a list; `images` counts the saved ones, `code` says why a failed one failed."""

    task_id: str
    status: str
    region: str
    created_at: str
    model: str | None = None
    code: str | None = None
    prompt: str | None = None
    images: int | None = None
    note: str | None = None


class TaskListResult(Result):
    """A page of tasks; `cursor` opens the next."""

    tasks: tuple[ListedTaskResult, ...]
    cursor: str | None = None
    message: str | None = None


def list_tasks(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: ListTasksArguments, report: ReportProgress | None) -> Answer:
        del report
        if not 1 <= arguments.limit <= _MOST:
            raise RequestRefusedError(f"limit is {arguments.limit}.", f"Use a number from 1 to {_MOST}.")
        page = await service.list_tasks(
            status=arguments.status, limit=arguments.limit, cursor=arguments.cursor, remote=arguments.remote
        )
        return Answer(list_result(page))

    return Tool(
        name="list_tasks",
        title="List tasks",
        description=DESCRIPTION,
        search_hint="history of pictures and images; find an earlier drawing; what is still running",
        arguments=ListTasksArguments,
        run=run,
        result=TaskListResult,
        read_only=True,
        destructive=False,
        idempotent=True,
        open_world=True,
    )


def list_result(page: TaskPage) -> TaskListResult:
    """Give a page of tasks as the answer of the tool."""
    rows = tuple(_row(task) for task in page.tasks)
    return TaskListResult(tasks=rows, cursor=page.cursor, message=" ".join(page.notes) or None)


def _row(task: Task) -> ListedTaskResult:
    return ListedTaskResult(
        task_id=task.task_id,
        status=task.status,
        region=task.region,
        created_at=task.created_at.isoformat(timespec="seconds"),
        model=task.model,
        code=task.problem.code if task.problem and task.is_failure else None,
        prompt=one_line(task.request.prompt, _PROMPT_LENGTH) if task.request else None,
        images=len(task.images) or None,
        note=" ".join(task.notes) or None,
    )
