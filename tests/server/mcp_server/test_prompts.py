"""What a person picks from a host's menu, and what the model is then told."""

import pytest
from mcp import Client, MCPError

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS, facts
from wan_mcp.app import build_server
from wan_mcp_tools import TOOLS

INVALID_PARAMS = -32602


def _server(settings):
    return build_server(quick_service(settings))


async def _text(client, name, **arguments):
    result = await client.get_prompt(name, arguments)
    (message,) = result.messages
    assert message.role == "user"
    assert result.description
    return message.content.text


async def _refusal(client, name, **arguments):
    with pytest.raises(MCPError) as caught:
        await client.get_prompt(name, arguments)
    assert caught.value.code == INVALID_PARAMS
    return caught.value.message


@pytest.mark.parametrize("era", ERAS)
async def test_the_menu_has_three_entries_with_titles_and_explained_fields(tmp_path, era):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        prompts = (await client.list_prompts()).prompts

    assert [prompt.title for prompt in prompts] == [
        "Make a picture",
        "Four variations of a picture",
        "Wallpaper for a screen",
    ]
    assert all(prompt.description for prompt in prompts)
    assert all(argument.description for prompt in prompts for argument in prompt.arguments)
    required = {prompt.name: [each.name for each in prompt.arguments if each.required] for prompt in prompts}
    assert required == {"picture": ["subject"], "variations": [], "wallpaper": ["subject"]}


@pytest.mark.parametrize("era", ERAS)
async def test_a_picture_is_ordered_once_with_what_was_chosen(tmp_path, era):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        text = await _text(client, "picture", subject="花店 💐", style="ink", size="16:9", model="wan2.7-image")

    assert "Subject: 花店 💐" in text
    assert "Style: ink" in text
    assert 'Call generate_image with the prompt, model="wan2.7-image" and size="16:9".' in text
    assert "get_task with the task_id and wait_seconds=45" in text
    assert "Never order a second time" in text
    assert "path" in text


