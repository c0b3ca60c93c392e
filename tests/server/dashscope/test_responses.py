"""Whatever shape an answer has, what it says of a task and its images is read."""

import time

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from wan_mcp.dashscope.errors import CallContext, CallKind
from wan_mcp.dashscope.requests import find_endpoint
from wan_mcp.dashscope.responses import JsonResponse, read_created_task, read_task, read_task_list
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import AppError, ServiceDownError, ThrottledError
from wan_mcp_tools.domain.tasks import TaskStatus

TASK_ID = "0385dc79-5ff8-4d82-bcb6-000000000001"


CREATED = {"request_id": "r-1", "output": {"task_id": TASK_ID, "task_status": "PENDING"}}
DRAWN = {
    "output": {
        "choices": [
            {
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": [{"image": "https://x.example/1.png?a=1", "type": "image"}],
                },
            }
        ],
        "finished": True,
    },
    "usage": {"image_count": 1, "size": "1280*1280", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    "request_id": "r-2",
}


def choice(*parts):
    return {"finish_reason": "stop", "message": {"role": "assistant", "content": list(parts)}}


async def ask(kit, output, **more):
    client, _ = kit.client(kit.json({"request_id": "r-1", "output": output, **more}))
    return await client.query("singapore", TASK_ID)


async def test_the_answer_to_an_order_names_its_task(kit):
    client, _ = kit.client(kit.json(CREATED, date="Wed, 21 Oct 2026 07:28:00 GMT"))
    answer = await kit.create(client, kit.order())
    assert (answer.task_id, answer.status, answer.request_id) == (TASK_ID, TaskStatus.PENDING, "r-1")
    assert (answer.images, answer.served_at) == ((), 1792567680.0)


async def test_the_answer_to_a_synchronous_order_is_its_images(kit):
    client, _ = kit.client(kit.json(DRAWN))
    answer = await kit.create(client, kit.order(protocol=WireProtocol.SYNC))
    assert (answer.task_id, answer.status) == (None, TaskStatus.SUCCEEDED)
    assert [image.url for image in answer.images] == ["https://x.example/1.png?a=1"]
    assert (answer.size, answer.image_count) == ("1280*1280", 1)


async def test_a_task_id_counts_even_beside_an_error(kit):
    client, _ = kit.client(kit.json({**CREATED, "code": "InternalError", "message": "late"}, status=500))
    assert (await kit.create(client, kit.order())).task_id == TASK_ID


async def test_every_part_of_every_choice_is_an_image(kit):
    answer = await ask(
        kit,
        {
            "task_id": TASK_ID,
            "task_status": "SUCCEEDED",
            "choices": [
                choice(
                    {"image": "https://h/1.png"}, {"text": "words"}, {"image": "https://h/2.png", "type": "image"}
                ),
                choice({"image": "https://h/3.png"}),
                {"message": {"content": None}},
                "nonsense",
            ],
        },
        usage={"image_count": 3, "width": 1104, "height": 1472},
    )
    assert [(image.index, image.url) for image in answer.images] == [
        (1, "https://h/1.png"),
        (2, "https://h/2.png"),
        (3, "https://h/3.png"),
    ]
    assert (answer.size, answer.image_count, answer.total) == ("1104*1472", 3, None)
    assert answer.problem is None


