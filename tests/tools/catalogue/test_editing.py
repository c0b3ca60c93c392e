"""Pictures as input: what they may be, which model takes them, and what shape comes out."""

import pytest

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError
from wan_mcp_tools.domain.requests import ImageRequest, InputImage, InputSource


def make_catalogue(default_region="singapore", keys=("singapore", "sandbox"), **more):
    return Catalogue(default_region=default_region, keyed_regions=frozenset(keys), **more)


def edit(*images, catalogue=None, **more):
    return (catalogue or make_catalogue()).make_request(**{"prompt": "blue", "images": images or ["a.png"]} | more)


def refusal(*images, **more):
    with pytest.raises(RequestRefusedError) as caught:
        edit(*images, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("fox.png", InputSource.FILE),
        ("/home/me/fox #1.png", InputSource.FILE),
        ("C:\\pictures\\fox.png", InputSource.FILE),
        ("https://example.com/fox.png?a=b#1", InputSource.URL),
        ("HTTP://example.com/fox.png", InputSource.URL),
        ("0385dc79-5ff8-4d82-bcb6-7cf0ad4b7f52#1", InputSource.TASK),
        ("local-0385dc79#12", InputSource.TASK),
    ],
)
def test_a_reference_is_a_file_a_result_or_an_address_of_the_web(reference, source):
    assert edit(reference).images == (InputImage(source, reference),)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (["a.png", " "], "number 2 of 2 is ' ' and names no picture"),
        (["a.png", None], "number 2 of 2 is None"),
        ([""], "number 1 of 1"),
        ([7], "number 1 of 1 is 7"),
        (["data:text/html,<script>"], "images takes no data: addresses"),
        (["oss://bucket/key"], "images takes no oss: addresses"),
        (["a.png"] * 12, "images has 12 pictures, and 10 are the most"),
    ],
)
def test_what_names_no_picture_is_refused_and_never_dropped(images, words):
    assert words in refusal(*images)


def test_no_images_are_an_order_of_words():
    assert make_catalogue().make_request(prompt="x", images=[]).model == "wan2.6-t2i"


def test_an_order_with_pictures_goes_to_the_operators_model_for_them():
    assert edit().model == "wan2.7-image"
    assert edit(catalogue=make_catalogue(edit_model="qwen-image-3.0")).model == "qwen-image-3.0"
    assert edit(model="wan2.6-image").model == "wan2.6-image"


def test_it_goes_to_a_region_that_has_a_key():
    assert edit(catalogue=make_catalogue("singapore", ("beijing",))).region == "beijing"
    assert edit(catalogue=make_catalogue("virginia", ("virginia", "beijing"))).region == "beijing"
    assert edit(catalogue=make_catalogue("singapore", ("singapore", "beijing"))).region == "singapore"
    assert edit(catalogue=make_catalogue("singapore", ())).region == "singapore"
    assert edit(catalogue=make_catalogue("singapore", ("beijing",)), model="wan2.7-image").region == "singapore"


@pytest.mark.parametrize("model", ["wan9", "wan2.6-t2i"])
def test_a_setting_that_names_no_model_for_pictures_is_told(model):
    with pytest.raises(SettingsError, match="WAN_MCP_EDIT_MODEL"):
        edit(catalogue=make_catalogue(edit_model=model))


def test_a_model_that_takes_no_pictures_is_refused_naming_those_that_do():
    said = refusal(model="wan2.6-t2i")
    for model in MODELS:
        assert (f" {model.id}," in said or f" {model.id};" in said) is (model.inputs is not None)


def test_a_model_that_needs_pictures_is_refused_without_them():
    with pytest.raises(RequestRefusedError, match="needs images: 1 to 3"):
        make_catalogue().make_request(prompt="x", model="qwen-image-edit-plus")


@pytest.mark.parametrize("model", [model for model in MODELS if model.inputs], ids=lambda model: model.id)
def test_more_pictures_than_a_model_takes_are_refused_with_those_that_take_them(model):
    most = model.inputs.most
    assert len(edit(*["a.png"] * most, model=model.id).images) == most
    if most < 10:
        said = refusal(*["a.png"] * (most + 1), model=model.id)
        assert "qwen-image-2.1-pro" in said


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("wan2.7-image", "2K"),
        ("wan2.7-image-pro", "2K"),
        ("wan2.6-image", "1K"),
        ("wan2.5-i2i-preview", "1280*1280"),
        ("qwen-image-3.0", "1024*1024"),
        ("qwen-image-2.1-pro", "1024*1024"),
        ("qwen-image-2.0", "1024*1024"),
        ("qwen-image-edit-plus", "1024*1024"),
        ("qwen-image-edit", None),
    ],
)
def test_a_size_is_always_sent_where_the_model_has_one(model, size):
    assert edit(model=model).size == size


@pytest.mark.parametrize(
    ("model", "shape", "size"),
    [
        ("qwen-image-3.0", (4000, 3000), "1168*880"),
        ("qwen-image-3.0", (1080, 1920), "768*1360"),
        ("qwen-image-3.0", (512, 500), "1040*1008"),
        ("qwen-image-edit-plus", (10_000, 100), "1840*512"),
        ("wan2.5-i2i-preview", (4000, 3000), "1472*1104"),
        ("wan2.7-image", (4000, 3000), "2K"),
        ("qwen-image-edit", (4000, 3000), None),
    ],
)
def test_without_a_size_an_edit_keeps_the_shape_of_the_last_picture(model, shape, size):
    catalogue = make_catalogue()
    assert catalogue.fit_size(edit(model=model), *shape).size == size


def test_a_size_that_the_caller_named_stays():
    catalogue = make_catalogue()
    assert catalogue.fit_size(edit(model="qwen-image-3.0", size="1:1"), 4000, 3000).size == "1024*1024"
    words = catalogue.make_request(prompt="x", model="qwen-image-3.0")
    assert catalogue.fit_size(words, 4000, 3000) == words


def test_a_model_that_takes_no_size_refuses_one():
    assert "qwen-image-edit has no parameter size" in refusal(model="qwen-image-edit", size="1:1")


def test_a_seed_is_chosen_when_none_is_given_and_makes_no_other_picture():
    first, second = edit(), edit()
    assert first.is_seed_chosen
    assert first.seed != second.seed
    assert first.to_picture() == second.to_picture()
    named = edit(seed=first.seed)
    assert not named.is_seed_chosen
    assert named.to_picture() != first.to_picture()
    assert first.to_arguments()["seed"] == first.seed
    assert "is_seed_chosen" not in first.to_arguments()


def test_a_request_with_pictures_and_options_survives_being_written_down():
    request = edit("a.png", "t-1#2", options={"enable_sequential": True}, n=3)
    assert ImageRequest.from_dict(request.to_dict()) == request
    assert request.to_arguments()["images"] == ["a.png", "t-1#2"]


@pytest.mark.parametrize(
    ("model", "n", "words"),
    [
        ("wan2.6-t2i", 9, "orders with n=4, n=4, n=1, each of them fresh"),
        ("wan2.6-t2i", 8, "orders with n=4, n=4, each"),
        ("qwen-image", 3, "n must be 1. Order 3 times, each of them fresh"),
        ("wan2.6-t2i", 10**30, "Order fewer"),
    ],
)
def test_more_images_than_a_model_draws_are_refused_with_how_to_split_them(model, n, words):
    with pytest.raises(RequestRefusedError) as caught:
        make_catalogue().make_request(prompt="x", model=model, n=n)
    assert words in str(caught.value)
