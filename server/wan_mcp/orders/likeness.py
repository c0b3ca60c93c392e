"""Whether a finished task of the service can be the one that an order asked for."""

from wan_mcp.dashscope import TaskAnswer
from wan_mcp.ledger import Order
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import TaskStatus


def agrees(answer: TaskAnswer, order: Order, request: ImageRequest, *, with_all_images: bool = True) -> bool:
    """Say whether a finished task can be the order: count, size, and the prompt where it is repeated."""
    if answer.status is not TaskStatus.SUCCEEDED:
        return False
    count = answer.total or len(answer.images)
    if count != request.n and (with_all_images or count > request.n):
        return False
    if order.protocol == WireProtocol.LEGACY and answer.orig_prompt is not None:
        return answer.orig_prompt.strip() == request.prompt.strip()
    return answer.size is None or _is_about(answer.size, request.size)


_SQUARES = {"1K": 1024, "2K": 2048, "4K": 4096}
_PIXELS_MAY_DIFFER = 0.06


def _is_about(got: str, asked: str) -> bool:
    """Compare sizes; the newest models return a few pixels more or less than they were asked for."""
    if asked in _SQUARES:
        side = _SQUARES[asked]
        asked = f"{side}*{side}"
    try:
        pairs = zip(_sides(got), _sides(asked), strict=True)
    except ValueError:
        return True
    return all(abs(one - other) <= other * _PIXELS_MAY_DIFFER for one, other in pairs)


def _sides(size: str) -> tuple[int, int]:
    width, _, height = size.replace("x", "*").partition("*")
    return int(width), int(height)
