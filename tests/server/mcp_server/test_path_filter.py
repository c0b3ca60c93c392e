"""Whoever has no part in the server's disk is told no place of it, in whatever answer."""

import json
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from contract.situations.everything import SITUATIONS
from contract.situations.page import read_rows
from contract.situations.situation import SMALL, Workspace
from fakes.dashscope import FakeService
from fakes.order_service import QUICK, make_settings, order, running_service
from fakes.tasks_client import Tasks, ask
from wan_mcp.app import build_server, build_service
from wan_mcp.mcp_server.path_filter import HIDDEN, PathFilter
from wan_mcp_tools.domain.principals import LOCAL, Principal, Scope, acting_as

ROWS = read_rows()
PLACE = re.compile(r"(?<![\w:/‹›])/\w|‹(?:folder|file)›")
TELLING = [each for each in SITUATIONS if PLACE.search(ROWS[each.title][3])]
"""Those whose words to the user of the machine hold a place."""
ADA = Principal("token:ada", frozenset({Scope.ORDER, Scope.CANCEL}))
ROOT = Principal("token:root", frozenset({Scope.ADMIN}))


def dump(answer):
    return json.dumps(answer.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False)


@dataclass
class Listening:
    """A client whose answers are kept, with the reports of progress."""

    client: Client
    told: list[str]

    async def call_tool(self, name, arguments, **options):
        async def note(progress, total, message):
            self.told.append(message or "")

        answer = await self.client.call_tool(name, arguments, progress_callback=note, **options)
        self.told.append(dump(answer))
        return answer


@dataclass
class ListeningWorkspace(Workspace):
    told: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def server(self, *given, **named):
        async with super().server(*given, **named) as call:
            yield replace(call, client=Listening(call.client, self.told))


@pytest.mark.parametrize("situation", TELLING, ids=lambda each: f"{each.about}: {each.title}")
async def test_no_situation_tells_a_place(tmp_path, situation):
    workspace = ListeningWorkspace(tmp_path)
    with acting_as(ADA), suppress(Exception):
        # Some go on with what only the user of the machine may do, and end there.
        await situation.bring_about(workspace)
    for each in workspace.told:
        assert str(tmp_path) not in each
        assert str(tmp_path.resolve()) not in each
        assert "/pictures/" not in each
        assert "s3://" not in each


async def listen(client, ids):
    """Ask a server for everything that it tells of some tasks."""
    uris = ["wan://models", "wan://usage", *(f"wan://tasks/{each}" for each in ids)]
    told = [dump(await client.read_resource(uri)) for uri in uris]
    for each in ids:
        for name, arguments in (
            ("get_task", {}),
            ("download_image", {}),
            ("download_image", {"format": "webp"}),
            ("download_image", {"output_dir": "/etc"}),
            ("view_image", {"index": 9}),
        ):
            told.append(dump(await client.call_tool(name, {"task_id": each} | arguments)))
        for index in (1, 9):
            with suppress(MCPError):
                answer = await client.read_resource(f"wan://images/{each}-{index}")
                told.append(json.dumps([content.meta for content in answer.contents]))
        for method, more in (("tasks/get", {}), ("tasks/cancel", {})):
            try:
                told.append(str(await ask(client, method, each, **more)))
            except MCPError as error:
                told.append(f"{error.message} {error.data}")
    told.append(dump(await client.call_tool("list_tasks", {})))
    for prompt in (await client.list_prompts()).prompts:
        values = {each.name: "a blue door" for each in prompt.arguments or ()} | {"task_id": ids[0]}
        known = {each.name for each in prompt.arguments or ()}
        with suppress(MCPError):
            told.append(dump(await client.get_prompt(prompt.name, {n: v for n, v in values.items() if n in known})))
        for name in known:
            argument = {"name": name, "value": ""}
            told.append(dump(await client.complete(PromptReference(name=prompt.name), argument)))
    for uri, name in (("wan://tasks/{task_id}", "task_id"), ("wan://images/{id}", "id")):
        argument = {"name": name, "value": ids[0][:4]}
        told.append(dump(await client.complete(ResourceTemplateReference(uri=uri), argument)))
    return told


