"""The judge of conversations: every client in every era over every transport is told the same."""

import itertools
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import anyio
from facts import Facts, find_differences, find_faults, read_facts
from ground import HERE, Ground, Verdicts, run, serving, variables

_CONVERSATION = HERE / "conversation.json"
_AT_ONCE = 5
"""Conversations mostly wait, but their servers start and paint at the same time."""
_PROTOCOLS = {"modern": "2026-07-28", "legacy": "2025-11-25"}


@dataclass(frozen=True, slots=True)
class Talk:
    """A way to hold the conversation."""

    sdk: str
    era: str
    transport: str

    def __str__(self) -> str:
        names = {"python": "the Python SDK", "v2": "the TypeScript SDK", "v1": "the TypeScript SDK of version 1"}
        return f"{names[self.sdk]}, {self.era}, {self.transport}"


_TALKS = [
    *(Talk(sdk, era, how) for sdk in ("python", "v2") for era in _PROTOCOLS for how in ("stdio", "http")),
    *(Talk("v1", "legacy", how) for how in ("stdio", "http")),
]


async def judge_talks(ground: Ground) -> Verdicts:
    """Hold the conversation in every way; give what is wrong with each, and where it differs from the first."""
    conversation = json.loads(_CONVERSATION.read_text(encoding="utf-8"))
    said: dict[Talk, dict[str, Facts]] = {}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def hold(talk: Talk) -> None:
        async with limit:
            said[talk] = await _hold(ground, talk, "once")

    async with anyio.create_task_group() as group:
        for talk in _TALKS:
            group.start_soon(hold, talk)
    for talk, time in itertools.product(_TALKS, ("again", "for the last time")):
        if _faults(talk, said[talk], conversation):
            # Five at once may have kept one another waiting: alone it has to be in time.
            said[talk] = await _hold(ground, talk, time)
    first = said[_TALKS[0]]
    faults = {talk: _faults(talk, said[talk], conversation) for talk in _TALKS}
    # What went wrong differs from what went well: that need not be told twice.
    return {str(talk): faults[talk] or find_differences(first, said[talk]) for talk in _TALKS}


def _faults(talk: Talk, said: dict[str, Facts], conversation: list[dict[str, Any]]) -> list[str]:
    faults = find_faults(said, conversation)
    spoken = said.get("hello", {}).get("protocol")
    if spoken != _PROTOCOLS[talk.era]:
        faults.append(f"the protocol was {spoken}")
    return faults


async def _hold(ground: Ground, talk: Talk, time: str) -> dict[str, Facts]:
    room = ground.room(f"talks/{talk.sdk}-{talk.era}-{talk.transport}-{time}")
    command, *arguments = ground.server
    plan: dict[str, Any] = {"sdk": talk.sdk, "era": talk.era, "conversation": str(_CONVERSATION)}
    clients = {"python": [ground.python, str(HERE / "client.py")]}
    client = clients.get(talk.sdk, [ground.node, str(HERE / "client.mjs")])
    async with AsyncExitStack() as stack:
        if talk.transport == "http":
            serve = [*ground.server, "serve", "--transport", "http", "--port", "0"]
            plan["url"] = await stack.enter_async_context(serving(serve, room))
        else:
            plan |= {"command": command, "args": arguments, "env": variables(room)}
        file = room / "plan.json"
        file.write_text(json.dumps(plan), encoding="utf-8")
        done = await run([*client, str(file)], room, seconds=90)
    said = read_facts(done.out.splitlines(), room)
    if done.code != 0 or done.errors:
        return {"goodbye": {"strays": [done.tail]}}
    return said
