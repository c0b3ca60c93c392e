"""Another's id is answered, wherever one can be given, byte for byte as an id that nobody knows."""

import json
from contextlib import asynccontextmanager

import httpx
import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, order, quick_service, running_service
from fakes.stdio_client import ERAS
from fakes.tasks_client import Tasks, ask
from wan_mcp.app import build_server
from wan_mcp.web.gallery import make_gallery_app
from wan_mcp.web.security import Secrets
from wan_mcp_tools.domain.principals import Principal, Scope, acting_as

ADA = Principal("ada", frozenset({Scope.ORDER, Scope.CANCEL}))
BOB = Principal("bob", frozenset({Scope.ORDER, Scope.CANCEL}))
HOST = "127.0.0.1:4711"

TOOLS = {
    "get_task": {"task_id": "ID"},
    "cancel_task": {"task_id": "ID"},
    "download_image": {"task_id": "ID"},
    "view_image": {"task_id": "ID"},
    "generate_image": {"prompt": "a blue door", "images": ["ID#1"], "wait_seconds": 0},
    "submit_task": {"prompt": "a blue door", "images": ["ID#1"]},
}
"""How each tool is given an id; `list_tasks` takes none, and lists are looked at elsewhere."""
RESOURCES = ("wan://tasks/ID", "wan://images/ID-1")
COMPLETIONS = (("wan://tasks/{task_id}", "task_id"), ("wan://images/{id}", "id"))
EXTENSION = (("tasks/get", {}), ("tasks/cancel", {}), ("tasks/update", {"inputResponses": {}}))
PAGES = (
    ("GET", "orders/ID"),
    ("GET", "orders/ID/edit/1"),
    ("GET", "thumbnails/ID/1"),
    ("GET", "images/ID/1"),
    ("GET", "inputs/ID/1"),
    ("GET", "orders?text=ID"),
    ("GET", "open?text=ID"),
    ("POST", "orders/ID/again"),
    ("POST", "orders/ID/edit/1"),
    ("POST", "orders/ID/cancel"),
    ("POST", "orders/ID/fetch"),
)


def put(value, task_id):
    return json.loads(json.dumps(value).replace("ID", task_id))


def find_unknown(task_id):
    """Give an id of the same shape that nobody has."""
    return task_id[:-4] + ("0000" if task_id[-4:] != "0000" else "1111")


@asynccontextmanager
async def pictures_of_ada(folder):
    """Give what Bob's server is set up with, and the ids of a picture of Ada's."""
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        settings = make_settings(folder, dashscope)
        with acting_as(ADA):
            async with running_service(settings) as service:
                made = await order(service, n=1)
        yield settings, (made.task_id, made.local_id)


async def tell(answer, task_id):
    """Give the bytes of an answer, with the id that was asked for taken out."""
    try:
        given = await answer
        text = given if isinstance(given, str) else json.dumps(_dump(given), ensure_ascii=False, sort_keys=True)
    except MCPError as error:
        text = json.dumps([error.code, error.message, error.data], ensure_ascii=False)
    return text.replace(task_id, "ID")


def _dump(given):
    return given if isinstance(given, dict) else given.model_dump(mode="json", by_alias=True)


async def ask_server(client, task_id, era):
    """Give what a server answers, wherever it can be given an id."""
    told = {}
    for name, arguments in TOOLS.items():
        told[name] = await tell(client.call_tool(name, put(arguments, task_id)), task_id)
    for uri in RESOURCES:
        told[uri] = await tell(client.read_resource(put(uri, task_id)), task_id)
    for uri, name in COMPLETIONS:
        ref, argument = ResourceTemplateReference(uri=uri), {"name": name, "value": task_id[:-5]}
        told[f"completion of {uri}"] = await tell(client.complete(ref, argument), task_id)
    for prompt in (await client.list_prompts()).prompts:
        if "task_id" in [each.name for each in prompt.arguments or ()]:
            values = {each.name: "a blue door" for each in prompt.arguments} | {"task_id": task_id}
            told[prompt.name] = await tell(client.get_prompt(prompt.name, values), task_id)
            argument = {"name": "task_id", "value": task_id[:-5]}
            answer = client.complete(PromptReference(name=prompt.name), argument)
            told[f"completion of {prompt.name}"] = await tell(answer, task_id)
    if era == "auto":
        for method, parameters in EXTENSION:
            told[method] = await tell(ask(client, method, task_id, **parameters), task_id)
    return told


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_answers_anothers_id_as_one_that_nobody_has(tmp_path, era):
    async with pictures_of_ada(tmp_path) as (settings, ids):
        answers = {}
        for who in (BOB, ADA):
            with acting_as(who):
                server = build_server(quick_service(settings))
                async with Client(server, mode=era, extensions=[Tasks()]) as client:
                    known = {tool.name for tool in (await client.list_tools()).tools}
                    assert known == TOOLS.keys() | {"list_tasks"}
                    for task_id in ids:
                        told = await ask_server(client, task_id, era)
                        unknown = await ask_server(client, find_unknown(task_id), era)
                        answers[who.id, task_id] = told, unknown
        for task_id in ids:
            told, unknown = answers["bob", task_id]
            assert told == unknown
        # Whoever it belongs to is answered otherwise, or all of this would say nothing.
        told, unknown = answers["ada", ids[0]]
        same = {name for name in told if told[name] == unknown[name]}
        assert same <= {"completion of wan://tasks/{task_id}"} | {
            name for name in told if name.startswith("completion")
        }
        assert {"get_task", "view_image", "wan://images/ID-1"} <= told.keys() - same


async def test_a_page_answers_anothers_id_as_one_that_nobody_has(tmp_path):
    async with pictures_of_ada(tmp_path) as (settings, ids):
        for who in (BOB, ADA):
            with acting_as(who):
                async with running_service(settings) as service:
                    app = make_gallery_app(service, Secrets("token"), frozenset({HOST}))
                    headers = {"Sec-Fetch-Site": "same-origin", "Host": HOST}
                    transport = httpx.ASGITransport(app=app)
                    async with httpx.AsyncClient(
                        transport=transport, base_url=f"http://{HOST}/token/", headers=headers
                    ) as gallery:
                        for task_id in ids:
                            for method, path in PAGES:
                                told = await visit(gallery, method, path, task_id)
                                unknown = await visit(gallery, method, path, find_unknown(task_id))
                                if who is BOB:
                                    assert told == unknown, path
                                elif method == "GET" and not path.startswith(("open", "inputs")):
                                    assert told != unknown, path


async def visit(gallery, method, path, task_id):
    body = {"idempotency_key": f"{path} {task_id}", "prompt": "blue"} if method == "POST" else None
    answer = await gallery.request(method, put(path, task_id), json=body)
    text = answer.text.replace(task_id, "ID")
    return answer.status_code, sorted(answer.headers.items()), text


async def test_use_is_told_of_the_caller_alone_and_of_all_to_an_administrator(tmp_path):
    root = Principal("root", frozenset({Scope.ADMIN}))
    async with pictures_of_ada(tmp_path) as (settings, _):
        for who, images, all_images in ((BOB, 0, None), (ADA, 1, None), (root, 0, 1)):
            with acting_as(who):
                async with Client(build_server(quick_service(settings))) as client:
                    (content,) = (await client.read_resource("wan://usage")).contents
            usage = json.loads(content.text)
            assert (usage["principal"], usage["use"]["images_24h"]) == (who.id, images)
            assert usage.get("server_use", {}).get("images_24h") == all_images
            assert ("ada" in content.text) == (who is not BOB)
            assert usage["server_limits"]["images_24h"] == 100
