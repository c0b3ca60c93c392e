"""From a temporary file to a name: verified, whole, never over another file."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from functools import partial
from hashlib import sha256
from pathlib import Path

import anyio
import pytest

from wan_mcp.storage import LocalStorage
from wan_mcp.storage.disk import Disk, publish, publish_by_placeholder
from wan_mcp.storage.drafts import TempName, make_temp_name, read_temp_name
from wan_mcp_tools.domain.errors import NotAnImageError, StorageError

on_linux = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")


class RecordingClock:
    def __init__(self):
        self.pauses = []

    def now(self):
        return 0.0

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        self.pauses.append(seconds)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


async def test_a_published_image_has_its_bytes_and_nothing_else_stays(storage, pictures, paint):
    data = paint(noisy=True, size=(600, 600))
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        for start in range(0, len(data), 10_000):
            await draft.write(data[start : start + 10_000])
        assert draft.size == len(data)
        facts = await draft.verify()
        assert not any(name.endswith(".png") for name in names_in(pictures))
        target = await draft.find_target("shop", facts.extension)
        assert await draft.publish(target)

    assert names_in(pictures) == ["shop.png"]
    assert (pictures / "shop.png").read_bytes() == data
    assert await storage.matches(target, facts.sha256)
    assert await storage.read_facts(target) == facts


async def test_the_name_appears_after_the_bytes_are_on_the_disk(pictures, paint, save):
    told = []

    def telling(name, function):
        def call(*arguments):
            told.append((name, names_in(pictures)))
            return function(*arguments)

        return call

    disk = Disk(
        sync=telling("sync", os.fsync),
        publish=telling("publish", publish),
        sync_folder=telling("sync folder", lambda opened: None),
    )

    await save(paint(), pictures, "shop", using=LocalStorage(pictures, disk=disk))

    assert [name for name, _ in told] == ["sync", "publish", "sync folder"]
    assert [names == ["shop.png"] for _, names in told] == [False, False, True]


async def test_what_comes_before_the_name_need_not_wait_for_the_disk_but_the_name_does(pictures, paint):
    is_kept, told = threading.Event(), []

    def sync_late(descriptor):
        assert is_kept.wait(30)
        told.append("sync")

    def publish_and_tell(*arguments):
        told.append("publish")
        return publish(*arguments)

    storage = LocalStorage(pictures, disk=Disk(sync=sync_late, publish=publish_and_tell))
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        facts = await draft.verify()
        target = await draft.find_target("shop", facts.extension)
        async with anyio.create_task_group() as group:
            group.start_soon(draft.publish, target)
            # Another call of the storage goes through meanwhile.
            assert not await storage.matches(target, facts.sha256)
            is_kept.set()
    assert told == ["sync", "publish"]
    assert names_in(pictures) == ["shop.png"]


async def test_a_failing_disk_is_an_error_with_the_words_of_the_system(pictures, paint, save):
    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(StorageError, match=os.strerror(errno.EIO)):
        await save(paint(), pictures, "shop", using=LocalStorage(pictures, disk=Disk(sync=fail)))
    assert names_in(pictures) == []


async def test_a_draft_that_is_not_published_leaves_nothing(storage, pictures, paint):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        assert len(names_in(pictures)) == 1

    assert names_in(pictures) == []


async def test_a_failing_caller_leaves_nothing(storage, pictures, paint):
    async def fail():
        async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
            await draft.write(paint())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert names_in(pictures) == []


async def test_a_cancelled_caller_leaves_nothing(storage, pictures, paint):
    opened = anyio.Event()

    async def hold():
        async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
            await draft.write(paint())
            opened.set()
            await anyio.sleep_forever()

    with anyio.fail_after(45):
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await opened.wait()
            assert len(names_in(pictures)) == 1
            group.cancel_scope.cancel()

    assert names_in(pictures) == []


async def test_a_restarted_draft_holds_only_what_came_after(storage, pictures, paint):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(b"half a picture" * 100_000)
        await draft.restart()
        assert draft.size == 0
        await draft.write(paint())
        facts = await draft.verify()
        await draft.publish(await draft.find_target("shop", facts.extension))

    assert (pictures / "shop.png").read_bytes() == paint()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("piece", [1000, 150_000, 10_000_000])
async def test_the_digest_is_that_of_the_file_whatever_pieces_it_came_in(storage, pictures, paint, form, piece):
    data = (
        paint(form, noisy=True, size=(700, 700), quality=95) if form != "PNG" else paint(noisy=True, size=(700, 700))
    )
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        for start in range(0, len(data), piece):
            await draft.write(data[start : start + piece])
            if start == 0 and piece < len(data):
                # A transfer that begins anew, because the host has another version by now.
                await draft.restart()
                await draft.write(data[:piece])
        facts = await draft.verify()
        target = await draft.find_target("shop", facts.extension)
        assert await draft.publish(target)

    assert target.read_bytes() == data
    assert facts.sha256 == sha256(data).hexdigest()
    assert facts.bytes == len(data)


async def test_a_picture_that_is_continued_after_its_check_is_checked_as_a_whole(storage, pictures, paint):
    data = paint(noisy=True, size=(700, 700))
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(data[:-5])
        with pytest.raises(NotAnImageError, match="cut PNG"):
            await draft.verify()
        await draft.write(data[-5:])
        facts = await draft.verify()
        assert await draft.publish(await draft.find_target("shop", facts.extension))

    assert (pictures / "shop.png").read_bytes() == data
    assert facts.sha256 == sha256(data).hexdigest()


@on_linux
async def test_what_a_full_disk_refused_is_told_by_the_check_at_the_latest(pictures):
    storage = LocalStorage(pictures, disk=Disk(create_new=lambda *_: os.open("/dev/full", os.O_WRONLY)))

    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(b"\0" * 200_000)
        with pytest.raises(StorageError, match="disk is full"):
            await draft.verify()


async def test_a_caller_that_is_cancelled_amid_a_large_picture_leaves_nothing(storage, pictures, paint):
    with anyio.fail_after(45), anyio.CancelScope() as scope:
        async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
            for _ in range(20):
                await draft.write(b"\0" * 300_000)
            scope.cancel()
            await draft.write(b"\0" * 5_000_000)
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert names_in(pictures) == []


async def test_bytes_that_are_no_picture_get_no_name(storage, pictures):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(b"<html>Gateway timeout</html>")
        with pytest.raises(NotAnImageError, match="HTML"):
            await draft.verify()
        with pytest.raises(RuntimeError):
            await draft.publish(pictures / "shop.png")

    assert names_in(pictures) == []


async def test_bytes_written_after_the_check_must_be_checked_again(storage, pictures, paint):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        await draft.verify()
        await draft.write(b"more")
        with pytest.raises(RuntimeError):
            await draft.publish(pictures / "shop.png")


async def test_a_name_elsewhere_or_with_another_ending_is_refused(storage, pictures, paint):
    (pictures / "below").mkdir()
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint("JPEG"))
        await draft.verify()
        for target in (pictures / "shop.png", pictures / "below" / "shop.jpg", pictures.parent / "shop.jpg"):
            with pytest.raises(ValueError, match="no name"):
                await draft.publish(target)
        for stem in ("../shop", "a/b", "", ".."):
            with pytest.raises(ValueError, match="no file name"):
                await draft.find_target(stem, ".jpg")


async def test_a_taken_name_is_counted_up(storage, pictures, paint, save, link):
    (pictures / "shop.png").write_text("of somebody")
    (pictures / "shop-2.json").write_text("{}")
    (pictures / "shop-3.jpeg").write_text("of somebody")
    link(pictures / "shop-4.webp", pictures / "nowhere")

    assert await save(paint(), pictures, "shop") == pictures / "shop-5.png"
    assert (pictures / "shop.png").read_text() == "of somebody"


async def test_a_name_that_was_taken_meanwhile_is_not_overwritten(storage, pictures, paint):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        facts = await draft.verify()
        target = await draft.find_target("shop", facts.extension)
        target.write_text("of somebody")

        assert not await draft.publish(target)
        assert target.read_text() == "of somebody"
        assert await draft.publish(await draft.find_target("shop", facts.extension))

    assert names_in(pictures) == ["shop-2.png", "shop.png"]


async def test_a_dangling_link_with_the_name_is_neither_followed_nor_replaced(
    storage, pictures, tmp_path, paint, link
):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        facts = await draft.verify()
        target = await draft.find_target("shop", facts.extension)
        link(target, tmp_path / "elsewhere.png")

        assert not await draft.publish(target)

    assert not (tmp_path / "elsewhere.png").exists()
    assert target.is_symlink()


@pytest.mark.parametrize("publishing", [publish, publish_by_placeholder], ids=["system", "no-hard-links"])
async def test_eight_publishers_of_one_name_get_eight_files(tmp_path, pictures, paint, save, publishing):
    storage = LocalStorage(pictures, disk=Disk(publish=publishing))
    images = [paint(size=(40 + number, 30), noisy=True) for number in range(8)]

    with anyio.fail_after(45):
        async with anyio.create_task_group() as group:
            for number, data in enumerate(images):
                group.start_soon(partial(save, data, pictures, "shop", using=storage, order_id=f"order-{number}"))

    assert names_in(pictures) == sorted(["shop.png", *(f"shop-{number}.png" for number in range(2, 9))])
    assert {path.read_bytes() for path in pictures.iterdir()} == set(images)


async def test_a_busy_file_is_tried_again_after_growing_pauses(pictures, paint, save):
    attempts = []

    def busy_twice(opened, temp, target):
        attempts.append(target)
        if len(attempts) <= 2:
            raise PermissionError(errno.EACCES, "used by another process")
        return publish(opened, temp, target)

    clock = RecordingClock()

    await save(paint(), pictures, "shop", using=LocalStorage(pictures, disk=Disk(publish=busy_twice), clock=clock))

    assert names_in(pictures) == ["shop.png"]
    assert clock.pauses == [0.05, 0.1]


async def test_a_file_that_stays_busy_is_an_error_in_words(pictures, paint, save):
    def busy(opened, temp, target):
        raise PermissionError(errno.EACCES, "used by another process")

    storage = LocalStorage(pictures, disk=Disk(publish=busy), clock=RecordingClock())

    with pytest.raises(StorageError, match="does not permit"):
        await save(paint(), pictures, "shop", using=storage)
    assert names_in(pictures) == []


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
@pytest.mark.parametrize("verified", [False, True])
async def test_a_draft_that_another_process_removed_is_an_error_and_no_file(storage, pictures, paint, verified):
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        if verified:
            await draft.verify()
        assert await storage.remove_temp_files(pictures, order_id="order", keep_owner="other") == 1
        with pytest.raises(StorageError, match="removed before"):
            await (draft.publish(pictures / "shop.png") if verified else draft.verify())

    assert names_in(pictures) == []


@on_linux
async def test_a_full_disk_is_an_error_with_the_folder_and_the_advice(pictures, paint, save):
    storage = LocalStorage(pictures, disk=Disk(create_new=lambda *_: os.open("/dev/full", os.O_WRONLY)))

    with pytest.raises(StorageError, match="disk is full") as refusal:
        await save(paint(), pictures, "shop", using=storage)
    assert str(pictures) in refusal.value.message
    assert "Free some space" in refusal.value.advice


@on_linux
async def test_a_disk_that_fills_up_stops_the_download_early(pictures):
    storage = LocalStorage(pictures, disk=Disk(create_new=lambda *_: os.open("/dev/full", os.O_WRONLY)))

    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        with pytest.raises(StorageError, match="disk is full"):
            await draft.write(b"\0" * 1_000_000)


@pytest.mark.skipif(os.name == "nt", reason="Windows moves no folder with an open file in it")
@pytest.mark.parametrize("place", ["nothing", "a link", "a new folder"])
async def test_a_draft_whose_folder_was_moved_leaves_nothing_in_it(storage, pictures, paint, tmp_path, place):
    moved = tmp_path / "moved"
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        pictures.rename(moved)
        if place == "a link":
            pictures.symlink_to(tmp_path)
        elif place == "a new folder":
            pictures.mkdir()
        with pytest.raises(StorageError):
            await draft.verify()

    assert names_in(moved) == []


async def test_a_draft_in_a_folder_that_is_gone_is_an_error_in_words(storage, pictures):
    pictures.rmdir()

    with pytest.raises(StorageError, match="not there"):
        async with storage.open_draft(pictures, order_id="order", index=1, owner="me"):
            pytest.fail("it opened")


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request):
    """Run under a umask; give it."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
