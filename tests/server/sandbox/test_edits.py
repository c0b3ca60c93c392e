"""Orders with pictures: the bodies of every family, and what is refused of them."""

import base64
import io

import pytest
from PIL import Image

from wan_mcp.sandbox.catalogue.families import MODELS
from wan_mcp.sandbox.catalogue.model import Mode, WireProtocol

API = "/api/v1"
SYNC = f"{API}/services/aigc/multimodal-generation/generation"
ASYNC = f"{API}/services/aigc/image-generation/generation"
EDIT = f"{API}/services/aigc/image2image/image-synthesis"
WEB = "https://example.com/room.webp"
PALETTE = [
    {"hex": "#C2D1E6", "ratio": "23.51%"},
    {"hex": "#636574", "ratio": "50.00%"},
    {"hex": "#ffffff", "ratio": "26.49%"},
]


def draw(size=(640, 480), kind="PNG", mode="RGB", **extra):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **extra)
    return buffer.getvalue()


def in_body(data, media_type="image/png"):
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


PHOTO = in_body(draw())


def body(model, *images, text="Give image 1 a blue door", **parameters):
    parts = [*({"image": image} for image in images), {"text": text}]
    return {"model": model, "input": {"messages": [{"role": "user", "content": parts}]}, "parameters": parameters}


def legacy(*images, **parameters):
    return {
        "model": "wan2.5-i2i-preview",
        "input": {"prompt": "a blue door", "images": list(images)},
        "parameters": parameters,
    }


async def refusal(sandbox, content):
    """Give code and message with which the synchronous protocol refuses a body."""
    answer = await sandbox.post(SYNC, content, is_async=False)
    assert answer.status_code == 400, answer.text
    return answer.json()["code"], answer.json()["message"]


@pytest.mark.parametrize(
    "content",
    [
        body("wan2.7-image", PHOTO, n=1, size="1K"),
        body("wan2.7-image-pro", *[PHOTO] * 9, n=4, size="2K", seed=7, watermark=False, color_palette=PALETTE),
        body("wan2.7-image", PHOTO, WEB, n=1, size="2K", bbox_list=[[[0, 0, 640, 480]], [[989, 515, 1138, 681]]]),
        body("wan2.7-image", PHOTO, n=12, size="1K", enable_sequential=True),
        body("wan2.6-image", *[PHOTO] * 4, n=4, size="1200*900", prompt_extend=True, negative_prompt="people"),
        body(
            "qwen-image-3.0", *[PHOTO] * 3, n=6, size="1024*1024", enable_thinking=True, prompt_extend_mode="direct"
        ),
        body("qwen-image-3.0-pro", n=1, size="2048*2048", prompt_extend_mode="agent"),
        body("qwen-image-2.1-pro", *[PHOTO] * 10, n=1, size="1024*1024", prompt_extend=True),
        body("qwen-image-2.0-pro-2026-06-22", PHOTO, n=6, size="512*2048", negative_prompt="", seed=0),
        body("qwen-image-max", n=1, size="1328*1328"),
        body("qwen-image-edit-max", *[PHOTO] * 3, n=6, size="512*2048"),
        body("qwen-image-edit", PHOTO, n=1, negative_prompt="people"),
        body("z-image-turbo", size="1024*1536", prompt_extend=False),
    ],
    ids=lambda content: content["model"],
)
async def test_the_bodies_of_every_family_are_taken_also_where_the_sandbox_is_strict(open_sandbox, content):
    sandbox = open_sandbox(strict=True)
    answer = await sandbox.post(SYNC, content, is_async=False)
    assert answer.status_code == 200, answer.text
    model = MODELS[content["model"]]
    if WireProtocol.ASYNC in model.protocols:
        task = await sandbox.ended(await sandbox.post(ASYNC, content))
        assert task["output"]["task_status"] == "SUCCEEDED"


