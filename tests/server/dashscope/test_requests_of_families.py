"""What goes out for each family and kind of order, to the letter: from the caller's words to the body."""

import json
from dataclasses import replace

import pytest

from wan_mcp.dashscope import CreateOrder
from wan_mcp.orders.worker.submit import make_create_order
from wan_mcp_tools.catalogue.catalogue import Catalogue

CREATED = {"request_id": "r-1", "output": {"task_id": "t-1", "task_status": "PENDING"}}
SYNC, ASYNC = "multimodal-generation/generation", "image-generation/generation"
PAINT, EDIT = "text2image/image-synthesis", "image2image/image-synthesis"
ONE, TWO = "data:image/jpeg;base64,AA==", "https://example.com/room.webp"
BOXES = [[], [[989, 515, 1138, 681]]]
COLOURS = [{"hex": "#C2D1E6", "ratio": "23.51%"}, {"hex": "#000000", "ratio": "50.00%"}]
PALETTE = [*COLOURS, {"hex": "#FFFFFF", "ratio": "26.49%"}]
CATALOGUE = Catalogue(keyed_regions=frozenset({"singapore"}), choose_seed=lambda: 7)


def messages(model, *content, **parameters):
    return {
        "model": model,
        "input": {"messages": [{"role": "user", "content": [*content, {"text": "a red fox"}]}]},
        "parameters": parameters,
    }


def picture(address):
    return {"image": address}


CASES = {
    "wan2.7, words": (
        {"model": "wan2.7-image-pro", "size": "4K"},
        [],
        ASYNC,
        messages("wan2.7-image-pro", size="4K", n=1, watermark=False, seed=7),
    ),
    "wan2.7, pictures with boxes": (
        {"model": "wan2.7-image-pro", "options": {"bbox_list": BOXES}},
        [ONE, TWO],
        ASYNC,
        messages(
            "wan2.7-image-pro",
            picture(ONE),
            picture(TWO),
            size="2K",
            n=1,
            watermark=False,
            seed=7,
            bbox_list=BOXES,
        ),
    ),
    "wan2.7, a set": (
        {"model": "wan2.7-image", "n": 6, "options": {"enable_sequential": True}},
        [ONE],
        ASYNC,
        messages("wan2.7-image", picture(ONE), size="2K", n=6, watermark=False, seed=7, enable_sequential=True),
    ),
    "wan2.7, colours": (
        {"model": "wan2.7-image", "options": {"color_palette": PALETTE, "thinking_mode": False}},
        [],
        ASYNC,
        messages("wan2.7-image", size="2K", n=1, watermark=False, seed=7, color_palette=PALETTE, thinking_mode=False),
    ),
    "wan2.6-image, an edit": (
        {"model": "wan2.6-image", "negative_prompt": "blur"},
        [ONE],
        ASYNC,
        messages(
            "wan2.6-image",
            picture(ONE),
            negative_prompt="blur",
            size="1K",
            n=1,
            prompt_extend=True,
            watermark=False,
            seed=7,
        ),
    ),
    "wan2.6-image, text with pictures": (
        {"model": "wan2.6-image", "n": 3, "options": {"enable_interleave": True}},
        [],
        ASYNC,
        messages(
            "wan2.6-image",
            size="1280*1280",
            n=1,
            prompt_extend=True,
            watermark=False,
            seed=7,
            enable_interleave=True,
            max_images=3,
        ),
    ),
    "wan2.5, an edit": (
        {"model": "wan2.5-i2i-preview", "negative_prompt": "blur", "n": 2},
        [TWO],
        EDIT,
        {
            "model": "wan2.5-i2i-preview",
            "input": {"prompt": "a red fox", "negative_prompt": "blur", "images": [TWO]},
            "parameters": {"size": "1280*1280", "n": 2, "prompt_extend": True, "watermark": False, "seed": 7},
        },
    ),
    "wanx-v1 with a style": (
        {"model": "wanx-v1", "region": "beijing", "options": {"style": "<anime>"}},
        [],
        PAINT,
        {
            "model": "wanx-v1",
            "input": {"prompt": "a red fox"},
            "parameters": {
                "size": "1024*1024",
                "n": 1,
                "prompt_extend": True,
                "watermark": False,
                "seed": 7,
                "style": "<anime>",
            },
        },
    ),
    "qwen-image-3.0, words": (
        {
            "model": "qwen-image-3.0",
            "n": 6,
            "options": {"prompt_extend_mode": "agent", "enable_thinking": False},
        },
        [],
        ASYNC,
        messages(
            "qwen-image-3.0",
            size="1024*1024",
            n=6,
            prompt_extend=True,
            watermark=False,
            seed=7,
            prompt_extend_mode="agent",
            enable_thinking=False,
        ),
    ),
    "qwen-image-3.0-pro, pictures": (
        {"model": "qwen-image-3.0-pro", "size": "16:9", "seed": 3},
        [ONE, TWO],
        ASYNC,
        messages(
            "qwen-image-3.0-pro",
            picture(ONE),
            picture(TWO),
            size="1280*720",
            n=1,
            prompt_extend=True,
            watermark=False,
            seed=3,
        ),
    ),
    "qwen-image-2.1-pro, ten pictures": (
        {"model": "qwen-image-2.1-pro"},
        [ONE] * 10,
        SYNC,
        messages(
            "qwen-image-2.1-pro",
            *[picture(ONE)] * 10,
            size="1024*1024",
            n=1,
            prompt_extend=True,
            watermark=False,
            seed=7,
        ),
    ),
    "a dated qwen-image-2.0-pro": (
        {"model": "qwen-image-2.0-pro-2026-06-22", "watermark": True},
        [],
        SYNC,
        messages(
            "qwen-image-2.0-pro-2026-06-22",
            size="1024*1024",
            n=1,
            prompt_extend=True,
            watermark=True,
            seed=7,
        ),
    ),
    "qwen-image-max": (
        {"model": "qwen-image-max", "size": "16:9", "prompt_extend": False},
        [],
        SYNC,
        messages("qwen-image-max", size="1664*928", n=1, prompt_extend=False, watermark=False, seed=7),
    ),
    "qwen-image": (
        {"model": "qwen-image", "negative_prompt": "blur"},
        [],
        PAINT,
        {
            "model": "qwen-image",
            "input": {"prompt": "a red fox", "negative_prompt": "blur"},
            "parameters": {"size": "1328*1328", "n": 1, "prompt_extend": True, "watermark": False, "seed": 7},
        },
    ),
    "qwen-image-edit-plus": (
        {"model": "qwen-image-edit-plus", "n": 2},
        [ONE],
        SYNC,
        messages(
            "qwen-image-edit-plus",
            picture(ONE),
            size="1024*1024",
            n=2,
            prompt_extend=True,
            watermark=False,
            seed=7,
        ),
    ),
    "qwen-image-edit": (
        {"model": "qwen-image-edit"},
        [ONE],
        SYNC,
        messages("qwen-image-edit", picture(ONE), n=1, watermark=False, seed=7),
    ),
    "z-image-turbo": (
        {"model": "z-image-turbo"},
        [],
        SYNC,
        messages("z-image-turbo", size="1024*1024", prompt_extend=False, seed=7),
    ),
}


