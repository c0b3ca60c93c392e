"""The judges that are finished programs: the inspector, the conformance suite, and our own tests in a browser."""

import json
from pathlib import Path

import anyio
from ground import HERE, Done, Ground, Verdicts, run, serving, variables

_INSPECTOR = ("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
_SUITE = ("@modelcontextprotocol/conformance", "dist/index.js")
_REVISIONS = ("2025-11-25", "2026-07-28")
_TASKS_SERVER = HERE / "tasks_server.py"
_BROWSER = HERE.parent / "browser" / "run.mjs"


async def judge_with_inspector(ground: Ground) -> Verdicts:
    """Ask the inspector what it finds, in both eras."""
    faults: Verdicts = {}

    async def look(era: str) -> None:
        faults[f"the inspector, {era}"] = [
            *await _inspect_list(ground, era),
            *await _inspect_call(ground, era),
            *await _inspect_rest(ground, era),
        ]

    async with anyio.create_task_group() as group:
        for era in ("legacy", "modern"):
            group.start_soon(look, era)
    return faults


async def _inspect_list(ground: Ground, era: str) -> list[str]:
    done = await _inspect(ground, era, "tools/list", "--strict")
    if done.code != 0 or done.errors:
        return [f"tools/list --strict: {done.tail}"]
    seen = await _inspect(ground, era, "tools/call", "--tool-name", "generate_image", "--app-info")
    if seen.code != 0:
        return [f"--app-info: {seen.tail}"]
    address = json.loads(seen.out)["resourceUri"]
    read = await _inspect(ground, era, "resources/read", "--uri", address)
    if read.code != 0 or "text/html;profile=mcp-app" not in read.out:
        return [f"resources/read of {address}: {read.tail}"]
    return []


async def _inspect_call(ground: Ground, era: str) -> list[str]:
    arguments = json.dumps({"prompt": "a lighthouse", "size": "1:1"})
    done = await _inspect(ground, era, "tools/call", "--tool-name", "generate_image", "--tool-args-json", arguments)
    if done.code != 0:
        return [f"tools/call: {done.tail}"]
    facts = json.loads(done.out)["structuredContent"]
    saved = [await anyio.Path(image["path"]).is_file() for image in facts.get("images", ())]
    return [] if facts["status"] == "SUCCEEDED" and saved == [True] else [f"tools/call said {facts}"]


async def _inspect_rest(ground: Ground, era: str) -> list[str]:
    faults: list[str] = []
    for method in ("resources/list", "prompts/list"):
        done = await _inspect(ground, era, method)
        if done.code != 0 or done.errors:
            faults.append(f"{method}: {done.tail}")
    return faults


async def _inspect(ground: Ground, era: str, method: str, *options: str) -> Done:
    room = ground.room(f"inspector/{era}/{method}{''.join(options[-1:])[:20]}")
    given = [f"{name}={value}" for name, value in variables(room).items()]
    command = [*ground.program(*_INSPECTOR), "--cli", *(each for pair in given for each in ("-e", pair))]
    return await run([*command, *ground.server, "--method", method, "--protocol-era", era, *options], room)


async def judge_conformance(ground: Ground) -> Verdicts:
    """Run the suite of each revision against the server itself, and its scenarios about tasks against theirs."""
    faults: Verdicts = {}
    room = ground.room("conformance")
    async with serving([*ground.server, "serve", "--transport", "http", "--port", "0"], room) as url:
        for revision in _REVISIONS:
            baseline = ["--expected-failures", str(HERE / f"conformance-{revision}.yml")]
            done = await _conform(ground, room, url, "--requirements", revision, *baseline)
            faults[f"conformance, {revision}"] = [] if done.code == 0 else [done.tail]
        # This one is not yet among the requirements.
        done = await _conform(ground, room, url, "--scenario", "http-header-validation")
        faults["conformance, http-header-validation"] = [] if done.code == 0 else [done.tail]
    faults["conformance, tasks"] = await _judge_tasks(ground)
    return faults


async def _judge_tasks(ground: Ground) -> list[str]:
    room = ground.room("tasks")
    listed = await run([*ground.program(*_SUITE), "list", "--server"], room)
    names = [line.split()[1] for line in listed.out.splitlines() if line.strip().startswith("- tasks-")]
    faults = [] if names else [f"the suite names no scenario about tasks: {listed.tail}"]
    async with serving([ground.python, str(_TASKS_SERVER), "0"], room) as url, anyio.create_task_group() as group:

        async def play(name: str) -> None:
            done = await _conform(ground, room, url, "--scenario", name)
            if done.code != 0:
                faults.append(f"{name}: {done.tail}")

        for name in names:
            group.start_soon(play, name)
    return faults


async def _conform(ground: Ground, room: Path, url: str, *options: str) -> Done:
    # Without a folder of its own the suite writes its findings beside us.
    output = ["-o", str(room / "findings")]
    return await run([*ground.program(*_SUITE), "server", "--url", url, *options, *output], room, seconds=120)


async def judge_in_browser(ground: Ground) -> Verdicts:
    """Run our tests in a browser."""
    if not ground.chromium:
        return {"the browser": "there is no Chromium, and it could not be installed"}
    more = {
        "WAN_MCP_NODE_MODULES": str(ground.modules),
        "WAN_MCP_PYTHON": ground.python,
        "WAN_MCP_CHROMIUM": ground.chromium,
    }
    done = await run([ground.node, str(_BROWSER)], ground.room("browser"), seconds=180, more=more)
    return {"the browser": [] if done.code == 0 else [done.tail]}
