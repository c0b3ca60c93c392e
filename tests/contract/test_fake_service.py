"""The look-alike behaves as the documentation says and breaks as it is told; otherwise tests on it prove nothing."""

import ast
import json
import signal
import subprocess
import sys
import time
from collections import deque
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from fakes import tiny_png
from fakes.dashscope_service import FakeService

FAKES = Path(__file__).resolve().parents[1] / "fakes"
KEY = "sk-of-the-test-0001"
SYNC = "/services/aigc/multimodal-generation/generation"
ASYNC = "/services/aigc/image-generation/generation"
LEGACY = "/services/aigc/text2image/image-synthesis"


class Caller:
    """A plain client of one base URL."""

    def __init__(self, service, client, base=None, key=KEY):
        self.service, self.client, self.base = service, client, base or service.base_url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def create(
        self,
        path=ASYNC,
        model="wan2.6-t2i",
        prompt="a red door",
        *,
        marked=None,
        timeout=5.0,
        given=None,
        **parameters,
    ):
        body = {"model": model, "parameters": parameters}
        body["input"] = (
            {"prompt": prompt} if path == LEGACY else {"messages": [{"role": "user", "content": [{"text": prompt}]}]}
        )
        body["input"] |= given or {}
        marked = path != SYNC if marked is None else marked
        headers = {**self.headers, **({"X-DashScope-Async": "enable"} if marked else {})}
        return self.client.post(self.base + path, json=body, headers=headers, timeout=timeout)

    def get(self, path, timeout=5.0, **query):
        return self.client.get(self.base + path, params=query or None, headers=self.headers, timeout=timeout)

    def cancel(self, task_id):
        return self.client.post(f"{self.base}/tasks/{task_id}/cancel", headers=self.headers)

    def finish(self, *args, **kwargs):
        """Create, let the service's clock pass the end, and answer the query's body."""
        answer = self.create(*args, **kwargs)
        assert answer.status_code == 200, answer.text
        self.service.advance(60)
        return self.get("/tasks/" + answer.json()["output"]["task_id"]).json()

    def link(self):
        return self.finish()["output"]["choices"][0]["message"]["content"][0]["image"]


@pytest.fixture
def service():
    with FakeService(duration=30) as running:
        yield running


@pytest.fixture
def client():
    with httpx.Client(verify=False, trust_env=False) as running:  # reading certificates is slow
        yield running


@pytest.fixture
def caller(service, client):
    return Caller(service, client)


# The three protocols


