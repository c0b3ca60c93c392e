"""The shapes of the task query's and the task list's answers."""


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


async def test_a_row_has_the_documented_fields(open_sandbox):
    sandbox = open_sandbox(region="ap-southeast-1")
    answer = (await sandbox.order_legacy()).json()
    sandbox.clock.time += 10
    body = await sandbox.listed()
    (row,) = body.pop("data")
    assert set(body) == {"request_id", "total", "total_page", "page_no", "page_size"}
    assert row == {
        "api_key_id": "1",
        "caller_parent_id": row["caller_parent_id"],
        "caller_uid": row["caller_uid"],
        "gmt_create": 1_767_323_045_678,
        "start_time": 1_767_323_045_978,
        "end_time": 1_767_323_047_678,
        "model_name": "wan2.5-t2i-preview",
        "region": "ap-southeast-1",
        "request_id": answer["request_id"],
        "status": "SUCCEEDED",
        "task_id": answer["output"]["task_id"],
        "user_api_unique_key": "apikey:v1:aigc:text2image:image-synthesis:wan2.5-t2i-preview",
    }


async def test_times_that_have_not_come_are_left_out(sandbox):
    await sandbox.order_async()
    (row,) = (await sandbox.listed())["data"]
    assert row["user_api_unique_key"] == "apikey:v1:aigc:image-generation:generation:wan2.6-t2i"
    assert row["status"] == "PENDING"
    assert not {"start_time", "end_time"} & set(row)
    sandbox.clock.time += 1
    (row,) = (await sandbox.listed())["data"]
    assert "start_time" in row
    assert "end_time" not in row


async def test_the_newest_come_first_page_by_page(sandbox):
    ids = []
    for _ in range(7):
        ids.append((await sandbox.order_async()).json()["output"]["task_id"])
        sandbox.clock.time += 1
    pages = [await sandbox.listed(page_no=number, page_size=3) for number in (1, 2, 3, 4)]
    assert [row["task_id"] for page in pages for row in page["data"]] == ids[::-1]
    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    assert {(page["total"], page["total_page"], page["page_size"]) for page in pages} == {(7, 3, 3)}
    assert [page["page_no"] for page in pages] == [1, 2, 3, 4]


async def test_rows_are_filtered_by_model_status_id_and_region(sandbox):
    first = (await sandbox.order_async()).json()["output"]["task_id"]
    sandbox.clock.time += 10
    second = (await sandbox.order_legacy()).json()["output"]["task_id"]

    async def ids(**parameters):
        return [row["task_id"] for row in (await sandbox.listed(**parameters))["data"]]

    assert await ids(model_name="wan2.6-t2i") == [first]
    assert await ids(status="PENDING") == [second]
    assert await ids(task_id=first) == [first]
    assert await ids(region="sandbox") == [second, first]
    assert await ids(region="cn-beijing") == []
    assert await ids(model_name="wan2.6-t2i", status="PENDING") == []
