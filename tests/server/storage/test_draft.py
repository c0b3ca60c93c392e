"""From a temporary file to a name: verified, whole, never over another file."""

import errno
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from wan_mcp.storage import LocalStorage
from wan_mcp.storage.disk import Disk, claim, claim_by_link, claim_by_placeholder
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


async def test_a_published_image_has_its_bytes_and_nothing_else_stays(gallery, pictures, paint):
    data = paint(noisy=True, size=(600, 600))
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        for start in range(0, len(data), 10_000):
            await draft.write(data[start : start + 10_000])
        assert draft.size == len(data)
        facts = await draft.verify()
        assert not any(name.endswith(".png") for name in names_in(pictures))
        target = await draft.target("shop", facts.extension)
        assert await draft.publish(target)

    assert names_in(pictures) == ["shop.png"]
    assert (pictures / "shop.png").read_bytes() == data
    assert await gallery.matches(target, facts.sha256)
    assert await gallery.facts(target) == facts


async def test_the_name_appears_after_the_bytes_are_on_the_disk(pictures, paint, save):
    told = []

    def telling(name, function):
        def call(*arguments):
            told.append((name, names_in(pictures)))
            return function(*arguments)

        return call

    disk = Disk(
        sync=telling("sync", os.fsync),
        claim=telling("claim", claim),
        sync_folder=telling("sync folder", lambda folder: None),
    )

    await save(paint(), pictures, "shop", using=LocalStorage(pictures, disk=disk))

    assert [name for name, _ in told] == ["sync", "claim", "sync folder"]
    assert [names == ["shop.png"] for _, names in told] == [False, False, True]


async def test_a_failing_disk_is_an_error_with_the_words_of_the_system(pictures, paint, save):
    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(StorageError, match=os.strerror(errno.EIO)):
        await save(paint(), pictures, "shop", using=LocalStorage(pictures, disk=Disk(sync=fail)))
    assert names_in(pictures) == []


async def test_a_draft_that_is_not_published_leaves_nothing(gallery, pictures, paint):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        assert len(names_in(pictures)) == 1

    assert names_in(pictures) == []


async def test_a_failing_caller_leaves_nothing(gallery, pictures, paint):
    async def fail():
        async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
            await draft.write(paint())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert names_in(pictures) == []


async def test_a_cancelled_caller_leaves_nothing(gallery, pictures, paint):
    opened = anyio.Event()

    async def hold():
        async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
            await draft.write(paint())
            opened.set()
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await opened.wait()
            assert len(names_in(pictures)) == 1
            group.cancel_scope.cancel()

    assert names_in(pictures) == []


async def test_a_restarted_draft_holds_only_what_came_after(gallery, pictures, paint):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(b"half a picture" * 100_000)
        await draft.restart()
        assert draft.size == 0
        await draft.write(paint())
        facts = await draft.verify()
        await draft.publish(await draft.target("shop", facts.extension))

    assert (pictures / "shop.png").read_bytes() == paint()


async def test_bytes_that_are_no_picture_get_no_name(gallery, pictures):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(b"<html>Gateway timeout</html>")
        with pytest.raises(NotAnImageError, match="HTML"):
            await draft.verify()
        with pytest.raises(RuntimeError):
            await draft.publish(pictures / "shop.png")

    assert names_in(pictures) == []


async def test_bytes_written_after_the_check_must_be_checked_again(gallery, pictures, paint):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        await draft.verify()
        await draft.write(b"more")
        with pytest.raises(RuntimeError):
            await draft.publish(pictures / "shop.png")


async def test_a_name_elsewhere_or_with_another_ending_is_refused(gallery, pictures, paint):
    (pictures / "below").mkdir()
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint("JPEG"))
        await draft.verify()
        for target in (pictures / "shop.png", pictures / "below" / "shop.jpg", pictures.parent / "shop.jpg"):
            with pytest.raises(ValueError, match="no name"):
                await draft.publish(target)
        for stem in ("../shop", "a/b", "", ".."):
            with pytest.raises(ValueError, match="no file name"):
                await draft.target(stem, ".jpg")


async def test_a_taken_name_is_counted_up(gallery, pictures, paint, save, link):
    (pictures / "shop.png").write_text("of somebody")
    (pictures / "shop-2.json").write_text("{}")
    (pictures / "shop-3.jpeg").write_text("of somebody")
    link(pictures / "shop-4.webp", pictures / "nowhere")

    assert await save(paint(), pictures, "shop") == pictures / "shop-5.png"
    assert (pictures / "shop.png").read_text() == "of somebody"


async def test_a_name_that_was_taken_meanwhile_is_not_overwritten(gallery, pictures, paint):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        facts = await draft.verify()
        target = await draft.target("shop", facts.extension)
        target.write_text("of somebody")

        assert not await draft.publish(target)
        assert target.read_text() == "of somebody"
        assert await draft.publish(await draft.target("shop", facts.extension))

    assert names_in(pictures) == ["shop-2.png", "shop.png"]


async def test_a_dangling_link_with_the_name_is_neither_followed_nor_replaced(
    gallery, pictures, tmp_path, paint, link
):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        facts = await draft.verify()
        target = await draft.target("shop", facts.extension)
        link(target, tmp_path / "elsewhere.png")

        assert not await draft.publish(target)

    assert not (tmp_path / "elsewhere.png").exists()
    assert target.is_symlink()


