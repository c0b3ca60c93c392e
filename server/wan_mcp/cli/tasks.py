"""`wan-mcp tasks`, `get` and `cancel`: what became of the orders."""

import click

from wan_mcp.cli.console import Console
from wan_mcp.cli.cost_table import show_costs
from wan_mcp.cli.exits import Exit, exit_of_task
from wan_mcp.cli.presenting import show_task, to_json
from wan_mcp.cli.shell import OrderService, Shell, env_file_option, json_option, pass_shell, wait_option
from wan_mcp.cli.table import lay_out
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.service import ImageService, TaskPage
from wan_mcp_tools.domain.tasks import Task, TaskStatus

_HEADINGS = ("TASK", "STATUS", "REGION", "MODEL", "CREATED (UTC)", "FILES", "PROMPT")
_PROMPT_WIDTH = 40
_DAYS = 30


@click.command()
@click.option(
    "--status",
    type=click.Choice([status.value for status in TaskStatus], case_sensitive=False),
    help="Only tasks in this state.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier page ended.")
@click.option("--remote", is_flag=True, help="Also ask the service, and note the tasks that the ledger lacks.")
@click.option("--costs", is_flag=True, help="Print what the images cost, by day and model, and not the tasks.")
@click.option(
    "--days", type=click.IntRange(1, 3650), metavar="COUNT", help="The days that --costs adds up; 30 unless said."
)
@json_option
@env_file_option
@pass_shell
@click.pass_context
def tasks(
    context: click.Context,
    shell: Shell,
    *,
    status: str | None,
    limit: int,
    cursor: str | None,
    remote: bool,
    costs: bool,
    days: int | None,
    as_json: bool,
) -> None:
    """List recent tasks, newest first, or what their images cost."""
    if costs and (status or cursor or remote):
        raise click.UsageError("--costs adds up all tasks of some days: of the filters it takes --days alone.")
    if days and not costs:
        raise click.UsageError("--days belongs to --costs.")
    settings = shell.read_settings()

    async def job(service: OrderService, console: Console) -> Exit:
        if costs:
            show_costs(console, await service.costs(days=days or _DAYS), as_json=as_json)
            return Exit.DONE
        wanted = TaskStatus(status) if status else None
        page = await service.list_tasks(status=wanted, limit=limit, cursor=cursor, remote=remote)
        show_page(console, page, as_json=as_json)
        return Exit.DONE

    context.exit(shell.run(settings, job, follow=False))


@click.command()
@click.argument("task_id")
@wait_option(0.0, "Wait this long for the end of the task.")
@click.option("--again", is_flag=True, help="Fetch files again that are gone, while the service has them.")
@json_option
@env_file_option
@pass_shell
@click.pass_context
def get(
    context: click.Context, shell: Shell, *, task_id: str, wait_seconds: float, again: bool, as_json: bool
) -> None:
    """Show one task and print its saved paths."""
    settings = shell.read_settings()

    async def job(service: OrderService, console: Console) -> Exit:
        return await run_get(service, task_id, console, wait_seconds=wait_seconds, again=again, as_json=as_json)

    context.exit(shell.run(settings, job, follow=True))


@click.command()
@click.argument("task_id")
@json_option
@env_file_option
@pass_shell
@click.pass_context
def cancel(context: click.Context, shell: Shell, *, task_id: str, as_json: bool) -> None:
    """Cancel a task that the service has not begun."""
    settings = shell.read_settings()

    async def job(service: OrderService, console: Console) -> Exit:
        return await run_cancel(service, task_id, console, as_json=as_json)

    context.exit(shell.run(settings, job, follow=False))


async def run_get(
    service: ImageService, task_id: str, console: Console, *, wait_seconds: float, again: bool = False, as_json: bool
) -> Exit:
    """
    Show one task, after a wait if one was asked for; with `again`, files that are gone are fetched first.

    Raises:
        AppError: the task is not known, or cannot be asked for.
    """
    with console.progress() as report:
        task = await service.get(task_id, wait_seconds=wait_seconds, report=report)
    if again:
        task = await fetch_again(service, task, console)
    show_task(console, task, as_json=as_json)
    return exit_of_task(task)


async def fetch_again(service: ImageService, task: Task, console: Console) -> Task:
    """Fetch the images whose files are gone, say what could not be fetched, and give the task as it is then."""
    gone = [image for image in task.failed_images if image.code == "FileGone"]
    for image in gone:
        try:
            await service.place_image(
                task_id=task.task_id, index=image.index, url=None, output_dir=None, filename=None
            )
        except AppError as error:
            # What the task itself says of the image is not said twice.
            if error.message != image.message:
                console.note(f"Image {image.index}: {error}")
    return await service.get(task.task_id, wait_seconds=0, report=None) if gone else task


async def run_cancel(service: ImageService, task_id: str, console: Console, *, as_json: bool) -> Exit:
    """
    Cancel one task.

    Raises:
        AppError: it is too late, or the task is not known.
    """
    task = await service.cancel(task_id)
    if as_json:
        show_task(console, task, as_json=True)
    else:
        console.note(f"Task {task.task_id} is {task.status}.")
    return Exit.DONE if task.status is TaskStatus.CANCELED else Exit.FAILED


def show_page(console: Console, page: TaskPage, *, as_json: bool) -> None:
    """Write a page of tasks: a table, or JSON."""
    if as_json:
        from wan_mcp_tools.list_tasks import list_result  # noqa: PLC0415 - only for JSON

        console.say(to_json(list_result(page).model_dump(mode="json", exclude_none=True)))
        return
    if page.tasks:
        for line in lay_out([_HEADINGS, *(_describe(task) for task in page.tasks)]):
            console.say(line)
    else:
        console.note("No tasks.")
    for text in page.notes:
        console.note(text)
    if page.cursor is not None:
        console.note(f"There are more: wan-mcp tasks --cursor {page.cursor}")


def _describe(task: Task) -> tuple[str, ...]:
    created = task.created_at.strftime("%Y-%m-%d %H:%M")
    prompt = task.request.prompt if task.request is not None else ""
    one_line = " ".join("".join(each if each.isprintable() else " " for each in prompt).split())
    if len(one_line) > _PROMPT_WIDTH:
        one_line = one_line[: _PROMPT_WIDTH - 3] + "..."
    saved = str(len(task.images))
    return (task.task_id, task.status.value, task.region, task.model or "-", created, saved, one_line)
