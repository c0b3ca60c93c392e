"""Where callers want images that are not saved yet."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from wan_mcp.ledger import OrderImage
from wan_mcp_tools.domain.errors import AppError


@dataclass(slots=True)
class Wish:
    """
    Where a caller wants an image: None means where the order wants it.

    `tried` rings when it was tried: then it is `saved`, or `failure` says why not.
    """

    folder: Path | None = None
    stem: str | None = None
    saved: OrderImage | None = None
    failure: AppError | None = None
    tried: anyio.Event = field(default_factory=anyio.Event)


class Wishes:
    """The wishes that are open, by order and index."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], Wish] = {}

    @contextmanager
    def wishing(self, local_id: str, index: int, wish: Wish) -> Generator[None]:
        """Keep a wish for as long as this is open; a later one for the same image takes its place."""
        self._open[local_id, index] = wish
        try:
            yield
        finally:
            if self._open.get((local_id, index)) is wish:
                del self._open[local_id, index]

    def find(self, local_id: str, index: int) -> Wish:
        """Give the wish for an image, or one that wants nothing."""
        return self._open.get((local_id, index)) or Wish()

    def let_go(self, local_id: str) -> None:
        """Tell those who wish for an image of an order that nothing more is tried here."""
        for (wished, _), wish in self._open.items():
            if wished == local_id:
                wish.tried.set()
