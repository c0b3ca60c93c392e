"""
The service for tests: the sandbox behind faults, with a record of everything that came and a clock that can be moved.

    with FakeService(duration=0.2) as service:
        service.script("create", "drop-after")
        ...
        assert service.paid_images() == 1

The sandbox shares nothing with the client under test, and neither does this.
"""

import hashlib
import math
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any, Self
from uuid import uuid4

from starlette.types import Receive, Scope, Send

from fakes import tiny_png
from fakes.clock import ShiftedClock
from fakes.fault_middleware import FaultMiddleware, RequestRecord
from fakes.faults import Fault, FaultQueue
from fakes.loopback_server import LoopbackServer
from wan_mcp.clock import Clock
from wan_mcp.sandbox import MemoryStore, SandboxOptions, create_app
from wan_mcp.sandbox.catalogue.families import MODELS
from wan_mcp.sandbox.catalogue.model import WireProtocol
from wan_mcp.sandbox.errors import INPUT_INSPECTED, INTERNAL_ERROR, TIMED_OUT, ErrorReply
from wan_mcp.sandbox.requests import ParsedOrder
from wan_mcp.sandbox.stores import Plan
from wan_mcp.sandbox.tasks import Outcome, Submission, TaskRecord, plan_task, state_of

_REGIONS = {"singapore": "ap-southeast-1", "beijing": "cn-beijing"}
# A shorter key would be found by accident in ordinary headers.
_LEAST_KEY = 8


