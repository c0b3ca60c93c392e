"""The ledger's rows as values."""

from dataclasses import dataclass
from enum import StrEnum

from wan_mcp_tools.domain.tasks import TaskStatus


class Stage(StrEnum):
    """How far an order has come on our side; `TaskStatus` says how far it has come at the service."""

    QUEUED = "QUEUED"
    """Written down and provably not sent."""
    SENDING = "SENDING"
    """The creating request may have left."""
    LOST = "LOST"
    """Sent, its answer lost; the service's list is searched for it."""
    OPEN = "OPEN"
    """The task is known and not all of its images are settled."""
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
    STAGED = "STAGED"
    """Its checked bytes are about to get the name in `path`."""
    SAVED = "SAVED"
    """It is the file at `path`."""
    UNSAVED = "UNSAVED"
    """It could not be fetched or written; this is tried again as long as the link lives."""
    FAILED = "FAILED"
    """The service did not make it, or its link died before it was saved."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be tried."""
        return self in (ImageState.SAVED, ImageState.FAILED)


@dataclass(frozen=True, slots=True)
class OrderImage:
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


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order about to be written down. `request` is JSON; `fingerprint` is equal for equal requests."""

    local_id: str
    region: str
    account: str
    model: str
    wire_model: str
    protocol: str
    request: str
    fingerprint: str
    images: int
    folder: str


@dataclass(frozen=True, slots=True)
class Order:
    """
    One order. Times are seconds since 1970 by the local clock.

    `account` is a fingerprint of the key, never the key. `clock_offset` is what was known, when the request was
    sent, of the service's clock minus ours. `wanted_until` says until when a call waits for it, `delivered_at`
    when a call was answered with its images.
    """

    local_id: str
    task_id: str | None
    origin: Origin
    region: str
    account: str
    model: str | None
    wire_model: str | None
    protocol: str | None
    request: str | None
    fingerprint: str | None
    images_ordered: int
    folder: str | None
    stage: Stage
    status: TaskStatus
    created_at: float
    sent_at: float | None
    clock_offset: float | None
    lost_at: float | None
    accepted_at: float | None
    finished_at: float | None
    expires_at: float | None
    duration: float | None
    owner: str | None
    lease_until: float
    version: int
    request_id: str | None
    actual_prompt: str | None
    error_code: str | None
    error_message: str | None
    notes: tuple[str, ...]
    wanted_until: float
    wanted_by: str | None
    delivered_at: float | None
    images: tuple[OrderImage, ...] = ()

    @property
    def best_id(self) -> str:
        """The service's id where it is known, else ours."""
        return self.task_id or self.local_id


@dataclass(frozen=True, slots=True)
class Placement:
    """
    What became of a request to place an order: the row, and whether it is an earlier identical one.

    `elsewhere` says that the earlier one wants its files in another folder or under another name.
    """

    order: Order
    joined: bool
    elsewhere: bool = False
