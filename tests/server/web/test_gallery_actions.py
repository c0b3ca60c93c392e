"""Ordering again from the gallery: only for our own page, once for each press, as it was ordered."""

from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, order, running_service, submit
from wan_mcp.web.gallery import make_gallery_app
from wan_mcp.web.security import Secrets

HOST = "127.0.0.1:4711"
JSON = {"Content-Type": "application/json"}
OLD = "local-000003"
"""An order of the sandbox, made long ago."""


async def again(gallery, task_id, *, key="one", **options):
    return await gallery.post(f"orders/{task_id}/again", json={"idempotency_key": key}, **options)


async def count(service, album):
    """Count the orders that came after those of the album."""
    return len((await service.list_tasks(status=None, limit=100, cursor=None, remote=False)).tasks) - album


async def test_the_same_is_ordered_anew_and_joins_nothing(album, service, gallery):
    before = (await gallery.get(f"orders/{OLD}")).json()
    first = (await again(gallery, OLD)).json()
    second = (await again(gallery, OLD, key="two")).json()

    assert len({OLD, first["id"], second["id"]}) == 3
    # What the old order left to the service is said by now.
    assert first["request"] | before["request"] == first["request"] == second["request"]
    assert await count(service, album) == 2


async def test_a_press_that_arrives_twice_is_one_order(album, service, gallery):
    answers = [await again(gallery, OLD) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 409]
    assert await count(service, album) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:4711"},
        {"Origin": "http://127.0.0.1:4712"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Sec-Fetch-Site": ""},
    ],
)
async def test_nobody_but_the_page_can_order(album, service, gallery, headers):
    answer = await gallery.post(f"orders/{OLD}/again", content=b'{"idempotency_key": "one"}', headers=JSON | headers)

    assert answer.status_code in (403, 404)
    assert await count(service, album) == 0


async def test_a_sender_that_says_nothing_of_itself_cannot_order(album, service, gallery):
    del gallery.headers["Sec-Fetch-Site"]

    assert (await again(gallery, OLD)).status_code == 403
    assert (await again(gallery, OLD, headers={"Origin": "http://127.0.0.1:4711"})).status_code == 200
    assert await count(service, album) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"idempotency_key": 1}',
        b'{"idempotency_key": ""}',
        b"\xff",
        b'{"idempotency_key": "' + b"x" * 5000 + b'"}',
    ],
)
async def test_a_body_that_the_page_does_not_send_orders_nothing(album, service, gallery, body):
    answer = await gallery.post(f"orders/{OLD}/again", content=body, headers=JSON)

    assert answer.status_code == 422
    assert await count(service, album) == 0


async def test_looking_orders_nothing(album, service, gallery):
    for path in ("", "orders", "open", "costs", f"orders/{OLD}", f"images/{OLD}/1"):
        assert (await gallery.get(path)).status_code == 200
    assert (await gallery.get(f"orders/{OLD}/again")).status_code == 405
    assert await count(service, album) == 0


async def test_a_region_without_a_key_is_told_in_words(album, service, gallery):
    answer = await again(gallery, "local-000000")

    assert answer.status_code == 422
    assert answer.json()["code"] == "MissingApiKey"
    assert "DASHSCOPE_API_KEY" in answer.json()["advice"] + answer.json()["message"]
    assert await count(service, album) == 0


async def test_an_unknown_order_cannot_be_ordered_again(service, gallery):
    answer = await again(gallery, "nobody")

    assert (answer.status_code, answer.json()["code"]) == (404, "TaskNotFound")


@asynccontextmanager
async def service_gallery(folder, *, environ=None, **options):
    """Give a service of the network, a service that orders there, and the gallery."""
    with FakeService(**options) as dashscope:
        async with running_service(make_settings(folder, dashscope, **(environ or {}))) as service:
            app = make_gallery_app(service, Secrets("token"), frozenset({HOST}))
            transport, headers = httpx.ASGITransport(app=app), {"Sec-Fetch-Site": "same-origin"}
            address = f"http://{HOST}/token/"
            async with httpx.AsyncClient(transport=transport, base_url=address, headers=headers) as gallery:
                yield dashscope, service, gallery


async def test_the_operators_limit_holds_here_too(tmp_path):
    async with service_gallery(tmp_path, environ={"WAN_MCP_DAILY_IMAGE_LIMIT": "1"}) as (dashscope, service, gallery):
        first = await order(service, "a flower")
        answer = await again(gallery, first.local_id)

        assert (answer.status_code, answer.json()["code"]) == (429, "DailyImageLimit")
        assert len(dashscope.creates) == 1


@pytest.mark.parametrize("act", ["cancel", "fetch"])
async def test_nobody_but_the_page_can_cancel_or_fetch(album, service, gallery, act):
    ordered = await submit(service, "sandbox:slow")
    path = f"orders/{ordered.local_id}/{act}"

    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example"},
        {"Content-Type": "text/plain"},
    ):
        assert (await gallery.post(path, content=b"{}", headers=JSON | headers)).status_code in (403, 404)
    assert (await gallery.get(path)).status_code == 405
    assert (await service.peek(ordered.local_id)).open
    assert (await gallery.post(f"orders/nobody/{act}", json={})).status_code == 404


async def test_an_order_that_has_not_begun_is_cancelled(tmp_path):
    async with service_gallery(tmp_path, pending=30.0) as (_, service, gallery):
        ordered = await submit(service)

        answer = await gallery.post(f"orders/{ordered.local_id}/cancel", json={})

        assert (answer.status_code, answer.json()["task"]["status"]) == (200, "CANCELED")
        assert (await gallery.get(f"orders/{ordered.local_id}")).json()["task"]["status"] == "CANCELED"


async def test_an_order_that_has_ended_is_not_cancelled_and_that_is_said(album, gallery):
    answer = await gallery.post(f"orders/{OLD}/cancel", json={})

    assert answer.status_code == 502
    assert "SUCCEEDED" in answer.json()["message"]
    assert (await gallery.get(f"orders/{OLD}")).json()["task"]["status"] == "SUCCEEDED"


async def test_a_file_that_is_gone_is_fetched_again_and_nothing_is_ordered(tmp_path):
    async with service_gallery(tmp_path) as (dashscope, service, gallery):
        ordered = await order(service, "a flower", n=2)
        gone, kept = (Path(image.path) for image in ordered.images)
        before = gone.read_bytes()
        gone.unlink()

        facts = (await gallery.post(f"orders/{ordered.local_id}/fetch", json={})).json()["task"]

        assert [image["path"] for image in facts["images"]] == [str(gone), str(kept)]
        assert gone.read_bytes() == before
        assert len(dashscope.creates) == 1


async def test_a_file_that_the_service_has_no_longer_is_told(album, service, gallery):
    entry = (await gallery.get(f"orders/{OLD}")).json()
    await anyio.Path(entry["task"]["images"][0]["path"]).unlink()

    answer = await gallery.post(f"orders/{OLD}/fetch", json={})

    assert answer.status_code == 404
    assert answer.json()["code"] == "FileGone"
