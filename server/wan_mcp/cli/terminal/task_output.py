"""Tasks and their costs as a person or a script reads them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import (
    ExitCode,
    cut_to_width,
    describe_next_step,
    exit_code_of_task,
    fit_table,
    format_table,
    to_json,
    with_next_step,
)
from wan_mcp_tools.catalogue.prices import Cost, CostLine, CostReport, describe_cost, report_facts
from wan_mcp_tools.domain.service import TaskPage
from wan_mcp_tools.domain.tasks import Task, TaskStatus, describe_inputs, describe_places

_CREATED = "CREATED (UTC)"
_TASK_HEADINGS = ("TASK", "STATUS", "REGION", "MODEL", _CREATED, "FILES", "PROMPT")
_COST_HEADINGS = ("DAY", "REGION", "MODEL", "IMAGES", "COST", "OPEN")
_PROMPT_WIDTH = 40
_LEAST_PROMPT_WIDTH = 16
_LEAST_MODEL_WIDTH = 16
_SHORT_ID = 8
"""Characters that an id is shortened to: as many as file names have of it."""
_LOCAL = "local-"
"""What ids begin with that the service has not named yet; it tells nothing of the one."""


def show_task(
    console: Console, task: Task, *, as_json: bool, pictures: Mapping[int, str] = MappingProxyType({})
) -> None:
    """
    Write a task: its saved paths to stdout, one a line, and the rest to stderr; or all of it as JSON.

    `pictures` are the terminal's codes for images by their index; each comes after its path.
    """
    if as_json:
        console.print(to_json(tool_result(task)))
        return
    for image in task.images:
        console.print(image.path)
        if image.index in pictures:
            console.draw(pictures[image.index])
    for failed in task.failed_images:
        words = with_next_step(failed.message, failed.next_step)
        console.note(f"Image {failed.index} is no file: {words} ({failed.code})")
    for text in _list_notes(task):
        console.note(text)
    state = _describe_state(task)
    if state:
        console.note(state)
    if task.next_step is not None and exit_code_of_task(task) is ExitCode.FAILED:
        console.note(describe_next_step(task.next_step))


def tool_result(task: Task) -> dict[str, object]:
    """Give the tool's result for a task as plain data."""
    from wan_mcp_tools.results import task_result  # noqa: PLC0415 - only for JSON

    return task_result(task).model_dump(mode="json", exclude_none=True)


def show_task_page(console: Console, page: TaskPage, *, as_json: bool) -> None:
    """Write a page of tasks: a table, or JSON."""
    if as_json:
        from wan_mcp_tools.list_tasks import list_result  # noqa: PLC0415 - only for JSON

        console.print(to_json(list_result(page).model_dump(mode="json", exclude_none=True)))
        return
    if page.tasks:
        for line in format_tasks(page.tasks, console.width):
            console.print(line)
    else:
        console.note("No tasks.")
    for text in page.notes:
        console.note(text)
    if page.cursor is not None:
        console.note(f"There are more: wan-mcp tasks --cursor {page.cursor}")


def format_tasks(tasks: Sequence[Task], width: int | None) -> list[str]:
    """
    Give tasks as lines of a table.

    Where it goes to no terminal, `width` is None, ids are whole and only prompts are cut. A terminal that is too
    narrow for this gets ids that are shortened to a beginning that no other task of the table has, and what tells
    least is left out.
    """
    whole = [_TASK_HEADINGS, *(_task_row(task, task.task_id) for task in tasks)]
    if width is None:
        return format_table([(*row[:-1], cut_to_width(row[-1], _PROMPT_WIDTH)) for row in whole])
    short_ids = shorten_ids([task.task_id for task in tasks])
    short = [_TASK_HEADINGS, *(_task_row(task, short_ids[task.task_id]) for task in tasks)]
    created = _TASK_HEADINGS.index(_CREATED)
    # Without the year.
    shorter = [(*row[:created], row[created][-len("01-02 03:04") :], *row[created + 1 :]) for row in short[1:]]
    shorter.insert(0, (*_TASK_HEADINGS[:created], "UTC", *_TASK_HEADINGS[created + 1 :]))
    return fit_table(
        [whole, short, shorter],
        width,
        stretching=len(_TASK_HEADINGS) - 1,
        least=_LEAST_PROMPT_WIDTH,
        droppable=[_TASK_HEADINGS.index(name) for name in ("REGION", "MODEL", "FILES", _CREATED)],
    )


