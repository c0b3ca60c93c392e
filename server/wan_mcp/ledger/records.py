"""The ledger's rows as values, and what callers say about them."""

import secrets
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Quota

DAY = 86_400.0
"""Seconds that the service keeps a task and its images."""
MONTH = 30 * DAY
"""Seconds that costs of a month are counted in, up to this moment."""
MILLIONTHS = 1_000_000
"""In which costs are kept: sums of them are exact."""
_LOCAL = "local-"


def new_local_id() -> str:
    """Give an id that nobody can guess: it is all that a client needs to reach the order."""
    return f"{_LOCAL}{secrets.token_hex(16)}"


def is_local_id(any_id: str) -> bool:
    """Say whether an id is one of ours, which no service knows."""
    return any_id.startswith(_LOCAL)


class Stage(StrEnum):
    """How far an order has come on our side; `TaskStatus` says how far it has come at the service."""

    QUEUED = "QUEUED"
    """Written down and provably not sent."""
    SENDING = "SENDING"
    """The creating request may have left."""
    LOST = "LOST"
    """Sent, its answer lost; the service's list is searched for it."""
    OPEN = "OPEN"
    """The task is known, and it runs or not all of its images are final."""
    CLOSED = "CLOSED"
    """Nothing is left to do."""


class Origin(StrEnum):
    """How a row came into the ledger."""

    ORDERED = "ordered"
    """Ordered here."""
    ADOPTED = "adopted"
    """Found at the service under an id, or in a list, that a caller asked for."""
    RECOVERED = "recovered"
    """One of several tasks that may belong to an order whose answer was lost."""


class ImageState(StrEnum):
    """How far an image has come on its way to a file."""

    WAITING = "WAITING"
    """The service has it; nothing was tried yet."""
    PUBLISHING = "STAGED"
    """Its checked bytes are about to get the name in `path`."""
    SAVED = "SAVED"
    """It is the file at `path`."""
    UNSAVED = "UNSAVED"
    """It could not be fetched or written; this is tried again as long as the link lives."""
    FAILED = "FAILED"
    """The service did not make it, or its link died before it was saved."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will be tried."""
        return self in (ImageState.SAVED, ImageState.FAILED)


class OrderImage(Record):
    """One image of an order; `index` counts from 1. `url` is kept only until the image is a file."""

    index: int
    state: ImageState
    url: str | None = None
    path: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    code: str | None = None
    message: str | None = None


class Order(Record):
    """
    One order. Times are seconds since 1970 by the ledger's clock.

    `account` is a fingerprint of the key, never the key; `fingerprint` is equal for equal requests of an account.
    `wire_model` is the model's id as the service of the region knows it. `clock_offset` is what was known, when the
    request was sent, of the service's clock minus ours. `worker_id` names the process that works on it until
    `lease_until`; `version` grows with every worker. `awaited_until` says until when a call of the process
    `awaited_by` waits for it, `delivered_at` when a call was answered with its images. `principal` is the id of who
    ordered it. `cost` is what it may cost at most, by the catalogue, in millionths of `currency`; 0 for what is free
    or has no known price.
    """

    local_id: str
    origin: Origin
    region: str
    account: str
    stage: Stage
    status: TaskStatus
    created_at: float
    task_id: str | None = None
    model: str | None = None
    wire_model: str | None = None
    protocol: str | None = None
    request: ImageRequest | None = None
    fingerprint: str | None = None
    images_ordered: int = 0
    folder: str | None = None
    sent_at: float | None = None
    clock_offset: float | None = None
    lost_at: float | None = None
    accepted_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    duration: float | None = None
    worker_id: str | None = None
    lease_until: float = 0.0
    version: int = 0
    request_id: str | None = None
    actual_prompt: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    notes: tuple[str, ...] = ()
    awaited_until: float = 0.0
    awaited_by: str | None = None
    delivered_at: float | None = None
    principal: str = LOCAL_ID
    cost: int = 0
    currency: str | None = None
    images: tuple[OrderImage, ...] = ()

    @property
    def best_id(self) -> str:
        """The service's id where it is known, else ours."""
        return self.task_id or self.local_id

    def image(self, index: int) -> OrderImage | None:
        """Give the image with an index, if the order has it."""
        return next((image for image in self.images if image.index == index), None)


class Placement(Record):
    """
    What became of a request to place an order: the row, and whether it is an earlier identical one.

    `saved_elsewhere` says that the earlier one wants its files in another folder or under another name.
    """

    order: Order
    deduplicated: bool
    saved_elsewhere: bool = False


class OrderLimits(Record):
    """How much all principals together may order, and each of them."""

    everybody: Quota = field(default_factory=Quota)
    each: Quota = field(default_factory=Quota)


class RateLimit(Record):
    """
    A rate limit that every process on the ledger keeps: `per_second` requests, `burst` of them at once.

    One that is not `is_durable` may be forgotten in a power cut, and costs no write that is waited for.
    """

    name: str
    per_second: float
    burst: float = 1.0
    is_durable: bool = True


class Slot(Record):
    """A right that one holder at a time has, for `seconds` unless it is renewed."""

    name: str
    seconds: float


class Dispatch(Record):
    """What an order needs to be sent: a turn of the limit, and the slot if there is one."""

    slot: Slot | None
    limit: RateLimit


class Backlog(Record):
    """
    What is unfinished in the ledger: orders, and how many of them a living process works on.

    `oldest_unsaved_seconds` is how long ago the service finished the task whose pictures are unsaved for longest;
    nought where there is none.
    """

    orders: int
    leased: int
    oldest_unsaved_seconds: float


class Upload(Record):
    """
    A picture that a principal has uploaded to order with: sides in pixels, `path` where it lies in the storage.

    `expires_at`, in seconds since 1970, is when it can be ordered with no more.
    """

    id: str
    principal: str
    path: str
    width: int
    height: int
    bytes: int
    expires_at: float = 0.0


class Eligibility(Record):
    """
    Which unfinished orders a process can take further.

    `accounts` has the fingerprint of the key of each region that can be reached. `excluded` are local ids that are
    left to others.
    """

    accounts: Mapping[str, str]
    excluded: frozenset[str] = frozenset()
