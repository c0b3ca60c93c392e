"""One order or many at the same time: each is placed and waited for, and none stops another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from wan_mcp.cli.console import Console
from wan_mcp.cli.output import ExitCode, describe_error, exit_code_of_error, exit_code_of_task, to_json
from wan_mcp.cli.progress import ProgressDisplay
from wan_mcp.cli.task_output import show_task, tool_result
from wan_mcp.clock import Clock
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import describe_cost, estimate
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService, ReportProgress
from wan_mcp_tools.domain.tasks import Task, describe_places

_TASK_ID_SECONDS = 30.0
"""The least time for the service to answer with a task id: leaving sooner would leave the order in doubt."""
_RETRY_SECONDS = 0.2
_MAX_UNNAMED = 8
"""Orders that wait for their task id at the same time; the service takes them one by one anyway."""
_MAX_LISTED = 20
"""Orders of which each is named when the wait is broken off, or when one reason stopped them."""


@dataclass(slots=True)
class BatchItem:
    """
    One prompt and its order: `task` is the last that is known of it, `error` what ended it.

    `is_sent` says that it may have reached the service, `is_over` that nothing more is done about it here.
    """

    label: str
    request: ImageRequest
    task: Task | None = None
    error: AppError | None = None
    is_sent: bool = False
    is_over: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)

    @property
    def exit_code(self) -> ExitCode:
        """How it went."""
        if self.error is not None:
            return exit_code_of_error(self.error)
        return ExitCode.RUNNING if self.task is None else exit_code_of_task(self.task)


async def order_batch(
    service: ImageService,
    items: Sequence[BatchItem],
    display: ProgressDisplay,
    clock: Clock,
    *,
    wait_seconds: float,
    fresh: bool,
) -> None:
    """
    Place the orders and wait for them, all within the same wait.

    Two lines of a list that order the same picture are two orders: the second is placed when the first was received,
    because until then the service would take it for the first one, asked for again.
    """
    ends = clock.monotonic() + wait_seconds
    limiter = anyio.CapacityLimiter(_MAX_UNNAMED)
    last_of_picture: dict[ImageRequest, BatchItem] = {}
    received: set[str] = set()

    async def place(request: ImageRequest, report: ReportProgress) -> Task:
        while True:
            left = ends - clock.monotonic()
            # The wait for the task id comes first, so that an interrupted wait can say what to ask for later.
            task = await service.order(
                request, wait_seconds=max(left, _TASK_ID_SECONDS), until_accepted=True, fresh=fresh, report=report
            )
            if not task.deduplicated or task.local_id not in received or left <= 0:
                return task
            # It is the same picture that was received a moment ago, and the ledger is about to be told so.
            await clock.sleep(_RETRY_SECONDS)

    async def work(number: int, item: BatchItem, same_before: BatchItem | None) -> None:
        if same_before is not None:
            await same_before.over.wait()
        report = display.reporter(number)
        try:
            async with limiter:
                item.is_sent = True
                item.task = await place(item.request, report)
            item.task = await _wait(service, item.task, ends - clock.monotonic(), report)
        except AppError as error:
            item.error = error
        if item.task is not None and item.exit_code is ExitCode.DONE:
            received.add(item.task.local_id)
        item.is_over = True
        item.over.set()
        display.finish(number, _describe_end(item))

    async with anyio.create_task_group() as group:
        for number, item in enumerate(items):
            picture = item.request.without_target()
            group.start_soon(work, number, item, None if fresh else last_of_picture.get(picture))
            last_of_picture[picture] = item


async def _wait(service: ImageService, ordered: Task, seconds: float, report: ReportProgress) -> Task:
    """Wait for the end of an order and keep what only the ordering knew."""
    if ordered.settled or seconds <= 0:
        return ordered
    task = await service.get(ordered.task_id, wait_seconds=seconds, report=report)
    notes = tuple(dict.fromkeys((*ordered.notes, *task.notes)))
    return replace(task, deduplicated=ordered.deduplicated, saved_elsewhere=ordered.saved_elsewhere, notes=notes)


def _describe_end(item: BatchItem) -> str:
    if item.task is None or item.error is not None:
        return "failed"
    match item.exit_code:
        case ExitCode.DONE:
            return "saved"
        case ExitCode.RUNNING:
            return f"still {item.task.status}"
        case _:
            return f"failed ({item.task.status})"


def announce_order(console: Console, requests: Sequence[ImageRequest], catalogue: Catalogue) -> None:
    """Say how many images are about to be ordered, of which model and where, and what they cost."""
    total = estimate(requests, catalogue)
    first = requests[0]
    images = "1 image" if total.images == 1 else f"{total.images} images"
    prompts = f" of {len(requests)} prompts" if len(requests) > 1 else ""
    console.note(f"Ordering {images}{prompts} with {first.model} in {first.region}: {describe_cost(total)}.")


def show_results(
    console: Console,
    items: Sequence[BatchItem],
    pictures: Mapping[int, Mapping[int, str]],
    *,
    is_list: bool,
    as_json: bool,
) -> ExitCode:
    """
    Write how the orders ended, in the order of their prompts, and give the exit code.

    Raises:
        AppError: the only order was refused or failed, and it is no list.
    """
    if not is_list:
        (item,) = items
        if item.error is not None:
            raise item.error
        if item.task is not None:
            show_task(console, item.task, as_json=as_json, pictures=pictures.get(0, {}))
        return item.exit_code
    if as_json:
        console.print(to_json([_item_facts(item) for item in items]))
    else:
        for number, item in enumerate(items):
            if item.task is None or item.error is not None:
                continue
            if (
                item.exit_code is not ExitCode.DONE
                or item.task.notes
                or item.task.failed_images
                or item.task.deduplicated
                or describe_places(item.task.images)
            ):
                console.note(f"{item.label}:")
            show_task(console, item.task, as_json=False, pictures=pictures.get(number, {}))
    _show_errors(console, items)
    return _exit_code_of(items)


def show_interruption(console: Console, items: Sequence[BatchItem], *, is_list: bool, as_json: bool) -> None:
    """Say what becomes of orders that are waited for no longer, and how to fetch each."""
    if not is_list:
        console.note(_describe_interruption(items[0]))
        return
    if not as_json:
        for item in items:
            if item.is_over and item.task is not None:
                show_task(console, item.task, as_json=False)
    left = [item for item in items if not item.is_over]
    named = [(item.label, item.task.task_id) for item in left if item.task is not None]
    unnamed = [item for item in left if item.is_sent and item.task is None]
    if named:
        orders_go = "1 order goes" if len(named) == 1 else f"{len(named)} orders go"
        console.note(
            f"Stopped waiting. {orders_go} on at the service: wan-mcp collect fetches what is ready, wan-mcp get "
            "ID one of them:"
        )
        for label, task_id in named[:_MAX_LISTED]:
            console.note(f"  wan-mcp get {task_id}    ({label})")
        if len(named) > _MAX_LISTED:
            console.note(f"  and {len(named) - _MAX_LISTED} more; wan-mcp tasks lists them.")
    if unnamed:
        console.note(f"{len(unnamed)} may have reached the service: wan-mcp tasks shows it, wan-mcp collect fetches.")
    unsent = len(left) - len(named) - len(unnamed)
    if unsent:
        console.note(f"{unsent} of {len(items)} prompts were not ordered.")


def _describe_interruption(item: BatchItem) -> str:
    if item.task is None or item.is_over:
        return (
            "Stopped. The order may have reached the service: wan-mcp tasks shows it, and wan-mcp collect fetches it."
        )
    return (
        "Stopped waiting. The order goes on at the service: wan-mcp collect or wan-mcp get "
        f"{item.task.task_id} fetches it."
    )


def _item_facts(item: BatchItem) -> dict[str, object]:
    """Give an order of a list as data: the tool's result beside its prompt, or why there is none."""
    facts: dict[str, object] = {"prompt": item.request.prompt}
    if item.error is None and item.task is not None:
        return facts | tool_result(item.task)
    if item.task is not None:
        facts["task_id"] = item.task.task_id
    return facts | {"code": item.error.code if item.error else None, "message": str(item.error)}