async def test_a_legacy_answer_tells_prompts_failed_slots_and_duration(kit):
    answer = await ask(
        kit,
        {
            "task_id": TASK_ID,
            "task_status": "SUCCEEDED",
            "submit_time": "2025-01-08 19:36:01.521",
            "scheduled_time": "2025-01-08 19:36:01.542",
            "end_time": "2025-01-08 19:36:13.270",
            "results": [
                {"orig_prompt": "a flower", "actual_prompt": "a red flower", "url": "https://h/1.png?Expires=1"},
                {"code": "InternalError.Timeout", "message": "An internal timeout error"},
                {"code": "DataInspectionFailed", "message": "Output data may contain inappropriate content."},
            ],
            "task_metrics": {"TOTAL": 3, "SUCCEEDED": 1, "FAILED": 2},
        },
        usage={"image_count": 1},
    )
    assert answer.status is TaskStatus.SUCCEEDED
    assert (answer.orig_prompt, answer.actual_prompt) == ("a flower", "a red flower")
    assert [(image.index, image.url, image.code) for image in answer.images] == [
        (1, "https://h/1.png?Expires=1", None),
        (2, None, "InternalError.Timeout"),
        (3, None, "DataInspectionFailed"),
    ]
    assert "Nothing is charged" in answer.images[1].message
    assert "finished picture" in answer.images[2].message
    assert (answer.queued, answer.duration) == (pytest.approx(0.021), pytest.approx(11.728))
    assert (answer.total, answer.image_count) == (3, 1)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PENDING", TaskStatus.PENDING),
        ("RUNNING", TaskStatus.RUNNING),
        ("CANCELED", TaskStatus.CANCELED),
        ("CANCELLED", TaskStatus.CANCELED),
        ("UNKNOWN", TaskStatus.UNKNOWN),
        ("SUSPENDED", TaskStatus.RUNNING),
        ("succeeded?", TaskStatus.RUNNING),
        ("EXPIRED", TaskStatus.RUNNING),
    ],
)
async def test_a_state_nobody_documented_means_that_the_task_goes_on(kit, word, status):
    answer = await ask(kit, {"task_id": TASK_ID, "task_status": word, "results": [], "task_metrics": {"TOTAL": 0}})
    assert (answer.status, answer.images, answer.problem) == (status, (), None)


@pytest.mark.parametrize(
    ("output", "top"),
    [
        ({"code": "InvalidParameter", "message": "Field required: input.prompt"}, {}),
        ({}, {"code": "InvalidParameter", "message": "Field required: input.prompt"}),
        ({"results": [{"code": "InvalidParameter", "message": "Field required: input.prompt"}]}, {}),
    ],
)
async def test_a_failed_task_tells_why_wherever_the_code_stands(kit, output, top):
    answer = await ask(kit, {"task_id": TASK_ID, "task_status": "FAILED", **output}, **top)
    assert (answer.task_id, answer.status, answer.problem.code) == (TASK_ID, TaskStatus.FAILED, "InvalidParameter")
    assert "Field required: input.prompt" in answer.problem.message
    assert "Nothing is charged" in answer.problem.message


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ({"task_status": "FAILED"}, "ServiceError"),
        ({"task_status": "FAILED", "code": "DataInspectionFailed"}, "DataInspectionFailed"),
        ({"task_status": "SUCCEEDED", "choices": []}, "NoImages"),
    ],
)
async def test_what_brings_no_image_always_has_a_problem(kit, output, code):
    answer = await ask(kit, output)
    assert (answer.status, answer.images) == (output["task_status"], ())
    assert answer.problem.code == code
    assert answer.problem.message


async def test_an_address_that_cannot_be_read_is_kept_and_the_image_is_not_called_free(kit):
    answer = await ask(kit, {"task_status": "SUCCEEDED", "choices": [choice({"image": "oss://bucket/1.png"})]})
    assert (answer.images[0].url, answer.images[0].code) == ("oss://bucket/1.png", None)
    endless = await ask(kit, {"task_status": "SUCCEEDED", "results": [{"url": "https://h/" + "x" * 9000}]})
    assert (endless.images[0].url, endless.images[0].code) == (None, "UnreadableAddress")
    assert "may be charged" in endless.images[0].message


@pytest.mark.parametrize(
    "address", ["HTTPS://H/1.png?a=1", " https://h/1.png?a=1\t", "//h/1.png?a=1", "https://h/1.png?a=1\r\n"]
)
@pytest.mark.parametrize("shape", ["choices", "results", "one result", "an object", "a list"])
async def test_an_address_counts_however_it_is_spelled_and_wherever_it_stands(kit, address, shape):
    output = {
        "choices": {"choices": [choice({"image": address})]},
        "results": {"results": [{"url": address}]},
        "one result": {"results": {"url": address}},
        "an object": {"choices": [choice({"image": {"url": address}})]},
        "a list": {"choices": [choice({"image": [address]})]},
    }[shape]
    answer = await ask(kit, {"task_status": "SUCCEEDED", **output})
    assert [image.url.lower() for image in answer.images] == ["https://h/1.png?a=1"]


