"""The calls of the service: what is checked before an order is accepted, and what each call answers."""

import re

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
    answer = await sandbox.client.post(
        ASYNC, content=b" " * (32 * 1024 * 1024 + 1), headers={"X-DashScope-Async": "enable"}
    )
    assert refusal(answer)[:2] == (400, "BadRequest.TooLarge")


async def test_other_paths_and_methods_are_refused_in_json(sandbox):
    assert refusal(await sandbox.client.get("/somewhere"))[0] == 404
    assert refusal(await sandbox.client.get(f"{API}/tasks/some-task/cancel/now"))[0] == 404
    assert refusal(await sandbox.client.get(ASYNC))[0] == 405


async def test_a_synchronous_order_without_input_is_refused(sandbox):
    answer = await sandbox.post(SYNC, {"model": "wan2.6-t2i"}, is_async=False)
    assert refusal(answer)[:2] == (400, "BadRequest.EmptyInput")


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


async def test_a_synchronous_order_answers_when_the_images_are_done(sandbox):
    before = sandbox.clock.time
    answer = await sandbox.order_sync(n=2)
    assert answer.status_code == 200
    assert sandbox.clock.time - before == pytest.approx(2.0)
    body = answer.json()
    assert set(body) == {"output", "usage", "request_id"}
    assert set(body["output"]) == {"choices", "finished"}
    urls = [part["image"] for choice in body["output"]["choices"] for part in choice["message"]["content"]]
    assert len(set(urls)) == 2
    assert body["usage"]["image_count"] == 2
    assert (await sandbox.client.get(urls[0])).status_code == 200


async def test_a_synchronous_order_is_no_task(sandbox):
    answer = await sandbox.order_sync(n=1)
    assert (await sandbox.listed())["total"] == 0
    url = answer.json()["output"]["choices"][0]["message"]["content"][0]["image"]
    hidden = re.search(r"([0-9a-f-]{36})-1\.png", url)[1]
    assert (await sandbox.task(hidden))["output"]["task_status"] == "UNKNOWN"


async def test_an_unknown_task_is_unknown_on_http_200(sandbox):
    task = await sandbox.task("00000000-0000-0000-0000-000000000000")
    assert set(task) == {"request_id", "output"}
    assert task["output"] == {"task_id": "00000000-0000-0000-0000-000000000000", "task_status": "UNKNOWN"}


async def test_only_a_pending_task_can_be_canceled(sandbox):
    task_id = (await sandbox.order_async()).json()["output"]["task_id"]
    answer = await sandbox.cancel(task_id)
    assert (answer.status_code, set(answer.json())) == (200, {"request_id"})
    sandbox.clock.time += 100
    output = (await sandbox.task(task_id))["output"]
    assert output["task_status"] == "CANCELED"
    assert set(output) == {"task_id", "task_status", "submit_time", "end_time"}
    (row,) = (await sandbox.listed())["data"]
    assert (row["status"], row["end_time"], "start_time" in row) == ("CANCELED", 1_767_323_045_678, False)
    running = (await sandbox.order_async()).json()["output"]["task_id"]
    sandbox.clock.time += 1
    for late in (task_id, running, "no-such-task"):
        answer = await sandbox.cancel(late)
        assert (answer.status_code, answer.json()["code"]) == (400, "UnsupportedOperation")
    assert (await sandbox.task(running))["output"]["task_status"] == "RUNNING"


async def test_queries_over_twenty_a_second_are_throttled(open_sandbox):
    sandbox = open_sandbox(query_throttle=20)
    path = f"{API}/tasks/00000000-0000-0000-0000-000000000000"
    statuses = [(await sandbox.client.get(path)).status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert (await sandbox.client.get(f"{API}/tasks/")).status_code == 200
    sandbox.clock.time += 1
    assert (await sandbox.client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "options",
    [{"pending": 3}, {"duration": -1, "pending": -2}, {"throttle": 0}, {"concurrency": 0}, {"link_life": 0}],
)
def test_senseless_switches_are_refused(open_sandbox, options):
    with pytest.raises(ValueError, match="must"):
        open_sandbox(**options)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_calls_of_tasks_answer_with_and_without_a_slash_at_the_end(sandbox, slash):
    task_id = (await sandbox.order_async()).json()["output"]["task_id"]
    (row,) = (await sandbox.client.get(f"{API}/tasks{slash}")).json()["data"]
    task = (await sandbox.client.get(f"{API}/tasks/{task_id}{slash}")).json()
    assert row["task_id"] == task["output"]["task_id"] == task_id
    assert (await sandbox.client.post(f"{API}/tasks/{task_id}/cancel{slash}")).status_code == 200


async def test_every_answer_carries_the_date_of_the_sandbox(sandbox):
    for path in ("/nowhere", f"{API}/tasks/"):
        answer = await sandbox.client.get(path)
        assert answer.headers.get_list("date") == ["Fri, 02 Jan 2026 03:04:05 GMT"]
