"""The image host: links and parts of images."""

import hashlib
import io
import re
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import pytest
from PIL import Image


async def image_url(sandbox, **parameters):
    task = await sandbox.ended(
        await sandbox.order_legacy(**{"n": 1, "size": "512*512", "model": "wan2.2-t2i-flash"} | parameters)
    )
    return task["output"]["results"][0]["url"]


def fault(answer):
    root = ET.fromstring(answer.text)
    assert answer.headers["content-type"].startswith("application/xml")
    assert root.tag == "Error"
    return {child.tag: child.text for child in root}


async def bare(sandbox, url, **headers):
    del sandbox.client.headers["Authorization"]
    try:
        return await sandbox.client.get(url, headers=headers)
    finally:
        sandbox.client.headers["Authorization"] = "Bearer sk-test"


async def test_a_link_is_signed_and_dies_a_day_after_the_end(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy(n=1))
    url = task["output"]["results"][0]["url"]
    assert re.fullmatch(
        r"http://sandbox\.invalid/results/\w\w/\w\w/20260102/\w{8}/[0-9a-f-]{36}-1\.png"
        r"\?Expires=\d+&OSSAccessKeyId=LTAI\w+&Signature=[A-Za-z0-9%]+",
        url,
    )
    assert parse_qs(urlsplit(url).query)["Expires"] == [str(int(1_767_323_047.678) + 86_400)]


async def test_links_stand_on_the_public_url_if_one_is_set(open_sandbox):
    sandbox = open_sandbox(public_url="https://pictures.example/base/")
    task = await sandbox.ended(await sandbox.order_async(n=1))
    (part,) = task["output"]["choices"][0]["message"]["content"]
    assert part["image"].startswith("https://pictures.example/base/results/")


@pytest.mark.parametrize("size", ["512*1440", "1440*512", "513*777"])
async def test_a_link_gives_a_png_of_the_ordered_size_without_a_key(sandbox, size):
    answer = await bare(sandbox, await image_url(sandbox, size=size))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    assert (image.format, f"{image.width}*{image.height}") == ("PNG", size)
    assert answer.headers["etag"] == f'"{hashlib.md5(answer.content).hexdigest().upper()}"'
    assert "x-sandbox-warning" not in answer.headers
    assert sandbox.app.state.image_host.keys_seen == 0


async def test_a_key_that_reaches_the_image_host_is_noticed(sandbox, caplog):
    answer = await sandbox.client.get(await image_url(sandbox))
    assert answer.status_code == 200
    assert "Authorization" in answer.headers["x-sandbox-warning"]
    assert sandbox.app.state.image_host.keys_seen == 1
    assert "sk-test" not in caplog.text


async def test_an_expired_link_is_refused_as_the_object_store_does_it(open_sandbox):
    sandbox = open_sandbox(link_life=60)
    url = await image_url(sandbox)
    answer = await bare(sandbox, url)
    assert answer.status_code == 403
    error = fault(answer)
    assert (error["Code"], error["Message"]) == ("AccessDenied", "Request has expired.")
    assert error["Expires"] == "2026-01-02T03:05:07.000Z"
    assert error["ServerTime"] == "2026-01-02T03:05:45.000Z"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-1.png", "-2.png"),
        ("Expires=1", "Expires=2"),
        ("LTAI", "LTAX"),
        ("Signature=", "Signature=A"),
        ("results/", "results/x"),
    ],
)
async def test_an_altered_link_is_refused(sandbox, old, new):
    url = await image_url(sandbox)
    assert old in url
    answer = await bare(sandbox, url.replace(old, new))
    assert (answer.status_code, fault(answer)["Code"]) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("query", ["", "?Expires=1", "?Expires=soon&OSSAccessKeyId=x&Signature=y"])
async def test_a_link_without_its_signature_is_refused(sandbox, query):
    url = await image_url(sandbox)
    answer = await bare(sandbox, url.partition("?")[0] + query)
    assert (answer.status_code, fault(answer)["Code"]) == (403, "AccessDenied")


async def test_a_link_is_good_for_its_method_only(sandbox):
    assert (await sandbox.client.head(await image_url(sandbox))).status_code == 403


async def test_an_image_whose_task_is_forgotten_is_no_more(open_sandbox):
    sandbox = open_sandbox(link_life=200_000)
    url = await image_url(sandbox)
    assert (await bare(sandbox, url)).status_code == 200
    sandbox.clock.time += 86_400
    answer = await bare(sandbox, url)
    assert (answer.status_code, fault(answer)["Code"]) == (404, "NoSuchKey")


RANGES = [
    ("bytes=0-99", {}, 206, slice(0, 100)),
    ("bytes=100-", {}, 206, slice(100, None)),
    ("bytes=-50", {}, 206, slice(-50, None)),
    ("bytes=0-9,20-29", {}, 206, slice(0, 10)),
    ("bytes=9-0", {}, 200, slice(None)),
    ("bytes=9-0", {"x-oss-range-behavior": "standard"}, 200, slice(None)),
    ("byte=0-9", {}, 200, slice(None)),
    ("bytes=-", {}, 200, slice(None)),
    ("bytes=0-99999999", {}, 200, slice(None)),
    ("bytes=0-99999999", {"x-oss-range-behavior": "standard"}, 206, slice(None)),
    ("bytes=99999999-", {}, 200, slice(None)),
    ("bytes=0-9", {"If-Range": '"other"'}, 200, slice(None)),
]


@pytest.mark.parametrize(("wanted", "headers", "status", "part"), RANGES)
async def test_parts_are_given_as_the_object_store_gives_them(sandbox, wanted, headers, status, part):
    url = await image_url(sandbox)
    whole = (await bare(sandbox, url)).content
    answer = await bare(sandbox, url, Range=wanted, **headers)
    assert (answer.status_code, answer.content) == (status, whole[part])
    if status == 206:
        first, last, _ = part.indices(len(whole))
        assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(whole)}"


async def test_a_range_behind_the_end_is_refused_in_the_standard_behaviour(sandbox):
    headers = {"Range": "bytes=99999999-", "x-oss-range-behavior": "standard"}
    answer = await bare(sandbox, await image_url(sandbox), **headers)
    assert (answer.status_code, fault(answer)["Code"]) == (416, "InvalidRange")


async def test_conditions_are_kept(sandbox):
    url = await image_url(sandbox)
    etag = (await bare(sandbox, url)).headers["etag"]
    answer = await bare(sandbox, url, **{"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert (await bare(sandbox, url, **{"If-Match": '"other"'})).status_code == 412


async def test_the_images_of_an_order_differ_and_the_same_seed_paints_the_same(sandbox):
    async def images(seed, n):
        task = await sandbox.ended(
            await sandbox.order_legacy(model="wan2.2-t2i-flash", size="512*512", n=n, seed=seed)
        )
        return [(await bare(sandbox, result["url"])).content for result in task["output"]["results"]]

    first, second = await images(7, 2)
    assert first != second
    assert await images(7, 1) == [first]
    assert await images(8, 1) == [second]
