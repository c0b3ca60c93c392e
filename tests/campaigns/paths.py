"""
The campaign of paths: every folder, name and path that a caller can write, and files that change under a running server.

    python tests/campaigns/paths.py --cases 2000 --seed 1 --seconds 500

Pictures are ordered under hostile folders and names, copied there, and looked at from there; folders become links,
files or nothing while an order runs, again and again while it is saved; saved files are moved, replaced, cut, made pipes
and links to what nobody may see. The folders hold all of that beforehand: links in and out, in circles and to devices,
pipes, names that are no text. Prints a report and exits 1 if something crashed, a file outside the folders was shown,
copied or touched, a file was overwritten, a picture that was paid for is nowhere, something was paid twice, or the key
was told. Needs no network and no key, and makes links, pipes and names as POSIX has them.
"""

import argparse
import hashlib
import logging
import os
import random
import secrets
import stat
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, MCPError

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaigns.tally import LogKeeper, Tally
from fakes import tiny_png
from fakes.dashscope import FakeService
from fakes.order_service import QUICK, make_settings
from wan_mcp.app import build_server, build_service

PROMISES = (
    "crashes",
    "errors of 2 kB or more",
    "answers too large",
    "late answers",
    "secrets told",
    "files outside",
    "files overwritten",
    "lost pictures",
    "second payments",
    "temporary files left",
)
_MOST_SECONDS = 15.0
"""Longer than any wait that is asked for here, on a machine that has other things to do."""
_MOST_SETTLING_SECONDS = 60.0
_MOST_ANSWER_BYTES = {"view_image": 700_000}
_MOST_OTHER_BYTES = 12_000
_MOST_KNOWN = 40
_FLIP_SECONDS = (0.0002, 0.003)
_COPIES_UNDER_FLIPS = 6

