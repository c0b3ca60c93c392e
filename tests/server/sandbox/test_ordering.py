"""What is checked before an order is accepted, and how it is refused."""

import pytest

API = "/api/v1"
SYNC = f"{API}/services/aigc/multimodal-generation/generation"
ASYNC = f"{API}/services/aigc/image-generation/generation"
LEGACY = f"{API}/services/aigc/text2image/image-synthesis"


def refusal(answer):
    body = answer.json()
    assert set(body) == {"code", "message", "request_id"}
    return answer.status_code, body["code"], body["message"]


async def test_an_accepted_order_answers_with_a_pending_task_id_and_a_request_id(sandbox):
    for answer in (await sandbox.order_legacy(), await sandbox.order_async()):
        body = answer.json()
        assert set(body) == {"output", "request_id"}
        assert set(body["output"]) == {"task_id", "task_status"}
        assert body["output"]["task_status"] == "PENDING"


@pytest.mark.parametrize("path", [SYNC, ASYNC, LEGACY, f"{API}/tasks/x", f"{API}/tasks/", f"{API}/tasks/x/cancel"])
async def test_every_call_needs_a_key(sandbox, path):
    method = "GET" if path.endswith(("tasks/", "/x")) else "POST"
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer "}):
        answer = await sandbox.client.request(method, path, headers=headers)
        assert refusal(answer) == (401, "InvalidApiKey", "No API-key provided.")


async def test_a_key_that_is_not_accepted_is_refused_as_the_service_words_it(open_sandbox):
    sandbox = open_sandbox(keys=frozenset({"sk-right"}))
    assert refusal(await sandbox.order_async()) == (401, "InvalidApiKey", "Invalid API-key provided.")
    sandbox.client.headers["Authorization"] = "Bearer sk-right"
    assert (await sandbox.order_async()).status_code == 200
    sandbox.client.headers["Authorization"] = "Basic sk-right"
    assert refusal(await sandbox.order_async())[:2] == (401, "InvalidApiKey")


@pytest.mark.parametrize("path", [ASYNC, LEGACY])
async def test_the_asynchronous_paths_need_their_header(sandbox, path):
    answer = await sandbox.post(path, {"model": "wan2.6-t2i"}, is_async=False)
    assert refusal(answer) == (403, "AccessDenied", "current user api does not support synchronous calls.")


async def test_the_synchronous_path_refuses_the_asynchronous_header(sandbox):
    answer = await sandbox.post(SYNC, {"model": "wan2.6-t2i"})
    assert refusal(answer) == (403, "AccessDenied", "current user api does not support asynchronous calls.")


@pytest.mark.parametrize("path", [SYNC, ASYNC, LEGACY])
@pytest.mark.parametrize("name", ["wan9.9-t2i", 7, ["wan2.6-t2i"]])
async def test_an_unknown_model_is_refused_on_every_path(sandbox, path, name):
    answer = await sandbox.post(path, {"model": name, "input": {}}, is_async=path != SYNC)
    assert refusal(answer) == (400, "InvalidParameter", "Model not exist.")


async def test_a_body_without_a_model_is_refused(sandbox):
    assert refusal(await sandbox.post(ASYNC, {"input": {}}))[:2] == (400, "BadRequest.EmptyModel")


@pytest.mark.parametrize(
    ("path", "model"), [(LEGACY, "wan2.6-t2i"), (ASYNC, "wan2.5-t2i-preview"), (SYNC, "wanx-v1")]
)
async def test_a_model_on_the_path_of_another_protocol_is_a_url_error(sandbox, path, model):
    status, code, message = refusal(await sandbox.post(path, {"model": model}, is_async=path != SYNC))
    assert (status, code) == (400, "InvalidParameter")
    assert message.startswith("url error, please check url！")


async def test_a_path_of_another_service_is_a_url_error_too(sandbox):
    answer = await sandbox.post(f"{API}/services/aigc/video-generation/video-synthesis", {"model": "wan2.6-t2i"})
    assert refusal(answer)[2].startswith("url error")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"", b"\xff\xfe", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_refused(sandbox, content):
    answer = await sandbox.client.post(ASYNC, content=content, headers={"X-DashScope-Async": "enable"})
    assert refusal(answer)[:2] == (400, "InvalidParameter")


