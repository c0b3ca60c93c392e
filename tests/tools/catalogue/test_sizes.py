from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.sizes import RATIOS, FixedSizes, PixelWindow, SideRange, SizeRule, derive_presets
from wan_mcp_tools.domain.errors import RequestRefusedError

RULES = {model.id: model.sizes for model in MODELS if model.sizes is not None}
OFFICIAL = {
    "1:1": "1280*1280",
    "3:4": "1104*1472",
    "4:3": "1472*1104",
    "9:16": "960*1696",
    "16:9": "1696*960",
}


def refusal(model, text):
    with pytest.raises(RequestRefusedError) as caught:
        RULES[model].resolve(text)
    return str(caught.value)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_without_a_size_the_models_default_is_sent(text):
    assert RULES["wan2.6-t2i"].resolve(text) == "1280*1280"
    assert RULES["wan2.2-t2i-flash"].resolve(text) == "1024*1024"
    assert RULES["wan2.7-image"].resolve(text) == "2K"


@pytest.mark.parametrize(
    "text", ["1104*1472", "1104x1472", "1104X1472", "1104×1472", " 1104 * 1472 ", "1104 x1472", "01104x1472"]
)
def test_every_way_of_writing_a_size_is_sent_with_an_asterisk(text):
    assert RULES["wan2.6-t2i"].resolve(text) == "1104*1472"


@pytest.mark.parametrize(("ratio", "size"), OFFICIAL.items())
@pytest.mark.parametrize("model", ["wan2.6-t2i", "wan2.5-t2i-preview"])
def test_a_ratio_becomes_the_size_that_the_service_recommends(model, ratio, size):
    assert RULES[model].resolve(ratio) == size
    assert RULES[model].resolve(ratio.replace(":", " : ")) == size
    assert RULES[model].resolve(ratio.replace(":", "：")) == size


@pytest.mark.parametrize("size", OFFICIAL.values())
@pytest.mark.parametrize("model", ["wan2.6-t2i", "wan2.5-t2i-preview"])
def test_the_recommended_sizes_pass_though_most_are_below_the_documented_minimum(model, size):
    assert RULES[model].resolve(size) == size


