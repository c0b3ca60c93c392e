import json

import pytest
from pydantic import ValidationError

from wan_mcp_tools import arguments
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.tool import Arguments


class Order(Arguments):
    prompt: arguments.Prompt
    negative_prompt: arguments.NegativePrompt = None
    model: arguments.ModelId = None
    size: arguments.Size = None
    n: arguments.Count = 1
    seed: arguments.Seed = None
    prompt_extend: arguments.PromptExtend = None
    watermark: arguments.Watermark = False
    region: arguments.RegionName = None
    output_dir: arguments.OutputDir = None
    filename: arguments.Filename = None
    wait_seconds: arguments.WaitSeconds = None


class Rest(Arguments):
    task_id: arguments.TaskId
    other_task_id: arguments.OptionalTaskId = None
    index: arguments.Index = 1
    url: arguments.Url = None
    path: arguments.ImagePath = None
    status: arguments.Status = None
    limit: arguments.Limit = 20
    cursor: arguments.Cursor = None
    remote: arguments.Remote = False
    format: arguments.Format = None
    max_side: arguments.MaxSide = None
    since: arguments.Since = None
    until: arguments.Until = None
    costs: arguments.Costs = False


@pytest.mark.parametrize("group", [Order, Rest])
def test_a_schema_is_flat_and_says_nothing_of_null(group):
    schema = group.model_json_schema()
    text = json.dumps(schema)
    for word in ("anyOf", "$ref", "$defs", '"null"'):
        assert word not in text
    for shape in schema["properties"].values():
        assert isinstance(shape["type"], str)
        assert shape["description"]


def test_the_arguments_of_an_order_are_described_in_few_words():
    assert len(json.dumps(Order.model_json_schema(), separators=(",", ":"))) < 2_200


def test_bounds_are_in_the_schema_for_refusals_and_left_to_the_catalogue():
    shapes = Order.model_json_schema()["properties"]
    assert (shapes["n"]["minimum"], shapes["n"]["maximum"]) == (1, 12)
    assert (shapes["seed"]["minimum"], shapes["seed"]["maximum"]) == (0, 2_147_483_647)
    assert Order(prompt="", n=99, seed=-1).n == 99


@pytest.mark.parametrize("name", ["n", "seed"])
def test_a_whole_number_may_be_written_in_three_ways(name):
    for value in (2, "2", 2.0):
        taken = getattr(Order(prompt="x", **{name: value}), name)
        assert taken == 2
        assert type(taken) is int


@pytest.mark.parametrize("name", ["n", "seed", "wait_seconds"])
@pytest.mark.parametrize("value", [True, False, "two", float("nan")])
def test_what_is_no_number_is_refused(name, value):
    with pytest.raises(ValidationError):
        Order(prompt="x", **{name: value})


@pytest.mark.parametrize("name", ["n", "seed"])
def test_a_fraction_is_no_whole_number(name):
    with pytest.raises(ValidationError):
        Order(prompt="x", **{name: 2.5})


def test_null_stands_for_every_optional_argument_that_is_left_out():
    nothing = dict.fromkeys(name for name in Order.model_fields if name != "prompt")
    assert Order(prompt="x", **nothing) == Order(prompt="x")
    rest = dict.fromkeys(name for name in Rest.model_fields if name not in ("task_id", "limit"))
    assert Rest(task_id="x", **rest) == Rest(task_id="x")


@pytest.mark.parametrize("word", ["CANCELED", "canceled", "Cancelled"])
def test_a_status_is_read_in_any_case_and_both_spellings(word):
    assert Rest(task_id="x", status=word).status is TaskStatus.CANCELED


def test_every_status_is_in_the_schema():
    assert Rest.model_json_schema()["properties"]["status"]["enum"] == [status.value for status in TaskStatus]


def test_an_unknown_status_is_refused():
    with pytest.raises(ValidationError):
        Rest(task_id="x", status="DONE")


@pytest.mark.parametrize(
    ("given", "read"), [("webp", "webp"), ("JPG", "jpeg"), (".jpeg", "jpeg"), (" Png ", "png"), (" ", None)]
)
def test_a_format_is_read_as_people_write_it(given, read):
    assert Rest(task_id="t", format=given).format == read


@pytest.mark.parametrize("given", ["gif", "tiff", 3, True])
def test_a_format_that_is_not_written_is_refused(given):
    with pytest.raises(ValidationError):
        Rest(task_id="t", format=given)
