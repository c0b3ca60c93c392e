"""What goes to the service and what comes back, as data."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any, Protocol

from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import Problem, TaskStatus


class Timeouts(Record):
    """
    How long each phase of a call may take, in seconds.

    `order` waits for the answer to an order by task, `sync_order` for one whose answer is the picture itself,
    `call` for everything else. `image` is the longest silence between two pieces of an image, `image_total` the
    longest single transfer of one; what came by then is kept and continued.
    """

    connect: float = 10.0
    write: float = 30.0
    pool: float = 10.0
    order: float = 60.0
    sync_order: float = 620.0
    call: float = 30.0
    image: float = 30.0
    image_total: float = 900.0


BeforeSending = Callable[[], Awaitable[None]]
"""What is done between the opening of a connection and the sending on it; whatever it raises, nothing is sent."""


class CreateOrder(Record):
    """
    One order as the wire needs it: `model_id` is the id that this region knows the model by.

    `size` is `W*H` in pixels, or `1K`, `2K`, `4K`. `n` counts images, of a set the most; so many are read of the
    answer. `has_n` says that the model is told. None leaves a parameter out. `images` are `data:`, `https:` or `oss:`
    addresses in the order in which the prompt counts them; `options` are further parameters by the service's own
    names.
    """

    region: str
    protocol: WireProtocol
    model_id: str
    prompt: str
    size: str | None
    n: int
    negative_prompt: str | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    watermark: bool | None = False
    has_n: bool = True
    images: tuple[str, ...] = field(default=(), repr=False)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)


class RequestBody:
    """
    What is sent of a call, once: it is let go of as soon as it has left, since an answer may take minutes.

    `size` counts its bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    async def pieces(self, size: int) -> AsyncIterator[bytes]:
        """Give it in pieces of so many bytes; after the last one there is nothing left."""
        for start in range(0, self.size, size):
            yield self._data[start : start + size]
        self._data = b""


class EncodedOrder(Record):
    """An order as it is sent: where to, with which headers beside the key, and its body, which holds its pictures."""

    region: str
    model_id: str
    protocol: WireProtocol
    n: int
    url: str
    headers: Mapping[str, str]
    body: RequestBody = field(repr=False)


class TaskImage(Record):
    """
    One image of a task, `index` from 1.

    With `url` it exists at the service; that is an address of the web, a `data:` address that holds the image, or at
    worst something that only a person can make use of. Without, it failed: `code` is the service's, `message` in our
    words. The address is not shown when the object is printed, because it carries a signature.
    """

    index: int
    url: str | None = field(default=None, repr=False)
    code: str | None = None
    message: str | None = None


class TaskAnswer(Record):
    """
    What the service says of one task.

    `task_id` is None for an order of the synchronous protocol, whose answer is already the picture. `problem` tells
    why a task did not succeed. `surplus` counts the images that the answer has beyond those that were asked for and
    are therefore not read. `size` is `W*H`, `total` the images ordered, `image_count` those that are billed,
    `queued` the seconds from the order to the start of the work, `duration` those from there to the end, `served_at`
    the service's own clock in seconds since 1970.
    """

    task_id: str | None
    status: TaskStatus
    images: tuple[TaskImage, ...] = ()
    surplus: int = 0
    problem: Problem | None = None
    actual_prompt: str | None = None
    orig_prompt: str | None = None
    size: str | None = None
    image_count: int | None = None
    total: int | None = None
    queued: float | None = None
    duration: float | None = None
    request_id: str | None = None
    served_at: float | None = None


class ListedTask(Record):
    """
    One row of the service's list; times are seconds since 1970.

    The list tells neither the prompt nor the images. `region` is the region that was asked.
    """

    task_id: str
    status: TaskStatus
    region: str
    model_id: str | None = None
    created_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    request_id: str | None = None


class TaskListing(Record):
    """One page of the service's list; pages count from 1."""

    tasks: tuple[ListedTask, ...]
    page_no: int
    total_pages: int
    total: int | None = None
    served_at: float | None = None


class Sink(Protocol):
    """Where the bytes of one image go. It outlives a transfer that broke off, so that the next one continues."""

    @property
    def size(self) -> int:
        """How many bytes have been written."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        ...

    async def restart(self) -> None:
        """Forget what was written: back to zero bytes."""
        ...
