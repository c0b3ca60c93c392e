from decimal import Decimal
from types import MappingProxyType

import pytest

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import REGIONS
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError

SYNC, ASYNC, LEGACY = WireProtocol.SYNC, WireProtocol.ASYNC, WireProtocol.LEGACY
IDS = [
    "wan2.7-image-pro",
    "wan2.7-image",
    "wan2.6-t2i",
    "wan2.5-t2i-preview",
    "wan2.2-t2i-plus",
    "wan2.2-t2i-flash",
    "wan2.1-t2i-plus",
    "wan2.1-t2i-turbo",
    "wanx2.0-t2i-turbo",
    "wanx-v1",
]


def settings_error(*rows):
    with pytest.raises(SettingsError) as caught:
        Catalogue(rows)
    assert "WAN_MCP_EXTRA_MODELS" in str(caught.value)
    return caught.value.message


def test_every_text_to_image_model_of_the_family_is_listed():
    assert [model.id for model in Catalogue().models] == IDS


def test_every_region_of_a_model_exists_and_the_sandbox_is_always_one():
    names = {region.name for region in REGIONS}
    for model in MODELS:
        assert set(model.regions) <= names
        assert model.regions[-1] == "sandbox"
        assert len(set(model.regions)) == len(model.regions)


@pytest.mark.parametrize(
    ("model_id", "regions"),
    [
        ("wan2.7-image", {"singapore", "beijing"}),
        ("wan2.6-t2i", {"singapore", "beijing", "virginia", "frankfurt"}),
        ("wan2.5-t2i-preview", {"singapore", "beijing"}),
        ("wanx2.0-t2i-turbo", {"beijing"}),
        ("wanx-v1", {"beijing"}),
    ],
)
def test_a_model_is_offered_where_the_documentation_says(model_id, regions):
    assert set(Catalogue().find(model_id).regions) == regions | {"sandbox"}


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
    for known in IDS:
        assert known in caught.value.advice


def test_a_task_is_preferred_wherever_the_model_has_one():
    for model in MODELS:
        for region in model.regions:
            assert model.protocol(region, prefer_sync=False) is not SYNC


def test_the_synchronous_protocol_is_chosen_if_preferred_and_there_is_one():
    model = Catalogue().find("wan2.6-t2i")
    assert model.protocol("singapore", prefer_sync=True) is SYNC
    assert model.protocol("sandbox", prefer_sync=True) is SYNC
    assert Catalogue().find("wan2.7-image").protocol("beijing", prefer_sync=True) is SYNC
    assert Catalogue().find("wan2.5-t2i-preview").protocol("singapore", prefer_sync=True) is LEGACY


def test_frankfurt_is_asynchronous_only():
    assert Catalogue().find("wan2.6-t2i").protocol("frankfurt", prefer_sync=True) is ASYNC


def test_rates_are_those_of_the_region():
    model = Catalogue().find("wan2.6-t2i")
    assert (model.submit_rate("beijing"), model.submit_rate("singapore")) == (1, 5)
    assert Catalogue().find("wanx-v1").place("beijing").concurrency == 1


def test_a_price_belongs_to_a_region_and_has_a_currency_and_a_date():
    model = Catalogue().find("wan2.7-image-pro")
    singapore, beijing = model.price("singapore"), model.price("beijing")
    assert (singapore.amount, singapore.currency) == (Decimal("0.075"), "USD")
    assert (beijing.amount, beijing.currency) == (Decimal("0.50"), "CNY")
    assert beijing.as_of
    assert model.price("sandbox") is None
    assert model.price("tokyo") is None


def test_a_region_that_lacks_the_model_is_refused():
    with pytest.raises(RequestRefusedError, match=r"not offered in virginia.*singapore, beijing"):
        Catalogue().find("wan2.7-image").wire_id("virginia")


def test_only_wan27_lacks_the_negative_prompt_and_the_rewriting():
    lacking = {model.id for model in MODELS if model.negative_prompt_limit is None}
    assert lacking == {model.id for model in MODELS if not model.has_prompt_extend}
    assert lacking == {"wan2.7-image", "wan2.7-image-pro"}