def test_a_legacy_task_echoes_its_prompt_and_counts_its_slots(caller, client):
    answer = caller.create(LEGACY, "wan2.5-t2i-preview", n=2, size="1280*1280")
    assert answer.json()["output"]["task_status"] == "PENDING"
    path = "/tasks/" + answer.json()["output"]["task_id"]
    assert caller.get(path).json()["output"]["task_status"] == "RUNNING"
    caller.service.advance(60)
    body = caller.get(path).json()
    output = body["output"]
    assert output["task_status"] == "SUCCEEDED"
    assert output["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 2, "FAILED": 0}
    assert body["usage"] == {"image_count": 2}
    assert [slot["orig_prompt"] for slot in output["results"]] == ["a red door"] * 2
    assert output["results"][0]["actual_prompt"].startswith("a red door,")
    assert len(output["submit_time"]) == len("2025-01-08 19:36:01.521")


def test_the_rewritten_prompt_is_absent_when_rewriting_is_off(caller):
    slot = caller.finish(LEGACY, "wan2.5-t2i-preview", n=1, prompt_extend=False)["output"]["results"][0]
    assert slot["orig_prompt"] == "a red door"
    assert "actual_prompt" not in slot


def test_the_newer_protocol_answers_choices_and_never_a_prompt(caller):
    body = caller.finish(ASYNC, n=3)
    assert [len(choice["message"]["content"]) for choice in body["output"]["choices"]] == [1, 1, 1]
    assert body["usage"]["image_count"] == 3
    assert body["usage"]["size"] == "1280*1280"
    assert "red door" not in json.dumps(body)


def test_the_other_documented_reading_puts_all_images_into_one_choice(caller):
    caller.service.configure(result_shape="parts")
    (choice,) = caller.finish(ASYNC, n=2)["output"]["choices"]
    assert ["image" in part for part in choice["message"]["content"]] == [False, True, True]


def test_the_synchronous_protocol_answers_images_after_the_work_and_no_task_id(caller):
    caller.service.configure(duration=0.2)
    began = time.monotonic()
    body = caller.create(SYNC, n=1).json()
    assert time.monotonic() - began >= 0.19
    assert body["output"]["finished"] is True
    assert "task_id" not in body["output"]
    assert caller.get("/tasks/").json()["total"] == 0
    assert caller.service.paid_images() == 1


def test_a_synchronous_order_is_paid_for_even_if_its_caller_left(caller):
    caller.service.configure(duration=0.3)
    with pytest.raises(httpx.ReadTimeout):
        caller.create(SYNC, n=2, timeout=0.1)
    caller.service.advance(1)
    assert caller.service.paid_images() == 2


def test_an_order_without_n_is_four_images_and_all_are_billed(caller):
    caller.finish(LEGACY, "wan2.2-t2i-flash")
    assert caller.service.paid_images() == 4


def test_a_negative_prompt_counts_only_in_its_own_place(caller):
    caller.create(LEGACY, "wan2.5-t2i-preview", given={"negative_prompt": "rain"})
    caller.create(LEGACY, "wan2.5-t2i-preview", negative_prompt="rain")
    caller.create(ASYNC, negative_prompt="rain")
    caller.create(ASYNC, given={"negative_prompt": "rain"})
    assert [task["negative_prompt"] for task in caller.service.tasks] == ["rain", None, "rain", None]


@pytest.mark.parametrize(
    ("path", "model", "change", "words"),
    [
        (LEGACY, "wan2.5-t2i-preview", {"prompt": ""}, "Field required: input.prompt"),
        (ASYNC, "wan2.6-t2i", {"given": {"messages": []}}, "Field required: input.messages"),
        (ASYNC, "wan2.6-t2i", {"n": 5}, "Range of n should be [1, 4]"),
        (ASYNC, "wan2.6-t2i", {"size": "1280x1280"}, "size"),
        (ASYNC, "wan2.6-t2i", {"size": "1441*1441"}, "size"),
        (LEGACY, "wan2.2-t2i-plus", {"size": "1696*960"}, "size"),
    ],
)
def test_wrong_parameters_are_accepted_and_fail_inside_the_task(caller, path, model, change, words):
    output = caller.finish(path, model, **change)["output"]
    assert output["task_status"] == "FAILED"
    assert output["code"] == "InvalidParameter"
    assert words in output["message"]
    assert caller.service.paid_images() == 0


@pytest.mark.parametrize("size", ["1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960", "768*2700"])
def test_every_recommended_size_comes_out_in_its_pixels(caller, client, size):
    link = caller.finish(size=size, n=1)["output"]["choices"][0]["message"]["content"][0]["image"]
    assert "{}*{}".format(*tiny_png.read_size(client.get(link).content)) == size


def test_a_synchronous_call_refuses_wrong_parameters_at_once(caller):
    answer = caller.create(SYNC, n=9)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert caller.service.tasks == []


@pytest.mark.parametrize(
    ("region", "path", "model", "marked", "status", "words"),
    [
        (None, ASYNC, "wan9", True, 400, "Model not exist."),
        ("singapore", LEGACY, "wanx2.1-t2i-plus", True, 400, "Model not exist."),
        ("beijing", LEGACY, "wan2.1-t2i-plus", True, 400, "Model not exist."),
        (None, LEGACY, "wan2.6-t2i", True, 400, "url error, please check url！"),
        (None, ASYNC, "wan2.5-t2i-preview", True, 400, "url error, please check url！"),
        (None, ASYNC, "wan2.6-t2i", False, 403, "does not support synchronous calls."),
        (None, LEGACY, "wan2.5-t2i-preview", False, 403, "does not support synchronous calls."),
        (None, SYNC, "wan2.6-t2i", True, 403, "does not support asynchronous calls."),
        ("frankfurt", SYNC, "wan2.6-t2i", False, 403, "does not support synchronous calls."),
    ],
)
def test_model_address_and_header_are_checked_at_once(service, client, region, path, model, marked, status, words):  # noqa: PLR0917  one for each column
    caller = Caller(service, client, service.base_url_of(region) if region else None)
    answer = caller.create(path, model, marked=marked)
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert service.tasks == []
    assert service.creates[0].outcome == f"refused: {answer.json()['code']}"


def test_a_key_is_good_in_its_own_region_only(client):
    with FakeService(keys={"singapore": KEY, "beijing": "sk-of-beijing-01"}) as service:
        home = Caller(service, client, service.base_url_of("singapore"))
        task_id = home.create().json()["output"]["task_id"]
        assert home.get("/tasks/" + task_id).json()["output"]["task_status"] != "UNKNOWN"
        assert Caller(service, client).get("/tasks/" + task_id).json()["output"]["task_status"] != "UNKNOWN"
        abroad = Caller(service, client, service.base_url_of("beijing")).create()
        assert (abroad.status_code, abroad.json()["code"]) == (401, "InvalidApiKey")
        elsewhere = Caller(service, client, service.base_url_of("cn-beijing"), key="sk-of-beijing-01")
        assert elsewhere.get("/tasks/" + task_id).json()["output"] == {"task_id": task_id, "task_status": "UNKNOWN"}
        assert Caller(service, client, key=None).create().json()["message"] == "No API-key provided."


# Task calls


def test_an_id_nobody_gave_is_unknown_with_status_200(caller):
    answer = caller.get("/tasks/00000000-0000-0000-0000-000000000000")
    assert answer.status_code == 200
    assert answer.json()["output"]["task_status"] == "UNKNOWN"


def test_a_record_dies_a_day_after_its_end(caller):
    task_id = caller.finish()["output"]["task_id"]
    caller.service.advance(86000)
    assert caller.get("/tasks/" + task_id).json()["output"]["task_status"] == "SUCCEEDED"
    caller.service.advance(600)
    assert caller.get("/tasks/" + task_id).json()["output"]["task_status"] == "UNKNOWN"
    assert caller.get("/tasks/").json()["total"] == 0
    assert caller.service.paid_images() == 4


def test_only_a_pending_task_can_be_canceled(caller):
    caller.service.configure(pending=10)
    first, second = (caller.create().json()["output"]["task_id"] for _ in range(2))
    answer = caller.cancel(first)
    assert (answer.status_code, list(answer.json())) == (200, ["request_id"])
    assert caller.get("/tasks/" + first).json()["output"]["task_status"] == "CANCELED"
    caller.service.advance(20)
    late = caller.cancel(second)
    assert (late.status_code, late.json()["code"]) == (400, "UnsupportedOperation")
    caller.service.advance(60)
    assert caller.service.paid_images() == 4


def test_the_list_filters_pages_and_tells_times_in_milliseconds(caller):
    ids = []
    for model in ("wan2.6-t2i", "wan2.7-image", "wan2.6-t2i"):
        ids.append(caller.create(ASYNC, model).json()["output"]["task_id"])
        caller.service.advance(100)
    body = caller.get("/tasks/", model_name="wan2.6-t2i", page_size=1, page_no=2).json()
    assert (body["total"], body["total_page"], body["page_no"], body["page_size"]) == (2, 2, 2, 1)
    (row,) = body["data"]
    assert row["task_id"] == ids[0]
    assert row["gmt_create"] == int(caller.service.tasks[0]["created"] * 1000)
    assert row["request_id"] == caller.service.tasks[0]["request_id"]
    assert "prompt" not in json.dumps(body)
    newest_first = [each["task_id"] for each in caller.get("/tasks/").json()["data"]]
    assert newest_first == ids[::-1]
    assert caller.get("/tasks/", task_id=ids[1]).json()["total"] == 1
    assert caller.get("/tasks/", status="RUNNING").json()["total"] == 0
    assert caller.get("/tasks/", page_size=101).status_code == 400


def test_the_list_reads_its_window_as_china_time(caller):
    caller.create()
    here = datetime.fromtimestamp(caller.service.tasks[0]["created"], UTC)

    def count(zone, before, after):
        window = {
            "start_time": (here.astimezone(zone) - timedelta(minutes=before)).strftime("%Y%m%d%H%M%S"),
            "end_time": (here.astimezone(zone) + timedelta(minutes=after)).strftime("%Y%m%d%H%M%S"),
        }
        return caller.get("/tasks/", **window)

    china = timezone(timedelta(hours=8))
    assert count(china, 1, 1).json()["total"] == 1
    assert count(china, 3, -2).json()["total"] == 0
    assert count(UTC, 1, 1).json()["total"] == 0
    assert count(china, 25 * 60, 1).status_code == 400
    assert caller.get("/tasks/", start_time="yesterday").status_code == 400


def test_a_new_task_appears_in_the_list_only_after_the_lag(caller):
    caller.service.configure(list_lag=5)
    task_id = caller.create().json()["output"]["task_id"]
    assert caller.get("/tasks/").json()["total"] == 0
    assert caller.get("/tasks/" + task_id).json()["output"]["task_status"] == "RUNNING"
    caller.service.advance(6)
    assert caller.get("/tasks/").json()["total"] == 1


def test_tasks_of_another_program_are_listed_but_not_billed_to_the_client(caller):
    foreign = caller.service.create_foreign(prompt="a blue door", n=3, age=20)
    legacy = caller.service.create_foreign(model="wan2.5-t2i-preview", age=10)
    assert [row["task_id"] for row in caller.get("/tasks/").json()["data"]] == [legacy.id, foreign.id]
    caller.service.advance(60)
    assert caller.service.paid_images() == 0
    assert caller.service.paid_images(None) == 4
    assert caller.service.creates == []


def test_another_program_keeps_ordering_on_its_own(caller):
    caller.service.configure(foreign_every=0.02, foreign_order={"prompt": "tick"})
    deadline = time.monotonic() + 5
    while caller.get("/tasks/").json()["total"] < 3:
        assert time.monotonic() < deadline
    assert {(task["who"], task["prompt"]) for task in caller.service.tasks} == {("foreign", "tick")}


def test_tasks_beyond_the_concurrency_wait_as_pending(caller):
    caller.service.configure(concurrency=2)
    ids = [caller.create().json()["output"]["task_id"] for _ in range(3)]
    words = [caller.get("/tasks/" + each).json()["output"]["task_status"] for each in ids]
    assert words == ["RUNNING", "RUNNING", "PENDING"]
    caller.service.advance(31)
    assert caller.get("/tasks/" + ids[2]).json()["output"]["task_status"] == "RUNNING"


def test_a_rate_limit_answers_429_until_the_second_is_over(client):
    moment = [1_800_000_000.0]
    with FakeService(clock=lambda: moment[0], creates_per_second=1, queries_per_second=2) as service:
        caller = Caller(service, client)
        assert [caller.create().status_code for _ in range(2)] == [200, 429]
        assert [caller.get("/tasks/").status_code for _ in range(3)] == [200, 200, 429]
        moment[0] += 1.01
        assert caller.create().status_code == 200
        assert service.creates[1].outcome == "refused: Throttling.RateQuota"


def test_durations_come_from_the_seed_and_stay_in_their_range(client):
    def draw(seed):
        with FakeService(seed=seed, duration=(1, 4)) as service:
            for _ in range(20):
                Caller(service, client).create()
            return [round(task["ends"] - task["created"], 3) for task in service.tasks]

    first = draw(7)
    assert all(1 <= each <= 4 for each in first)
    assert len(set(first)) > 10
    assert draw(7) == first != draw(8)


# Endings


def test_a_forbidden_word_is_moderated_in_every_protocol(caller):
    caller.service.configure(duration=0.01)
    assert caller.finish(prompt="a forbidden door")["output"]["code"] == "DataInspectionFailed"
    answer = caller.create(SYNC, prompt="a forbidden door")
    assert (answer.status_code, answer.json()["code"]) == (400, "DataInspectionFailed")
    assert caller.service.paid_images() == 0


def test_endings_come_in_the_order_of_the_script(caller):
    caller.service.configure(words={"slow motion": "never"})
    caller.service.script_endings({"kind": "partial", "slots": [2]}, {"kind": "failed", "code": "RewriteFailed"})
    legacy = caller.finish(LEGACY, "wan2.5-t2i-preview", n=3)
    assert legacy["output"]["task_status"] == "SUCCEEDED"
    assert legacy["output"]["results"][1]["code"] == "InternalError.Timeout"
    assert "url" not in legacy["output"]["results"][1]
    assert (legacy["usage"], legacy["output"]["task_metrics"]["FAILED"]) == ({"image_count": 2}, 1)
    failed = caller.finish(n=2)["output"]
    assert (failed["task_status"], failed["code"]) == ("FAILED", "RewriteFailed")
    assert caller.finish(n=1)["output"]["task_status"] == "SUCCEEDED"
    assert caller.finish(prompt="in slow motion")["output"]["task_status"] == "RUNNING"
    assert caller.service.paid_images() == 3


# Images


def test_an_image_proves_which_task_it_belongs_to(caller, client):
    body = caller.finish(prompt="一间有着精致窗户的花店", n=2, size="1104*1472")
    links = [choice["message"]["content"][0]["image"] for choice in body["output"]["choices"]]
    files = [client.get(link).content for link in links]
    task_id = body["output"]["task_id"]
    assert [tiny_png.read_texts(each) for each in files] == [
        {"task_id": task_id, "index": str(index), "prompt": "一间有着精致窗户的花店"} for index in (1, 2)
    ]
    assert tiny_png.read_size(files[0]) == (1104, 1472)
    assert files[0] != files[1]
    assert max(map(len, files)) < 20_000


def test_another_decoder_reads_the_image_and_its_texts(caller, client, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "one.png"
    path.write_bytes(client.get(caller.link()).content)
    with image.open(path) as opened:
        opened.load()
        assert opened.size == (1280, 1280)
        assert opened.text["prompt"] == "a red door"


def test_downloads_are_counted_by_task_and_image(caller, client):
    body = caller.finish(n=2)
    first, second = (choice["message"]["content"][0]["image"] for choice in body["output"]["choices"])
    task_id = body["output"]["task_id"]
    client.get(first)
    client.get(first)
    assert caller.service.count_served() == {(task_id, 1): 2}
    assert caller.service.list_unserved() == [(task_id, 2)]
    assert caller.service.tasks[0]["fully_served"] is False
    client.get(second)
    assert caller.service.list_unserved() == []
    assert caller.service.tasks[0]["fully_served"] is True
    assert caller.service.count_queries() == {task_id: 1}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda link: link.replace("%", "%25", 1), 403, "SignatureDoesNotMatch"),
        (lambda link: link.partition("?")[0], 403, "SignatureDoesNotMatch"),
        (lambda link: link.replace("-1.png", "-9.png"), 404, "NoSuchKey"),
    ],
)
def test_a_changed_link_is_refused(caller, client, change, status, words):
    answer = client.get(change(caller.link()))
    assert answer.status_code == status
    assert words in answer.text


