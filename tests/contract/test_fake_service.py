"""The service of the tests breaks as it is told and counts what came; otherwise tests on it prove nothing."""

import json
import threading
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from fakes import tiny_png
from fakes.dashscope import FakeService
from fakes.serving import NO_CERTIFICATES

KEY = "sk-of-the-test-0001"
LEGACY = "/services/aigc/text2image/image-synthesis"
CLOSED, RESET, TOO_SLOW = httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout
_LONG, _SHORT = 45, 0.1
"""Seconds: what ends a broken test, and how long the client waits for an answer that does not come."""


class Caller:
    """A plain client of the legacy protocol."""

    def __init__(self, service, client, base=None, key=KEY):
        self.service, self.client, self.base = service, client, base or service.base_url
        self.headers = {"Authorization": f"Bearer {key}", "X-DashScope-Async": "enable"}

    def create(self, prompt="a red door", **parameters):
        body = {
            "model": "wan2.5-t2i-preview",
            "input": {"prompt": prompt},
            "parameters": {"size": "1280*1280", "n": 1} | parameters,
        }
        return self.client.post(self.base + LEGACY, json=body, headers=self.headers)

    def get(self, task_id=""):
        return self.client.get(f"{self.base}/tasks/{task_id}", headers=self.headers)

    def cancel(self, task_id):
        return self.client.post(f"{self.base}/tasks/{task_id}/cancel", headers=self.headers)

    def finish(self, **parameters):
        """Create, let the service's clock pass the end, and give the output."""
        task_id = self.create(**parameters).json()["output"]["task_id"]
        self.service.advance(60)
        return self.get(task_id).json()["output"]


@pytest.fixture
def service():
    with FakeService(duration=30) as running:
        yield running


@pytest.fixture
def caller(service):
    with httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client:
        yield Caller(service, client)


def observe(caller, call, seen):
    """Give the status of an answer, or the error in its place, and the text."""
    caller.client.timeout = httpx.Timeout(_LONG, read=_SHORT if seen is TOO_SLOW else _LONG)
    try:
        answer = call()
    except httpx.HTTPError as error:
        return type(error), ""
    else:
        return answer.status_code, answer.text
    finally:
        caller.client.timeout = _LONG


def until(condition):
    deadline = time.monotonic() + _LONG
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert condition()


@pytest.mark.parametrize(
    ("fault", "created", "seen"),
    [
        ("drop-before", 0, CLOSED),
        ("drop-after", 1, CLOSED),
        ("reset-before", 0, RESET),
        ("reset-after", 1, RESET),
        ("status-500-before", 0, 500),
        ("status-500-after", 1, 500),
        ("html-502", 0, 502),
        ("html-200-after", 1, 200),
        ("half-json-after", 1, 200),
        ("cut-body-after", 1, CLOSED),
        ("garbage-after", 1, CLOSED),
        ({"kind": "slow-after", "seconds": _LONG}, 1, TOO_SLOW),
        ({"kind": "slow-before", "seconds": _LONG}, 0, TOO_SLOW),
        ("hang", 1, TOO_SLOW),
        ("hang-before", 0, TOO_SLOW),
        ("redirect", 0, 307),
        ("redirect-after", 1, 307),
    ],
)
def test_a_creating_post_goes_wrong_as_scripted_and_its_task_is_counted(caller, fault, created, seen):
    caller.service.script("create", fault)
    status, text = observe(caller, caller.create, seen)

    assert status == seen
    until(lambda: len(caller.service.tasks) == created == (caller.service.creates[0].task_id is not None))
    if status == 200:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    [record] = caller.service.creates
    assert [record.task_id] == ([task["id"] for task in caller.service.tasks] or [None])
    assert record.fault == (fault if isinstance(fault, str) else fault["kind"])
    assert caller.create().status_code == 200


