"""A situation, and what brings it about: a real server, in memory, with the tests' service or the sandbox."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from anyio import to_thread
from mcp import Client

from fakes.dashscope import FakeService
from fakes.order_service import QUICK, make_settings
from wan_mcp.app import build_context, build_server, build_service
from wan_mcp.mcp_server.tools import CODE, RETRYABLE

KEY = "sk-test-singapore"


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
        **environ: str,
    ) -> AsyncGenerator["Caller"]:
        """Run a server and talk to it; `timings` are other times than the quick ones."""
        if dashscope is not None:
            self.services.append(dashscope)
        # As at a start, the settings are read where files may block.
        settings = await to_thread.run_sync(partial(make_settings, self.folder, dashscope, **environ))
        context = build_context(settings, transport=transport)
        if storage is not None:
            context = replace(context, storage=storage(settings))
        service = build_service(settings, context=context, timings=replace(QUICK, **(timings or {})))
        async with Client(build_server(service)) as client:
            yield Caller(client, settings)

    def was_charged(self) -> bool:
        """Say whether the service bills the client for an image."""
        return any(dashscope.paid_images() for dashscope in self.services)


@dataclass
class Caller:
    """An agent that calls tools; `settings` are the server's."""

    client: Client
    settings: Any

    async def __call__(self, tool: str, **arguments: object) -> Any:
        return await self.client.call_tool(tool, arguments)

    async def make(self, **arguments: object) -> Any:
        """Order a picture as an agent would."""
        return await self("generate_image", **({"prompt": "a flower shop", "wait_seconds": 45} | arguments))

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
