"""What the checks run in: folders, environment variables, and processes that end."""

import os
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

HERE = Path(__file__).resolve().parent
Findings = dict[str, list[str] | str]
"""What is wrong with each subject, or why it could not be checked."""

_START_SECONDS = 30.0
_END_SECONDS = 10.0
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LANG", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended; the code is None if it took too long and was killed."""

    code: int | None
    out: str
    errors: str

    @property
    def tail(self) -> str:
        """The last it said, for a person."""
        lines = (self.out + self.errors).strip().splitlines()
        ending = "took too long" if self.code is None else f"ended with {self.code}"
        return "\n".join([ending, *lines[-40:]])


@dataclass(frozen=True, slots=True)
class Environment:
    """
    What the checks are given.

    `server` is the command that starts wan-mcp, `node` a Node that is new enough, `modules` the folder of its
    packages, and `folder` is empty and only for them. `chromium` is a browser, if there is one.
    """

    server: Sequence[str]
    python: str
    node: str
    modules: Path
    folder: Path
    chromium: str | None

    def make_folder(self, name: str) -> Path:
        """Make a folder for one server and its client."""
        folder = self.folder / re.sub(r"\W+", "-", name)
        folder.mkdir(parents=True)
        return folder

    def program(self, package: str, command: str) -> list[str]:
        """Give the command that starts a program of one of the packages."""
        # Not through node_modules/.bin, whose scripts would look for the machine's own Node.
        return [self.node, str(self.modules / package / command)]


def variables(folder: Path) -> dict[str, str]:
    """Give an environment in which nothing outside of the folder is written, and only the sandbox is known."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "DASHSCOPE_REGION": "sandbox",
        "WAN_MCP_STATE_DIR": str(folder / "state"),
        "WAN_MCP_OUTPUT_DIR": str(folder / "pictures"),
        "NO_COLOR": "1",
    }


async def run(
    command: Sequence[str], folder: Path, *, seconds: float = 60, extra: Mapping[str, str] | None = None
) -> Outcome:
    """Run a program to its end, or kill it after some seconds; `extra` are further variables for it."""
    parts: dict[str, list[str]] = {"out": [], "errors": []}
    code: int | None = None
    process = await anyio.open_process(
        command, env=variables(folder) | (extra or {}), cwd=folder, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            group.start_soon(_collect, process.stdout, parts["out"])
            group.start_soon(_collect, process.stderr, parts["errors"])
        code = await process.wait()
    await _end(process, seconds=0)
    return Outcome(code, "".join(parts["out"]), "".join(parts["errors"]))


@asynccontextmanager
async def serving(
    command: Sequence[str], folder: Path, *, extra: Mapping[str, str] | None = None
) -> AsyncGenerator[str]:
    """
    Start a program that prints the http address it serves at, give that address, and end the program afterwards.

    `extra` are further variables for it.
    """
    printed: list[str] = []
    process = await anyio.open_process(
        command, env=variables(folder) | (extra or {}), cwd=folder, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_collect, process.stdout, printed)
            yield await _address(printed)
            group.cancel_scope.cancel()
    finally:
        await _end(process, seconds=_END_SECONDS)


async def _collect(stream, parts: list[str]) -> None:
    async for part in TextReceiveStream(stream, errors="replace"):
        parts.append(part)  # noqa: PERF401 - what has come so far is read meanwhile


async def _address(printed: list[str]) -> str:
    started = time.monotonic()
    while time.monotonic() - started < _START_SECONDS:
        if found := re.search(r"(?m)(?:^| at )(http://\S+)\s", "".join(printed)):
            return found[1]
        await anyio.sleep(0.05)
    raise TimeoutError(f"A server printed no address, only: {''.join(printed)}")


async def _end(process: Process, *, seconds: float) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with anyio.move_on_after(seconds):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        await process.aclose()
