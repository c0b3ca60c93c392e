"""What only some models have: taken as it is, or refused by name with what the model takes."""

import pytest

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.requests import COUNTED_BY_MODEL

CATALOGUE = Catalogue(keyed_regions=frozenset({"singapore", "beijing"}))
PALETTE = [
    {"hex": "#C2D1E6", "ratio": "23.51%"},
    {"hex": "#0a0b0c", "ratio": "50.00%"},
    {"hex": "#FFFFFF", "ratio": "26.49%"},
]
BOX = [989, 515, 1138, 681]


def order(model, options, **more):
    return CATALOGUE.make_request(**{"prompt": "x", "model": model, "options": options} | more)


def refusal(model, options, **more):
    with pytest.raises(RequestRefusedError) as caught:
        order(model, options, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "options", "more"),
    [
        ("wan2.7-image-pro", {"bbox_list": [[], [BOX]]}, {"images": ["a.png", "b.png"]}),
        ("wan2.7-image-pro", {"color_palette": PALETTE}, {}),
        ("wan2.7-image-pro", {"color_palette": PALETTE, "enable_sequential": False}, {}),
        ("wan2.7-image", {"thinking_mode": False}, {"images": ["a.png"]}),
        ("wan2.7-image", {"enable_sequential": True}, {"n": 12, "images": ["a.png"] * 9}),
        ("qwen-image-3.0", {"prompt_extend_mode": "agent", "enable_thinking": False}, {}),
        ("qwen-image-3.0-pro", {"prompt_extend_mode": "direct"}, {"images": ["a.png"]}),
        ("wanx-v1", {"style": "<anime>"}, {}),
    ],
)
def test_what_a_model_takes_goes_into_the_order_as_it_is(model, options, more):
    assert order(model, options, **more).options == options


def test_null_is_left_out_and_no_options_are_none():
    assert order("wan2.7-image", {"thinking_mode": None}).options == {}
    assert order("wan2.7-image", None).options == order("wan2.7-image", {}).options == {}


@pytest.mark.parametrize(
    ("model", "options", "more", "words"),
    [
        (
            "wan2.6-t2i",
            {"thinking_mode": True},
            {},
            "wan2.6-t2i has no option 'thinking_mode'. wan2.6-t2i has no opt",
        ),
        ("wan2.7-image", {"style": "x"}, {}, "no option 'style'. Its options are enable_sequential: true or false;"),
        ("wan2.7-image", {"seed": 1}, {}, "seed is an argument of its own. Pass it beside options."),
        ("wan2.7-image", {"thinking_mode": "yes"}, {}, "thinking_mode is 'yes'. It takes true or false."),
        ("wan2.7-image", {"thinking_mode": 1}, {}, "thinking_mode is 1."),
        ("qwen-image-3.0", {"prompt_extend_mode": "wild"}, {}, "It takes one of direct, agent."),
        (
            "qwen-image-3.0",
            {"prompt_extend_mode": "agent"},
            {"images": ["a"]},
            "prompt_extend_mode=agent only without",
        ),
        ("wan2.7-image", {"bbox_list": [[BOX]]}, {}, "takes bbox_list only with images"),
        ("wan2.7-image", {"bbox_list": [[BOX]]}, {"images": ["a", "b"]}, "has 1 lists for 2 input pictures"),
        ("wan2.7-image", {"bbox_list": [[BOX, BOX, BOX]]}, {"images": ["a"]}, "has 3 boxes for picture 1"),
        ("wan2.7-image", {"bbox_list": [[[5, 5, 5, 9]]]}, {"images": ["a"]}, "which are no boxes"),
        ("wan2.7-image", {"bbox_list": [[[1, 2, 3.5, 4]]]}, {"images": ["a"]}, "which are no boxes"),
        ("wan2.7-image", {"bbox_list": "all"}, {"images": ["a"]}, "bbox_list is 'all'"),
        ("wan2.7-image", {"color_palette": PALETTE[:2]}, {}, "has 2 colours. It takes 3 to 10"),
        ("wan2.7-image", {"color_palette": PALETTE[:2] + PALETTE[:1]}, {}, "has ratios of 97.02% together"),
        (
            "wan2.7-image",
            {"color_palette": [*PALETTE[:2], {"hex": "red", "ratio": "1%"}]},
            {},
            "has the colour {'hex'",
        ),
        ("wan2.7-image", {"color_palette": PALETTE, "enable_sequential": True}, {}, "only without enable_sequential"),
        ("wan2.6-image", {"max_images": 3}, {"images": ["a"]}, "takes max_images only with enable_interleave"),
        ("wan2.6-image", {"enable_interleave": True, "max_images": 6}, {}, "a whole number from 1 to 5"),
        ("wan2.6-image", {"enable_interleave": True}, {"images": ["a", "b"]}, "takes 0 to 1 in such an order"),
        ("wan2.6-image", {"enable_interleave": True, "max_images": 2}, {"n": 3}, "Leave max_images out."),
    ],
)
def test_what_a_model_does_not_take_is_refused_by_name(model, options, more, words):
    assert words in refusal(model, options, **more)


