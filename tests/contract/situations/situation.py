"""A situation, and what brings it about: a real server, in memory, with the tests' service or the sandbox."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio import to_thread
from mcp import Client

from fakes.clock import LONGEST, HurriedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import HURRY, hurry, make_settings
from wan_mcp.app import build_context, build_server, build_service
from wan_mcp.mcp_server.tools import CODE, RETRYABLE

KEY = "sk-test-singapore"
SMALL = {"model": "wan2.2-t2i-flash", "size": "512*512"}
"""An order that the sandbox draws soon."""
_WAIT = 25.0
"""Seconds of a wait that a test ends."""


@dataclass
class Workspace:
    """A folder of its own, and the services that were started in it."""

    folder: Path
    services: list[FakeService] = field(default_factory=list)

    @asynccontextmanager
    async def server(
        self,
        dashscope: FakeService | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        storage: Any = None,
        timings: dict[str, float] | None = None,
        times: float | None = None,
        **environ: str,
    ) -> AsyncGenerator["Caller"]:
        """
        Run a server and talk to it; `timings` are other times than the quick ones.

        Its clock is `times` as fast as the machine's, by itself only where there is no service beside it.
        """
        if dashscope is not None:
            self.services.append(dashscope)
        clock = HurriedClock(times or (HURRY if dashscope is None else 1.0))
        # As at a start, the settings are read where files may block.
        settings = await to_thread.run_sync(partial(make_settings, self.folder, dashscope, **environ))
        context = build_context(settings, transport=transport, clock=clock)
        if storage is not None:
            context = replace(context, storage=storage(settings))
        service = build_service(settings, context=context, timings=hurry(clock, **(timings or {})))
        async with Client(build_server(service)) as client:
            yield Caller(client, settings, clock)

    def was_charged(self) -> bool:
        """Say whether the service bills the client for an image."""
        return any(dashscope.paid_images() for dashscope in self.services)


@dataclass
class Caller:
    """An agent that calls tools; `settings` and `clock` are the server's."""

    client: Client
    settings: Any
    clock: HurriedClock

    async def __call__(self, tool: str, **arguments: object) -> Any:
        return await self.client.call_tool(tool, arguments)

    async def make(self, **arguments: object) -> Any:
        """Order a picture as an agent would."""
        return await self(
            "generate_image", **({"prompt": "a flower shop", "wait_seconds": LONGEST * self.clock.times} | arguments)
        )

    async def make_until(self, happens: Callable[[], object], **arguments: object) -> Any:
        """Order a picture and let the wait for it end as soon as something has happened."""
        answers = []
        async with anyio.create_task_group() as group:

            @group.start_soon
            async def wait() -> None:
                answers.append(await self.make(**({"wait_seconds": _WAIT} | arguments)))

            await until(happens)
            self.clock.advance(_WAIT)
        return answers[0]

    async def submit(self, **arguments: object) -> dict[str, Any]:
        """Order and give the facts."""
        answer = await self("submit_task", **({"prompt": "a flower shop"} | arguments))
        assert not answer.is_error, answer.content
        return answer.structured_content


@dataclass(frozen=True)
class Told:
    """What an agent was told: the code in the answer, the words, and whether it is said that a repetition can help."""

    code: str
    words: str
    retryable: bool | None


@dataclass(frozen=True)
class Situation:
    """
    One row of the table.

    `bring_about` gives the answer to the call that meets it. `repeat` begins with yes or no: can the same call help?
    `charged` is no, yes, or perhaps.
    """

    about: str
    title: str
    repeat: str
    charged: str
    bring_about: Callable[[Workspace], Awaitable[Any]]


def read(answer: Any, workspace: Workspace) -> Told:
    """Give what an agent reads of an answer, with places for what differs each time."""
    meta = answer.meta or {}
    if answer.structured_content is None:
        words = " ".join(block.text for block in answer.content)
        return Told(f"`{meta[CODE]}`", level(words, workspace), meta[RETRYABLE])
    facts = answer.structured_content
    parts = [facts.get("message")]
    parts += [
        f"Image {image['index']} ({image['code']}): {image['message']}" for image in facts.get("failed_images", ())
    ]
    parts += [f"Next: {facts['next_step']}"] if "next_step" in facts else []
    code = " ".join(f"`{facts[name]}`" for name in ("status", "code") if name in facts)
    return Told(code or "–", level(" / ".join(part for part in parts if part), workspace), None)


_PLACES = (
    (re.compile(r"local-[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "‹id›"),
    (re.compile(r"127\.0\.0\.1(?::[0-9]+)?"), "‹host›"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\+00:00"), "‹time›"),
    (re.compile(r"(?<=‹folder›/pictures/)[^ ,]+?\.png"), "‹file›"),
    (re.compile(r"(?<=/pictures/)x[x/]*…[x/]*x"), "x…x"),
    (re.compile(r"(?<=after )[0-9]+ of [0-9]+(?= bytes)"), "‹n› of ‹n›"),
)


def level(words: str, workspace: Workspace) -> str:
    """Put places where paths, ids, hosts and times stand."""
    words = words.replace(str(workspace.folder.resolve()), "‹folder›").replace(str(workspace.folder), "‹folder›")
    for pattern, place in _PLACES:
        words = pattern.sub(place, words)
    return words
