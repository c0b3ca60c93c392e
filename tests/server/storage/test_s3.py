"""Images in an object store: keys, links, and what is said when the store refuses."""

import hashlib
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from urllib.parse import quote, urlsplit

import anyio
import pytest
from anyio.to_thread import run_sync
from pydantic import SecretStr

from fakes.s3 import KEY
from wan_mcp.settings import StorageAccess, read_settings
from wan_mcp.storage import LocalStorage
from wan_mcp.storage.names import make_place, read_address, show_path
from wan_mcp.storage.objects import ObjectStore
from wan_mcp.storage.s3 import S3Storage
from wan_mcp_tools.domain.errors import FolderNotAllowedError, NotFoundError, RequestRefusedError, StorageError


def open_storage(tmp_path, access):
    return S3Storage(access, LocalStorage(tmp_path / "pictures"), spool=tmp_path / "spool")


async def save(storage, data, *, stem="fox", order_id="local-1", owner="local"):
    folder = await storage.find_folder(None, owner=owner)
    async with storage.open_draft(folder, order_id=order_id, index=1, owner="me") as draft:
        await draft.write(data)
        facts = await draft.verify()
        target = await draft.find_target(stem, facts.extension)
        assert await draft.publish(target)
        return target


async def fetch(url):
    def get():
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()

    return await run_sync(get)


async def test_the_key_is_made_of_principal_order_index_and_digest_and_a_second_write_is_the_same(
    objects, paint, bucket
):
    data = paint(noisy=True)
    digest = hashlib.sha256(data).hexdigest()[:32]

    path = await save(objects.storage, data)
    again = await save(objects.storage, data, stem="another")
    of_alice = await save(objects.storage, data, owner="alice")

    assert path == again == objects.root / f"local-1-1-{digest}.png"
    assert of_alice.name == path.name
    assert bucket.list_keys() == [f"pictures/{of_alice.parent.name}/{path.name}", f"pictures/{path.name}"]


async def test_a_name_that_other_bytes_would_have_is_never_given(objects, paint):
    path = await save(objects.storage, paint(noisy=True))
    async with objects.storage.open_draft(objects.root, order_id="local-1", index=1, owner="me") as draft:
        await draft.write(paint())
        await draft.verify()
        assert not await draft.publish(path)

    assert objects.locate(path).read_bytes() == paint(noisy=True)


async def test_a_link_gives_the_bytes_to_anybody_for_a_while_with_their_name_and_type(objects, paint):
    data = paint()
    path = await save(objects.storage, data, stem="一间花店 x")

    url = await objects.storage.make_link(path, seconds=60, filename="fox.png", mime_type="image/png")

    status, headers, body = await fetch(url)
    assert (status, body, headers["Content-Type"]) == (200, data, "image/png")
    assert headers["Content-Disposition"] == f"inline; filename*=UTF-8''{quote('一间花店 x.png')}"
    assert "X-Amz-Expires=60" in url
    with pytest.raises(urllib.error.HTTPError, match="403") as refusal:
        await fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))
    refusal.value.close()
    with pytest.raises(FolderNotAllowedError):
        await objects.storage.make_link(objects.outside[0], seconds=60, filename="x", mime_type="image/png")


async def test_no_folder_can_be_chosen(objects):
    for output_dir in ("album", "/tmp", "s3://x/y"):
        with pytest.raises(RequestRefusedError, match="no folder of it can be chosen"):
            await objects.storage.find_folder(output_dir)
    with pytest.raises(FolderNotAllowedError):
        await objects.storage.find_known_folder(objects.root.parent.parent / "x")


async def test_files_of_this_machine_can_still_be_read(objects, tmp_path, paint, bucket):
    (tmp_path / "pictures").mkdir()
    file = tmp_path / "pictures" / "old.png"
    file.write_bytes(paint())

    assert await objects.storage.find_readable(str(file)) == file.resolve()
    assert await objects.storage.find_missing([file, file.with_name("gone.png")]) == [file.with_name("gone.png")]
    copied = await objects.storage.copy(file, objects.root, "copy")
    assert objects.locate(copied.path).read_bytes() == paint()
    assert await objects.storage.make_link(file, seconds=60, filename="x", mime_type="image/png") is None


async def test_an_order_is_refused_while_nothing_could_ever_be_written_and_held_up_no_more_once_it_could(
    tmp_path, objects
):
    unreachable = replace(objects.access, endpoint="http://127.0.0.1:1")
    storage = open_storage(tmp_path, unreachable)
    with pytest.raises(StorageError, match="gives no answer"):
        await storage.find_folder(None)

    storage = open_storage(tmp_path, objects.access)
    assert await storage.find_folder(None) == objects.root
    storage._objects = ObjectStore(unreachable)
    assert await storage.find_folder(None) == objects.root


