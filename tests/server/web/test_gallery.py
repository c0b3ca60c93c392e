"""What the gallery's page is told: orders in pages, found by words and by what they are, and their pictures."""

import io
import sqlite3

import anyio
import pytest
from PIL import Image

from fakes.filled_ledger import SUBJECTS
from fakes.order_service import get, order, submit


async def read(gallery, path, **parameters):
    answer = await gallery.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def read_all(gallery, **parameters):
    """Read every page; give the pages."""
    pages, cursor = [], None
    while not pages or cursor:
        page = await read(gallery, "orders", **parameters, **({"cursor": cursor} if cursor else {}))
        pages.append(page["orders"])
        cursor = page["cursor"]
    return pages


async def ended(gallery):
    """Wait for orders that have ended: a caller hears of the files before the ledger does."""
    with anyio.fail_after(45):
        while not (orders := (await read(gallery, "orders"))["orders"]):
            await anyio.sleep(0.02)
    return orders


@pytest.mark.parametrize(
    ("path", "kind"), [("", "text/html"), ("gallery.js", "text/javascript"), ("gallery.css", "text/css")]
)
async def test_the_page_is_a_few_files_with_no_script_or_style_inside_a_document(gallery, path, kind):
    answer = await gallery.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    if not path:
        assert "<style" not in answer.text
        assert answer.text.count("<script") == answer.text.count("></script>") == 1
        assert "onclick" not in answer.text


async def test_an_empty_ledger_is_no_trouble_and_is_not_made(gallery, settings):
    assert (await read(gallery, "orders")) == {"orders": [], "cursor": None}
    assert (await read(gallery, "open"))["count"] == {"orders": 0, "images": 0}
    assert (await read(gallery, "costs"))["images"] == 0
    assert not (settings.state_dir / "ledger.sqlite3").exists()


async def test_every_order_comes_once_newest_first_in_pages(large_album, gallery):
    pages = await read_all(gallery)

    assert [len(page) for page in pages] == [60, 60, large_album - 120]
    entries = [entry for page in pages for entry in page]
    assert len({entry["id"] for entry in entries}) == large_album
    assert [entry["created_at"] for entry in entries] == sorted((e["created_at"] for e in entries), reverse=True)
    assert (await read(gallery, "open"))["count"] == {"orders": large_album, "images": 130}


async def test_an_order_is_told_with_all_that_was_asked_for_and_what_it_cost(album, gallery):
    first, second, *_ = (await read(gallery, "orders"))["orders"]

    assert first["request"]["prompt"] == f"{SUBJECTS[0]}, number 0"
    assert first["request"]["negative_prompt"] == "text, watermark, people"
    assert first["task"]["status"] == "SUCCEEDED"
    assert first["task"]["model"] == "wan2.6-t2i"
    assert first["image_indexes"] == [1]
    assert second["request"]["seed"] == 1
    assert second["actual_prompt"].endswith("a calm mood.")
    assert first["cost"] == first["cost_again"] == "about 0.03 USD (indicative, prices of 2026-05)"


@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        ("RED fox", "A red fox"),
        ("fox 9", "number 9"),
        ("ЖУРАВЛЕЙ", "Стая журавлей"),
        ("晨雾", "雨后的竹林小径"),
        ("00000000-0000-4000-8000-000000000007", "number 7"),
        ("local-000007", "number 7"),
    ],
)
async def test_words_are_found_in_prompts_and_ids_in_any_case(album, gallery, words, prompt):
    found = (await read(gallery, "orders", text=words))["orders"]

    assert found
    assert all(prompt in entry["request"]["prompt"] for entry in found)
    assert (await read(gallery, "open", text=words))["count"]["orders"] == len(found)


@pytest.mark.parametrize("words", ["fox' OR 1=1 --", "%", "_", '"', "fox\0", "x" * 3000])
async def test_no_words_are_more_than_words(album, gallery, words):
    assert (await read(gallery, "orders", text=words))["orders"] == []


async def test_filters_narrow_what_is_shown(album, gallery):
    everything = [entry for page in await read_all(gallery) for entry in page]

    async def ids(**parameters):
        return [entry["id"] for page in await read_all(gallery, **parameters) for entry in page]

    def those(fits):
        return [entry["id"] for entry in everything if fits(entry)]

    assert await ids(region="sandbox") == those(lambda e: e["task"]["region"] == "sandbox")
    assert await ids(model="wan2.7-image") == those(lambda e: e["task"]["model"] == "wan2.7-image")
    assert await ids(state="saved") == those(lambda e: e["task"]["status"] == "SUCCEEDED")
    assert await ids(state="failed") == those(lambda e: e["task"]["status"] == "FAILED")
    assert await ids(state="canceled") == those(lambda e: e["task"]["status"] == "CANCELED")
    middle = everything[10]["created_at"] + 0.5
    assert await ids(since=middle) == those(lambda e: e["created_at"] >= middle)
    assert await ids(until=middle) == those(lambda e: e["created_at"] < middle)
    assert await ids(state="open") == []