def test_a_link_dies_after_a_day(caller, client):
    link = caller.link()
    assert int(httpx.URL(link).params["Expires"]) == int(caller.service.tasks[0]["ends"]) + 86400
    caller.service.advance(86400)
    answer = client.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/xml")
    assert "Request has expired." in answer.text


@pytest.mark.parametrize("leak", ["header", "other header", "address"])
def test_a_key_at_the_image_host_is_noticed(caller, client, leak):
    link = caller.link()
    client.get(link)
    assert caller.service.authorization_at_image_host is False
    if leak == "address":
        client.get(f"{link}&key={KEY}")
    else:
        client.get(link, headers={"Authorization" if leak == "header" else "X-Api-Key": KEY})
    assert caller.service.authorization_at_image_host is True


def test_a_cut_download_can_be_resumed_and_counts_once_it_is_whole(caller, client):
    link = caller.link()
    whole = client.get(link).content
    caller.service.configure(image_padding=200_000)
    big = client.get(link).content
    assert len(big) > len(whole) + 200_000
    link = caller.link()
    task_id = caller.service.tasks[1]["id"]
    caller.service.script("image", "cut")
    part = deque()
    with client.stream("GET", link) as answer, pytest.raises(httpx.RemoteProtocolError):
        part.extend(answer.iter_raw())  # keeps what came before the break
    part = b"".join(part)
    assert 0 < len(part) < len(big)
    assert (task_id, 1) in caller.service.list_unserved()
    rest = client.get(link, headers={"Range": f"bytes={len(part)}-"})
    assert rest.status_code == 206
    assert rest.headers["content-range"].startswith(f"bytes {len(part)}-")
    assert tiny_png.read_texts(part + rest.content)["task_id"] == task_id
    assert (task_id, 1) not in caller.service.list_unserved()
    caller.service.configure(honour_range=False)
    assert client.get(link, headers={"Range": "bytes=5-"}).status_code == 200
    caller.service.configure(honour_range=True)
    assert client.get(link, headers={"Range": "bytes=99999999-"}).status_code == 416
    changed = {"Range": "bytes=5-", "If-Range": '"another file"'}
    assert client.get(link, headers=changed).status_code == 200