async def test_an_image_in_the_place_of_its_address_is_one(kit):
    answer = await ask(
        kit, {"task_status": "SUCCEEDED", "results": [{"url": "data:image/png;base64," + "A" * 9_000_000}]}
    )
    assert answer.images[0].url.startswith("data:image/png;base64,AAAA")


@pytest.mark.parametrize("word", ["FAILED", "CANCELED", "UNKNOWN", "SUCCEEDED", None])
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_image_that_is_given_was_made_whatever_else_is_said(kit, word, status):
    output = {"task_status": word, "code": "InternalError", "results": [{"url": "https://h/1.png"}]}
    client, _ = kit.client(kit.json({"code": "InternalError", "output": output}, status=status))
    answer = await client.query("singapore", TASK_ID)
    assert (answer.status, answer.problem) == (TaskStatus.SUCCEEDED, None)
    assert [image.url for image in answer.images] == ["https://h/1.png"]


@pytest.mark.parametrize(
    ("word", "more", "status"),
    [
        ("SUCCESS", {"finished": True}, TaskStatus.SUCCEEDED),
        ("Completed", {"end_time": "2026-11-27 10:00:00.000"}, TaskStatus.SUCCEEDED),
        ("DONE", {"results": [{"url": "https://h/1.png"}, {"url": "https://h/2.png"}]}, TaskStatus.SUCCEEDED),
        ("PROCESSING", {}, TaskStatus.RUNNING),
        ("RUNNING", {"finished": True}, TaskStatus.RUNNING),
    ],
)
async def test_a_task_that_has_ended_in_other_words_has_ended(kit, word, more, status):
    output = {"task_status": word, "results": [{"url": "https://h/1.png"}], **more}
    client, _ = kit.client(kit.json({"output": output}))
    assert (await client.query("singapore", TASK_ID, most=2)).status is status


async def test_a_task_that_runs_has_not_ended_though_it_shows_images(kit):
    answer = await ask(kit, {"task_status": "RUNNING", "results": [{"url": "https://h/1.png"}]})
    assert answer.status is TaskStatus.RUNNING


@pytest.mark.parametrize(("given", "most"), [(50, 1), (5, 4), (13, None), (4, 4)])
async def test_no_more_images_are_read_than_were_ordered_and_the_others_are_counted(kit, given, most):
    output = {"task_status": "SUCCEEDED", "results": [{"url": f"https://h/{number}.png"} for number in range(given)]}
    client, _ = kit.client(kit.json({"output": output}))
    answer = await client.query("singapore", TASK_ID, **({"most": most} if most else {}))
    assert len(answer.images) == (most or 12)
    assert answer.surplus == given - (most or 12)
    assert [image.index for image in answer.images] == list(range(1, len(answer.images) + 1))
    assert answer.images[0].url == "https://h/0.png"


async def test_the_answer_to_an_order_is_read_for_as_many_images_as_were_ordered(kit):
    client, _ = kit.client(kit.json({"output": {"choices": [choice(*[{"image": "https://h/1.png"}] * 9)]}}))
    answer = await kit.create(client, kit.order(protocol=WireProtocol.SYNC, n=2))
    assert (len(answer.images), answer.surplus) == (2, 7)


async def test_of_too_many_slots_those_with_images_are_read_first(kit):
    failed, made = {"code": "InternalError"}, {"url": "https://h/1.png"}
    client, _ = kit.client(
        kit.json({"output": {"task_status": "SUCCEEDED", "results": [*[failed] * 500, made, failed]}})
    )
    answer = await client.query("singapore", TASK_ID, most=2)
    assert [image.url for image in answer.images] == [None, "https://h/1.png"]
    assert answer.surplus == 500


@pytest.mark.parametrize("last", [b'{"code":"E"}', b'{"url":"https://h/1.png"}'])
async def test_very_many_failed_slots_do_not_hold_up_others(kit, last):
    many = 100_000
    body = b'{"output":{"task_status":"SUCCEEDED","results":[' + b'{"code":"E"},' * many + last + b"]}}"
    client, _ = kit.client(lambda request: httpx.Response(200, stream=httpx.ByteStream(body)))
    turns = 0

    async def take_turns():
        nonlocal turns
        while True:
            await anyio.sleep(0.005)
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(take_turns)
        # What the processor does for each thread, because a busy machine holds up all of them.
        on_the_loop, in_all = time.thread_time(), time.process_time()
        answer = await client.query("singapore", TASK_ID, most=1)
        on_the_loop, in_all = time.thread_time() - on_the_loop, time.process_time() - in_all
        group.cancel_scope.cancel()
    assert (len(answer.images), answer.surplus) == (1, many)
    assert (answer.images[0].url is None) == (b"url" not in last)
    assert on_the_loop < in_all / 2
    assert turns > 2


