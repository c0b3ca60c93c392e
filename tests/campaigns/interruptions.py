"""Which worker is killed or stopped next, and when."""

import random
from dataclasses import dataclass, field

from campaigns.state_reader import StateReader
from campaigns.worker_pool import Worker, WorkerPool

_LONGEST_WAIT = 1.0
"""Seconds for which a worker in a submit is waited for."""


@dataclass(frozen=True)
class Interruption:
    """One thing done to a worker: `action` is "kill" or "stop"."""

    action: str
    worker: Worker


@dataclass
class RandomInterruptions:
    """Interruptions at moments spread over the work: half of the time of a worker in a submit, else of any."""

    pool: WorkerPool
    reader: StateReader
    actions: list[str]
    orders: int
    dice: random.Random
    _not_before: float | None = None
    _in_submit: bool = False
    _done: int = 0

    def find_due(self, now: float, finished: int) -> Interruption | None:
        """Give the interruption that is due, if one is; `finished` orders have ended."""
        due = self._done * 0.75 * self.orders / max(1, self._done + len(self.actions))
        if not self.actions or finished < due:
            return None
        if self._not_before is None:
            self._not_before = now + self.dice.uniform(0.05, 0.8)
            self._in_submit = self.dice.random() < 0.5
        workers = self._find_workers(in_submit=self._in_submit and now < self._not_before + _LONGEST_WAIT)
        if now < self._not_before or not workers:
            return None
        self._not_before, self._done = None, self._done + 1
        return Interruption(self.actions.pop(), self.dice.choice(workers))

    def _find_workers(self, *, in_submit: bool) -> list[Worker]:
        found = [self.pool.find(row["owner"]) for row in self.reader.sending()] if in_submit else self.pool.workers
        return [worker for worker in found if worker is not None and not worker.is_stopped]


@dataclass
class SubmitInterruptions:
    """Interruptions only of workers whose creating request is under way, within `within` seconds of its beginning."""

    pool: WorkerPool
    reader: StateReader
    actions: list[str]
    orders: int
    dice: random.Random
    within: float
    _seen: set[str] = field(default_factory=set)
    _planned: dict[str, float] = field(default_factory=dict)

    def find_due(self, now: float, finished: int) -> Interruption | None:
        """Give the interruption that is due, if one is."""
        rows = {row["local_id"]: row for row in self.reader.sending()} if self.actions else {}
        for local_id in rows.keys() - self._seen:
            self._seen.add(local_id)
            left = max(1, self.orders - len(self._seen))
            if self.dice.random() < len(self.actions) / (0.6 * left):
                self._planned[local_id] = now + self.dice.uniform(0, self.within)
        for local_id, moment in list(self._planned.items()):
            if local_id not in rows:
                del self._planned[local_id]
                continue
            worker = self.pool.find(rows[local_id]["owner"])
            if now >= moment and worker is not None and not worker.is_stopped:
                del self._planned[local_id]
                return Interruption(self.actions.pop(), worker)
        return None