class FakeService:
    """
    The service on two loopback ports, one for calls and one for images.

    `keys` is one key, a key for each region, or None for any; a region has its own address, tasks and models.
    `pending` are the seconds before a task runs, `duration` those of its work: a number, or a pair between which `seed`
    chooses. `list_lag` are the seconds until a task is listed, `list_zone` the hours from UTC of the list's times.
    `words` says how tasks end whose prompt holds a text. `image_padding` makes the images larger by so many bytes.
    Nothing limits how much is asked, or how much runs at a time.
    """

    def __init__(
        self,
        *,
        keys: Mapping[str, str] | str | None = None,
        duration: float | tuple[float, float] = 0.2,
        pending: float = 0.0,
        list_lag: float = 0.0,
        list_zone: float = 8.0,
        words: Mapping[str, str] | None = None,
        image_padding: int = 0,
        seed: int = 0,
    ) -> None:
        self.duration, self.pending, self.image_padding = duration, pending, image_padding
        self._keys, self._list_lag, self._list_zone = keys, list_lag, timezone(timedelta(hours=list_zone))
        self._words = {
            text: read_ending(spec) for text, spec in ({"forbidden": "moderated"} | dict(words or {})).items()
        }
        self._endings: deque[Outcome] = deque()
        self._dice = random.Random(f"{seed}:durations")
        self._clock = _ServiceClock()
        self._records: dict[str, TaskRecord] = {}
        self._foreign: set[str] = set()
        self._apps: dict[str, Any] = {}
        self.faults = FaultQueue(seed)
        self._server = LoopbackServer(self._answer, [0, 0])

    # Life

    def start(self) -> Self:
        """Bind both ports and serve from a thread; a client may connect as soon as this returns."""
        self._server.start()
        if not self._apps:
            api, image = self._server.ports
            self._middleware = FaultMiddleware(self._dispatch, self.faults, self.now, {api: "api", image: "image"})
            self._store = self._open("", "sandbox", self._keys if isinstance(self._keys, str) else None)
            # Images that a redirect leads to, and a service that nobody must be led to.
            self._apps["moved"] = self._apps[""]
            self._open("elsewhere", "sandbox", None)
            for name in self._keys if isinstance(self._keys, Mapping) else ():
                self._open(name, _REGIONS[name], self._keys[name])
        return self

    def stop(self) -> None:
        """
        Close every connection and end the thread; this waits, so call it from no event loop of your own.

        Raises: RuntimeError when the service itself failed: what the clients saw proves nothing then.
        """
        self._server.stop()
        if self._middleware.errors:
            raise RuntimeError("the service failed:\n" + "\n".join(self._middleware.errors))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Addresses and time

    @property
    def base_url(self) -> str:
        """The address of the calls, ending in /api/v1."""
        return f"http://127.0.0.1:{self._server.ports[0]}/api/v1"

    def base_url_of(self, region: str) -> str:
        """The address of one region that has a key."""
        return f"http://127.0.0.1:{self._server.ports[0]}/{region}/api/v1"

    @property
    def image_host(self) -> str:
        """Host and port of the images."""
        return f"127.0.0.1:{self._server.ports[1]}"

    def now(self) -> float:
        """The service's time, seconds since 1970."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move the service's time forward (or, for a wrong clock, back)."""
        self._clock.shift += seconds

    # What to do

    def script(self, place: str, *faults: str | Mapping[str, Any] | Fault) -> None:
        """Let the next requests of "create", "query", "list", "cancel" or "image" go wrong, one fault each."""
        self.faults.add(place, *faults)

    def release(self) -> None:
        """Let what a fault holds go on."""
        self.faults.release()

    def set_chance(self, place: str, probability: float, *faults: str | Mapping[str, Any] | Fault) -> None:
        """Let requests without a queued fault go wrong with this probability; 0 ends it."""
        self.faults.set_chance(place, probability, faults)

    def script_endings(self, *endings: str | Mapping[str, Any]) -> None:
        """Choose how the next tasks of the client end, one each."""
        self._endings.extend([read_ending(each) for each in endings])

    def create_foreign(
        self,
        *,
        model: str = "wan2.6-t2i",
        prompt: str = "of another program",
        n: int = 1,
        size: str = "1280*1280",
        age: float = 0.0,
    ) -> TaskRecord:
        """Create a task of another program on the account, `age` seconds ago."""
        row = MODELS[model]
        width, height = row.first_rule.sizes.measure(size)
        protocol = WireProtocol.LEGACY if WireProtocol.LEGACY in row.protocols else WireProtocol.ASYNC
        order = ParsedOrder(prompt=prompt, width=width, height=height, count=n)
        submission = Submission(str(uuid4()), row, protocol, order, Outcome())

        def plan(now: float, _free_from: float) -> TaskRecord:
            record = self._plan(submission, now - age, now - age, is_foreign=True)
            self._foreign.add(record.task_id)
            return record

        return self._server.run(self._store.create(model, plan, rate=math.inf, concurrency=1))

    # What happened

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request to either host, oldest first."""
        return list(self._middleware.requests)

    @property
    def creates(self) -> list[RequestRecord]:
        """Every creating POST, oldest first."""
        return [each for each in self.requests if each.place == "create"]

    @property
    def images_served(self) -> list[RequestRecord]:
        """Every request for an image, oldest first."""
        return [each for each in self.requests if each.place == "image"]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Every task that was ever created, oldest first: id, prompt, who, status, finished, paid_images."""
        return [self._describe(record) for record in list(self._records.values())]

    def paid_images(self, who: str | None = "client") -> int:
        """Count the images of tasks that have succeeded: those are billed. `who` None counts everybody's."""
        return sum(task["paid_images"] for task in self.tasks if who in (None, task["who"]))

    def count_queries(self) -> Counter[str]:
        """Count task queries, by task id."""
        return Counter(each.task_id for each in self.requests if each.place == "query")

    def count_served(self) -> Counter[tuple[str, int]]:
        """Count whole downloads in one piece, by task id and index."""
        return Counter((each.task_id, each.index) for each in self.images_served if each.whole)

    @property
    def authorization_at_image_host(self) -> bool:
        """Whether an Authorization header or a key that the calls bring reached the image host in any way."""
        calls = [each for each in self.requests if each.host == "api"]
        keys = {each.headers.get("authorization", "").rpartition(" ")[2] for each in calls}
        keys = {key for key in keys if len(key) >= _LEAST_KEY}
        for request in self.requests:
            told = " ".join([request.path, *request.headers.values()])
            if request.host == "image" and ("authorization" in request.headers or any(key in told for key in keys)):
                return True
        return False

    # The sandbox

    def _open(self, name: str, region: str, key: str | None) -> MemoryStore:
        """Put up the service of one region, at an address that begins with a name."""
        store = _RecordingStore(self._clock, self._records)
        options = SandboxOptions(
            keys=frozenset({key}) if key else None,
            region=region,
            throttle=math.inf,
            query_throttle=math.inf,
            concurrency=10**9,
            list_lag=self._list_lag,
            list_zone=self._list_zone,
            public_url=f"http://{self.image_host}" + (f"/{name}" if name else ""),
            strict=True,
        )
        self._apps[name] = create_app(options, store=store, clock=self._clock, plan=self._plan, paint=self._paint)
        return store

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._middleware(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, rest = scope["path"].removeprefix("/").partition("/")
        app, path = (self._apps[name], f"/{rest}") if name in self._apps else (self._apps[""], scope["path"])
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def _plan(
        self, submission: Submission, now: float, free_from: float, *, is_foreign: bool = False, **_: float
    ) -> TaskRecord:
        """Let a task end as it is scripted, unless there is something wrong with its order."""
        outcome = submission.outcome
        if outcome.refusal is None:
            outcome = self._choose_outcome(submission.order.prompt, is_foreign=is_foreign)
        if len(outcome.missing) == submission.order.count:
            outcome = Outcome(failure=TIMED_OUT)
        return plan_task(
            replace(submission, outcome=outcome),
            now,
            free_from,
            pending=self.pending,
            duration=self.pending + self._choose_duration(),
        )

    def _choose_outcome(self, prompt: str, *, is_foreign: bool) -> Outcome:
        for text, outcome in self._words.items():
            if text in prompt:
                return outcome
        return self._endings.popleft() if self._endings and not is_foreign else Outcome()

    def _choose_duration(self) -> float:
        if not isinstance(self.duration, tuple):
            return self.duration
        # Most are short and some are long, as at the service.
        low, high = (math.log(limit) for limit in self.duration)
        return math.exp(min(max(self._dice.gauss((low + high) / 2, (high - low) / 4), low), high))

    def _paint(self, record: TaskRecord, index: int) -> bytes:
        """Make a small file whose text chunks say which image it is."""
        colour = hashlib.sha256(f"{record.task_id}-{index}".encode()).digest()
        texts = {"task_id": record.task_id, "index": str(index), "prompt": record.prompt}
        return tiny_png.encode(
            record.width,
            record.height,
            colour=(colour[0], colour[1], colour[2]),
            texts=texts,
            padding=self.image_padding,
        )

    def _describe(self, record: TaskRecord) -> dict[str, Any]:
        # What is over for a day is unknown to those who ask, and counts here.
        status = state_of(record, min(self.now(), record.finished))
        return {
            "id": record.task_id,
            "prompt": record.prompt,
            "who": "foreign" if record.task_id in self._foreign else "client",
            "status": str(status),
            "finished": record.finished,
            "paid_images": len(record.image_indexes) if status == "SUCCEEDED" else 0,
        }


def read_ending(spec: str | Mapping[str, Any]) -> Outcome:
    """
    Read how a task ends: "succeeded", "moderated", "never", "failed" (`code`, `message`) or "partial".

    Raises: ValueError for a word that does not exist.
    """
    given = {"kind": spec} if isinstance(spec, str) else dict(spec)
    match given.pop("kind"):
        case "succeeded":
            return Outcome()
        case "moderated":
            return Outcome(refusal=INPUT_INSPECTED)
        case "never":
            return Outcome(seconds=math.inf)
        case "partial":
            return Outcome(missing=(1,))
        case "failed":
            return Outcome(failure=ErrorReply(**(INTERNAL_ERROR._asdict() | given)))
        case word:
            raise ValueError(f"no such ending: {word!r}")


class _ServiceClock(ShiftedClock):
    """A clock that the service also sleeps by: what is moved forward ends its waits."""

    async def sleep(self, seconds: float) -> None:
        ends = self.now() + seconds
        while (left := ends - self.now()) > 0:
            await super().sleep(min(left, 0.02))


class _RecordingStore(MemoryStore):
    """Keeps what the sandbox forgets: every record goes into `records` too."""

    def __init__(self, clock: Clock, records: dict[str, TaskRecord]) -> None:
        super().__init__(clock)
        self._all = records

    async def create(self, model: str, plan: Plan, *, rate: float, concurrency: int) -> TaskRecord | None:
        record = await super().create(model, plan, rate=rate, concurrency=concurrency)
        if record is not None:
            self._all[record.task_id] = record
        return record

    async def cancel(self, task_id: str) -> bool:
        is_canceled = await super().cancel(task_id)
        if is_canceled:
            self._all[task_id] = await self.find(task_id)
        return is_canceled
