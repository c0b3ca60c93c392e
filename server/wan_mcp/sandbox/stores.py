"""Where tasks and uploaded pictures are kept: what a store does, and the one in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox.catalogue.model import DAY, WireProtocol
from wan_mcp.sandbox.inputs import InputPicture
from wan_mcp.sandbox.requests import ListQuery
from wan_mcp.sandbox.tasks import TaskRecord, TaskState, is_forgotten, state_of

UPLOAD_LIFE = 2 * DAY
"""Seconds that an uploaded file is there."""
_MOST_UPLOADS = 2000
"""Kept in memory at once; the oldest go first."""

Plan = Callable[[float, float], TaskRecord]
"""Makes the record of the time of its submission and of the time from which its model has a free place."""


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An uploaded file by its key, which names its model as well; `uploaded` in seconds since 1970."""

    key: str
    uploaded: float
    picture: InputPicture


class SandboxStore(Protocol):
    """
    Keeps task records for 24 hours after their end, and uploads for 48. Each call sees what any process wrote before.

    Raises:
        OSError: the records cannot be read or written.
    """

    async def create(self, model: str, plan: Plan, *, rate: float, concurrency: int) -> TaskRecord | None:
        """
        Write the record that `plan` makes, with no other change between its times and the writing.

        None says that it would be more than `rate` submissions of the model a second, and that nothing was written.
        `concurrency` is the number of places: orders start in the order of their submission, so the next one is free
        when all but `concurrency - 1` of the earlier tasks have ended.
        """
        ...

    async def find(self, task_id: str) -> TaskRecord | None:
        """Give a record, if there is one."""
        ...

    async def list_page(self, query: ListQuery, now: float) -> tuple[int, Sequence[TaskRecord]]:
        """
        Give the number of tasks that fit a query, and the records of its page, the newest submissions first.

        Synchronous orders and tasks that are over for a day are not among them. The region and the key of the query
        are no matter of the store.
        """
        ...

    async def cancel(self, task_id: str) -> bool:
        """Cancel a task that is PENDING and say whether there was one."""
        ...

    async def add_upload(self, upload: UploadRecord) -> bool:
        """Write an upload down; False says that its key is taken."""
        ...

    async def find_upload(self, key: str) -> UploadRecord | None:
        """Give an upload of the last 48 hours, if there is one."""
        ...


class MemoryStore:
    """Keeps records as long as the process lives. Nothing is awaited inside a call, so nothing comes between."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[str, TaskRecord] = {}
        self._uploads: dict[str, UploadRecord] = {}

    async def create(self, model: str, plan: Plan, *, rate: float, concurrency: int) -> TaskRecord | None:
        """Write the record that `plan` makes, unless it comes too soon."""
        now = self._clock.now()
        others = [record for record in self._records.values() if record.model == model]
        if exceeds(rate, sum(now - window(rate) < record.submitted <= now for record in others)):
            return None
        self._records = {id_: record for id_, record in self._records.items() if not is_forgotten(record, now)}
        ends = sorted(record.ended for record in others if record.canceled is None and record.ended > now)
        record = plan(now, now if len(ends) < concurrency else ends[-concurrency])
        self._records[record.task_id] = record
        return record

    async def find(self, task_id: str) -> TaskRecord | None:
        """Give a record, if there is one."""
        return self._records.get(task_id)

    async def list_page(self, query: ListQuery, now: float) -> tuple[int, Sequence[TaskRecord]]:
        """Give the number of tasks that fit, and those of the page."""
        found = [
            record
            for record in sorted(self._records.values(), key=lambda record: record.submitted, reverse=True)
            if record.protocol is not WireProtocol.SYNC
            and not is_forgotten(record, now)
            and query.since <= record.submitted <= query.until
            and query.task_id in (None, record.task_id)
            and query.model in (None, record.model)
            and query.status in (None, state_of(record, now))
        ]
        first = (query.page - 1) * query.page_size
        return len(found), found[first : first + query.page_size]

    async def cancel(self, task_id: str) -> bool:
        """Cancel a task that is PENDING and say whether there was one."""
        record, now = self._records.get(task_id), self._clock.now()
        if record is None or record.protocol is WireProtocol.SYNC or state_of(record, now) is not TaskState.PENDING:
            return False
        self._records[task_id] = replace(record, canceled=now)
        return True

    async def add_upload(self, upload: UploadRecord) -> bool:
        """Write an upload down; False says that its key is taken."""
        kept = [each for each in self._uploads.values() if each.uploaded > upload.uploaded - UPLOAD_LIFE]
        self._uploads = {each.key: each for each in kept[1 - _MOST_UPLOADS :]}
        if upload.key in self._uploads:
            return False
        self._uploads[upload.key] = upload
        return True

    async def find_upload(self, key: str) -> UploadRecord | None:
        """Give an upload of the last 48 hours, if there is one."""
        upload = self._uploads.get(key)
        return upload if upload and upload.uploaded > self._clock.now() - UPLOAD_LIFE else None


def window(rate: float) -> float:
    """Give the seconds over which submissions are counted: below one a second, those in which one is allowed."""
    return max(1.0, 1 / rate)


def exceeds(rate: float, recent: int) -> bool:
    """Say whether one more submission exceeds a rate, with so many in the window before it."""
    return recent + 1 > max(rate, 1.0)
