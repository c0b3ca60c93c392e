"""`wan-mcp tasks`, `get`, `cancel` and `collect`: what became of the orders."""

from typing import TYPE_CHECKING

import click

from wan_mcp.cli.command import CommandContext, env_file_option, json_option, pass_context, wait_option
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import ExitCode, describe_error, exit_code_of_task, to_json, with_options
from wan_mcp.cli.terminal.task_output import describe_candidates, show_costs, show_task, show_task_page
from wan_mcp_tools.domain.errors import AppError, ErrorCode, RequestRefusedError
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task, TaskStatus

if TYPE_CHECKING:
    from wan_mcp.orders import OrderService

_COST_DAYS = 30
_MOMENT = "DAY|TIME"
_SHORTEST_BEGINNING = 4
"""Characters of an id that may stand for all of it."""
_MAX_CANDIDATES = 8
"""Tasks that are named when several begin with what was typed."""


@click.command()
@click.option(
    "--status",
    type=click.Choice([status.value for status in TaskStatus], case_sensitive=False),
    metavar="STATE",
    help=f"Only tasks in this state: {', '.join(status.value.lower() for status in TaskStatus)}.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier page ended.")
@click.option("--remote", is_flag=True, help="Also ask the service, and note the tasks that the ledger lacks.")
@click.option("--since", metavar=_MOMENT, help="From then on: 2026-11-27, yesterday, or 2026-11-27T08:00.")
@click.option("--until", metavar=_MOMENT, help="Until then; a day is included, a time is not.")
@click.option("--costs", is_flag=True, help="Print what the images cost, by day and model, and not the tasks.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    metavar="COUNT",
    help="The days that --costs adds up, to today; 30 unless --since or --until is given.",
)
@json_option
@env_file_option
@pass_context
def tasks(
    context: CommandContext,
    *,
    status: str | None,
    limit: int,
    cursor: str | None,
    remote: bool,
    since: str | None,
    until: str | None,
    costs: bool,
    days: int | None,
    as_json: bool,
) -> ExitCode:
    """List recent tasks, newest first, or what their images cost."""
    if costs and (status or cursor or remote):
        raise click.UsageError("--costs adds up all tasks of some days: its filters are --days, --since and --until.")
    if days and not costs:
        raise click.UsageError("--days belongs to --costs.")
    if days and (since or until):
        raise click.UsageError("Give either --days, or --since and --until.")
    settings = context.read_settings()

    async def work(service: "OrderService", console: Console) -> ExitCode:
        if costs:
            first = since if since or until else f"{days or _COST_DAYS} days"
            show_costs(console, await service.report_costs(since=first, until=until), as_json=as_json)
            return ExitCode.DONE
        wanted = TaskStatus(status) if status else None
        page = await service.list_tasks(
            status=wanted, limit=limit, cursor=cursor, remote=remote, since=since, until=until
        )
        show_task_page(console, page, as_json=as_json)
        return ExitCode.DONE

    return context.run(settings, work, take_over=False)


@click.command()
@click.argument("task_id")
@wait_option(0.0, "Wait this long for the end of the task.")
@click.option("--again", is_flag=True, help="Fetch files again that are gone, while the service has them.")
@json_option
@env_file_option
@pass_context
def get(context: CommandContext, *, task_id: str, wait_seconds: float, again: bool, as_json: bool) -> ExitCode:
    """
    Show one task and print its saved paths.

    TASK_ID is its id, or the beginning of it: at least 4 characters that no other task begins with.
    """
    settings = context.read_settings()

    async def work(service: "OrderService", console: Console) -> ExitCode:
        return await run_get(service, task_id, console, wait_seconds=wait_seconds, again=again, as_json=as_json)

    return context.run(settings, work, take_over=True)


@click.command()
@click.argument("task_id")
@json_option
@env_file_option
@pass_context
def cancel(context: CommandContext, *, task_id: str, as_json: bool) -> ExitCode:
    """
    Cancel a task that the service has not begun.

    TASK_ID is its id, or the beginning of it: at least 4 characters that no other task begins with.
    """
    settings = context.read_settings()

    async def work(service: "OrderService", console: Console) -> ExitCode:
        return await run_cancel(service, task_id, console, as_json=as_json)

    return context.run(settings, work, take_over=False)


