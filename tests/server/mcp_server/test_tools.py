"""What a caller is told of arguments that do not fit."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.little_service import LittleService
from wan_mcp.mcp_server.tools import plain_schema, read_arguments
from wan_mcp_tools import TOOLS
from wan_mcp_tools.domain.errors import RequestRefusedError

TOOL = {tool.name: tool for tool in (make(LittleService()) for make in TOOLS)}
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
        ({"prompt": "x", "n": "four"}, "The argument 'n' is 'four', and must be a whole number from 1 to 4."),
        ({"prompt": "x", "n": 2.5}, "The argument 'n' is 2.5, and must be a whole number from 1 to 4."),
        ({"prompt": "x", "n": True}, "The argument 'n' is true, and must be a whole number from 1 to 4."),
        ({"prompt": "x", "seed": ""}, "The argument 'seed' is '', and must be a whole number from 0 to 2147483647."),
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


ODD = {
    "a long text": "x" * 5_000_000,
    "a long number": 10**6000,
    "a long list": [0] * 100_000,
    "a list of half a character": [[["\ud800"]]],
    "a deep list": functools.reduce(lambda inside, _: [inside], range(100_000), 0),
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


@pytest.mark.parametrize(("tool", "name"), NAMES)
@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_no_argument_is_ever_answered_in_the_validators_words(tool, name, value):
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
    is_choice = shape["type"] == "boolean" or "enum" in shape

    # A cursor is read from an answer, and a default is an example too.
    assert shown or is_choice or "default" in shape or name == "cursor"


@pytest.mark.parametrize(("tool", "name"), NAMES)
def test_every_number_shows_its_bounds(tool, name):
    shape = plain_schema(TOOL[tool].arguments)["properties"][name]
    if shape["type"] in ("integer", "number"):
        assert "minimum" in shape
        # A task may have as many images as the operator's own models give.
        assert "maximum" in shape or name == "index"


def test_the_longest_wait_that_is_shown_is_the_longest_that_is_taken():
    from wan_mcp_tools.results import check_wait

    longest = plain_schema(TOOL["get_task"].arguments)["properties"]["wait_seconds"]["maximum"]

    assert check_wait(longest, 0) == longest
    with pytest.raises(RequestRefusedError):
        check_wait(longest + 1, 0)


def test_the_regions_that_are_shown_are_those_with_a_model():
    from wan_mcp_tools.catalogue.catalogue import MODELS

    shown = plain_schema(TOOL["generate_image"].arguments)["properties"]["region"]["enum"]

    assert set(shown) == {region for model in MODELS for region in model.region_names}


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