async def test_the_legacy_path_for_pictures_has_them_in_its_input(open_sandbox):
    sandbox = open_sandbox(strict=True)
    task = await sandbox.ended(await sandbox.post(EDIT, legacy(PHOTO, WEB, n=2, size="1280*1280")))
    assert [set(result) for result in task["output"]["results"]] == [{"orig_prompt", "actual_prompt", "url"}] * 2
    assert task["usage"] == {"image_count": 2}
    (row,) = (await sandbox.listed())["data"]
    assert row["user_api_unique_key"] == "apikey:v1:aigc:image2image:image-synthesis:wan2.5-i2i-preview"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (legacy(n=1), "lack of image or text"),
        (legacy(*[PHOTO] * 4), "Image request limit violated, expected 1-3."),
        (legacy(in_body(draw((10, 500)))), "must be in 11-20000]"),
        (legacy(PHOTO, size="1281*1280"), "The total pixels of size should be in [589824, 1638400]."),
        ({"model": "wan2.5-i2i-preview", "input": {"prompt": "a door"}}, "Field required: input.images"),
        (legacy("room.png"), "The request URL is invalid"),
    ],
)
async def test_the_legacy_path_for_pictures_fails_the_task_of_a_faulty_order(sandbox, content, message):
    output = (await sandbox.ended(await sandbox.post(EDIT, content)))["output"]
    assert output["task_status"] == "FAILED"
    assert message in output["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # Too few pictures, too many, and on a model that paints from words alone.
        (body("wan2.6-image", n=1), "lack of image or text"),
        (body("qwen-image-edit", n=1), "lack of image or text"),
        (body("wan2.7-image", *[WEB] * 10), "Image request limit violated, expected 1-9."),
        (body("wan2.6-image", *[WEB] * 5), "Image request limit violated, expected 1-4."),
        (body("qwen-image-3.0", *[WEB] * 4), "Image request limit violated, expected 1-3."),
        (body("wan2.6-t2i", WEB), "Image request limit violated, expected 0."),
        (body("qwen-image-max", WEB), "Image request limit violated, expected 0."),
        # Sizes, in each mode.
        (body("wan2.7-image-pro", WEB, size="4K"), "The size 4K is not of the form width*height."),
        (body("wan2.7-image-pro", size="4K", enable_sequential=True), "The size 4K is not of the form"),
        (body("wan2.7-image-pro", WEB, size="2049*2048"), "The total pixels of size should be in [589824, 4194304]."),
        (body("qwen-image-3.0", size="1K"), "The size 1K is not of the form width*height."),
        (body("qwen-image-3.0", size="511*512"), "The total pixels of size"),
        (body("qwen-image-3.0", size="256*2304"), "The aspect ratio of size should be in [1:8, 8:1]."),
        (body("qwen-image-plus", size="1024*1024"), "The size is not match the allowed size"),
        (body("qwen-image-edit-plus", WEB, size="511*1024"), "The width and height should be in [512, 2048]."),
        (body("qwen-image-edit", WEB, size="1024*1024"), "The parameter size is not supported by qwen-image-edit."),
        (body("wan2.6-image", WEB, size="512*2304"), "The aspect ratio of size should be in [1:4, 4:1]."),
        # Counts, in each mode.
        (body("wan2.7-image", WEB, n=5), "Range of n should be [1, 4]"),
        (body("wan2.7-image", n=13, enable_sequential=True), "Range of n should be [1, 12]"),
        (body("qwen-image-2.0", n=7), "Range of n should be [1, 6]"),
        (body("qwen-image-max", n=2), "num_images_per_prompt must be 1"),
        (body("qwen-image-edit", WEB, n=2), "num_images_per_prompt must be 1"),
        # What excludes something else.
        (body("qwen-image-3.0", WEB, prompt_extend_mode="agent"), "prompt_extend_mode agent is not supported"),
        (body("wan2.7-image", color_palette=PALETTE, enable_sequential=True), "color_palette is not supported when"),
        (body("wan2.7-image", WEB, bbox_list=[]), "The length of bbox_list should equal the number of images"),
        (body("wan2.7-image", WEB, bbox_list=[[], []]), "The length of bbox_list should equal the number of images"),
        (body("wan2.7-image", WEB, bbox_list=[[[0, 0, 9, 9]] * 3]), "at most 2 bounding boxes"),
        (body("wan2.7-image", PHOTO, bbox_list=[[[0, 0, 641, 480]]]), "is not inside its image"),
        (body("wan2.7-image", PHOTO, bbox_list=[[[9, 9, 9, 20]]]), "is not inside its image"),
        (body("wan2.7-image", PHOTO, bbox_list=[[[0, 0, 9]]]), "List should have at least 4 items"),
        (
            body("wan2.7-image", color_palette=PALETTE[:2]),
            "The number of colors in color_palette should be in [3, 10].",
        ),
        (body("wan2.7-image", color_palette=[*PALETTE, *PALETTE]), "must be 100.00%, not 200.00%."),
        (
            body("wan2.7-image", color_palette=[{"hex": "#12", "ratio": "33.33%"}] * 3),
            "color_palette has no color #12",
        ),
        (body("wan2.7-image", color_palette=[{"hex": "#123456", "ratio": "33.3%"}] * 3), "#123456 33.3%"),
        (body("wan2.6-image", enable_interleave=True), "enable_interleave on this path needs stream"),
    ],
)
async def test_what_the_service_refuses_is_refused(sandbox, content, message):
    code, found = await refusal(sandbox, content)
    assert code == "InvalidParameter"
    assert message in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            body("wan2.7-image", n=1, size="1K", prompt_extend=True),
            "wan2.7-image has no parameter prompt_extend here",
        ),
        (body("wan2.7-image", n=1, size="1K", negative_prompt=""), "has no parameter negative_prompt here"),
        (body("z-image-turbo", n=1, size="1024*1024"), "has no parameter n here"),
        (body("qwen-image-edit", PHOTO, n=1, prompt_extend=True), "has no parameter prompt_extend here"),
        (body("qwen-image-2.1-pro", n=1, size="1024*1024", negative_prompt=""), "no parameter negative_prompt here"),
        (body("wan2.6-t2i", n=1, size="1280*1280", colour="red"), "has no parameter colour here"),
        (body("wan2.7-image", size="1K"), "the parameter n is missing"),
        (body("qwen-image-3.0", n=1), "the parameter size is missing"),
        (body("wan2.7-image", PHOTO, n=1, size="1K", thinking_mode=True), "thinking_mode does nothing"),
        (
            body("wan2.7-image", in_body(draw(), "image/jpeg"), n=1, size="1K"),
            "the image is a PNG, and not image/jpeg as it says",
        ),
        (body("qwen-image-3.0", in_body(draw((300, 3100))), n=1, size="1024*1024"), "must be in 11-3072]"),
        (body("wan2.7-image", n=1, size="1K") | {"stream": True}, "the body has an unknown field stream"),
    ],
)
async def test_what_a_careful_client_never_sends_is_passed_over_unless_the_sandbox_is_strict(
    open_sandbox, content, message
):
    assert (await open_sandbox().post(SYNC, content, is_async=False)).status_code == 200
    code, found = await refusal(open_sandbox(strict=True), content)
    assert code == "InvalidParameter"
    assert message in found


