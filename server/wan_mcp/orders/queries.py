"""Questions to the service, within the pace that an account is allowed."""

from wan_mcp.dashscope import TaskAnswer, TaskListing
from wan_mcp.ledger import Limit
from wan_mcp.orders.pacing import backoff
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.domain.errors import ThrottledError

# 20 a second are allowed for each account, whatever program asks; two are left to others.
# https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
_PER_SECOND = 18.0
_BURST = 1.0


class Queries:
    """Asks for tasks, lists and cancellations: none creates anything, so each may be repeated."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._throttled: dict[str, int] = {}

    async def ask(self, region: str, task_id: str) -> TaskAnswer:
        """Ask for one task, once."""
        await self._turn(region)
        try:
            answer = await self._parts.dashscope.query(region, task_id)
        except ThrottledError as error:
            await self._slow_down(region, error)
            raise
        self._throttled.pop(region, None)
        return answer

    async def list(
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
        await self._turn(region)
        try:
            return await self._parts.dashscope.list_tasks(
                region, start=start, end=end, model_id=model_id, task_id=task_id, page_no=page_no
            )
        except ThrottledError as error:
            await self._slow_down(region, error)
            raise

    async def cancel(self, region: str, task_id: str) -> None:
        """Ask to cancel a task, once."""
        await self._turn(region)
        await self._parts.dashscope.cancel(region, task_id)

    def _limit(self, region: str) -> Limit:
        return Limit(f"query/{region}", _PER_SECOND, _BURST, is_lasting=False)

    async def _turn(self, region: str) -> None:
        wait = await self._parts.ledger.turn(self._limit(region))
        if wait > 0:
            await self._parts.clock.sleep(wait)

    async def _slow_down(self, region: str, error: ThrottledError) -> None:
        count = self._throttled[region] = self._throttled.get(region, 0) + 1
        pause = error.retry_after or backoff(count, self._parts.timings.throttle_step, 30.0)
        await self._parts.ledger.hold_back(self._limit(region), pause)
