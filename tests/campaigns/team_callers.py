"""
Callers of a team's server: each is a person's program that orders through the public address, as agents do.

When a call breaks because its replica died, the same call is made again; a task whose id is known is asked for by it.
Nobody ever asks for a second charge.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from anyio.to_thread import run_sync
from mcp import Client, MCPError
from mcp.types import CallToolResult

from campaigns.front import Front, open_client
from wan_mcp.mcp_server.tools import CODE, RETRYABLE, TASK_FACTS

WAIT_SECONDS = 8
_NOTHING_ORDERED = frozenset({"NotSent", "NotConnected", "Throttling.RateQuota"})
_PAGE = 100
_BROKEN = (MCPError, httpx2.HTTPError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass(frozen=True)
class TeamOrder:
    """What one person orders; no two have the same prompt."""

    person: str
    prompt: str
    model: str
    n: int
    size: str
    is_submitted: bool

    @property
    def tool(self) -> str:
        """The tool that it is ordered by."""
        return "submit_task" if self.is_submitted else "generate_image"

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call."""
        words = {"prompt": self.prompt, "model": self.model, "n": self.n, "size": self.size}
        return words if self.is_submitted else words | {"wait_seconds": WAIT_SECONDS}


@dataclass
class Record:
    """What the callers of a campaign have seen."""

    finished: int = 0
    repeated_calls: int = 0
    answers_cut_off: int = 0
    others: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)


class Caller:
    """
    One program of a person: it makes one call at a time.

    `was_delivered` says whether a call for a prompt has begun to be answered with its pictures.
    """

    def __init__(
        self,
        front: Front,
        token: str,
        orders: deque[TeamOrder],
        record: Record,
        *,
        era: str,
        seed: str,
        was_delivered: Callable[[str], bool],
    ) -> None:
        self._front, self._token, self._era = front, token, era
        self._orders = orders
        self._record = record
        self._dice = random.Random(seed)
        self._was_delivered = was_delivered
        self._order: TeamOrder | None = None
        self._task_id: str | None = None

    async def run(self) -> None:
        """Order until nothing is left to be ordered, and every order has its end."""
        while self._take():
            try:
                async with open_client(self._front, self._token, self._era) as client:
                    while self._take() and await self._call(client):
                        pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the report shows it
                if not is_break(error):
                    self._record.others.append(f"a client ended with {error!r}")
            if self._order is not None:
                await anyio.sleep(self._dice.uniform(0.05, 0.3))

    def _take(self) -> bool:
        if self._order is None and self._orders:
            self._order, self._task_id = self._orders.popleft(), None
            self._record.unanswered.append(self._order.prompt)
        return self._order is not None

    async def _call(self, client: Client) -> bool:
        """Make one call; say whether the conversation can go on."""
        order = self._order
        assert order is not None
        try:
            if self._task_id is None:
                answer = await client.call_tool(order.tool, order.arguments)
            else:
                answer = await client.call_tool("get_task", {"task_id": self._task_id, "wait_seconds": WAIT_SECONDS})
        except _BROKEN:
            self._record.repeated_calls += 1
            await self._look_back(order)
            return False
        await self._read(order, answer)
        return True

    async def _look_back(self, order: TeamOrder) -> None:
        """Find out whether the answer that was lost held the pictures: the same call would mean new ones then."""
        if self._task_id is None and await run_sync(self._was_delivered, order.prompt):
            self._record.answers_cut_off += 1
            self._settle()

    async def _read(self, order: TeamOrder, answer: CallToolResult) -> None:
        """Decide as an agent would what to do with an answer."""
        facts = answer.structured_content or {}
        meta: Mapping[str, Any] = answer.meta or {}
        code = meta.get(CODE, facts.get("code"))
        hints: Mapping[str, Any] = meta.get(TASK_FACTS) or {}
        if meta.get(RETRYABLE) and not facts:
            # The ledger or the store is away, and the same call may succeed later.
            self._record.repeated_calls += 1
            await self._look_back(order)
            await anyio.sleep(self._dice.uniform(0.3, 0.8))
        elif code in _NOTHING_ORDERED and not facts.get("images"):
            self._record.repeated_calls += 1
            self._task_id = None
        elif not facts:
            self._record.others.append(f"{order.prompt}: {code} {answer.content}")
            self._settle()
        elif hints.get("is_waiting") or hints.get("is_unsaved"):
            self._task_id = facts["task_id"]
            if hints.get("is_unsaved"):
                await anyio.sleep(self._dice.uniform(0.3, 0.8))
        else:
            self._settle()

    def _settle(self) -> None:
        assert self._order is not None
        self._record.unanswered.remove(self._order.prompt)
        self._record.finished += 1
        self._order = self._task_id = None


async def list_own(client: Client) -> set[str]:
    """Give the ids of all tasks that a person sees."""
    found: set[str] = set()
    arguments: dict[str, Any] = {"limit": _PAGE}
    while True:
        answer = await client.call_tool("list_tasks", arguments)
        assert not answer.is_error, answer.content
        facts = answer.structured_content or {}
        found |= {task["task_id"] for task in facts["tasks"]}
        if "cursor" not in facts:
            return found
        arguments = {"limit": _PAGE, "cursor": facts["cursor"]}


async def ask_for(client: Client, task_id: str) -> str:
    """Give what a person is told of an id, without the id."""
    answer = await client.call_tool("get_task", {"task_id": task_id})
    return f"{answer.is_error} {answer.content} {answer.structured_content} {answer.meta}".replace(task_id, "ID")


def is_break(error: BaseException) -> bool:
    """Say whether an error means that the other end has gone away."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_break(each) for each in error.exceptions)
    return isinstance(error, _BROKEN)
