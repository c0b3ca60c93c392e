"""
Probes of the regions, side by side: can each be reached, does it take the key, which models does it show to it.

A key is asked for with a question about a task that no account has, which creates nothing and costs nothing. It goes
to the address of its region. Only if it is refused there, and that address is the service's own, is it tried at the
shared addresses of the service's other regions: that is how a key of another region is found out.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import anyio

from wan_mcp.dashscope import DashScope, Timeouts
from wan_mcp.dashscope.reachability import Reachability, ReachabilityProbe
from wan_mcp.doctor.types import Environment
from wan_mcp.settings import RegionAccess, Settings
from wan_mcp.settings.key_format import PLAN_KEY
from wan_mcp.settings.region_access import region_of_host
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, Region, find_region
from wan_mcp_tools.domain.errors import AnswerLostError, AppError, KeyRefusedError
from wan_mcp_tools.domain.record import Record


class KeyAttempt(Record):
    """What a region said to a key at one of its hosts; without an error it took it."""

    region: Region
    host: str
    error: AppError | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the key is good there."""
        return self.error is None


class RegionProbe(Record):
    """
    What came of the probe of a region.

    `is_used` says that orders may go there as things are set. `reachability` is None where there is no address to go
    to or no need to go. `attempt` is None where the key was not tried; `other_attempts` are those of a key that was
    refused. `models` are the ids that the service shows to the key, empty where it does not say.
    """

    region: Region
    access: RegionAccess
    is_used: bool
    reachability: Reachability | None = None
    attempt: KeyAttempt | None = None
    other_attempts: tuple[KeyAttempt, ...] = ()
    models: frozenset[str] = frozenset()


async def probe_regions(environment: Environment, settings: Settings) -> list[RegionProbe]:
    """Probe the regions that are used; the others too if one of these is at an address of the service."""
    planned = [_plan(settings, access) for access in settings.regions.values()]
    to_service = any(probe.is_used and _is_at_service(probe.access) for probe in planned)
    planned = [probe for probe in planned if probe.is_used or (to_service and probe.region != SANDBOX)]
    done: dict[str, RegionProbe] = {}
    reaching = ReachabilityProbe(
        clock=environment.clock,
        environ=environment.environ,
        seconds=environment.reach_seconds,
        resolve=environment.resolve_name,
        find_proxy=environment.find_proxy,
        transport=environment.transport,
    )

    async def run(probe: RegionProbe) -> None:
        done[probe.region.name] = await _probe_region(environment, settings, reaching, probe)

    try:
        async with anyio.create_task_group() as group:
            for probe in planned:
                group.start_soon(run, probe)
    finally:
        with anyio.CancelScope(shield=True):
            await reaching.aclose()
    return [done[probe.region.name] for probe in planned]


def host_of(access: RegionAccess) -> str:
    """Give the host of a region, with its port if that is not the usual one."""
    return urlsplit(access.base_url or "").netloc


def _plan(settings: Settings, access: RegionAccess) -> RegionProbe:
    is_default = access.region == settings.default_region
    has_own_key = access.api_key is not None and not access.in_process
    return RegionProbe(find_region(access.region), access, is_default or has_own_key)


def _is_at_service(access: RegionAccess) -> bool:
    return not access.in_process and (access.base_url is None or region_of_host(access.base_url) is not None)


async def _probe_region(
    environment: Environment, settings: Settings, reaching: ReachabilityProbe, probe: RegionProbe
) -> RegionProbe:
    access = probe.access
    if access.in_process:
        return replace(probe, attempt=await _try_key(environment, settings, access))
    if access.base_url is None:
        return probe
    reachability = await reaching.reach(access.base_url)
    probe = replace(probe, reachability=reachability)
    is_ready = probe.is_used and access.api_key is not None and access.problem is None
    if not is_ready or not reachability.is_reached:
        return probe
    attempt = await _try_key(environment, settings, access)
    if isinstance(attempt.error, KeyRefusedError):
        others = await _try_other_regions(environment, settings, reaching, access)
        return replace(probe, attempt=attempt, other_attempts=others)
    if attempt.is_taken:
        models = await reaching.list_models(access, seconds=environment.question_seconds)
        return replace(probe, attempt=attempt, models=models)
    return replace(probe, attempt=attempt)


async def _try_key(environment: Environment, settings: Settings, access: RegionAccess) -> KeyAttempt:
    def make_sandbox() -> object:
        from wan_mcp.sandbox import in_process_app  # noqa: PLC0415 - only the region sandbox needs it

        return in_process_app(settings.state_dir, environment.clock, settings.extra_models)

    seconds = environment.question_seconds
    region, host = find_region(access.region), host_of(access)
    service = DashScope(
        {access.region: access},
        max_image_bytes=1,
        clock=environment.clock,
        sandbox=make_sandbox,
        transport=environment.transport,
        timeouts=Timeouts(connect=seconds, write=seconds, pool=seconds, call=seconds),
        find_proxy=environment.find_proxy,
    )
    try:
        with anyio.fail_after(seconds):
            await service.probe(access.region)
    except TimeoutError:
        return KeyAttempt(region, host, AnswerLostError(f"No answer came within {seconds:g} seconds.", "Try again."))
    except AppError as error:
        return KeyAttempt(region, host, error)
    finally:
        with anyio.CancelScope(shield=True):
            await service.aclose()
    return KeyAttempt(region, host)


async def _try_other_regions(
    environment: Environment, settings: Settings, reaching: ReachabilityProbe, access: RegionAccess
) -> tuple[KeyAttempt, ...]:
    attempts: list[KeyAttempt] = []

    async def add(other: RegionAccess) -> None:
        attempt = KeyAttempt(find_region(other.region), host_of(other), AnswerLostError("No answer came in time."))
        with anyio.move_on_after(environment.question_seconds):
            # The client's own look-up could not be left behind if the name service hangs.
            _, problem = await reaching.find_route(other.base_url or "")
            if problem is None:
                attempt = await _try_key(environment, settings, other)
        attempts.append(attempt)

    async with anyio.create_task_group() as group:
        for other in _list_other_regions(access):
            group.start_soon(partial(add, other))
    return tuple(sorted(attempts, key=lambda attempt: REGIONS.index(attempt.region)))


def _list_other_regions(access: RegionAccess) -> Sequence[RegionAccess]:
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