@pytest.mark.parametrize("model", [name for name in RULES if name != "wanx-v1"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_each_ratio_is_translated_into_that_ratio(model, ratio):
    width, height = (int(side) for side in RULES[model].resolve(ratio).split("*"))
    across, down = (int(part) for part in ratio.split(":"))
    assert width / height == pytest.approx(across / down, rel=0.01)


@pytest.mark.parametrize("model", RULES)
def test_the_default_and_every_recommended_size_pass_their_own_rule(model):
    rule = RULES[model]
    assert rule.resolve(rule.default) == rule.default
    assert rule.recommended
    for size in rule.recommended:
        assert rule.resolve(size) == size


@pytest.mark.parametrize("size", ["1440*1440", "768*2700", "2700*768", "1274*1274"])
def test_free_dimensions_inside_the_window_pass(size):
    assert RULES["wan2.6-t2i"].resolve(size) == size


def test_a_size_above_the_maximum_is_refused_with_the_rule_and_the_recommended_sizes():
    said = refusal("wan2.6-t2i", "2048x2048")
    for part in ("2048*2048", "4194304", "2073600 (1440*1440)", *OFFICIAL.values()):
        assert part in said


def test_a_size_too_elongated_is_refused():
    assert RULES["wan2.6-t2i"].resolve("2880*720") == "2880*720"
    assert "4:1" in refusal("wan2.6-t2i", "2877*719")
    assert "4:1" in refusal("wan2.6-t2i", "719*2877")
    assert "8:1" in refusal("wan2.7-image", "4000*400")


@pytest.mark.parametrize("size", ["1024*1024", "512*512", "1440*810", "1273*1273", "0*0", "1K"])
def test_a_size_far_below_the_minimum_of_wan26_is_refused_with_the_minimum_named(size):
    assert "1638400 (1280*1280)" in refusal("wan2.6-t2i", size)


def test_wan25_takes_the_size_of_its_tutorial_and_nothing_smaller():
    assert RULES["wan2.5-t2i-preview"].resolve("1024*1024") == "1024*1024"
    assert "1638400" in refusal("wan2.5-t2i-preview", "1024*1008")


def test_a_grade_goes_by_name_where_the_model_knows_it():
    assert RULES["wan2.7-image-pro"].resolve("4k") == "4K"
    assert RULES["wan2.7-image"].resolve(" 1k ") == "1K"


def test_a_grade_is_translated_into_pixels_where_the_model_knows_only_those():
    assert RULES["wan2.2-t2i-plus"].resolve("1K") == "1024*1024"
    assert RULES["wanx-v1"].resolve("1k") == "1024*1024"


@pytest.mark.parametrize(
    ("model", "grade"), [("wan2.7-image", "4K"), ("wan2.6-t2i", "2K"), ("wan2.2-t2i-plus", "2K"), ("wanx-v1", "4K")]
)
def test_a_grade_that_the_model_cannot_draw_is_refused(model, grade):
    assert grade in refusal(model, grade)


def test_only_the_pro_model_draws_4096_pixels_a_side():
    assert RULES["wan2.7-image-pro"].resolve("4096*4096") == "4096*4096"
    assert "2048*2048" in refusal("wan2.7-image", "4096*4096")
    assert "768*768" in refusal("wan2.7-image", "767*768")


@pytest.mark.parametrize(("size", "bound"), [("511*1024", "512"), ("1024*1441", "1440")])
def test_a_side_out_of_range_is_refused_with_the_bound(size, bound):
    assert bound in refusal("wan2.2-t2i-flash", size)


def test_the_oldest_model_draws_its_four_sizes_only():
    for size in ("1024*1024", "720*1280", "768*1152", "1280*720"):
        assert RULES["wanx-v1"].resolve(size) == size
    assert "768*1152" in refusal("wanx-v1", "1152*768")
    assert "1:1, 9:16, 16:9" in refusal("wanx-v1", "3:4")


@pytest.mark.parametrize(
    "text", ["large", "8K", "1280", "1280*", "*1280", "1280**1280", "-1280*1280", "1280*1280px", "0:4", "١٢٨٠*١٢٨٠"]
)
def test_a_text_that_names_no_size_is_refused_with_the_allowed_values(text):
    said = refusal("wan2.6-t2i", text)
    assert "Recommended: 1280*1280" in said


@pytest.mark.parametrize("text", ["5:2", "2:5", "5:4", "21:9", "2:3", "239:100", "4:1"])
@pytest.mark.parametrize("model", ["wan2.6-t2i", "wan2.7-image", "wan2.7-image-pro", "wan2.5-t2i-preview"])
def test_another_ratio_is_refused_with_pixels_that_have_it_and_are_accepted(model, text):
    given = refusal(model, text).partition(f"Give {text} in pixels: size=")[2].removesuffix(".")
    width, height = (int(side) for side in given.split("*"))
    across, down = (int(part) for part in text.split(":"))

    assert RULES[model].resolve(given) == given
    assert width / height == pytest.approx(across / down, rel=0.01)


@pytest.mark.parametrize(("model", "text"), [("wan2.6-t2i", "5:1"), ("wan2.2-t2i-flash", "3:1"), ("wanx-v1", "5:2")])
def test_a_ratio_that_cannot_be_had_is_refused_with_what_can(model, text):
    said = refusal(model, text)

    assert "draws no picture of that shape. Allowed: " in said
    assert "in pixels" not in said


def test_a_refusal_does_not_repeat_a_long_text():
    assert len(refusal("wan2.6-t2i", "9" * 100_000)) < 500


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_what_passes_keeps_its_pixels_and_obeys_the_documented_maximum(width, height):
    rule = RULES["wan2.6-t2i"]
    if rule.allows(f"{width}x{height}"):
        assert rule.resolve(f"{width}x{height}") == f"{width}*{height}"
        assert 1_622_016 <= width * height <= 2_073_600
        assert max(width, height) <= 4 * min(width, height)
    else:
        assert not 1_638_400 <= width * height <= 2_073_600 or max(width, height) > 4 * min(width, height)


SIZE_LIKE = st.from_regex(r" ?[0-9]{1,5} ?[*xX×:：] ?[0-9]{1,5} ?|[1-9][kK]", fullmatch=True)


@given(st.text(max_size=30) | SIZE_LIKE, st.sampled_from(sorted(RULES)))
def test_any_text_is_resolved_or_refused_and_what_is_sent_resolves_to_itself(text, model):
    if RULES[model].allows(text):
        sent = RULES[model].resolve(text)
        assert RULES[model].resolve(sent) == sent


@given(st.integers(16, 2000), st.integers(0, 3000))
def test_derived_presets_have_exactly_their_ratio_and_fit_the_limits(least, span):
    limits = SideRange(least, least + span)
    for ratio, size in derive_presets(limits, f"{least}*{least}"):
        width, height = (int(side) for side in size.split("*"))
        common = gcd(width, height)
        assert f"{width // common}:{height // common}" == ratio
        assert limits.find_problem(width, height) is None


def test_rules_that_are_alike_are_equal_and_can_be_hashed():
    window = PixelWindow(1, 100, 2)
    assert SizeRule(window, "4*4", ()) == SizeRule(PixelWindow(1, 100, 2), "4*4", ())
    assert len({model.sizes for model in Catalogue().models}) < len(Catalogue().models)
    assert FixedSizes(((1, 1),)).describe() == "only 1*1"
