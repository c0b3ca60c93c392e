"""
Visits to the regions, side by side: is there a way, is the key taken, which models does the service show to it.

A key is asked for with a question about a task that no account has, which creates nothing and costs nothing. It goes
to the address of its region. Only if it is refused there, and that address is the service's own, is it tried at the
shared addresses of the service's other regions: that is how a key of another region is found out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import anyio

from wan_mcp.dashscope import DashScope, Timeouts
from wan_mcp.dashscope.reachability import Reachability, ReachabilityProbe
from wan_mcp.doctor.world import World
from wan_mcp.settings import RegionAccess, Settings
from wan_mcp.settings.regions import PLAN_KEY, region_of_host
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, Region, find_region
from wan_mcp_tools.domain.errors import AnswerLostError, AppError, KeyRefusedError


@dataclass(frozen=True, slots=True)
class Trial:
    """What a region said to a key at one of its hosts; without an error it took it."""

    region: Region
    host: str
    error: AppError | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the key is good there."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Visit:
    """
    What came of the visit to a region.

    `is_used` says that orders may go there as things are set. `contact` is None where there is no address to go to
    or no need to go. `trial` is None where the key was not tried; `elsewhere` are the trials of a key that was
    refused. `models` are the ids that the service shows to the key, empty where it does not say.
    """

    region: Region
    access: RegionAccess
    is_used: bool
    contact: Reachability | None = None
    trial: Trial | None = None
    elsewhere: tuple[Trial, ...] = ()
    models: frozenset[str] = frozenset()


async def visit_regions(world: World, settings: Settings) -> list[Visit]:
    """Visit the regions that are used; the others too if one of these is at an address of the service."""
    plans = [_plan(settings, access) for access in settings.regions.values()]
    to_service = any(plan.is_used and _is_at_service(plan) for plan in plans)
    plans = [plan for plan in plans if plan.is_used or (to_service and plan.region != SANDBOX)]
    found: dict[str, Visit] = {}
    scout = ReachabilityProbe(
        clock=world.clock,
        environ=world.environ,
        seconds=world.reach,
        resolve=world.look_up,
        find_proxy=world.find_proxy,
        transport=world.transport,
    )
    traveller = _Traveller(world, settings, scout)

    async def visit(plan: Visit) -> None:
        found[plan.region.name] = await traveller.visit(plan)

    try:
        async with anyio.create_task_group() as group:
            for plan in plans:
                group.start_soon(visit, plan)
    finally:
        with anyio.CancelScope(shield=True):
            await scout.aclose()
    return [found[plan.region.name] for plan in plans]


def host_of(access: RegionAccess) -> str:
    """Give the host of a region, with its port if that is not the usual one."""
    return urlsplit(access.base_url or "").netloc


def _plan(settings: Settings, access: RegionAccess) -> Visit:
    is_default = access.region == settings.default_region
    has_own_key = access.api_key is not None and not access.in_process
    return Visit(find_region(access.region), access, is_default or has_own_key)


def _is_at_service(plan: Visit) -> bool:
    access = plan.access
    return not access.in_process and (access.base_url is None or region_of_host(access.base_url) is not None)


@dataclass(frozen=True, slots=True)
class _Traveller:
    world: World
    settings: Settings
    scout: ReachabilityProbe

    async def visit(self, plan: Visit) -> Visit:
        access = plan.access
        if access.in_process:
            return Visit(plan.region, access, plan.is_used, trial=await self._try_key(access))
        if access.base_url is None:
            return plan
        contact = await self.scout.reach(access.base_url)
        is_ready = plan.is_used and access.api_key is not None and access.problem is None
        if not is_ready or not contact.is_reached:
            return Visit(plan.region, access, plan.is_used, contact)
        trial = await self._try_key(access)
        elsewhere: list[Trial] = []
        models: frozenset[str] = frozenset()
        if isinstance(trial.error, KeyRefusedError):
            elsewhere = await self._try_elsewhere(access)
        elif trial.is_taken:
            models = await self.scout.list_models(access, seconds=self.world.probe)
        return Visit(plan.region, access, plan.is_used, contact, trial, tuple(elsewhere), models)

    async def _try_key(self, access: RegionAccess) -> Trial:
        seconds = self.world.probe
        region, host = find_region(access.region), host_of(access)
        service = DashScope(
            {access.region: access},
            max_image_bytes=1,
            clock=self.world.clock,
            sandbox=self._make_sandbox,
            transport=self.world.transport,
            timeouts=Timeouts(connect=seconds, write=seconds, pool=seconds, call=seconds),
            find_proxy=self.world.find_proxy,
        )
        try:
            with anyio.fail_after(seconds):
                await service.probe(access.region)
        except TimeoutError:
            return Trial(region, host, AnswerLostError(f"No answer came within {seconds:g} seconds.", "Try again."))
        except AppError as error:
            return Trial(region, host, error)
        finally:
            with anyio.CancelScope(shield=True):
                await service.aclose()
        return Trial(region, host)

    async def _try_elsewhere(self, access: RegionAccess) -> list[Trial]:
        trials: list[Trial] = []

        async def add(other: RegionAccess) -> None:
            trial = Trial(find_region(other.region), host_of(other), AnswerLostError("No answer came in time."))
            with anyio.move_on_after(self.world.probe):
                # The client's own look-up could not be left behind if the name service hangs.
                _, problem = await self.scout.find_route(other.base_url or "")
                if problem is None:
                    trial = await self._try_key(other)
            trials.append(trial)

        async with anyio.create_task_group() as group:
            for other in _list_others(access):
                group.start_soon(partial(add, other))
        return sorted(trials, key=lambda trial: REGIONS.index(trial.region))

    def _make_sandbox(self) -> object:
        from wan_mcp.sandbox import in_process_app  # noqa: PLC0415 - only the region sandbox needs it

        return in_process_app(self.settings.state_dir, self.world.clock)


def _list_others(access: RegionAccess) -> Sequence[RegionAccess]:
    """Give the service's other shared addresses, for a key that was refused at an address of the service's own."""
    key = access.api_key
    owner = region_of_host(access.base_url or "")
    if key is None or owner is None or key.get_secret_value().startswith(PLAN_KEY):
        # A key for somebody else's address is none of the service's business.
        return ()
    return [
        RegionAccess(
            region=region.name,
            base_url=f"https://{region.shared_host}/api/v1",
            api_key=key,
            workspace_id=None,
            key_setting=access.key_setting,
        )
        for region in REGIONS
        if region.shared_host is not None and region.shared_host != host_of(access)
    ]
