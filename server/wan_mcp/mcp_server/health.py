"""
What is asked of a server by whatever watches over it: does it live, may it be sent calls, what has it measured.

The first two need no sign-in, and say nothing but their status.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.principals import Scope, current_principal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp

_log = logging.getLogger(__name__)

_KEPT_SECONDS = 5.0
"""For which an answer holds, so that nobody can wear out a ledger by asking."""
_CHECK_SECONDS = 3.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Readiness:
    """
    Whether this replica may be sent calls: it does not end, and what it stands on can be used.

    `check` raises an `AppError` where it cannot. It is called every few seconds at most, however often is asked.
    """

    def __init__(self, check: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._check = check
        self._clock = clock
        self._lock = anyio.Lock()
        self._is_fine = False
        self._checked_at: float | None = None
        self._is_draining = False

    def drain(self) -> None:
        """Say no from now on."""
        self._is_draining = True

    async def is_ready(self) -> bool:
        """Say whether calls may be sent here."""
        async with self._lock:
            now = self._clock.monotonic()
            if not self._is_draining and (self._checked_at is None or now - self._checked_at >= _KEPT_SECONDS):
                self._is_fine = await self._look()
                self._checked_at = self._clock.monotonic()
        return self._is_fine and not self._is_draining

    async def _look(self) -> bool:
        reason: object = f"no answer within {_CHECK_SECONDS:.0f} seconds"
        with anyio.move_on_after(_CHECK_SECONDS):
            try:
                await self._check()
            except AppError as error:
                reason = error
            else:
                return True
        _log.warning("this server is not ready: %s", reason)
        return False


def make_health_routes(readiness: Readiness) -> "list[Route]":
    """Make `/livez` and `/readyz`: 200 or 503, and nothing more."""
    from starlette.responses import Response  # noqa: PLC0415 - the SDK has loaded it by now
    from starlette.routing import Route  # noqa: PLC0415 - the same

    headers = {"Cache-Control": "no-store"}

    async def live(_: "Request") -> "Response":
        return Response(status_code=200, headers=headers)

    async def ready(_: "Request") -> "Response":
        return Response(status_code=200 if await readiness.is_ready() else 503, headers=headers)

    return [Route("/livez", live, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]


def make_metrics_route(
    render: Callable[[], bytes] | str, *, protect: "Callable[[ASGIApp], ASGIApp] | None" = None
) -> "Route":
    """
    Make `/metrics`, for who may see everybody's costs.

    A text in place of `render` says why there are no metrics. `protect` finds out who calls.
    """
    from starlette.responses import Response  # noqa: PLC0415 - the SDK has loaded it by now
    from starlette.routing import Route  # noqa: PLC0415 - the same

    answer = partial(Response, headers={"Cache-Control": "no-store"})

    async def show(_: "Request") -> "Response":
        if not current_principal().may(Scope.ADMIN):
            return answer(f"This needs the scope {Scope.ADMIN}.\n", status_code=403, media_type="text/plain")
        if isinstance(render, str):
            return answer(f"{render}\n", status_code=501, media_type="text/plain")
        return answer(await run_sync(render), media_type=_METRICS_TYPE)

    route = Route("/metrics", show, methods=["GET"])
    if protect is not None:
        route.app = protect(route.app)
    return route