# Faults


@pytest.mark.parametrize(
    ("fault", "created", "seen"),
    [
        ("drop-before", 0, httpx.RemoteProtocolError),
        ("drop-after", 1, httpx.RemoteProtocolError),
        ("reset-before", 0, httpx.ReadError),
        ("reset-after", 1, httpx.ReadError),
        ("status-500-before", 0, 500),
        ("status-500-after", 1, 500),
        ({"kind": "429", "retry_after": 7}, 0, 429),
        ("html-200-after", 1, "<html>"),
        ("html-502-before", 0, 502),
        ("half-json-after", 1, '"output"'),
        ("cut-body-after", 1, httpx.RemoteProtocolError),
        ("garbage-after", 1, httpx.RemoteProtocolError),
        ({"kind": "slow-after", "seconds": 3}, 1, httpx.ReadTimeout),
        ({"kind": "slow-before", "seconds": 3}, 0, httpx.ReadTimeout),
        ("hang", 1, httpx.ReadTimeout),
        ("hang-before", 0, httpx.ReadTimeout),
        ("redirect", 0, 307),
        ("redirect-after", 1, 307),
    ],
)
def test_a_creating_post_goes_wrong_as_scripted(caller, fault, created, seen):
    caller.service.script("create", fault)
    if isinstance(seen, type):
        with pytest.raises(seen):
            caller.create(timeout=0.3)
    else:
        answer = caller.create(timeout=2)
        assert seen == answer.status_code if isinstance(seen, int) else seen in answer.text
        if isinstance(seen, str):
            with pytest.raises(json.JSONDecodeError):
                answer.json()
        if seen == 429:
            assert answer.headers["retry-after"] == "7"
        if seen == 307:
            assert answer.headers["location"] == f"http://{caller.service.image_host}/elsewhere"
    assert len(caller.service.tasks) == created
    (record,) = caller.service.creates
    assert (record.task_id is not None) == bool(created)
    if created:
        assert record.outcome == (fault if isinstance(fault, str) else fault["kind"])
    assert record.body["model"] == "wan2.6-t2i"
    assert caller.create().status_code == 200


