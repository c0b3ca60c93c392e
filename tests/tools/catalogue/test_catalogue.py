"""The choice of model and region, the defaults, and the check of an order before it costs money."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError
from wan_mcp_tools.domain.requests import ImageRequest

CATALOGUE = Catalogue()


SEED = 20_261_127


def make_catalogue(default_region="singapore", keys=("singapore",), default_model="wan2.6-t2i", **more):
    return Catalogue(
        default_model=default_model,
        default_region=default_region,
        keyed_regions=frozenset(keys),
        choose_seed=lambda: SEED,
        **more,
    )


def refusal(catalogue=None, **arguments):
    with pytest.raises(RequestRefusedError) as caught:
        (catalogue or make_catalogue()).make_request(**{"prompt": "a cat", **arguments})
    return str(caught.value)


@pytest.mark.parametrize("spelling", ["wan2.1-t2i-plus", "wanx2.1-t2i-plus", "WanX2.1-T2I-Plus", " wan2.1-t2i-plus "])
def test_both_spellings_of_a_model_in_any_case_find_the_same_row(spelling):
    model = Catalogue().find(spelling)
    assert model.id == "wan2.1-t2i-plus"
    assert model.wire_id("beijing") == "wanx2.1-t2i-plus"
    assert model.wire_id("singapore") == "wan2.1-t2i-plus"


def test_an_unknown_model_is_refused_with_the_known_ids():
    with pytest.raises(RequestRefusedError) as caught:
        Catalogue().find("wan9-t2i")
    assert "wan9-t2i" in caught.value.message
    for known in MODELS:
        assert known.id in caught.value.advice


def test_a_region_that_lacks_the_model_is_refused():
    with pytest.raises(RequestRefusedError, match=r"not offered in virginia.*singapore, beijing"):
        Catalogue().find("wan2.7-image").wire_id("virginia")


def test_an_order_with_nothing_but_a_prompt_is_completed_with_every_default():
    assert make_catalogue().make_request(prompt="a cat") == ImageRequest(
        model="wan2.6-t2i",
        region="singapore",
        prompt="a cat",
        size="1280*1280",
        n=1,
        negative_prompt=None,
        seed=SEED,
        prompt_extend=True,
        watermark=False,
        is_seed_chosen=True,
        is_size_chosen=True,
    )


def test_everything_the_caller_says_is_in_the_order():
    said = {
        "prompt": " 一只猫 🐈 ",
        "negative_prompt": "blur",
        "model": "wanx2.1-t2i-turbo",
        "n": 4,
        "seed": 0,
        "prompt_extend": False,
        "watermark": True,
        "region": "cn-beijing",
        "output_dir": "../anywhere",
        "filename": "a/b?.png",
    }
    request = make_catalogue().make_request(size="720x1280", **said)
    assert request.to_dict() == {**said, "model": "wan2.1-t2i-turbo", "region": "beijing", "size": "720*1280"}


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_blank_choices_mean_the_defaults(blank):
    request = make_catalogue().make_request(prompt="x", model=blank, size=blank, region=blank, negative_prompt=blank)
    assert request == make_catalogue().make_request(prompt="x")


def test_null_switches_and_counts_mean_the_defaults():
    assert make_catalogue().make_request(prompt="x", n=None, watermark=None) == make_catalogue().make_request(
        prompt="x"
    )


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "\u200b", "\u3000"])
def test_an_empty_prompt_is_refused(prompt):
    assert "empty" in refusal(prompt=prompt)


@pytest.mark.parametrize("model", [model.id for model in MODELS if model.is_prompt_limit_certain])
def test_a_prompt_of_the_limit_passes_and_one_character_more_is_refused_with_both_numbers(model):
    row = CATALOGUE.find(model)
    limit = row.prompt_limit
    catalogue = make_catalogue("sandbox")
    needed = {"model": model, "images": ["a.png"] * row.count_inputs({})[0]}
    assert catalogue.make_request(prompt="猫" * limit, **needed).prompt == "猫" * limit
    said = refusal(catalogue, prompt="🐈" * (limit + 1), **needed)
    assert f"{limit + 1}" in said
    assert f"{limit}" in said


def test_a_negative_prompt_over_the_limit_is_refused_with_both_numbers():
    assert make_catalogue().make_request(prompt="x", negative_prompt="y" * 500).negative_prompt == "y" * 500
    said = refusal(negative_prompt="y" * 501)
    assert "501" in said
    assert "500" in said


def test_half_a_character_is_refused_before_it_breaks_the_wire():
    assert "surrogate" in refusal(prompt="a cat \ud83d")
    assert "surrogate" in refusal(negative_prompt="\udc08")


@pytest.mark.parametrize(
    "arguments", [{"negative_prompt": "blur"}, {"prompt_extend": True}, {"prompt_extend": False}]
)
def test_a_parameter_that_the_model_lacks_is_refused_naming_the_models_that_have_it(arguments):
    said = refusal(model="wan2.7-image", **arguments)
    assert next(iter(arguments)) in said
    assert "wan2.6-t2i" in said
    assert "wan2.7-image-pro" not in said


def test_an_order_of_a_model_without_rewriting_does_not_carry_the_parameter():
    request = make_catalogue().make_request(prompt="x", model="wan2.7-image-pro", size="4k", negative_prompt="")
    assert request.to_dict() == {
        "model": "wan2.7-image-pro",
        "region": "singapore",
        "prompt": "x",
        "size": "4K",
        "n": 1,
        "watermark": False,
        "seed": SEED,
        "is_seed_chosen": True,
    }


@pytest.mark.parametrize("n", [0, 5, -1, True, 1.5, 2.0, "2"])
def test_a_count_that_is_no_whole_number_from_1_to_4_is_refused(n):
    assert "from 1 to 4" in refusal(n=n)


def test_an_enormous_count_is_refused_like_any_other():
    assert "from 1 to 4" in refusal(n=10**5000)


@pytest.mark.parametrize("seed", [-1, 2**31, True, 0.5, "7"])
def test_a_seed_out_of_range_is_refused(seed):
    assert "from 0 to 2147483647" in refusal(seed=seed)


def test_both_ends_of_the_seeds_pass():
    for seed in (0, 2_147_483_647):
        assert make_catalogue().make_request(prompt="x", seed=seed).seed == seed


@pytest.mark.parametrize("name", ["watermark", "prompt_extend"])
def test_a_switch_is_true_or_false_and_nothing_like_it(name):
    assert "true or false" in refusal(**{name: "yes"})
    assert "true or false" in refusal(**{name: 1})


def test_a_refused_size_names_the_model_the_rule_and_the_models_that_draw_it():
    said = refusal(size="1024x1024")
    for part in ("wan2.6-t2i", "1638400 (1280*1280)", "1696*960", "wan2.7-image", "wan2.2-t2i-flash"):
        assert part in said
    assert "wanx-v1" not in said


def test_a_size_that_nothing_draws_suggests_no_model():
    assert "that draw it" not in refusal(size="banana")


def test_a_named_region_that_lacks_the_model_is_refused_listing_those_that_have_it():
    said = refusal(model="wan2.7-image", region="virginia")
    assert "singapore, beijing, sandbox" in said
    assert "Models of virginia: wan2.6-t2i, wan2.6-image, qwen-image-3.0-pro, qwen-image-3.0." in said
    said = refusal(model="wan2.7-image", region="virginia", images=["a.png"])
    assert "Models of virginia that take images: wan2.6-image, qwen-image-3.0-pro, qwen-image-3.0." in said


def test_a_grade_that_another_model_draws_is_refused_with_that_model_and_its_price():
    said = refusal(size="4K")
    assert "wan2.7-image-pro, 0.075 USD an image (as of 2026-05; ask the person first)." in said
    assert "Recommended" not in said
    assert said.endswith("4K is square; 16:9 is size=4096*2304, 9:16 size=2304*4096.")
    for size in ("4096*2304", "2304*4096"):
        assert make_catalogue().make_request(prompt="x", model="wan2.7-image-pro", size=size).size == size


def test_a_model_that_draws_a_size_in_the_sandbox_has_no_price():
    assert "USD" not in refusal(size="4K", region="sandbox")


def test_an_unknown_region_is_refused_with_the_known_ones():
    assert "frankfurt" in refusal(region="mars")


def test_a_named_region_is_taken_even_without_a_key():
    assert make_catalogue(keys=()).make_request(prompt="x", region="beijing").region == "beijing"


def test_the_default_region_is_taken_even_without_a_key():
    assert make_catalogue(keys=("beijing",)).make_request(prompt="x").region == "singapore"


def test_an_open_region_falls_back_to_one_that_has_the_model_and_a_key():
    catalogue = make_catalogue("virginia", ("virginia", "beijing"))
    assert catalogue.make_request(prompt="x", model="wan2.5-t2i-preview").region == "beijing"
    both = make_catalogue("tokyo", ("frankfurt", "beijing", "singapore"))
    assert both.make_request(prompt="x").region == "singapore"


def test_without_a_keyed_region_for_the_model_the_settings_to_make_are_named():
    said = refusal(make_catalogue("virginia", ("virginia",)), model="wan2.7-image")
    for part in ("virginia", "singapore, beijing", "DASHSCOPE_API_KEY_SINGAPORE", "DASHSCOPE_API_KEY_BEIJING"):
        assert part in said
    assert "Set DASHSCOPE_API_KEY_BEIJING." in refusal(model="wanx-v1")


def test_the_sandbox_has_every_model():
    for model in MODELS:
        needed = {"prompt": "x", "model": model.id, "images": ["a.png"] * model.count_inputs({})[0]}
        assert make_catalogue("sandbox").make_request(**needed).region == "sandbox"
        assert make_catalogue().make_request(**needed, region="sandbox").region == "sandbox"


def test_the_sandbox_is_never_fallen_back_to():
    said = refusal(make_catalogue("tokyo", ("sandbox",)), model="wan2.7-image")
    assert "sandbox" not in said


def test_a_model_that_only_the_sandbox_has_names_no_setting():
    said = refusal(Catalogue([{"id": "toy", "protocol": "sync", "regions": ["sandbox"]}], default_model="toy"))
    assert "none but the sandbox" in said
    assert "DASHSCOPE_API_KEY" not in said


def test_an_unknown_model_is_the_callers_mistake_and_an_unknown_default_the_operators():
    assert "wan2.2-t2i-plus" in refusal(model="dall-e-3")
    with pytest.raises(SettingsError, match=r"WAN_MCP_MODEL.*dall-e-3"):
        make_catalogue(default_model="dall-e-3").make_request(prompt="x")


def test_a_known_model_can_be_named_though_the_default_is_unknown():
    assert make_catalogue(default_model="dall-e-3").make_request(prompt="x", model="wan2.6-t2i").model == "wan2.6-t2i"


@pytest.mark.parametrize(
    ("model", "region", "prefer_sync", "protocol"),
    [
        ("wan2.6-t2i", "singapore", False, WireProtocol.ASYNC),
        ("wan2.6-t2i", "singapore", True, WireProtocol.SYNC),
        ("wan2.6-t2i", "frankfurt", True, WireProtocol.ASYNC),
        ("wan2.6-t2i", "sandbox", True, WireProtocol.SYNC),
        ("wan2.7-image", "beijing", True, WireProtocol.SYNC),
        ("wan2.7-image", "beijing", False, WireProtocol.ASYNC),
        ("wan2.5-t2i-preview", "singapore", True, WireProtocol.LEGACY),
        ("wanx2.1-t2i-plus", "beijing", False, WireProtocol.LEGACY),
    ],
)
def test_the_protocol_follows_the_model_the_region_and_the_operator(model, region, prefer_sync, protocol):
    catalogue = make_catalogue(prefer_sync=prefer_sync)
    assert catalogue.choose_protocol(catalogue.make_request(prompt="x", model=model, region=region)) is protocol


@given(
    prompt=st.text(max_size=50) | st.builds(str.__mul__, st.text(min_size=1, max_size=9), st.integers(1, 700)),
    negative_prompt=st.none() | st.text(max_size=600),
    model=st.sampled_from([None, *(model.id for model in MODELS)]),
    size=st.none() | st.sampled_from(["1K", "2K", "4K", "16:9", "1024x1024", "1280*1280", "no size"]),
    n=st.integers(0, 5),
    seed=st.none() | st.integers(-1, 2**31),
    prompt_extend=st.none() | st.booleans(),
    region=st.sampled_from([None, "singapore", "beijing", "virginia", "frankfurt", "tokyo", "sandbox"]),
)
def test_an_order_is_refused_in_words_or_accepted_whole_and_unchanged(prompt, negative_prompt, model, region, **more):
    catalogue = make_catalogue(keys=("singapore", "beijing"))
    try:
        request = catalogue.make_request(
            prompt=prompt, negative_prompt=negative_prompt, model=model, region=region, **more
        )
    except RequestRefusedError as refused:
        request, error = None, refused
    if request is None:
        assert error.message
        assert error.advice
        return
    row = CATALOGUE.find(request.model)
    assert request.prompt == prompt
    assert request.region in row.region_names
    assert region in (None, request.region)
    assert request.negative_prompt in (None, negative_prompt)
    assert (request.prompt_extend is None) is not row.has_prompt_extend
    assert (row.sizes is None) is (request.size is None)
    assert row.sizes is None or row.sizes.resolve(request.size) == request.size
    assert 1 <= request.n <= row.max_n
    assert catalogue.choose_protocol(request) in row.in_region(request.region).protocols
