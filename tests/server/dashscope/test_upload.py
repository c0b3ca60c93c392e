"""A picture is handed over beforehand: the region says where, and the store never sees the key."""

import re

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakes.loopback_server import LoopbackServer
from wan_mcp.clock import SystemClock
from wan_mcp.dashscope import DashScope
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.domain.errors import AppError, KeyRefusedError, UploadError

HOST = "https://dashscope-file-mgr.oss-cn-beijing.aliyuncs.com"
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 50_000
FIELDS = [
    "OSSAccessKeyId",
    "Signature",
    "policy",
    "x-oss-object-acl",
    "x-oss-forbid-overwrite",
    "key",
    "success_action_status",
    "file",
]


def policy(**changes):
    data = {
        "policy": "eyJwb2xpY3kiOjF9",
        "signature": "c2lnbmF0dXJl",
        "upload_dir": "dashscope-instant/52afe/2026-11-27/f1d9",
        "upload_host": HOST,
        "expire_in_seconds": "300",
        "max_file_size_mb": "100",
        "capacity_limit_mb": "999999999",
        "oss_access_key_id": "LTAI5tExample",
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
    }
    return {"request_id": "r-1", "data": data | changes}


def read_parts(content, content_type):
    """Give the parts of a form in their order: name, file name, content."""
    boundary = content_type.partition("boundary=")[2].encode()
    parts = []
    for part in content.split(b"--" + boundary)[1:-1]:
        head, _, body = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)[1].decode()
        filename = re.search(rb'filename="([^"]*)"', head)
        parts.append((name, filename and filename[1].decode(), body))
    return parts


async def hand_over(kit, *answers, data=PNG, **options):
    client, network = kit.client(*answers, **options)
    async with client:
        return await client.upload("singapore", "wan2.7-image", data, "image/png"), network


async def test_a_picture_goes_to_the_store_with_its_fields_in_order_and_the_file_last(kit):
    address, network = await hand_over(kit, kit.json(policy()), httpx.Response(200))
    asked, posted = network.requests

    assert str(asked.url) == (
        "https://dashscope-intl.aliyuncs.com/api/v1/uploads?action=getPolicy&model=wan2.7-image"
    )
    assert asked.headers["authorization"] == f"Bearer {kit.key}"
    assert (posted.method, str(posted.url)) == ("POST", f"{HOST}")
    parts = read_parts(posted.content, posted.headers["content-type"])
    assert [name for name, _, _ in parts] == FIELDS
    values = {name: body for name, _, body in parts}
    assert values["OSSAccessKeyId"] == b"LTAI5tExample"
    assert values["success_action_status"] == b"200"
    assert values["file"] == PNG
    key = values["key"].decode()
    assert re.fullmatch(r"dashscope-instant/52afe/2026-11-27/f1d9/[0-9a-f]{32}\.png", key)
    assert address == f"oss://{key}"
    assert int(posted.headers["content-length"]) == len(posted.content)


async def test_the_store_is_never_told_the_key(kit):
    _, network = await hand_over(kit, kit.json(policy()), httpx.Response(200))
    posted = network.last
    assert "authorization" not in posted.headers
    assert kit.key not in repr(posted.headers.raw)
    assert kit.key.encode() not in posted.content


async def test_no_two_uploads_have_one_name(kit):
    client, _ = kit.client(kit.json(policy()), httpx.Response(200), kit.json(policy()), httpx.Response(200))
    addresses = {await client.upload("singapore", "wan2.7-image", PNG, "image/jpeg") for _ in range(2)}
    assert len(addresses) == 2
    assert all(address.endswith(".jpg") for address in addresses)


@pytest.mark.parametrize(
    "host",
    [
        "https://evil.example",
        "https://dashscope-file.oss-cn-beijing.aliyuncs.com.evil.example",
        "https://dashscope-file.oss-cn-beijing.aliyuncs.com@evil.example",
        "https://127.0.0.1",
        "http://169.254.169.254/latest",
        "ftp://dashscope-file.oss-cn-beijing.aliyuncs.com",
        "https://[",
        "no address",
    ],
)
async def test_nothing_is_uploaded_to_a_host_that_is_not_the_services(kit, host):
    client, network = kit.client(kit.json(policy(upload_host=host)), httpx.Response(200))
    with pytest.raises(UploadError) as caught:
        await client.upload("singapore", "wan2.7-image", PNG, "image/png")
    assert (caught.value.code, caught.value.retryable) == ("HostNotAllowed", False)
    assert "Nothing was ordered" in caught.value.message
    assert len(network.requests) == 1


