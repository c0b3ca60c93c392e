"""Ordering again from the gallery: only for our own page, once for each press, as it was ordered."""

from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from fakes.bench import make_settings, order, running_service, submit
from fakes.dashscope_service import FakeService
from wan_mcp.web.guard import Secrets
from wan_mcp.web.site import make_site

HOST = "127.0.0.1:4711"
JSON = {"Content-Type": "application/json"}
OLD = "local-000003"
"""An order of the sandbox, made long ago."""


async def again(site, task_id, *, press="one", **options):
    return await site.post(f"orders/{task_id}/again", json={"press": press}, **options)


async def count(service, album):
    """Count the orders that came after those of the album."""
    return len((await service.list_tasks(status=None, limit=100, cursor=None, remote=False)).tasks) - album


async def test_the_same_is_ordered_anew_and_joins_nothing(album, service, site):
    before = (await site.get(f"orders/{OLD}")).json()
    first = (await again(site, OLD)).json()
    second = (await again(site, OLD, press="two")).json()

    assert len({OLD, first["id"], second["id"]}) == 3
    # What the old order left to the service is said by now.
    assert first["order"] | before["order"] == first["order"] == second["order"]
    assert await count(service, album) == 2


async def test_a_press_that_arrives_twice_is_one_order(album, service, site):
    answers = [await again(site, OLD) for _ in range(2)]

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
async def test_nobody_but_the_page_can_order(album, service, site, headers):
    answer = await site.post(f"orders/{OLD}/again", content=b'{"press": "one"}', headers=JSON | headers)

    assert answer.status_code in (403, 404)
    assert await count(service, album) == 0


async def test_a_sender_that_says_nothing_of_itself_cannot_order(album, service, site):
    del site.headers["Sec-Fetch-Site"]

    assert (await again(site, OLD)).status_code == 403
    assert (await again(site, OLD, headers={"Origin": "http://127.0.0.1:4711"})).status_code == 200
    assert await count(service, album) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"press": 1}', b'{"press": ""}', b"\xff", b'{"press": "' + b"x" * 5000 + b'"}']
)
async def test_a_body_that_the_page_does_not_send_orders_nothing(album, service, site, body):
    answer = await site.post(f"orders/{OLD}/again", content=body, headers=JSON)

    assert answer.status_code == 422
    assert await count(service, album) == 0


async def test_looking_orders_nothing(album, service, site):
    for path in ("", "orders", "open", "costs", f"orders/{OLD}", f"images/{OLD}/1"):
        assert (await site.get(path)).status_code == 200
    assert (await site.get(f"orders/{OLD}/again")).status_code == 405
    assert await count(service, album) == 0


async def test_a_region_without_a_key_is_told_in_words(album, service, site):
    answer = await again(site, "local-000000")

    assert answer.status_code == 422
    assert answer.json()["code"] == "MissingApiKey"
    assert "DASHSCOPE_API_KEY" in answer.json()["advice"] + answer.json()["message"]
    assert await count(service, album) == 0


async def test_an_unknown_order_cannot_be_ordered_again(service, site):
    answer = await again(site, "nobody")

    assert (answer.status_code, answer.json()["code"]) == (404, "TaskNotFound")


@asynccontextmanager
async def service_site(folder, *, environ=None, **options):
    """Give a service of the network, a service that orders there, and the site."""
    with FakeService(**options) as dashscope:
        async with running_service(make_settings(folder, dashscope, **(environ or {}))) as service:
            app = make_site(service, Secrets("token"), frozenset({HOST}))
            transport, headers = httpx.ASGITransport(app=app), {"Sec-Fetch-Site": "same-origin"}
            address = f"http://{HOST}/token/"
            async with httpx.AsyncClient(transport=transport, base_url=address, headers=headers) as site:
                yield dashscope, service, site


async def test_the_operators_limit_holds_here_too(tmp_path):
    async with service_site(tmp_path, environ={"WAN_MCP_DAILY_IMAGE_LIMIT": "1"}) as (dashscope, service, site):
        first = await order(service, "a flower")
        answer = await again(site, first.local_id)

        assert (answer.status_code, answer.json()["code"]) == (429, "DailyImageLimit")
        assert len(dashscope.creates) == 1


@pytest.mark.parametrize("act", ["cancel", "fetch"])
async def test_nobody_but_the_page_can_cancel_or_fetch(album, service, site, act):
    ordered = await submit(service, "sandbox:slow")
    path = f"orders/{ordered.local_id}/{act}"

    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example"},
        {"Content-Type": "text/plain"},
    ):
        assert (await site.post(path, content=b"{}", headers=JSON | headers)).status_code in (403, 404)
    assert (await site.get(path)).status_code == 405
    assert (await service.peek(ordered.local_id)).open
    assert (await site.post(f"orders/nobody/{act}", json={})).status_code == 404


async def test_an_order_that_has_not_begun_is_cancelled(tmp_path):
    async with service_site(tmp_path, pending=30.0) as (_, service, site):
        ordered = await submit(service)

        answer = await site.post(f"orders/{ordered.local_id}/cancel", json={})

        assert (answer.status_code, answer.json()["facts"]["status"]) == (200, "CANCELED")
        assert (await site.get(f"orders/{ordered.local_id}")).json()["facts"]["status"] == "CANCELED"


async def test_an_order_that_has_ended_is_not_cancelled_and_that_is_said(album, site):
    answer = await site.post(f"orders/{OLD}/cancel", json={})

    assert answer.status_code == 502
    assert "SUCCEEDED" in answer.json()["message"]
    assert (await site.get(f"orders/{OLD}")).json()["facts"]["status"] == "SUCCEEDED"


async def test_a_file_that_is_gone_is_fetched_again_and_nothing_is_ordered(tmp_path):
    async with service_site(tmp_path) as (dashscope, service, site):
        ordered = await order(service, "a flower", n=2)
        gone, kept = (Path(image.path) for image in ordered.images)
        before = gone.read_bytes()
        gone.unlink()

        facts = (await site.post(f"orders/{ordered.local_id}/fetch", json={})).json()["facts"]

        assert [image["path"] for image in facts["images"]] == [str(gone), str(kept)]
        assert gone.read_bytes() == before
        assert len(dashscope.creates) == 1


async def test_a_file_that_the_service_has_no_longer_is_told(album, service, site):
    entry = (await site.get(f"orders/{OLD}")).json()
    await anyio.Path(entry["facts"]["images"][0]["path"]).unlink()

    answer = await site.post(f"orders/{OLD}/fetch", json={})

    assert answer.status_code == 404
    assert answer.json()["code"] == "FileGone"
