"""Everything that was ordered, for a person to look through: what can be asked, and what is told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wan_mcp_tools.shared.ports import Preview, TaskPage


class AlbumState(StrEnum):
    """How an order stands, in the words of a person who looks through them."""

    OPEN = "open"
    """It goes on, or its images are not all saved yet."""
    ENDED = "ended"
    """Any of the following three."""
    SAVED = "saved"
    FAILED = "failed"
    """It failed, was refused, or nobody knows what became of it."""
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class AlbumQuery:
    """
    Which orders are meant; what is None does not matter.

    Every word of `text` stands in the prompt or in an id, in whatever case. `since` and `until` bound the time of
    the order, in seconds since 1970; the second is the first moment that is too late.
    """

    text: str | None = None
    state: AlbumState | None = None
    model: str | None = None
    region: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class AlbumSurvey:
    """
    What a query finds, in numbers: orders, and saved images.

    `models` and `regions` are those of the whole ledger, to choose from.
    """

    orders: int = 0
    images: int = 0
    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class Album(Protocol):
    """The ledger as an album. Looking at it asks nobody, and notes nothing as received."""

    async def page(self, query: AlbumQuery, *, limit: int, cursor: str | None) -> TaskPage:
        """Give the orders that a query means, newest first; a saved file that is gone is told as such."""
        ...

    async def survey(self, query: AlbumQuery) -> AlbumSurvey:
        """Count what a query finds."""
        ...

    async def thumbnail(self, *, task_id: str, index: int, side: int) -> Preview:
        """Give a tiny picture of a saved image, its longest side at most `side` pixels."""
        ...