async def test_an_administrator_is_told_no_place_of_what_the_local_user_has_ordered(tmp_path):
    elsewhere = tmp_path / "else where"
    given = tmp_path / "pictures" / "given.png"
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_ALLOWED_DIRS=str(elsewhere))
        async with running_service(settings) as service:
            first = await order(service, n=2, filename="a fox", output_dir=str(elsewhere), **SMALL)
            await anyio.Path(given.parent).mkdir(exist_ok=True)
            await anyio.Path(first.images[0].path).rename(given)
            second = await order(
                service, images=[str(given)], model="wan2.7-image", size="768*768", output_dir="by name"
            )
            gone = await order(service, "a fish", **SMALL)
            await anyio.Path(gone.images[0].path).unlink()
        ids = [first.task_id, second.task_id, gone.task_id]
        answers = {}
        for who in (ROOT, LOCAL):
            with acting_as(who):
                server = build_server(build_service(settings, timings=QUICK))
                async with Client(server, extensions=[Tasks()]) as client:
                    answers[who] = await listen(client, ids)
    # The local user is told them, or all of this would say nothing.
    assert any(str(tmp_path) in each for each in answers[LOCAL])
    for each in answers[ROOT]:
        for place in (str(tmp_path), "else where", "by name", "/pictures"):
            assert place not in each, each


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Could not write /srv/my pictures/ada-1/a fox.png: the disk is full.",
            f"Could not write {HIDDEN}: the disk is full.",
        ),
        ("The folder /srv/my pictures is not there.", f"The folder {HIDDEN} is not there."),
        ("See /srv/my pictures/x, then go on.", f"See {HIDDEN}, then go on."),
        ('{"path":"/srv/my pictures/a.png","n":1}', f'{{"path":"{HIDDEN}","n":1}}'),
        ("See https://x.example/srv/a/b and image/png.", "See https://x.example/srv/a/b and image/png."),
        ("a poster that says /usr/bin/env", "a poster that says /usr/bin/env"),
        ("https://s3.example.com/srv/my pictures/x.png?X", "https://s3.example.com/srv/my pictures/x.png?X"),
        ("file:///srv/my pictures/x.png", f"file://{HIDDEN}"),
        ('{"text":"two\\n/srv/my pictures/x.png"}', f'{{"text":"two\\n{HIDDEN}"}}'),
        ("at:/srv/my pictures/x.png", f"at:{HIDDEN}"),
    ],
)
def test_a_folder_of_the_settings_is_hidden_with_what_lies_in_it(text, shown):
    places = PathFilter([Path("/srv/my pictures"), "s3://bucket"])
    places.find()

    assert places.hide(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("There is no file /etc/wan/tokens.", f"There is no file {HIDDEN}"),
        ("It cannot read C:\\Users\\ada\\x.png now", f"It cannot read {HIDDEN} now"),
        ("Kept as s3://other/a/b.png, as asked", f"Kept as {HIDDEN}, as asked"),
        ("See https://x.example/a/b/c.", "See https://x.example/a/b/c."),
        ("wan://tasks/a/b is 4/5 of 3:4 and/or image/png", "wan://tasks/a/b is 4/5 of 3:4 and/or image/png"),
    ],
)
def test_an_error_tells_nothing_that_looks_like_a_path(text, shown):
    places = PathFilter([])
    places.find()

    assert places.hide_all(text) == shown


@pytest.mark.parametrize("is_error", [False, True])
def test_links_and_the_words_of_an_order_are_handed_on_as_they_are(is_error):
    places = PathFilter(["/pictures"])
    places.find()
    answer = {
        "prompt": "a sign that says /pictures/fox.png",
        "images": [{"url": "https://s3.example.com/pictures/wan/x.png?X-Amz-Date=1&next=/pictures/x.png"}],
        "actual_prompt": "/pictures/fox.png, in oil",
        "negative_prompt": "/pictures/fox.png",
    }

    shown = places.hide_in(
        {**answer, "note": "/pictures/fox.png", "url": {"default": "/pictures"}}, is_error=is_error
    )

    assert shown == {**answer, "note": HIDDEN, "url": {"default": HIDDEN}}