def test_the_limits_of_prompts_are_the_documented_ones():
    limits = {model.id: model.prompt_limit for model in MODELS}
    assert limits["wan2.7-image"] == 5000
    assert limits["wan2.6-t2i"] == 2100
    assert limits["wan2.5-t2i-preview"] == 2000
    assert {limits[name] for name in IDS[4:]} == {800}


def test_an_extra_model_needs_no_more_than_an_id_and_a_protocol():
    model = Catalogue([MappingProxyType({"id": "wan3.0-t2i", "protocol": "async"})]).find("WAN3.0-T2I")
    assert set(model.regions) == {region.name for region in REGIONS}
    assert model.protocol("tokyo", prefer_sync=True) is ASYNC
    assert model.wire_id("tokyo") == "wan3.0-t2i"
    assert (model.max_n, model.prompt_limit, model.negative_prompt_limit) == (4, 5000, 500)
    assert model.has_prompt_extend
    assert model.sizes.resolve(None) == "1280*1280"
    assert model.sizes.resolve("4K") == "4096*4096"
    assert model.submit_rate("singapore") > 0


def test_an_extra_model_is_what_its_row_says():
    row = {
        "id": "wan3.0-image",
        "protocol": ["sync", "async"],
        "regions": ["ap-southeast-1", "beijing"],
        "sizes": {"min_pixels": 1_000_000, "max_pixels": 4_000_000, "max_ratio": 3, "default_size": "1200x1200"},
        "max_n": 6,
        "prompt_limit": 300,
        "negative_prompt_limit": None,
        "prompt_extend": False,
        "submit_rate": 0.5,
    }
    model = Catalogue([row]).find("wan3.0-image")
    assert model.regions == ("singapore", "beijing", "sandbox")
    assert model.protocol("singapore", prefer_sync=True) is SYNC
    assert model.sizes.resolve(None) == "1200*1200"
    assert not model.sizes.allows("2001*2000")
    assert not model.sizes.allows("4:1")
    assert (model.max_n, model.prompt_limit, model.negative_prompt_limit) == (6, 300, None)
    assert not model.has_prompt_extend
    assert model.submit_rate("beijing") == 0.5


def test_an_extra_model_may_limit_its_sides_or_list_its_sizes():
    catalogue = Catalogue(
        [
            {"id": "by-side", "protocol": "legacy", "sizes": {"min_side": 600, "max_side": 900}},
            {"id": "by-list", "protocol": "sync", "sizes": {"only": ["1664*928", "928x1664"]}},
            {"id": "by-grade", "protocol": "sync", "sizes": {"grades": ["2K"], "default_size": "2K"}},
        ]
    )
    assert catalogue.find("by-side").sizes.resolve(None) == "768*768"
    assert not catalogue.find("by-side").sizes.allows("901*600")
    assert catalogue.find("by-list").sizes.resolve(None) == "1664*928"
    assert catalogue.find("by-list").protocol("singapore", prefer_sync=False) is SYNC
    assert not catalogue.find("by-list").sizes.allows("1024*1024")
    assert catalogue.find("by-grade").sizes.resolve(None) == "2K"
    assert catalogue.find("by-grade").sizes.allows("16:9")


def test_a_row_for_a_built_in_model_changes_what_it_names_and_keeps_the_rest():
    row = {"id": "wanx2.1-t2i-plus", "protocol": "legacy", "regions": ["beijing", "tokyo"], "prompt_limit": 900}
    catalogue = Catalogue([row])
    model = catalogue.find("wan2.1-t2i-plus")
    assert model.regions == ("beijing", "tokyo", "sandbox")
    assert model.prompt_limit == 900
    assert model.negative_prompt_limit == 500
    assert model.wire_id("beijing") == "wanx2.1-t2i-plus"
    assert model.price("beijing").currency == "CNY"
    assert [each.id for each in catalogue.models] == IDS


