"""
The account: its tasks, what becomes of each by the clock, and what was billed.

Source: https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks. State is computed from times when asked for,
so nothing runs in the background. Other threads may read at any moment: they see whole records.
"""

import heapq
import random
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp, inf, log
from typing import Any, Literal

from fakes.dashscope_orders import Order, Protocol

_MODERATED = ("DataInspectionFailed", "Input data may contain inappropriate content.")
# The spelling is the service's.
_BROKEN = (
    "InternalError",
    "An internal error has occured, please try again later or contact service support.",  # codespell:ignore
)
_SLOW = (
    "InternalError.Timeout",
    (
        "An internal timeout error has occured during execution, "  # codespell:ignore
        "please try again later or contact service support."
    ),
)


@dataclass(frozen=True)
class Ending:
    """How a task ends. `slots` are the failed images of a partial failure, counted from 1; "never" runs for ever."""

    kind: Literal["succeeded", "failed", "partial", "never"] = "succeeded"
    code: str = ""
    message: str = ""
    slots: tuple[int, ...] = (1,)


def read_ending(spec: str | Mapping[str, Any] | Ending) -> Ending:
    """
    Make an ending of its word ("moderated" among them) or mapping.

    Raises: ValueError for a word that does not exist.
    """
    if isinstance(spec, Ending):
        ending = spec
    elif isinstance(spec, Mapping):
        ending = Ending(**{**spec, "slots": tuple(spec.get("slots", (1,)))})
    elif spec == "moderated":
        return Ending("failed", *_MODERATED)
    else:
        ending = Ending(spec)  # pyright: ignore[reportArgumentType]
    if ending.kind not in {"succeeded", "failed", "partial", "never"}:
        raise ValueError(f"no such ending: {ending.kind!r}")
    words = _SLOW if ending.kind == "partial" else _BROKEN
    return Ending(ending.kind, ending.code or words[0], ending.message or words[1], ending.slots)


@dataclass
class Task:
    """One order the service accepted. Times are seconds since 1970; `served` holds byte ranges sent, by image."""

    id: str
    request_id: str
    region: str
    protocol: Protocol
    order: Order
    who: str
    created: float
    starts: float
    ends: float
    ending: Ending
    canceled: float | None = None
    served: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)

    @property
    def finished(self) -> float:
        """When it ended or will end."""
        return self.ends if self.canceled is None else self.canceled

    @property
    def good_images(self) -> tuple[int, ...]:
        """The images that come out if it succeeds, counted from 1."""
        if self.ending.kind in {"failed", "never"}:
            return ()
        bad = self.ending.slots if self.ending.kind == "partial" else ()
        return tuple(index for index in range(1, self.order.n + 1) if index not in bad)

    def status_at(self, now: float) -> str:
        """Answer the service's word for its state."""
        if self.canceled is not None:
            return "CANCELED"
        if now < self.starts:
            return "PENDING"
        if now < self.ends:
            return "RUNNING"
        return "SUCCEEDED" if self.good_images else "FAILED"

    @property
    def complete(self) -> set[int]:
        """The images of which every byte went out at least once, in one answer or in several."""
        return {index for index, length in list(self.lengths.items()) if self._covers(index, length)}

    def _covers(self, index: int, length: int) -> bool:
        reached = 0
        for start, stop in sorted(self.served.get(index, [])):
            if start > reached:
                return False
            reached = max(reached, stop)
        return reached >= length

    def describe(self, now: float) -> dict[str, Any]:
        """Answer the record of this task for a test."""
        return {
            "id": self.id,
            "request_id": self.request_id,
            "region": self.region,
            "protocol": self.protocol,
            "model": self.order.model,
            "prompt": self.order.prompt,
            "negative_prompt": self.order.negative_prompt,
            "n": self.order.n,
            "size": self.order.size,
            "who": self.who,
            "created": self.created,
            "ends": None if self.finished == inf else self.finished,
            "status": self.status_at(now),
            "paid_images": len(self.good_images) if self.status_at(now) == "SUCCEEDED" else 0,
            "served_images": sorted(self.complete),
            "fully_served": bool(self.good_images) and set(self.good_images) <= set(self.complete),
        }