async def test_words_between_the_pictures_and_two_things_in_a_part_are_refused_where_it_is_strict(open_sandbox):
    after = body("wan2.7-image", PHOTO, n=1, size="1K")
    after["input"]["messages"][0]["content"].reverse()
    both = body("wan2.7-image", n=1, size="1K")
    both["input"]["messages"][0]["content"] = [{"image": PHOTO, "text": "a blue door"}]
    for content, message in ((after, "the images come before the text"), (both, "is one text or one image")):
        assert (await open_sandbox().post(SYNC, content, is_async=False)).status_code == 200
        assert message in (await refusal(open_sandbox(strict=True), content))[1]


async def test_where_the_camera_stood_is_seen_where_it_is_strict(open_sandbox):
    exif = Image.Exif()
    exif[0x010E] = "my garden"
    for kind, media_type in (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")):
        content = body("wan2.7-image", in_body(draw(kind=kind, exif=exif), media_type), n=1, size="1K")
        assert (await open_sandbox().post(SYNC, content, is_async=False)).status_code == 200
        assert "EXIF" in (await refusal(open_sandbox(strict=True), content))[1]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
async def test_transparent_pictures_are_for_those_models_that_take_them(sandbox, mode):
    see_through = in_body(draw(mode=mode))
    for model in ("wan2.7-image", "wan2.7-image-pro", "wan2.6-image"):
        assert (await refusal(sandbox, body(model, see_through)))[1] == "The image must not have an alpha channel."
    for model in ("qwen-image-2.1-pro", "qwen-image-3.0"):
        assert (await sandbox.post(SYNC, body(model, see_through), is_async=False)).status_code == 200


async def test_a_story_is_words_and_pictures_in_turn_and_comes_by_task(open_sandbox):
    sandbox = open_sandbox(strict=True)
    asked = {"n": 1, "size": "1K", "enable_interleave": True}
    task = await sandbox.ended(await sandbox.post(ASYNC, body("wan2.6-image", max_images=3, **asked)))
    (choice,) = task["output"]["choices"]
    assert [part["type"] for part in choice["message"]["content"]] == ["text", "image"] * 3
    assert task["usage"]["image_count"] == 3
    for wrong, message in (({"max_images": 6}, "Range of max_images should be [1, 5]"), ({"n": 2}, "must be 1")):
        output = (await sandbox.ended(await sandbox.post(ASYNC, body("wan2.6-image", **asked | wrong))))["output"]
        assert message in output["message"]


async def test_a_set_may_end_before_it_is_full_and_is_billed_as_it_came(sandbox):
    content = body("wan2.7-image", PHOTO, text="six scenes, sandbox:fewer", n=6, size="1K", enable_sequential=True)
    task = await sandbox.ended(await sandbox.post(ASYNC, content))
    (choice,) = task["output"]["choices"]
    assert len(choice["message"]["content"]) == task["usage"]["image_count"] == 3


async def test_a_set_is_as_large_as_the_model_makes_one_where_the_order_does_not_say(sandbox):
    task = await sandbox.ended(await sandbox.post(ASYNC, body("wan2.7-image", enable_sequential=True, size="1K")))
    assert task["usage"]["image_count"] == 12


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (body("wan2.7-image", PHOTO, in_body(draw((900, 600))), n=1, size="1K"), "1248*832"),
        (body("wan2.7-image", PHOTO, n=1, size="1K"), "1184*880"),
        (body("wan2.7-image", WEB, n=1, size="1K"), "1024*1024"),
        (body("wan2.7-image", PHOTO, n=1), "2368*1776"),
        (body("wan2.7-image", n=1, size="1K"), "1024*1024"),
        (body("wan2.6-image", PHOTO, n=1, size="1001*1007"), "1008*1008"),
    ],
)
async def test_a_tier_keeps_the_ratio_of_the_last_picture(sandbox, content, size):
    answer = await sandbox.post(SYNC, content, is_async=False)
    assert answer.json()["usage"]["size"] == size


