"""One order or many at the same time: each is placed and waited for, and none stops another."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import ExitCode, describe_error, exit_code_of_error, exit_code_of_task, to_json
from wan_mcp.cli.terminal.progress import ProgressDisplay
from wan_mcp.cli.terminal.task_output import show_task, tool_result
from wan_mcp.clock import Clock
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import describe_cost, estimate
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService, ProgressCallback
from wan_mcp_tools.domain.tasks import Task, describe_places

_TASK_ID_SECONDS = 30.0
"""The least time for the service to answer with a task id: leaving sooner would leave the order in doubt."""
_RETRY_SECONDS = 0.2
_MAX_UNNAMED = 8
"""Orders that wait for their task id at the same time; the service takes them one by one anyway."""
_NOTHING_ORDERED = "Stopped. Nothing was ordered."
_MAX_LISTED = 20
"""Orders of which each is named when the wait is broken off, or when one reason stopped them."""


@dataclass(slots=True)
class BatchItem:
    """
    One prompt and its order: `task` is the last that is known of it, `error` what ended it.

    `placed` is the order as it was written down; as long as it is None, nothing was ordered. As long as `task` is
    None, nobody has heard that the service took the order. `is_over` says that nothing more is done about it here.
    """

    label: str
    request: ImageRequest
    placed: Task | None = None
    task: Task | None = None
    error: AppError | None = None
    is_over: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)

    @property
    def exit_code(self) -> ExitCode:
        """How it went."""
        if self.error is not None:
            return exit_code_of_error(self.error)
        return ExitCode.RUNNING if self.task is None else exit_code_of_task(self.task)


class OrderAnnouncement:
    """
    Says how many images are ordered, of which model and where, and what they cost.

    It says so when the first order is written down and before it is sent: what is refused costs nothing, and neither
    does an order that was there already.
    """

    def __init__(self, console: Console, items: Sequence[BatchItem], catalogue: Catalogue) -> None:
        self._console = console
        self._items = items
        self._catalogue = catalogue
        self._is_said = False

    def note(self, placed: Task) -> None:
        """Take an order that was written down."""
        if self._is_said or placed.deduplicated:
            return
        self._is_said = True
        first, count = self._items[0].request, len(self._items)
        prompts = f" of {count} prompts" if count > 1 else ""
        what = f"{prompts} with {first.model} in {first.region}"
        self._console.note(f"Ordering {self._describe(self._items, what)}.")

    def correct(self) -> None:
        """Say what was ordered after all, if it is less than was said."""
        ordered = [item for item in self._items if item.placed is not None and not item.placed.deduplicated]
        if self._is_said and len(ordered) < len(self._items):
            prompts = "1 prompt" if len(ordered) == 1 else f"{len(ordered)} prompts"
            self._console.note(f"Ordered after all: {self._describe(ordered, f' of {prompts}')}.")

    def _describe(self, items: Sequence[BatchItem], what: str) -> str:
        total = estimate([item.request for item in items], self._catalogue)
        most = "up to " if total.is_most else ""
        images = "1 image" if total.images == 1 else f"{most}{total.images} images"
        return f"{images}{what}: {describe_cost(total)}"


async def order_batch(
    service: ImageService,
    items: Sequence[BatchItem],
    display: ProgressDisplay,
    announcement: OrderAnnouncement,
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
    last_of_picture: dict[str, BatchItem] = {}
    received: set[str] = set()

    async def place(item: BatchItem, report: ProgressCallback) -> Task:
        while True:
            left = ends - clock.monotonic()
            # The wait for the task id comes first, so that an interrupted wait can say what to ask for later.
            task = await service.order(
                item.request,
                wait_seconds=max(left, _TASK_ID_SECONDS),
                until_accepted=True,
                fresh=fresh,
                report=report,
                placed=partial(_note_placed, item, announcement, received),
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
                item.task = await place(item, report)
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
            picture = json.dumps(item.request.to_picture(), sort_keys=True)
            group.start_soon(work, number, item, None if fresh else last_of_picture.get(picture))
            last_of_picture[picture] = item


def _note_placed(item: BatchItem, announcement: OrderAnnouncement, received: Collection[str], placed: Task) -> None:
    if not (placed.deduplicated and placed.local_id in received):
        item.placed = placed
        announcement.note(placed)


async def _wait(service: ImageService, ordered: Task, seconds: float, report: ProgressCallback) -> Task:
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
    _show_errors(console, items, total=len(items))
    return _exit_code_of(items)


def show_interruption(console: Console, items: Sequence[BatchItem], *, is_list: bool, as_json: bool) -> None:
    """Say what has ended, what becomes of orders that are waited for no longer, and how to fetch each."""
    ended = [item for item in items if item.is_over]
    if not as_json or not is_list:
        for item in ended:
            if item.task is not None and item.error is None:
                show_task(console, item.task, as_json=as_json)
    _show_errors(console, ended, total=len(items))
    left = [item for item in items if not item.is_over]
    if not is_list:
        for item in left:
            console.note(_describe_interruption(item))
        return
    named = [(item.label, item.task.task_id) for item in left if item.task is not None]
    unnamed = [(item.label, item.placed.task_id) for item in left if item.task is None and item.placed is not None]
    if named:
        orders_go = "1 order goes" if len(named) == 1 else f"{len(named)} orders go"
        console.note(
            f"Stopped waiting. {orders_go} on at the service: wan-mcp collect fetches what is ready, wan-mcp get "
            "ID one of them:"
        )
        _list_commands(console, named)
    if unnamed:
        orders = "1 order was" if len(unnamed) == 1 else f"{len(unnamed)} orders were"
        console.note(
            f"{orders} being sent and may have reached the service: wan-mcp get ID shows what became of one, "
            "wan-mcp collect fetches what is ready:"
        )
        _list_commands(console, unnamed)
    unsent = len(left) - len(named) - len(unnamed)
    if unsent == len(items):
        console.note(_NOTHING_ORDERED)
    elif unsent:
        console.note(f"{unsent} of {len(items)} prompts were not ordered.")


def _list_commands(console: Console, orders: Sequence[tuple[str, str]]) -> None:
    """Say for each order, a label and an id, what to type."""
    for label, task_id in orders[:_MAX_LISTED]:
        console.note(f"  wan-mcp get {task_id}    ({label})")
    if len(orders) > _MAX_LISTED:
        console.note(f"  and {len(orders) - _MAX_LISTED} more; wan-mcp tasks lists them.")


def _describe_interruption(item: BatchItem) -> str:
    if item.task is not None:
        return (
            "Stopped waiting. The order goes on at the service: wan-mcp collect or wan-mcp get "
            f"{item.task.task_id} fetches it."
        )
    if item.placed is not None:
        return (
            f"Stopped. The order {item.placed.task_id} was being sent and may have reached the service: wan-mcp get "
            f"{item.placed.task_id} shows what became of it, and wan-mcp collect fetches it."
        )
    return _NOTHING_ORDERED


def _item_facts(item: BatchItem) -> dict[str, object]:
    """Give an order of a list as data: the tool's result beside its prompt, or why there is none."""
    facts: dict[str, object] = {"prompt": item.request.prompt}
    if item.error is None and item.task is not None:
        return facts | tool_result(item.task)
    if item.task is not None:
        facts["task_id"] = item.task.task_id
    return facts | {"code": item.error.code if item.error else None, "message": str(item.error)}


def _show_errors(console: Console, items: Sequence[BatchItem], *, total: int) -> None:
    """Say each reason once, with the prompts that it stopped, unless it stopped all of the `total`."""
    labels: dict[str, list[str]] = {}
    for item in items:
        if item.error is not None:
            known = f" (task {item.task.task_id})" if item.task is not None else ""
            labels.setdefault(describe_error(item.error), []).append(f"{item.label}{known}")
    for reason, stopped in labels.items():
        if len(stopped) == total:
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
