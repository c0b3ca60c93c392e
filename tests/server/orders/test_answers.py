"""Whatever an answer holds: a picture that was made becomes a file, and nothing of the answer does harm."""

import gzip
import json
from base64 import b64encode
from dataclasses import replace
from functools import partial
from itertools import product

import anyio
import pytest

from fakes.clock import LONGEST
from fakes.dashscope import FakeService
from fakes.faults import Answer, Fault
from fakes.order_service import HURRIED_WAIT, get, hurried_service, make_settings, order, running_service, saved_files
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.tasks import TaskStatus

LEGACY, NEW = "wan2.5-t2i-preview", "wan2.6-t2i"
KEY = "sk-test-singapore"


def change_json(change):
    """Let an answer's JSON be changed: `change` gets it and gives another, or bytes."""

    def apply(answer: Answer) -> Answer:
        changed = change(json.loads(answer.body))
        return replace(answer, body=changed if isinstance(changed, bytes) else json.dumps(changed).encode())

    return Fault("change", change=apply)


def is_done(body):
    return body["output"]["task_status"] == "SUCCEEDED"


def slots_of(body):
    """Give what holds the addresses of an answer: each with the name of the field."""
    output = body["output"]
    parts = [part for choice in output.get("choices", []) for part in choice["message"]["content"]]
    return [(part, "image") for part in parts] + [(result, "url") for result in output.get("results", [])]


def change_addresses(change):
    """Let every address of an answer be changed."""

    def apply(body):
        for slot, name in slots_of(body):
            slot[name] = change(slot[name])
        return body

    return change_json(apply)


def decorate(body, written):
    """Write bytes into the rewritten prompt of every image, as they are."""
    if not is_done(body):
        return body
    for slot, _ in slots_of(body):
        slot["actual_prompt"] = "DECORATION"
    return json.dumps(body).encode().replace(b"DECORATION", written)


WRITTEN = [
    rb"half \ud83d pair",
    b"bad \xff byte",
    b"raw\ttab\nand line",
    rb"zero \u0000",
    rb"\udcff",
    b"x" * 1_000_000,
]


@pytest.mark.parametrize("model", [LEGACY, NEW])
async def test_no_text_beside_an_image_keeps_it_from_being_saved(tmp_path, model):
    with FakeService(duration=0.05) as service:
        settings = make_settings(tmp_path, service)
        async with running_service(settings) as bench:
            for number, written in enumerate(WRITTEN, 1):
                service.set_chance("query", 1.0, change_json(partial(decorate, written=written)))
                task = await order(bench, f"flower shop {number}", model=model)
                assert (task.status, len(task.images)) == (TaskStatus.SUCCEEDED, 1), written[:20]
                assert len(service.images_served) == number, written[:20]
        sidecars = list(settings.output_dir.rglob("*.json"))
        assert len(sidecars) == len(WRITTEN)
        for sidecar in sidecars:
            json.loads(sidecar.read_bytes())


@pytest.mark.parametrize(
    "answer",
    [
        Answer(302, {"location": "javascript:alert(1)"}, b""),
        Answer(302, {"location": "http://xn--/"}, b""),
        Answer(302, {"location": "https://[::1"}, b""),
        Answer(404, {}, b"<Error><Code>NoSuchBucket</Code></Error>"),
        Answer(200, {"content-type": "text/html"}, b"<html>sign in</html>"),
        Answer(200, {"content-encoding": "gzip"}, gzip.compress(gzip.compress(bytes(10_000_000)))),
    ],
    ids=["javascript", "xn--", "half an address", "refused", "a page", "a bomb"],
)
async def test_what_goes_wrong_with_one_image_leaves_the_others_alone(tmp_path, answer):
    with FakeService(duration=0.05) as service:

        def fail_first(true: Answer) -> Answer:
            return answer if b"index\x001" in true.body else true

        service.set_chance("image", 1.0, Fault("change", change=fail_first))
        settings = make_settings(tmp_path, service)
        async with hurried_service(settings) as bench:
            task = await order(bench, n=4, wait=HURRIED_WAIT)
        assert task.status is TaskStatus.SUCCEEDED
        assert [image.index for image in task.images] == [2, 3, 4]
        assert [image.index for image in task.failed_images] == [1]
        assert len(saved_files(settings)) == 3