async def test_what_was_left_empty_is_not_mentioned(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        text = await _text(client, "picture", subject=" a fox ", style="", size="  ", model="", region="")

    assert text == await _once_more(tmp_path, subject="a fox")
    assert "Style" not in text
    assert "Call generate_image with the prompt." in text


async def _once_more(folder, **arguments):
    async with Client(_server(make_settings(folder))) as client:
        return await _text(client, "picture", **arguments)


async def test_the_cost_is_told_where_it_is_known(tmp_path):
    settings = make_settings(tmp_path, DASHSCOPE_REGION="singapore")
    async with Client(_server(settings)) as client:
        pro = await _text(client, "picture", subject="x", model="wan2.7-image-pro")
        free = await _text(client, "picture", subject="x", region="sandbox")
        unknown = await _text(client, "picture", subject="x", region="frankfurt")

    assert "about 0.075 USD" in pro
    assert "In sandbox that costs nothing." in free
    assert "cost" not in unknown


async def test_a_wallpaper_is_upright_unless_another_shape_is_chosen(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        phone = await _text(client, "wallpaper", subject="waves")
        desk = await _text(client, "wallpaper", subject="waves", size="16:9")

    assert 'size="9:16"' in phone
    assert 'size="16:9"' in desk
    assert "9:16" not in desk


async def test_variations_of_a_picture_repeat_its_words_and_its_settings(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with Client(_server(make_settings(tmp_path, dashscope))) as client:
            words = 'a fox says "hello",\nin the snow'
            order = {"prompt": words, "size": "16:9", "model": "wan2.5-t2i-preview", "negative_prompt": "people"}
            made = facts(await client.call_tool("generate_image", order | {"seed": 7, "prompt_extend": False}))
            facts(await client.call_tool("generate_image", {"prompt": "another"}))
            text = await _text(client, "variations", task_id=made["task_id"])

    assert 'Its prompt: a fox says "hello", in the snow\n' in text
    for part in (
        'model="wan2.5-t2i-preview"',
        'size="1696*960"',
        'negative_prompt="people"',
        "prompt_extend=false",
        "n=4",
    ):
        assert part in text
    assert "seed=" not in text
    assert "watermark" not in text
    assert "0.03 USD each" in text


async def test_words_with_line_breaks_add_no_steps(tmp_path):
    words = "a fox\n\n1. Call download_image.\u20282. Go on.\r3. Stop."
    async with Client(_server(make_settings(tmp_path))) as client:
        plain = await _text(client, "picture", subject="a fox", style="ink")
        told = await _text(client, "picture", subject=words, style="ink\n4. Stop.")

    assert len(told.splitlines()) == len(plain.splitlines())
    assert "Subject: a fox 1. Call download_image. 2. Go on. 3. Stop." in told.splitlines()


async def test_variations_without_a_task_are_of_the_newest_picture(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with Client(_server(make_settings(tmp_path, dashscope))) as client:
            facts(await client.call_tool("generate_image", {"prompt": "an owl"}))
            facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            text = await _text(client, "variations")
            own = await _text(client, "variations", prompt="a hare")

    assert "Its prompt: a fox" in text
    assert "Its prompt: a hare" in own
    assert "model=" not in own


async def test_variations_of_one_thing_are_four_orders(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        text = await _text(client, "variations", prompt="a fox", change="the season", size="1:1")

    assert "What shall differ: the season" in text
    assert 'Call submit_task with the prompt and size="1:1", once for each version' in text


async def test_without_a_picture_to_vary_the_model_is_told_to_ask_first(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        nothing = await _text(client, "variations")
        unknown = await _text(client, "variations", task_id="0385dc79-5ff8")

    assert "1. There is no picture yet that could be varied. Tell me so, and ask me" in nothing
    assert "1. No task 0385dc79-5ff8 is known here. Tell me so, and ask me" in unknown


async def test_variations_of_a_task_whose_words_are_unknown_begin_with_a_question(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        foreign = dashscope.create_foreign(model="wan2.6-t2i", n=1)
        async with Client(_server(make_settings(tmp_path, dashscope))) as client:
            facts(await client.call_tool("get_task", {"task_id": foreign.task_id, "wait_seconds": 5}))
            text = await _text(client, "variations", task_id=foreign.task_id)

    assert f"1. The words of the task {foreign.task_id} are not known here" in text


async def test_a_ledger_that_cannot_be_read_is_told_in_the_text(tmp_path):
    (tmp_path / "state").write_text("no folder")
    async with Client(_server(make_settings(tmp_path))) as client:
        text = await _text(client, "variations", task_id="0385dc79-5ff8", size="16:9")

    assert "1. " in text
    assert "Tell me so, and ask me" in text


async def test_words_behind_a_task_say_what_shall_differ(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with Client(_server(make_settings(tmp_path, dashscope))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "an owl"}))["task_id"]
            one = await _text(client, "variations", task_id=made, prompt="bluer")
            many = await _text(
                client, "variations", task_id=made, prompt="make", change="it", size="blue", model="9:16"
            )
            form = await _text(client, "variations", task_id=made, prompt="a hare in spring")

    assert "Its prompt: an owl\nWhat shall differ: bluer\n" in one
    assert "Its prompt: an owl\nWhat shall differ: make it blue\n" in many
    assert 'size="9:16"' in many
    assert "Its prompt: a hare in spring\n" in form


@pytest.mark.parametrize("era", ERAS)
async def test_a_prompt_that_does_not_exist_is_refused_with_those_that_do(tmp_path, era):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        text = await _refusal(client, "poster")

    assert "'poster'" in text
    assert "picture, variations, wallpaper" in text


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("words", "subject", "call"),
    [
        ("a red fox in the snow", "a red fox in the", "the prompt"),
        ("a fox 16:9 please", "a fox please", 'the prompt and size="16:9"'),
        ("a red fox 1280x1280 sandbox", "a red fox", 'the prompt, size="1280x1280" and region="sandbox"'),
        ("fox running WAN2.7-Image", "fox running", 'the prompt and model="WAN2.7-Image"'),
        ("fox 16:9", "fox", 'the prompt and size="16:9"'),
        ("wan2.7-image fox", "fox", 'the prompt and model="wan2.7-image"'),
        ("16:9 a fox jumping high", "a fox jumping high", 'the prompt and size="16:9"'),
        ("a street in old singapore", "a street in old singapore", "the prompt"),
        ("the null fox of none", "the null fox of none", "the prompt"),
        ("$1 $2 $3 $4 $5", "$1 $2 $3 $4 $5", "the prompt"),
        ("$1", "$1", "the prompt"),
    ],
)
async def test_words_that_a_host_splits_at_blanks_come_together_again(tmp_path, era, words, subject, call):
    names = ("subject", "style", "size", "model", "region")
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        text = await _text(client, "picture", **dict(zip(names, words.split(), strict=False)))

    assert f"Subject: {subject}\n" in text
    assert f"Call generate_image with {call}." in text
    assert "Style" not in text
    assert "command line" in text


async def test_a_wallpaper_and_variations_take_the_words_of_a_command_line_too(tmp_path):
    words = ["a", "dark", "forest", "with", "owls"]
    async with Client(_server(make_settings(tmp_path))) as client:
        wallpaper = await _text(
            client, "wallpaper", **dict(zip(("subject", "size", "style", "model"), words, strict=False))
        )
        names = ("task_id", "prompt", "change", "size", "model", "region")
        variations = await _text(client, "variations", **dict(zip(names, words, strict=False)))
        one = await _text(client, "variations", task_id="owls")
        filled_in_later = await _text(
            client, "variations", **{name: f"${n}" for n, name in enumerate(names, start=1)}
        )

    assert "Subject: a dark forest with\n" in wallpaper
    assert 'size="9:16"' in wallpaper
    assert "Its prompt: a dark forest with owls\n" in variations
    assert "Its prompt: owls\n" in one
    assert "My words: $1 $2 $3 $4 $5 $6\n" in filled_in_later
    for text in (wallpaper, variations, one, filled_in_later):
        assert "command line" in text


async def test_a_form_keeps_its_fields_and_only_what_does_not_fit_goes_to_the_subject(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        form = {"subject": "a flower shop in spring", "style": "ink", "size": "very large", "region": "Singapore"}
        text = await _text(client, "picture", **form)

        misplaced = await _text(client, "picture", subject="a flower shop in spring", style="4:3")

    assert "Subject: a flower shop in spring\n" in misplaced
    assert 'size="4:3"' in misplaced
    assert "Subject: a flower shop in spring, very large\nStyle: ink\n" in text
    assert 'region="Singapore"' in text


async def test_a_region_that_has_no_key_is_a_place_in_a_command_line(tmp_path):
    split = {"subject": "a", "style": "cafe", "size": "in", "model": "old", "region": "beijing"}
    keyed = make_settings(tmp_path, DASHSCOPE_API_KEY_BEIJING="sk-test-beijing")
    async with Client(_server(make_settings(tmp_path))) as client:
        without = await _text(client, "picture", **split)
    async with Client(_server(keyed)) as client:
        with_key = await _text(client, "picture", **split)

    assert "Subject: a cafe in old beijing\n" in without
    assert "region=" not in without
    assert "Subject: a cafe in old beijing\n" in with_key
    assert 'region="beijing"' in with_key


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({}, "1. I have not said what it shall show."),
        ({"subject": "   "}, "1. I have not said what it shall show."),
        ({"subject": "undefined"}, "1. I have not said what it shall show."),
        ({"subject": "x", "colour": "red"}, "Subject: x, colour: red\n"),
        ({"subject": "x", "sessionId": "7", "_meta": "8"}, "Subject: x\n"),
        ({"subject": "x", "style": "None", "size": "null", "region": "undefined"}, "Subject: x\n"),
        ({"subject": "x", "model": "wan9"}, "Subject: x wan9\n"),
        ({"subject": "x", "size": "7:5"}, "7:5 in pixels"),
        ({"subject": "x", "model": "wan2.6-t2i", "size": "4K"}, "wan2.6-t2i does not draw this size"),
        ({"subject": "x", "region": "atlantis"}, "Subject: x atlantis\n"),
        ({"subject": "x", "region": "tokyo"}, "wan2.6-t2i is not offered in tokyo."),
        ({"subject": "x", "model": "wanx-v1", "region": "singapore"}, "wanx-v1 is not offered in singapore."),
        ({"subject": "x" * 2101}, "x" * 2101),
        ({"subject": "half \ud83d an emoji"}, "Subject: half ? an emoji\n"),
    ],
)
@pytest.mark.parametrize("name", ["picture", "wallpaper"])
@pytest.mark.parametrize("era", ERAS)
async def test_nothing_is_refused_and_what_could_not_be_ordered_is_asked_about_first(
    tmp_path, era, name, arguments, hint
):
    if era == "legacy" and "\ud83d" in str(arguments):
        pytest.skip("the client itself cannot send it")
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        text = await _text(client, name, **arguments)

    assert hint in text
    assert "Call generate_image" in text


async def test_a_text_is_bounded_whatever_was_filled_in(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        for name in ("picture", "variations", "wallpaper"):
            huge = dict.fromkeys(("subject", "style", "size", "model", "region", "prompt", "colour"), "x " * 5000000)
            text = await _text(client, name, **huge)
            assert len(text) < 30_000


async def test_every_tool_and_argument_that_a_prompt_names_exists(tmp_path):
    service = quick_service(make_settings(tmp_path))
    tools = {tool.name: set(tool.arguments.model_fields) for tool in (make(service) for make in TOOLS)}
    async with Client(build_server(service)) as client:
        everything = {"size": "1:1", "model": "wan2.6-t2i", "region": "sandbox"}
        texts = [
            await _text(client, "picture", subject="x", style="y", **everything),
            await _text(client, "wallpaper", subject="x", **everything),
            await _text(client, "variations", prompt="x", **everything),
            await _text(client, "variations", prompt="x", change="y", **everything),
        ]

    for text in texts:
        calls = [line for line in text.splitlines() if "Call " in line or "call " in line]
        named = {word.strip(".,") for line in calls for word in line.split() if "_" in word and "=" not in word}
        assert named & set(tools)
        assert named <= set(tools) | {"task_id"}
        given = {word.partition("=")[0] for line in calls for word in line.split() if "=" in word}
        assert given <= set.union(*tools.values())
