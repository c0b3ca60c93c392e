"""Pages of the ledger's orders, newest first."""

from wan_mcp.ledger import Order
from wan_mcp.orders.discovering import Discoverer
from wan_mcp.orders.following import Follower
from wan_mcp.orders.looking import Looker
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.views import view
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import TaskPage
from wan_mcp_tools.domain.tasks import TaskStatus


class Lister:
    """Lists orders, and takes in those that only the service knows."""

    def __init__(self, parts: Parts, discoverer: Discoverer, follower: Follower, looker: Looker) -> None:
        self._parts = parts
        self._discoverer = discoverer
        self._follower = follower
        self._looker = looker

    async def page(
        self, *, status: TaskStatus | None, limit: int, cursor: str | None, remote: bool, seconds: float
    ) -> TaskPage:
        """
        Give one page; with `remote` the service is asked first, for at most `seconds`.

        Raises:
            RequestRefusedError: the cursor is none of ours.
        """
        before = read_cursor(cursor)
        notes = await self._take_in(limit, seconds) if remote else ()
        if not await self._parts.ledger.exists():
            return TaskPage((), None, notes)
        await self._looker.catch_up()
        rows = await self._parts.ledger.page(status=status, limit=limit + 1, before=before)
        shown = rows[:limit]
        more = write_cursor(shown[-1]) if len(rows) > limit else None
        # A caller may have been told of files that are being written down at this moment.
        newest = [self._parts.news.latest(row.local_id) or row for row in shown]
        return TaskPage(tuple(view(order) for order in newest), more, notes)

    async def _take_in(self, limit: int, seconds: float) -> tuple[str, ...]:
        adopted, notes = await self._discoverer.by_list(limit, seconds=seconds)
        if not adopted:
            return notes
        self._follower.watcher.look()
        if self._follower.is_watching:
            return notes
        count = "1 task was" if len(adopted) == 1 else f"{len(adopted)} tasks were"
        return (*notes, f"{count} taken in; wan-mcp collect, or a running server, saves the images.")


def write_cursor(last: Order) -> str:
    """Give the cursor that goes on behind an order."""
    return f"{last.created_at!r}/{last.local_id}"


def read_cursor(cursor: str | None) -> tuple[float, str] | None:
    """
    Give the time and the id that a cursor means, None for the first page.

    Raises:
        RequestRefusedError: it is none of ours.
    """
    if not cursor:
        return None
    moment, _, local_id = cursor.partition("/")
    try:
        return float(moment), local_id
    except ValueError as error:
        raise RequestRefusedError(
            "The cursor is not one that list_tasks gave.", "Leave it out for the first page."
        ) from error
