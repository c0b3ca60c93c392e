"""What goes wrong with images: some are not made, some cannot be fetched or saved, some cannot be shown."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from contract.situations.situation import SMALL, Caller, Situation, Workspace
from fakes.dashscope import FakeService
from fakes.order_service import HURRY

LEGACY = "wan2.5-t2i-preview"
_AGAIN = "no: call get_task"


async def _one_failed(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        service.script_endings("partial")
        async with workspace.server(service) as call:
            return await call.make(model=LEGACY, n=2)


async def _one_missing(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        service.script_endings("partial")
        async with workspace.server(service) as call:
            return await call.make(n=2)


async def _not_written(workspace: Workspace):
    with FakeService(duration=60) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            shutil.rmtree(call.settings.output_dir, ignore_errors=True)
            call.settings.output_dir.write_text("in the way")
            service.advance(120)
            return await call("get_task", task_id=task["task_id"], wait_seconds=45)


async def _behind_a_link(workspace: Workspace):
    with FakeService(duration=60) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            outside = workspace.folder / "outside"
            outside.mkdir()
            call.settings.output_dir.rename(workspace.folder / "moved")
            call.settings.output_dir.symlink_to(outside)
            service.advance(120)
            return await call("get_task", task_id=task["task_id"], wait_seconds=45)


async def _folder_not_allowed_now(workspace: Workspace):
    album = workspace.folder / "album"
    with FakeService(duration=60) as service:
        async with workspace.server(service, WAN_MCP_ALLOWED_DIRS=str(album)) as call:
            task = await call.submit(output_dir=str(album))
        service.advance(120)
        async with workspace.server(service) as call:
            return await call("get_task", task_id=task["task_id"], wait_seconds=45)


async def _other_ending(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        async with workspace.server(service) as call:
            return await call.make(filename="hero.jpg")


async def _taken_name(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        async with workspace.server(service) as call:
            call.settings.output_dir.mkdir(parents=True)
            (call.settings.output_dir / "hero.png").write_text("of somebody")
            return await call.make(filename="hero.png")


def _bad(title: str, *faults: object, **environ: str) -> Situation:
    async def bring_about(workspace: Workspace):
        with FakeService(duration=0.05) as service:
            service.set_chance("image", 1.0, *faults)
            async with workspace.server(service, times=HURRY, **environ) as call:
                return await call.make()

    return Situation("saving", title, _AGAIN, "yes", bring_about)


async def _too_large(workspace: Workspace):
    with FakeService(duration=0.05, image_padding=5000) as service:
        async with workspace.server(service, WAN_MCP_MAX_IMAGE_BYTES="2000") as call:
            return await call.make()


async def _strange_host(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        async with workspace.server(service, WAN_MCP_IMAGE_HOSTS="images.example.com") as call:
            return await call.make()


SAVING = (
    Situation("saving", "one of several images failed", "yes, for the missing one", "yes", _one_failed),
    Situation("saving", "fewer images came than were ordered", "yes, for the missing one", "yes", _one_missing),
    Situation("saving", "the picture cannot be written", _AGAIN, "yes", _not_written),
    Situation("saving", "the image folder was replaced by a link", _AGAIN, "yes", _behind_a_link),
    Situation("saving", "the folder is not an allowed one any more", "not needed", "yes", _folder_not_allowed_now),
    Situation("saving", "the name has the ending of another format", "not needed", "yes", _other_ending),
    Situation("saving", "the name is taken", "not needed", "yes", _taken_name),
    _bad("the image host has trouble", "error-500"),
    _bad("the transfer breaks off", {"kind": "cut", "part": 0.5}),
    _bad("the image host closes the connection", "drop"),
    _bad("a sign-in page in place of the image", "html-200"),
    _bad("the bytes are no complete picture", "wrong-bytes"),
    _bad("the image host refuses", "error-403"),
    _bad("the image host sends to a private address", "redirect-private"),
    _bad("the image host redirects in a circle", "redirect-loop"),
    Situation("saving", "the image is larger than is accepted", _AGAIN, "yes", _too_large),
    Situation("saving", "the image lies at a host that is not allowed", _AGAIN, "yes", _strange_host),
)


def _fetch(title: str, url: str, repeat: str = "no") -> Situation:
    async def bring_about(workspace: Workspace):
        async with workspace.server() as call:
            return await call("download_image", url=url)

    return Situation("download_image", title, repeat, "no", bring_about)


async def _put_outside(workspace: Workspace):
    async with workspace.server() as call:
        made = await call.make(**SMALL)
        return await call("download_image", task_id=made.structured_content["task_id"], output_dir="/etc/assets")


async def _not_ready(workspace: Workspace):
    with FakeService(pending=60) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            return await call("download_image", task_id=task["task_id"])


async def _nothing_to_put(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        service.script_endings("moderated")
        async with workspace.server(service) as call:
            task = await call.make()
            return await call("download_image", task_id=task.structured_content["task_id"])


def _remove_pictures(call) -> None:
    for path in call.settings.output_dir.glob("*.png"):
        path.unlink()


async def _moved(workspace: Workspace):
    async with workspace.server() as call:
        made = await call.make(**SMALL)
        _remove_pictures(call)
        return await call("download_image", task_id=made.structured_content["task_id"], filename="shop")


async def _missing_one(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        service.script_endings("partial")
        async with workspace.server(service) as call:
            made = await call.make(model=LEGACY, n=2)
            return await call("download_image", task_id=made.structured_content["task_id"], index=1)


async def _outside_now(workspace: Workspace):
    album = workspace.folder / "album"
    async with workspace.server(WAN_MCP_ALLOWED_DIRS=str(album)) as call:
        made = await call.make(output_dir=str(album), filename="fox")
    async with workspace.server() as call:
        return await call("download_image", task_id=made.structured_content["task_id"], filename="shop")


DOWNLOADS = (
    _fetch("the address leads to another host", "https://example.com/a.png"),
    _fetch("the address is none", "file:///etc/passwd"),
    _fetch("the address has no signature", "https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com/1/a.png"),
    _fetch(
        "the address only looks like the service's", "https://dashscope-x.oss-cn-y.aliyuncs.com/a.png?Signature=b"
    ),
    _fetch("the address holds the picture itself", "data:image/png;base64,iVBORw0KGgo="),
    Situation("download_image", "the folder is not an allowed one, after the order", "no", "no", _put_outside),
    Situation(
        "download_image", "the saved file lies in a folder that is not allowed any more", "no", "no", _outside_now
    ),
    Situation("download_image", "the task has no images yet", "yes, later", "perhaps", _not_ready),
    Situation("download_image", "the task failed", "no", "no", _nothing_to_put),
    Situation("download_image", "the image was not made", "no", "yes", _missing_one),
    Situation("download_image", "the saved file is gone and is fetched again", "not needed", "no", _moved),
)


def _look(title: str, path: str, content: bytes | None = None) -> Situation:
    async def bring_about(workspace: Workspace):
        async with workspace.server() as call:
            if content is not None:
                call.settings.output_dir.mkdir(parents=True)
                (call.settings.output_dir / path).write_bytes(content)
            return await call("view_image", path=path)

    return Situation("view_image", title, "no", "no", bring_about)


async def _unsaved(workspace: Workspace):
    with FakeService(duration=0.05) as service:
        service.set_chance("image", 1.0, "error-500")
        async with workspace.server(service, times=HURRY) as call:
            made = await call.make()
            return await call("view_image", task_id=made.structured_content["task_id"])


async def _gone(workspace: Workspace):
    async with workspace.server() as call:
        made = await call.make(**SMALL)
        _remove_pictures(call)
        return await call("view_image", task_id=made.structured_content["task_id"])


async def _pipe(workspace: Workspace):
    async with workspace.server() as call:
        call.settings.output_dir.mkdir(parents=True)
        os.mkfifo(call.settings.output_dir / "pipe.png")
        return await call("view_image", path="pipe.png")


def _replace_by_link(path: Path, outside: Path) -> None:
    path.rename(outside)
    path.symlink_to(outside)


async def _replaced(workspace: Workspace):
    async with workspace.server() as call:
        made = await call.make(**SMALL)
        _replace_by_link(Path(made.structured_content["images"][0]["path"]), workspace.folder / "outside.png")
        return await call("view_image", task_id=made.structured_content["task_id"])


VIEWS = (
    _look("the path is outside the allowed folders", "/etc/hostname"),
    _look("there is no such file", "nothing.png"),
    Situation("view_image", "the path is that of a pipe or a device", "no", "no", _pipe),
    _look("the file is no picture", "notes.png", b"these are only words"),
    _look("the picture is damaged", "half.png", b"\x89PNG\r\n\x1a\n" + bytes(40)),
    Situation("view_image", "the image is not saved", "yes, once it is", "yes", _unsaved),
    Situation("view_image", "the saved file is gone", "no", "no", _gone),
    Situation("view_image", "a link to another place took the place of the saved file", "no", "no", _replaced),
)


def _in_sandbox(title: str, prompt: str, repeat: str, **arguments: object) -> Situation:
    async def bring_about(workspace: Workspace):
        async with workspace.server() as call:
            return await call.make(prompt=prompt, **arguments)

    return Situation("sandbox", title, repeat, "no", bring_about)


async def _slow(workspace: Workspace):
    async with workspace.server(times=1.0) as call:
        return await call.make_until(lambda: "RUNNING" in read_states(call), prompt="sandbox:slow")


def read_states(call: Caller) -> list[str]:
    try:
        with closing(sqlite3.connect(call.settings.state_dir / "ledger.sqlite3")) as file:
            return [status for (status,) in file.execute("SELECT status FROM orders")]
    except sqlite3.OperationalError:
        # It is being made.
        return []


SANDBOX = (
    _in_sandbox("the words are refused in the sandbox", "sandbox:refuse", "no"),
    _in_sandbox("a suspicion of rights in the sandbox", "sandbox:infringe", "no"),
    _in_sandbox("the task fails in the sandbox", "sandbox:fail", "no"),
    Situation("sandbox", "the task takes long in the sandbox", "no: call get_task", "no", _slow),
)
