"""Uploads over real HTTP: what is taken, what is kept of it, and that an order is made with it."""

import io
import json
import re
import socket
import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from anyio import to_thread
from PIL import Image

from fakes.clock import FakeClock
from fakes.order_service import make_settings
from fakes.orders import accept, begin, make_request, placed
from fakes.stdio_client import ERAS
from fakes.team_server import running_team
from wan_mcp.app import open_ledger
from wan_mcp.ledger import DAY, Dispatch, RateLimit, Upload
from wan_mcp.orders.files.uploads import UploadStore
from wan_mcp.storage import LocalStorage
from wan_mcp_tools.domain.errors import CallLimitError, NotFoundError, StorageError
from wan_mcp_tools.domain.requests import InputImage, InputSource

PNG, JPEG = {"Content-Type": "image/png"}, {"Content-Type": "image/jpeg"}
SECRET = b"a remark that nobody else shall read"


def photo(width=800, height=600):
    """A JPEG that tells where it was taken, and what was remarked."""
    image = Image.radial_gradient("L").resize((width, height)).convert("RGB")
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    exif[0x9286] = SECRET
    exif[0x010E] = SECRET.decode()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=90)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb():
    """A few hundred bytes that claim nine hundred million pixels."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def kept(team):
    return sorted((team.folder / "pictures").rglob("uploads/*"))


async def upload(team, name, data, headers=JPEG):
    async with team.web(name) as web:
        answer = await web.post("/uploads", content=data, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("era", ERAS)
async def test_an_upload_is_kept_without_its_location_and_a_picture_is_made_from_it(tmp_path, era):
    data = photo()
    assert SECRET in data
    async with running_team(tmp_path) as team:
        told = await upload(team, "ada", data)
        assert told.keys() == {"upload_id", "expires_at", "width", "height", "bytes"}
        assert re.fullmatch(r"upload-[0-9a-f]{32}", told["upload_id"])
        left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
        assert 23.9 < left.total_seconds() / 3600 <= 24

        (file,) = kept(team)
        stored = file.read_bytes()
        assert (len(stored), told["width"], told["height"]) == (told["bytes"], 800, 600)
        with Image.open(io.BytesIO(stored)) as image:
            assert not image.getexif()
        assert SECRET not in stored
        assert file.stat().st_mode & 0o777 == 0o600

        arguments = {"prompt": "make it night", "images": [told["upload_id"]], "wait_seconds": 40}
        async with team.agent("ada", era) as ada:
            # It can be ordered with as often as somebody wants.
            for more in ({}, {"prompt": "make it day"}):
                answer = await ada.call_tool("generate_image", arguments | more)
                assert answer.structured_content["status"] == "SUCCEEDED", answer.content
            async with team.web() as web:
                made = await web.get(answer.structured_content["images"][0]["url"])
            assert made.headers["content-type"] == "image/png"
            (task,) = (await ada.read_resource(f"wan://tasks/{answer.structured_content['task_id']}")).contents
            assert json.loads(task.text)["order"]["arguments"]["images"] == [told["upload_id"]]
        assert kept(team) == [file]


async def test_an_upload_into_an_object_store_is_ordered_with_and_removed_when_it_is_over(tmp_path, bucket):
    async with running_team(tmp_path, **bucket.environ()) as team:
        told = await upload(team, "ada", photo())
        (key,) = [key for key in bucket.list_keys() if "/uploads/" in key]
        assert SECRET not in (bucket.folder / key).read_bytes()
        async with team.agent("ada") as ada:
            arguments = {"prompt": "make it night", "images": [told["upload_id"]], "wait_seconds": 40}
            answer = await ada.call_tool("generate_image", arguments)
            assert answer.structured_content["status"] == "SUCCEEDED", answer.content
        context = team.service._context
        clock = FakeClock(context.clock.now() + DAY + 3700)
        ledger = open_ledger(team.settings, clock)
        store = UploadStore(ledger, context.storage, clock)
        assert await store.remove_over() == 1
        await ledger.close()
        assert not [key for key in bucket.list_keys() if "/uploads/" in key]
        assert [key for key in bucket.list_keys() if key.endswith(".png")]


async def test_the_same_picture_orders_the_same_whatever_its_upload_is_called(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada:
        tasks = []
        for _ in range(2):
            told = await upload(team, "ada", photo())
            answer = await ada.call_tool("submit_task", {"prompt": "make it night", "images": [told["upload_id"]]})
            tasks.append(answer.structured_content["task_id"])
        (first, second) = tasks
        assert first == second


async def test_an_upload_is_anothers_as_one_that_nobody_has_made(tmp_path):
    async with running_team(tmp_path) as team:
        told = await upload(team, "ada", photo())
        words = {}
        for name in ("bob", "root"):
            async with team.agent(name) as client:
                for upload_id in (told["upload_id"], "upload-" + "0" * 32):
                    for tool in ("generate_image", "submit_task"):
                        answer = await client.call_tool(tool, {"prompt": "a fox", "images": [upload_id]})
                        assert answer.is_error
                        words[name, tool, upload_id] = answer.content[0].text.replace(upload_id, "ID")
        assert len(set(words.values())) == 1
        assert "There is no upload ID, or its 24 hours are over. Upload the picture again." in words.popitem()[1]


async def test_a_form_with_one_file_is_taken_and_what_is_no_such_form_is_not(tmp_path):
    async with running_team(tmp_path) as team, team.web("ada") as web:
        answer = await web.post("/uploads", files={"file": ("../../x.png", photo(), "text/html")})
        assert (answer.status_code, answer.json()["width"]) == (201, 800)
        none = await web.post("/uploads", files={"file": ("a.jpg", b"", "image/jpeg")})
        two = [("file", ("a.jpg", photo(), "image/jpeg")), ("file", ("b.jpg", photo(), "image/jpeg"))]
        field = await web.post("/uploads", files={"word": (None, "a fox")})
        broken = await web.post(
            "/uploads", content=b"--x\r\nno form", headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        nameless = await web.post("/uploads", content=b"--x", headers={"Content-Type": "multipart/form-data"})
        for refused in (none, await web.post("/uploads", files=two), field, broken, nameless):
            assert refused.status_code == 400
            assert refused.headers["content-type"].startswith("text/plain")
        assert len(kept(team)) == 1


async def test_what_is_no_picture_to_order_with_is_refused_in_words_and_nothing_is_kept(tmp_path):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    cut = photo()[:2000]
    cases = [
        (b"<!doctype html><script>alert(1)</script>", PNG, 415, "none that can be sent"),
        (svg, {"Content-Type": "image/svg+xml"}, 415, "SVG"),
        (b"\x89PNG\r\n\x1a\n" + b"<script>alert(1)</script>" * 9, PNG, 400, ""),
        (bomb(), PNG, 400, "too many to be read safely"),
        (cut, JPEG, 400, "cannot be used"),
        (b"", PNG, 400, "no picture in it"),
        (photo(), {"Content-Type": "text/html"}, 415, "No picture is sent as 'text/html'"),
        (photo(), {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Send one picture as the body"),
        (b"\xff" * 21_000_000, JPEG, 413, "at most 20 MB"),
    ]
    async with running_team(tmp_path) as team, team.web("ada") as web:
        for data, headers, status, words in cases:
            answer = await web.post("/uploads", content=data, headers=headers)
            assert (answer.status_code, words in answer.text) == (status, True), (data[:40], answer.text)
            assert "nosniff" in answer.headers["x-content-type-options"]
            assert str(tmp_path) not in answer.text

        async def in_pieces():
            for _ in range(21):
                yield b"\xff" * 1_000_000

        answer = await web.post("/uploads", content=in_pieces(), headers=JPEG)
        assert answer.status_code == 413
        form = await web.post("/uploads", files={"file": ("a.jpg", b"\xff" * 20_000_001, "image/jpeg")})
        assert form.status_code == 413
        assert kept(team) == []


async def test_only_who_may_order_may_upload(tmp_path):
    async with running_team(tmp_path) as team:
        for name, status in ((None, 401), ("reader", 403), ("bob", 201), ("root", 201)):
            async with team.web(name) as web:
                answer = await web.post("/uploads", content=photo(), headers=JPEG)
                assert answer.status_code == status
        async with team.web("ada") as web:
            assert (await web.get("/uploads")).status_code == 405
            assert (await web.post("/uploads", content=photo(), headers={**JPEG, "Host": "x"})).status_code == 421
            evil = {**JPEG, "Origin": "https://evil.example"}
            assert (await web.post("/uploads", content=photo(), headers=evil)).status_code == 403


async def test_a_body_that_breaks_off_leaves_nothing(tmp_path):
    def send_half(url, token):
        with socket.create_connection(("127.0.0.1", urlsplit(url).port), 10) as connection:
            head = f"POST /uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            connection.sendall(
                f"{head}Content-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n".encode() + b"\xff\xd8"
            )

    async with running_team(tmp_path) as team:
        await to_thread.run_sync(send_half, team.url, team.tokens["ada"])
        told = await upload(team, "ada", photo())
        assert [file.stem for file in kept(team)] == [told["upload_id"]]


@pytest.fixture
async def uploads(tmp_path):
    """A store of uploads at a time that a test moves, and the folder of the pictures."""
    clock = FakeClock()
    settings = await to_thread.run_sync(make_settings, tmp_path)
    ledger = open_ledger(settings, clock)
    storage = LocalStorage(settings.output_dir, clock=clock)
    yield UploadStore(ledger, storage, clock), ledger, clock, settings.output_dir
    await ledger.close()


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_an_upload_is_there_for_a_day_and_then_neither_its_file_nor_its_row_is(uploads):
    store, ledger, clock, folder = uploads
    kept_one = await store.keep(photo(), principal="token:ada")
    assert (await store.find(kept_one.id, principal="token:ada")).read_bytes()
    clock.advance(DAY - 1)
    assert await store.find(kept_one.id, principal="token:ada")
    clock.advance(2)
    with pytest.raises(NotFoundError):
        await store.find(kept_one.id, principal="token:ada")
    # An order may still wait to be sent.
    assert (await store.remove_over(), len(files_in(folder))) == (0, 1)
    clock.advance(3600)
    assert (await store.remove_over(), files_in(folder)) == (1, [])
    assert await ledger.uploads.list_over(since=-1e9, limit=9) == []
    assert await store.remove_over() == 0


async def test_an_upload_is_kept_until_the_order_that_waits_with_it_is_sent(uploads):
    store, ledger, clock, folder = uploads
    kept, _ = [await store.keep(photo(), principal="token:ada") for _ in range(2)]
    image = InputImage(InputSource.UPLOAD, kept.id)
    order = await placed(ledger, request=replace(make_request(), images=(image,)))
    clock.advance(3 * DAY)

    assert (await store.remove_over(), [path.stem for path in files_in(folder)]) == (1, [kept.id])
    with pytest.raises(NotFoundError):
        await store.find(kept.id, principal="token:ada")
    order = await ledger.orders.begin_sending(order, begin(order), Dispatch(None, RateLimit("create", 10.0)))
    assert await store.remove_over() == 0
    await accept(ledger, order)
    assert (await store.remove_over(), files_in(folder)) == (1, [])


async def test_what_a_killed_server_has_left_of_an_upload_is_removed_with_its_row(uploads):
    store, ledger, clock, folder = uploads
    other = await store.keep(photo(), principal="token:ada")
    home = (await store.find(other.id, principal="token:ada")).parent
    for number, exists in enumerate((True, False)):
        place = home / f"upload-{number:032x}.png"
        row = Upload(place.stem, "token:ada", str(place), width=1, height=1, bytes=1)
        await ledger.uploads.reserve(row, lifetime=DAY, most=9, most_bytes=10**9)
        if exists:
            place.write_bytes(b"half")
        with pytest.raises(NotFoundError):
            await store.find(place.stem, principal="token:ada")
    (home / ".wan-mcp-upload-0-abc.01234567.part").write_bytes(b"half")
    picture = home.parent / "upload-not-really.png"
    picture.write_bytes(b"a picture")
    clock.advance(10 * DAY)

    assert await store.remove_over() == 3
    assert files_in(folder) == [picture]


async def test_nothing_but_an_upload_is_ever_removed(uploads):
    store, _, _, folder = uploads
    picture = folder / "fox.png"
    folder.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    for place in (picture, folder / "uploads" / "fox.png", folder / ("upload-" + "0" * 32 + ".png")):
        with pytest.raises(ValueError, match="is no upload"):
            await store._storage.remove_upload(place, older_than=0)
    assert picture.exists()


async def test_what_cannot_be_removed_holds_up_nothing_else(uploads):
    _, ledger, clock, folder = uploads
    store = UploadStore(ledger, LocalStorage(folder, clock=clock), clock, at_once=2)
    good = await store.keep(photo(), principal="token:ada")
    home = (await store.find(good.id, principal="token:ada")).parent
    clock.advance(-60)
    # The names of the first are those of no upload; the folder of the next is there and none that can be entered.
    for number in range(3):
        row = Upload(f"upload-{number}", "token:ada", str(folder / f"{number}.png"), width=1, height=1, bytes=1)
        await ledger.uploads.reserve(row, lifetime=DAY, most=9, most_bytes=10**9)
    occupied = home / f"upload-{'1' * 32}.png"
    occupied.mkdir()
    row = Upload(occupied.stem, "token:ada", str(occupied), width=1, height=1, bytes=1)
    await ledger.uploads.reserve(row, lifetime=DAY, most=9, most_bytes=10**9)
    clock.advance(2 * DAY)

    assert (await store.remove_over(), files_in(folder)) == (1, [])
    assert len(await ledger.uploads.list_over(since=0, limit=9)) == 4
    occupied.rmdir()
    assert await store.remove_over() == 1


async def test_what_could_not_be_stored_locks_nobody_out_for_a_day(uploads):
    store, ledger, clock, _ = uploads
    other = await store.keep(photo(), principal="token:ada")
    home = (await store.find(other.id, principal="token:ada")).parent
    (home / f"{other.id}.jpg").unlink()
    home.rmdir()
    home.write_bytes(b"no folder")
    for _ in range(2):
        with pytest.raises(StorageError):
            await store.keep(photo(), principal="token:ada")
    small = Upload("upload-" + "1" * 32, "token:ada", "/x", width=1, height=1, bytes=1)
    with pytest.raises(CallLimitError) as refused:
        await ledger.uploads.reserve(small, lifetime=DAY, most=3, most_bytes=10**9)
    assert refused.value.retry_after == pytest.approx(600)
    clock.advance(601)

    assert await ledger.uploads.reserve(small, lifetime=DAY, most=3, most_bytes=10**9)


async def test_each_may_upload_so_much_in_a_day(uploads):
    _, ledger, clock, _ = uploads

    def row(number, size=10):
        return Upload(f"upload-{number:032x}", "token:ada", "/x", width=1, height=1, bytes=size)

    for number in range(3):
        await ledger.uploads.reserve(row(number), lifetime=DAY, most=3, most_bytes=1000)
        await ledger.uploads.confirm(row(number).id)
        clock.advance(60)
    with pytest.raises(CallLimitError) as refused:
        await ledger.uploads.reserve(row(9), lifetime=DAY, most=3, most_bytes=1000)
    assert refused.value.retry_after == pytest.approx(DAY - 180)
    with pytest.raises(CallLimitError):
        await ledger.uploads.reserve(row(9, 971), lifetime=DAY, most=9, most_bytes=1000)
    clock.advance(DAY - 179)
    await ledger.uploads.reserve(row(9), lifetime=DAY, most=3, most_bytes=1000)