def make(words, images) -> CreateOrder:
    request = CATALOGUE.make_request(**{"prompt": "a red fox", "images": ["a.png"] * len(images)} | words)
    order = make_create_order(
        request,
        CATALOGUE.find(request.model),
        region=request.region,
        protocol=CATALOGUE.choose_protocol(request),
        model_id=CATALOGUE.find(request.model).wire_id(request.region),
    )
    # The catalogue knows references; that they became addresses is somebody else's work.
    return replace(order, region="singapore", images=tuple(images))


@pytest.mark.parametrize(("words", "images", "path", "body"), CASES.values(), ids=CASES)
async def test_an_order_is_the_documented_json(kit, words, images, path, body):
    client, network = kit.client(kit.json(CREATED))
    await kit.create(client, make(words, images))
    assert network.last.url == f"https://dashscope-intl.aliyuncs.com/api/v1/services/aigc/{path}"
    assert network.last.headers.get("x-dashscope-async") == (None if path == SYNC else "enable")
    assert "x-dashscope-ossresourceresolve" not in network.last.headers
    assert "x-dashscope-sse" not in network.last.headers
    assert json.loads(network.last.content) == body


@pytest.mark.parametrize("name", ["wan2.7, a set", "wan2.5, an edit", "qwen-image-edit"])
async def test_the_service_is_told_to_look_uploads_up_exactly_where_there_is_one(kit, name):
    words, images, *_ = CASES[name]
    client, network = kit.client(kit.json(CREATED))
    order = make(words, images)
    await kit.create(client, replace(order, images=("oss://dashscope-instant/a.png", *order.images)))
    assert network.last.headers["x-dashscope-ossresourceresolve"] == "enable"
    await kit.create(client, replace(order, images=("data:image/png;base64,oss://", *order.images)))
    assert "x-dashscope-ossresourceresolve" not in network.last.headers


async def test_a_set_may_have_as_many_images_as_it_was_ordered_to_have_at_most(kit):
    words, images, *_ = CASES["wan2.7, a set"]
    parts = [{"image": f"https://dashscope-a.oss-x.aliyuncs.com/{number}.png"} for number in range(8)]
    output = {"choices": [{"message": {"content": [part]}} for part in parts]}
    client, _ = kit.client(kit.json({"request_id": "r-1", "output": output, "usage": {"image_count": 8}}))
    answer = await kit.create(client, make(words, images))
    assert (len(answer.images), answer.surplus, answer.image_count) == (6, 2, 8)


@pytest.mark.parametrize(
    ("usage", "size", "count"),
    [
        ({"image_count": 4, "size": "2688*1536", "input_tokens": 10867, "output_tokens": 2}, "2688*1536", 4),
        ({"image_count": 1, "width": 1328, "height": 1328}, "1328*1328", 1),
        (
            {
                "output_width": 1024,
                "output_height": 768,
                "input_image_count": 0,
                "input_image_type": "qima_input_1k",
                "output_image_count": 2,
                "output_image_type": "qima_output_1k",
            },
            "1024*768",
            2,
        ),
        ({"image_count": 3}, None, 3),
        ({"width": 1024, "height": 1536, "total_tokens": 0}, "1024*1536", None),
    ],
)
async def test_what_was_used_is_read_in_every_shape(kit, usage, size, count):
    client, _ = kit.client(kit.json({"request_id": "r-1", "output": {"task_status": "RUNNING"}, "usage": usage}))
    answer = await client.query("singapore", "t-1")
    assert (answer.size, answer.image_count) == (size, count)