@pytest.mark.parametrize("place", ["query", "list", "cancel"])
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("500", 500),
        ({"kind": "error", "status": 401}, 401),
        ("drop", CLOSED),
        ("reset", RESET),
        ("garbage", CLOSED),
        ("cut-body", CLOSED),
        ({"kind": "slow", "seconds": _LONG}, TOO_SLOW),
    ],
)
def test_any_other_call_goes_wrong_as_scripted_and_works_the_next_time(caller, place, fault, seen):
    caller.service.pending = 30.0
    task_ids = [caller.create(prompt).json()["output"]["task_id"] for prompt in ("one", "two")]
    calls = {"query": caller.get, "list": lambda _: caller.get(), "cancel": caller.cancel}
    caller.service.script(place, fault)

    assert observe(caller, lambda: calls[place](task_ids[0]), seen)[0] == seen
    assert observe(caller, lambda: calls[place](task_ids[1]), 200)[0] == 200
    assert len(caller.service.faults.taken) == 1


@pytest.mark.parametrize(("fault", "status"), [("drop-before", "PENDING"), ("drop-after", "CANCELED")])
def test_a_lost_cancel_happened_or_not_as_scripted(caller, fault, status):
    caller.service.pending = 30.0
    task_id = caller.create().json()["output"]["task_id"]
    caller.service.script("cancel", fault)

    assert observe(caller, lambda: caller.cancel(task_id), CLOSED)[0] is CLOSED
    assert caller.service.tasks[0]["status"] == status


def test_a_query_can_tell_a_strange_word_a_passing_unknown_and_no_prompt(caller):
    task_id = caller.finish()["task_id"]
    caller.service.script("query", "status-word", "unknown", "no-prompt")
    told = [caller.get(task_id).json()["output"] for _ in range(4)]

    assert [each["task_status"] for each in told] == ["QUEUEING", "UNKNOWN", "SUCCEEDED", "SUCCEEDED"]
    assert ["orig_prompt" in result for each in told[2:] for result in each["results"]] == [False, True]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("500", 500),
        ("html", 200),
        ("expired", 403),
        ("wrong-bytes", 200),
        ("drop", CLOSED),
        ("reset", RESET),
        ("cut", CLOSED),
        ("garbage", CLOSED),
        ({"kind": "slow", "seconds": _LONG}, TOO_SLOW),
        ("hang", TOO_SLOW),
        ("redirect-private", 302),
        ("redirect-loop", 302),
    ],
)
def test_a_download_goes_wrong_as_scripted_and_only_a_good_one_counts(caller, fault, seen):
    output = caller.finish()
    url = output["results"][0]["url"]
    caller.service.script("image", fault)

    assert observe(caller, lambda: caller.client.get(url), seen)[0] == seen
    assert caller.service.count_served() == {}
    assert tiny_png.read_size(caller.client.get(url).content) == (1280, 1280)
    assert caller.service.count_served() == {(output["task_id"], 1): 1}


def test_an_endless_image_never_ends_and_has_no_length(caller):
    url = caller.finish()["results"][0]["url"]
    caller.service.script("image", "endless")
    with caller.client.stream("GET", url) as answer:
        assert "content-length" not in answer.headers
        size = 0
        for piece in answer.iter_raw():
            size += len(piece)
            if size > 3_000_000:
                break


def test_an_image_says_whose_it_is_in_its_own_bytes(caller):
    caller.service.image_padding = 200_000
    output = caller.finish(prompt="花店", n=2, size="1104*1472")
    images = [caller.client.get(result["url"]).content for result in output["results"]]

    assert [tiny_png.read_texts(image) for image in images] == [
        {"task_id": output["task_id"], "index": str(index), "prompt": "花店"} for index in (1, 2)
    ]
    assert tiny_png.read_size(images[0]) == (1104, 1472)
    assert min(map(len, images)) > 200_000


def test_a_redirected_order_is_counted_and_a_redirected_image_is_good(caller):
    output = caller.finish()
    caller.service.script("create", "redirect")
    caller.service.script("image", "redirect")
    caller.client.follow_redirects = True
    caller.create()

    assert len(caller.service.tasks) == 2
    image = caller.client.get(output["results"][0]["url"]).content
    assert tiny_png.read_texts(image)["task_id"] == output["task_id"]


