"""The keeper: a small process of its own that outlives the server and finishes what is open."""

import logging
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from wan_mcp.ledger import Slot
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.domain.errors import LedgerError

_log = logging.getLogger(__name__)

_NAME = "keeper"
_SECONDS = 30.0


class Keeper:
    """
    Starts a keeper when there is none and the operator wants one.

    Hosts end their servers whenever they like. The keeper is `wan-mcp collect --until-idle`, detached from the
    server's process group; it goes when nothing is open any more.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._children: list[subprocess.Popen[bytes]] = []

    async def ensure(self) -> None:
        """Start a keeper unless one lives."""
        token = secrets.token_hex(8)
        try:
            if await self._parts.ledger.take_slot(Slot(_NAME, _SECONDS), token):
                await anyio.to_thread.run_sync(self._start, token)
        except (LedgerError, OSError) as error:
            # The order is placed and is followed here; the next one tries again.
            _log.warning("no keeper could be started: %s", error)

    def _start(self, token: str) -> None:
        # Children that have ended are reaped here, so that none stays behind as a zombie.
        self._children = [child for child in self._children if child.poll() is None]
        command = [sys.executable, "-m", "wan_mcp", "collect", "--until-idle", "--keeper", token]
        if self._parts.settings.env_file is not None:
            command += ["--env-file", str(self._parts.settings.env_file)]
        child = subprocess.Popen(  # noqa: S603 - our own program with our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._parts.settings.state_dir,
            start_new_session=True,
        )
        self._children.append(child)


async def keep(
    parts: Parts, token: str, work: Callable[[], Awaitable[None]], is_idle: Callable[[], Awaitable[bool]]
) -> None:
    """
    Be the keeper: do `work` until nothing is open, unless another keeper is there already.

    An order that is placed while the keeper is leaving finds its place still taken; so it looks once more after it
    has given the place up.
    """
    slot = Slot(_NAME, _SECONDS)
    while await parts.ledger.take_slot(slot, token):
        async with anyio.create_task_group() as group:

            async def stay() -> None:
                while True:
                    await parts.clock.sleep(_SECONDS / 3)
                    try:
                        await parts.ledger.hold_slot(slot, token)
                    except LedgerError as error:
                        # At worst a second keeper comes, and the two share the work.
                        _log.warning("the keeper's place could not be kept: %s", error)

            group.start_soon(stay)
            await work()
            group.cancel_scope.cancel()
        await parts.ledger.leave_slot(slot, token)
        if await is_idle():
            return
