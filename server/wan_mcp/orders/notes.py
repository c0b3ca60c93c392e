"""The note beside an image: what a person may want to know of it later."""

import json

from wan_mcp.clock import utc
from wan_mcp.ledger import Order, OrderImage

_PARAMETERS = frozenset({"size", "n", "negative_prompt", "seed", "prompt_extend", "watermark"})


def describe(order: Order, image: OrderImage, now: float) -> dict[str, object]:
    """Give what a person may want to know of an image later; nothing secret."""
    request = json.loads(order.request or "{}")
    known = {
        "prompt": request.pop("prompt", None),
        "actual_prompt": order.actual_prompt,
        "model": order.model,
        "region": order.region,
        "parameters": {name: value for name, value in request.items() if name in _PARAMETERS},
        "index": image.index,
        "task_id": order.task_id,
        "local_id": order.local_id,
        "request_id": order.request_id,
        "ordered_at": utc(order.created_at).isoformat(),
        "finished_at": utc(order.finished_at).isoformat() if order.finished_at else None,
        "saved_at": utc(now).isoformat(),
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
        "sha256": image.sha256,
    }
    return {name: value for name, value in known.items() if value is not None}
