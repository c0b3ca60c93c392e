"""What a test may ask afterwards: every request, order and download the look-alike saw."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fakes.dashscope_account import Account
from fakes.dashscope_api import Api, CreateRecord
from fakes.dashscope_faults import FaultBook
from fakes.dashscope_images import ImageHost, OrderImage
from fakes.dashscope_wire import Request

# A shorter key would be found by accident in ordinary headers.
_LEAST_KEY = 8


@dataclass
class RequestRecord:
    """One request as it came in; `connection` numbers the connections, `nth` the requests on each from 1."""

    time: float
    host: str
    method: str
    path: str
    headers: dict[str, str]
    connection: int
    nth: int


class Witness:
    """
    The parts of the look-alike and their logs; every answer is a copy, so any thread may ask at any moment.

    `authorization_at_image_host` turns true when an Authorization header, or a key of eight or more letters seen at
    the calls, reaches the image host in any header or address.
    """

    def __init__(self, seed: int, now: Callable[[], float]) -> None:
        self._time = now
        self._seen_keys: set[str] = set()
        self._requests: list[RequestRecord] = []
        self.faults = FaultBook(seed)
        self.account = Account(seed=seed, now=now)
        self.images = ImageHost(self.account, self.faults, now)
        self.api = Api(self.account, self.images, self.faults, now)
        self.authorization_at_image_host = False

    def note_call(self, request: Request, number: int, nth: int) -> None:
        """Write down a request to the calls."""
        self._note("api", request, number, nth)
        key = request.headers.get("authorization", "").rpartition(" ")[2]
        if len(key) >= _LEAST_KEY:
            self._seen_keys.add(key)

    def note_image(self, request: Request, number: int, nth: int) -> None:
        """Write down a request to the image host, and whether it brought a key along."""
        self._note("image", request, number, nth)
        told = " ".join([request.target, *request.headers.values()])
        if "authorization" in request.headers or any(key in told for key in self._seen_keys):
            self.authorization_at_image_host = True

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request to either host, oldest first; those of the tests' own administration are left out."""
        return list(self._requests)

    @property
    def creates(self) -> list[CreateRecord]:
        """Every creating POST, oldest first."""
        return list(self.api.creates)

    @property
    def images_served(self) -> list[OrderImage]:
        """Every answer of the image host about a file, oldest first."""
        return list(self.images.served)

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The record of every task, oldest first."""
        return [task.describe(self._time()) for task in list(self.account.tasks.values())]

    def paid_images(self, who: str | None = "client") -> int:
        """Count the images of tasks that have succeeded: those are billed."""
        return self.account.paid_images(who)

    def list_unserved(self) -> list[tuple[str, int]]:
        """Answer task id and index of every billed image of the client that never went out whole."""
        tasks = self.account.tasks
        return [(name, index) for name, index in self.account.list_paid() if index not in tasks[name].complete]

    def count_served(self) -> Counter[tuple[str, int]]:
        """Count whole downloads in one piece, by task id and index."""
        whole = [each for each in self.images_served if each.whole and each.task_id]
        return Counter((str(each.task_id), int(each.index or 0)) for each in whole)

    def count_queries(self) -> Counter[str]:
        """Count task queries, by task id."""
        return Counter(dict(self.api.queries))

    def describe(self, *, requests: bool = True) -> dict[str, Any]:
        """Answer what happened as JSON values."""
        state: dict[str, Any] = {"now": self._time()}
        state["tasks"] = self.tasks
        state["creates"] = [asdict(each) for each in self.creates]
        state["images_served"] = [asdict(each) for each in self.images_served]
        state["count_served"] = {f"{name}-{index}": count for (name, index), count in self.count_served().items()}
        state["count_queries"] = dict(self.count_queries())
        state["paid_images"] = self.paid_images()
        state["unserved"] = self.list_unserved()
        state["authorization_at_image_host"] = self.authorization_at_image_host
        state["faults_taken"] = list(self.faults.taken)
        if requests:
            state["requests"] = [asdict(each) for each in self.requests]
        return state

    def _note(self, host: str, request: Request, number: int, nth: int) -> None:
        record = RequestRecord(self._time(), host, request.method, request.target, request.headers, number, nth)
        self._requests.append(record)
