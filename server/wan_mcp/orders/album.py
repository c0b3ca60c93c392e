"""The ledger as an album: pages, numbers and tiny pictures of everything that was ordered."""

from functools import partial

from wan_mcp.orders.fetching import Fetcher
from wan_mcp.orders.finding import Finder
from wan_mcp.orders.listing import read_cursor, write_cursor
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.pictures import Pictures
from wan_mcp.orders.views import view
from wan_mcp.storage.previews import ThumbnailCache
from wan_mcp_tools.domain.errors import NotFoundError
from wan_mcp_tools.domain.service import AlbumQuery, AlbumSurvey, Preview, TaskPage

_MOST_BYTES = 100_000
"""Of a tiny picture."""


class OrderAlbum:
    """The `Album` port."""

    def __init__(self, parts: Parts, finder: Finder, fetcher: Fetcher, pictures: Pictures) -> None:
        self._parts = parts
        self._finder = finder
        self._fetcher = fetcher
        self._pictures = pictures
        self._thumbnails = ThumbnailCache(parts.settings.state_dir / "thumbnails")
        self._surveyed: tuple[object, AlbumQuery, AlbumSurvey] | None = None

    async def page(self, query: AlbumQuery, *, limit: int, cursor: str | None) -> TaskPage:
        """Give the orders that a query means, newest first."""
        before = read_cursor(cursor)
        ledger, news = self._parts.ledger, self._parts.news
        if not await ledger.exists():
            return TaskPage(())
        rows = await ledger.album(query, limit=limit + 1, before=before)
        shown = rows[:limit]
        tasks = [
            view(
                order,
                trouble=news.trouble_of(order.local_id),
                gone=await self._fetcher.gone(order) if order.images else {},
            )
            for order in (news.latest(row.local_id) or row for row in shown)
        ]
        return TaskPage(tuple(tasks), write_cursor(shown[-1]) if len(rows) > limit else None)

    async def survey(self, query: AlbumQuery) -> AlbumSurvey:
        """Count what a query finds."""
        ledger = self._parts.ledger
        token = await ledger.token()
        if token is None or not await ledger.exists():
            return AlbumSurvey()
        # A page asks every two seconds, and a ledger may be large.
        if self._surveyed is None or self._surveyed[:2] != (token, query):
            self._surveyed = (token, query, await ledger.survey(query))
        return self._surveyed[2]

    async def thumbnail(self, *, task_id: str, index: int, side: int) -> Preview:
        """Give a tiny picture of a saved image; it is drawn once and kept."""
        order = await self._finder.peek(task_id)
        if order is None:
            raise NotFoundError(f"No task {task_id[:80]} is in this ledger.", code="TaskNotFound")
        path = await self._pictures.find_readable(order, index)
        draw = partial(self._parts.storage.preview, path, max_side=side, max_bytes=_MOST_BYTES)
        return await self._thumbnails.fetch(path, side, draw)
