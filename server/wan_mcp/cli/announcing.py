"""What is said of orders before they are placed, after they have ended, and when the wait for them is broken off."""

from collections.abc import Mapping, Sequence

from wan_mcp.cli.console import Console
from wan_mcp.cli.exits import Exit, exit_of_error
from wan_mcp.cli.ordering import Manner, Order
from wan_mcp.cli.presenting import result_of, show_task, to_json
from wan_mcp.cli.wording import in_commands
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import estimate, tell_sum
from wan_mcp_tools.domain.requests import ImageRequest

_TOLD = 20
"""Orders of which each is named when the wait is broken off."""


def announce(console: Console, requests: Sequence[ImageRequest], catalogue: Catalogue) -> None:
    """Say how many images are about to be ordered, of which model and where, and what they cost."""
    total = estimate(requests, catalogue)
    first = requests[0]
    images = "1 image" if total.images == 1 else f"{total.images} images"
    prompts = f" of {len(requests)} prompts" if len(requests) > 1 else ""
    console.note(f"Ordering {images}{prompts} with {first.model} in {first.region}: {tell_sum(total)}.")


def show_orders(
    console: Console,
    orders: Sequence[Order],
    manner: Manner,
    pictures: Mapping[int, Mapping[int, str]],
    *,
    is_list: bool,
) -> Exit:
    """
    Write how the orders ended, in the order of their prompts, and give the exit code.

    Raises:
        AppError: the only order was refused or failed, and it is no list.
    """
    if not is_list:
        (order,) = orders
        if order.error is not None:
            raise order.error
        if order.task is not None:
            show_task(console, order.task, as_json=manner.as_json, pictures=pictures.get(0, {}))
        return order.exit
    if manner.as_json:
        console.say(to_json([_describe(order) for order in orders]))
    else:
        for number, order in enumerate(orders):
            if order.task is None or order.error is not None:
                continue
            if order.exit is not Exit.DONE or order.task.notes or order.task.failed_images or order.task.joined:
                console.note(f"{order.label}:")
            show_task(console, order.task, as_json=False, pictures=pictures.get(number, {}))
    _tell_errors(console, orders)
    return _exit_of(orders)


def say_goodbye(console: Console, orders: Sequence[Order], *, is_list: bool, as_json: bool) -> None:
    """Say what becomes of orders that are waited for no longer, and how to fetch each."""
    if is_list and not as_json:
        for order in orders:
            if order.is_over and order.task is not None:
                show_task(console, order.task, as_json=False)
    left = [order for order in orders if not order.is_over]
    named = [order for order in left if order.task is not None]
    unnamed = [order for order in left if order.is_sent and order.task is None]
    if not is_list:
        console.note(_tell_one(named))
        return
    if named:
        console.note(
            f"Stopped waiting. {_count(named)} on at the service: wan-mcp collect fetches what is ready, wan-mcp get "
            "ID one of them:"
        )
        for order in named[:_TOLD]:
            console.note(f"  wan-mcp get {order.task.task_id if order.task else ''}    ({order.label})")
        if len(named) > _TOLD:
            console.note(f"  and {len(named) - _TOLD} more; wan-mcp tasks lists them.")
    if unnamed:
        console.note(f"{len(unnamed)} may have reached the service: wan-mcp tasks shows it, wan-mcp collect fetches.")
    unsent = len(left) - len(named) - len(unnamed)
    if unsent:
        console.note(f"{unsent} of {len(orders)} prompts were not ordered.")


def _tell_one(named: Sequence[Order]) -> str:
    if not named:
        return (
            "Stopped. The order may have reached the service: wan-mcp tasks shows it, and wan-mcp collect fetches it."
        )
    task = named[0].task
    return (
        "Stopped waiting. The order goes on at the service: wan-mcp collect or wan-mcp get "
        f"{task.task_id if task else ''} fetches it."
    )


def _count(orders: Sequence[Order]) -> str:
    return "1 order goes" if len(orders) == 1 else f"{len(orders)} orders go"


def _describe(order: Order) -> dict[str, object]:
    """Give an order of a list as data: the tool's result beside its prompt, or why there is none."""
    facts: dict[str, object] = {"prompt": order.request.prompt}
    if order.error is None and order.task is not None:
        return facts | result_of(order.task)
    if order.task is not None:
        facts["task_id"] = order.task.task_id
    return facts | {"code": order.error.code if order.error else None, "message": str(order.error)}


def _tell_errors(console: Console, orders: Sequence[Order]) -> None:
    """Say each reason once, with the prompts that it stopped."""
    labels: dict[str, list[str]] = {}
    for order in orders:
        if order.error is not None:
            known = f" (task {order.task.task_id})" if order.task is not None else ""
            labels.setdefault(in_commands(str(order.error)), []).append(f"{order.label}{known}")
    for reason, stopped in labels.items():
        if len(stopped) == len(orders):
            console.note(f"wan-mcp: {reason}")
            continue
        more = f"\n  and {len(stopped) - _TOLD} more" if len(stopped) > _TOLD else ""
        console.note("\n  ".join([f"wan-mcp: {reason}", *stopped[:_TOLD]]) + more)


def _exit_of(orders: Sequence[Order]) -> Exit:
    """Give one code for all: a failure before what still runs; wrong usage only where nothing else happened."""
    if all(order.error is not None and exit_of_error(order.error) is Exit.REFUSED for order in orders):
        return Exit.REFUSED
    ends = {order.exit for order in orders}
    if ends & {Exit.FAILED, Exit.REFUSED}:
        return Exit.FAILED
    return Exit.RUNNING if Exit.RUNNING in ends else Exit.DONE
