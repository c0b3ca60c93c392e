"""What a caller is told of arguments that do not fit."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.memory_service import MemoryService
from wan_mcp.mcp_server.arguments import host_schema, plain_schema, read_arguments
from wan_mcp_tools import TOOLS
from wan_mcp_tools.domain.errors import RequestRefusedError

TOOL = {tool.name: tool for tool in (make(MemoryService()) for make in TOOLS)}
NAMES = [(tool.name, name) for tool in TOOL.values() for name in tool.arguments.model_fields]


def refusal(tool, **arguments):
    with pytest.raises(RequestRefusedError) as caught:
        read_arguments(TOOL[tool], arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": 5}, "The argument 'prompt' is 5, and must be text."),
        ({"prompt": None}, "The argument 'prompt' is null, and must be text."),
        ({"prompt": ["x"]}, "The argument 'prompt' is [\"x\"], and must be text."),
        ({"prompt": "x", "n": "four"}, "The argument 'n' is 'four', and must be a whole number from 1 to 12."),
        ({"prompt": "x", "n": 2.5}, "The argument 'n' is 2.5, and must be a whole number from 1 to 12."),
        ({"prompt": "x", "n": True}, "The argument 'n' is true, and must be a whole number from 1 to 12."),
        (
            {"prompt": "x", "seed": "?"},
            "The argument 'seed' is '?', and must be a whole number from 0 to 2147483647.",
        ),
        ({"prompt": "x", "watermark": "maybe"}, "The argument 'watermark' is 'maybe', and must be true or false."),
        ({"prompt": "x", "wait_seconds": "soon"}, "'wait_seconds' is 'soon', and must be a number from 0 to 3600."),
        ({"prompt": "x", "wait_seconds": float("inf")}, "is Infinity, and must be a number from 0 to 3600."),
        ({"prompt": "x", "size": {"w": 1}}, "The argument 'size' is {\"w\": 1}, and must be text."),
    ],
)
def test_a_wrong_type_is_named_repeated_and_put_right(arguments, words):
    text = refusal("generate_image", **arguments)

    assert words in text
    assert text.endswith("Its arguments are: " + ", ".join(TOOL["generate_image"].arguments.model_fields) + ".")


def test_a_number_without_an_upper_bound_is_described_so():
    assert "'index' is 'x', and must be a whole number, 1 or more." in refusal("view_image", task_id="t", index="x")


def test_an_unknown_choice_is_answered_with_the_choices():
    text = refusal("list_tasks", status="DONE")

    assert "The argument 'status' is 'DONE', and must be one of PENDING, RUNNING, SUCCEEDED" in text


def test_every_fault_is_told_at_once_and_each_only_once():
    text = refusal("generate_image", n="x", seed="y", negativ_prompt="z")

    assert text.count("The argument 'seed'") == 1
    for part in ("'n' is 'x'", "'seed' is 'y'", "'prompt' is missing", "did you mean 'negative_prompt'?"):
        assert part in text


def nest(depth):
    inside = []
    for _ in range(depth):
        inside = [inside]
    return inside


ODD = {
    "a long text": "x" * 5_000_000,
    "a long number": 10**6000,
    "a long list": [0] * 100_000,
    "a list of half a character": [[["\ud800"]]],
    "a deep list": nest(100_000),
    "a large object": {"a": "b" * 10_000},
    "half a character": "\ud800\x00\u202e",
}


@pytest.mark.parametrize("kind", ODD)
def test_whatever_was_given_is_repeated_short_and_as_plain_text(kind):
    text = refusal("generate_image", prompt="x", seed=ODD[kind], watermark=ODD[kind])

    assert len(text) < 500
    assert text.encode().decode() == text
    assert all(character.isprintable() for character in text)
    assert "and must be true or false" in text


@pytest.mark.parametrize(
    ("tool", "name", "value", "words"),
    [
        ("generate_image", "prompt", "x" * 10_000_000, "has 10000000 characters, and must be text of at most 5000"),
        ("generate_image", "filename", "x" * 10_000_000, "has 10000000 characters, and must be text of at most 8192"),
        ("generate_image", "region", "x" * 10_000_000, "has 10000000 characters, and must be text of at most 8192"),
        ("list_tasks", "status", "x" * 10_000_000, "is too long to repeat, and must be one of PENDING"),
        ("list_tasks", "limit", 10**5000, "is too long to repeat, and must be a whole number from 1 to 100"),
        ("list_tasks", "limit", "1" * 5000, "must be a whole number from 1 to 100"),
        ("get_task", "wait_seconds", -(10**400), "is too long to repeat, and must be a number from 0 to 3600"),
        ("view_image", "path", "/" * 9_000, "has 9000 characters"),
        ("view_image", "index", [[[[[[[[[1]]]]]]]]], "is too long to repeat, and must be a whole number, 1 or more"),
        ("download_image", "url", "https://x/\ud83d.png", "has half a character at position 11"),
        ("cancel_task", "task_id", "\udc00", "has half a character at position 1"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "value",
)
def test_what_is_too_large_is_refused_before_anything_reads_it(tool, name, value, words):
    text = refusal(tool, **{name: value})

    assert f"The argument {name!r} " in text
    assert words in text
    assert len(text.encode()) < 1_500


def test_of_many_faults_some_are_told_and_the_rest_is_counted():
    names = {f"wish_{number}_{'x' * 1000}": number for number in range(200)}
    text = refusal("submit_task", **names, n="?")

    assert len(text) < 1_000
    assert "There is no argument 'wish_0_xxx" in text
    assert "And 196 more do not fit." in text
    assert text.endswith("fresh.")


def test_a_hundred_thousand_arguments_are_refused_at_once():
    started = time.thread_time()
    refusal("generate_image", prompt="x", **{f"{number}{'x' * 10}": None for number in range(100_000)})

    assert time.thread_time() - started < 2


ADDED = {
    "wait_for_previous": True,
    "waitForPreviousTools": False,
    "task_progress": "- [x] draw",
    "tool": "generate_image",
    "toolCallId": "call_1",
    "tool_call_id": "call_1",
    "sessionId": "0385dc79",
    "action": "sendMessage",
    "chatInput": "draw me a fox",
    "security_context": {"agent_fingerprint": {"a": [1]}},
    "_meta": {},
    "_sessionID": "x",
    "__trace": None,
    "_": 1,
    "_x": "y" * 10_000_000,
}


@pytest.mark.parametrize("tool", TOOL)
def test_what_the_program_of_a_client_adds_is_passed_over(tool):
    required = {name: "x" for name, field in TOOL[tool].arguments.model_fields.items() if field.is_required()}

    assert read_arguments(TOOL[tool], required | ADDED) == read_arguments(TOOL[tool], required)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("_prompt", "prompt"),
        ("_promt", "prompt"),
        ("_negativePrompt", "negative_prompt"),
        ("_n", "n"),
        ("_sed", "seed"),
        ("__fresh__", "fresh"),
        ("promt", "prompt"),
        ("negativePrompt", "negative_prompt"),
        ("waitSeconds", "wait_seconds"),
        ("outputdir", "output_dir"),
        ("regio", "region"),
    ],
)
def test_a_misspelt_wish_is_told_with_the_right_name_whatever_is_before_it(name, meant):
    text = refusal("generate_image", prompt="x", **{name: "y"})

    assert f"There is no argument {name!r}; did you mean {meant!r}?" in text


@pytest.mark.parametrize("name", ["colour", "actions", "tools", "session", "width", "quality"])
def test_a_wish_that_nobody_knows_stays_an_error(name):
    assert f"There is no argument {name!r}" in refusal("generate_image", prompt="x", **{name: "y"})


NOTHING = ["", " ", "\t\n", None, "null", "NULL", "none", "None", " None ", "undefined", "Undefined"]
OPTIONAL = [
    (tool.name, name)
    for tool in TOOL.values()
    for name, f in tool.arguments.model_fields.items()
    if not f.is_required()
]


@pytest.mark.parametrize(("tool", "name"), OPTIONAL)
def test_what_stands_for_nothing_is_absent_for_every_optional_argument(tool, name):
    required = {each: "x" for each, field in TOOL[tool].arguments.model_fields.items() if field.is_required()}

    for nothing in NOTHING:
        assert read_arguments(TOOL[tool], required | {name: nothing}) == read_arguments(TOOL[tool], required)


@pytest.mark.parametrize("nought", [0, "0", 0.0, " 0 "])
def test_no_image_at_all_is_as_if_nobody_had_said_how_many(nought):
    assert read_arguments(TOOL["generate_image"], {"prompt": "x", "n": nought}).n is None


def test_what_is_required_is_never_absent_by_a_word():
    assert read_arguments(TOOL["generate_image"], {"prompt": "None"}).prompt == "None"
    assert "'task_id' is null" in refusal("get_task", task_id=None)


def test_words_that_only_hold_such_a_word_mean_something():
    given = {"prompt": "x", "negative_prompt": "none of them", "filename": "null-pointer", "seed": 0}
    arguments = read_arguments(TOOL["generate_image"], given)

    assert (arguments.negative_prompt, arguments.filename, arguments.seed) == ("none of them", "null-pointer", 0)


@pytest.mark.parametrize("tool", TOOL)
def test_a_schema_leaves_it_to_the_server_to_refuse_unknown_arguments(tool):
    schema = plain_schema(TOOL[tool].arguments)

    assert "additionalProperties" not in schema
    assert "There is no argument 'wish'" in refusal(tool, wish=1)


@pytest.mark.parametrize(("tool", "name"), NAMES)
@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_no_argument_is_ever_answered_in_the_validators_words(tool, name, value):
    if (name, value) in (("images", ["a"]), ("options", {"a": 1})):
        pytest.skip("that is what these two take")
    text = refusal(tool, **{name: value})

    assert f"'{name}'" in text
    for word in ("Input", "pydantic", "valid ", "parse", "Value error"):
        assert word not in text


@given(
    st.dictionaries(
        st.sampled_from([*TOOL["generate_image"].arguments.model_fields, "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers()),
    )
)
def test_any_arguments_are_read_or_refused_in_words(arguments):
    told = None
    try:
        read_arguments(TOOL["generate_image"], arguments)
    except RequestRefusedError as error:
        told = error

    assert told is None or (told.message.startswith("generate_image: ") and told.advice)


@pytest.mark.parametrize(("tool", "name"), NAMES)
def test_every_argument_shows_one_example_or_its_choices(tool, name):
    shape = plain_schema(TOOL[tool].arguments)["properties"][name]
    shown = "e.g." in shape["description"] or "1280*1280" in shape["description"]
    is_choice = shape["type"] == "boolean" or "enum" in shape or name == "region"

    if tool == "submit_task":
        # It has the arguments of generate_image, and leaves the words about them to it.
        assert shape["description"] == "As there."
        return
    # A cursor is read from an answer, and a default is an example too.
    assert shown or is_choice or "default" in shape or name == "cursor"


@pytest.mark.parametrize(("tool", "name"), NAMES)
def test_every_number_has_its_bounds_for_a_refusal_and_hosts_see_none(tool, name):
    shape = plain_schema(TOOL[tool].arguments)["properties"][name]
    if shape["type"] in ("integer", "number") and tool != "submit_task":
        assert "minimum" in shape
        # A task may have as many images as the operator's own models give.
        assert "maximum" in shape or name == "index"
    shown = host_schema(TOOL[tool].arguments)["properties"][name]
    assert not {"minimum", "maximum", "minLength", "maxLength"} & shown.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": "x", "n": 0},
        {"prompt": "x" * 6_000},
        {"prompt": "x", "region": "ap-southeast-1"},
        {"prompt": "x", "negative_prompt": ""},
        {"prompt": "x", "size": "", "model": "none", "filename": "null"},
    ],
)
def test_a_host_that_checks_calls_by_the_schema_lets_through_what_is_read(arguments):
    read_arguments(TOOL["generate_image"], arguments)

    shapes = host_schema(TOOL["generate_image"].arguments)["properties"]
    for name, value in arguments.items():
        assert {"string": str, "integer": int}[shapes[name]["type"]] is type(value)
        assert shapes[name].keys() <= {"type", "description", "default", "nullable"}


def test_null_is_shown_where_it_is_the_natural_word_for_nothing():
    shown = {
        (tool, name)
        for tool in TOOL
        for name, shape in host_schema(TOOL[tool].arguments)["properties"].items()
        if shape.get("nullable")
    }

    assert shown == {
        ("generate_image", "seed"),
        ("submit_task", "seed"),
        ("download_image", "task_id"),
        ("download_image", "url"),
        ("view_image", "task_id"),
        ("view_image", "path"),
    }
    for tool, name in shown:
        needed = {"prompt": "x"} if "prompt" in TOOL[tool].arguments.model_fields else {}
        assert getattr(read_arguments(TOOL[tool], needed | {name: None}), name) is None


def test_the_longest_wait_that_is_shown_is_the_longest_that_is_taken():
    from wan_mcp_tools.results import check_wait

    longest = plain_schema(TOOL["get_task"].arguments)["properties"]["wait_seconds"]["maximum"]

    assert check_wait(longest, 0) == longest
    with pytest.raises(RequestRefusedError):
        check_wait(longest + 1, 0)


def test_the_regions_that_are_shown_are_those_with_a_model():
    from wan_mcp_tools.catalogue.catalogue import MODELS

    words = host_schema(TOOL["generate_image"].arguments)["properties"]["region"]["description"]
    shown, _, _ = words.partition(":")

    assert set(shown.replace(";", "").split()) == {region for model in MODELS for region in model.region_names}


def test_the_longest_prompt_that_is_shown_is_the_longest_that_a_model_reads():
    from wan_mcp_tools.catalogue.catalogue import MODELS

    shapes = plain_schema(TOOL["generate_image"].arguments)["properties"]

    assert shapes["prompt"]["maxLength"] == max(model.prompt_limit for model in MODELS)
    assert shapes["negative_prompt"]["maxLength"] == max(model.negative_prompt_limit or 0 for model in MODELS)


@pytest.mark.parametrize(
    ("tool", "arguments", "hint"),
    [
        ("view_image", {"path": "a.png", "index": 2}, "index=2"),
        ("view_image", {"path": "a.png", "task_id": "t"}, "either"),
        ("view_image", {}, "either"),
        ("download_image", {"url": "https://x/a.png", "index": 3}, "index=3"),
        ("download_image", {"url": "https://x/a.png", "task_id": "t"}, "either"),
    ],
)
async def test_an_image_is_named_in_one_way(tool, arguments, hint):
    with pytest.raises(RequestRefusedError, match=hint):
        await TOOL[tool].run(read_arguments(TOOL[tool], arguments), None)
