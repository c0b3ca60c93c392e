"""What the tools need of the server: one port."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import CostReport
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import Problem, SavedImage, Task, TaskStatus
from wan_mcp_tools.domain.usage import UsageReport


class ProgressReport(Record):
    """
    How a call that waits is doing.

    `seconds` have passed since it began; `expected` is how many it will be in all, None if nobody can say. `state`
    says in a few words what is happening, `timing` how long that has lasted and usually does, where there is
    anything to say of it. `problem` is what holds it up.
    """

    seconds: float
    expected: float | None
    state: str
    timing: str = ""
    problem: Problem | None = None


ProgressCallback = Callable[[ProgressReport], Awaitable[None]]
"""Tells a caller how its call is doing."""

NotePlaced = Callable[[Task], None]
"""
Tells a caller of its order as soon as it is written down: before it is sent, and although the call may be broken off.

Until then nothing was ordered. An order that was there already, and that the call joins, is `deduplicated`.
"""


class ImageFormat(StrEnum):
    """The formats in which an image is saved."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class Conversion(Record):
    """
    What a copy of an image is to be: None leaves it as it is.

    `max_side` is the longest side in pixels; an image that is smaller is not enlarged.
    """

    format: ImageFormat | None = None
    max_side: int | None = None


class Preview(Record):
    """A small picture: encoded bytes and their MIME type."""

    data: bytes
    mime_type: str


class ImageData(Record):
    """
    A saved image to hand over: encoded bytes, their MIME type, and the file they stand for.

    `reduced` says that the file was too large and the bytes are a small picture of it.
    """

    data: bytes
    mime_type: str
    file: SavedImage
    reduced: bool


class TaskPage(Record):
    """Some tasks, newest first; `cursor` opens the next page and is None at the end."""

    tasks: Sequence[Task]
    cursor: str | None = None
    notes: tuple[str, ...] = ()


class OrderState(StrEnum):
    """How an order stands, in the words of a person who looks through them."""

    OPEN = "open"
    """It goes on, or its images are not all saved yet."""
    ENDED = "ended"
    """Any of the following three."""
    SAVED = "saved"
    FAILED = "failed"
    """It failed, was refused, or nobody knows what became of it."""
    CANCELED = "canceled"


class OrderQuery(Record):
    """
    Which orders are meant; what is None does not matter.

    Every word of `text` stands in the prompt or in an id, in whatever case. `since` and `until` bound the time of
    the order, in seconds since 1970; the second is the first moment that is too late.
    """

    text: str | None = None
    state: OrderState | None = None
    model: str | None = None
    region: str | None = None
    since: float | None = None
    until: float | None = None


class OrderTotals(Record):
    """
    What a query finds, in numbers: orders, and saved images.

    `models` and `regions` are those of the whole ledger, to choose from.
    """

    orders: int = 0
    images: int = 0
    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class ImageService(Protocol):
    """
    The server's side of every tool.

    Every method raises `AppError` where the caller can act on the trouble. A method that waits answers within
    its `wait_seconds` plus two seconds, with the task as it is by then.
    """

    @property
    def catalogue(self) -> Catalogue:
        """What can be ordered, and with which defaults."""
        ...

    @property
    def default_wait_seconds(self) -> float:
        """How long a waiting call waits if it does not say."""
        ...

    async def order(
        self,
        request: ImageRequest,
        *,
        wait_seconds: float,
        until_accepted: bool,
        fresh: bool,
        report: ProgressCallback | None,
        placed: NotePlaced | None = None,
    ) -> Task:
        """
        Write the order down, send it, and wait.

        `until_accepted` ends the wait as soon as the task has an id at the service; otherwise the wait is for the
        saved images. `fresh` orders anew even if an identical order was placed whose result nobody has received.
        """
        ...

    async def get(self, task_id: str, *, wait_seconds: float, report: ProgressCallback | None) -> Task:
        """Give the task, after waiting for its end at most `wait_seconds`."""
        ...

    async def peek(self, task_id: str) -> Task | None:
        """Give the task as the ledger has it: nobody is asked, and nothing is noted as received."""
        ...

    async def find_by_beginning(self, beginning: str, *, limit: int) -> Sequence[Task]:
        """
        Give the tasks of the ledger one of whose ids begins with these letters, newest first.

        For a person who types; who has an id as data has all of it.
        """
        ...

    async def seconds_left(self, task: Task) -> float | None:
        """
        Give the seconds until such a task usually ends, by what was learned of earlier ones.

        Less than nought if this one is late, None if nothing was learned yet.
        """
        ...

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task that is still PENDING."""
        ...

    async def list_tasks(
        self,
        *,
        status: TaskStatus | None,
        limit: int,
        cursor: str | None,
        remote: bool,
        since: str | None = None,
        until: str | None = None,
    ) -> TaskPage:
        """
        Give the ledger's tasks, newest first; `remote` also asks the service and adopts what is missing.

        `since` and `until` bound the time of the order. Each is an ISO day, `today`, `yesterday`, or an ISO time;
        without a zone it is by the calendar of the server's machine. A day `until` is included, a time is not.
        """
        ...

    async def find_orders(self, query: OrderQuery, *, limit: int, cursor: str | None) -> TaskPage:
        """
        Give the orders of the ledger that a query means, newest first; a saved file that is gone is told as such.

        The service is not asked, and nothing is noted as received.
        """
        ...

    async def count_orders(self, query: OrderQuery) -> OrderTotals:
        """Count what a query finds."""
        ...

    async def report_costs(self, *, since: str | None, until: str | None) -> CostReport:
        """
        Give the images of the orders of some days and what they cost by the catalogue.

        `since` and `until` are as those of `list_tasks`; without them the first order is the beginning, and now the
        end.
        """
        ...

    async def report_usage(self) -> UsageReport:
        """Give how much the caller has ordered and may order; who sees everybody's orders is told of all."""
        ...

    async def download_image(
        self,
        *,
        task_id: str | None,
        index: int,
        url: str | None,
        output_dir: str | None,
        filename: str | None,
        conversion: Conversion | None = None,
    ) -> tuple[SavedImage, Task | None]:
        """
        Put an image of a task, or of a result URL, into a folder under a name.

        With a `conversion` that is a converted copy; the image itself stays as it is, or is saved where it belongs.
        """
        ...

    async def draw_preview(self, *, task_id: str | None, index: int, path: str | None) -> Preview:
        """Give a small picture of a saved image: longest side 1024 pixels at most, 500 kB at most."""
        ...

    async def read_image(self, *, task_id: str, index: int, most_bytes: int) -> ImageData:
        """Give a saved image of the ledger: the file's own bytes, or a small picture if they are more."""
        ...

    async def draw_thumbnail(self, *, task_id: str, index: int, side: int) -> Preview:
        """Give a tiny picture of a saved image of the ledger, its longest side at most `side` pixels."""
        ...

    async def draw_input(self, *, task_id: str, number: int, side: int) -> Preview:
        """
        Give a tiny picture of what an order of the ledger was given as input, counted from 1.

        Raises:
            NotFoundError: there is no such input, it is an address of the web, or its file is gone or has changed.
        """
        ...