def test_an_order_slow_to_be_accepted_exists_although_its_caller_gave_up(caller):
    caller.service.script("create", {"kind": "slow-before", "seconds": 0.3})
    with pytest.raises(httpx.ReadTimeout):
        caller.create(timeout=0.1)
    deadline = time.monotonic() + 5
    while not caller.service.tasks:
        assert time.monotonic() < deadline
        caller.get("/tasks/")
    assert caller.service.creates[0].outcome == "slow-before"


@pytest.mark.parametrize("place", ["query", "list"])
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("500", 500),
        ("429", 429),
        ("html-502", 502),
        ({"kind": "error", "status": 401}, 401),
        ("drop", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("garbage", httpx.RemoteProtocolError),
        ("cut-body", httpx.RemoteProtocolError),
        ("half-json", json.JSONDecodeError),
        ({"kind": "slow", "seconds": 3}, httpx.ReadTimeout),
    ],
)
def test_a_question_goes_wrong_as_scripted_and_works_the_next_time(caller, place, fault, seen):
    path = "/tasks/" + (caller.create().json()["output"]["task_id"] if place == "query" else "")
    caller.service.script(place, fault)
    if isinstance(seen, type):
        with pytest.raises(seen):
            caller.get(path, timeout=0.3).json()
    else:
        assert caller.get(path).status_code == seen
    assert caller.get(path).status_code == 200
    assert len(caller.service.faults.taken) == 1