async def test_a_published_image_has_the_rights_of_the_setting_whatever_the_umask(pictures, paint, save, mode, umask):
    storage = LocalStorage(pictures, file_mode=mode)

    saved = await save(paint(), pictures, "shop", using=storage)
    await storage.write_sidecar(saved, {"prompt": "x"})

    assert stat.S_IMODE(saved.stat().st_mode) == mode
    assert stat.S_IMODE(saved.with_suffix(".json").stat().st_mode) == mode
    assert saved.stat().st_nlink == 1


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_a_temporary_file_has_at_no_time_more_rights_than_the_image(pictures, paint):
    storage = LocalStorage(pictures, file_mode=0o400)
    modes = []

    def note():
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in pictures.iterdir())

    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        note()
        await draft.write(paint())
        note()
        facts = await draft.verify()
        note()
        await draft.publish(await draft.find_target("shop", facts.extension))
    note()

    assert all(mode & ~0o400 == 0 for mode in modes)
    assert len(modes) == 4


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_a_temporary_name_that_stands_for_something_else_is_not_published(
    storage, pictures, tmp_path, paint, link
):
    secret = tmp_path / "secret.png"
    secret.write_bytes(paint())
    async with storage.open_draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        facts = await draft.verify()
        target = await draft.find_target("shop", facts.extension)
        [temp] = pictures.iterdir()
        temp.unlink()
        link(temp, secret)
        with pytest.raises(StorageError, match="removed before"):
            await draft.publish(target)

    assert names_in(pictures) == []
    assert secret.read_bytes() == paint()


