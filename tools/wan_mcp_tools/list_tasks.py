"""The tool that lists recent tasks."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from wan_mcp_tools.arguments import Costs, Cursor, Limit, Remote, Since, Status, Until
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import Cost, CostLine, CostReport, format_cost, make_report
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import ImageService, ProgressCallback, TaskPage
from wan_mcp_tools.domain.tasks import Task
from wan_mcp_tools.domain.text import one_line
from wan_mcp_tools.tool import Answer, Arguments, Result, Tool

DESCRIPTION = """\
List recent tasks, newest first.
Use it when a task_id was lost or, without status, to see what is still running; get_task gives the paths.
remote=true also asks the service for tasks of the last 24 hours that this ledger lacks, and saves their images.
costs=true answers "what did I spend today, and yesterday", by day and model, in place of the tasks."""

_PROMPT_LENGTH = 60
_MOST = 100
_MOST_COST_LINES = 20
_COST_DAYS = 30
"""Which are added up if a call says neither since nor until."""


class ListTasksArguments(Arguments):
    """Which tasks, and how many."""

    status: Status = None
    limit: Limit = 10
    cursor: Cursor = None
    remote: Remote = False
    since: Since = None
    until: Until = None
    costs: Costs = False


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


class CostResult(Result):
    """Images that were made and what they cost, and what is ordered and not made yet; costs are indicative."""

    images: int
    cost: str
    open_images: int | None = None
    open_cost: str | None = None


class ModelCostResult(CostResult):
    """The costs of a model in a region."""

    model: str | None = None
    region: str


class DayCostResult(CostResult):
    """The costs of a day, and of each model and region."""

    day: str
    models: tuple[ModelCostResult, ...] | None = None


class CostReportResult(CostResult):
    """The costs of a period; `earlier` sums up the days before those that are listed, `day` is the last of them."""

    since: str
    until: str
    days: tuple[DayCostResult, ...]
    earlier: DayCostResult | None = None


class TaskListResult(Result):
    """A page of tasks, and `cursor` opens the next; or what the tasks of a period cost."""

    tasks: tuple[ListedTaskResult, ...]
    costs: CostReportResult | None = None
    cursor: str | None = None
    message: str | None = None


def list_tasks(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: ListTasksArguments, report: ProgressCallback | None) -> Answer:
        del report
        if not 1 <= arguments.limit <= _MOST:
            raise RequestRefusedError(f"limit is {arguments.limit}.", f"Use a number from 1 to {_MOST}.")
        if arguments.costs:
            return Answer(await _sum_up(service, arguments))
        page = await service.list_tasks(
            status=arguments.status,
            limit=arguments.limit,
            cursor=arguments.cursor,
            remote=arguments.remote,
            since=arguments.since,
            until=arguments.until,
        )
        return Answer(list_result(page))

    return Tool(
        name="list_tasks",
        title="List tasks",
        description=DESCRIPTION,
        search_hint="history of pictures and images; find an earlier drawing; what is still running; what was spent",
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


async def _sum_up(service: ImageService, arguments: ListTasksArguments) -> TaskListResult:
    """
    Add up what the tasks of a period cost.

    Raises:
        RequestRefusedError: the call has a filter that costs do not take, or no such period is.
    """
    if arguments.status is not None or arguments.cursor is not None or arguments.remote:
        raise RequestRefusedError(
            "costs=true adds up all tasks of a period.", "Leave status, cursor and remote out, or costs."
        )
    since = arguments.since
    if since is None and arguments.until is None:
        since = f"{_COST_DAYS} days"
    report = await service.report_costs(since=since, until=arguments.until)
    costs = cost_result(report, service.catalogue)
    return TaskListResult(tasks=(), costs=costs, message=" ".join(_list_reservations(report)) or None)


def cost_result(report: CostReport, catalogue: Catalogue) -> CostReportResult:
    """
    Give a report as an answer of bounded length: the newest days with their models, the others summed up.

    Each model of a day has a line; there are at most 20.
    """
    days = [list(lines) for _, lines in groupby(report.lines, key=lambda line: line.count.day)]
    listed = list[DayCostResult]()
    room = _MOST_COST_LINES
    for lines in days:
        room -= len(lines)
        # The first day is listed in any case; its own sum has the models that find no room.
        if room < 0 and listed:
            break
        listed.append(_day_result(report, lines, catalogue))
    rest = [line for lines in days[len(listed) :] for line in lines]
    earlier = _day_result(report, rest, catalogue).model_copy(update={"models": None}) if rest else None
    return CostReportResult(
        since=report.since.isoformat(),
        until=report.until.isoformat(),
        days=tuple(listed),
        earlier=earlier,
        **_sums(report.charged, report.open),
    )


def _day_result(report: CostReport, lines: Sequence[CostLine], catalogue: Catalogue) -> DayCostResult:
    total = make_report([line.count for line in lines], catalogue, since=report.since, until=report.until)
    models = tuple(
        ModelCostResult(model=line.count.model, region=line.count.region, **_sums(line.charged, line.open))
        for line in lines[:_MOST_COST_LINES]
    )
    return DayCostResult(day=lines[0].count.day.isoformat(), models=models, **_sums(total.charged, total.open))


def _sums(charged: Cost, expected: Cost) -> dict[str, Any]:
    sums: dict[str, Any] = {"images": charged.images, "cost": format_cost(charged)}
    return sums | ({"open_images": expected.images, "open_cost": format_cost(expected)} if expected.images else {})


def _list_reservations(report: CostReport) -> Iterator[str]:
    """Say what the sums are worth."""
    months = sorted({*report.charged.as_of, *report.open.as_of})
    if months:
        yield f"Indicative, by prices of {' and '.join(months)}; the service's bill is what counts."
    if report.unclear:
        yield f"Not in the sums: {_count(report.unclear)} of orders whose outcome is not known, charged or not."
    if report.found:
        yield f"Not in the sums: {_count(report.found)} of tasks that were ordered elsewhere."


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


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