def test_a_query_can_answer_a_strange_word_and_a_passing_unknown(caller):
    task_id = caller.finish()["output"]["task_id"]
    caller.service.script("query", "status-word", "unknown", {"kind": "status-word", "word": "SUSPENDED"})
    words = [caller.get("/tasks/" + task_id).json()["output"]["task_status"] for _ in range(4)]
    assert words == ["QUEUEING", "UNKNOWN", "SUSPENDED", "SUCCEEDED"]


@pytest.mark.parametrize(("fault", "word"), [("drop-before", "PENDING"), ("drop-after", "CANCELED")])
def test_a_lost_cancel_happened_or_not_as_scripted(caller, fault, word):
    caller.service.configure(pending=30)
    task_id = caller.create().json()["output"]["task_id"]
    caller.service.script("cancel", fault)
    with pytest.raises(httpx.RemoteProtocolError):
        caller.cancel(task_id)
    assert caller.get("/tasks/" + task_id).json()["output"]["task_status"] == word


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("500", 500),
        ("html", "<html>"),
        ("expired", 403),
        ("drop", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("cut", httpx.RemoteProtocolError),
        ("garbage", httpx.RemoteProtocolError),
        ({"kind": "slow", "seconds": 3}, httpx.ReadTimeout),
        ("hang", httpx.ReadTimeout),
    ],
)
def test_a_download_goes_wrong_as_scripted_and_works_the_next_time(caller, client, fault, seen):
    link = caller.link()
    caller.service.script("image", fault)
    if isinstance(seen, type):
        with pytest.raises(seen):
            client.get(link, timeout=0.3)
    else:
        answer = client.get(link)
        assert answer.status_code == seen if isinstance(seen, int) else seen in answer.text
    assert (caller.service.tasks[0]["id"], 1) in caller.service.list_unserved()
    assert client.get(link).headers["content-type"] == "image/png"
    assert caller.service.tasks[0]["served_images"] == [1]