async def test_texts_of_the_service_are_fit_for_every_database(kit):
    body = (
        b'{"request_id": "r", "output": {"task_status": "SUCCEEDED", "results": [{"url": "https://h/1.png",'
        b' "actual_prompt": "half \\ud83d \xff raw\ttab \\u0000 sk-test-0123456789abcdef"}]}}'
    )
    client, _ = kit.client(lambda request: httpx.Response(200, content=body))
    answer = await client.query("singapore", TASK_ID)
    assert answer.images[0].url == "https://h/1.png"
    assert answer.actual_prompt == "half \ufffd \ufffd raw\ttab \ufffd …"


@pytest.mark.parametrize("field", ["task_id", "request_id", "code", "message", "url", "actual_prompt", "size"])
async def test_no_key_of_any_region_is_in_an_answer_or_an_error(kit, field):
    other = "sk-other-region-0123456789"
    access = kit.access() | kit.access(region="beijing", api_key=SecretStr(other))
    for key in (kit.key, other):
        value = f"https://h/{key}.png" if field == "url" else key
        slot = {"url": "https://h/1.png", "actual_prompt": "x"} | ({field: value} if field != "code" else {})
        output = {"task_id": "t-1", "task_status": "SUCCEEDED", "results": [slot, {"code": value, "message": value}]}
        body = {"output": output | {field: value}, "usage": {"size": value}, field: value}
        for status in (200, 400, 500):
            client, _ = kit.client(kit.json(body, status=status), access=access)
            for call in (
                kit.create(client, kit.order(n=2)),
                client.query("singapore", "t-1"),
                client.list_tasks("singapore"),
            ):
                try:
                    said = await call
                    said = f"{said!r} {[image.url for image in getattr(said, 'images', ())]}"
                except AppError as error:
                    said = f"{error} {error.code} {error!r} {vars(error)}"
                assert key not in said


@pytest.mark.parametrize("output", [None, [], {}, {"task_id": TASK_ID}, {"task_status": None}, {"task_status": 5}])
async def test_an_answer_that_tells_no_state_is_not_believed(kit, output):
    client, _ = kit.client(kit.json({"request_id": "r", "output": output}))
    with pytest.raises(ServiceDownError):
        await client.query("singapore", TASK_ID)


async def test_the_list_is_read_with_its_times_in_seconds(kit):
    listing = {
        "request_id": "r",
        "total": 41,
        "total_page": 5,
        "page_no": 2,
        "page_size": 10,
        "data": [
            {
                "gmt_create": 1736335000000,
                "start_time": 1736335001000,
                "end_time": 1736335012500,
                "model_name": "wan2.5-t2i-preview",
                "region": "cn-beijing",
                "request_id": "r-9",
                "status": "SUCCEEDED",
                "task_id": TASK_ID,
            },
            {"status": "RUNNING", "model_name": "wan2.6-t2i"},
            {"task_id": "t-2", "status": "BREWING", "gmt_create": "1736335000000"},
        ],
    }
    client, _ = kit.client(kit.json(listing, date="Wed, 21 Oct 2026 07:28:00 GMT"))
    page = await client.list_tasks("singapore", page_no=2)
    first, second = page.tasks
    assert (first.task_id, first.created_at, first.ended_at) == (TASK_ID, 1736335000.0, 1736335012.5)
    assert (first.model_id, first.request_id, first.region) == ("wan2.5-t2i-preview", "r-9", "singapore")
    assert (second.status, second.created_at, second.ended_at) == (TaskStatus.RUNNING, 1736335000.0, None)
    assert (page.total, page.page_no, page.total_pages, page.served_at) == (41, 2, 5, 1792567680.0)


