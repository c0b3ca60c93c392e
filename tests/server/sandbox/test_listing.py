"""The task list: rows, filters, pages."""

import pytest

API = "/api/v1"


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


async def test_the_list_answers_with_and_without_the_slash(sandbox):
    for path in (f"{API}/tasks", f"{API}/tasks/"):
        assert (await sandbox.client.get(path)).json()["data"] == []
