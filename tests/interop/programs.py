"""Checks by finished programs: the inspector, the conformance suite, and our own tests in a browser."""

import json
from pathlib import Path

import anyio
from environment import HERE, Environment, Findings, Outcome, run, serving, variables

_INSPECTOR = ("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
_SUITE = ("@modelcontextprotocol/conformance", "dist/index.js")
_REVISIONS = ("2025-11-25", "2026-07-28")
_TASKS_SERVER = HERE / "tasks_server.py"
_BROWSER = HERE.parent / "browser" / "run.mjs"


async def check_with_inspector(environment: Environment) -> Findings:
    """Ask the inspector what it finds, in both eras."""
    faults: Findings = {}

    async def look(era: str) -> None:
        faults[f"the inspector, {era}"] = [
            *await _inspect_list(environment, era),
            *await _inspect_call(environment, era),
            *await _inspect_rest(environment, era),
        ]

    async with anyio.create_task_group() as group:
        for era in ("legacy", "modern"):
            group.start_soon(look, era)
    return faults


async def _inspect_list(environment: Environment, era: str) -> list[str]:
    done = await _inspect(environment, era, "tools/list", "--strict")
    if done.code != 0 or done.errors:
        return [f"tools/list --strict: {done.tail}"]
    seen = await _inspect(environment, era, "tools/call", "--tool-name", "generate_image", "--app-info")
    if seen.code != 0:
        return [f"--app-info: {seen.tail}"]
    address = json.loads(seen.out)["resourceUri"]
    read = await _inspect(environment, era, "resources/read", "--uri", address)
    if read.code != 0 or "text/html;profile=mcp-app" not in read.out:
        return [f"resources/read of {address}: {read.tail}"]
    return []


async def _inspect_call(environment: Environment, era: str) -> list[str]:
    arguments = json.dumps({"prompt": "a lighthouse", "size": "1:1"})
    done = await _inspect(
        environment, era, "tools/call", "--tool-name", "generate_image", "--tool-args-json", arguments
    )
    if done.code != 0:
        return [f"tools/call: {done.tail}"]
    facts = json.loads(done.out)["structuredContent"]
    saved = [await anyio.Path(image["path"]).is_file() for image in facts.get("images", ())]
    return [] if facts["status"] == "SUCCEEDED" and saved == [True] else [f"tools/call said {facts}"]


async def _inspect_rest(environment: Environment, era: str) -> list[str]:
    faults: list[str] = []
    for method in ("resources/list", "prompts/list"):
        done = await _inspect(environment, era, method)
        if done.code != 0 or done.errors:
            faults.append(f"{method}: {done.tail}")
    return faults


async def _inspect(environment: Environment, era: str, method: str, *options: str) -> Outcome:
    folder = environment.make_folder(f"inspector/{era}/{method}{''.join(options[-1:])[:20]}")
    given = [f"{name}={value}" for name, value in variables(folder).items()]
    command = [*environment.program(*_INSPECTOR), "--cli", *(each for pair in given for each in ("-e", pair))]
    return await run([*command, *environment.server, "--method", method, "--protocol-era", era, *options], folder)


async def check_conformance(environment: Environment) -> Findings:
    """Run the suite of each revision against the server itself, and its scenarios about tasks against theirs."""
    faults: Findings = {}
    folder = environment.make_folder("conformance")
    async with serving([*environment.server, "serve", "--transport", "http", "--port", "0"], folder) as url:
        for revision in _REVISIONS:
            baseline = ["--expected-failures", str(HERE / f"conformance-{revision}.yml")]
            done = await _conform(environment, folder, url, "--requirements", revision, *baseline)
            faults[f"conformance, {revision}"] = [] if done.code == 0 else [done.tail]
        # This one is not yet among the requirements.
        done = await _conform(environment, folder, url, "--scenario", "http-header-validation")
        faults["conformance, http-header-validation"] = [] if done.code == 0 else [done.tail]
    faults["conformance, tasks"] = await _check_tasks(environment)
    return faults


async def _check_tasks(environment: Environment) -> list[str]:
    folder = environment.make_folder("tasks")
    listed = await run([*environment.program(*_SUITE), "list", "--server"], folder)
    names = [line.split()[1] for line in listed.out.splitlines() if line.strip().startswith("- tasks-")]
    faults = [] if names else [f"the suite names no scenario about tasks: {listed.tail}"]
    async with (
        serving([environment.python, str(_TASKS_SERVER), "0"], folder) as url,
        anyio.create_task_group() as group,
    ):

        async def play(name: str) -> None:
            done = await _conform(environment, folder, url, "--scenario", name)
            if done.code != 0:
                faults.append(f"{name}: {done.tail}")

        for name in names:
            group.start_soon(play, name)
    return faults


async def _conform(environment: Environment, folder: Path, url: str, *options: str) -> Outcome:
    # Without a folder of its own the suite writes its findings beside us.
    output = ["-o", str(folder / "findings")]
    return await run([*environment.program(*_SUITE), "server", "--url", url, *options, *output], folder, seconds=120)


async def check_in_browser(environment: Environment) -> Findings:
    """Run our tests in a browser."""
    if not environment.chromium:
        return {"the browser": "there is no Chromium, and it could not be installed"}
    extra = {
        "WAN_MCP_NODE_MODULES": str(environment.modules),
        "WAN_MCP_PYTHON": environment.python,
        "WAN_MCP_CHROMIUM": environment.chromium,
    }
    done = await run([environment.node, str(_BROWSER)], environment.make_folder("browser"), seconds=600, extra=extra)
    return {"the browser": [] if done.code == 0 else [done.tail]}