def test_a_row_may_give_a_built_in_model_another_protocol_and_take_a_parameter_away():
    row = {"id": "WAN2.6-T2I", "protocol": "sync", "negative_prompt_limit": None, "prompt_extend": False}
    model = Catalogue([row]).find("wan2.6-t2i")
    assert {model.protocol(region, prefer_sync=False) for region in model.regions} == {SYNC}
    assert model.negative_prompt_limit is None
    assert not model.has_prompt_extend
    assert model.submit_rate("beijing") == 1
    assert (model.prompt_limit, model.max_n) == (2100, 4)
    assert model.sizes == next(each.sizes for each in MODELS if each.id == "wan2.6-t2i")


def test_a_row_may_be_for_the_sandbox_alone():
    assert Catalogue([{"id": "x", "protocol": "sync", "regions": "sandbox"}]).find("x").regions == ("sandbox",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"protocol": "async"}, "id"),
        ({"id": "x"}, "protocol"),
        ({"id": "", "protocol": "async"}, "id"),
        ({"id": "two words", "protocol": "async"}, "id"),
        ({"id": "x", "protocol": "grpc"}, "'sync', 'async' or 'legacy'"),
        ({"id": "x", "protocol": []}, "protocol"),
        ({"id": "x", "protocol": "async", "regions": ["mars"]}, "mars"),
        ({"id": "x", "protocol": "async", "regions": []}, "regions"),
        ({"id": "x", "protocol": "async", "regions": [7]}, "regions.0"),
        ({"id": "x", "protocol": "async", "max_n": 0}, "max_n"),
        ({"id": "x", "protocol": "async", "max_n": True}, "max_n"),
        ({"id": "x", "protocol": "async", "submit_rate": 0}, "submit_rate"),
        ({"id": "x", "protocol": "async", "submit_rate": float("nan")}, "submit_rate"),
        ({"id": "x", "protocol": "async", "prompt_extend": "maybe"}, "prompt_extend"),
        ({"id": "x", "protocol": "async", "promt_limit": 3}, "promt_limit"),
        ({"id": "x", "protocol": "async", "sizes": {"min_pixels": 10, "max_side": 10}}, "sizes"),
        ({"id": "x", "protocol": "async", "sizes": {"min_side": 900, "max_side": 600}}, "900"),
        ({"id": "x", "protocol": "async", "sizes": {"min_pixels": 3_000_000, "max_pixels": 2_000_000}}, "3000000"),
        ({"id": "x", "protocol": "async", "sizes": {"min_side": 700, "max_side": 710}}, "default_size"),
        ({"id": "x", "protocol": "async", "sizes": {"max_side": 900, "default_size": "1024*1024"}}, "1024*1024"),
        ({"id": "x", "protocol": "async", "sizes": {"only": ["big"]}}, "big"),
        ({"id": "x", "protocol": "async", "sizes": {"grades": ["8K"]}}, "sizes.grades.0"),
        ("wan3", "is not a JSON object"),
    ],
)
def test_a_wrong_row_is_named_with_what_is_wrong(row, said):
    assert said in settings_error(row)


def test_the_number_of_the_wrong_row_is_said():
    assert "row 2" in settings_error({"id": "x", "protocol": "async"}, {"id": "y"})


def test_two_rows_for_one_model_are_refused():
    assert "twice" in settings_error({"id": "x", "protocol": "async"}, {"id": "X", "protocol": "sync"})
    assert "twice" in settings_error(
        {"id": "wan2.1-t2i-plus", "protocol": "legacy"}, {"id": "wanx2.1-t2i-plus", "protocol": "legacy"}
    )


def test_a_list_of_sizes_or_a_single_odd_size_needs_no_common_square():
    row = {"id": "x", "protocol": "async", "sizes": {"min_side": 700, "max_side": 710, "default_size": "704*704"}}
    rule = Catalogue([row]).find("x").sizes
    assert rule.resolve(None) == "704*704"
    assert rule.resolve("1:1") == "704*704"
    with pytest.raises(RequestRefusedError, match=r"16:9 is not"):
        rule.resolve("16:9")