async def test_every_family_counts_in_its_own_way(sandbox):
    async def usage(content):
        return (await sandbox.post(SYNC, content, is_async=False)).json()["usage"]

    assert await usage(body("qwen-image-edit-plus", PHOTO, n=2)) == {"image_count": 2, "width": 1184, "height": 880}
    assert await usage(body("z-image-turbo")) == {"image_count": 1, "width": 1024, "height": 1536}
    left_out, small = (
        await usage(body("qwen-image-3.0-pro")),
        await usage(body("qwen-image-3.0", PHOTO, size="1500*1500")),
    )
    assert left_out == {
        "output_width": 2048,
        "output_height": 2048,
        "input_image_count": 0,
        "input_image_type": "qima_input_1k",
        "output_image_count": 1,
        "output_image_type": "qima_output_2k",
    }
    assert (small["output_image_type"], small["input_image_count"]) == ("qima_output_1k", 1)


@pytest.mark.parametrize(("extends", "status"), [(True, "success"), (False, "not_use")])
async def test_the_newest_family_says_whether_the_prompt_was_rewritten(sandbox, extends, status):
    content = body("qwen-image-3.0", size="1024*1024", n=2, prompt_extend=extends)
    answer = (await sandbox.post(SYNC, content, is_async=False)).json()
    assert answer["output"]["rewrite_status"] == status
    (choice,) = answer["output"]["choices"]
    assert [set(part) for part in choice["message"]["content"]] == [{"image"}] * 2
    task = await sandbox.ended(await sandbox.post(ASYNC, content))
    assert task["output"]["rewrite_status"] == status
    assert [part["type"] for part in task["output"]["choices"][0]["message"]["content"]] == ["image"] * 2


