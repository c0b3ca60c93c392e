"""
Hold the conversation of conversation.json with the Python SDK and print every answer as a line of JSON.

The argument is a JSON file, as for client.mjs.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters
from mcp.types import ProgressNotification


async def talk(plan: dict[str, Any]) -> None:
    steps = json.loads(await anyio.Path(plan["conversation"]).read_text(encoding="utf-8"))
    strays: list[str] = []
    heard: list[str] = []

    async def note(message: object) -> None:
        (heard if isinstance(message, ProgressNotification) else strays).append(str(message))

    server = plan.get("url") or StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"])
    mode = {"legacy": "legacy", "modern": "auto"}[plan["era"]]
    async with Client(server, mode=mode, message_handler=note, read_timeout_seconds=60) as client:
        show(
            {
                "step": "hello",
                "protocol": client.protocol_version,
                "server": plain(client.server_info),
                "instructions": client.instructions,
            }
        )
        answers: dict[str, Any] = {}
        told = 0
        for step in steps:
            said = await ask(client, step["ask"]) if "ask" in step else await use(client, step, answers)
            show({"step": step["step"], **said})
            # A report that comes after its call's answer is heard here alone.
            told += len(said.get("reports", ()))
        # What the server might still say after the last answer.
        await anyio.sleep(0.5)
        show({"step": "goodbye", "strays": strays + heard[told:]})


async def ask(client: Client, what: str) -> dict[str, Any]:
    methods = {"tools": client.list_tools, "resources": client.list_resources, "prompts": client.list_prompts}
    return {"items": [plain(item) for item in getattr(await methods[what](), what)]}


async def use(client: Client, step: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    reports: list[tuple[float, float, float | None, str | None]] = []
    started = time.monotonic()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((time.monotonic() - started, progress, total, message))

    arguments = {name: fill(value, answers) for name, value in step["arguments"].items()}
    watched = {"progress_callback": note} if step.get("progress") else {}
    try:
        answer = await client.call_tool(step["call"], arguments, **watched)
    except MCPError as error:
        return {"thrown": {"code": error.error.code, "message": error.error.message}}
    took = time.monotonic() - started
    answers[step["step"]] = answer.structured_content
    said = {
        "content": [plain(block) for block in answer.content],
        "structuredContent": answer.structured_content,
        "isError": answer.is_error,
    }
    return said | ({"reports": reports, "took": took} if watched else {})


def fill(value: object, answers: dict[str, Any]) -> object:
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    step, *path = value[1:].split(".")
    found = answers.get(step)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return f"no {value}" if found is None else found


def plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def show(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(talk, json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