@click.command()
@click.option("--wait", is_flag=True, help="Stay until no order is open any more.")
@click.option("--until-idle", is_flag=True, hidden=True, help="The older name of --wait.")
@click.option(
    "--keeper", "collector_token", hidden=True, help="The token of a process that collects in the background."
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@env_file_option
@pass_context
def collect(
    context: CommandContext, *, wait: bool, until_idle: bool, collector_token: str | None, as_json: bool
) -> ExitCode:
    """
    Look once after every open order, and exit: fit for cron.

    Asks once for each task, and saves what is ready. The exit code is 0 if nothing is open any more, 3 if orders go
    on, and 1 if something stands in the way of one.
    """
    settings = context.read_settings()

    async def work(service: "OrderService", console: Console) -> ExitCode:
        return await run_collect(
            service, console, wait=wait or until_idle, collector_token=collector_token, as_json=as_json
        )

    return context.run(settings, work, take_over=False)


async def run_get(
    service: ImageService, task_id: str, console: Console, *, wait_seconds: float, again: bool = False, as_json: bool
) -> ExitCode:
    """
    Show one task, after a wait if one was asked for; with `again`, files that are gone are fetched first.

    Raises:
        AppError: the task is not known, or cannot be asked for.
    """
    task_id = await complete_task_id(service, task_id)
    with console.progress() as report:
        task = await service.get(task_id, wait_seconds=wait_seconds, report=report)
    if again:
        task = await fetch_again(service, task, console)
    show_task(console, task, as_json=as_json)
    return exit_code_of_task(task)


async def complete_task_id(service: ImageService, typed: str) -> str:
    """
    Give the id that was typed, or the one that begins so; what the ledger does not know is given as it is.

    Raises:
        RequestRefusedError: several begin so, or too little was typed to tell.
    """
    typed = typed.strip()
    # Ids are of ASCII; what is not is refused in the service's words.
    if not typed or not typed.isascii() or await service.peek(typed) is not None:
        return typed
    if len(typed) < _SHORTEST_BEGINNING:
        raise RequestRefusedError(
            f"{typed!r} is no task id, and too little for the beginning of one.",
            f"Type at least {_SHORTEST_BEGINNING} characters; wan-mcp tasks lists the ids.",
        )
    found = await service.find_by_beginning(typed, limit=_MAX_CANDIDATES + 1)
    if len(found) > 1:
        raise RequestRefusedError("\n".join(describe_candidates(typed, found[:_MAX_CANDIDATES], len(found))))
    return found[0].task_id if found else typed


async def fetch_again(service: ImageService, task: Task, console: Console) -> Task:
    """Fetch the images whose files are gone, say what could not be fetched, and give the task as it is then."""
    gone = [image for image in task.failed_images if image.code == ErrorCode.FILE_GONE]
    for image in gone:
        try:
            await service.download_image(
                task_id=task.task_id, index=image.index, url=None, output_dir=None, filename=None
            )
        except AppError as error:
            # What the task itself says of the image is not said twice.
            if error.message != image.message:
                console.note(f"Image {image.index}: {describe_error(error)}")
    return await service.get(task.task_id, wait_seconds=0, report=None) if gone else task


async def run_cancel(service: ImageService, task_id: str, console: Console, *, as_json: bool) -> ExitCode:
    """
    Cancel one task.

    Raises:
        AppError: it is too late, or the task is not known.
    """
    task_id = await complete_task_id(service, task_id)
    task = await service.cancel(task_id)
    if as_json:
        show_task(console, task, as_json=True)
    else:
        console.note(f"Task {task.task_id} is {task.status}.")
    return ExitCode.DONE if task.status is TaskStatus.CANCELED else ExitCode.FAILED


async def run_collect(
    service: "OrderService", console: Console, *, wait: bool, as_json: bool, collector_token: str | None = None
) -> ExitCode:
    """
    Collect, and tell what it came to.

    Raises:
        AppError: the ledger or the disk cannot be used.
    """

    async def report(sentence: str) -> None:
        console.note(sentence)

    summary = await service.collect(report, wait=wait, collector_token=collector_token)
    for problem in summary.problems:
        console.note(f"wan-mcp: {with_options(problem)}")
    if as_json:
        counts = {"finished": summary.finished, "saved": summary.saved, "open": summary.open}
        console.print(to_json({**counts, "problems": list(summary.problems)}))
    else:
        console.print(f"{summary.finished} finished, {summary.saved} images saved, {summary.open} still open")
    if summary.problems:
        return ExitCode.FAILED
    return ExitCode.RUNNING if summary.open else ExitCode.DONE