async def test_a_body_of_many_megabytes_is_refused(sandbox):
    answer = await sandbox.client.post(ASYNC, content=b" " * 8_000_001, headers={"X-DashScope-Async": "enable"})
    assert refusal(answer)[:2] == (400, "BadRequest.TooLarge")


async def test_other_paths_and_methods_are_refused_in_json(sandbox):
    assert refusal(await sandbox.client.get("/somewhere"))[0] == 404
    assert refusal(await sandbox.client.get(f"{API}/tasks/some-task/"))[0] == 404
    assert refusal(await sandbox.client.get(ASYNC))[0] == 405


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
    assert refusal(answer) == (400, "InvalidParameter", message)


async def test_only_a_single_picture_may_have_4096_pixels_a_side(sandbox):
    model = "wan2.7-image-pro"
    plain = await sandbox.order_async(model=model, n=1, size="4K")
    one_of_a_set = await sandbox.order_async(model=model, n=1, size="4K", enable_sequential=True)
    assert (await sandbox.ended(plain))["usage"]["size"] == "4096*4096"
    assert (await sandbox.task(one_of_a_set))["output"]["code"] == "InvalidParameter"


async def test_a_synchronous_order_without_input_is_refused(sandbox):
    answer = await sandbox.post(SYNC, {"model": "wan2.6-t2i"}, is_async=False)
    assert refusal(answer)[:2] == (400, "BadRequest.EmptyInput")


async def test_four_images_are_made_when_the_order_does_not_say(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy())
    assert len(task["output"]["results"]) == 4
    task = await sandbox.ended(await sandbox.order_async())
    assert len(task["output"]["choices"]) == 4


@pytest.mark.parametrize(("model", "limit"), [("wan2.5-t2i-preview", 2000), ("wan2.2-t2i-flash", 800)])
async def test_a_long_prompt_is_cut_silently(sandbox, model, limit):
    answer = await sandbox.order_legacy("花" * (limit + 5), model=model, n=1)
    assert (await sandbox.ended(answer))["output"]["results"][0]["orig_prompt"] == "花" * limit


async def test_more_submissions_than_the_models_limit_are_throttled_until_the_second_is_over(open_sandbox):
    sandbox = open_sandbox(throttle=None)
    for _ in range(2):
        assert (await sandbox.order_legacy(model="wan2.2-t2i-flash")).status_code == 200
    answer = await sandbox.order_legacy(model="wan2.2-t2i-flash")
    assert refusal(answer) == (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")
    assert (await sandbox.order_legacy(model="wan2.2-t2i-plus")).status_code == 200
    assert (await sandbox.listed(model_name="wan2.2-t2i-flash"))["total"] == 2
    sandbox.clock.time += 1
    assert (await sandbox.order_legacy(model="wan2.2-t2i-flash")).status_code == 200


async def test_the_throttle_can_be_set_below_one_a_second(open_sandbox):
    sandbox = open_sandbox(throttle=0.5)
    assert (await sandbox.order_async()).status_code == 200
    sandbox.clock.time += 1.9
    assert (await sandbox.order_async()).status_code == 429
    sandbox.clock.time += 0.2
    assert (await sandbox.order_async()).status_code == 200


async def test_beijing_takes_one_order_of_wan26_a_second(open_sandbox):
    sandbox = open_sandbox(throttle=None, region="cn-beijing")
    assert [(await sandbox.order_async()).status_code for _ in range(2)] == [200, 429]


async def test_a_real_region_offers_only_its_models(open_sandbox):
    singapore = open_sandbox(region="ap-southeast-1")
    assert (await singapore.order_legacy(model="wan2.1-t2i-turbo")).status_code == 200
    assert refusal(await singapore.order_legacy(model="wanx2.1-t2i-turbo"))[2] == "Model not exist."
    frankfurt = open_sandbox(region="eu-central-1")
    assert (await frankfurt.order_async()).status_code == 200
    assert refusal(await frankfurt.order_sync())[:2] == (403, "AccessDenied")


async def test_every_answer_carries_the_date_of_the_sandbox(sandbox):
    for path in ("/nowhere", f"{API}/tasks/"):
        answer = await sandbox.client.get(path)
        assert answer.headers.get_list("date") == ["Fri, 02 Jan 2026 03:04:05 GMT"]