def test_in_a_set_n_is_the_most_and_goes_to_twelve():
    assert order("wan2.7-image", {"enable_sequential": True}, n=12).n == 12
    assert order("wan2.7-image", {"enable_sequential": True}, n=1).n == 1
    assert "in such an order" in refusal("wan2.7-image", {"enable_sequential": True}, n=13)
    assert "enable_sequential=true in options takes n to 12" in refusal("wan2.7-image", {}, n=6)
    assert "4K" in refusal("wan2.7-image-pro", {"enable_sequential": True}, size="4K")


@pytest.mark.parametrize(
    ("model", "options", "n"),
    [
        ("wan2.7-image", {"enable_sequential": True}, 12),
        ("wan2.7-image-pro", {"enable_sequential": False}, 1),
        ("wan2.6-image", {"enable_interleave": True}, 5),
        ("wan2.6-image", {"enable_interleave": True, "max_images": 2}, 2),
    ],
)
def test_where_nobody_says_how_many_a_set_has_as_many_as_its_words_say_and_any_other_order_one(model, options, n):
    images = ["a.png"] if model == "wan2.6-image" else None
    assert order(model, options, images=images).n == n
    assert order(model, options, images=images, n=None).n == n


def test_the_modes_in_which_the_model_decides_how_many_are_known_to_all():
    assert {mode.option for model in MODELS for mode in model.modes} == COUNTED_BY_MODEL


def test_text_with_pictures_takes_the_one_that_the_service_wants_beside_its_own_count():
    assert order("wan2.6-image", {"enable_interleave": True, "max_images": 3}, n=1).n == 3


def test_text_with_pictures_has_as_many_as_n_says_and_is_ordered_by_task_alone():
    catalogue = Catalogue(prefer_sync=True)
    request = catalogue.make_request(prompt="x", model="wan2.6-image", options={"enable_interleave": True}, n=3)
    assert (request.n, request.options) == (3, {"enable_interleave": True, "max_images": 3})
    assert request.size == "1280*1280"
    assert catalogue.choose_protocol(request) == "async"
    edit = catalogue.make_request(prompt="x", model="wan2.6-image", images=["a.png"])
    assert catalogue.choose_protocol(edit) == "sync"
    again = catalogue.make_request(**request.to_arguments())
    assert again.to_arguments() == request.to_arguments()


@pytest.mark.parametrize("model", [model for model in MODELS if model.options], ids=lambda model: model.id)
def test_every_option_says_what_it_does_and_takes(model):
    for option in model.options:
        assert option.about
        assert option.describe()


def test_shares_of_colours_are_written_with_two_decimals_as_the_service_wants_them():
    palette = [{"hex": "#FFFFFF", "ratio": ratio} for ratio in ("50%", "25.5%", "24.50%")]
    request = CATALOGUE.make_request(prompt="a fox", model="wan2.7-image", options={"color_palette": palette})
    assert [colour["ratio"] for colour in request.options["color_palette"]] == ["50.00%", "25.50%", "24.50%"]


def test_a_model_without_an_option_is_refused_with_those_that_have_it():
    with pytest.raises(RequestRefusedError, match="Models that have enable_sequential: wan2"):
        CATALOGUE.make_request(prompt="a fox", model="wan2.6-t2i", options={"enable_sequential": True})
