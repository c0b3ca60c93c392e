"""The temporary upload: permits, the host that takes the files, and orders that name them."""

import io
import sqlite3
from contextlib import closing

import httpx
import pytest
from blockbuster import blockbuster_ctx
from PIL import Image

from wan_mcp.sandbox import (
    IN_PROCESS_UPLOAD_URL,
    FileStore,
    MemoryStore,
    SandboxOptions,
    create_app,
    in_process_app,
)
from wan_mcp.sandbox.inputs import InputPicture
from wan_mcp.sandbox.stores import UploadRecord

API = "/api/v1"
SYNC = f"{API}/services/aigc/multimodal-generation/generation"
MODEL = "wan2.7-image"
HOURS = 3600
RESOLVE = {"X-DashScope-OssResourceResolve": "enable"}
START = 1_767_323_045.678


def draw(size=(640, 480), mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, 99).save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = draw()


async def permit(sandbox, model=MODEL, **parameters):
    answer = await sandbox.client.get(f"{API}/uploads", params={"action": "getPolicy", "model": model} | parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def form(data, name="a.png", **changes):
    """Give the fields of an upload in the order of the page."""
    fields = {
        "OSSAccessKeyId": data["oss_access_key_id"],
        "Signature": data["signature"],
        "policy": data["policy"],
        "x-oss-object-acl": data["x_oss_object_acl"],
        "x-oss-forbid-overwrite": data["x_oss_forbid_overwrite"],
        "key": f"{data['upload_dir']}/{name}",
        "success_action_status": "200",
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def encode(parts):
    """Write a form with its parts in any order: pairs of a name and a value; bytes are a file."""
    lines = []
    for name, value in parts:
        is_file = isinstance(value, bytes)
        more = '; filename="a.png"\r\nContent-Type: image/png' if is_file else ""
        lines.append(f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode())
        lines.append((value if is_file else value.encode()) + b"\r\n")
    return b"".join(lines) + b"--edge--\r\n"


async def post(sandbox, parts, url="http://sandbox.invalid/upload", **headers):
    """Post a form as a client does that keeps its key to itself."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=edge"} | headers
        return await client.post(url, content=encode(parts), headers=headers)


async def upload(sandbox, model=MODEL, data=PHOTO):
    given = await permit(sandbox, model)
    fields = form(given)
    answer = await post(sandbox, [*fields.items(), ("file", data)], given["upload_host"])
    assert (answer.status_code, answer.content) == (200, b""), answer.text
    return f"oss://{fields['key']}"


async def order(sandbox, *images, model=MODEL, headers=RESOLVE):
    parts = [*({"image": image} for image in images), {"text": "a blue door"}]
    content = {
        "model": model,
        "input": {"messages": [{"role": "user", "content": parts}]},
        "parameters": {"n": 1, "size": "1K"},
    }
    return await sandbox.client.post(SYNC, json=content, headers=headers)


async def test_a_permit_has_the_documented_fields_as_texts(sandbox):
    data = await permit(sandbox)
    assert set(data) == {
        "policy", "signature", "upload_dir", "upload_host", "expire_in_seconds", "max_file_size_mb",
        "capacity_limit_mb", "oss_access_key_id", "x_oss_object_acl", "x_oss_forbid_overwrite",
    }  # fmt: skip
    assert all(isinstance(value, str) for value in data.values())
    assert data["upload_host"] == "http://sandbox.invalid/upload"
    assert (data["expire_in_seconds"], data["max_file_size_mb"]) == ("300", "20")
    assert (await permit(sandbox, "qwen-image-3.0"))["max_file_size_mb"] == "10"


@pytest.mark.parametrize(
    ("key", "parameters", "refusal"),
    [
        ("", {}, (401, "InvalidApiKey")),
        ("sk-sp-plan", {}, (403, "AccessDenied")),
        ("sk-test", {"action": "get"}, (400, "InvalidParameter")),
        ("sk-test", {"model": ""}, (400, "BadRequest.EmptyModel")),
        ("sk-test", {"model": "wan9"}, (400, "InvalidParameter")),
    ],
)
async def test_a_permit_needs_a_key_that_is_of_no_plan_and_a_model(sandbox, key, parameters, refusal):
    answer = await sandbox.client.get(
        f"{API}/uploads",
        params={"action": "getPolicy", "model": MODEL} | parameters,
        headers={"Authorization": f"Bearer {key}"},
    )
    assert (answer.status_code, answer.json()["code"]) == refusal


async def test_an_uploaded_picture_can_be_ordered_with(sandbox):
    address = await upload(sandbox)
    answer = await order(sandbox, address)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["size"] == "1184*880"


async def test_an_uploaded_picture_is_there_only_with_the_header_for_its_model_and_for_48_hours(sandbox):
    address = await upload(sandbox)
    denied = [
        await order(sandbox, address, headers={}),
        await order(sandbox, address, model="wan2.7-image-pro"),
        await order(sandbox, address + "x"),
        await order(sandbox, "oss://dashscope-instant/other/a.png"),
    ]
    sandbox.clock.time += 47 * HOURS
    assert (await order(sandbox, address)).status_code == 200
    sandbox.clock.time += 1 * HOURS
    denied.append(await order(sandbox, address))
    for answer in denied:
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter.DataInspection")


async def test_an_uploaded_picture_is_checked_by_what_the_model_takes(sandbox):
    too_small, clear = await upload(sandbox, data=draw((200, 300))), await upload(sandbox, data=draw(mode="LA"))
    assert "must be in 240-8000]" in (await order(sandbox, too_small)).json()["message"]
    assert "alpha channel" in (await order(sandbox, clear)).json()["message"]
    assert (await order(sandbox, await upload(sandbox, data=b"no picture"))).status_code == 400


async def test_a_key_that_reaches_the_upload_host_is_refused_loudly(sandbox):
    fields = form(await permit(sandbox))
    answer = await post(sandbox, [*fields.items(), ("file", PHOTO)], Authorization="Bearer sk-test")
    assert answer.status_code == 403
    assert b"<Code>AuthorizationSent</Code>" in answer.content
    assert answer.headers["x-sandbox-warning"]
    assert sandbox.app.state.upload_host.keys_seen == 1
    assert (await order(sandbox, f"oss://{fields['key']}")).status_code == 400


async def test_a_name_that_is_taken_is_not_overwritten(sandbox):
    given = await permit(sandbox)
    parts = [*form(given).items(), ("file", PHOTO)]
    assert (await post(sandbox, parts)).status_code == 200
    again = await post(sandbox, parts)
    assert (again.status_code, b"<Code>FileAlreadyExists</Code>" in again.content) == (409, True)
    other = await post(sandbox, [*form(given, "b.png").items(), ("file", PHOTO)])
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"Signature": "AAAA"}, 403, "SignatureDoesNotMatch"),
        ({"policy": "e30="}, 403, "SignatureDoesNotMatch"),
        ({"OSSAccessKeyId": "LTAI"}, 403, "InvalidAccessKeyId"),
        ({"key": "elsewhere/a.png"}, 403, "AccessDenied"),
        ({"x-oss-object-acl": "public-read"}, 403, "AccessDenied"),
        ({"x-oss-forbid-overwrite": "false"}, 403, "AccessDenied"),
        ({"key": None}, 400, "InvalidArgument"),
        ({"policy": None}, 400, "InvalidArgument"),
        ({"Authorization": "Bearer sk-test"}, 400, "InvalidArgument"),
    ],
)
async def test_a_form_that_does_not_fit_its_permit_is_refused(sandbox, changes, status, code):
    fields = form(await permit(sandbox), **changes)
    answer = await post(sandbox, [*fields.items(), ("file", PHOTO)])
    assert (answer.status_code, f"<Code>{code}</Code>" in answer.text) == (status, True), answer.text


async def test_a_permit_ends_after_five_minutes(sandbox):
    fields = form(await permit(sandbox))
    sandbox.clock.time += 301
    answer = await post(sandbox, [*fields.items(), ("file", PHOTO)])
    assert (answer.status_code, "Policy expired" in answer.text) == (403, True)


async def test_the_file_comes_last_and_the_fields_in_their_order(sandbox):
    fields = list(form(await permit(sandbox)).items())
    file = ("file", PHOTO)
    for parts in ([file, *fields], [*fields[:3], file, *fields[3:]], [fields[1], fields[0], *fields[2:], file]):
        answer = await post(sandbox, parts)
        assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True)
    for parts in ([*fields, ("file", "text")], [*fields, file, file]):
        assert (await post(sandbox, parts)).status_code == 400
    # The official SDK has the key right behind the permit.
    assert (await post(sandbox, [*fields[:3], fields[5], *fields[3:5], fields[6], file])).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"--edge", b"--edge\r\n\r\n\r\n--edge--\r\n", b"{}", b"--edge\r\n" + b"a" * 100_000]
)
async def test_a_body_that_is_no_form_is_refused_in_xml(sandbox, content):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as client:
        for kind in ("multipart/form-data; boundary=edge", "multipart/form-data", "application/json"):
            answer = await client.post("http://x.invalid/upload", content=content, headers={"Content-Type": kind})
            assert answer.status_code == 400, (kind, answer.text)
            assert answer.text.startswith("<?xml")


async def test_a_file_beyond_the_models_limit_is_refused_and_one_without_end_is_not_read(sandbox):
    fields = form(await permit(sandbox, "qwen-image-3.0"))
    answer = await post(sandbox, [*fields.items(), ("file", bytes(10 * 1024**2 + 1))])
    assert (answer.status_code, "<Code>EntityTooLarge</Code>" in answer.text) == (400, True)
    sent = 0

    async def endless():
        nonlocal sent
        yield encode([*fields.items()])[: -len(b"--edge--\r\n")]
        yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            sent += 1
            yield bytes(1024**2)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=edge"}
        answer = await client.post("http://x.invalid/upload", content=endless(), headers=headers)
    assert (answer.status_code, "<Code>EntityTooLarge</Code>" in answer.text) == (400, True)
    assert sent < 25


async def test_inside_the_process_the_upload_host_has_a_name_of_its_own_and_nothing_blocks(open_harness, tmp_path):
    sandbox = open_harness(lambda clock: in_process_app(tmp_path, clock))
    large = draw((2000, 2000))
    await upload(sandbox)
    with blockbuster_ctx():
        given = await permit(sandbox)
        assert given["upload_host"] == IN_PROCESS_UPLOAD_URL
        answer = await post(sandbox, [*form(given).items(), ("file", large + bytes(3_000_000))], given["upload_host"])
        assert answer.status_code == 200, answer.text


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path, open_sandbox):
    clock = open_sandbox().clock
    return MemoryStore(clock) if request.param == "memory" else FileStore(tmp_path, clock)


async def test_an_upload_is_found_just_as_it_was_written_and_only_once_under_a_key(store):
    picture = InputPicture("a", b"\0\xff", 640, 480, 99, "PNG", "image/png", has_alpha=True, has_exif=True)
    one = UploadRecord("k/a.png", START, picture)
    assert await store.find_upload("k/a.png") is None
    assert await store.add_upload(one)
    assert not await store.add_upload(UploadRecord("k/a.png", START + 1, InputPicture("b")))
    assert await store.find_upload("k/a.png") == one
    assert await store.add_upload(UploadRecord("k/a.png", START + 48 * HOURS, InputPicture("b")))


async def test_the_pictures_of_an_order_are_kept_with_it(open_harness, tmp_path):
    sandbox = open_harness(lambda clock: in_process_app(tmp_path, clock))
    answer = await order(sandbox, await upload(sandbox), "https://example.com/a.png")
    url = answer.json()["output"]["choices"][0]["message"]["content"][0]["image"]
    painted = (await sandbox.client.get(url)).content
    again = open_harness(lambda _: in_process_app(tmp_path, sandbox.clock))
    assert (await again.client.get(url)).content == painted


async def test_a_file_of_an_earlier_release_is_used_and_stays_readable_for_it(tmp_path, open_harness):
    earlier = """
        CREATE TABLE tasks (
            task_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, protocol TEXT NOT NULL, model TEXT NOT NULL,
            prompt TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, count INTEGER NOT NULL,
            seed INTEGER NOT NULL, prompt_extend INTEGER NOT NULL, watermark INTEGER NOT NULL,
            submitted REAL NOT NULL, started REAL NOT NULL, ended REAL NOT NULL, failure TEXT, missing TEXT NOT NULL,
            as_set INTEGER NOT NULL, canceled REAL
        );
        INSERT INTO tasks VALUES ('old', 'r', 'image-generation/generation', 'wan2.6-t2i', 'a cat', 1280, 1280, 2, 1,
            1, 0, 1767323045.0, 1767323045.1, 1767323045.2, NULL, '[]', 0, NULL);
    """
    with closing(sqlite3.connect(tmp_path / "sandbox.sqlite3")) as database:
        database.executescript(earlier)
    options = SandboxOptions(throttle=1000)
    sandbox = open_harness(lambda clock: create_app(options, store=FileStore(tmp_path, clock), clock=clock))
    task = await sandbox.ended("old")
    assert task["usage"]["image_count"] == 2
    await sandbox.order_async("a set", model="wan2.7-image", enable_sequential=True, size="1K", n=3)
    with closing(sqlite3.connect(tmp_path / "sandbox.sqlite3")) as database:
        assert database.execute("SELECT as_set FROM tasks ORDER BY submitted").fetchall() == [(0,), (1,)]
