"""What orders and list calls may ask for, and how the rest is refused."""

import pytest

API = "/api/v1"


SYNC = f"{API}/services/aigc/multimodal-generation/generation"


ASYNC = f"{API}/services/aigc/image-generation/generation"


LEGACY = f"{API}/services/aigc/text2image/image-synthesis"


LEGACY_FAULTS = [
    ({}, "Field required: input"),
    ({"input": {}}, "Field required: input.prompt"),
    ({"input": {"prompt": 5}}, "Input should be a valid string: input.prompt"),
    ({"input": {"prompt": " "}}, "The prompt must not be empty."),
    ({"input": {"prompt": "x"}, "parameters": {"n": 5}}, "Range of n should be [1, 4]"),
    ({"input": {"prompt": "x"}, "parameters": {"n": 0}}, "Range of n should be [1, 4]"),
    ({"input": {"prompt": "x"}, "parameters": {"seed": 2**31}}, "Range of seed should be [0, 2147483647]"),
    (
        {"input": {"prompt": "x"}, "parameters": {"size": "1280x1280"}},
        "The size 1280x1280 is not of the form width*height.",
    ),
]


@pytest.mark.parametrize(("body", "message"), LEGACY_FAULTS)
async def test_the_legacy_protocol_accepts_a_faulty_order_and_fails_its_task(sandbox, body, message):
    answer = await sandbox.post(LEGACY, {"model": "wan2.5-t2i-preview"} | body)
    output = (await sandbox.ended(answer))["output"]
    assert (output["task_status"], output["code"], output["message"]) == ("FAILED", "InvalidParameter", message)


def one(*parts, role="user"):
    return {"input": {"messages": [{"role": role, "content": list(parts)}]}}


MESSAGE_FAULTS = [
    ({"input": {}}, "Field required: input.messages"),
    ({"input": {"messages": []}}, "messages length only support 1"),
    ({"input": {"messages": [{"role": "user", "content": [{"text": "x"}]}] * 2}}, "messages length only support 1"),
    (one(), "lack of image or text"),
    (one({"text": "x"}, {"text": "y"}), "Text request limit violated, expected 1."),
    (one({"text": "x"}, role="system"), "The role of the message must be user."),
    (one({"text": "x"}) | {"parameters": {"n": 9}}, "Range of n should be [1, 4]"),
    (
        one({"text": "x"}) | {"parameters": {"watermark": "maybe"}},
        "Input should be a valid boolean, unable to interpret input: parameters.watermark",
    ),
]


@pytest.mark.parametrize(("body", "message"), MESSAGE_FAULTS)
async def test_a_faulty_order_of_the_newer_protocols_fails_in_the_task_or_at_once(sandbox, body, message):
    body = {"model": "wan2.6-t2i"} | body
    output = (await sandbox.ended(await sandbox.post(ASYNC, body)))["output"]
    assert (output["task_status"], output["code"], output["message"]) == ("FAILED", "InvalidParameter", message)
    answer = await sandbox.post(SYNC, body, is_async=False)
    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (400, "InvalidParameter", message)


async def test_only_a_single_picture_may_have_4096_pixels_a_side(sandbox):
    model = "wan2.7-image-pro"
    plain = await sandbox.order_async(model=model, n=1, size="4K")
    one_of_a_set = await sandbox.order_async(model=model, n=1, size="4K", enable_sequential=True)
    assert (await sandbox.ended(plain))["usage"]["size"] == "4096*4096"
    assert (await sandbox.task(one_of_a_set))["output"]["code"] == "InvalidParameter"


async def test_four_images_are_made_when_the_order_does_not_say(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy())
    assert len(task["output"]["results"]) == 4
    task = await sandbox.ended(await sandbox.order_async())
    assert len(task["output"]["choices"]) == 4


@pytest.mark.parametrize(("model", "limit"), [("wan2.5-t2i-preview", 2000), ("wan2.2-t2i-flash", 800)])
async def test_a_long_prompt_is_cut_silently(sandbox, model, limit):
    answer = await sandbox.order_legacy("花" * (limit + 5), model=model, n=1)
    assert (await sandbox.ended(answer))["output"]["results"][0]["orig_prompt"] == "花" * limit


async def test_the_span_of_time_is_given_in_chinas_time(sandbox):
    await sandbox.order_async()
    # Submitted at 2026-01-02 11:04:05.678 there.
    for parameters, found in [
        ({"start_time": "20260102110405"}, 1),
        ({"start_time": "20260102110406"}, 0),
        ({"end_time": "20260102110405"}, 1),
        ({"end_time": "20260102110404"}, 0),
        ({"start_time": "20260102000000", "end_time": "20260102235959"}, 1),
    ]:
        assert (await sandbox.listed(**parameters))["total"] == found, parameters


async def test_without_a_span_the_last_day_is_listed(sandbox):
    answer = await sandbox.order_async("sandbox:slow")
    sandbox.clock.time += 86_399
    assert (await sandbox.listed())["total"] == 1
    sandbox.clock.time += 2
    assert (await sandbox.listed())["total"] == 0
    assert (await sandbox.task(answer))["output"]["task_status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "parameters",
    [
        {"start_time": "20260101000000", "end_time": "20260102000001"},
        {"start_time": "20260102000000", "end_time": "20260101000000"},
        {"start_time": "2026-01-01"},
        {"page_no": "0"},
        {"page_size": "101"},
        {"page_size": "ten"},
        {"page_no": "9" * 5000},
    ],
)
async def test_a_senseless_query_is_refused(sandbox, parameters):
    answer = await sandbox.client.get(f"{API}/tasks/", params=parameters)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