def test_wrong_bytes_look_like_a_png_and_are_none(caller, client):
    link = caller.link()
    true = client.get(link).content
    caller.service.script("image", "wrong-bytes")
    wrong = client.get(link)
    assert wrong.content[:33] == true[:33]
    assert (len(wrong.content), set(wrong.content[33:])) == (len(true), {0})
    assert caller.service.count_served() == {(caller.service.tasks[0]["id"], 1): 1}


def test_an_endless_image_never_ends_and_has_no_length(caller, client):
    link = caller.link()
    caller.service.script("image", "endless")
    size = 0
    with client.stream("GET", link) as answer:
        assert "content-length" not in answer.headers
        for piece in answer.iter_raw():
            size += len(piece)
            if size > 3_000_000:
                break
    assert size > 3_000_000
    assert client.get(link).status_code == 200


def test_an_image_redirects_to_a_private_address_to_itself_or_to_another_good_path(caller, client):
    link = caller.link()
    caller.service.script(
        "image", "redirect-private", "redirect-loop", "redirect", {"kind": "redirect", "location": "ftp://x/"}
    )
    places = [client.get(link).headers["location"] for _ in range(4)]
    assert places[0].startswith("http://169.254.169.254/")
    assert places[1] == link
    assert places[2] == link.replace("/1d/", "/moved/1d/")
    assert places[3] == "ftp://x/"
    assert tiny_png.read_texts(client.get(places[2]).content)["task_id"] == caller.service.tasks[0]["id"]


def test_a_redirected_order_meets_a_trap_that_is_noticed(caller):
    caller.service.script("create", "redirect")
    caller.client.follow_redirects = True
    assert caller.create().json()["output"]["task_id"] == "redirected"
    assert [each.path for each in caller.service.requests if each.host == "image"] == ["/elsewhere"]


def test_faults_can_wait_for_their_subject_and_let_others_pass(caller):
    caller.service.script("create", {"kind": "500", "match": "blue"}, "ok", "503")
    codes = [caller.create(prompt=each).status_code for each in ("red", "blue", "red", "red")]
    assert codes == [200, 500, 503, 200]


def test_chances_are_drawn_from_the_seed(client):
    def draw(seed):
        with FakeService(seed=seed) as service:
            service.set_chance("list", 0.5, "500", "429")
            return [Caller(service, client).get("/tasks/").status_code for _ in range(30)]

    first = draw(1)
    assert set(first) == {200, 429, 500}
    assert draw(1) == first != draw(2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda service: service.script("create", "drop-sideways"),
        lambda service: service.script("query", "endless"),
        lambda service: service.script("painting", "drop"),
        lambda service: service.script_endings("happily"),
        lambda service: service.configure(durations=3),
        lambda service: service.configure(tasks={}),
        lambda service: service.apply({"fault": {}}),
    ],
)
def test_a_misspelt_order_is_refused(service, wrong):
    with pytest.raises(ValueError, match=r"no such|no option"):
        wrong(service)


# The wire, the life of the service, and its use as a program


def test_every_answer_is_dated_by_the_services_own_clock(caller, client):
    caller.service.advance(-3600)
    caller.service.script("list", "500")
    answers = [caller.get("/tasks/"), caller.get("/tasks/"), client.get(caller.link()), caller.get("/nothing")]
    for answer in answers:
        away = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
        assert abs(away + 3600) < 90
    assert [answer.status_code for answer in answers] == [500, 200, 200, 404]


def test_requests_tell_their_connection_and_their_place_on_it(caller):
    for _ in range(3):
        caller.get("/tasks/")
    with httpx.Client(verify=False, trust_env=False) as other:
        Caller(caller.service, other).get("/tasks/", page_no=2)
    records = caller.service.requests
    assert [each.nth for each in records] == [1, 2, 3, 1]
    assert len({each.connection for each in records}) == 2
    assert (records[3].path, records[3].headers["authorization"]) == ("/api/v1/tasks/?page_no=2", f"Bearer {KEY}")