def format_costs(lines: Sequence[CostLine], width: int | None) -> list[str]:
    """Give costs as lines of a table; in a terminal that is too narrow, what tells least is left out."""
    rows = [_COST_HEADINGS, *map(_cost_row, lines)]
    if width is None:
        return format_table(rows)
    # Without the year.
    shorter = [_COST_HEADINGS, *((day[-len("01-02") :], *rest) for day, *rest in rows[1:])]
    model = _COST_HEADINGS.index("MODEL")
    droppable = [_COST_HEADINGS.index(name) for name in ("REGION", "OPEN")]
    return fit_table([rows, shorter], width, stretching=model, least=_LEAST_MODEL_WIDTH, droppable=droppable)


def shorten_ids(ids: Sequence[str]) -> dict[str, str]:
    """Give for each id its shortest beginning of some characters that no other of them has."""
    length = _SHORT_ID
    while True:
        short = {each: each[: length + (len(_LOCAL) if each.startswith(_LOCAL) else 0)] for each in ids}
        if len(set(short.values())) == len(short):
            return short
        length += 1


def describe_candidates(beginning: str, tasks: Sequence[Task], count: int) -> list[str]:
    """Say in lines which tasks begin with what was typed; `count` may be more than there are `tasks`."""
    more = ["  and more"] if count > len(tasks) else []
    rows = [(f"  {_matching_id(task, beginning)}", task.status.value, _prompt_of(task)) for task in tasks]
    lines = format_table([(*row[:-1], cut_to_width(row[-1], _PROMPT_WIDTH)) for row in rows])
    return [f"Several tasks begin with {beginning}. Type more of the one that you mean:", *lines, *more]


def show_costs(console: Console, report: CostReport, *, as_json: bool) -> None:
    """Write the images and their cost by day, region and model, and the sums of them."""
    if as_json:
        console.print(to_json(report_facts(report)))
        return
    if not report.lines:
        console.note(f"No images were ordered from {report.since} to {report.until}.")
        return
    for line in format_costs(report.lines, console.width):
        console.print(line)
    console.print("")
    days = f"from {report.since} to {report.until}"
    console.print(f"{_images(report.charged.images)} made {days}: {describe_cost(report.charged)}")
    if report.open.images:
        console.print(f"{_images(report.open.images)} ordered and not made yet: {describe_cost(report.open)}")
    if report.unclear:
        console.print(f"{_images(report.unclear)} of orders whose outcome is not known: charged or not")
    if report.found:
        console.print(f"{_images(report.found)} of tasks found at the service, ordered elsewhere: in no sum")


def _list_notes(task: Task) -> list[str]:
    notes: list[str] = []
    if task.deduplicated:
        notes.append("An identical order was there already, and this is its task; --fresh orders anew.")
    if task.saved_elsewhere:
        notes.append("Its files lie where that order wanted them.")
    else:
        notes += describe_places(task.images, task.relative_folder)
    if task.request is not None and (changed := describe_inputs(task.request.images)):
        notes.append(changed)
    return [*notes, *task.notes]


def _describe_state(task: Task) -> str | None:
    known = f"task {task.task_id} is {task.status}"
    problem = task.problem
    why = f": {with_next_step(problem.message, problem.next_step)} ({problem.code})" if problem is not None else "."
    if exit_code_of_task(task) is ExitCode.RUNNING:
        return f"wan-mcp: {known}{why} It goes on without you; see it with: wan-mcp get {task.task_id}"
    if task.problem is not None or task.status is not TaskStatus.SUCCEEDED:
        return f"wan-mcp: {known}{why}"
    return None


def _matching_id(task: Task, beginning: str) -> str:
    """Give the id of a task that begins so: it may have one of its own and one of the service."""
    return task.task_id if task.task_id.startswith(beginning) else task.local_id


def _prompt_of(task: Task) -> str:
    prompt = task.request.prompt if task.request is not None else ""
    return " ".join("".join(each if each.isprintable() else " " for each in prompt).split())


def _task_row(task: Task, shown_id: str) -> tuple[str, ...]:
    created = task.created_at.strftime("%Y-%m-%d %H:%M")
    saved = str(len(task.images))
    return (shown_id, task.status.value, task.region, task.model or "-", created, saved, _prompt_of(task))


def _cost_row(line: CostLine) -> tuple[str, ...]:
    count = line.count
    expected = str(count.open) if count.open else "-"
    return (
        count.day.isoformat(),
        count.region,
        count.model or "-",
        str(count.charged),
        _format_cost(line.charged),
        expected,
    )


def _format_cost(cost: Cost) -> str:
    if not cost.images:
        return "-"
    if cost.unpriced:
        return "not known"
    return " ".join(str(money) for money in cost.amounts) or "free"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