CASES = {
    "no such bucket": (
        {"bucket": "no-such-bucket"},
        "the object store has no bucket no-such-bucket",
        "WAN_MCP_STORAGE",
    ),
    "wrong key": ({"secret_access_key": SecretStr("wrong-secret-key")}, "403 SignatureDoesNotMatch", "AWS_SECRET"),
    "unknown key": ({"access_key_id": "somebody-elses-key"}, "403", "AWS_ACCESS_KEY_ID"),
    "nobody there": ({"endpoint": "http://127.0.0.1:1"}, "gives no answer", "AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_refusal_says_why_and_what_helps_and_tells_no_secret(tmp_path, objects, case):
    changes, reason, advice = CASES[case]
    access = replace(objects.access, **changes)
    storage = open_storage(tmp_path, access)
    place = make_place(access.bucket, "pictures", "x.png")

    found = []
    for attempt in (storage.find_folder(None), storage.read_facts(place), storage.matches(place, "0" * 64)):
        with pytest.raises(StorageError) as refusal:
            await attempt
        found.append(refusal.value)
    if case != "no such bucket":
        # What is asked there has an answer without words.
        assert await storage.find_missing([place]) == []

    for error in found:
        assert reason in error.message
        assert advice in error.advice
        assert error.retryable
        text = f"{error} {error.__cause__} {error.__context__ if not error.__suppress_context__ else ''}"
        assert KEY not in text
        assert "wrong-secret-key" not in text
        assert "X-Amz" not in text


async def test_a_store_that_does_not_answer_keeps_no_answer_waiting_for_long(tmp_path, objects):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        storage = open_storage(tmp_path, replace(objects.access, endpoint=f"http://127.0.0.1:{port}"))
        with anyio.fail_after(10):
            assert await storage.find_missing([objects.root / "x.png"]) == []


OSS = "https://s3.oss-cn-hangzhou.aliyuncs.com"
ADDRESSES = {
    "Amazon": ({}, "https://pics.s3.us-east-1.amazonaws.com/a/x.png"),
    "Amazon in a region": ({"AWS_REGION": "eu-west-1"}, "https://pics.s3.eu-west-1.amazonaws.com/a/x.png"),
    "an endpoint of one's own": (
        {"AWS_ENDPOINT_URL": "https://store.example:9000/"},
        "https://store.example:9000/pics/a/x.png",
    ),
    "OSS": ({"AWS_ENDPOINT_URL": OSS}, "https://pics.s3.oss-cn-hangzhou.aliyuncs.com/a/x.png"),
    "OSS with the bucket": (
        {"AWS_ENDPOINT_URL": "https://pics.s3.oss-cn-hangzhou.aliyuncs.com"},
        "https://pics.s3.oss-cn-hangzhou.aliyuncs.com/a/x.png",
    ),
    "OSS from inside": (
        {"AWS_ENDPOINT_URL": "https://S3.oss-cn-hangzhou-internal.aliyuncs.com/"},
        "https://pics.s3.oss-cn-hangzhou-internal.aliyuncs.com/a/x.png",
    ),
    "no OSS": (
        {"AWS_ENDPOINT_URL": "https://s3.oss-cn-hangzhou.aliyuncs.com.example"},
        "https://s3.oss-cn-hangzhou.aliyuncs.com.example/pics/a/x.png",
    ),
}


@pytest.mark.parametrize("case", ADDRESSES)
async def test_the_address_of_an_object_is_that_of_the_store(tmp_path, case):
    environ, expected = ADDRESSES[case]
    given = {"WAN_MCP_STORAGE_URL": "s3://pics/a", "AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret"}
    folders = {"WAN_MCP_OUTPUT_DIR": str(tmp_path), "WAN_MCP_STATE_DIR": str(tmp_path)}
    access = read_settings(given | folders | environ).storage

    url = await open_storage(tmp_path, access).make_link(
        make_place("pics", "a", "x.png"), seconds=60, filename="x", mime_type="image/png"
    )

    assert url.partition("?")[0] == expected
    region = environ.get("AWS_REGION", "cn-hangzhou" if "pics.s3.oss" in expected else "us-east-1")
    assert f"%2F{region}%2Fs3%2F" in urlsplit(url).query


async def test_no_variable_of_the_environment_that_is_no_setting_comes_into_a_link(tmp_path, objects, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-somebody")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

    url = await open_storage(tmp_path, objects.access).make_link(
        objects.root / "x.png", seconds=60, filename="x", mime_type="image/png"
    )

    assert "a-token-of-somebody" not in url
    assert url.startswith(f"{objects.access.endpoint}/")


def test_places_are_shown_as_addresses_and_read_back():
    place = make_place("pics", "a", "b c.png")

    assert show_path(place) == show_path(str(place)) == "s3://pics/a/b c.png"
    assert read_address("s3://pics/a/b c.png") == place
    assert read_address("/home/me/x.png") is None
    assert show_path("/home/me/x.png") == "/home/me/x.png"
    assert show_path("") == ""


async def test_without_an_object_the_error_says_so(objects):
    with pytest.raises(NotFoundError, match=r"There is no s3://bucket-\w+/pictures/x.png"):
        await objects.storage.locate(objects.root / "x.png")


def test_the_key_is_in_no_text_of_the_settings(objects):
    assert KEY not in repr(objects.access)
    assert isinstance(objects.access, StorageAccess)