@pytest.mark.parametrize("claiming", [claim, claim_by_placeholder], ids=["system", "no-hard-links"])
async def test_eight_publishers_of_one_name_get_eight_files(tmp_path, pictures, paint, save, claiming):
    gallery = LocalStorage(pictures, disk=Disk(claim=claiming))
    images = [paint(size=(40 + number, 30), noisy=True) for number in range(8)]

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for number, data in enumerate(images):
                group.start_soon(partial(save, data, pictures, "shop", using=gallery, order_id=f"order-{number}"))

    assert names_in(pictures) == sorted(["shop.png", *(f"shop-{number}.png" for number in range(2, 9))])
    assert {path.read_bytes() for path in pictures.iterdir()} == set(images)


def test_a_refused_hard_link_falls_back_and_a_failed_fall_back_leaves_no_empty_file(tmp_path):
    folder = tmp_path / "a-folder-cannot-be-linked"
    folder.mkdir()

    with pytest.raises(OSError):
        claim_by_link(folder, tmp_path / "shop.png")

    assert names_in(tmp_path) == [folder.name]


def test_a_link_whose_answer_was_lost_counts_as_given(tmp_path):
    part, target = tmp_path / "x.part", tmp_path / "shop.png"
    part.write_text("a picture")
    target.hardlink_to(part)

    assert claim_by_link(part, target)
    assert names_in(tmp_path) == ["shop.png"]


async def test_a_busy_file_is_tried_again_after_growing_pauses(pictures, paint, save):
    attempts = []

    def busy_twice(part, target):
        attempts.append(target)
        if len(attempts) <= 2:
            raise PermissionError(errno.EACCES, "used by another process")
        return claim(part, target)

    clock = RecordingClock()

    await save(paint(), pictures, "shop", using=LocalStorage(pictures, disk=Disk(claim=busy_twice), clock=clock))

    assert names_in(pictures) == ["shop.png"]
    assert clock.pauses == [0.05, 0.1]


async def test_a_file_that_stays_busy_is_an_error_in_words(pictures, paint, save):
    def busy(part, target):
        raise PermissionError(errno.EACCES, "used by another process")

    gallery = LocalStorage(pictures, disk=Disk(claim=busy), clock=RecordingClock())

    with pytest.raises(StorageError, match="does not permit"):
        await save(paint(), pictures, "shop", using=gallery)
    assert names_in(pictures) == []


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
@pytest.mark.parametrize("verified", [False, True])
async def test_a_draft_that_another_process_swept_is_an_error_and_no_file(gallery, pictures, paint, verified):
    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        await draft.write(paint())
        if verified:
            await draft.verify()
        assert await gallery.sweep(pictures, order_id="order", keep_owner="other") == 1
        with pytest.raises(StorageError, match="removed before"):
            await (draft.publish(pictures / "shop.png") if verified else draft.verify())

    assert names_in(pictures) == []


@on_linux
async def test_a_full_disk_is_an_error_with_the_folder_and_the_remedy(pictures, paint, save):
    gallery = LocalStorage(pictures, disk=Disk(create_new=lambda path: os.open("/dev/full", os.O_WRONLY)))

    with pytest.raises(StorageError, match="disk is full") as refusal:
        await save(paint(), pictures, "shop", using=gallery)
    assert str(pictures) in refusal.value.message
    assert "Free some space" in refusal.value.advice


@on_linux
async def test_a_disk_that_fills_up_stops_the_download_early(pictures):
    gallery = LocalStorage(pictures, disk=Disk(create_new=lambda path: os.open("/dev/full", os.O_WRONLY)))

    async with gallery.draft(pictures, order_id="order", index=1, owner="me") as draft:
        with pytest.raises(StorageError, match="disk is full"):
            await draft.write(b"\0" * 1_000_000)


async def test_a_draft_in_a_folder_that_is_gone_is_an_error_in_words(gallery, pictures):
    pictures.rmdir()

    with pytest.raises(StorageError, match="not there"):
        async with gallery.draft(pictures, order_id="order", index=1, owner="me"):
            pytest.fail("it opened")


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_a_published_image_has_the_rights_of_an_ordinary_file(pictures, paint, save):
    ordinary = pictures / "ordinary"
    ordinary.write_text("")

    saved = await save(paint(), pictures, "shop")

    assert saved.stat().st_mode == ordinary.stat().st_mode
    assert saved.stat().st_nlink == 1


async def test_a_file_matches_only_its_very_content(gallery, pictures, paint, save):
    path = await save(paint(), pictures, "shop")
    facts = await gallery.facts(path)
    path.write_bytes(path.read_bytes() + b"x")

    assert not await gallery.matches(path, facts.sha256)
    assert not await gallery.matches(pictures / "nothing.png", facts.sha256)
    assert not await gallery.matches(pictures, facts.sha256)
    assert not await gallery.matches(path / "below", facts.sha256)


@pytest.mark.skipif(os.name == "nt", reason="needs the signal that nobody survives")
async def test_a_killed_process_leaves_a_part_to_sweep_and_no_name(gallery, pictures, paint):
    program = """
import sys
import anyio
from pathlib import Path
from wan_mcp.storage import LocalStorage

async def main():
    folder, data = Path(sys.argv[1]), sys.stdin.buffer.read()
    async with LocalStorage(folder).draft(folder, order_id="order", index=1, owner="dead") as draft:
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

    with anyio.fail_after(30):
        assert await anyio.to_thread.run_sync(run_and_kill) == (b"verified\n", -signal.SIGKILL)

    assert [path.suffix for path in pictures.iterdir()] == [".part"]
    assert await gallery.sweep(pictures, order_id="order", keep_owner="me") == 1
    assert names_in(pictures) == []