SPELLINGS = {
    "with blanks": lambda url: f" {url}\t\r\n",
    "in capitals": lambda url: url.replace("http:", "HTTP:"),
    "in quotes": lambda url: f'"{url}"',
    "as in a page": lambda url: url.replace("&", "&amp;"),
    "with backslashes": lambda url: url.replace("/", "\\/"),
    "in an object": lambda url: {"url": url},
    "in a list": lambda url: [url],
}


@pytest.mark.parametrize("model", [LEGACY, NEW])
async def test_an_address_is_followed_however_it_is_spelled(tmp_path, model):
    with FakeService(duration=0.05) as service:
        async with running_service(make_settings(tmp_path, service)) as bench:
            for name, spell in SPELLINGS.items():
                service.set_chance("query", 1.0, change_addresses(spell))
                task = await order(bench, f"an address {name}", model=model)
                assert (task.status, len(task.images)) == (TaskStatus.SUCCEEDED, 1), name


@pytest.mark.parametrize("protocol", ["async", "sync"])
async def test_an_image_in_the_place_of_its_address_is_saved(tmp_path, protocol):
    with FakeService(duration=0.05) as service:
        content = service._paint(service.create_foreign(), 1)
        fault = change_addresses(lambda url: f"data:image/png;base64,{b64encode(content).decode()}")
        service.set_chance("create" if protocol == "sync" else "query", 1.0, fault)
        settings = make_settings(tmp_path, service, WAN_MCP_PROTOCOL=protocol)
        async with running_service(settings) as bench:
            task = await order(bench)
        assert (task.status, len(task.images)) == (TaskStatus.SUCCEEDED, 1)
        assert saved_files(settings)[0].read_bytes() == content
        assert service.images_served == []


async def test_an_image_in_the_place_of_its_address_is_checked_and_never_shown(tmp_path):
    with FakeService(duration=0.05) as service:
        service.set_chance("query", 1.0, change_addresses(lambda url: "data:image/png;base64," + "QUFB" * 100_000))
        settings = make_settings(tmp_path, service)
        async with running_service(settings) as bench:
            task = await order(bench)
        assert task.images == ()
        assert task.failed_images[0].code == "NotAnImage"
        assert len(repr(task)) < 3000
        assert saved_files(settings) == []


async def test_an_address_that_cannot_be_read_is_kept_for_a_person_and_the_picture_not_called_free(tmp_path):
    with FakeService(duration=0.05) as service:
        service.set_chance("query", 1.0, change_addresses(lambda url: "oss://bucket/a picture.png"))
        async with running_service(make_settings(tmp_path, service)) as bench:
            task = await order(bench)
        assert task.status is TaskStatus.SUCCEEDED
        [image] = task.failed_images
        assert image.url == "oss://bucket/a%20picture.png"
        assert "charged" not in image.message


CODINGS = ["utf-8", "", "aws-chunked", "binary", "gzip", "x-gzip", "br", "deflate"]


async def test_a_header_decides_nothing_about_the_bytes_of_an_image(tmp_path):
    def claim(true: Answer, coding: str) -> Answer:
        return replace(true, headers={**true.headers, "content-encoding": coding})

    def pack(true: Answer, coding: str) -> Answer:
        body = gzip.compress(true.body)
        headers = {name: value for name, value in true.headers.items() if name != "content-length"}
        return Answer(true.status, {**headers, "content-encoding": coding, "content-length": str(len(body))}, body)

    with FakeService(duration=0.05) as service:
        async with running_service(make_settings(tmp_path, service)) as bench:
            for number, (coding, change) in enumerate(product(CODINGS, (claim, pack)), 1):
                service.set_chance("image", 1.0, Fault("change", change=partial(change, coding=coding)))
                task = await order(bench, f"flower shop {number}")
                assert (task.status, len(task.images)) == (TaskStatus.SUCCEEDED, 1), (coding, change)
                assert len(service.images_served) == number, (coding, change)


