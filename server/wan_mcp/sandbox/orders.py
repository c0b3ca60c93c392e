"""From an order to its record: when it will run, and what will come of it."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from wan_mcp.sandbox.models import Model, Wire
from wan_mcp.sandbox.options import SandboxOptions
from wan_mcp.sandbox.records import TaskRecord
from wan_mcp.sandbox.refusals import Trouble
from wan_mcp.sandbox.schedule import find_start
from wan_mcp.sandbox.store import Records
from wan_mcp.sandbox.triggers import Fate, read_fate
from wan_mcp.sandbox.wishes import DEFAULT_COUNT, Wish, WishError, read_wish

_REFUSAL_SECONDS = 0.05
"""How long a task runs that fails before any work is done."""


@dataclass(frozen=True, slots=True)
class Order:
    """
    An order on its way in: a wish, or the trouble that stands in its place.

    `request_id` is the id of the creating call.
    """

    request_id: str
    model: Model
    wire: Wire
    wish: Wish | None
    trouble: Trouble | None
    fate: Fate


def read_order(body: dict[str, Any], model: Model, wire: Wire, request_id: str) -> Order:
    """Read the body; what is wrong with it becomes the order's trouble."""
    try:
        wish = read_wish(body, model, wire)
    except WishError as error:
        return Order(request_id, model, wire, None, Trouble("InvalidParameter", str(error)), Fate())
    fate = read_fate(wish.prompt)
    return Order(request_id, model, wire, wish, fate.refusal, fate)


def plan(order: Order, records: Records, options: SandboxOptions, now: float) -> TaskRecord:
    """Write the whole life of an order down, at the time of its submission."""
    wish = order.wish or Wish("", 0, 0, DEFAULT_COUNT, None, True, False, False)  # noqa: FBT003
    started = find_start(
        records.values(),
        order.model.name,
        ready=now + options.pending,
        concurrency=options.concurrency or order.model.concurrency,
    )
    work = (order.fate.seconds or options.duration) - options.pending
    if order.trouble is not None:
        work = min(work, _REFUSAL_SECONDS)
    return TaskRecord(
        task_id=str(uuid.uuid4()),
        request_id=order.request_id,
        wire=order.wire,
        model=order.model.name,
        prompt=wish.prompt,
        width=wish.width,
        height=wish.height,
        count=wish.count,
        seed=secrets.randbelow(2**31) if wish.seed is None else wish.seed,
        prompt_extend=wish.prompt_extend,
        watermark=wish.watermark,
        submitted=now,
        started=started,
        ended=started + work,
        failure=order.trouble or order.fate.breakdown,
        missing=(2,) if order.fate.is_partial and wish.count > 1 else (),
        as_set=wish.as_set,
    )