@pytest.mark.parametrize("parameters", [{"state": "nonsense"}, {"since": "yesterday"}, {"cursor": "x"}])
async def test_a_filter_that_no_page_sends_is_refused_in_words(album, gallery, parameters):
    answer = await gallery.get("orders", params=parameters)

    assert answer.status_code == 422
    assert answer.json()["message"]


async def test_an_order_that_goes_on_stands_among_the_open_ones_until_it_ends(service, gallery):
    task = await submit(service, "sandbox:slow a flower")
    (running,) = (await read(gallery, "open"))["orders"]
    assert running["task"]["status"] in ("PENDING", "RUNNING")
    assert running["is_open"]
    assert (await read(gallery, "orders"))["orders"] == []

    done = await order(service, "a lighthouse")
    assert [entry["id"] for entry in await ended(gallery)] == [done.local_id]
    assert [entry["id"] for entry in (await read(gallery, "open"))["orders"]] == [task.local_id]


async def test_looking_at_an_order_does_not_count_as_receiving_it(service, gallery, settings):
    task = await submit(service, "sandbox:slow a flower")
    for path in ("orders", "open", f"orders/{task.local_id}"):
        await read(gallery, path)

    with sqlite3.connect(settings.state_dir / "ledger.sqlite3") as database:
        ((delivered,),) = database.execute("SELECT delivered_at FROM orders")
    database.close()
    assert delivered is None


async def test_costs_are_summed_by_day_and_by_model(album, gallery):
    costs = await read(gallery, "costs")

    assert costs["images"] == 40
    assert sum(row["images"] for row in costs["days"]) == sum(row["images"] for row in costs["models"]) == 40
    by_model = {row["name"]: row["cost"] for row in costs["models"]}
    assert by_model["wan2.6-t2i · sandbox"] == {"text": "free", "amount": "free", "is_estimate": False}
    singapore = by_model["wan2.6-t2i · singapore"]
    assert singapore["is_estimate"]
    assert singapore["text"] == f"about {singapore['amount']} (indicative, prices of 2026-05)"


async def test_a_thumbnail_is_small_and_is_drawn_once(album, gallery, settings):
    first = await gallery.get("thumbnails/local-000001/1")
    (kept,) = (settings.state_dir / "thumbnails").iterdir()
    written = kept.stat().st_mtime_ns
    second = await gallery.get("thumbnails/local-000001/1")

    assert first.headers["content-type"] == "image/jpeg"
    assert first.content == second.content == kept.read_bytes()
    assert kept.stat().st_mtime_ns == written
    assert max(Image.open(io.BytesIO(first.content)).size) <= 448
    assert "immutable" in first.headers["cache-control"]


async def test_an_image_is_its_file(album, gallery):
    entry = await read(gallery, "orders/local-000001")
    answer = await gallery.get("images/local-000001/1")

    assert answer.content == await anyio.Path(entry["task"]["images"][0]["path"]).read_bytes()
    assert answer.headers["content-type"] == "image/png"


async def test_a_file_that_is_gone_is_told_as_such(album, gallery, settings):
    entry = await read(gallery, "orders/local-000001")
    await anyio.Path(entry["task"]["images"][0]["path"]).unlink()

    after = (await read(gallery, "orders"))["orders"][1]
    assert "images" not in after["task"]
    assert after["task"]["failed_images"][0]["code"] == "FileGone"
    for path in ("thumbnails/local-000001/1", "images/local-000001/1"):
        answer = await gallery.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "FileGone")


async def test_a_file_outside_the_allowed_folders_is_not_shown(album, gallery, settings, tmp_path):
    secret = tmp_path / "elsewhere.png"
    Image.new("RGB", (8, 8)).save(secret)
    link = settings.output_dir / "20261122-picture-000001-1.png"
    link.unlink()
    link.symlink_to(secret)

    for path in ("thumbnails/local-000001/1", "images/local-000001/1"):
        answer = await gallery.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "FileGone")


async def test_a_file_that_is_no_picture_any_more_is_not_shown(album, gallery, settings):
    (settings.output_dir / "20261122-picture-000001-1.png").write_bytes(b"<script>alert(1)</script>")

    for path in ("thumbnails/local-000001/1", "images/local-000001/1"):
        answer = await gallery.get(path)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path",
    [
        "images/../../etc/passwd/1",
        "images/%2e%2e%2f%2e%2e%2fetc%2fpasswd/1",
        "images/local-000001/1%2f..%2f..",
        "images/local-000001/99",
        "images/local-000001/0",
        "images/local-000001/-1",
        "thumbnails/nobody/1",
        "orders/nobody",
        "view.html",
        "gallery.py",
        "assets.py",
        "..%2fapp.py",
        "thumbnails/",
    ],
)
async def test_nothing_else_can_be_read(album, gallery, path):
    answer = await gallery.get(path)

    assert answer.status_code in (404, 422)
    assert b"root:" not in answer.content


async def test_a_task_that_is_still_open_when_the_page_is_read_ends_there_too(service, gallery):
    task = await submit(service, "a flower")
    await get(service, task.task_id)

    (entry,) = await ended(gallery)
    assert entry["task"]["images"][0]["path"].endswith(".png")
