"""Who is killed or held still next, and when."""

import random
from dataclasses import dataclass, field

from campaigns.crew import Crew, Worker
from campaigns.outsider import Outsider

_PATIENCE = 1.0
"""Seconds for which somebody in a submit is waited for."""


@dataclass(frozen=True)
class Strike:
    """One thing done to a worker: "kill" or "stop"."""

    verb: str
    worker: Worker


@dataclass
class RandomHunter:
    """Strikes at moments spread over the work: half of the time whoever is in a submit, else anybody."""

    crew: Crew
    outsider: Outsider
    verbs: list[str]
    orders: int
    dice: random.Random
    _not_before: float | None = None
    _done: int = 0

    def look(self, now: float, finished: int) -> Strike | None:
        """Give the strike that is due, if one is."""
        due = self._done * 0.75 * self.orders / max(1, self._done + len(self.verbs))
        if not self.verbs or finished < due:
            return None
        if self._not_before is None:
            self._not_before = now + self.dice.uniform(0.05, 0.8)
            self._aims = self.dice.random() < 0.5
        victims = self._find_victims(patient=now < self._not_before + _PATIENCE)
        if now < self._not_before or not victims:
            return None
        self._not_before, self._done = None, self._done + 1
        return Strike(self.verbs.pop(), self.dice.choice(victims))

    def _find_victims(self, *, patient: bool) -> list[Worker]:
        if self._aims and patient:
            found = [self.crew.of(row["owner"]) for row in self.outsider.sending()]
        else:
            found = self.crew.workers
        return [worker for worker in found if worker is not None and not worker.is_stopped]


@dataclass
class SubmitHunter:
    """Strikes only workers whose creating request is under way, within `within` seconds of its beginning."""

    crew: Crew
    outsider: Outsider
    verbs: list[str]
    orders: int
    dice: random.Random
    within: float
    _seen: set[str] = field(default_factory=set)
    _planned: dict[str, float] = field(default_factory=dict)

    def look(self, now: float, finished: int) -> Strike | None:
        """Give the strike that is due, if one is."""
        rows = {row["local_id"]: row for row in self.outsider.sending()} if self.verbs else {}
        for local_id in rows.keys() - self._seen:
            self._seen.add(local_id)
            left = max(1, self.orders - len(self._seen))
            if self.dice.random() < len(self.verbs) / (0.6 * left):
                self._planned[local_id] = now + self.dice.uniform(0, self.within)
        for local_id, moment in list(self._planned.items()):
            if local_id not in rows:
                del self._planned[local_id]
                continue
            worker = self.crew.of(rows[local_id]["owner"])
            if now >= moment and worker is not None and not worker.is_stopped:
                del self._planned[local_id]
                return Strike(self.verbs.pop(), worker)
        return None