async def test_an_empty_list_is_empty(kit):
    client, _ = kit.client(kit.json({"total": 0, "total_page": 0, "page_no": 1, "page_size": 100, "data": []}))
    page = await client.list_tasks("singapore")
    assert (page.tasks, page.total, page.total_pages) == ((), 0, 0)


@pytest.mark.parametrize(
    ("payload", "status", "kind"),
    [
        ({}, 200, ServiceDownError),
        ({"total": 3}, 200, ServiceDownError),
        ({"tasks": []}, 200, ServiceDownError),
        ({"data": None, "total": 2}, 200, ServiceDownError),
        ({"code": "Throttling"}, 429, ThrottledError),
    ],
)
async def test_an_answer_without_a_list_never_passes_for_an_empty_one(kit, payload, status, kind):
    client, _ = kit.client(kit.json(payload, status=status))
    with pytest.raises(kind):
        await client.list_tasks("singapore")


@pytest.mark.parametrize(
    ("numbers", "pages"), [({"total": 21, "page_size": 10}, 3), ({"total": 2}, 2), ({"total": True}, 4), ({}, 4)]
)
async def test_where_the_list_does_not_count_its_pages_they_are_counted(kit, numbers, pages):
    client, _ = kit.client(kit.json({"data": [{"task_id": "t-1"}], **numbers}))
    assert (await client.list_tasks("singapore", page_no=4)).total_pages == pages


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-01-08 19:36:13.270", "2025-01-08 19:36:01.521"),
        ("2025-01-08T19:36:13Z", "2025-01-08 19:36:15"),
        ("yesterday", "today"),
        (1736335000000, 1736335012000),
        (None, None),
    ],
)
async def test_times_that_make_no_sense_give_no_duration(kit, start, end):
    answer = await ask(kit, {"task_status": "FAILED", "scheduled_time": start, "end_time": end})
    assert answer.duration is None


async def test_the_wait_in_the_queue_is_told_apart_from_the_work(kit):
    times = {"submit_time": "2025-01-08 19:36:01.500", "scheduled_time": "2025-01-08 19:37:01.500"}
    running = await ask(kit, {"task_status": "RUNNING"} | times)
    ended = await ask(kit, {"task_status": "FAILED", "end_time": "2025-01-08 19:37:21.500"} | times)
    untold = await ask(
        kit, {"task_status": "FAILED", "end_time": times["scheduled_time"]} | {"submit_time": times["submit_time"]}
    )

    assert (running.queued, running.duration) == (60.0, None)
    assert (ended.queued, ended.duration) == (60.0, 20.0)
    assert (untold.queued, untold.duration) == (None, None)


async def test_numbers_are_read_in_every_form_and_nonsense_is_left(kit):
    usage = {"image_count": 2.0, "output_width": "1024", "output_height": 768}
    metrics = {"TOTAL": True}
    answer = await ask(kit, {"task_status": "CANCELED", "task_metrics": metrics}, usage=usage)
    assert (answer.image_count, answer.size, answer.total) == (2, "1024*768", None)


NAMES = [
    "output",
    "task_id",
    "task_status",
    "code",
    "message",
    "results",
    "url",
    "choices",
    "content",
    "image",
    "usage",
    "size",
    "width",
    "height",
    "image_count",
    "task_metrics",
    "TOTAL",
    "submit_time",
    "end_time",
    "data",
    "total",
    "total_page",
    "page_no",
    "page_size",
    "gmt_create",
    "status",
    "request_id",
    "error",
]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["FAILED", "t-1"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


@settings(max_examples=150)
@given(payload=JSON, status=st.sampled_from([200, 400, 429, 500]), huge=st.sampled_from([0, 10**400]))
def test_no_answer_whatever_it_holds_raises_anything_but_our_errors(kit, payload, status, huge):
    shapes = [payload, {"output": payload, "usage": {"size": payload, "image_count": huge}}, {"data": payload}]
    context = CallContext(find_endpoint(kit.access(), "singapore"), CallKind.ORDER)
    for shape in shapes:
        response = JsonResponse(status, shape if isinstance(shape, dict) else None)
        for read in (
            lambda response: read_created_task(response, context),
            lambda response: read_task(response, context, "t-1"),
            lambda response: read_task_list(response, context, page_no=1),
        ):
            try:
                result = read(response)
            except AppError as error:
                result = error.message
            assert result
