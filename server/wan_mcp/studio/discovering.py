"""Tasks that the service knows and the ledger does not: found by id or in the service's list."""

import secrets
from collections.abc import Sequence

import anyio

from wan_mcp.ledger import OrderRecord, Origin, Stage
from wan_mcp.remote import ListedTask, TaskAnswer
from wan_mcp.settings import RegionAccess
from wan_mcp.studio.accounts import fingerprint
from wan_mcp.studio.parts import Parts
from wan_mcp.studio.queries import Queries
from wan_mcp.studio.sending import DAY
from wan_mcp_tools.shared.errors import NotFoundError, WanError
from wan_mcp_tools.shared.tasks import TaskStatus


class Discoverer:
    """Brings tasks of the account into the ledger, from where they are followed like any other."""

    def __init__(self, parts: Parts, queries: Queries) -> None:
        self._parts = parts
        self._queries = queries

    async def by_id(self, task_id: str) -> OrderRecord:
        """
        Ask every region that has a key for a task, side by side.

        Raises:
            NotFoundError: none of them knows it.
        """
        answers: dict[str, TaskAnswer] = {}
        refusals: dict[str, WanError] = {}

        async def ask(region: str) -> None:
            try:
                answers[region] = await self._queries.ask(region, task_id)
            except WanError as error:
                refusals[region] = error

        asked = self._usable()
        async with anyio.create_task_group() as group:
            for access in asked:
                group.start_soon(ask, access.region)
        for access in asked:
            answer = answers.get(access.region)
            if answer is not None and answer.status is not TaskStatus.UNKNOWN:
                model = await self._model_of(access.region, task_id)
                return await self._adopt(access, task_id, status=_followed(answer.status), model_id=model)
        raise _not_found(task_id, asked, refusals)

    async def by_list(self, limit: int) -> tuple[list[OrderRecord], tuple[str, ...]]:
        """Ask every region that has a key for its newest tasks; adopt the pictures among them that are unknown."""
        adopted: list[OrderRecord] = []
        notes: list[str] = []

        async def ask(access: RegionAccess) -> None:
            try:
                listing = await self._queries.list(access.region, start=None, end=None, model_id=None)
                adopted.extend(await self._adopt_all(access, listing.tasks[:limit]))
            except WanError as error:
                notes.append(f"{access.region}: {error}")

        async with anyio.create_task_group() as group:
            for access in self._usable():
                group.start_soon(ask, access)
        return adopted, tuple(sorted(notes))

    def _usable(self) -> list[RegionAccess]:
        accesses = self._parts.settings.regions.values()
        return [access for access in accesses if access.api_key and access.base_url and not access.problem]

    async def _adopt_all(self, access: RegionAccess, tasks: Sequence[ListedTask]) -> list[OrderRecord]:
        known = await self._parts.ledger.known([task.task_id for task in tasks])
        adopted: list[OrderRecord] = []
        for task in tasks:
            model = self._catalogue_id(task.model_id)
            if task.task_id in known or model is None or task.status is TaskStatus.UNKNOWN:
                continue
            if await self._parts.ledger.unanswered(access.region, task.model_id or ""):
                # It may be the task of an order whose answer was lost: the search decides that first.
                continue
            adopted.append(
                await self._adopt(access, task.task_id, status=_followed(task.status), model_id=task.model_id)
            )
        return adopted

    async def _model_of(self, region: str, task_id: str) -> str | None:
        """Ask the list for a task's model, which the task itself does not tell. The picture does not need it."""
        try:
            listing = await self._queries.list(region, task_id=task_id)
        except WanError:
            return None
        return next((task.model_id for task in listing.tasks if task.task_id == task_id), None)

    def _catalogue_id(self, model_id: str | None) -> str | None:
        try:
            return self._parts.offer.catalogue.find(model_id).id if model_id else None
        except WanError:
            return None

    async def _adopt(
        self, access: RegionAccess, task_id: str, *, status: TaskStatus, model_id: str | None
    ) -> OrderRecord:
        now = self._parts.clock.now()
        return await self._parts.ledger.adopt(
            local_id=f"local-{secrets.token_hex(8)}",
            task_id=task_id,
            origin=Origin.ADOPTED,
            region=access.region,
            account=fingerprint(access.api_key),
            changes={
                "model": self._catalogue_id(model_id) or model_id,
                "wire_model": model_id,
                "stage": Stage.OPEN,
                "status": status,
                "accepted_at": now,
                "expires_at": now + DAY,
                "folder": str(self._parts.settings.output_dir),
            },
        )


def _followed(status: TaskStatus) -> TaskStatus:
    """Give the status to start from: a task that ended is asked once more, for its images or its reason."""
    return TaskStatus.RUNNING if status.is_final else status


def _not_found(task_id: str, asked: Sequence[RegionAccess], refusals: dict[str, WanError]) -> WanError:
    if not asked:
        return NotFoundError(
            f"The task {task_id} is not in the ledger, and no region has a key that could be asked for it.",
            "Set DASHSCOPE_API_KEY.",
        )
    if len(refusals) == len(asked):
        # Nobody could answer: the reason matters more than the id.
        return next(iter(refusals.values()))
    names = ", ".join(access.region for access in asked)
    message = f"No task {task_id} is in the ledger or at the service ({names}); it may be older than 24 hours."
    if refusals:
        message += f" Not answered: {', '.join(sorted(refusals))}."
    return NotFoundError(message, "Use list_tasks to see the tasks that are known.", code="TaskNotFound")
