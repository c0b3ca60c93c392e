"""Links to images, over real HTTP: who gets a picture by which link or token, and in which form."""

import hashlib
import json
import logging
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from fakes.clock import until
from fakes.stdio_client import ERAS
from fakes.tasks_client import Tasks
from fakes.team_server import running_team

NOT_THERE = (404, "There is no such image, or its link is over: get_task or download_image gives a new one.\n")


async def make(client, **arguments):
    answer = await client.call_tool("generate_image", {"prompt": "a red fox", "wait_seconds": 40} | arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


def change(url, **values):
    """Give a link with other values in it; None takes one out."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | values
    return urlunsplit(
        parts._replace(query=urlencode({name: each for name, each in query.items() if each is not None}))
    )


@pytest.mark.parametrize("era", ERAS)
async def test_every_answer_with_an_image_has_a_link_in_the_place_of_a_path(tmp_path, era):
    async with running_team(tmp_path) as team, team.agent("ada", era) as ada:
        made = await make(ada, n=2, filename="fox")
        told = [made]
        told.append((await ada.call_tool("get_task", {"task_id": made["task_id"]})).structured_content)
        for more in ({}, {"format": "webp", "max_side": 64}, {"filename": "vixen"}):
            answer = await ada.call_tool("download_image", {"task_id": made["task_id"], "index": 2} | more)
            told.append(answer.structured_content)
        (task,) = (await ada.read_resource(f"wan://tasks/{made['task_id']}")).contents
        told.append(json.loads(task.text))
        (image,) = (await ada.read_resource(f"wan://images/{made['task_id']}-1")).contents
        told.append({"images": [{name: each for name, each in image.meta.items() if name != "reduced"}]})

        async with team.web() as web:
            for answer in told:
                for each in answer["images"]:
                    assert each.keys() == {"url", "url_expires_at", "width", "height", "bytes"}
                    fetched = await web.get(each["url"])
                    assert (fetched.status_code, len(fetched.content)) == (200, each["bytes"])
                    left = datetime.fromisoformat(each["url_expires_at"]) - datetime.now(UTC)
                    assert 23.9 < left.total_seconds() / 3600 <= 24
            converted = await web.get(told[3]["images"][0]["url"])
        assert converted.headers["content-type"] == "image/webp"
        assert "fox-2-64x64.webp" in converted.headers["content-disposition"]
        assert not str(told).count(str(tmp_path))


async def test_a_task_of_the_extension_ends_with_links_too(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada", extensions=[Tasks()]) as ada:
        made = await make(ada)
        assert [set(each) for each in made["images"]] == [{"url", "url_expires_at", "width", "height", "bytes"}]


async def test_a_link_is_the_pictures_own_bytes_and_can_be_had_in_parts(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada, team.web() as web:
        made = await make(ada, filename="a fox")
        (image,) = made["images"]
        assert image["url"].startswith(f"{team.url}/images/{made['task_id']}-1?")

        whole = await web.get(image["url"])
        digest = hashlib.sha256(whole.content).hexdigest()
        headers = whole.headers
        assert headers["etag"] == f'"{digest}"'
        assert headers["content-type"] == "image/png"
        assert headers["content-disposition"] in (
            'inline; filename="a fox.png"',
            "inline; filename*=utf-8''a%20fox.png",
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"].startswith("private")
        assert headers["accept-ranges"] == "bytes"
        assert not [name for name in headers if name.startswith("access-control")]

        head = await web.head(image["url"])
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(image["bytes"]))
        part = await web.get(image["url"], headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        end = await web.get(image["url"], headers={"Range": "bytes=-5"})
        assert end.content == whole.content[-5:]
        beyond = await web.get(image["url"], headers={"Range": "bytes=99999999-"})
        assert beyond.status_code == 416
        for known in (f'"{digest}"', f'"x", W/"{digest}"', "*"):
            same = await web.get(image["url"], headers={"If-None-Match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", f'"{digest}"')
        assert (await web.get(image["url"], headers={"If-None-Match": '"other"'})).status_code == 200
        other = {"Range": "bytes=0-4", "If-Range": '"other"'}
        assert len((await web.get(image["url"], headers=other)).content) == image["bytes"]


async def test_a_link_that_is_over_forged_or_for_another_picture_is_as_one_that_never_was(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada, team.agent("bob") as bob, team.web() as web:
        ours, theirs = await make(ada, n=2), await make(bob)
        url, other = ours["images"][0]["url"], theirs["images"][0]["url"]
        copied = await ada.call_tool("download_image", {"task_id": ours["task_id"], "format": "webp"})
        copy = copied.structured_content["images"][0]["url"]
        signature = dict(parse_qsl(urlsplit(url).query))["signature"]
        wrong = [
            url.replace(ours["task_id"], theirs["task_id"]),
            url.replace(f"{ours['task_id']}-1", f"{ours['task_id']}-2"),
            url.replace(f"{ours['task_id']}-1", f"{ours['task_id']}-7"),
            url.replace(ours["task_id"], "00000000-0000-4000-8000-000000000000"),
            change(url, signature=signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")),
            change(url, signature=""),
            change(url, signature="ü" * 43),
            change(url, signature="A" * 10_000),
            change(url, signature=dict(parse_qsl(urlsplit(other).query))["signature"]),
            change(url, expires="99999999999"),
            change(url, expires="-1"),
            change(url, expires="٣"),
            change(url, expires=None),
            f"{url}&signature={signature}",
            change(copy, owner=None),
            change(copy, owner=""),
            change(copy, owner=dict(parse_qsl(urlsplit(copy).query))["owner"].replace("ada", "bob")),
            change(copy, owner="../pictures"),
            f"{team.url}/images/tokens?{urlsplit(url).query}",
        ]
        for each in wrong:
            answer = await web.get(each)
            assert (answer.status_code, answer.text) == NOT_THERE, each
            assert answer.headers["cache-control"] == "no-store"
        assert (await web.get(url)).status_code == (await web.get(copy)).status_code == 200
        team.clock.seconds = 24 * 3600 - 60
        assert (await web.get(url)).status_code == 200
        team.clock.seconds = 24 * 3600 + 1
        for each in (url, copy):
            answer = await web.get(each)
            assert (answer.status_code, answer.text) == NOT_THERE
        again = await ada.call_tool("get_task", {"task_id": ours["task_id"]})
        assert (await web.get(again.structured_content["images"][0]["url"])).status_code == 200


async def test_a_link_ends_with_the_key_that_it_was_signed_with(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada:
        made = await make(ada)
        url = made["images"][0]["url"]
    async with running_team(tmp_path, key=b"another key than the first servers had") as team, team.web() as web:
        answer = await web.get(url.replace(url.partition("/images")[0], team.url))
        assert (answer.status_code, answer.text) == NOT_THERE
    async with running_team(tmp_path) as team, team.web() as web:
        # Another replica with the same key gives it.
        assert (await web.get(url.replace(url.partition("/images")[0], team.url))).status_code == 200


async def test_with_a_token_an_image_is_given_to_its_owner_and_to_an_administrator_alone(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada:
        made = await make(ada)
        place = f"/images/{made['task_id']}-1"
        copied = await ada.call_tool(
            "download_image", {"task_id": made["task_id"], "format": "jpeg", "filename": "x"}
        )
        copy = urlsplit(copied.structured_content["images"][0]["url"]).path
        assert copy == "/images/x.jpg"
        for name, status in (("ada", 200), ("root", 200), ("bob", 404), ("reader", 404)):
            async with team.web(name) as web:
                assert (await web.get(place)).status_code == status
        for name, status in (("ada", 200), ("root", 404), ("bob", 404)):
            async with team.web(name) as web:
                assert (await web.get(copy)).status_code == status
        async with team.web("ada") as web:
            assert (await web.post(place)).status_code == 405
        async with team.web() as web:
            answer = await web.get(place)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer scope="wan:read"')


async def test_an_object_store_signs_the_links_itself_and_a_token_is_sent_on_to_it(tmp_path, bucket):
    async with running_team(tmp_path, **bucket.environ()) as team, team.agent("ada") as ada, team.web() as web:
        made = await make(ada)
        (image,) = made["images"]
        assert image["url"].startswith(f"{bucket.endpoint}/")
        fetched = await web.get(image["url"])
        assert len(fetched.content) == image["bytes"]
        copied = await ada.call_tool("download_image", {"task_id": made["task_id"], "format": "webp", "max_side": 50})
        small = await web.get(copied.structured_content["images"][0]["url"])
        assert small.content[8:12] == b"WEBP"
        async with team.web("ada") as own, team.web("bob") as other:
            sent_on = await own.get(f"/images/{made['task_id']}-1")
            assert (sent_on.status_code, sent_on.headers["cache-control"]) == (307, "no-store")
            assert (await web.get(sent_on.headers["location"])).content == fetched.content
            assert (await other.get(f"/images/{made['task_id']}-1")).status_code == 404
        text = json.dumps(made)
        assert "s3://" not in text
        assert re.search(r"X-Amz-Expires=86400", image["url"])


async def test_a_store_that_gives_no_answer_refuses_orders_in_words_and_the_log_says_more(tmp_path, bucket, caplog):
    environ = bucket.environ(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    async with running_team(tmp_path, **environ) as team, team.agent("ada") as ada:
        refused = await ada.call_tool("generate_image", {"prompt": "a red fox"})
        listed = await ada.call_tool("list_tasks", {})
    assert refused.is_error
    words = refused.content[0].text
    assert "Nothing was ordered." in words
    assert "Try again in a minute" in words
    assert bucket.name not in words
    assert bucket.name in "".join(each.getMessage() for each in caplog.records if each.name.startswith("wan_mcp"))
    assert listed.structured_content["tasks"] == []


async def test_a_store_behind_a_server_with_tls_is_reached_by_nobody_but_the_server(tmp_path, bucket):
    async with running_team(tmp_path, public_url="https://pictures.example", **bucket.environ()) as team:
        async with team.agent("ada") as ada, team.web() as web:
            made = await make(ada, filename="fox")
            (image,) = made["images"]
            assert image["url"].startswith("https://pictures.example/images/")
            link = image["url"].removeprefix("https://pictures.example")
            fetched = await web.get(link)
            assert (fetched.status_code, len(fetched.content)) == (200, image["bytes"])
            assert fetched.headers["content-disposition"] == 'inline; filename="fox.png"'
            part = await web.get(link, headers={"Range": "bytes=1-3"})
            assert (part.status_code, part.content) == (206, b"PNG")
            sent = {"task_id": made["task_id"], "format": "webp", "filename": "a small fox", "max_side": 50}
            copied = (await ada.call_tool("download_image", sent)).structured_content["images"][0]["url"]
            copied = copied.removeprefix("https://pictures.example")
            small = await web.get(copied)
            assert (small.status_code, small.content[8:12]) == (200, b"WEBP")
            assert "small" in small.headers["content-disposition"]
            assert (await web.get(copied.replace("owner=token-ada", "owner=token-bob"))).status_code == 404
        async with team.web("ada") as own, team.web("bob") as other:
            place = change(copied, expires=None, signature=None)
            assert (await own.get(place)).content == small.content
            assert (await other.get(place)).status_code == 404
            assert (await own.get(f"/images/{made['task_id']}-1")).content == fetched.content
            assert (await other.get(f"/images/{made['task_id']}-1")).status_code == 404
        assert not list((team.settings.state_dir / "spool").iterdir())


async def test_what_only_looks_like_a_link_opens_nothing_to_anybody(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada, team.web() as web:
        made = await make(ada)
        picture = next((team.settings.output_dir).rglob("*.png"))
        (team.settings.output_dir / "private.png").write_bytes(picture.read_bytes())
        queries = ("xsignature=", "x=signature=", "%73ignatur=", "signature", "signature=", "Signature=x")
        for query, headers in product(queries, ({}, {"Authorization": "Bearer nonsense"})):
            for name in (f"{made['task_id']}-1", "private.png", picture.name):
                answer = await web.get(f"/images/{name}?{query}", headers=headers)
                assert answer.status_code in (401, 404), (name, query, headers)
                assert b"PNG" not in answer.content


async def test_a_ledger_that_cannot_be_read_is_no_reason_to_call_a_link_over(tmp_path):
    async with running_team(tmp_path) as team, team.agent("ada") as ada, team.web() as web:
        (image,) = (await make(ada))["images"]
        # What is still worked on is known without the ledger.
        await until(lambda: not team.service._worker.orders())
        with closing(sqlite3.connect(team.settings.ledger_path)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert (await web.get(image["url"])).status_code == 503
        assert (await web.get(image["url"])).status_code == 200


async def test_no_line_of_the_log_holds_a_link(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with running_team(tmp_path) as team, team.agent("ada") as ada, team.web() as web:
        url = (await make(ada))["images"][0]["url"]
        await web.get(url)
        await web.get(change(url, expires="1"))
    signature = dict(parse_qsl(urlsplit(url).query))["signature"]
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not any(signature in record.getMessage() for record in ours)
