"""What the doctor looks at: everything outside the program, passed in."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.dashscope.network import ProxyFinder, Resolver, find_proxy, resolve_name_blocking
from wan_mcp.doctor.apart import run_apart
from wan_mcp.storage.disk import Disk, find_network_drive
from wan_mcp.storage.folders import FindNetworkDrive


async def _look_up(host: str, port: int) -> list[str]:
    return await run_apart(partial(resolve_name_blocking, host, port))


@dataclass(frozen=True, slots=True)
class World:
    """
    The machine and the network.

    `transport` takes the place of the network; then `look_up` should be None. Times are in seconds: `patience` for
    all checks together, `reach` to reach a region, `probe` for one question to it.
    """

    environ: Mapping[str, str]
    env_file: Path | None = None
    clock: Clock = field(default_factory=SystemClock)
    program: str = field(default_factory=lambda: sys.argv[0])
    find_program: Callable[[str], str | None] = shutil.which
    disk: Disk = field(default_factory=Disk)
    find_network_drive: FindNetworkDrive = find_network_drive
    transport: Any = None
    look_up: Resolver | None = _look_up
    find_proxy: ProxyFinder = find_proxy
    patience: float = 9.0
    reach: float = 3.5
    probe: float = 2.5