def _show_errors(console: Console, items: Sequence[BatchItem]) -> None:
    """Say each reason once, with the prompts that it stopped."""
    labels: dict[str, list[str]] = {}
    for item in items:
        if item.error is not None:
            known = f" (task {item.task.task_id})" if item.task is not None else ""
            labels.setdefault(describe_error(item.error), []).append(f"{item.label}{known}")
    for reason, stopped in labels.items():
        if len(stopped) == len(items):
            console.note(f"wan-mcp: {reason}")
            continue
        more = f"\n  and {len(stopped) - _MAX_LISTED} more" if len(stopped) > _MAX_LISTED else ""
        console.note("\n  ".join([f"wan-mcp: {reason}", *stopped[:_MAX_LISTED]]) + more)


def _exit_code_of(items: Sequence[BatchItem]) -> ExitCode:
    """Give one code for all: a failure before what still runs; wrong usage only where nothing else happened."""
    if all(item.error is not None and exit_code_of_error(item.error) is ExitCode.REFUSED for item in items):
        return ExitCode.REFUSED
    ends = {item.exit_code for item in items}
    if ends & {ExitCode.FAILED, ExitCode.REFUSED}:
        return ExitCode.FAILED
    return ExitCode.RUNNING if ExitCode.RUNNING in ends else ExitCode.DONE
