"""Every client in every era over every transport is told the same."""

import itertools
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import anyio
from answers import Facts, find_differences, find_faults, read_facts
from environment import HERE, Environment, Findings, run, serving, variables

_CONVERSATION = HERE / "conversation.json"
_AT_ONCE = 5
"""Conversations mostly wait, but their servers start and paint at the same time."""
_PROTOCOLS = {"modern": "2026-07-28", "legacy": "2025-11-25"}


@dataclass(frozen=True, slots=True)
class Client:
    """A client of the conversation: its SDK, the era of the protocol, and the transport."""

    sdk: str
    era: str
    transport: str

    def __str__(self) -> str:
        names = {"python": "the Python SDK", "v2": "the TypeScript SDK", "v1": "the TypeScript SDK of version 1"}
        return f"{names[self.sdk]}, {self.era}, {self.transport}"


_CLIENTS = [
    *(Client(sdk, era, how) for sdk in ("python", "v2") for era in _PROTOCOLS for how in ("stdio", "http")),
    *(Client("v1", "legacy", how) for how in ("stdio", "http")),
]


async def check_conversations(environment: Environment) -> Findings:
    """Hold the conversation in every way; give what is wrong with each, and where it differs from the first."""
    conversation = json.loads(_CONVERSATION.read_text(encoding="utf-8"))
    answers: dict[Client, dict[str, Facts]] = {}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def hold(client: Client) -> None:
        async with limit:
            answers[client] = await _hold(environment, client, "once")

    async with anyio.create_task_group() as group:
        for client in _CLIENTS:
            group.start_soon(hold, client)
    for client, time in itertools.product(_CLIENTS, ("again", "for the last time")):
        if _faults(client, answers[client], conversation):
            # Five at once may have kept one another waiting: alone it has to be in time.
            answers[client] = await _hold(environment, client, time)
    first = answers[_CLIENTS[0]]
    faults = {client: _faults(client, answers[client], conversation) for client in _CLIENTS}
    # What went wrong differs from what went well: that need not be told twice.
    return {str(client): faults[client] or find_differences(first, answers[client]) for client in _CLIENTS}


def _faults(client: Client, answers: dict[str, Facts], conversation: list[dict[str, Any]]) -> list[str]:
    faults = find_faults(answers, conversation)
    protocol = answers.get("hello", {}).get("protocol")
    if protocol != _PROTOCOLS[client.era]:
        faults.append(f"the protocol was {protocol}")
    return faults


async def _hold(environment: Environment, client: Client, time: str) -> dict[str, Facts]:
    folder = environment.make_folder(f"conversations/{client.sdk}-{client.era}-{client.transport}-{time}")
    command, *arguments = environment.server
    plan: dict[str, Any] = {"sdk": client.sdk, "era": client.era, "conversation": str(_CONVERSATION)}
    programs = {"python": [environment.python, str(HERE / "client.py")]}
    program = programs.get(client.sdk, [environment.node, str(HERE / "client.mjs")])
    async with AsyncExitStack() as stack:
        if client.transport == "http":
            serve = [*environment.server, "serve", "--transport", "http", "--port", "0"]
            plan["url"] = await stack.enter_async_context(serving(serve, folder))
        else:
            plan |= {"command": command, "args": arguments, "env": variables(folder)}
        file = folder / "plan.json"
        file.write_text(json.dumps(plan), encoding="utf-8")
        done = await run([*program, str(file)], folder, seconds=90)
    answers = read_facts(done.out.splitlines(), folder)
    if done.code != 0 or done.errors:
        return {"goodbye": {"strays": [done.tail]}}
    return answers