def test_a_body_in_chunks_and_a_body_that_is_no_json_are_read(caller, client):
    headers = {**caller.headers, "X-DashScope-Async": "enable"}
    pieces = [b'{"model": "wan2.6-t2i", "input": {"messages": [{"role": "user",', b'"content": [{"text": "x"}]}]}}']
    assert client.post(caller.base + ASYNC, content=iter(pieces), headers=headers).status_code == 200
    assert caller.service.tasks[0]["prompt"] == "x"
    assert client.post(caller.base + ASYNC, content=b"{", headers=headers).json()["code"] == "InvalidParameter"
    assert client.post(caller.base + ASYNC, content=b"{}", headers=headers).json()["code"] == "BadRequest.EmptyModel"


def test_a_stopped_service_refuses_connections_and_comes_back_with_its_tasks(client):
    service = FakeService(duration=0)
    service.start()
    caller = Caller(service, client)
    task_id = caller.create().json()["output"]["task_id"]
    service.stop()
    with httpx.Client(verify=False, trust_env=False) as fresh, pytest.raises(httpx.ConnectError):
        Caller(service, fresh, caller.base).get("/tasks/")
    service.start()
    try:
        with httpx.Client(verify=False, trust_env=False) as fresh:
            body = Caller(service, fresh, caller.base).get("/tasks/" + task_id).json()
        assert body["output"]["task_status"] == "SUCCEEDED"
    finally:
        service.stop()


def test_a_mistake_of_the_fake_itself_is_told_when_it_stops(client):
    service = FakeService(duration="soon").start()
    with pytest.raises(httpx.HTTPError):
        Caller(service, client).create()
    with pytest.raises(RuntimeError, match="could not convert"):
        service.stop()


def test_as_a_program_it_says_its_port_and_is_steered_over_http(client):
    options = json.dumps({"duration": 0.01, "keys": KEY})
    command = [sys.executable, str(FAKES / "dashscope_service.py"), "--port", "0", "--options", options]
    command += ["--seed", "3", "--end-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline())
            admin = f"http://127.0.0.1:{ready['port']}/_admin"
            script = {
                "faults": {"create": ["drop-after"]},
                "chances": {"list": {"probability": 1.0, "faults": ["503"]}},
                "endings": [{"kind": "partial", "slots": [1]}],
                "foreign": [{"prompt": "other", "age": 5}],
                "words": {"never": "never"},
                "options": {"list_lag": 1},
            }
            assert client.post(f"{admin}/script", json=script).status_code == 200
            assert client.post(f"{admin}/script", json={"faults": {"create": ["nonsense"]}}).status_code == 400
            caller = Caller(None, client, f"http://127.0.0.1:{ready['port']}/api/v1")
            with pytest.raises(httpx.RemoteProtocolError):
                caller.create(prompt="over http", n=2)
            assert caller.get("/tasks/").status_code == 503
            client.post(f"{admin}/script", json={"clear": True, "advance": 10})
            assert caller.get("/tasks/").json()["total"] == 2
            state = client.get(f"{admin}/state").json()
            client.post(f"{admin}/script", json={})
            short = client.get(f"{admin}/state", params={"requests": 0}).json()
        finally:
            process.stdin.close()
            assert process.wait(timeout=10) == 0
    assert [(task["who"], task["prompt"]) for task in state["tasks"]] == [
        ("foreign", "other"),
        ("client", "over http"),
    ]
    assert state["creates"][0]["outcome"] == "drop-after"
    assert (state["paid_images"], len(state["unserved"])) == (1, 1)
    assert state["faults_taken"] == [["create", "drop-after"], ["list", "503"]]
    assert len(state["requests"]) == 3
    assert "requests" not in short


def test_as_a_program_it_ends_on_a_signal():
    command = [sys.executable, str(FAKES / "dashscope_service.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["base_url"].endswith("/api/v1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == -signal.SIGTERM


def test_it_imports_the_standard_library_and_itself_alone():
    names = set()
    for path in [*FAKES.glob("dashscope_*.py"), FAKES / "tiny_png.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
    assert "asyncio" in names
    assert names - set(sys.stdlib_module_names) == {"fakes"}