_SECRET_SIZE = (31, 17)
_NAMES = (
    "fox", "fox.png", "FOX.PNG", "Fox.Png", "fox.json", "fox.jpg.exe", "fox.part", ".fox", ".", "..", "...", ". .", " ", " fox ",
    "fox.", "fox ", "-rf", "~", "~root", "$HOME", "%TEMP%", "$(id)", "`id`", "con", "CON", "nul.png", "aux.", "Com1.txt", "LPT9",
    "con .png", "CONIN$", "a:b", "a:b:$DATA", "fox\\..\\..\\x", "C:\\fox", "C:fox", "\\\\host\\share\\fox", "\\\\?\\C:\\fox",
    "//host/share/fox", "a/b", "a//b", "a/./b", "a/../b", "../x", "../../x", "file:///etc/passwd", "https://h/fox.png",
    "fox\x00.png", "fox\n.png", "fox\r", "\x1b[2J", "\x7f", "\u202egnp.xof", "\u200b", "\u200b..", "．．", "．．／x", "‥", "․․", "a∕b",
    "a／b", "⁄x", "e\u0301", "é", "\u212b", "ﬀ", "ſ", "ı", "Ⅷ", "fox\u00a0", "花店", "🦊", "👩‍👩‍👧‍👦" * 20, "\udcff", "\ud83d.png", "\udc80\udcff",
    "x" * 255, "x" * 256, "x" * 252 + ".png", "字" * 85, "字" * 86, "🦊" * 63, "e\u0301" * 130, "x" * 5_000, "a/" * 2_000 + "x",
    "../" * 500 + "etc/x", "a." * 120, "None", "null", "undefined", "", "*", "?", "<fox>", "|", '"', "'", "desktop.ini", ".git",
    "mine.png", "MINE.PNG", "mine", "out", "up", "circle", "dead", "pipe.png", "zero.png", "null.png", "secret.png", "inner.png",
    "locked",
)  # fmt: skip
_FURTHER = (
    "/", "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/dev/fd/0", "/dev/shm/wan-x", "/proc/self/cwd", "/proc/self/environ",
    "/proc/self/fd/0", "/proc/self/root/etc", "/etc", "/etc/passwd", "/root", "/nonexistent/x", "//etc", "///", "/..", "/./x",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How much is tried; `seconds` end it earlier."""

    cases: int = 2_000
    seed: int = 1
    seconds: float = 500.0


@dataclass(frozen=True)
class Known:
    """A picture that was told of: whose it is, and where it was."""

    task_id: str
    index: int
    path: Path


class Ground:
    """The folders of a campaign, with everything in them that a path can run into; `folder` must be new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures, self.album = folder / "pictures", folder / "album"
        self.outside, self.state = folder / "outside", folder / "state"
        self.allowed = (self.pictures, self.album)
        self.secret = tiny_png.encode(*_SECRET_SIZE, colour=(0, 0, 0), texts={"secret": "yes"})
        self.mine = tiny_png.encode(19, 23, colour=(9, 90, 9), texts={"whose": "the user's"})
        for each in (*self.allowed, self.outside / "sub", self.pictures / "locked"):
            each.mkdir(parents=True)
        for each in (self.outside, self.outside / "sub"):
            (each / "secret.png").write_bytes(self.secret)
        for each in self.allowed:
            self._furnish(each)
        (self.pictures / "locked").chmod(0o500)
        self._outside_before = self._list_outside()

    def _furnish(self, folder: Path) -> None:
        for name in ("mine.png", "fox.png", "x.json"):
            (folder / name).write_bytes(self.mine)
        for name, target in {
            "out": self.outside,
            "up": "..",
            "circle": "circle",
            "dead": "/nonexistent/folder",
            "secret.png": self.outside / "secret.png",
            "zero.png": "/dev/zero",
            "null.png": "/dev/null",
            "other": self.album,
            "inner.png": folder / "mine.png",
        }.items():
            (folder / name).symlink_to(target)
        os.mkfifo(folder / "pipe.png")
        no_text = os.fsencode(folder) + b"/\xff\xfe"
        Path(os.fsdecode(no_text)).mkdir()
        Path(os.fsdecode(no_text + b"/\x80.png")).write_bytes(self.mine)

    def _list_outside(self) -> set[tuple[Path, str]]:
        own = (*self.allowed, self.state)
        paths = [path for path in self.folder.rglob("*") if not any(path.is_relative_to(each) for each in own)]
        return {(path, _describe(path)) for path in paths}

    def find_changes_outside(self) -> Iterator[str]:
        """Name what is other than it was outside the folders."""
        for path, what in self._list_outside() ^ self._outside_before:
            yield f"{path} {what}"

    def find_overwritten(self) -> Iterator[str]:
        """Name the files of the user's own that are other than they were."""
        for folder in self.allowed:
            for name in ("mine.png", "fox.png", "x.json"):
                path = folder / name
                if path.is_symlink() or not path.is_file() or path.read_bytes() != self.mine:
                    yield str(path)

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Give every real file in the folders with what it holds."""
        for folder in self.allowed:
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = Path(parent, name)
                    if stat.S_ISREG(path.lstat().st_mode):
                        yield path, path.read_bytes()

    def is_inside(self, path: str) -> bool:
        """Say whether a path, as the system reads it, leads to a place in the folders."""
        try:
            real = Path(os.path.realpath(self.pictures / path))
        except (ValueError, OSError):
            return False
        return any(real.is_relative_to(each) for each in self.allowed)


def _describe(path: Path) -> str:
    status = path.lstat()
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
    # What lies in a folder is listed by itself, and its time changes as the folders beside it are swapped.
    return f"{stat.filemode(status.st_mode)} {digest}"


class Paths:
    """Writes paths, by dice."""

    def __init__(self, dice: random.Random, ground: Ground) -> None:
        self.dice = dice
        self._ground = ground

    def name(self) -> str:
        """Give a name of a file, or what stands for one."""
        dice = self.dice
        match dice.randrange(12):
            case 0:
                return dice.choice(_NAMES) + dice.choice(
                    (".png", ".jpg", ".webp", "/", "\\", " ", ".", "\u200d", ".PNG")
                )
            case 1:
                return dice.choice("ab花é🦊.") * dice.randrange(1, 300)
            case 2:
                return "".join(chr(dice.choice((dice.randrange(0x20), dice.randrange(0x3000)))) for _ in range(12))
            case _:
                return dice.choice(_NAMES)

    def path(self) -> str:
        """Give a path of a folder or of a file."""
        dice, ground = self.dice, self._ground
        if dice.random() < 0.1:
            return dice.choice(_FURTHER)
        bases = ("", "", ".", "..", "out", "up/outside", "other", "~", str(ground.pictures), str(ground.album))
        more = (
            str(ground.outside),
            str(ground.state),
            str(ground.folder),
            str(ground.pictures).upper(),
            "/proc/self/cwd",
        )
        parts = [dice.choice((*bases, *more)), *(self.name() for _ in range(dice.randrange(3)))]
        text = dice.choice(("/", "/", "/", "//", "/./", "\\")).join(part for part in parts if part) or self.name()
        return dice.choice(("", "", "", "", "file://", " ", "./")) + text

    def known(self, known: Known) -> str:
        """Give the path of a picture, or another way to it."""
        path = str(known.path)
        return self.dice.choice(
            (
                path,
                path,
                os.path.relpath(path, self._ground.pictures),
                path.replace("/", "//"),
                f"file://{path}",
                path.upper(),
            )
        )


class Campaign:
    """Tries everything and judges what comes of it; `folder` must be new."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._key = f"sk-{secrets.token_hex(16)}"
        self._ground = Ground(folder)
        self._dice = random.Random(plan.seed)
        self._paths = Paths(self._dice, self._ground)
        self._service = FakeService(duration=0.1, pending=0.0)
        self._known: deque[Known] = deque(maxlen=_MOST_KNOWN)
        self._orders = 0
        self._taken_away: set[tuple[str, int]] = set()
        self.report = Tally(f"paths: {plan.cases} cases, seed {plan.seed}", PROMISES, self._key)

    def run(self) -> Tally:
        """Run to the end and give the report."""
        anyio.run(self.attack)
        return self.report

    async def attack(self) -> None:
        """Try everything."""
        started = time.monotonic()
        log = LogKeeper()
        root = logging.getLogger()
        level, home = root.level, os.environ.get("HOME")
        # What is written to somebody's home is to be found, and not to be in the way of a person's own.
        os.environ["HOME"] = str(self._ground.outside)
        root.addHandler(log)
        root.setLevel(logging.DEBUG)
        try:
            with self._service:
                async with self._open() as client:
                    for _ in range(self._plan.cases):
                        if time.monotonic() - started > self._plan.seconds:
                            break
                        await self._try(client)
                    await self._settle(client)
                self._check_payments()
        finally:
            root.removeHandler(log)
            root.setLevel(level)
            if home is not None:
                os.environ["HOME"] = home
        self._check_files(log)
        self.report.seconds = time.monotonic() - started

    def _open(self) -> Client:
        settings = make_settings(
            self._ground.folder,
            self._service,
            DASHSCOPE_API_KEY=self._key,
            WAN_MCP_DAILY_IMAGE_LIMIT="0",
            WAN_MCP_ALLOWED_DIRS=str(self._ground.album),
        )
        timings = replace(QUICK, save_again_most=0.5)
        return Client(build_server(build_service(settings, timings=timings)), mode="auto")

    async def _try(self, client: Client) -> None:
        kinds = {"order": 20, "copy": 20, "look": 30, "swap a folder": 8, "flip a folder": 6, "move a file": 16}
        (kind,) = self._dice.choices([*kinds], [*kinds.values()])
        if not self._known:
            kind = "order"
        self.report.cases[kind] += 1
        match kind:
            case "order":
                await self._order(client, **self._choose_target())
            case "copy":
                await self._copy(client, self._dice.choice(self._known))
            case "look":
                await self._look(client)
            case "swap a folder":
                await self._order_under_swap(client)
            case "flip a folder":
                await self._order_under_flips(client)
            case _:
                await self._move(client, self._dice.choice(self._known))

    def _choose_target(self) -> dict[str, Any]:
        target: dict[str, Any] = {}
        if self._dice.random() < 0.7:
            target["output_dir"] = self._paths.path()
        if self._dice.random() < 0.7:
            target["filename"] = self._paths.name()
        return target

    # --- cases ------------------------------------------------------------------------------------------------------

    async def _order(self, client: Client, *, wait: float = 4.0, **target: Any) -> dict[str, Any]:
        self._orders += 1
        given = {
            "prompt": f"a fox, order {self._orders}.",
            "n": self._dice.choice((1, 1, 2)),
            "wait_seconds": wait,
            **target,
        }
        return await self._call(client, "generate_image", given)

    async def _copy(self, client: Client, known: Known) -> None:
        given = {"task_id": known.task_id, "index": known.index, **self._choose_target()}
        await self._call(client, "download_image", given)

    async def _look(self, client: Client) -> None:
        kind = self._dice.random()
        path = self._paths.known(self._dice.choice(self._known)) if kind < 0.3 else self._paths.path()
        await self._call(client, "view_image", {"path": path})

    async def _order_under_swap(self, client: Client) -> None:
        """Order into a folder that becomes something else while the order runs, and is back after a while."""
        ground, dice = self._ground, self._dice
        if dice.random() < 0.25:
            folder = ground.pictures
        else:
            folder = dice.choice(ground.allowed) / dice.choice(("swapped", "swapped/deep/er"))
            folder.mkdir(parents=True, exist_ok=True)
            folder = (
                dice.choice((folder, folder.parent)) if folder.parent.name.startswith(("swapped", "deep")) else folder
            )
        target = {} if folder == ground.pictures else {"output_dir": str(folder)}
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: self._order(client, **target))
            await anyio.sleep(dice.random() * 0.4)
            with self._swapped(folder):
                await anyio.sleep(dice.random() * 0.5)

    @contextmanager
    def _swapped(self, folder: Path) -> Iterator[None]:
        """Put something else in the place of a folder; it is back afterwards, with what was put there put aside."""
        kept = folder.with_name(f"{folder.name} kept {self._orders}")
        ground = self._ground
        if folder == ground.pictures:
            # Beside the folders, where nothing may appear: it is one of them all the while.
            kept = ground.state / "kept pictures"
        folder.rename(kept)
        # The server may have made a new folder there already.
        with suppress(FileExistsError, IsADirectoryError):
            match self._dice.choice(("link", "link", "nothing", "file", "circle", "inside", "pipe")):
                case "link":
                    folder.symlink_to(ground.outside)
                case "file":
                    folder.write_bytes(ground.mine)
                case "circle":
                    folder.symlink_to(folder)
                case "inside":
                    folder.symlink_to(ground.album)
                case "pipe":
                    os.mkfifo(folder)
                case _:
                    pass
        try:
            yield
        finally:
            _put_back(kept, folder, ground.album / f"aside {self._orders}")

    async def _order_under_flips(self, client: Client) -> None:
        """Order into a folder that is a folder and a link to the outside in turn, every few milliseconds."""
        folder = self._dice.choice(self._ground.allowed) / "flipped"
        folder.mkdir(exist_ok=True)
        kept, is_over = folder.with_name("flipped kept"), threading.Event()
        target = self._dice.choice((self._ground.outside, self._ground.outside / "sub"))
        there, pause = _list_names(target), self._dice.uniform(*_FLIP_SECONDS)

        def flip() -> None:
            while not is_over.is_set():
                folder.rename(kept)
                with suppress(FileExistsError):
                    folder.symlink_to(target)
                is_over.wait(pause)
                # What is there for a moment only was written there all the same.
                for name in _list_names(target) - there:
                    self.report.blame("files outside", f"{target}/{name} was there for a while")
                _put_back(kept, folder, self._ground.album / f"aside flipped {time.monotonic_ns()}")
                is_over.wait(pause)

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, flip)
            try:
                await self._order(client, wait=1.0, output_dir=str(folder))
                for _ in range(_COPIES_UNDER_FLIPS if self._known else 0):
                    known = self._dice.choice(self._known)
                    given = {"task_id": known.task_id, "index": known.index, "output_dir": str(folder)}
                    await self._call(client, "download_image", given)
                    await self._call(client, "view_image", {"path": f"{folder}/secret.png"})
            finally:
                is_over.set()

    async def _move(self, client: Client, known: Known) -> None:
        """Do something to a saved file, and ask for it in each way."""
        self._change_file(known)
        by_id = {"task_id": known.task_id, "index": known.index}
        await self._call(client, "view_image", self._dice.choice((by_id, {"path": str(known.path)})))
        await self._call(client, "get_task", {"task_id": known.task_id, "wait_seconds": 0})
        await self._call(client, "download_image", by_id | self._dice.choice(({}, self._choose_target())))

    def _change_file(self, known: Known) -> None:
        path, ground = known.path, self._ground
        if path.is_symlink() or not path.is_file() or (known.task_id, known.index) in self._taken_away:
            return
        data = path.read_bytes()
        new = self._dice.choice(ground.allowed) / f"moved {time.monotonic_ns()}.png"
        match self._dice.choice(
            ("move", "move", "link", "pipe", "folder", "zero", "other", "cut", "delete", "twice")
        ):
            case "move":
                path.rename(new)
            case "link":
                path.rename(new)
                path.symlink_to(ground.outside / "secret.png")
            case "pipe":
                path.rename(new)
                os.mkfifo(path)
            case "folder":
                path.rename(new)
                path.mkdir()
            case "zero":
                path.rename(new)
                path.symlink_to("/dev/zero")
            case "other":
                path.rename(new)
                path.write_bytes(ground.mine)
            case "twice":
                path.with_name(f"linked {time.monotonic_ns()}.png").hardlink_to(path)
            case "cut":
                self._taken_away.add((known.task_id, known.index))
                path.write_bytes(data[: len(data) // 2])
            case _:
                self._taken_away.add((known.task_id, known.index))
                path.unlink()

    # --- answers ----------------------------------------------------------------------------------------------------

    async def _call(self, client: Client, tool: str, given: dict[str, Any]) -> dict[str, Any]:
        case = f"{tool} {given!a:.300}"
        started = time.monotonic()
        facts: dict[str, Any] = {}
        try:
            with anyio.fail_after(_MOST_SECONDS):
                answer = await client.call_tool(tool, given)
        except TimeoutError:
            self.report.blame("late answers", case)
        except MCPError as error:
            self.report.weigh(str(error), case, is_error=True, most_bytes=_MOST_OTHER_BYTES)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the campaign looks for
            self.report.blame("crashes", f"{case}: {error!r}")
        else:
            text = answer.model_dump_json(by_alias=True, exclude_none=True)
            most = _MOST_ANSWER_BYTES.get(tool, _MOST_OTHER_BYTES)
            self.report.weigh(text, case, is_error=bool(answer.is_error), most_bytes=most)
            facts = answer.structured_content or {}
            self._judge(tool, given, answer, case)
        self.report.slowest = max(self.report.slowest, time.monotonic() - started)
        return facts

    def _judge(self, tool: str, given: dict[str, Any], answer: Any, case: str) -> None:
        if answer.is_error:
            return
        facts = answer.structured_content or {}
        for image in facts.get("images", []):
            path = Path(image["path"])
            if not any(path.is_relative_to(each) for each in self._ground.allowed):
                self.report.blame("files outside", f"{case}: {path}")
            with suppress(OSError, ValueError, KeyError):
                if stat.S_ISREG(path.lstat().st_mode):
                    texts = tiny_png.read_texts(path.read_bytes())
                    self._known.append(Known(texts["task_id"], int(texts["index"]), path))
        if (
            tool == "view_image"
            and answer.content
            and answer.content[0].type == "image"
            and _is_secret(answer.content[0].data)
        ):
            self.report.blame("files outside", f"{case}: it was shown")

    # --- what must hold in the end ----------------------------------------------------------------------------------

    async def _settle(self, client: Client) -> None:
        """Wait until nothing goes on: what was swapped is back, so every picture finds its place."""
        with anyio.move_on_after(_MOST_SETTLING_SECONDS):
            while any(
                not done for done in [await self._is_settled(client, task["id"]) for task in self._service.tasks]
            ):
                await anyio.sleep(0.1)

    async def _is_settled(self, client: Client, task_id: str) -> bool:
        answer = await client.call_tool("get_task", {"task_id": task_id, "wait_seconds": 0})
        return (answer.structured_content or {}).get("status") not in (
            "PENDING",
            "RUNNING",
            "SUBMIT_UNKNOWN",
        ) and all("url" not in image for image in (answer.structured_content or {}).get("failed_images", []))

    def _check_payments(self) -> None:
        prompts = Counter(task["prompt"] for task in self._service.tasks)
        for prompt, times in prompts.items():
            if times > 1:
                self.report.blame("second payments", f"{prompt}: {times} tasks")
        self.report.figures |= {"orders paid": len(self._service.tasks), "images paid": self._service.paid_images()}
        if self._service.authorization_at_image_host:
            self.report.blame("secrets told", "the key reached the image host")

    def _check_files(self, log: LogKeeper) -> None:
        found: set[tuple[str, int]] = set()
        for path, data in self._ground.files():
            if data == self._ground.secret:
                self.report.blame("files outside", f"{path} is a copy of what nobody may see")
            if path.suffix == ".part":
                self.report.blame("temporary files left", str(path))
            if self._key.encode() in data:
                self.report.blame("secrets told", str(path))
            if data.startswith(tiny_png.SIGNATURE):
                with suppress(KeyError, ValueError, IndexError):
                    texts = tiny_png.read_texts(data)
                    found.add((texts["task_id"], int(texts["index"])))
        self.report.figures["images found"] = len(found)
        for task in self._service.tasks:
            for index in range(1, task["paid_images"] + 1):
                if (task["id"], index) not in found | self._taken_away:
                    self.report.blame("lost pictures", f"{task['id']} image {index} ({task['prompt']})")
        for change in self._ground.find_changes_outside():
            self.report.blame("files outside", change)
        for path in self._ground.find_overwritten():
            self.report.blame("files overwritten", path)
        for crash in log.crashes:
            self.report.blame("crashes", crash)
        written = [*log.lines, *(path.read_bytes().decode("latin-1") for path in self._ground.state.glob("ledger*"))]
        if any(self._key in each for each in written):
            self.report.blame("secrets told", "the log or the ledger")


def _list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _put_back(kept: Path, folder: Path, aside: Path) -> None:
    """Put a folder back into its place; what came there meanwhile is put aside, for a picture may be in it."""
    while kept.exists():
        # Between two of these steps the server may make the folder anew.
        with suppress(OSError):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                folder.unlink()
            elif folder.exists():
                folder.rename(f"{aside} {time.monotonic_ns()}")
            kept.rename(folder)


def _is_secret(data: str) -> bool:
    """Say whether a picture that was shown has the shape of the one that nobody may see."""
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(b64decode(data))) as image:
        return image.size == _SECRET_SIZE


def main() -> int:
    """Run a campaign as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=Plan.cases)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--seconds", type=float, default=Plan.seconds)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wan-mcp-campaign-") as folder:
        report = Campaign(Plan(options.cases, options.seed, options.seconds), Path(folder) / "campaign").run()
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