async def test_a_plain_address_of_the_services_store_becomes_a_safe_one(kit):
    _, network = await hand_over(
        kit, kit.json(policy(upload_host=HOST.replace("https", "http"))), httpx.Response(200)
    )
    assert network.last.url.scheme == "https"


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (httpx.Response(307, headers={"location": "https://evil.example/"}), False),
        (httpx.Response(403, content=b"<Error><Code>AccessDenied</Code></Error>"), False),
        (httpx.Response(400, content=b"<Error><Code>EntityTooLarge</Code></Error>"), False),
        (httpx.Response(503), True),
        (httpx.ConnectError("refused"), True),
        (httpx.ReadError("broke"), True),
        (httpx.WriteTimeout("slow"), True),
    ],
)
async def test_a_store_that_refuses_is_told_of_and_not_followed(kit, answer, retryable):
    client, network = kit.client(kit.json(policy()), answer)
    with pytest.raises(UploadError) as caught:
        await client.upload("singapore", "wan2.7-image", PNG, "image/png")
    assert caught.value.retryable is retryable
    assert caught.value.nothing_created
    assert "c2lnbmF0dXJl" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(network.requests) == 2


async def test_a_picture_larger_than_the_region_allows_is_not_sent(kit):
    client, network = kit.client(kit.json(policy(max_file_size_mb="0.1")), httpx.Response(200))
    await client.upload("singapore", "wan2.7-image", PNG, "image/png")
    client, network = kit.client(kit.json(policy(max_file_size_mb="1")), httpx.Response(200))
    with pytest.raises(UploadError, match="at most 1048576"):
        await client.upload("singapore", "wan2.7-image", PNG * 5, "image/png")
    assert len(network.requests) == 1


@pytest.mark.parametrize("payload", [{}, {"data": None}, {"data": {"policy": 1}}, policy(upload_dir="")])
async def test_an_answer_without_a_place_is_no_place(kit, payload):
    client, _ = kit.client(kit.json(payload))
    with pytest.raises(UploadError, match="did not say where"):
        await client.upload("singapore", "wan2.7-image", PNG, "image/png")


async def test_a_refused_key_is_told_as_ever(kit):
    client, _ = kit.client(kit.json({"code": "InvalidApiKey", "message": "Invalid API-key provided."}, 401))
    with pytest.raises(KeyRefusedError):
        await client.upload("singapore", "wan2.7-image", PNG, "image/png")


@pytest.mark.parametrize(
    ("region", "key", "has"),
    [
        ("singapore", "sk-0123456789", True),
        ("beijing", "sk-0123456789", True),
        ("frankfurt", "sk-0123456789", False),
        ("singapore", "sk-sp-0123456789", False),
        ("tokyo", "sk-0123456789", False),
    ],
)
def test_uploads_exist_in_some_regions_and_for_some_keys(kit, region, key, has):
    client, _ = kit.client(httpx.Response(200), access=kit.access(region=region, api_key=SecretStr(key)))
    assert client.has_uploads(region) is has
    assert not client.has_uploads("nowhere")


async def test_a_picture_reaches_a_real_store_over_a_real_connection():
    seen = []

    async def give_policy(request: Request) -> Response:
        seen.append(("policy", request.headers.get("authorization"), str(request.url.query)))
        return JSONResponse(policy(upload_host=f"http://127.0.0.1:{server.ports[1]}"))

    async def take(request: Request) -> Response:
        body = await request.body()
        seen.append(("store", request.headers.get("authorization"), body, request.headers["content-type"]))
        return Response(status_code=200)

    app = Starlette(
        routes=[Route("/api/v1/uploads", give_policy), Route("/", take, methods=["POST"])],
    )
    server = LoopbackServer(app, [0, 0])
    server.start()
    try:
        access = RegionAccess(
            "singapore", f"http://127.0.0.1:{server.ports[0]}/api/v1", SecretStr("sk-0123456789"), None, "KEY"
        )
        client = DashScope(
            {"singapore": access},
            max_image_bytes=1,
            clock=SystemClock(),
            image_hosts=[f"127.0.0.1:{server.ports[1]}"],
        )
        async with client:
            address = await client.upload("singapore", "wan2.7-image", PNG, "image/png")
        stranger = DashScope({"singapore": access}, max_image_bytes=1, clock=SystemClock())
        async with stranger:
            with pytest.raises(AppError, match="not one of its own"):
                await stranger.upload("singapore", "wan2.7-image", PNG, "image/png")
    finally:
        server.stop()

    assert [each[0] for each in seen] == ["policy", "store", "policy"]
    assert seen[0][1:] == ("Bearer sk-0123456789", "action=getPolicy&model=wan2.7-image")
    _, authorization, body, content_type = seen[1]
    assert authorization is None
    assert b"sk-0123456789" not in body
    parts = read_parts(body, content_type)
    assert [name for name, _, _ in parts] == FIELDS
    assert parts[-1][2] == PNG
    [key] = [value.decode() for name, _, value in parts if name == "key"]
    assert address == f"oss://{key}"