class Account:
    """
    The tasks of one account in every region.

    `duration` is a number of seconds, or a pair (low, high) between which a seeded log-normal falls.
    """

    def __init__(self, *, seed: int, now: Callable[[], float]) -> None:
        self._dice = random.Random(f"{seed}:durations")
        self._now = now
        self._lanes: dict[tuple[str, str], list[float]] = {}
        self.tasks: dict[str, Task] = {}
        self.endings: deque[Ending] = deque()
        self.words: dict[str, Ending] = {"forbidden": read_ending("moderated")}
        self.duration: float | tuple[float, float] = 0.2
        self.pending = 0.0
        self.concurrency: int | None = None
        self.record_seconds = 86400.0

    def create(self, order: Order, protocol: Protocol, region: str, who: str, *, age: float = 0.0) -> Task:
        """Accept an order; `age` puts its creation that many seconds into the past."""
        created = self._now() - age
        ending = self._choose_ending(order, who)
        starts, ends = self._plan(order.model, region, created, ending)
        task = Task(str(uuid.uuid4()), str(uuid.uuid4()), region, protocol, order, who, created, starts, ends, ending)
        self.tasks[task.id] = task
        return task

    def find(self, task_id: str, region: str) -> Task | None:
        """Answer a task the service still knows in this region by an asynchronous id."""
        task = self.tasks.get(task_id)
        return task if task is not None and self._is_known(task, region) else None

    def cancel(self, task: Task) -> bool:
        """Cancel a task that has not begun; False when it is too late."""
        if task.status_at(self._now()) != "PENDING":
            return False
        task.canceled = self._now()
        return True

    def select(self, region: str, lag: float) -> list[Task]:
        """Answer the known tasks of a region that are old enough to be listed, newest first."""
        listed_until = self._now() - lag
        known = [task for task in list(self.tasks.values()) if self._is_known(task, region)]
        return sorted((task for task in known if task.created <= listed_until), key=lambda task: -task.created)

    def paid_images(self, who: str | None = "client") -> int:
        """Count the images of tasks that have succeeded: those are billed. `who` None counts everybody's."""
        return len(self.list_paid(who))

    def list_paid(self, who: str | None = "client") -> list[tuple[str, int]]:
        """Answer task id and image index of every billed image."""
        now = self._now()
        tasks = [task for task in list(self.tasks.values()) if who is None or task.who == who]
        return [
            (task.id, index) for task in tasks if task.status_at(now) == "SUCCEEDED" for index in task.good_images
        ]

    def _is_known(self, task: Task, region: str) -> bool:
        alive = self._now() <= task.finished + self.record_seconds
        return alive and task.region == region and task.protocol != "sync"

    def _choose_ending(self, order: Order, who: str) -> Ending:
        if order.problem is not None:
            return Ending("failed", *order.problem)
        for word, ending in list(self.words.items()):
            if word in order.prompt:
                return ending
        return self.endings.popleft() if who == "client" and self.endings else Ending()

    def _plan(self, model: str, region: str, created: float, ending: Ending) -> tuple[float, float]:
        """Choose start and end; with a concurrency set, a task waits until one of the model's lanes is free."""
        starts = created + self.pending
        lane = self._lanes.setdefault((region, model), [])
        if self.concurrency is not None and len(lane) >= self.concurrency:
            starts = max(starts, heapq.heappop(lane))
        ends = inf if ending.kind == "never" else starts + self._draw_duration()
        if self.concurrency is not None:
            heapq.heappush(lane, ends)
        return starts, ends

    def _draw_duration(self) -> float:
        if not isinstance(self.duration, (tuple, list)):
            return float(self.duration)
        low, high = self.duration
        middle, spread = (log(low) + log(high)) / 2, (log(high) - log(low)) / 4
        return min(max(exp(self._dice.gauss(middle, spread)), low), high)