@pytest.mark.parametrize("model", [LEGACY, NEW])
async def test_more_images_than_were_ordered_are_left_and_told(tmp_path, model):
    def multiply(body):
        output = body["output"]
        if "results" in output:
            output["results"] *= 50
        for choice in output.get("choices", []):
            choice["message"]["content"] *= 50
        return body

    with FakeService(duration=0.05) as service:
        service.set_chance("query", 1.0, change_json(multiply))
        settings = make_settings(tmp_path, service)
        async with running_service(settings) as bench:
            task = await order(bench, model=model)
            again = await get(bench, task.task_id)
        assert len(task.images) == len(saved_files(settings)) == len(service.images_served) == 1
        assert [note for note in again.notes if "names 50 images, and 1 was ordered" in note] == list(again.notes)
        assert again.notes


async def test_the_key_is_in_nothing_that_is_kept_or_told_when_the_service_repeats_it(tmp_path, caplog):
    caplog.set_level("DEBUG")

    def echo(body):
        body["request_id"] = body["output"]["request_id"] = KEY
        for slot, name in slots_of(body):
            slot["orig_prompt"] = slot["actual_prompt"] = f"a fox with {KEY} and sk-\u200btest-singapore"
            slot[name] += f"&note={KEY}&other=sk%2Dtest%2Dsingapore"
        if is_done(body) and "results" in body["output"]:
            body["output"]["results"].append({"code": KEY, "message": f"because of {KEY}"})
        return body

    with FakeService(duration=0.05) as service:
        for place in ("create", "query"):
            service.set_chance(place, 1.0, change_json(echo))
        settings = make_settings(tmp_path, service)
        async with running_service(settings) as bench:
            task = await order(bench, model=LEGACY, n=2)
            said = repr(task)
        kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".png"]
        assert any(path.suffix == ".json" for path in kept)
        assert any("ledger" in path.name for path in kept)
        for text in (said, caplog.text, *(path.read_bytes().decode("latin-1") for path in kept)):
            assert KEY not in text
            assert "test-singapore" not in text
        assert service.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert not service.authorization_at_image_host


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("InternalError.Algo.DataInspectionFailed", "Input data may contain inappropriate content.", "inspection"),
        ("InternalError.Algo.InvalidParameter", "Size is not supported.", "Size is not supported"),
        ("InvalidParameter", "<400> InternalError.Algo.DataInspectionFailed: Input data may", "inspection"),
        ("InternalError.Algo", "Algo process error.", "Nothing was ordered"),
    ],
)
async def test_a_refusal_by_the_service_ends_the_order_at_once(tmp_path, code, message, words):
    refusal = Answer(400, {}, json.dumps({"code": code, "message": message, "request_id": "r-1"}).encode())
    with FakeService() as service:
        service.set_chance("create", 1.0, Fault("change-before", change=lambda _: refusal))
        async with running_service(make_settings(tmp_path, service)) as bench:
            with anyio.fail_after(LONGEST / 2):
                task = await order(bench)
        assert (task.status, task.problem.code) == (TaskStatus.FAILED, code)
        assert words in task.problem.message
        assert [each.place for each in service.requests] == ["create"]


async def test_a_refusal_by_somebody_else_ends_the_order_and_claims_nothing(tmp_path):
    with FakeService() as service:
        async with running_service(make_settings(tmp_path, service)) as bench:
            for number, status in enumerate([401, 402, 403, 405, 407, 451], 1):
                service.set_chance("create", 1.0, f"html-{status}")
                task = await order(bench, f"flower shop {number}")
                assert (task.status, task.problem.code) == (TaskStatus.FAILED, "Intercepted"), status
                assert f"HTTP {status}" in task.problem.message
                assert "list of tasks shows" in task.problem.message
                assert [each.place for each in service.requests] == ["create"] * number, status


async def test_a_region_that_cannot_be_used_is_refused_with_those_that_can(tmp_path):
    keys = {"DASHSCOPE_API_KEY_BEIJING": "sk-of-beijing-0123", "DASHSCOPE_API_KEY_FRANKFURT": "sk-of-frankfurt"}
    for more, words in ((keys, "set up: singapore, beijing."), ({}, "set up: singapore.")):
        settings = make_settings(tmp_path, DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-of-singapore", **more)
        async with running_service(settings) as bench:
            with pytest.raises(SettingsError, match="workspace") as caught:
                await order(bench, region="frankfurt")
        assert words in caught.value.advice