def test_endings_are_scripted_and_only_images_that_were_made_are_billed(caller):
    caller.service.script_endings("partial", {"kind": "failed", "code": "RewriteFailed"}, "never", "moderated")
    told = [caller.finish(n=2) for _ in range(5)]

    assert [each["task_status"] for each in told] == ["SUCCEEDED", "FAILED", "RUNNING", "FAILED", "SUCCEEDED"]
    assert [each["code"] for each in told if "code" in each] == ["RewriteFailed", "DataInspectionFailed"]
    assert caller.service.paid_images() == 3
    caller.service.advance(100_000)
    assert caller.get(told[0]["task_id"]).json()["output"]["task_status"] == "UNKNOWN"
    assert caller.service.paid_images() == 3


def test_tasks_of_another_program_are_listed_and_not_billed_to_the_client(caller):
    foreign = caller.service.create_foreign(n=3, age=40)
    assert [row["task_id"] for row in caller.get().json()["data"]] == [foreign.task_id]
    assert (caller.service.paid_images(), caller.service.paid_images(None)) == (0, 3)
    assert caller.service.creates == []


def test_the_list_lags_as_it_is_told():
    with (
        FakeService(list_lag=5) as service,
        httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client,
    ):
        caller = Caller(service, client)
        caller.create()
        assert caller.get().json()["total"] == 0
        service.advance(6)
        assert caller.get().json()["total"] == 1


def test_a_key_is_good_in_its_own_region_only():
    keys = {"singapore": KEY, "beijing": "sk-of-beijing-01"}
    with (
        FakeService(keys=keys) as service,
        httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client,
    ):
        home = Caller(service, client, service.base_url_of("singapore"))
        task_id = home.create().json()["output"]["task_id"]
        away = service.base_url_of("beijing")
        assert Caller(service, client, away).create().status_code == 401
        told = Caller(service, client, away, keys["beijing"]).get(task_id).json()["output"]
        assert told["task_status"] == "UNKNOWN"


@pytest.mark.parametrize("leak", ["header", "another header", "address"])
def test_a_key_at_the_image_host_is_noticed(caller, leak):
    url = caller.finish()["results"][0]["url"]
    caller.client.get(url)
    assert not caller.service.authorization_at_image_host
    headers = {"header": {"Authorization": KEY}, "another header": {"X-Api-Key": KEY}, "address": {}}[leak]
    caller.client.get(f"{url}&key={KEY}" if leak == "address" else url, headers=headers)
    assert caller.service.authorization_at_image_host


def test_every_answer_is_dated_by_the_services_own_clock(caller):
    caller.service.advance(-7200)
    caller.service.script("list", "500")
    url = caller.finish()["results"][0]["url"]
    for answer in (caller.get(), caller.get(), caller.client.get(url)):
        assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - caller.service.now()) < _LONG


def test_chances_are_drawn_from_the_seed():
    def draw(seed):
        with (
            FakeService(seed=seed) as service,
            httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client,
        ):
            service.set_chance("list", 0.5, "500", "429")
            return [Caller(service, client).get().status_code for _ in range(30)]

    first = draw(1)
    assert set(first) == {200, 429, 500}
    assert draw(1) == first != draw(2)


@pytest.mark.parametrize(
    ("place", "fault"), [("create", "drop-sideways"), ("query", "endless"), ("painting", "drop")]
)
def test_a_misspelt_fault_is_refused(service, place, fault):
    with pytest.raises(ValueError, match="no such"):
        service.script(place, fault)


def test_a_stopped_service_refuses_connections_and_comes_back_with_its_tasks():
    service = FakeService(duration=0.0).start()
    with httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client:
        task_id = Caller(service, client).create().json()["output"]["task_id"]
    service.stop()
    with (
        httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client,
        pytest.raises(httpx.ConnectError),
    ):
        Caller(service, client).get()
    with service, httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client:
        assert Caller(service, client).get(task_id).json()["output"]["task_status"] == "SUCCEEDED"


def test_a_mistake_of_the_service_itself_is_told_when_it_stops():
    service = FakeService(duration="soon").start()
    with (
        httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=_LONG) as client,
        pytest.raises(httpx.HTTPError),
    ):
        Caller(service, client).create()
    with pytest.raises(RuntimeError, match="the service failed"):
        service.stop()
