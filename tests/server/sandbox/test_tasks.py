"""How a task lives, and what the task query answers."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

API = "/api/v1"


async def test_a_task_waits_runs_and_succeeds_as_time_goes_by(sandbox):
    answer = await sandbox.order_legacy(n=1)
    states = []
    for moment in (0, 0.29, 0.31, 1.99, 2.01):
        sandbox.clock.time = 1_767_323_045.678 + moment
        states.append((await sandbox.task(answer))["output"]["task_status"])
    assert states == ["PENDING", "PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]


async def test_times_are_those_of_china_without_a_zone(sandbox):
    output = (await sandbox.ended(await sandbox.order_legacy()))["output"]
    assert output["submit_time"] == "2026-01-02 11:04:05.678"
    assert output["scheduled_time"] == "2026-01-02 11:04:05.978"
    assert output["end_time"] == "2026-01-02 11:04:07.678"


async def test_a_finished_legacy_task_has_the_documented_shape(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy("a flower shop", n=2))
    assert set(task) == {"request_id", "output", "usage"}
    assert set(task["output"]) == {
        "task_id", "task_status", "submit_time", "scheduled_time", "end_time", "results", "task_metrics",
    }  # fmt: skip
    assert [set(result) for result in task["output"]["results"]] == [{"orig_prompt", "actual_prompt", "url"}] * 2
    assert task["output"]["results"][0]["orig_prompt"] == "a flower shop"
    assert task["output"]["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 2, "FAILED": 0}
    assert task["usage"] == {"image_count": 2}


async def test_the_rewritten_prompt_is_told_only_if_it_was_rewritten(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy(n=1, prompt_extend=False))
    assert set(task["output"]["results"][0]) == {"orig_prompt", "url"}


async def test_a_running_legacy_task_counts_zeros_and_has_no_results(sandbox):
    answer = await sandbox.order_legacy(n=3)
    pending = (await sandbox.task(answer))["output"]
    assert set(pending) == {"task_id", "task_status", "submit_time", "task_metrics"}
    sandbox.clock.time += 1
    task = await sandbox.task(answer)
    assert set(task["output"]) == {"task_id", "task_status", "submit_time", "scheduled_time", "task_metrics"}
    assert task["output"]["task_metrics"] == {"TOTAL": 3, "SUCCEEDED": 0, "FAILED": 0}
    assert "usage" not in task


async def test_a_finished_task_of_the_newer_protocol_has_the_documented_shape(sandbox):
    task = await sandbox.ended(await sandbox.order_async(n=2, size="1696*960"))
    output = task["output"]
    assert set(output) == {
        "task_id", "task_status", "submit_time", "scheduled_time", "end_time", "finished", "choices",
    }  # fmt: skip
    assert output["finished"] is True
    for choice in output["choices"]:
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["role"] == "assistant"
        assert [set(part) for part in choice["message"]["content"]] == [{"image", "type"}]
    assert task["usage"] == {
        "image_count": 2, "size": "1696*960", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
    }  # fmt: skip


async def test_wan27_counts_tokens_and_puts_a_set_into_one_choice(sandbox):
    task = await sandbox.ended(
        await sandbox.order_async("a cat", model="wan2.7-image", n=6, enable_sequential=True, size="1K")
    )
    (choice,) = task["output"]["choices"]
    assert len(choice["message"]["content"]) == 6
    assert task["usage"]["total_tokens"] == task["usage"]["input_tokens"] + task["usage"]["output_tokens"] > 0
    assert task["usage"]["size"] == "1024*1024"


async def test_a_failed_task_carries_code_message_and_times_on_http_200(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy("sandbox:fail", n=3))
    assert set(task) == {"request_id", "output"}
    assert task["output"]["code"] == "InternalError.Timeout"
    assert task["output"]["task_metrics"] == {"TOTAL": 3, "SUCCEEDED": 0, "FAILED": 3}
    assert {"submit_time", "scheduled_time", "end_time"} <= set(task["output"])
    assert "task_metrics" not in (await sandbox.ended(await sandbox.order_async("sandbox:fail")))["output"]


async def test_an_unknown_task_is_unknown_on_http_200(sandbox):
    task = await sandbox.task("00000000-0000-0000-0000-000000000000")
    assert set(task) == {"request_id", "output"}
    assert task["output"] == {"task_id": "00000000-0000-0000-0000-000000000000", "task_status": "UNKNOWN"}


async def test_a_task_is_forgotten_a_day_after_its_end(sandbox):
    answer = await sandbox.order_legacy(n=1)
    sandbox.clock.time += 86_400
    assert (await sandbox.task(answer))["output"]["task_status"] == "SUCCEEDED"
    assert (await sandbox.listed())["total"] == 1
    sandbox.clock.time += 3
    assert set((await sandbox.task(answer))["output"].items()) == {
        ("task_id", answer.json()["output"]["task_id"]), ("task_status", "UNKNOWN"),
    }  # fmt: skip
    assert (await sandbox.listed(start_time="20260102110000"))["total"] == 0


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


async def test_a_canceled_task_gives_its_place_to_those_that_come_after(open_sandbox):
    sandbox = open_sandbox(concurrency=1)
    first = (await sandbox.order_async()).json()["output"]["task_id"]
    await sandbox.cancel(first)
    second = await sandbox.order_async()
    sandbox.clock.time += 1
    assert (await sandbox.task(second))["output"]["task_status"] == "RUNNING"


async def test_tasks_beyond_the_models_concurrency_wait_as_pending_in_their_order(sandbox):
    orders = [await sandbox.order_async(n=1) for _ in range(12)]
    seen = []
    for moment in (1.0, 2.5, 4.2):
        sandbox.clock.time = 1_767_323_045.678 + moment
        seen.append("".join([(await sandbox.task(order))["output"]["task_status"][0] for order in orders]))
    assert seen == ["RRRRRPPPPPPP", "SSSSSRRRRRPP", "SSSSSSSSSSRR"]


async def test_concurrency_counts_for_each_model_by_itself(sandbox):
    for _ in range(2):
        await sandbox.order_legacy(model="wanx-v1")
    other = await sandbox.order_legacy(model="wan2.2-t2i-plus")
    sandbox.clock.time += 1
    states = {row["task_id"]: row["status"] for row in (await sandbox.listed())["data"]}
    assert sorted(states.values()) == ["PENDING", "RUNNING", "RUNNING"]
    assert states[other.json()["output"]["task_id"]] == "RUNNING"


async def test_queries_over_twenty_a_second_are_throttled(open_sandbox):
    sandbox = open_sandbox(query_throttle=20)
    path = f"{API}/tasks/00000000-0000-0000-0000-000000000000"
    statuses = [(await sandbox.client.get(path)).status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert (await sandbox.client.get(f"{API}/tasks/")).status_code == 200
    sandbox.clock.time += 1
    assert (await sandbox.client.get(path)).status_code == 200


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


@pytest.mark.parametrize(
    "options",
    [{"pending": 3}, {"duration": -1, "pending": -2}, {"throttle": 0}, {"concurrency": 0}, {"link_life": 0}],
)
def test_senseless_switches_are_refused(open_sandbox, options):
    with pytest.raises(ValueError, match="must"):
        open_sandbox(**options)