@pytest.mark.skipif(os.name == "nt", reason="an open folder cannot be moved there")
@pytest.mark.parametrize("step", ["create", "verify", "publish"])
async def test_a_folder_that_becomes_a_link_gets_nothing_and_neither_does_what_is_behind_it(  # noqa: PLR0917 - fixtures
    storage, pictures, tmp_path, paint, link, step
):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = pictures / "album"
    folder.mkdir()

    def replace():
        folder.rename(pictures / "moved")
        link(folder, outside)

    async def save():
        async with storage.open_draft(folder, order_id="order", index=1, owner="me") as draft:
            await draft.write(paint())
            if step == "create":
                replace()
            facts = await draft.verify()
            if step == "verify":
                replace()
            target = await draft.find_target("shop", facts.extension)
            if step == "publish":
                replace()
            await draft.publish(target)

    with pytest.raises(StorageError, match="album has become a link"):
        await save()
    assert names_in(outside) == []
    assert all(name.endswith(".part") for name in names_in(pictures / "moved"))


@pytest.mark.skipif(os.name == "nt", reason="needs the signal that nobody survives")
async def test_a_killed_process_leaves_a_temporary_file_to_remove_and_no_name(storage, pictures, paint):
    program = """
import sys
import anyio
from pathlib import Path
from wan_mcp.storage import LocalStorage

async def main():
    folder, data = Path(sys.argv[1]), sys.stdin.buffer.read()
    async with LocalStorage(folder).open_draft(folder, order_id="order", index=1, owner="dead") as draft:
        await draft.write(data)
        await draft.verify()
        print("verified", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""

    def run_and_kill():
        arguments = [sys.executable, "-c", program, str(pictures)]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(paint())
            process.stdin.close()
            said = process.stdout.readline()
            process.kill()
            return said, process.wait()

    with anyio.fail_after(45):
        assert await anyio.to_thread.run_sync(run_and_kill) == (b"verified\n", -signal.SIGKILL)

    assert [path.suffix for path in pictures.iterdir()] == [".part"]
    assert await storage.remove_temp_files(pictures, order_id="order", keep_owner="me") == 1
    assert names_in(pictures) == []


def leave_file(folder, order_id="order", index=1, owner="dead"):
    path = folder / make_temp_name(order_id=order_id, index=index, owner=owner)
    path.write_bytes(b"half")
    return path


@pytest.mark.parametrize(
    ("order_id", "owner"),
    [
        ("0385dc79-5ff8-4d82-bcb6-bcb5e11e1d2b", "a1b2c3"),
        ("../../escape", "host.example:99"),
        ("x" * 500, "y" * 500),
        ("花\ud800", "/"),
        ("", ""),
        ("CON", "a-b"),
    ],
)
def test_any_id_and_owner_make_a_plain_name_that_can_be_read_back(tmp_path, order_id, owner):
    name = make_temp_name(order_id=order_id, index=3, owner=owner)

    assert (tmp_path / name).parent == tmp_path
    assert name.isascii()
    assert len(name) <= 140
    assert read_temp_name(name).index == 3
    (tmp_path / name).write_bytes(b"")


def test_the_name_of_a_temporary_file_says_whose_it_is(tmp_path):
    name = make_temp_name(order_id="order-1-2", index=3, owner="me")

    assert name.startswith(".wan-mcp-order-1-2-3-me.")
    assert read_temp_name(name) == TempName("order-1-2", 3, "me")


async def test_the_temporary_files_of_an_order_by_other_owners_are_removed(storage, pictures):
    leave_file(pictures, index=1)
    leave_file(pictures, index=2, owner="host:1")
    kept = [
        leave_file(pictures, owner="me"),
        leave_file(pictures, order_id="order-1"),
        leave_file(pictures, order_id="orde"),
        pictures / "picture.png",
        pictures / ".wan-mcp-order-1-notes.txt",
    ]
    for path in kept[3:]:
        path.write_text("of somebody")

    assert await storage.remove_temp_files(pictures, order_id="order", keep_owner="me") == 2
    assert set(pictures.iterdir()) == set(kept)


async def test_without_an_owner_to_keep_all_temporary_files_of_the_order_are_removed(storage, pictures):
    leave_file(pictures, owner="me")
    leave_file(pictures, owner="dead")

    assert await storage.remove_temp_files(pictures, order_id="order", keep_owner=None) == 2


async def test_only_temporary_files_older_than_asked_are_removed(storage, pictures):
    old, young, picture = leave_file(pictures), leave_file(pictures), pictures / "old.part"
    picture.write_text("of somebody")
    os.utime(old, (1000, 1000))
    os.utime(picture, (1000, 1000))
    os.utime(young, (2000, 2000))

    assert await storage.remove_old_temp_files(pictures, older_than=1500) == 1
    assert set(pictures.iterdir()) == {young, picture}


async def test_a_folder_or_a_link_with_the_name_of_a_temporary_file_is_left_alone(storage, pictures, link):
    victim = pictures / "victim"
    victim.write_text("of somebody")
    folder = pictures / make_temp_name(order_id="order", index=1, owner="dead")
    folder.mkdir()
    alias = pictures / make_temp_name(order_id="order", index=1, owner="dead")
    link(alias, victim)

    assert await storage.remove_temp_files(pictures, order_id="order", keep_owner=None) == 0
    assert {folder, alias, victim} == set(pictures.iterdir())


async def test_a_folder_that_is_not_there_has_nothing_to_remove(storage, pictures):
    assert await storage.remove_temp_files(pictures / "nothing", order_id="order", keep_owner=None) == 0
    assert await storage.remove_old_temp_files(pictures / "nothing" / "below", older_than=1e12) == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that refuses")
async def test_a_folder_that_cannot_be_read_is_an_error_in_words(storage, pictures):
    pictures.chmod(0)
    try:
        with pytest.raises(StorageError, match="does not permit"):
            await storage.remove_old_temp_files(pictures, older_than=1e12)
    finally:
        pictures.chmod(0o700)
