"""How a task lives, and the words that make the sandbox misbehave."""

import pytest


async def test_a_task_waits_runs_and_succeeds_as_time_goes_by(sandbox):
    answer = await sandbox.order_legacy(n=1)
    states = []
    for moment in (0, 0.29, 0.31, 1.99, 2.01):
        sandbox.clock.time = 1_767_323_045.678 + moment
        states.append((await sandbox.task(answer))["output"]["task_status"])
    assert states == ["PENDING", "PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]


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


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("a cat, sandbox:refuse", "DataInspectionFailed"),
        ("a cat, Sandbox:REFUSE", "DataInspectionFailed"),
        ("a scene full of gore", "DataInspectionFailed"),
        ("血腥的场面", "DataInspectionFailed"),
        ("sandbox:infringe", "IPInfringementSuspect"),
    ],
)
async def test_a_refused_prompt_fails_the_task_quickly_and_the_synchronous_call_at_once(sandbox, prompt, code):
    orders = (await sandbox.order_async(prompt), await sandbox.order_legacy(prompt))
    sandbox.clock.time += 0.4
    for order in orders:
        output = (await sandbox.task(order))["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", code)
    before = sandbox.clock.time
    answer = await sandbox.order_sync(prompt)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert sandbox.clock.time == before


async def test_harmless_words_that_hold_a_moderated_one_pass(sandbox):
    task = await sandbox.ended(await sandbox.order_async("the Gorey family in Bangoredale, seminude"))
    assert task["output"]["task_status"] == "SUCCEEDED"


async def test_one_slot_of_a_partial_legacy_task_holds_an_error(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy("sandbox:partial", n=3))
    assert task["output"]["task_status"] == "SUCCEEDED"
    assert [sorted(result) for result in task["output"]["results"]] == [
        ["actual_prompt", "orig_prompt", "url"], ["code", "message"], ["actual_prompt", "orig_prompt", "url"],
    ]  # fmt: skip
    assert task["output"]["results"][1]["code"] == "DataInspectionFailed"
    assert task["output"]["task_metrics"] == {"TOTAL": 3, "SUCCEEDED": 2, "FAILED": 1}
    assert task["usage"] == {"image_count": 2}


async def test_a_partial_task_of_the_newer_protocol_has_one_image_fewer(sandbox):
    task = await sandbox.ended(await sandbox.order_async("sandbox:partial", n=3))
    assert len(task["output"]["choices"]) == task["usage"]["image_count"] == 2


async def test_a_single_image_is_never_missing(sandbox):
    task = await sandbox.ended(await sandbox.order_legacy("sandbox:partial", n=1))
    assert "url" in task["output"]["results"][0]


async def test_a_breakdown_comes_at_the_end_of_the_work(sandbox):
    order = await sandbox.order_async("sandbox:fail")
    sandbox.clock.time += 1.9
    assert (await sandbox.task(order))["output"]["task_status"] == "RUNNING"
    sandbox.clock.time += 0.2
    assert (await sandbox.task(order))["output"]["code"] == "InternalError.Timeout"
    answer = await sandbox.order_sync("sandbox:fail")
    assert (answer.status_code, answer.json()["code"]) == (500, "InternalError.Timeout")


async def test_a_slow_order_takes_a_minute(sandbox):
    order = await sandbox.order_async("sandbox:slow")
    sandbox.clock.time += 59
    assert (await sandbox.task(order))["output"]["task_status"] == "RUNNING"
    sandbox.clock.time += 1.1
    assert (await sandbox.task(order))["output"]["task_status"] == "SUCCEEDED"