async def test_z_image_puts_the_rewritten_prompt_before_its_picture(sandbox):
    answer = await sandbox.post(SYNC, body("z-image-turbo", text="a cat", prompt_extend=True), is_async=False)
    words, picture = answer.json()["output"]["choices"][0]["message"]["content"]
    assert words["text"].startswith("a cat, ")
    assert "image" in picture


async def test_families_take_their_time_in_proportion(open_sandbox):
    async def seconds(content):
        sandbox = open_sandbox(duration=2.0, pending=0.3)
        before = sandbox.clock.time
        assert (await sandbox.post(SYNC, content, is_async=False)).status_code == 200
        return sandbox.clock.time - before

    times = [await seconds(body(model, **more)) for model, more in (
        ("z-image-turbo", {}), ("wan2.6-t2i", {"n": 1}), ("wan2.7-image", {"n": 1}), ("qwen-image-3.0", {}),
        ("wan2.7-image", {"n": 12, "enable_sequential": True}),
    )]  # fmt: skip
    assert times == sorted(times)
    assert len({round(each, 1) for each in times}) == len(times)


def test_every_mode_paints_its_default_and_takes_as_many_pictures_as_it_says():
    for model in MODELS.values():
        for mode, rule in model.modes.items():
            width, height = rule.sizes.measure(None)
            assert width >= 512, (model.name, mode)
            assert height >= 512, (model.name, mode)
            assert (rule.inputs[1] > 0) <= (model.inputs is not None), (model.name, mode)
        assert Mode.TEXT in model.modes or model.inputs is not None


@pytest.mark.parametrize(
    ("model", "prompt", "mode"),
    [
        ("qwen-image-2.1-pro", "This is an RGBA format image with transparency. A logo.", "RGBA"),
        ("qwen-image-2.1-pro", "Remove the background, leave it transparent", "RGBA"),
        ("qwen-image-2.1-pro", "把背景变成透明", "RGBA"),
        ("qwen-image-2.1-pro", "a blue door", "RGB"),
        ("qwen-image-3.0", "a transparent glass", "RGB"),
    ],
)
async def test_the_ground_is_transparent_where_the_words_ask_for_it_and_the_model_can(sandbox, model, prompt, mode):
    answer = await sandbox.post(SYNC, body(model, PHOTO, text=prompt, n=1, size="512*512"), is_async=False)
    url = answer.json()["output"]["choices"][0]["message"]["content"][0]["image"]
    image = (await sandbox.client.get(url)).content
    assert Image.open(io.BytesIO(image)).mode == mode
