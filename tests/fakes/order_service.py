"""A service of our own on the fake service: real ledger, real files, real HTTP, short times."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes import tiny_png
from fakes.clock import LONGEST, HurriedClock, until
from fakes.dashscope import FakeService
from wan_mcp.app import build_context, build_service
from wan_mcp.clock import Clock
from wan_mcp.orders import OrderContext, OrderService, Timings
from wan_mcp.sandbox import IN_PROCESS_UPLOAD_URL, IN_PROCESS_URL, FileStore, SandboxOptions, create_app
from wan_mcp.sandbox.tasks import TaskRecord
from wan_mcp.settings import Settings, read_settings

QUICK = Timings(
    lease=1.5,
    renew_interval=0.4,
    start_delay=0.0,
    ledger_interval=0.1,
    submit_slot_seconds=0.6,
    throttle_patience=10.0,
    throttle_step=0.1,
    first_poll=0.1,
    create_window=6.0,
    list_lag=0.3,
    search_grace=2.0,
    search_step=0.05,
    save_step=0.05,
    save_again=0.2,
    save_again_most=1.0,
    retry_step=0.05,
    retry_most=0.4,
    stop_seconds=1.0,
)
"""The proportions of the real times, some twenty times as fast."""

HURRY = 10.0
HURRIED_WAIT = LONGEST * HURRY
"""The seconds of a hurried clock that end a broken test."""


def hurry(clock: HurriedClock, **changes: float) -> Timings:
    """Give the quick times for a hurried clock: pauses are shorter still, and leases last as long; `changes` are others."""
    lasting = {
        name: getattr(QUICK, name) * clock.times for name in ("lease", "renew_interval", "submit_slot_seconds")
    }
    return replace(QUICK, **(lasting | changes))


def make_settings(folder: Path, dashscope: FakeService | None = None, **environ: str) -> Settings:
    """Read settings as the program would, with everything it writes under `folder`."""
    where = {
        "WAN_MCP_OUTPUT_DIR": str(folder / "pictures"),
        "WAN_MCP_STATE_DIR": str(folder / "state"),
        "DASHSCOPE_REGION": "sandbox",
    }
    if dashscope is not None:
        where |= {
            "DASHSCOPE_REGION": "singapore",
            "DASHSCOPE_API_KEY": "sk-test-singapore",
            "DASHSCOPE_HTTP_BASE_URL": dashscope.base_url,
            "WAN_MCP_IMAGE_HOSTS": dashscope.image_host,
        }
    return read_settings(where | environ)


def quick_context(settings: Settings, *, clock: Clock | None = None) -> OrderContext:
    """Build what ordering stands on, with a sandbox that takes a moment and draws one colour."""

    def sandbox() -> object:
        options = SandboxOptions(
            public_url=IN_PROCESS_URL,
            upload_url=IN_PROCESS_UPLOAD_URL,
            duration=0.1,
            pending=0.05,
            extra_models=tuple(settings.extra_models),
        )
        return create_app(options, store=FileStore(settings.state_dir, clock), clock=clock, paint=_paint)

    return build_context(settings, clock=clock, sandbox=sandbox)


def quick_service(settings: Settings, *, clock: Clock | None = None) -> OrderService:
    """Build a service with short times, its sandbox among them."""
    return build_service(settings, context=quick_context(settings, clock=clock), timings=QUICK)


def _paint(record: TaskRecord, index: int) -> bytes:
    red, green, blue, *_ = hashlib.sha256(f"{record.prompt}-{record.seed}-{index}".encode()).digest()
    return tiny_png.encode(record.width, record.height, colour=(red, green, blue), texts={})


@asynccontextmanager
async def running_service(
    settings: Settings,
    *,
    take_over: bool = True,
    timings: Timings = QUICK,
    clock: Clock | None = None,
    **changes: Any,
) -> AsyncGenerator[OrderService]:
    """Run a service; `changes` are other times."""
    context = quick_context(settings, clock=clock)
    service = build_service(settings, context=context, timings=replace(timings, **changes))
    async with service.running(take_over=take_over):
        yield service


def hurried_service(settings: Settings, *, clock: HurriedClock | None = None, **changes: Any):
    """Run a service whose time passes quickly, for pauses that are no part of what is tested."""
    clock = clock or HurriedClock(HURRY)
    return running_service(settings, clock=clock, timings=hurry(clock), **changes)


async def order(
    service: OrderService, prompt: str = "a flower shop", *, wait: float = LONGEST, fresh: bool = False, **words
):
    """Order as the tool does."""
    request = service.catalogue.make_request(prompt=prompt, **words)
    return await service.order(request, wait_seconds=wait, until_accepted=False, fresh=fresh, report=None)


async def submit(
    service: OrderService, prompt: str = "a flower shop", *, wait: float = LONGEST, fresh: bool = False, **words
):
    """Order as the tool does that waits only for the id."""
    request = service.catalogue.make_request(prompt=prompt, **words)
    return await service.order(request, wait_seconds=wait, until_accepted=True, fresh=fresh, report=None)


async def get(service: OrderService, task_id: str, *, wait: float = LONGEST):
    """Ask as the tool does."""
    return await service.get(task_id, wait_seconds=wait, report=None)


async def end_search(dashscope: FakeService, clock: HurriedClock) -> None:
    """Let the time be over that a lost order is looked for, once the service's list has been read twice."""
    await until(lambda: [each.place for each in dashscope.requests].count("list") > 1)
    clock.advance(QUICK.create_window + QUICK.search_grace)


def saved_files(settings: Settings) -> list[Path]:
    """Give the image files, without the notes beside them."""
    return sorted(path for path in settings.output_dir.rglob("*") if path.suffix == ".png")


def leftovers(settings: Settings) -> list[Path]:
    """Give the files that a finished save must not leave."""
    return [path for path in settings.output_dir.rglob("*") if path.name.endswith(".part")]
