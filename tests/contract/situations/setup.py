"""What is wrong with the settings, the folders, the ledger, and the operator's limit."""

import os
import shutil
import sqlite3
from contextlib import closing

from contract.situations.situation import Situation, Workspace
from fakes.dashscope import FakeService
from wan_mcp.storage import LocalStorage
from wan_mcp.storage.disk import Disk

_KEY = {"DASHSCOPE_REGION": "singapore", "DASHSCOPE_API_KEY": "sk-test-singapore"}


def _setting(title: str, tool: str = "generate_image", arguments: dict | None = None, **environ: str) -> Situation:
    async def bring_about(workspace: Workspace):
        async with workspace.server(**environ) as call:
            return await call(tool, **(arguments or {"prompt": "a flower shop"}))

    return Situation("settings", title, "no", "no", bring_about)


SETTINGS = (
    _setting("no key", DASHSCOPE_REGION="singapore"),
    _setting("no key for a further region", arguments={"prompt": "a flower shop", "region": "beijing"}, **_KEY),
    _setting("the setting still holds a placeholder", DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-..."),
    _setting("a key of a token or coding plan", DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-sp-0123456789"),
    _setting("more than a key in the setting", DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-0123 4567"),
    _setting("the file of the key cannot be read", DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY_FILE_PATH="/none"),
    _setting("a region without a shared address", **(_KEY | {"DASHSCOPE_REGION": "frankfurt"})),
    _setting(
        "the address is one of another region",
        DASHSCOPE_HTTP_BASE_URL="https://dashscope.aliyuncs.com/api/v1",
        **_KEY,
    ),
    _setting("the default model is none", WAN_MCP_MODEL="wan9", **_KEY),
    _setting("list_tasks with remote=true and no key", "list_tasks", {"remote": True}),
)


def _limited(
    title: str, repeat: str, limit: str, *orders: int, setting: str = "WAN_MCP_DAILY_IMAGE_LIMIT"
) -> Situation:
    async def bring_about(workspace: Workspace):
        with FakeService(duration=60) as service:
            async with workspace.server(service, **{setting: limit}) as call:
                for number, n in enumerate(orders[:-1]):
                    await call.submit(prompt=f"flower shop {number}", n=n)
                return await call.make(n=orders[-1])

    return Situation("limits", title, repeat, "no", bring_about)


LIMITS = (
    _limited("the daily limit is reached", "yes, from the time that is named", "2", 2, 1),
    _limited("the daily limit leaves fewer images than wanted", "yes, from the time that is named", "3", 2, 2),
    _limited("one order with more images than the daily limit", "no", "2", 1, 3),
    _limited(
        "a limit of costs is reached",
        "yes, from the time that is named",
        "0.05 USD",
        1,
        1,
        setting="WAN_MCP_USER_DAILY_COST_LIMIT",
    ),
    _limited(
        "one order that costs more than a limit of costs", "no", "0.05 USD", 4, setting="WAN_MCP_MONTHLY_COST_LIMIT"
    ),
    _limited("a limit of costs in another currency", "no", "5 CNY", 1, setting="WAN_MCP_DAILY_COST_LIMIT"),
    _limited(
        "as many orders go on as are allowed", "yes, when one has ended", "1", 1, 1, setting="WAN_MCP_USER_OPEN_LIMIT"
    ),
)


def _ledger_of(call):
    return call.settings.state_dir / "ledger.sqlite3"


async def _locked(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            await call("list_tasks", remote=True)
            with closing(sqlite3.connect(_ledger_of(call), isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                return await call.make(wait_seconds=0)


def _ledger(title: str, code: bytes | int | None, repeat: str) -> Situation:
    async def bring_about(workspace: Workspace):
        with FakeService() as service:
            async with workspace.server(service) as call:
                path = _ledger_of(call)
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(code, bytes):
                    path.write_bytes(code)
                elif code is None:
                    path.mkdir()
                else:
                    with closing(sqlite3.connect(path)) as other:
                        other.execute(f"PRAGMA user_version = {code}")
                return await call.make()

    return Situation("ledger", title, repeat, "no", bring_about)


async def _state_folder(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            shutil.rmtree(call.settings.state_dir, ignore_errors=True)
            call.settings.state_dir.write_text("in the way")
            return await call.make()


async def _deleted(workspace: Workspace):
    with FakeService(duration=60) as service:
        async with workspace.server(service) as call:
            await call.submit(prompt="flower shop 0")
            _ledger_of(call).unlink()
            return await call.make()


LEDGER = (
    Situation("ledger", "another program has locked the ledger", "yes", "no", _locked),
    _ledger("the ledger is damaged", b"not a database, and longer than its header is" * 20, "no"),
    _ledger("a newer release wrote the ledger", 9_999, "no"),
    _ledger("the ledger is no file", None, "no"),
    Situation(
        "ledger", "the ledger was deleted, moved away or replaced under the running server", "no", "no", _deleted
    ),
    Situation("ledger", "the folder of the ledger cannot be used", "yes, once it can", "no", _state_folder),
)


async def _full(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(
            service,
            storage=lambda settings: LocalStorage(
                settings.output_dir, disk=Disk(count_free_bytes=lambda _: 1_048_576)
            ),
        ) as call:
            return await call.make()


async def _in_the_way(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            call.settings.output_dir.write_text("in the way")
            return await call.make()


async def _long_path(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            return await call.make(output_dir="/".join(["x" * 200] * 30))


async def _circle(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            call.settings.output_dir.mkdir(parents=True)
            (call.settings.output_dir / "round").symlink_to("round")
            return await call.make(output_dir="round")


async def _no_utf8(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            call.settings.output_dir.mkdir(parents=True)
            (call.settings.output_dir / "door").symlink_to(os.fsdecode(b"caf\xe9"))
            return await call.make(output_dir="door")


DISK = (
    Situation("disk", "the disk is full, before the order", "yes, once there is room", "no", _full),
    Situation("disk", "a file stands where the folder should be", "yes, once it is gone", "no", _in_the_way),
    Situation("disk", "the folder's path is too long", "no", "no", _long_path),
    Situation("disk", "the folder is a link that leads to itself", "no", "no", _circle),
    Situation("disk", "the folder has a name that is not UTF-8", "no", "no", _no_utf8),
)
