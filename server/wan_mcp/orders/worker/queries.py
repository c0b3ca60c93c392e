"""Questions to the service, within the pace that an account is allowed."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from wan_mcp.clock import Clock
from wan_mcp.dashscope import MOST_IMAGES, DashScope, TaskAnswer, TaskListing
from wan_mcp.ledger import Ledger, RateLimit
from wan_mcp.orders.context import Timings, backoff
from wan_mcp_tools.domain.errors import ThrottledError

T = TypeVar("T")

# 20 a second are allowed for each account, whatever program asks; two are left to others.
# https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
_PER_SECOND = 18.0
_LONGEST_PAUSE = 30.0


class ClockOffsets:
    """
    How far the service's clock is from ours, by its `Date` headers.

    The last known difference for each region, in seconds to add to our clock; good to about a second.
    """

    def __init__(self) -> None:
        self._offsets: dict[str, float] = {}

    def learn(self, region: str, served_at: float | None, now: float) -> None:
        """Take a `Date` header that was read just now."""
        if served_at is not None:
            # The header counts whole seconds: half a second is the best guess of what it cut off.
            self._offsets[region] = served_at + 0.5 - now

    def get(self, region: str) -> float | None:
        """Give the difference, or None where nothing has been learned."""
        return self._offsets.get(region)


class Queries:
    """
    Asks for tasks, lists and cancellations: none creates anything, so each may be repeated.

    Every method raises the `AppError` of the service's refusal, and `LedgerError` if no turn can be reserved.
    """

    def __init__(self, ledger: Ledger, dashscope: DashScope, clock: Clock, timings: Timings) -> None:
        self._ledger = ledger
        self._dashscope = dashscope
        self._clock = clock
        self._timings = timings
        self._throttled: dict[str, int] = {}
        self.clock_offsets = ClockOffsets()

    async def get_task(self, region: str, task_id: str, *, images: int = 0) -> TaskAnswer:
        """Ask for one task, once; `images` are those that were ordered, 0 where that is not known."""
        answer = await self._ask(region, lambda: self._dashscope.query(region, task_id, most=images or MOST_IMAGES))
        self._throttled.pop(region, None)
        self.clock_offsets.learn(region, answer.served_at, self._clock.now())
        return answer

    async def list_tasks(
        self,
        region: str,
        *,
        start: float | None = None,
        end: float | None = None,
        model_id: str | None = None,
        task_id: str | None = None,
        page_no: int = 1,
    ) -> TaskListing:
        """Ask for a page of the list, or for one task's line in it, once."""
        listing = await self._ask(
            region,
            lambda: self._dashscope.list_tasks(
                region, start=start, end=end, model_id=model_id, task_id=task_id, page_no=page_no
            ),
        )
        self.clock_offsets.learn(region, listing.served_at, self._clock.now())
        return listing

    async def cancel_task(self, region: str, task_id: str) -> None:
        """Ask to cancel a task, once."""
        await self._wait_for_turn(region)
        await self._dashscope.cancel(region, task_id)

    async def _ask(self, region: str, ask: Callable[[], Awaitable[T]]) -> T:
        await self._wait_for_turn(region)
        try:
            return await ask()
        except ThrottledError as error:
            count = self._throttled[region] = self._throttled.get(region, 0) + 1
            pause = error.retry_after or backoff(count, self._timings.throttle_step, _LONGEST_PAUSE)
            await self._ledger.limits.pause(_limit(region), pause)
            raise

    async def _wait_for_turn(self, region: str) -> None:
        wait = await self._ledger.limits.reserve(_limit(region))
        if wait > 0:
            await self._clock.sleep(wait)


def _limit(region: str) -> RateLimit:
    return RateLimit(f"query/{region}", _PER_SECOND, is_durable=False)
