"""The gallery shows what orders were made from, and orders changes of what was made."""

import hashlib
import io
import time
from dataclasses import replace

import anyio
import httpx
import pytest
from PIL import Image

from fakes.order_service import order, running_service
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import Order, Origin, Stage
from wan_mcp.ledger.backends.sqlite import SqliteDatabase
from wan_mcp.ledger.rows import insert_order
from wan_mcp.web.gallery import make_gallery_app
from wan_mcp.web.security import Secrets
from wan_mcp_tools.domain.requests import ImageRequest, InputImage, InputSource
from wan_mcp_tools.domain.tasks import TaskStatus

HOST = "127.0.0.1:4711"
SECRET_URL = "https://images.example.com/a.png?Signature=secret"


def draw(path, colour=(200, 60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (600, 400), colour).save(path)
    return path


def as_file(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return InputImage(InputSource.FILE, path.name, str(path), digest)


async def write_edit(settings, *images):
    """Write down an order that was made from pictures and has failed."""
    request = ImageRequest("wan2.7-image", "sandbox", "a blue door", "2K", images=tuple(images))
    failed = Order(
        local_id="local-edit",
        task_id="edit-1",
        origin=Origin.ORDERED,
        region="sandbox",
        account="account",
        model=request.model,
        wire_model=request.model,
        protocol="async",
        request=request,
        fingerprint="edit",
        images_ordered=1,
        folder=str(settings.output_dir),
        stage=Stage.CLOSED,
        status=TaskStatus.CANCELED,
        created_at=time.time() - 60,
        finished_at=time.time() - 50,
        delivered_at=time.time() - 50,
    )
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    database = SqliteDatabase(settings.state_dir / "ledger.sqlite3", SystemClock())
    await database.write(lambda tx: insert_order(tx, failed))
    await database.close()


@pytest.fixture
def open_gallery(settings):
    """Open the gallery over what is in the ledger by then."""

    class Opened:
        async def __aenter__(self):
            self._service = running_service(settings)
            self.service = await self._service.__aenter__()
            app = make_gallery_app(self.service, Secrets("token", "ticket"), frozenset({HOST}))
            headers = {"Host": HOST, "Sec-Fetch-Site": "same-origin"}
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            self.client = httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}/token/", headers=headers)
            return self

        async def __aexit__(self, *error):
            await self.client.aclose()
            await self._service.__aexit__(*error)

    return Opened


async def test_an_order_tells_what_it_was_made_from_and_no_secret_of_an_address(settings, open_gallery):
    room = draw(settings.output_dir / "room.png")
    web = InputImage(InputSource.URL, SECRET_URL)
    await write_edit(settings, as_file(room), InputImage(InputSource.TASK, "task-9#2", "/x", "0"), web)
    async with open_gallery() as gallery:
        told = (await gallery.client.get("orders/local-edit")).json()
    assert told["inputs"] == [
        {"number": 1, "name": "room.png", "has_thumbnail": True},
        {"number": 2, "name": "task-9#2", "has_thumbnail": True},
        {"number": 3, "name": "images.example.com", "has_thumbnail": False},
    ]


async def test_a_file_is_shown_small_as_long_as_it_is_the_one_that_was_ordered_with(settings, open_gallery):
    room = draw(settings.output_dir / "room.png")
    await write_edit(settings, as_file(room))
    async with open_gallery() as gallery:
        answer = await gallery.client.get("inputs/local-edit/1")
        assert answer.status_code == 200, answer.text
        assert max(Image.open(io.BytesIO(answer.content)).size) == 224
        draw(room, (9, 9, 9))
        changed = await gallery.client.get("inputs/local-edit/1")
        assert (changed.status_code, "changed since" in changed.json()["message"]) == (404, True)
        room.unlink()
        assert (await gallery.client.get("inputs/local-edit/1")).status_code == 404


async def test_an_earlier_result_is_shown_by_its_task(settings, open_gallery):
    async with open_gallery() as gallery:
        made = await order(gallery.service, region="sandbox", model="wan2.6-t2i")
        given = InputImage(InputSource.TASK, f"{made.task_id}#1", made.images[0].path, "0")
        await write_edit(settings, given)
        answer = await gallery.client.get("inputs/local-edit/1")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize("number", [0, 2, 99])
async def test_an_address_of_the_web_is_never_fetched_and_others_do_not_exist(settings, open_gallery, number):
    await write_edit(settings, InputImage(InputSource.URL, SECRET_URL))
    async with open_gallery() as gallery:
        for place in (1, number):
            assert (await gallery.client.get(f"inputs/local-edit/{place}")).status_code == 404
        assert (await gallery.client.get("inputs/local-other/1")).status_code == 404


async def test_a_file_outside_the_folders_is_not_shown_whatever_the_ledger_says(settings, open_gallery, tmp_path):
    outside = draw(tmp_path / "elsewhere" / "private.png")
    await write_edit(settings, as_file(outside))
    async with open_gallery() as gallery:
        answer = await gallery.client.get("inputs/local-edit/1")
    assert answer.status_code == 403


async def edit(gallery, made, index=1, *, prompt="the same but blue", key="one", **options):
    body = {"idempotency_key": key, "prompt": prompt}
    return await gallery.client.post(f"orders/{made.task_id}/edit/{index}", json=body, **options)


async def count(gallery):
    return len((await gallery.service.list_tasks(status=None, limit=100, cursor=None, remote=False)).tasks)


async def test_a_change_of_an_image_is_ordered_from_it_where_it_was_made(open_gallery):
    async with open_gallery() as gallery:
        made = await order(gallery.service, region="sandbox", model="wan2.6-t2i")
        quote = (await gallery.client.get(f"orders/{made.task_id}/edit/1")).json()
        assert (quote["model"], quote["region"]) == ("wan2.7-image", "sandbox")
        answer = await edit(gallery, made)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["request"]["images"] == [f"{made.task_id}#1"]
        assert told["request"]["prompt"] == "the same but blue"
        assert told["task"]["region"] == "sandbox"
        with anyio.fail_after(45):
            while told["is_open"]:
                await anyio.sleep(0.05)
                told = (await gallery.client.get(f"orders/{told['id']}")).json()
        assert told["task"]["status"] == "SUCCEEDED", told
        assert (await edit(gallery, made)).status_code == 409
        assert await count(gallery) == 2


async def test_a_change_of_what_was_made_from_pictures_keeps_model_and_seed(open_gallery):
    async with open_gallery() as gallery:
        made = await order(gallery.service, region="sandbox", model="wan2.7-image-pro", seed=7)
        told = (await edit(gallery, made)).json()
    assert (told["request"]["model"], told["request"]["seed"]) == ("wan2.7-image-pro", 7)


@pytest.mark.parametrize("prompt", ["", "  ", None, 7, ["a"]])
async def test_a_change_that_is_not_said_orders_nothing(open_gallery, prompt):
    async with open_gallery() as gallery:
        made = await order(gallery.service, region="sandbox", model="wan2.6-t2i")
        answer = await edit(gallery, made, prompt=prompt)
        assert (answer.status_code, await count(gallery)) == (422, 1)


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Content-Type": "text/plain"}]
)
async def test_nobody_but_the_page_can_order_a_change(open_gallery, headers):
    async with open_gallery() as gallery:
        made = await order(gallery.service, region="sandbox", model="wan2.6-t2i")
        answer = await edit(gallery, made, headers=headers)
        assert (answer.status_code >= 400, await count(gallery)) == (True, 1)


async def test_an_image_that_is_not_there_cannot_be_changed(open_gallery):
    async with open_gallery() as gallery:
        made = await order(gallery.service, region="sandbox", model="wan2.6-t2i")
        answers = [await edit(gallery, made, index) for index in (0, 2)]
        answers.append(await edit(gallery, replace(made, task_id="no-such")))
        assert [answer.status_code for answer in answers] == [404] * 3
        assert await count(gallery) == 1
